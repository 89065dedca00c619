"""Patience: how long a request that is out is waited for.

leaves ─ written ─ headers ─ part ─ part ─ …      `silence` from each to the next, once it is written,
└───────────────────────────────────────┘       WHOLE times as long for all of it
"""

from math import inf

WHOLE = 10  # times: an answer that comes drop by drop would have no end


class Patience:
    """How long the request of a conversation is waited for; a conversation has one request out at a time."""

    def __init__(self) -> None:
        self._left = self._heard = inf

    def waits(self) -> None:
        """The request waits for a connection or for its turn. For that there is no limit here."""
        self._left = self._heard = inf

    def leaves(self, now: float) -> None:
        self._left, self._heard = now, inf

    def hears(self, now: float) -> None:
        """A part of the answer came; or all of the request is written."""
        self._heard = now

    def ends(self, silence: float) -> float:
        """When the request is to be given up, where the vendor may be silent for so many seconds."""
        return min(self._heard + silence, self._left + WHOLE * silence)

    def why(self, silence: float) -> str:
        """Why the request was given up, in words."""
        if self._heard + silence <= self._left + WHOLE * silence:
            return f"no answer within {silence:g} s"
        return f"no whole answer within {WHOLE * silence:g} s"
