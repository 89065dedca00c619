"""Canary: a few calls of a first sync go ahead of all others; if most are refused, the connection stops."""

from collections import Counter
from math import ceil

from schemas.outcomes import Delivered, Expired, Rejected

_SHARE = 100  # one call in so many
_FEWEST = 50


class Canary:
    """Counts what the vendor says to the first calls. Calls refused by our own rules are not counted."""

    def __init__(self, calls: int, max_reject_rate: float) -> None:
        self.size = max(_FEWEST, ceil(calls / _SHARE))
        self._most = max_reject_rate
        self._delivered = 0
        self._reasons: Counter[str] = Counter()

    def settled(self, outcome: Delivered | Rejected | Expired) -> None:
        """Count what the vendor said to one call."""
        if isinstance(outcome, Delivered):
            self._delivered += 1
        elif isinstance(outcome, Rejected):
            self._reasons[outcome.reason] += 1

    @property
    def passed(self) -> bool:
        """Whether the verdict is good whatever becomes of the calls that have no outcome yet."""
        return self._delivered >= (1 - self._most) * self.size

    def verdict(self) -> str:
        """Why not to go on; "" if there is no reason."""
        rejected = self._reasons.total()
        judged = rejected + self._delivered
        if not judged or rejected / judged <= self._most:
            return ""
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in self._reasons.most_common(3))
        return f"the vendor rejected {rejected:,} of the first {judged:,} calls of this connection ({reasons})"
