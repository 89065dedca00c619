"""Lanes: calls of one person, or of one object at the vendor, keep their order; others share requests.

    ana   ─ identify ─ identify ─ track ─►      a lane is busy while a request holds a call of it;
    bob   ─ track ─►                            a call that is first in all its lanes is ready, and waits
    bob@x ─ identify (bob) ─ identify (eve) ─►  in the queue of its route
    eve   ─ identify ─ ─ ─ due 12:01            one that was put off keeps its lanes waiting until it is due

What happened (`live`) goes before what the workspace asked for (`backfill`), but for one batch in ten.
"""

from collections import deque
from collections.abc import Callable, Hashable
from heapq import heappop, heappush
from itertools import count
from typing import Any

from msgspec.json import encode

from schemas.calls import Call
from schemas.limits import Batch
from schemas.outcomes import Rejected

COLLECT = "collect"  # the route of calls that are in a job of the vendor's
_ASKED_ABOUT = Batch(100_000, 2**40)
_ENVELOPE = 300  # bytes around the value of a call in a request's body
_OVERHEAD = 1_200  # bytes that a call takes in memory beside those
_SHARE = 10  # one batch in so many is of the backfill, while live calls wait


class Item:
    """A call in the sender's memory, and what became of it so far."""

    __slots__ = (
        "accused", "attempts", "before", "call", "doubt", "due", "gone", "heir", "job", "lanes", "marked", "maybe",
        "out", "put_off", "ready", "refused", "route", "sampled", "scheduled", "settled", "since", "taken_back",
        "trouble", "unit", "until", "weight",
    )  # fmt: skip

    def __init__(self, call: Call) -> None:
        self.call = call
        self.before: bytes | None = call.before  # digest of what the vendor has until this lands; None: not known
        self.attempts = 0  # requests that carried it, in this process
        self.maybe = False  # an attempt of it, or of one whose place it took, may have landed
        self.until = 0.0  # and may do so until then; seconds since 1970
        self.since = 0.0  # when it first failed, seconds since 1970; 0: it did not
        self.job = ""  # the vendor's, that it is in
        self.doubt: tuple[bool, float] | None = None  # `maybe` and `until` as they were ahead of the job
        self.marked = False  # a mark of it stands in the log
        self.put_off = 0  # how often, in this process
        self.trouble = 0.0  # since when it is put off, by the clock
        self.taken_back = False  # while it was out: it is not to be tried again
        self.settled = False
        self.refused: Rejected | None = None  # by the vendor, while it is not known whose fault that is
        self.sampled = False  # what its key needs was prepared once more for it
        self.accused: object = None  # the same, of a refusal that may be about who tells
        # -- of the lanes
        self.lanes: tuple[_Lane, ...] = ()
        self.route = ""
        self.unit: Hashable = None
        self.weight = 0
        self.due = 0.0  # not before, by the clock
        self.scheduled = 0.0  # the same, where its lanes wait for nothing else
        self.out: object = None  # the batch that it is in
        self.ready = self.gone = False
        self.heir: Item | None = None  # who took its place: it goes when this one would have gone

    def __repr__(self) -> str:
        return f"Item({self.call.ask})"


class _Lane:
    __slots__ = ("holder", "key", "out", "waiting")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.waiting: deque[Item] = deque()  # by ask
        self.out = 0  # calls of it in requests
        self.holder: _Forming | None = None  # the batch that they are in

    def head(self) -> Item | None:
        waiting = self.waiting
        while waiting:
            if not waiting[0].gone:
                return waiting[0]
            waiting.popleft()
        return None


class _Forming:
    """A batch that is being filled."""

    def __init__(self, route: str, size: Batch) -> None:
        self.route, self.size = route, size
        self.items: list[Item] = []
        self.weight = 0
        self._units: set[Hashable] = set()
        self._keys: dict[Hashable, Any] = {}

    @property
    def full(self) -> bool:
        return len(self._units) >= self.size.items or self.weight >= self.size.bytes

    def takes(self, item: Item) -> bool:
        """Add the call if it fits and repeats no key; whether it was added."""
        call, unit = item.call, item.unit
        key = (call.kind, call.identifier, call.key)
        # Two spellings of one identifier are one object at the vendor: it cannot have two values of a key.
        if key in self._keys or self._keys.get((unit, call.key), call.value) != call.value:
            return False
        heavier = self.weight + item.weight
        if self._units and ((unit not in self._units and self.full) or heavier > self.size.bytes):
            return False
        self.weight = heavier
        self._units.add(unit)
        self._keys[key] = self._keys[unit, call.key] = call.value
        self.items.append(item)
        return True


class Lanes:
    """Calls that wait, and what of them can go together next."""

    def __init__(
        self,
        route: Callable[[Call], str],
        unit: Callable[[Call], Hashable],
        batch_of: Callable[[str], Batch],
        objects: bool = True,
    ) -> None:
        """`objects`: a unit may be more than one identifier, or a part of one, so that it is a lane of its own."""
        self._route, self._unit, self._batch_of, self._objects = route, unit, batch_of, objects
        self._lanes: dict[Hashable, _Lane] = {}
        self._due: list[tuple[float, int, Item]] = []  # a heap; what is not its item's time is void
        self._sizes: dict[str, Batch] = {}  # by route
        self._queues: dict[tuple[str, bool], deque[Item]] = {}  # by route and class
        self._numbers = count()
        self._turn = 0
        self.waiting = {False: 0, True: 0}  # calls, by whether they are backfill
        self.ready = {False: 0, True: 0}
        self.bytes = 0  # bytes of calls in memory, those in requests too
        self.largest = 1  # units that a batch of the routes met so far may have
        self.shared = 0  # calls for an identifier that another person's call waited for

    def keys(self, call: Call, unit: Hashable) -> tuple[Hashable, ...]:
        """The lanes of a call."""
        if self._objects and call.kind != "track":
            return (call.profile_id, call.identifier, (unit,))
        return (call.profile_id, call.identifier)

    def add(self, item: Item, unit: Hashable = None) -> None:
        """At its place, by ask. What a destination's module raises comes before anything is changed."""
        call = item.call
        item.route, item.weight = self.route_of(item), weigh(call)
        item.unit = self._unit(call) if unit is None else unit
        if item.route not in self._sizes:
            self._sizes[item.route] = size = _ASKED_ABOUT if item.job else self._batch_of(item.route)
            self.largest = max(self.largest, 1 if item.job else size.items)
        item.lanes = tuple([self._lane(key) for key in self.keys(call, item.unit)])
        others = item.lanes[1].waiting
        self.shared += bool(others) and others[-1].call.profile_id != call.profile_id
        self.bytes += item.weight + _OVERHEAD
        self._put(item)

    def route_of(self, item: Item) -> str:
        """Calls of the same route may share a request; those that are in a job of the vendor's are asked about."""
        return COLLECT if item.job else self._route(item.call)

    def size_of(self, route: str) -> Batch:
        """How much one request of a route takes."""
        return self._sizes[route]

    def _lane(self, key: Hashable) -> _Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(key)
        return lane

    def _put(self, item: Item) -> None:
        self.waiting[item.call.backfill] += 1
        alone = True
        for lane in item.lanes:
            if lane.waiting or lane.out:
                alone = False
                _insert(lane.waiting, item)
            else:
                lane.waiting.append(item)
        if alone:
            self._make_ready(item)
        else:
            self._offer(item)

    def room(self, backfill: bool, most: int) -> bool:
        """Whether more calls of this class may be read, where one connection may hold so many bytes."""
        window = max(_FEWEST, 4 * self.largest)
        full = self.ready[backfill] >= window or self.waiting[backfill] >= _CALLS_EACH * window
        share = most if not backfill else most * 3 // 4  # what happens must find room beside any backlog
        return not full and self.bytes < share

    def plenty(self) -> bool:
        """Some route has a full batch."""
        return any(len(queue) >= self._sizes[route].items for (route, _), queue in self._queues.items())

    def of(self, profile_id: str) -> list[Item]:
        """The calls of one person, in requests too."""
        lane = self._lanes.get(profile_id)
        if lane is None:
            return []
        out = [item for item in lane.holder.items if item.out is lane.holder] if lane.holder else []
        return [each for each in (*out, *lane.waiting) if each.call.profile_id == profile_id and not each.gone]

    # -- what becomes of a batch that was taken

    def done(self, item: Item) -> None:
        """The call has its outcome, or leaves memory: its lanes go on."""
        if not item.out:
            self._remove(item)
            return
        item.out = None
        self.bytes -= item.weight + _OVERHEAD
        self._release(item)

    def _remove(self, item: Item) -> None:
        """Forget a call that waited."""
        if item.gone:
            return
        item.gone = True
        self.waiting[item.call.backfill] -= 1
        self.bytes -= item.weight + _OVERHEAD
        if item.ready:
            item.ready = False
            self.ready[item.call.backfill] -= 1
        for lane in item.lanes:
            self._next(lane)

    def _release(self, item: Item) -> None:
        for lane in item.lanes:
            lane.out -= 1
            if not lane.out:
                lane.holder = None
                if lane.waiting:
                    self._next(lane)
                else:
                    self._lanes.pop(lane.key, None)

    def _next(self, lane: _Lane) -> None:
        if head := lane.head():
            self._offer(head)
        elif not lane.out:
            self._lanes.pop(lane.key, None)

    def put_back(self, item: Item, due: float) -> None:
        """Put a call back to its place in its lanes. It waits until `due`, and what is behind it too."""
        item.out = None
        item.due = due
        if (item.route == COLLECT) != bool(item.job):
            item.route = self.route_of(item)
            self._sizes.setdefault(COLLECT, _ASKED_ABOUT)
        for lane in item.lanes:
            _insert(lane.waiting, item)
        self.waiting[item.call.backfill] += 1
        self._release(item)

    def behind(self, item: Item) -> bool:
        """Whether an earlier call of its lanes was put back and has to go first."""
        return any((head := lane.head()) is not None and head.call.ask < item.call.ask for lane in item.lanes)

    # -- what goes next

    def next_due(self) -> float | None:
        """When the first of the calls that wait for their time is due."""
        while self._due and (self._due[0][2].gone or self._due[0][2].due != self._due[0][0]):
            heappop(self._due)
        return self._due[0][0] if self._due else None

    def take(
        self, now: float, may_go: Callable[[str], bool] = lambda route: True, full: bool = False
    ) -> list[Item] | None:
        """The next batch: of the route that fills a request best, of those that may go. None: nothing is ready.

        `full`: more is being read, so only a full one.
        """
        while (due := self.next_due()) is not None and due <= now:
            item = heappop(self._due)[2]
            item.due = item.scheduled = 0.0
            self._offer(item)
        while (found := self._best(may_go, full)) is not None:
            if batch := self._fill(*found, now):
                return batch
        return None

    def _best(self, may_go: Callable[[str], bool], full: bool) -> tuple[str, bool] | None:
        """Route and class to begin the batch with."""
        if len(self._queues) == 1 and not full:
            (only,) = self._queues
            self._turn += 1
            return only if may_go(only[0]) else None
        fills = {
            (route, backfill): min(len(queue) / self._sizes[route].items, 1.0)
            for (route, backfill), queue in self._queues.items()
            if queue and may_go(route)
        }
        classes = {backfill for _, backfill in fills}
        if not classes:
            return None
        backfill = True in classes and (len(classes) == 1 or self._turn % _SHARE == _SHARE - 1)
        route = max((route for route, each in fills if each == backfill), key=lambda each: fills[each, backfill])
        if full and sum(fills.get((route, each), 0.0) for each in (False, True)) < 1.0:
            return None
        self._turn += 1
        return route, backfill

    def _fill(self, route: str, backfill: bool, now: float) -> list[Item]:
        forming = _Forming(route, self._sizes[route])
        for each in (backfill, not backfill):
            queue = self._queues.get((route, each))
            passed_over: list[Item] = []
            while queue and not forming.full:
                item = _heir(queue.popleft(), route, each)
                if not item.ready or not self._first(item, None):
                    self._unready(item)
                elif forming.takes(item):
                    self._take_out(item, forming)
                    self._follow(item, forming, now)
                else:
                    passed_over.append(item)
            if queue is not None:
                queue.extendleft(reversed(passed_over))
                if not queue:
                    del self._queues[route, each]
        return forming.items

    def _follow(self, item: Item, forming: _Forming, now: float) -> None:
        """What comes next in its lanes, while it may go along."""
        for lane in item.lanes:
            while (following := lane.head()) is not None:
                if following.due > now or following.route != forming.route or not self._first(following, forming):
                    break
                if not forming.takes(following):
                    break
                self._take_out(following, forming)

    def _take_out(self, item: Item, forming: _Forming) -> None:
        self._unready(item)
        item.due = item.scheduled = 0.0
        item.out = forming
        self.waiting[item.call.backfill] -= 1
        for lane in item.lanes:
            lane.waiting.popleft()
            lane.out += 1
            lane.holder = forming

    def _unready(self, item: Item) -> None:
        if item.ready:
            item.ready = False
            self.ready[item.call.backfill] -= 1

    def _first(self, item: Item, forming: _Forming | None) -> bool:
        """Whether it is the first in all its lanes, and none of them is busy with another batch."""
        for lane in item.lanes:
            if lane.out and lane.holder is not forming:
                return False
            if lane.head() is not item:
                return False
        return True

    def _offer(self, item: Item) -> None:
        """Note the call as ready, if it may go."""
        if item.ready or item.gone or not self._first(item, None):
            return
        if item.due:
            if item.scheduled != item.due:
                item.scheduled = item.due
                heappush(self._due, (item.due, next(self._numbers), item))
            return
        self._make_ready(item)

    def _make_ready(self, item: Item) -> None:
        item.ready = True
        backfill = item.call.backfill
        self.ready[backfill] += 1
        queue = self._queues.get((item.route, backfill))
        if queue is None:
            queue = self._queues[item.route, backfill] = deque()
        queue.append(item)

    @property
    def idle(self) -> bool:
        """Nothing waits."""
        return not (self.waiting[False] or self.waiting[True])

    @property
    def stuck(self) -> bool:
        """Nothing can go, now or later, before something that is out has its outcome."""
        return not (self.ready[False] or self.ready[True]) and self.next_due() is None


_FEWEST = 2_000  # ready calls of a class that are read ahead
_CALLS_EACH = 10  # calls read ahead of one person, on average, before they hide the others


def _heir(item: Item, route: str, backfill: bool) -> Item:
    """Who goes at the place of an item in the queue of this route and class: itself, or the newest in its place."""
    while item.gone and item.heir and (item.heir.route, item.heir.call.backfill) == (route, backfill):
        item = item.heir
    return item


def _insert(waiting: deque[Item], item: Item) -> None:
    """By ask; most come at one of the two ends."""
    ask = item.call.ask
    if not waiting or waiting[-1].call.ask < ask:
        waiting.append(item)
        return
    place = 0
    while place < len(waiting) and waiting[place].call.ask < ask:
        place += 1
    waiting.insert(place, item)


def weigh(call: Call) -> int:
    """About how many bytes of body a call takes."""
    if not call.traits and not isinstance(call.value, str | list | dict):
        return _ENVELOPE
    return _ENVELOPE + len(encode((call.value, call.traits)))
