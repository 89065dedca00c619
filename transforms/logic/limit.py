"""Limiter: never more than the cap in any sliding window, and all of it while a backlog waits.

The generic cell rate algorithm spaces requests evenly:

    sent      |   |   |    |  |   |        interval = (window + LATE + WAY) / cap
    due       |   |   |   |   |   |        a late request may be caught up by LATE, no more

n requests take at least (n - 1) intervals less LATE, and lose at most WAY on their way to the
server: more than `cap` of them never fit into one window there. The price is 1.6 % of a second.
"""

from collections import deque
from collections.abc import Sequence

from transforms.destinations.contract import Limit

LATE = 0.008  # seconds by which the event loop may be late and still catch up
WAY = 0.008  # seconds by which two requests may come closer on their way to the server
EVEN = 60.0  # seconds: longer windows are counted, not spaced
_PARTS = 96  # a counted window moves in this many steps

_FLOOR = 0.05  # the learned rate never falls below this share of the cap
_FALL = 0.7  # a repeated 429 leaves this share of the rate
_CLIMB = 0.02  # share of the cap regained per second without a 429
_REPEATED = 30.0  # seconds within which a second 429 means that the rate is too high
_LONGEST_HOLD = 60.0  # seconds, where the vendor does not say how long


class Spaced:
    """A window of up to a minute: GCRA."""

    def __init__(self, limit: Limit) -> None:
        self.endpoint = limit.endpoint
        self._interval = (limit.seconds + LATE + WAY) / limit.requests
        self._due = float("-inf")

    def ready(self) -> float:
        """From when the next request may go."""
        return self._due - LATE

    def take(self, now: float, share: float) -> None:
        self._due = max(self._due, now) + self._interval / share


class Counted:
    """A longer window (per hour, per day): a sliding count in steps, bursts allowed."""

    def __init__(self, limit: Limit) -> None:
        self.endpoint = limit.endpoint
        self._most = int(limit.requests)
        self._step = limit.seconds / _PARTS
        self._seconds = limit.seconds + self._step
        self._steps: deque[tuple[float, int]] = deque()  # start of the step, requests in it
        self._sum = 0

    def ready(self) -> float:
        """From when the next request may go."""
        return self._steps[0][0] + self._seconds if self._sum >= self._most else float("-inf")

    def take(self, now: float, share: float) -> None:
        while self._steps and self._steps[0][0] + self._seconds <= now:
            self._sum -= self._steps.popleft()[1]
        if self._steps and now < self._steps[-1][0] + self._step:
            start, number = self._steps.pop()
            self._steps.append((start, number + 1))
        else:
            self._steps.append((now, 1))
        self._sum += 1


class Limiter:
    """All limits of one connection, and what its vendor's refusals taught."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._windows = [Spaced(each) if each.seconds <= EVEN else Counted(each) for each in limits]
        self._held_until = float("-inf")
        self._last_throttled = float("-inf")
        self._in_a_row = 0
        self._share = 1.0
        self._share_at = float("-inf")
        self.curve: list[tuple[float, float, str]] = []  # when, share of the cap, why

    def delay(self, now: float, endpoint: str) -> float:
        """Seconds until a request of this endpoint class may go; 0 is now."""
        ready = max((w.ready() for w in self._windows if w.endpoint in ("", endpoint)), default=now)
        return max(0.0, max(ready, self._held_until) - now)

    def take(self, now: float, endpoint: str) -> None:
        """A request goes now. Every attempt takes its token, repeats too."""
        for window in self._windows:
            if window.endpoint in ("", endpoint):
                window.take(now, self.share(now))

    def share(self, now: float) -> float:
        """The learned rate as a share of the cap."""
        return min(1.0, self._share + max(0.0, now - self._share_at) * _CLIMB)

    def throttled(self, now: float, after: float | None) -> None:
        """The vendor said 429: hold the connection; on repetition, slow down."""
        if now < self._held_until:  # an answer to a request sent before the hold
            return
        self._in_a_row += 1
        hold = after if after is not None else min(_LONGEST_HOLD, 0.5 * 2**self._in_a_row)
        self._held_until = now + hold
        if now - self._last_throttled < _REPEATED + hold:
            self._share = max(_FLOOR, self.share(now) * _FALL)
            self.curve.append((now, self._share, "429 again"))
        else:
            self._share = self.share(now)
        self._share_at = self._held_until
        self._last_throttled = now

    def accepted(self) -> None:
        """The vendor took a request."""
        self._in_a_row = 0
