"""When a request is sent again, and when a connection is not asked at all."""

from random import Random

_FIRST = 0.5  # seconds
_LONGEST = 60.0


def backoff(failures: int, after: float | None, random: Random) -> float:
    """Seconds to wait after the n-th failure (from 1): doubling, with jitter that only lengthens.

    `after` is the vendor's own word; it is never undercut.
    """
    wait: float = min(_LONGEST, _FIRST * 2 ** (failures - 1))
    return max(wait, after or 0.0) * (1.0 + 0.5 * random.random())


class Breaker:
    """Opens after failures in a row; while open, one request at a time goes to probe the vendor."""

    OPENS_AT = 5
    _FIRST_PAUSE = 1.0
    _LONGEST_PAUSE = 30.0

    def __init__(self) -> None:
        self._failures = 0
        self._closed_until = float("-inf")
        self._probing = False

    @property
    def open(self) -> bool:
        return self._failures >= self.OPENS_AT

    def delay(self, now: float) -> float:
        """Seconds until a request may go; while a probe is out, until it is worth asking again."""
        if not self.open:
            return 0.0
        if self._probing:
            return 0.1
        return max(0.0, self._closed_until - now)

    def sending(self) -> None:
        """A request goes."""
        self._probing = self.open

    def answered(self) -> None:
        """The vendor answered, whatever it said: it is there."""
        self._failures = 0
        self._probing = False

    def failed(self, now: float) -> None:
        """No answer, or one that says the vendor is in trouble."""
        self._failures += 1
        self._probing = False
        pauses = max(0, self._failures - self.OPENS_AT)
        self._closed_until = now + min(self._LONGEST_PAUSE, self._FIRST_PAUSE * 2 ** min(pauses, 10))
