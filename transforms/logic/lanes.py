"""Lanes: calls of one profile keep their order, calls of different profiles share requests.

ana   ─ identify ─ identify ─ track ─►      a lane is busy while a request holds its head;
bob   ─ track ─►                            ready lanes are queued by the route of their head
"""

from collections import deque
from collections.abc import Callable, Hashable
from typing import NamedTuple

from msgspec.json import encode

from schemas.calls import Call
from transforms.destinations.contract import Batch

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
        self._busy: set[str] = set()
        self._ready: dict[str, dict[str, None]] = {}  # route → profiles, oldest first
        self.waiting = 0
        self.shared = 0  # identifiers that two profiles had in one batch's reach

    def add(self, item: Item) -> None:
        """Behind everything of the same profile."""
        lane = self._lanes.setdefault(item.call.profile_id, deque())
        lane.append(item)
        self.waiting += 1
        if len(lane) == 1 and item.call.profile_id not in self._busy:
            self._offer(item.call.profile_id)

    def put_back(self, items: list[Item]) -> None:
        """In front of everything of the same profile, which `done` then makes ready again."""
        for item in reversed(items):
            self._lanes.setdefault(item.call.profile_id, deque()).appendleft(item)
        self.waiting += len(items)

    def done(self, profiles: set[str]) -> None:
        """These profiles' calls have their outcome: their next ones are ready."""
        for profile in profiles:
            self._busy.discard(profile)
            if self._lanes.get(profile):
                self._offer(profile)
            else:
                self._lanes.pop(profile, None)

    def take(self) -> tuple[str, list[Item]] | None:
        """The next batch and its route: of the route that fills a request best. None: nothing is ready."""
        if not self._ready:
            return None
        route = max(self._ready, key=lambda r: min(len(self._ready[r]) / self._batch_of(r).items, 1.0))
        size = self._batch_of(route)
        batch, units, keys, weight = list[Item](), set[Hashable](), set[Hashable](), 0
        for profile in list(self._ready[route]):
            room = len(units) < size.items and weight < size.bytes
            if not room:
                break
            taken = self._take_from(profile, route, size, units, keys, weight)
            if taken:
                batch += taken
                weight += sum(weigh(item.call) for item in taken)
                self._hold(profile, route)
        return route, batch

    def _take_from(
        self, profile: str, route: str, size: Batch, units: set[Hashable], keys: set[Hashable], weight: int
    ) -> list[Item]:
        """Calls from the head of a lane, while they are of this route, fit, and repeat no key."""
        taken: list[Item] = []
        lane = self._lanes[profile]
        while lane and self._route(lane[0].call) == route:
            call = lane[0].call
            unit, key = self._unit(call), (call.kind, call.identifier, call.key)
            weight += weigh(call)
            if key in keys:
                self.shared += not taken
                break
            if (unit not in units and len(units) >= size.items) or (units and weight > size.bytes):
                break
            units.add(unit)
            keys.add(key)
            taken.append(lane.popleft())
        self.waiting -= len(taken)
        return taken

    def _hold(self, profile: str, route: str) -> None:
        self._busy.add(profile)
        del self._ready[route][profile]
        if not self._ready[route]:
            del self._ready[route]

    def _offer(self, profile: str) -> None:
        route = self._route(self._lanes[profile][0].call)
        self._ready.setdefault(route, {})[profile] = None


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
