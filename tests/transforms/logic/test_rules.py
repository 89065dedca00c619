"""What is sent, for every history: against a slow model of the rules, and against a simulated vendor."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.calls import Identifier
from schemas.state import encode_profile
from schemas.workspace import Connection, Sync, Workspace
from tests.transforms.logic import histories
from tests.transforms.logic.job import Event, Job, Made, at, hour
from tests.transforms.logic.model import Model, Told, canonical
from tests.transforms.logic.vendors import destination_of
from transforms.logic.ledger import Fate, slot_of

FINAL = (Fate.DELIVERED, Fate.DELIVERED, Fate.REJECTED)
ANY = (Fate.DELIVERED, Fate.DELIVERED, *Fate)

MANY = settings(max_examples=300, deadline=None)
IN_RUNS = given(
    histories.workspaces(),
    histories.events,
    st.lists(histories.removals, min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)


def in_runs(events: Sequence[Event], number: int, chance: Random) -> list[list[Event]]:
    """The events in any order, or that of their times, some of them twice, in so many runs."""
    order = [*events, *chance.choices(events, k=len(events) // 2)]
    chance.shuffle(order)
    if chance.random() < 0.5:
        order.sort(key=lambda event: str(event["at"]))
    cuts = sorted(chance.choices(range(len(order) + 1), k=number - 1))
    return [order[start:end] for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]


def runs_without(
    removals: Sequence[set[tuple[str, str]]], workspace: Workspace, events: Sequence[Event], chance: Random
) -> Iterator[tuple[Workspace, list[Event], datetime]]:
    """As many runs, an hour after another, each without some of the syncs."""
    parts = in_runs(events, len(removals), chance)
    for number, (part, removed) in enumerate(zip(parts, removals, strict=True)):
        yield histories.without(workspace, removed), part, hour(2 + number)


def fate_of(made: Made, among: Sequence[Fate], chance: Random) -> Fate:
    """What becomes of a call; one without a required key is always refused."""
    connection, call = made
    if connection == "my-desk" and call.kind != "delete" and "name" not in call.traits:
        return Fate.REJECTED_FOR_NOW
    return chance.choice(among)


def facts(made: Made) -> tuple[object, ...]:
    """A call as the model describes it."""
    connection, call = made
    slot = " ".join(slot_of(call))
    return (
        connection,
        slot,
        call.kind,
        call.identifier,
        canonical(call.value),
        call.at,
        call.told,
        canonical(call.traits),
    )


def by_facts(calls: Sequence[Told]) -> dict[tuple[object, ...], Told]:
    return {told.facts(): told for told in calls}


@MANY
@given(histories.workspaces(), histories.events, st.integers(1, 4), st.randoms(use_true_random=False))
def test_order_repetition_and_splitting_of_events_change_nothing_in_what_is_known(
    workspace: Workspace, events: list[Event], runs: int, chance: Random
) -> None:
    def known(parts: list[list[Event]]) -> bytes:
        job = Job()
        for part in parts:
            job.run(workspace, part, hour(12))
        state = job.profile("ana")
        assert state is not None
        state.ledger = {}
        return encode_profile(state)

    assert known([events]) == known(in_runs(events, runs, chance))


@pytest.mark.parametrize(
    ("one", "other"), [(1, 1.0), ({"a": 1, "b": [2]}, {"b": [2], "a": 1}), ([0, True], [-0.0, True])]
)
def test_equal_values_of_one_time_leave_the_same_state_whichever_came_first(one: Any, other: Any) -> None:
    def events(value: Any) -> list[Event]:
        head = {"profile_id": "ana", "at": at(1)}
        return [
            {"type": "trait", "computation": "score", "value": value, **head},
            {"type": "profile", "external_ids": [], "traits": {"plan": value}, **head},
        ]

    states = set()
    for order in ([*events(one), *events(other)], [*events(other), *events(one)]):
        job = Job()
        job.run(Workspace("shop", (histories.SCORE,), ()), order, hour(2))
        states.add(bytes(job.state.profiles["ana"]))
    assert 1 == len(states)


@MANY
@IN_RUNS
def test_the_calls_are_those_of_the_model(
    workspace: Workspace, events: list[Event], removals: list[set[tuple[str, str]]], chance: Random
) -> None:
    job, model = Job(), Model()
    for shop, part, now in runs_without(removals, workspace, events, chance):
        held = chance.choice([[], [], ["my-ads"], ["my-site", "my-ads"]])
        made = job.run(shop, part, now, held)
        expected = by_facts(model.run(shop, part, now, held))
        assert sorted(map(repr, expected)) == sorted(repr(facts(each)) for each in made)
        fates = [fate_of(each, ANY, chance) for each in made]
        job.settle(fates)
        for each, fate in zip(made, fates, strict=True):
            model.settle(expected[facts(each)], fate)


@MANY
@given(
    histories.workspaces(forms=("identify", "track")),
    histories.events,
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_a_repeated_run_makes_no_call_once_every_call_has_its_outcome(
    workspace: Workspace, events: list[Event], runs: int, chance: Random
) -> None:
    job = Job()
    for part in in_runs(events, runs, chance):
        made = job.run(workspace, part, hour(12))
        job.settle([fate_of(each, FINAL, chance) for each in made])
    for part in in_runs(events, runs, chance):
        assert [] == job.run(workspace, part, hour(13))


@MANY
@IN_RUNS
def test_whatever_happens_to_calls_every_vendor_ends_with_what_is_wanted(
    workspace: Workspace, events: list[Event], removals: list[set[tuple[str, str]]], chance: Random
) -> None:
    job, model, vendors = Job(), Model(), Vendors()
    for shop, part, now in runs_without(removals, workspace, events, chance):
        held = chance.choice([[], ["my-ads"]])
        if chance.random() < 0.2:  # killed before the commit: as if it had not been
            replace(job).run(shop, part, now, held)
        before = model.deleted()
        model.run(shop, part, now, held)
        if model.deleted() > before:
            vendors.abandon()
        killed = chance.random() < 0.1  # before anything was sent
        deliver(job, job.run(shop, part, now, held), vendors, [Fate.PENDING] if killed else ANY, chance)
    mended = histories.in_europe(workspace)  # other settings: what was refused is tried again
    model.run(mended, [], hour(23), [])
    deliver(job, job.run(mended, [], hour(23)), vendors, [Fate.DELIVERED], chance)
    assert [] == job.run(mended, [], hour(23))
    for connection in mended.connections:
        for sync in connection.syncs:
            vendors.check(mended, connection, sync, model)


def deliver(job: Job, made: list[Made], vendors: "Vendors", among: Sequence[Fate], chance: Random) -> None:
    """Let things happen to the calls of a run."""
    fates = [fate_of(each, among, chance) for each in made]
    for each, fate in zip(made, fates, strict=True):
        vendors.hear(each, fate, arrived=chance.random() < 0.5)
    job.settle(fates)


class Vendors:
    """What every vendor really has, and whom it may have been told about."""

    def __init__(self) -> None:
        self.has: dict[tuple[str, str, Identifier], str] = {}  # connection, slot, identifier: value
        self.exposed: set[tuple[str, str, Identifier]] = set()  # may have been told `true`

    def hear(self, made: Made, fate: Fate, arrived: bool) -> None:
        connection, call = made
        where = connection, " ".join(slot_of(call)), call.identifier
        if call.value is False and call.key == "vip":
            assert where in self.exposed, "told false who was never told true"
        possibly = fate in (Fate.DELIVERED, Fate.MAYBE, Fate.EXPIRED_MAYBE, Fate.REJECTED_MAYBE)
        if possibly and call.value is True:
            self.exposed.add(where)
        if fate != Fate.DELIVERED and not (possibly and arrived):
            return
        if call.kind == "delete":
            self.has = {w: v for w, v in self.has.items() if (w[0], w[2]) != (connection, call.identifier)}
        else:
            self.has[where] = canonical(call.value)

    def abandon(self) -> None:
        """The person was deleted: a vendor that cannot forget is told no more, so what it has is its own."""
        self.has = {where: value for where, value in self.has.items() if where[0] in ("my-mailer", "my-ads")}
        self.exposed.clear()

    def check(self, workspace: Workspace, connection: Connection, sync: Sync, model: Model) -> None:
        """The vendor has what is wanted."""
        destination = destination_of(workspace, connection)
        if destination.forgets:
            assert {i for c, _, i in self.has if c == connection.name} <= model.identifiers()
        fact = model.value(sync.computation)
        created = model.created[connection.name, sync.computation]
        cut = fact is not None and fact[0] <= created and not (sync.historical and destination.history)
        if fact is None or cut or not model.traits(sync, destination.required).keys() >= destination.required.keys():
            return
        slot = f"{'list' if destination.kind == 'list' else 'identify'} {sync.computation}"
        has = {i: value for (c, s, i), value in self.has.items() if (c, s) == (connection.name, slot)}
        if fact[1] is False and sync.computation == "vip":
            assert "true" not in has.values()
        elif sync.resync_on_new_identifier:
            wanted = {i: canonical(fact[1]) for i in model.receivers(destination.understands(), sync)}
            assert wanted == {i: has.get(i, "null") for i in wanted}
