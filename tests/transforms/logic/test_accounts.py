"""Accounts, for every history of them: against the slow model, in any order, and with people who are deleted."""

from collections.abc import Sequence
from datetime import datetime
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.state import (
    AccountState,
    Part,
    account_key,
    account_of,
    decode_account,
    decode_part,
    encode_account,
    encode_part,
)
from schemas.workspace import Connection, Sync, Workspace
from tests.transforms.logic import histories
from tests.transforms.logic.job import Event, Job, at, hour
from tests.transforms.logic.model import AccountModel, Model, Told
from tests.transforms.logic.test_rules import (
    ANY,
    MANY,
    a_repeated_run_makes_no_call,
    by_facts,
    facts,
    in_order,
    in_runs,
    outcomes_of,
    runs_without,
)
from transforms.logic.accounts import PartNews, fold_part

WORKSPACES, EVENTS = histories.workspaces_with_accounts(), histories.events_with_accounts
CHANCE = st.randoms(use_true_random=False)


class Models:
    """Ana, and the accounts."""

    def __init__(self) -> None:
        self.all = [Model(), *map(AccountModel, histories.ACCOUNTS)]

    def run(self, shop: Workspace, events: Sequence[Event], now: datetime, held: Sequence[str]) -> dict[Any, Any]:
        """What must be told, and whose it is."""
        found: dict[Any, tuple[Model, Told]] = {}
        for model in self.all:
            told = by_facts(model.run(shop, events, now, held))
            found |= {what: (model, each) for what, each in told.items()}
        return found


def test_false_that_was_zero_at_the_same_time_is_told_to_members() -> None:
    """For Python they are equal."""
    sync = Sync("seats", forms=("identify",))
    desk = Connection("my-desk", "desk", (sync,), histories.Settings())
    workspace, job = Workspace("shop", (histories.SEATS,), (desk,)), Job()

    def seats(value: Any) -> Event:
        return {"type": "trait", "account_id": "acme", "computation": "seats", "value": value, "at": at(1)}

    ana: list[Event] = [
        {"type": "profile", "profile_id": "ana", "external_ids": [{"type": "email", "id": "a@x.example"}], "at": at(0)},
        {"type": "account_member", "account_id": "acme", "profile_id": "ana", "member": True, "at": at(0)},
    ]
    for part, told in (([*ana, seats(0)], "0"), ([seats(False)], "false")):
        made = job.run(workspace, part, hour(2))
        assert [told] == [facts(each)[4] for each in made]
        job.settle(["delivered"] * len(made))


@MANY
@given(WORKSPACES, EVENTS, st.lists(histories.removals_with_accounts, min_size=1, max_size=5), CHANCE)
def test_the_calls_are_those_of_the_model(
    workspace: Workspace, events: list[Event], removals: list[set[tuple[str, str]]], chance: Random
) -> None:
    job, models = Job(), Models()
    for shop, part, now in runs_without(removals, workspace, events, chance):
        held = chance.choice([[], [], ["my-ads"], ["my-site", "my-ads"]])
        made = job.run(shop, part, now, held)
        expected = models.run(shop, part, now, held)
        assert sorted(map(repr, expected)) == sorted(repr(facts(each)) for each in made)
        outcomes = outcomes_of(made, ANY, chance)
        job.settle(outcomes)
        for each, outcome in zip(made, outcomes, strict=True):
            model, told = expected[facts(each)]
            model.settle(told, outcome)


@MANY
@given(WORKSPACES, EVENTS, st.integers(1, 4), CHANCE)
def test_order_repetition_and_splitting_of_events_change_nothing_in_what_is_known(
    workspace: Workspace, events: list[Event], runs: int, chance: Random
) -> None:
    def known(parts: list[list[Event]]) -> dict[str, bytes]:
        job = Job()
        for part in parts:
            job.run(workspace, part, hour(12))
            job.settle(["delivered"] * len(job.due))
        job.run(workspace, [], hour(13))
        return {key: _facts_of(key, packed, job) for key, packed in job.states.items()}

    assert known([events]) == known(in_runs(events, runs, chance))


def _facts_of(key: str, packed: bytes, job: Job) -> bytes:
    """What is known, without what was asked and told."""
    if account_of(key) is not None:
        state = decode_account(packed)
        state.known.ledger, state.known.stray, state.known.asked = {}, {}, []
        return encode_account(state)
    if key.startswith("\0members"):
        return packed
    profile = job.profile("ana") if key.startswith("\0") else job.profile(key)
    assert profile
    profile.ids = [each for each in profile.ids if each.latest >= 0]
    profile.cut, profile.stray, profile.asked = 0, {}, []
    return in_order(profile)


@MANY
@given(WORKSPACES, EVENTS, st.integers(1, 4), CHANCE)
def test_a_repeated_run_makes_no_call_once_every_call_has_its_outcome(
    workspace: Workspace, events: list[Event], runs: int, chance: Random
) -> None:
    a_repeated_run_makes_no_call(workspace, events, runs, chance)


@MANY
@given(WORKSPACES, EVENTS, st.integers(1, 4), CHANCE)
def test_nobody_who_was_deleted_last_stands_in_an_account_or_in_the_state(
    workspace: Workspace, events: list[Event], runs: int, chance: Random
) -> None:
    job = Job()
    for part in in_runs([*events, {"type": "delete", "profile_id": "ana", "at": at(9)}], runs, chance):
        job.run(workspace, part, hour(12))
        job.settle(["delivered"] * len(job.due))
    job.run(workspace, [], hour(13))
    assert "ana" not in job.states
    assert not any(b"ana" in packed for packed in job.states.values())


# -- parts


def test_who_joins_hears_all_and_who_is_a_member_what_is_new() -> None:
    part = Part()
    fold_part("acme", part, PartNews(members=[("ana", 1, True), ("bob", 1, False)], values={7: (1, "a")}))
    applied, told = fold_part("acme", part, PartNews(members=[("eve", 2, True)], values={8: (2, True), 7: (1, "a")}))
    assert 1 == applied
    assert {"ana": {8: (2, True)}, "eve": {7: (1, "a"), 8: (2, True)}} == {
        who: fact.values for who, fact in told.items()
    }
    assert (0, {}) == fold_part("acme", part, PartNews(members=[("eve", 2, True)], values={8: (2, True)}))


def test_who_leaves_hears_it_and_then_nothing() -> None:
    part = Part({"ana": (1, True)}, {7: (1, "a")})
    applied, told = fold_part("acme", part, PartNews(members=[("ana", 2, False)]))
    assert (1, [(2, False, {})]) == (applied, [(fact.at, fact.member, fact.values) for fact in told.values()])
    assert (0, {}) == fold_part("acme", part, PartNews(values={7: (3, "b")}))


def test_a_deletion_takes_only_what_is_older_out_of_a_part() -> None:
    part = Part({"ana": (1, True), "bob": (5, True)})
    fold_part("acme", part, PartNews(left=[("ana", 3), ("bob", 3), ("eve", 3)]))
    assert {"bob": (5, True)} == part.members


def test_the_same_members_are_the_same_bytes_in_any_order() -> None:
    one, other = Part({"ana": (1, True), "bob": (2, True)}), Part({"bob": (2, True), "ana": (1, True)})
    assert encode_part(one) == encode_part(other) == encode_part(decode_part(encode_part(one)))


def test_an_account_is_unpacked_as_it_was_packed() -> None:
    state = AccountState(parts=(1 << 63) | 5)
    assert state == decode_account(encode_account(state))


def test_whoever_is_in_no_account_is_kept_as_if_there_were_none() -> None:
    job = Job()
    job.run(Workspace("shop", (histories.VIP,), ()), [{**_vip("ana"), "at": at(1)}], hour(2))
    assert {"ana"} == job.states.keys()
    assert 0x99 == job.states["ana"][1], "nine fields"
    assert account_key("ana") not in job.states


def _vip(who: str) -> Event:
    return {"type": "audience", "profile_id": who, "computation": "vip", "member": True}
