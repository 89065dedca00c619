"""Counting requests over time: caps that refuse, and peaks that are reported."""

from collections import Counter, deque

from sandbox.vendor import Cap

PEAKS = (1, 10, 60)  # seconds


class Window:
    """A cap in any sliding window: a request that does not fit is not counted."""

    def __init__(self, cap: Cap) -> None:
        self.cap = cap
        self._taken: deque[float] = deque()

    def wait(self, now: float) -> float:
        """Seconds until the next request fits; 0: it fits now."""
        while self._taken and self._taken[0] <= now - self.cap.seconds:
            self._taken.popleft()
        return self._taken[0] + self.cap.seconds - now if len(self._taken) >= self.cap.requests else 0.0

    def take(self, now: float) -> int:
        """Count a request; how many more fit."""
        self._taken.append(now)
        return self.cap.requests - len(self._taken)


class Meter:
    """Requests of one account as they arrived: how many, answered how, and the busiest moments."""

    def __init__(self) -> None:
        self.requests = 0
        self.statuses: Counter[int] = Counter()  # 0: no answer
        self.throttled = 0
        self.first = self.last = 0.0
        self._recent: dict[int, deque[float]] = {seconds: deque() for seconds in PEAKS}
        self._peaks = dict.fromkeys(PEAKS, 0)

    def arrive(self, now: float, at: float) -> None:
        self.requests += 1
        self.first = self.first or at
        self.last = at
        for seconds, recent in self._recent.items():
            recent.append(now)
            while recent[0] <= now - seconds:
                recent.popleft()
            self._peaks[seconds] = max(self._peaks[seconds], len(recent))

    def peaks(self) -> dict[str, int]:
        """The most requests in any sliding window, by its length."""
        return {f"{seconds}s": count for seconds, count in self._peaks.items()}
