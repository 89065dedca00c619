"""Limiter: never more than the cap in any sliding window, and all of it while a backlog waits.

Two rules for a window of `seconds` and a cap of n. The first paces, the second is the promise:

    even      due: |   |   |   |   |   |       a little slower than the cap; a request that is late
              sent:|   |      |||  |   |       (a busy machine) is caught up, by LATE at most
    never     a request waits until the n-th before it is `seconds` + WAY ago

Two requests come at most WAY closer on their way to the server, so that never n + 1 of them fit into
one window there. The price of both is 1.6 % of a second.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from schemas.limits import Limit
from transforms.logic.hints import plausible
from transforms.logic.learn import Learned

WAY = 0.012  # seconds by which two requests may come closer on their way to the server
SLACK = 0.004  # seconds in a window by which the pace is slower than WAY makes it: room to catch up in
LATE = 0.05  # share of a window by which a sender may be behind its pace and still catch up
_LATEST = 0.25  # seconds: the same, at most
EVEN = 60.0  # seconds: longer windows are counted, not spaced
_PARTS = 96  # a counted window moves in this many steps
_ROUNDED = 2.0  # seconds by which whole numbers make a vendor's reset later than it is
_RESERVED = 100  # a long window is written down ahead, by this part of what it allows


class Spaced:
    """Requests of a window of up to a minute: the pace is GCRA's."""

    def __init__(self, limit: Limit, now: float) -> None:
        self.limit = limit
        self._late = min(LATE * limit.seconds, _LATEST)
        self._interval = (limit.seconds + SLACK + WAY) / limit.requests
        self._apart = limit.seconds + WAY
        self._sent: deque[float] = deque(maxlen=max(1, int(limit.requests)))
        self._due = now
        self.begin(now)

    def begin(self, now: float) -> None:
        """Another process may have sent until now, and have been catching up."""
        self._due = max(self._due, now + self._interval + 2 * self._late)

    @property
    def rate(self) -> float:
        """Requests per second."""
        return 1 / self._interval

    def ready(self, items: int) -> float:
        """From when the next request may go."""
        sent = self._sent
        if len(sent) < (sent.maxlen or 0):
            return self._due - self._late
        return max(self._due - self._late, sent[0] + self._apart)

    def take(self, now: float, items: int) -> None:
        self._due = max(self._due, now) + self._interval
        self._sent.append(now)

    def leaves(self, taken: float, now: float) -> None:
        """The request that took its token at `taken` left only at `now`."""
        for place in range(len(self._sent) - 1, -1, -1):
            if self._sent[place] <= taken:
                self._sent[place] = now
                return


class Counted:
    """A longer window (per hour, per day), or one of objects: a sliding count in steps, bursts allowed."""

    def __init__(self, limit: Limit, now: float) -> None:
        self.limit = limit
        self._most = int(limit.requests)
        self._step = limit.seconds / _PARTS
        self._seconds = limit.seconds + self._step + WAY
        self._steps: deque[tuple[float, int]] = deque()  # start of the step, how many in it
        self._sum = 0
        self._unsaved = 0  # how many of `_sum` are not in the last `save`
        self._reserved = 0
        self.begin(now)

    def begin(self, now: float) -> None:
        """Another process may have used it up until now; what it counted in a long window comes by `restore`."""
        if self.limit.seconds <= EVEN:
            self._steps = deque([(now - self._step, self._most)])
            self._sum = self._most

    def _weight(self, items: int) -> int:
        return min(items, self._most) if self.limit.unit == "objects" else 1

    def ready(self, items: int) -> float:
        """From when the next request, of so many objects, may go."""
        over = self._sum + self._weight(items) - self._most
        if over > 0:
            for start, number in self._steps:
                over -= number
                if over <= 0:
                    return start + self._seconds
        return float("-inf")

    def take(self, now: float, items: int) -> None:
        weight = self._weight(items)
        self._forget(now)
        if self._steps and now < self._steps[-1][0] + self._step:
            start, number = self._steps.pop()
            self._steps.append((start, number + weight))
        else:
            self._steps.append((now, weight))
        self._sum += weight
        self._unsaved += weight

    def _forget(self, now: float) -> None:
        while self._steps and self._steps[0][0] + self._seconds <= now:
            self._sum -= self._steps.popleft()[1]

    # -- over runs

    @property
    def unsaved(self) -> bool:
        """Whether more was sent than the last `save` reserved."""
        return self._unsaved > self._reserved

    def save(self, shift: float, ahead: bool) -> dict[str, Any]:
        self._unsaved = 0
        self._reserved = max(1, self._most // _RESERVED) if ahead else 0
        steps = [[start + shift, number] for start, number in self._steps]
        if ahead and steps:
            steps[-1][1] += self._reserved
        return {
            "seconds": self.limit.seconds,
            "endpoint": self.limit.endpoint,
            "unit": self.limit.unit,
            "steps": [[round(start, 3), number] for start, number in steps],
        }

    def restore(self, saved: Mapping[str, Any], now: float, shift: float) -> None:
        """Take over what an earlier run sent, unless more is known already."""
        steps = ((min(now, start - shift), each) for start, each in saved["steps"])
        kept = deque((start, each) for start, each in steps if start + self._seconds > now)
        number = sum(each for _, each in kept)
        if number > self._sum:
            self._steps, self._sum = kept, number


class Limiter:
    """All limits of one credential, and what its vendor's refusals taught.

    `rate`: requests per second while no long window is used up; 0: there is no cap. `users`: deliveries that share it.
    """

    users = 0

    def __init__(self, limits: Sequence[Limit], now: float) -> None:
        self._windows: list[Spaced | Counted] = []
        self._held_until = float("-inf")
        self._held_since = float("-inf")
        self._told_until = float("-inf")  # as the vendor clearly said: the later runs keep to it
        self.learned = Learned()
        self._own: Spaced | None = None  # of the account, as its vendor tells
        self.join(limits, now)

    def begin(self, now: float) -> None:
        """This process sends again, after a time in which another one may have sent."""
        for window in self._windows:
            window.begin(now)

    def join(self, limits: Sequence[Limit], now: float) -> None:
        """Add the limits of a connection that shares the credential: the strictest ones count for all."""
        known = {window.limit for window in self._windows}
        for limit in dict.fromkeys(limits):
            if limit not in known:
                spaced = limit.seconds <= EVEN and limit.unit == "requests"
                self._windows.append(Spaced(limit, now) if spaced else Counted(limit, now))
        self._long = [w for w in self._windows if isinstance(w, Counted) and w.limit.seconds > EVEN]
        self._reckon()

    def pace(self, now: float, requests: float, seconds: float) -> None:
        """The vendor tells what the account may send in so many seconds, up to a minute: keep to it from now on."""
        limit = Limit(requests, seconds, source="the vendor's answers")
        if self._own is None or self._own.limit != limit:
            kept = [window for window in self._windows if window is not self._own]
            self._own = Spaced(limit, now)
            self._windows = [*kept, self._own]
            self._reckon()

    def _reckon(self) -> None:
        self._rates = {endpoint: self._rate(endpoint) for endpoint in {"", *(w.limit.endpoint for w in self._windows)}}
        self.rate = self._rates[""]

    def _rate(self, endpoint: str) -> float:
        even = (w.limit for w in self._windows if isinstance(w, Spaced) and w.limit.counts(endpoint))
        return min((limit.requests / limit.seconds for limit in even), default=0.0)

    def rate_of(self, endpoint: str) -> float:
        """`rate` of the requests of one endpoint class."""
        return self._rates.get(endpoint, self.rate)

    def keeps(self, number: float, seconds: float) -> bool:
        """Whether a quota of this number, full again in so many seconds, is one of the limits."""
        return any(
            w.limit.requests == number and seconds <= w.limit.seconds + _ROUNDED
            for w in self._windows
            if w is not self._own  # others use the account too
        )

    def delay(self, now: float, endpoint: str, items: int = 1) -> float:
        """Seconds until a request of this endpoint class may go; 0 is now."""
        ready = max(self._held_until, self.learned.ready())
        for window in self._windows:
            if window.limit.counts(endpoint):
                ready = max(ready, window.ready(items))
        return max(0.0, ready - now)

    def take(self, now: float, endpoint: str, items: int = 1) -> None:
        """Take the token of a request that is sent now. Every attempt takes one, repeats too."""
        for window in self._windows:
            if window.limit.counts(endpoint):
                window.take(now, items)
        self.learned.take(now)

    def leaves(self, taken: float, now: float, endpoint: str) -> None:
        """A busy sender sent the request that took its token at `taken` only at `now`."""
        for window in self._windows:
            if isinstance(window, Spaced) and window.limit.counts(endpoint):
                window.leaves(taken, now)

    # -- what the vendor says

    def hold(self, now: float, seconds: float) -> None:
        """Send nothing for so many seconds, as the vendor said. Later runs keep to it too."""
        self._told_until = max(self._told_until, now + seconds)
        self._hold(now, seconds)

    def _hold(self, now: float, seconds: float) -> None:
        if now + seconds > self._held_until:
            self._held_since, self._held_until = now, now + seconds

    def on_hold(self, now: float) -> float:
        """Seconds for which nothing is sent because the vendor said so."""
        return max(0.0, self._held_until - now)

    def throttled(self, now: float, after: float | None, sent: float) -> None:
        """The vendor said 429 to a request sent at `sent`: hold the connection; on repetition, slow down.

        `after`: what it says, where it is plausible; otherwise the holds grow until it takes a request.
        """
        same_moment = sent < self._held_since  # as the one that began the hold
        if after is not None:
            self.hold(now, after)
        if same_moment:
            return
        rates = [w.rate for w in self._windows if isinstance(w, Spaced) and not w.limit.endpoint]
        self._hold(now, self.learned.throttled(now, after, min(rates, default=0.0)))
        self._held_since = now

    def accepted(self) -> None:
        """The vendor took a request."""
        self.learned.accepted()

    # -- over runs: what is kept is in seconds since 1970

    @property
    def unsaved(self) -> bool:
        """Whether a long window has to be saved before more is sent."""
        return any(window.unsaved for window in self._long)

    def save(self, now: float, wall: float, ahead: bool) -> dict[str, Any]:
        """What a later run has to know; `ahead`: with a reserve for what is sent until the next save."""
        saved: dict[str, Any] = {}
        if self._long:
            saved["windows"] = [window.save(wall - now, ahead) for window in self._long]
        if self._told_until > now:
            saved["held_until"] = round(self._told_until + wall - now, 3)
        return saved

    def restore(self, saved: Mapping[str, Any], now: float, wall: float) -> None:
        """Go on where an earlier run ended."""
        for each in saved.get("windows", ()):
            for window in self._windows:
                limit = window.limit
                same = (limit.seconds, limit.endpoint, limit.unit) == (each["seconds"], each["endpoint"], each["unit"])
                if same and isinstance(window, Counted):
                    window.restore(each, now, wall - now)
        if saved.get("held_until") is not None and (left := plausible(saved["held_until"] - wall)):
            self.hold(now, left)
