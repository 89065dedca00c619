"""Why: for every call that is not made, the rule that kept it is the one that the slow model names."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.calls import Identifier
from schemas.state import ProfileState, encode_profile
from schemas.workspace import Connection, Sync, Workspace
from tests.transforms.logic import histories
from tests.transforms.logic.job import Event, Job, at, hour
from tests.transforms.logic.model import Model, account, canonical
from tests.transforms.logic.test_rules import (
    ANY,
    IN_RUNS,
    MANY,
    WITH_OCCURRENCES,
    by_facts,
    facts,
    outcomes_of,
    runs_without,
)
from tests.transforms.logic.vendors import VENDORS
from transforms.logic.why import Finding, Rule, explain


def rule_of(model: Model, connection: Connection, sync: Sync, form: str, identifier: Identifier) -> Rule:
    """From the list of all that happened."""
    fact = model.value(sync.computation)
    if fact is None or not model.in_history(connection, sync, form):
        return "no_value" if fact is None else "not_historical"
    place, value = (account(connection), f"{form} {sync.computation}", identifier), fact[1]
    takes = VENDORS[connection.destination].identifiers
    if place in model.asked:
        return "asked"
    if sync.computation == "vip" and model.exposed(place) and model.refused(place):  # its exit
        return "refused"
    if identifier not in model.identifiers():
        return "taken_away"
    if identifier.type not in takes and "*" not in takes:
        return "not_understood"
    if not model.matching(connection, sync):
        return "filter"
    if sync.computation == "vip" and not value:
        return "told" if model.sure(place) == "false" else "never_told"
    if identifier not in model.receivers(connection, sync):
        return "strategy"
    if model.sure(place) == canonical(value):
        return "told"
    if value is None and not model.possibly_told(place):
        return "never_told"
    if not sync.resync_on_new_identifier and model.excused.get(place) == canonical(value):
        return "excused"
    return "refused"


def understands(model: Model, connection: Connection) -> bool:
    takes = VENDORS[connection.destination].identifiers
    return any(each.type in takes or "*" in takes for each in model.identifiers())


def by_place(findings: list[Finding]) -> dict[tuple[Any, ...], Rule]:
    return {
        (each.connection, each.sync and each.sync.name, each.form and each.form.form, each.identifier): each.rule
        for each in findings
    }


@MANY
@IN_RUNS
def test_what_was_not_asked_was_kept_by_the_rule_that_the_model_names(
    workspace: Workspace, events: list[Event], removals: list[set[tuple[str, str]]], chance: Random
) -> None:
    job, model = Job(), Model()
    for shop, part, now in runs_without(removals, workspace, events, chance):
        made = job.run(shop, part, now)
        expected = by_facts(model.run(shop, part, now, []))
        state = job.profile("ana")
        if state is not None and (state.values or state.ledger):
            assert job.plan
            found = by_place(list(explain("ana", state, job.plan)))
            for connection in shop.connections:
                if (connection.name, None, None, None) in found:
                    assert not understands(model, connection)
                    continue
                for sync in connection.syncs:
                    check(model, connection, sync, found)
        outcomes = outcomes_of(made, ANY, chance)
        job.settle(outcomes)
        for each, outcome in zip(made, outcomes, strict=True):
            model.settle(expected[facts(each)], outcome)


def check(model: Model, connection: Connection, sync: Sync, found: dict[tuple[Any, ...], Rule]) -> None:
    """Of one sync: it is as the model says, for every identifier of the person."""
    whole = found.get((connection.name, sync.computation, None, None))
    for form in sync.forms:
        for identifier in model.identifiers():
            expected = rule_of(model, connection, sync, form, identifier)
            said = whole or found[connection.name, sync.computation, form, identifier]
            assert expected == said, (connection.name, sync.computation, form, identifier)


@MANY
@given(histories.workspaces(occurrences=True), histories.events, st.randoms(use_true_random=False))
def test_asking_why_changes_nothing(workspace: Workspace, events: list[Event], chance: Random) -> None:
    job = Job()
    job.settle(outcomes_of(job.run(workspace, events, hour(9)), ANY, chance))
    state = job.profile("ana")
    assert state is not None
    assert job.plan
    before = encode_profile(state)
    list(explain("ana", state, job.plan))
    assert before == encode_profile(state)


@MANY
@WITH_OCCURRENCES
def test_nothing_to_tell_is_said_only_where_there_is_nothing(
    workspace: Workspace, events: list[Event], removals: list[set[tuple[str, str]]], chance: Random
) -> None:
    job = Job()
    for shop, part, now in runs_without(removals, workspace, events, chance):
        job.settle(outcomes_of(job.run(shop, part, now), ANY, chance))
        job.fold_receipts()
        state = job.profile("ana")
        if state is None:
            continue
        assert job.plan
        for each in explain("ana", state, job.plan):
            if each.rule == "never_told":
                assert each.sync
                value = state.values[each.sync.computation][1]
                assert value is (False if each.sync.audience else None), each


def rules(job: Job) -> set[Rule]:
    state = job.profile("ana")
    assert state is not None
    assert job.plan
    return {each.rule for each in explain("ana", state, job.plan)}


@pytest.mark.parametrize(
    ("where", "fails"), [({"consent": True}, {"consent": None}), ({"has": "phone"}, {"has phone": None})]
)
def test_a_filter_names_the_condition_that_does_not_hold(where: dict[str, Any], fails: dict[str, Any]) -> None:
    job = Job()
    sync = Sync("vip", forms=("identify",), where=where)
    known = {"type": "profile", "profile_id": "ana", "external_ids": [{"type": "user_id", "id": "1"}], "at": at(1)}
    entered = {"type": "audience", "profile_id": "ana", "computation": "vip", "member": True, "at": at(1)}
    connection = Connection("my-mailer", "mailer", (sync,), histories.Settings())
    job.run(Workspace("shop", (histories.VIP,), (connection,)), [known, entered], hour(2))
    state = job.profile("ana")
    assert state is not None
    assert job.plan
    (finding,) = explain("ana", state, job.plan)
    assert ("filter", fails) == (finding.rule, finding.fails)


def test_a_trait_that_was_refused_has_no_exit_that_could_be_refused() -> None:
    """Its vendor may have it; the person is out of the filter, so nothing is told in any case."""
    job = Job()
    sync = Sync("score", forms=("identify",), where={"consent": {"not": False}})
    connection = Connection("my-mailer", "mailer", (sync,), histories.Settings())
    workspace = Workspace("shop", (histories.SCORE,), (connection,))
    known = {"type": "profile", "profile_id": "ana", "external_ids": [{"type": "user_id", "id": "1"}], "at": at(1)}
    scored = {"type": "trait", "profile_id": "ana", "computation": "score", "value": 1, "at": at(1)}
    assert len(job.run(workspace, [known, scored], hour(2))) == 1
    job.settle(["rejected maybe"])
    job.run(workspace, [known | {"at": at(3), "traits": {"consent": False}}], hour(4))
    assert {"filter"} == rules(job)


def test_of_somebody_who_was_deleted_nothing_is_told() -> None:
    job = Job()
    job.run(Workspace("shop", (), ()), [{"type": "delete", "profile_id": "ana", "at": at(1)}], hour(2))
    assert {"deleted"} == rules(job)


def test_nobody_is_known_by_nothing() -> None:
    state = ProfileState()
    job = Job()
    job.run(Workspace("shop", (histories.VIP,), ()), [], hour(2))
    assert job.plan
    assert [] == list(explain("ana", state, job.plan))
