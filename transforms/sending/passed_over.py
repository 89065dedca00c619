"""Passed over: whose calls gave way to newer ones that are not read yet, and since when.

After an outage only the newest values should go. But where changes come faster than a vendor takes them, a newer call
waits behind each one that is read: somebody who changes all the time would never be told anything.
"""

from schemas.calls import Call, Identifier

LONGEST = 600.0  # seconds that somebody gives way: then what is read goes, though a newer value waits
_MOST = 200_000  # that are remembered, the newest


class PassedOver:
    """Since when calls of each slot and identifier are passed over, with none told in between."""

    def __init__(self) -> None:
        self._since: dict[tuple[int, Identifier], float] = {}

    def may_pass(self, call: Call, now: float) -> bool:
        """Whether this call, which a newer one replaces, gives way once more; `now` in seconds since 1970."""
        since = self._since.setdefault((call.slot, call.identifier), now)
        if len(self._since) > _MOST:
            del self._since[next(iter(self._since))]
        return now - since < LONGEST

    def told(self, call: Call) -> None:
        """It has another end than to give way."""
        self._since.pop((call.slot, call.identifier), None)


__all__ = ["LONGEST", "PassedOver"]
