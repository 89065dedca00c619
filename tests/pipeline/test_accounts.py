"""Accounts in the workspace file and on the disk: what may be asked, and portions that reach many members."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import decider
from pipeline.decider import Decider, enter_workspace, write_registry
from pipeline.problems import Problem, WorkspaceError
from pipeline.state_db import StateDb
from pipeline.workspace import load
from schemas.state import decode_profile
from schemas.workspace import Workspace
from tests.transforms.logic.job import at, hour, lines_of
from tests.transforms.logic.transcripts import workspace_of
from tests.transforms.logic.vendors import vendors_of
from transforms.logic.detect import micros
from transforms.logic.portion import parse_lines

FILE = """\
workspace: shop
computations:
  - {name: Big spenders, kind: audience}
  - {name: At risk, kind: audience, level: account}
  - {name: Seats, kind: trait, level: account}
connections:
  - name: it
    destination: %s
    settings: %s
    syncs:
      - {%s}
"""
SETTINGS = {
    "intercom": "{access_token: '${V}'}",
    "webhook": '{url: "https://a.example/in"}',
    "vero": "{auth_token: '${V}'}",
}


def loaded(folder: Path, sync: str, destination: str = "webhook") -> Workspace:
    path = folder / "workspace.yaml"
    path.write_text(FILE % (destination, SETTINGS[destination], sync))
    return load(str(path))


@pytest.mark.parametrize(
    ("sync", "forms"),
    [
        ("computation: at_risk", ("group",)),
        ("computation: seats, as: group, enrich: [name]", ("group",)),
        ("computation: at_risk, expand: users", ("identify",)),
        ("computation: seats, expand: users, as: [group, track]", ("group", "track")),
        ("computation: at_risk, as: [group, member], enrich: [name]", ("group", "member")),
        ("computation: seats, as: member", ("member",)),
        ("computation: big_spenders", ("identify",)),
    ],
)
def test_what_is_of_accounts_is_told_as_group_or_of_each_member(
    tmp_path: Path, sync: str, forms: tuple[str, ...]
) -> None:
    destination = "intercom" if "member" in forms else "webhook"
    assert forms == loaded(tmp_path, sync, destination).connections[0].syncs[0].forms


@pytest.mark.parametrize(
    ("sync", "destination", "field", "words"),
    [
        ("computation: at_risk, as: identify", "webhook", "as", "add `expand: users`"),
        ("computation: big_spenders, as: group", "webhook", "as", "is for computations of accounts"),
        ("computation: big_spenders, expand: users", "webhook", "expand", "remove this line"),
        ("computation: seats", "vero", "computation", "takes no `group` calls"),
        ("computation: big_spenders, as: member", "intercom", "as", "says who belongs to accounts"),
        ("computation: seats, as: member", "webhook", "as", "is not a form that Webhook takes"),
        ("computation: at_risk, expand: people", "webhook", "expand", "users"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, sync: str, destination: str, field: str, words: str) -> None:
    with pytest.raises(WorkspaceError) as told:
        loaded(tmp_path, sync, destination)
    problem: Problem = told.value.problems[0]
    assert f"connections[0].syncs[0].{field}" == problem.field
    assert words in str(problem)


# -- portions

SHOP = workspace_of({"ads": {"at_risk": {}}, "mailer": {"seats": {"as": ["group", "identify"], "expand": "users"}}})
MEMBERS = [f"p{number:02}" for number in range(25)]


@pytest.fixture
def folding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Decider]:
    monkeypatch.setattr(decider, "PROFILES", 7)
    with StateDb.use(tmp_path / "state", make=True) as db:
        yield _decider(db, SHOP)


def _decider(db: StateDb, workspace: Workspace) -> Decider:
    plan, registry, _ = enter_workspace(db, workspace, vendors_of(workspace), micros(hour(9)))
    write_registry(db, registry)
    return Decider(db.folder, plan, registry, "run")


def fold(by: Decider, *events: dict[str, Any]) -> tuple[dict[str, int], dict[str, int]]:
    """Calls by connection, and what was counted."""
    decided = by.fold_parsed(parse_lines([lines_of(events)], by.plan))
    return {name: made for name, made in decided.made.items() if made}, decided.input


def joined(who: str, hours: float = 0, member: bool = True) -> dict[str, Any]:
    return {"type": "account_member", "account_id": "acme", "profile_id": who, "member": member, "at": at(hours)}


def known(who: str) -> dict[str, Any]:
    ids = [{"type": "user_id", "id": who}, {"type": "email", "id": f"{who}@x.example"}]
    return {"type": "profile", "profile_id": who, "external_ids": ids, "at": at(0)}


def at_risk(member: bool, hours: float = 1) -> dict[str, Any]:
    return {"type": "audience", "account_id": "acme", "computation": "at_risk", "member": member, "at": at(hours)}


def seats(value: int, hours: float = 1) -> dict[str, Any]:
    return {"type": "trait", "account_id": "acme", "computation": "seats", "value": value, "at": at(hours)}


def test_an_account_with_more_members_than_a_transaction_holds_reaches_each_once(folding: Decider) -> None:
    made, counts = fold(folding, *map(known, MEMBERS), *map(joined, MEMBERS), at_risk(True), seats(3))
    assert {"ads": 25, "mailer": 1 + 2 * 25} == made
    assert (2 * 25 + 2, 0) == (counts["applied"], counts.get("unchanged", 0))
    assert 25 == folding.db.subjects(), "accounts are not counted as people"
    made, counts = fold(folding, *map(joined, MEMBERS), at_risk(True), seats(3))
    assert ({}, 2 + 25) == (made, counts["unchanged"])
    made, _ = fold(folding, at_risk(False, 2), joined("p03", 2, member=False))
    assert {"ads": 25, "mailer": 2} == made


def test_a_crash_between_portions_loses_nobody(folding: Decider, monkeypatch: pytest.MonkeyPatch) -> None:
    fold(folding, *map(known, MEMBERS), *map(joined, MEMBERS))
    done = []

    def crash(*given: Any) -> Any:
        done.append(1)
        if len(done) == 3:
            raise KeyboardInterrupt
        return before(*given)

    before = folding._fold_at_once
    monkeypatch.setattr(folding, "_fold_at_once", crash)
    with pytest.raises(KeyboardInterrupt):
        fold(folding, at_risk(True))
    monkeypatch.undo()
    monkeypatch.setattr(decider, "PROFILES", 7)
    made, _ = fold(folding, at_risk(True))
    assert {"ads": 25 - 14} == made, "two portions of seven were told before the crash"
    assert all(_values(folding, who) for who in MEMBERS)


def test_a_deleted_member_of_a_large_account_is_forgotten_by_it(folding: Decider) -> None:
    fold(folding, *map(known, MEMBERS), *map(joined, MEMBERS), at_risk(True))
    deletion = {"type": "delete", "profile_id": "p03", "at": at(3)}
    made, _ = fold(folding, deletion, *map(joined, MEMBERS), at_risk(False, 4))
    assert {"ads": 25 + 1} == made, "a removal of each, and a deletion, which takes the one of p03 back"
    parts = folding.db.get([key for key in folding.db.names("", 1_000) if key.startswith("\0members")])
    assert parts
    assert not any(b"p03" in packed for packed in parts.values())


def test_a_computation_that_is_named_later_reaches_all_members(folding: Decider) -> None:
    fold(folding, *map(known, MEMBERS), *map(joined, MEMBERS), at_risk(True))
    later = _decider(folding.db, workspace_of({"site": {"at_risk": {"historical": True}}, "mailer": {"at_risk": {}}}))
    folded = later.tick()
    assert {"mailer": 50} == {name: made for name, made in folded.made.items() if made}
    assert 0 == later.tick().asked


def test_a_state_without_accounts_has_no_more_than_before(folding: Decider) -> None:
    fold(folding, *map(known, MEMBERS))
    assert sorted(MEMBERS) == folding.db.names("", 1_000)
    assert {0x99} == {packed[1] for packed in folding.db.get(MEMBERS).values()}, "nine fields"


def _values(by: Decider, who: str) -> dict[int, Any]:
    return decode_profile(by.db.get([who])[who]).values
