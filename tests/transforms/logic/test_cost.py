"""What deciding costs does not grow with what was decided before."""

import sys
from types import FrameType
from typing import Any

from schemas.registry import Registry
from schemas.state import decode_profile
from schemas.workspace import Computation, Connection, Sync, Workspace
from tests.transforms.logic.job import Event, Job, at, hour
from tests.transforms.logic.vendors import Settings
from transforms.logic.ledger import MOST_WAITING

SHOP = (
    Computation("Score", "trait", "score", "score"),
    Computation("VIP", "audience", "vip", "vip"),
    Computation("Shelf", "trait", "shelf", "shelf"),
)
ANA = {"type": "profile", "profile_id": "ana", "at": at(0)}
KNOWN: Event = {**ANA, "external_ids": [{"type": "email", "id": "ana@x.example"}, {"type": "user_id", "id": "u12345"}]}


def workspace(destination: str, connections: int, *syncs: Sync) -> Workspace:
    named = [Connection(f"c{number}", destination, syncs, Settings()) for number in range(connections)]
    return Workspace("shop", SHOP, tuple(named))


def fact(kind: str, computation: str, value: Any, hours: float) -> Event:
    field = "member" if kind == "audience" else "value"
    return {**ANA, "type": kind, "computation": computation, field: value, "at": at(hours)}


class Work:
    """How many instructions of Python something takes."""

    def __init__(self) -> None:
        self.done = 0

    def __enter__(self) -> "Work":
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        frame.f_trace_opcodes = True
        self.done += event == "opcode"
        return self._trace


def occur(job: Job, shop: Workspace, number: int) -> None:
    """One more change; its call has its outcome at once, where it lacks a key, and else waits."""
    events = [KNOWN] if number == 0 else [fact("trait", "score", number, 2 + number / 3600)]
    job.decide(shop, events, hour(2 + number / 3600))
    for connection in shop.connections:
        log = job.log(connection.name)
        if connection.destination == "desk":
            for record in log.unsettled():
                log.end(record.call.ask, "missing key", {}, job.seconds)
        log.records.clear()  # the log is not what is measured


def work_of(shop: Workspace, occurrences: list[int]) -> tuple[Job, list[int]]:
    """The work of deciding these occurrences out of all up to the last one."""
    job, found = Job(), []
    for number in range(max(occurrences) + 1):
        if number in occurrences:
            with Work() as work:
                occur(job, shop, number)
            found.append(work.done)
        else:
            occur(job, shop, number)
    return job, found


def test_the_last_of_many_asked_occurrences_costs_what_an_early_one_costs() -> None:
    job, (early, late) = work_of(workspace("mailer", 1, Sync("score", forms=("track",))), [100, 3_000])
    assert late <= 1.1 * early
    assert len(job.states["ana"]) < 300


def test_occurrences_that_lack_a_key_are_bounded_and_those_that_were_dropped_are_counted() -> None:
    shop = workspace("desk", 1, Sync("score", forms=("track",)))
    job, (early, late) = work_of(shop, [300, 1_000])
    assert late <= 1.1 * early
    assert MOST_WAITING == len(decode_profile(job.states["ana"]).waiting)
    job.decide(shop, [], hour(9))
    identifiers = 2
    assert identifiers * 1_000 - MOST_WAITING == job.dropped


def test_nothing_waits_for_a_key_that_the_vendor_does_not_declare() -> None:
    """A module's own check may say that a key is missing; nobody knows when it comes."""
    shop = workspace("mailer", 1, Sync("score", forms=("track",)))
    job = Job()
    job.run(shop, [KNOWN, fact("trait", "score", 1, 2)], hour(2))
    job.settle(["missing key"] * len(job.due))
    assert [] == job.run(shop, [], hour(3)), "it is not asked for again"
    assert [] == decode_profile(job.states["ana"]).waiting


def test_a_profile_that_was_told_everything_is_small() -> None:
    shop = workspace("mailer", 6, *(Sync(c.key, forms=("identify",)) for c in SHOP))
    events = [
        KNOWN,
        fact("trait", "score", 450.25, 1),
        fact("audience", "vip", True, 1),
        fact("trait", "shelf", "Shoes", 1),
    ]
    job = Job()
    job.run(shop, events, hour(2))
    job.settle(["delivered"] * len(job.due))
    assert [] == job.run(shop, [], hour(3))
    assert 18 == len(decode_profile(job.states["ana"]).ledger)
    assert len(job.states["ana"]) <= 700


def test_the_registry_grows_by_what_is_new_only() -> None:
    shop, job = workspace("mailer", 3, Sync("score", forms=("identify",))), Job(Registry())
    for number in range(3):
        job.run(shop, [], hour(number))
    assert (6, 3) == (len(job.registry.slots), len(job.registry.connections))
