"""Deferred: calls that are in the log and not in memory, for their time has not come.

    a list's     wait for its flush: all that was there when it began goes, then nothing for an interval
    dated        not before a time of their own
    put off      for long, and with them everything behind them in their lanes
    blocked      until what their key needs at the vendor is there, or allowed

When the time has come they are read once more, from the first of them on.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from heapq import heappop, heappush
from math import inf

from msgspec import Struct

from schemas.calls import Call
from transforms.sending.delivery import Active

FLUSHED = "flushed:"  # of a slot: the fact that says when its last flush began
_OPEN = 60.0  # seconds that a first flush takes what is asked after the newest call that it has
_EARLY = 5.0  # seconds: a run that starts an interval after another one finds its lists due
_MOST_PUT_OFF = 20_000  # calls; then nothing more is read until the first of them is due


def next_flush(began: float, every: float) -> float:
    """When a list is flushed next whose last flush began then; `every` so many seconds there is one."""
    return began + every - _EARLY


class _Deferred(Struct):
    """Calls of one list and class that wait for its flush: they are read in the order of their asks."""

    first: int
    last: int = 0  # what is read again is not counted again
    number: int = 0


class _Flush(Struct):
    """A flush that is under way."""

    began: float
    limit: int  # takes asks up to this one
    out: int = 0  # calls in memory
    whole: bool = True  # nothing of it was left, so that it is not due any more
    open: float = 0.0  # of a list's first one: until then it takes what is asked meanwhile


class Flushes:
    """When lists are flushed. Times in seconds since 1970."""

    def __init__(
        self, active: Mapping[int, Active], facts: Mapping[str, object], ahead: float = 0.0, follow: bool = False
    ) -> None:
        """`ahead`: seconds by which the clock that flushes go by is ahead of the one that tells `now`.

        `follow`: calls come while others are sent. So a list's first flush, which is everybody's, takes them too.
        """
        self._every = {slot: each.flush_every for slot, each in active.items() if each.flush_every > 0}
        self._ahead, self._open = ahead, _OPEN if follow else 0.0
        self._last = {slot: _time(facts.get(f"{FLUSHED}{slot}")) - ahead for slot in self._every}
        self._deferred: dict[tuple[int, bool], _Deferred] = {}  # by slot and class
        self._now: dict[int, _Flush] = {}

    def waits(self, call: Call, newest: int, now: float) -> bool:
        """Whether a call that was read waits for a flush of its list. The first one of a list that is due begins it."""
        slot, ask = call.slot, call.ask
        if slot not in self._every:
            return False
        flush = self._now.get(slot)
        if flush is None and (self.due(slot) <= now or self._last[slot] > now):  # a clock was set back
            flush = self._now[slot] = _Flush(now, max(newest, ask))
            flush.open = now + self._open if self._last[slot] == -inf else 0.0
        if flush is not None and flush.open > now:
            flush.open = min(now + self._open, flush.began + self._every[slot])
            flush.limit = max(flush.limit, ask)
        if flush is not None and ask <= flush.limit:
            return False
        deferred = self._deferred.setdefault((slot, call.backfill), _Deferred(ask))
        deferred.first = min(deferred.first, ask)
        if ask > deferred.last:
            deferred.last = ask
            deferred.number += 1
        return True

    def due(self, slot: int) -> float:
        return next_flush(self._last[slot], self._every[slot])

    def entered(self, call: Call, number: int) -> bool:
        """Count a call of a flush that came into memory (1), or left it (-1). Whether it was the last one there."""
        flush = self._now.get(call.slot)
        if flush is None:
            return False
        flush.out += number
        return not flush.out

    def cut_short(self, slot: int) -> None:
        """Calls of the flush are blocked: so it is still due when that is fixed."""
        if flush := self._now.get(slot):
            flush.whole = False

    def go_on(self) -> None:
        """What was blocked is read again, and may end its flush."""
        for flush in self._now.values():
            flush.whole = True

    def ended(self, read: int, now: float) -> dict[str, float]:
        """End the flushes that are over, where everything up to the ask `read` was read; facts to write.

        Of one that is cut short by the end of its sender nothing is written, so that the next one goes on with it.
        """
        facts: dict[str, float] = {}
        for slot, flush in list(self._now.items()):
            if flush.open <= now:
                flush.open = 0.0
            if flush.whole and not flush.out and not flush.open and flush.limit <= read:
                del self._now[slot]
                self._last[slot] = flush.began
                facts[f"{FLUSHED}{slot}"] = flush.began + self._ahead
        return facts

    def come(self, now: float) -> int | None:
        """The first ask to read again, for lists that are due."""
        due = [each for each in self._deferred if each[0] not in self._now and self.due(each[0]) <= now]
        return min((self._deferred.pop(each).first for each in due), default=None)

    def next(self) -> float:
        """When the next list that has calls is due."""
        return min((self.due(slot) for slot, _ in self._deferred if slot not in self._now), default=inf)

    def closes(self) -> float:
        """When the next of the first flushes that are open takes no more calls."""
        return min((flush.open for flush in self._now.values() if flush.open), default=inf)

    @property
    def number(self) -> int:
        return sum(deferred.number for deferred in self._deferred.values())

    @property
    def first(self) -> float:
        return min((deferred.first for deferred in self._deferred.values()), default=inf)


class PutOff:
    """Calls that wait for a time of their own. `shuts`: what shares a lane with them waits too."""

    def __init__(self, shuts: bool) -> None:
        self._shuts = shuts
        self._due: dict[int, float] = {}  # by ask
        self._heap: list[tuple[float, int]] = []
        self._shut: set[Hashable] = set()  # lanes
        self.first: float = inf  # the smallest ask of all that wait

    def add(self, ask: int, due: float, keys: Iterable[Hashable] = ()) -> None:
        self._due[ask] = due
        heappush(self._heap, (due, ask))
        self._waits(ask, keys)

    def _waits(self, ask: int, keys: Iterable[Hashable]) -> None:
        self.first = min(self.first, ask)
        if self._shuts:
            self._shut.update(keys)

    def waits(self, ask: int, now: float, keys: Sequence[Hashable] = ()) -> bool:
        """Whether a call waits, or is behind one that does."""
        if not self.any:
            return False
        waits = self._due.get(ask, -inf) > now or (bool(self._shut) and not self._shut.isdisjoint(keys))
        if waits:
            self._waits(ask, keys)
        return waits

    def come(self, now: float) -> int | None:
        """The first ask to read again, where some are due. The lanes are open again."""
        if self.next() > now:
            return None
        first = self.first
        while self._heap and self._heap[0][0] <= now:
            due, ask = heappop(self._heap)
            if self._due.get(ask) == due:
                del self._due[ask]
        self._shut.clear()
        self.first = min(self._due, default=inf)
        return int(first)

    def gone(self, ask: int) -> None:
        """A call was settled meanwhile."""
        self._due.pop(ask, None)

    def next(self) -> float:
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else inf

    @property
    def any(self) -> bool:
        """Something waits."""
        return bool(self._due or self._shut)

    @property
    def full(self) -> bool:
        return len(self._due) >= _MOST_PUT_OFF

    @property
    def number(self) -> int:
        return len(self._due)


def _time(fact: object) -> float:
    return float(fact) if isinstance(fact, int | float) else -inf
