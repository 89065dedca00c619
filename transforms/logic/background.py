"""How many records that may wait are under way in a job, so that those that may not are hardly held up by them.

An engine takes in whatever its readers give, and keeps it in order before the fold: a change that comes behind a
million records waits for all of them. So readers give only so many of these that they come through within about a
second. It is what LEDBAT (RFC 6817) does with packets: how much longer one took than the quickest says how many wait.
"""

from schemas.facts import Reading

_AIM = 1.0  # seconds that they may take longer than the quickest did
_FIRST, _LEAST, _MOST = 200.0, 20.0, 100_000.0  # records under way
_MORE, _LESS = 1.25, 0.5  # what that number is multiplied with, at most and at least
_REFILL = 0.5  # when so many of it are left, others are read: few at a time cost an engine more
_SILENCE = 10.0  # seconds until those under way are taken for lost, if none comes through


class Background:
    """Of the readers and the folds of one process. `now` is in seconds, and never goes back.

    Records that are read here may be folded elsewhere, of which nothing is heard; but they are spread evenly, and each
    that comes through here says that those that were read before it have come through, too.
    """

    def __init__(self) -> None:
        self._window = _FIRST  # how many may be under way
        self._read = self._through = 0  # numbers of records
        self._heard = 0.0  # when one came through last, or the first was read
        self._changed = 0  # what had been read when the window was changed
        self._full = False  # it has been, since then
        self._filling = True
        self._quickest = float("inf")  # seconds

    def may_read(self, now: float) -> bool:
        if self._through < self._read and now > self._heard + _SILENCE:
            self._through = self._read
        under_way = self._read - self._through
        self._filling = under_way < (self._window if self._filling else self._window * _REFILL)
        self._full = self._full or not self._filling
        return self._filling

    def read(self, now: float) -> Reading:
        """One more is read."""
        if self._read == self._through:
            self._heard = now
        self._read += 1
        return Reading(self._read, now)

    def folded(self, reading: Reading, now: float) -> None:
        """It has come through."""
        took = now - reading.at
        self._heard = now
        self._through = max(self._through, reading.number)
        self._quickest = min(self._quickest, took)
        if reading.number > self._changed:  # it was read with the window as it is
            self._change(took - self._quickest)

    def _change(self, waited: float) -> None:
        if waited > _AIM:
            self._window = max(_LEAST, self._window * max(_LESS, _AIM / waited))
        elif waited < _AIM / 2 and self._full:
            self._window = min(_MOST, self._window * _MORE)
        self._changed, self._full = self._read, False
