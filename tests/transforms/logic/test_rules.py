"""What is sent, for every history: against a slow model of the rules, and against a simulated vendor."""

import os
from collections.abc import Iterator, Sequence
from copy import deepcopy
from datetime import datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.calls import Call
from schemas.state import ProfileState, encode_profile
from schemas.workspace import Connection, Sync, Workspace
from tests.transforms.logic import histories
from tests.transforms.logic.job import Event, Job, Made, at, hour
from tests.transforms.logic.model import Model, Place, Told, account, canonical
from tests.transforms.logic.plain_sender import OPEN, Outcome
from tests.transforms.logic.vendors import VENDORS, vendor_of

FINAL: tuple[Outcome, ...] = ("delivered", "delivered", "rejected")
ANY: tuple[Outcome, ...] = (
    "delivered", "delivered", "delivered", "rejected", "rejected maybe", "maybe", "expired", "expired maybe", "pending",
)  # fmt: skip

# EXAMPLES=4000 looks longer.
MANY = settings(max_examples=int(os.environ.get("EXAMPLES", "80")))
IN_RUNS = given(
    histories.workspaces(),
    histories.events,
    st.lists(histories.removals, min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
WITH_OCCURRENCES = given(
    histories.workspaces(occurrences=True),
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


def outcomes_of(made: Sequence[Made], among: Sequence[Outcome], chance: Random) -> list[Outcome]:
    """What becomes of calls: one without a required key is refused, one behind something without an outcome waits."""
    found: list[Outcome] = []
    for number, (connection, call) in enumerate(made):
        before = [
            outcome
            for (name, other), outcome in zip(made[:number], found, strict=True)
            if name == connection
            and other.profile_id == call.profile_id
            and ("delete" in (other.kind, call.kind) or (other.slot, other.identifier) == (call.slot, call.identifier))
        ]
        if {"pending", "maybe"} & {*before}:
            found.append("pending")
        elif connection == "my-desk" and call.kind != "delete" and "name" not in call.traits:
            found.append("missing key")
        else:
            found.append(chance.choice(among))
    return found


def slot_of(call: Call) -> str:
    form = "list" if call.kind in ("add", "remove") else call.kind
    return f"{form} {call.key}"


def facts(made: Made) -> tuple[object, ...]:
    """A call as the model describes it."""
    connection, call = made
    return connection, slot_of(call), call.kind, call.identifier, canonical(call.value), canonical(call.traits)


def by_facts(calls: Sequence[Told]) -> dict[tuple[object, ...], Told]:
    return {told.facts(): told for told in calls}


def in_order(state: ProfileState) -> bytes:
    """What is known, without the ledger; identifiers in order, since their places are those of their arrival."""
    state.ledger, state.asked = {}, []
    state.ids.sort(key=lambda known: known.identifier)
    return encode_profile(state)


@MANY
@given(histories.workspaces(), histories.events, st.integers(1, 4), st.randoms(use_true_random=False))
def test_order_repetition_and_splitting_of_events_change_nothing_in_what_is_known(
    workspace: Workspace, events: list[Event], runs: int, chance: Random
) -> None:
    def known(parts: list[list[Event]]) -> bytes:
        job = Job()
        for part in parts:
            job.run(workspace, part, hour(12))
            job.settle(["delivered"] * len(job.due))
        job.run(workspace, [], hour(13))
        state = job.profile("ana")
        assert state is not None
        state.ids = [each for each in state.ids if each.latest >= 0]
        state.cut = 0
        return in_order(state)

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
        states.add(job.states["ana"])
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
        outcomes = outcomes_of(made, ANY, chance)
        job.settle(outcomes)
        for each, outcome in zip(made, outcomes, strict=True):
            model.settle(expected[facts(each)], outcome)


def a_repeated_run_makes_no_call(workspace: Workspace, events: list[Event], runs: int, chance: Random) -> None:
    """Once every call has its outcome."""
    job = Job()
    for part in in_runs(events, runs, chance):
        for _ in range(9):  # what an outcome asks for has its own
            made = job.run(workspace, part, hour(12))
            job.settle(outcomes_of(made, FINAL, chance))
            if not made:
                break
    for part in in_runs(events, runs, chance):
        assert [] == job.run(workspace, part, hour(13))


@MANY
@given(histories.workspaces(occurrences=True), histories.events, st.integers(1, 4), st.randoms(use_true_random=False))
def test_a_repeated_run_makes_no_call_once_every_call_has_its_outcome(
    workspace: Workspace, events: list[Event], runs: int, chance: Random
) -> None:
    a_repeated_run_makes_no_call(workspace, events, runs, chance)


@MANY
@WITH_OCCURRENCES
def test_whatever_happens_to_calls_every_vendor_ends_with_what_is_wanted(
    workspace: Workspace, events: list[Event], removals: list[set[tuple[str, str]]], chance: Random
) -> None:
    job, model, vendors = Job(), Model(), Vendors()
    for shop, part, now in runs_without(removals, workspace, events, chance):
        held = chance.choice([[], ["my-ads"]])
        if chance.random() < 0.2:  # killed before the commit: as if it had not been
            deepcopy(job).run(shop, part, now, held)
        before = model.deleted()
        model.run(shop, part, now, held)
        if model.deleted() > before:
            vendors.abandon(shop)
        killed = chance.random() < 0.1  # before anything was sent
        deliver(job, job.run(shop, part, now, held), shop, vendors, ["pending"] if killed else ANY, chance)
    mended = histories.in_europe(workspace)  # other settings: what was refused is tried again
    model.run(mended, [], hour(23), [])
    for number in range(9):
        made = job.run(mended, [], hour(23 + number))
        deliver(job, made, mended, vendors, ["delivered"], chance)
        if not made:
            break
    assert [] == job.run(mended, [], hour(40))
    for connection in mended.connections:
        log = job.log(connection.name)
        assert "pending" not in log.counts()
        for sync in connection.syncs:
            for form in sync.forms:
                vendors.check(connection, sync, form, model)


def deliver(
    job: Job, made: list[Made], workspace: Workspace, vendors: "Vendors", among: Sequence[Outcome], chance: Random
) -> None:
    """Let things happen to the calls of a run, one after the other."""
    connections = {connection.name: connection for connection in workspace.connections}
    for each, outcome in zip(made, outcomes_of(made, among, chance), strict=True):
        name, call = each
        if job.log(name).records[call.ask].receipt is None:
            vendors.hear(connections[name], call, outcome, arrived=chance.random() < 0.5)
            job.settle_one(each, outcome)


class Vendors:
    """What every vendor really has, and whom it may have been told about."""

    def __init__(self) -> None:
        self.has: dict[Place, str] = {}  # of `track`: the last occurrence that it heard
        self.exposed: set[Place] = set()  # may have been told `true`

    def hear(self, connection: Connection, call: Call, outcome: Outcome, arrived: bool) -> None:
        place = account(connection), slot_of(call), call.identifier
        sent = outcome not in ("pending", "missing key")
        if call.value is False and call.key == "vip" and sent:
            assert place in self.exposed, "told false who was never told true"
        possibly = outcome == "delivered" or "maybe" in outcome
        if possibly and call.value is True:
            self.exposed.add(place)
        failed = call.kind == "delete" and outcome not in OPEN  # if not delivered: what it has stays its own
        if outcome != "delivered" and not (possibly and arrived) and not failed:
            return
        if call.kind == "delete":
            self.has = {p: v for p, v in self.has.items() if (p[0], p[2]) != (place[0], place[2])}
        else:
            self.has[place] = canonical(call.value)

    def abandon(self, workspace: Workspace) -> None:
        """The person was deleted: who cannot forget, or is not there now, is told no more; what it has is its own."""
        tenants = {account(c) for c in workspace.connections if vendor_of(c).forgets}
        self.has = {place: value for place, value in self.has.items() if place[0] in tenants}
        self.exposed.clear()

    def check(self, connection: Connection, sync: Sync, form: str, model: Model) -> None:
        """The vendor has what is wanted."""
        kind = VENDORS[connection.destination]
        fact = model.value(sync.computation)
        if fact is None or not model.in_history(connection, sync, form):
            return
        slot = f"{form} {sync.computation}"
        has = {i: value for (tenant, s, i), value in self.has.items() if (tenant, s) == (account(connection), slot)}
        receivers = [
            i for i in model.receivers(connection, sync)
            if model.traits(connection, sync, i, form).keys() >= kind.required.keys()
        ]  # fmt: skip
        if sync.computation == "vip":
            members = receivers if fact[1] else []
            outside = {i for i in has if i not in model.identifiers() or not model.matching(connection, sync)}
            if (
                kind.required.keys()
                <= model.traits(connection, sync, next(iter(model.identifiers()), None), form).keys()
            ):  # type: ignore[arg-type]
                assert "true" not in [has[i] for i in (outside if fact[1] else has)]
            if sync.resync_on_new_identifier:
                assert dict.fromkeys(members, "true") == {i: has.get(i) for i in members}
        elif sync.resync_on_new_identifier:
            wanted = {i: canonical(fact[1]) for i in receivers}
            assert wanted == {i: has.get(i, "null") for i in wanted}
