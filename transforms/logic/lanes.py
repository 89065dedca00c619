"""Lanes: calls of one profile keep their order, calls of different profiles share requests.

ana   ─ identify ─ identify ─ track ─►      a lane is busy while a request holds its head;
bob   ─ track ─►                            ready lanes are queued by the route of their head
eve   ─ track ─ ─ ─ ─ ─ ─ due 12:01         a lane may wait for its time
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from heapq import heappop, heappush
from typing import Any, NamedTuple

from msgspec.json import encode

from schemas.calls import Call
from schemas.limits import Batch

_ENVELOPE = 300  # bytes around the value of a call in a request's body


class Item(NamedTuple):
    """A call and its place in the outbox."""

    ref: int
    call: Call


class Lanes:
    """Calls that wait, and what of them can go together next."""

    def __init__(
        self,
        route: Callable[[Call], str],
        unit: Callable[[Call], Hashable],
        batch_of: Callable[[str], Batch],
    ) -> None:
        self._route, self._unit, self._batch_of = route, unit, batch_of
        self._lanes: dict[str, deque[Item]] = {}
        self._busy: set[str] = set()  # with calls in a request, or waiting for their time
        self._until: dict[str, float] = {}  # lanes that wait for their time
        self._due: list[tuple[float, str]] = []  # a heap of them; an entry that is not the lane's time is void
        self._closed: set[str] = set()
        self._ready: dict[str, deque[str]] = {}  # route → profiles, oldest first
        self.waiting = 0
        self.largest = 1  # units that a batch of the routes met so far may have
        self.shared = 0  # identifiers that two profiles had in one batch's reach

    @property
    def ready(self) -> int:
        """How many profiles have calls that can go at once."""
        return len(self._lanes) - len(self._busy)

    @property
    def plenty(self) -> bool:
        """Some route has two full batches."""
        return any(len(ready) >= 2 * self._batch_of(route).items for route, ready in self._ready.items())

    def add(self, item: Item) -> None:
        """Behind everything of the same profile."""
        profile = item.call.profile_id
        if profile in self._closed:
            return
        lane = self._lanes.get(profile)
        if lane is None:
            lane = self._lanes[profile] = deque()
        lane.append(item)
        self.waiting += 1
        if len(lane) == 1 and profile not in self._busy:
            self._offer(profile)

    # -- what becomes of a batch that was taken

    def done(self, profiles: Iterable[str]) -> None:
        """These profiles' calls have their outcome: their next ones are ready."""
        for profile in profiles:
            self._busy.discard(profile)
            if self._lanes.get(profile):
                self._offer(profile)
            else:
                self._lanes.pop(profile, None)

    def postpone(self, items: list[Item], due: float) -> None:
        """These go back to their places in the lanes of their profiles, which wait until `due`, or longer."""
        for item in items:
            self._put_back(item)
        for profile in {item.call.profile_id for item in items} - self._closed:
            if due > self._until.get(profile, float("-inf")):
                self._until[profile] = due
                heappush(self._due, (due, profile))

    def _put_back(self, item: Item) -> None:
        if item.call.profile_id in self._closed:
            return
        lane = self._lanes.setdefault(item.call.profile_id, deque())
        place = 0  # the halves of one batch may come back one after the other
        while place < len(lane) and lane[place].ref < item.ref:
            place += 1
        lane.insert(place, item)
        self.waiting += 1

    def close(self, profiles: Iterable[str]) -> None:
        """Nothing more of these profiles goes: a call of theirs was left for later, and order is kept."""
        for profile in profiles:
            self._closed.add(profile)
            self._busy.discard(profile)
            self._until.pop(profile, None)
            self.waiting -= len(self._lanes.pop(profile, ()))

    # -- what goes next

    @property
    def idle(self) -> bool:
        """Nothing is ready, and nothing is in a request."""
        return not self._ready and len(self._busy) == len(self._until)

    def next_due(self) -> float | None:
        """When the next lane that waits for its time is ready."""
        while self._due and self._until.get(self._due[0][1]) != self._due[0][0]:
            heappop(self._due)
        return self._due[0][0] if self._due else None

    def take(self, now: float, may_go: Callable[[str], bool] = lambda route: True) -> list[Item] | None:
        """The next batch: of the route that fills a request best, of those that may go. None: nothing is ready."""
        while (due := self.next_due()) is not None and due <= now:
            profile = heappop(self._due)[1]
            del self._until[profile]
            self.done([profile])
        routes = [route for route in self._ready if may_go(route)]
        if not routes:
            return None
        route = max(routes, key=self._fill) if len(routes) > 1 else routes[0]
        return self._fill_batch(route, self._batch_of(route))

    def _fill(self, route: str) -> float:
        return min(len(self._ready[route]) / self._batch_of(route).items, 1.0)

    def _fill_batch(self, route: str, size: Batch) -> list[Item]:
        batch: list[Item] = []
        held: list[str] = []
        passed_over: list[str] = []
        units: set[Hashable] = set()
        keys: dict[Hashable, Any] = {}
        weight = 0
        ready = self._ready[route]
        while ready:
            profile = ready.popleft()
            before = len(batch)
            weight = self._take_from(profile, route, size, batch, units, keys, weight)
            (held if len(batch) > before else passed_over).append(profile)
            if len(units) >= size.items or weight >= size.bytes:
                break
        ready.extendleft(reversed(passed_over))
        if not ready:
            del self._ready[route]
        self._busy.update(held)
        self.waiting -= len(batch)
        return batch

    def _take_from(
        self,
        profile: str,
        route: str,
        size: Batch,
        batch: list[Item],
        units: set[Hashable],
        keys: dict[Hashable, Any],
        weight: int,
    ) -> int:
        """Calls from the head of a lane, while they are of this route, fit, and repeat no key; the weight then."""
        lane = self._lanes[profile]
        first = True
        while lane and (first or self._route(lane[0].call) == route):
            call = lane[0].call
            unit, key = self._unit(call), (call.kind, call.identifier, call.key)
            # Two spellings of one identifier are one object at the vendor: it cannot have two values of a key.
            if key in keys or keys.get((unit, call.key), call.value) != call.value:
                self.shared += first
                break
            heavier = weight + weigh(call)
            if units and ((unit not in units and len(units) >= size.items) or heavier > size.bytes):
                break
            weight = heavier
            units.add(unit)
            keys[key] = keys[unit, call.key] = call.value
            batch.append(lane.popleft())
            first = False
        return weight

    def _offer(self, profile: str) -> None:
        route = self._route(self._lanes[profile][0].call)
        ready = self._ready.get(route)
        if ready is None:
            ready = self._ready[route] = deque()
            self.largest = max(self.largest, self._batch_of(route).items)
        ready.append(profile)


def weigh(call: Call) -> int:
    """About how many bytes of body a call takes."""
    if not call.traits and not isinstance(call.value, str | list | dict):
        return _ENVELOPE
    return _ENVELOPE + len(encode((call.value, call.traits)))


def halves(items: list[Item], unit: Callable[[Call], Hashable]) -> tuple[list[Item], list[Item]]:
    """Two batches of about as many units; calls of one unit stay together."""
    order = list(dict.fromkeys(unit(item.call) for item in items))
    first = set(order[: (len(order) + 1) // 2])
    return [i for i in items if unit(i.call) in first], [i for i in items if unit(i.call) not in first]
