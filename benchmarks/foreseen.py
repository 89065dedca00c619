"""What a first sync takes at a destination: requests, and time at the published caps, foreseen from one full batch.

A standard workspace: an audience with everybody in it, and a trait that everybody has, both in the destination's first
form (of lists, the audience alone). Two people of five have a second address. One full batch of each route is talked
through with the sandbox, which shows its requests; a million people are so many of these batches.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import count
from math import ceil
from typing import NamedTuple

from sandbox.conversing import Clock, Conversing
from sandbox.examples import AUDIENCE, TRAIT, connected
from sandbox.server import Options, Sandbox
from schemas.calls import Call, Identifier
from schemas.canonical import digest
from schemas.limits import Limit
from transforms.destinations.contract import Destination, target_of
from transforms.logic.estimate import Asked, seconds_at
from transforms.logic.lanes import Item, Lanes

PEOPLE = 1_000_000  # of a sync whose batches are full


class Route(NamedTuple):
    """Calls that share requests, and what one full batch of them takes."""

    name: str
    calls: int  # in the batch
    a_person: float  # calls of the route, for one person
    asked: Counter[str]  # requests of the batch, by endpoint class
    objects: int  # in each of them


class Foreseen(NamedTuple):
    """A first sync at one destination."""

    once: int  # requests ahead of all others
    routes: list[Route]
    limits: tuple[Limit, ...]

    def calls(self, people: int) -> int:
        return round(people * sum(route.a_person for route in self.routes))

    def requests(self, people: int) -> int:
        return self.once + sum(self._batches(route, people) * route.asked.total() for route in self.routes)

    def seconds(self, people: int) -> float:
        """At the published caps; 0: there are none."""
        asked: dict[str, Asked] = {}
        for route in self.routes:
            for endpoint, number in route.asked.items():
                requests = number * self._batches(route, people)
                before = asked.get(endpoint, Asked(0, 0))
                asked[endpoint] = Asked(before.requests + requests, before.objects + requests * route.objects)
        return seconds_at(asked, self.limits)

    def _batches(self, route: Route, people: int) -> int:
        return ceil(people * route.a_person / route.calls)


def foresee(kind: type[Destination]) -> Foreseen:
    """Its secrets must be in the environment: see `sandbox.examples.environment`."""
    workspace, connection = connected(kind, kind.forms[:1])
    destination, clock = kind(workspace, connection), Clock()
    told = Conversing(destination, Sandbox(Options(clock=clock, capped=False)), clock)
    most = max(destination.batch_of(destination.route(call)).items for call in calls_of(kind, 1))
    number = 5 * ceil(most / 5)  # every one of them has an address for each route
    lanes, everybody = Lanes(destination.route, destination.unit, destination.batch_of), list(calls_of(kind, number))
    of_route = Counter(map(destination.route, everybody))
    for call in everybody:
        lanes.add(Item(call))
    if destination.auth.signs_in:
        told.sign_in()
    told.prepare(list({target_of(call): call for call in everybody}.values()))
    once, routes = len(told.sent), dict[str, Route]()
    while len(routes) < len(of_route) and (batch := lanes.take(0.0)):
        if batch[0].route not in routes:
            before = len(told.sent)
            told.deliver([item.call for item in batch])
            asked = Counter(request.endpoint for request in told.sent[before:])
            objects, route = len({item.unit for item in batch}), batch[0].route
            routes[route] = Route(route, len(batch), of_route[route] / number, asked, objects)
        for item in batch:
            lanes.done(item)
    return Foreseen(once, list(routes.values()), tuple(kind.limits))


def calls_of(kind: type[Destination], people: int) -> Iterator[Call]:
    """Of a first sync of so many people, in the order in which they are decided."""
    form = kind.forms[0]
    told = (AUDIENCE,) if form == "list" else (AUDIENCE, TRAIT)
    asks = count(1)
    for n in range(people):
        for address in "ab"[: 2 if n % 5 < 2 else 1]:
            for slot, computation in enumerate(told, 1):
                audience = computation is AUDIENCE
                yield Call(
                    f"customer-{n:07}", "add" if form == "list" else form, identifier(kind, n, address),
                    computation.key, True if audience else n / 100, 1_760_000_000_000_000 + n, next(asks), slot, 1,
                    computation.key, computation.key, before=digest(False if audience else None),
                    traits=dict.fromkeys(kind.required, "Ann"),
                )  # fmt: skip


def identifier(kind: type[Destination], person: int, address: str) -> Identifier:
    """An e-mail address where the destination takes one, else what it takes first."""
    known = kind.identifiers
    type_ = "email" if {"email", "*"} & set(known) else known[0]
    match type_:
        case "email":
            return Identifier(type_, f"{address}{person:07}@example.com")
        case "phone":
            return Identifier(type_, f"+4917{'ab'.index(address)}{person:07}")
        case "ios.idfa" | "android.idfa":
            return Identifier(type_, f"6d92078a-8246-4ba4-ae5b-{address * 4}0{person:07}")
        case _:
            return Identifier(type_, f"{address}{person:07}")
