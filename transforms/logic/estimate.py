"""Progress: requests per second now, and how long the rest will take."""

from collections import deque

_SPAN = 10.0  # seconds over which the rate is measured


class Estimate:
    """Estimates the time left, from counts that it is given now and then."""

    def __init__(self, cap: float, start: float) -> None:
        self._cap = cap  # requests per second; 0 is none
        self._start = start
        self._seen: deque[tuple[float, int]] = deque([(start, 0)])
        self._foretold: list[float] = []  # the run's length, as estimated each time

    def rate(self, now: float, requests: int) -> float:
        """Requests per second over the last seconds."""
        self._seen.append((now, requests))
        while len(self._seen) > 2 and self._seen[1][0] <= now - _SPAN:
            self._seen.popleft()
        since, before = self._seen[0]
        return (requests - before) / (now - since) if now > since else 0.0

    def remaining(self, now: float, rate: float, requests: int, settled: int, pending: int) -> float:
        """Seconds for what is pending, at so many calls per request as were settled so far; 0: not known."""
        if not settled or not rate:
            return 0.0
        seconds = pending * (requests / settled) / (min(rate, self._cap) if self._cap else rate)
        self._foretold.append(now - self._start + seconds)
        return seconds

    def error(self, now: float) -> float | None:
        """By which share of the run's length the estimates were wrong, on average; None: there were none."""
        length = now - self._start
        if not self._foretold or length <= 0:
            return None
        return sum(abs(each - length) for each in self._foretold) / len(self._foretold) / length
