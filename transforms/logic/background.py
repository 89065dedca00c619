"""How many ticks the readers of a process may have in a job at once, so that events hardly wait behind them.

An engine takes in whatever its readers give, and keeps it in order before the fold: an event that comes behind a
million ticks waits for all of them. So readers give only so many ticks that these come through within about a second.
It is what LEDBAT (RFC 6817) does with packets. Now and then a *probe* goes behind a tick, and comes back when all
before it are folded: how much longer it took than the quickest one says how many wait.

The quickest is looked for again now and then, with few under way: all of them are slower where the job has more to do.
"""

_AIM = 1.0  # seconds that a probe may take longer than the quickest did
_FIRST, _LEAST, _MOST = 200.0, 20.0, 100_000.0  # ticks under way
_MORE, _LESS = 1.25, 0.5  # what that number is multiplied with, at most and at least
_REFILL = 0.5  # when this share of it is left, others are read: few at a time cost an engine more
_PROBES = 16  # that go with as many ticks as may be under way
_SURE = 60.0  # seconds that the quickest probe counts, if none is as quick
_SILENCE = 10.0  # seconds until the ticks under way are taken for lost, if no probe comes back


class Background:
    """`now` is in seconds, and never goes back."""

    def __init__(self) -> None:
        self._window = _FIRST  # how many may be under way
        self._read = self._through = 0  # ticks that were read, and that are folded
        self._probed = 0  # how many had been read at the last probe
        self._heard = 0.0  # when a probe came back last, or the first tick was read
        self._changed = 0  # what had been read when the window was changed
        self._full = False  # it has been, since then
        self._filling = True
        self._quickest, self._sure = float("inf"), 0.0  # seconds, and until when that counts
        self._after: float | None = None  # the window, when the quickest has been found again

    def may_read(self, now: float) -> bool:
        if self._through < self._read and now > self._heard + _SILENCE:
            self._give_up()
        under_way = self._read - self._through
        self._filling = under_way < (self._window if self._filling else self._window * _REFILL)
        self._full = self._full or not self._filling
        return self._filling

    def _give_up(self) -> None:
        self._through = self._read
        if self._quickest == float("inf"):  # perhaps nothing is ever heard of any
            self._window = min(_MOST, self._window * 2)

    def read(self, now: float) -> int | None:
        """One more tick is read. How many these are, if a probe is to go behind it."""
        if self._read == self._through:
            self._heard = now
        self._read += 1
        if self._read - self._probed < self._window / _PROBES:
            return None
        self._probed = self._read
        return self._read

    def came_through(self, number: int, at: float, now: float) -> None:
        """A probe came back: the first `number` ticks are folded. `at`: when it went."""
        took = now - at
        through = self._read if number == self._probed else number  # the few without a probe are close behind it
        self._heard, self._through = now, max(self._through, through)
        if took <= self._quickest:
            self._quickest, self._sure = took, now + _SURE
        if number > self._changed:  # it went with the window as it is
            self._change(took, now)

    def _change(self, took: float, now: float) -> None:
        if self._after is not None:
            self._quickest, self._sure = took, now + _SURE
            self._window, self._after = self._after, None
        else:
            self._fit(took - self._quickest)
            if now > self._sure:
                self._window, self._after = _LEAST, self._window
        self._changed, self._full = self._read, False

    def _fit(self, waited: float) -> None:
        if waited > _AIM:
            self._window = max(_LEAST, self._window * max(_LESS, _AIM / waited))
        elif waited < _AIM / 2 and self._full:
            self._window = min(_MOST, self._window * _MORE)
