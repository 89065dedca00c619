"""`profilecast plan`: a run asks exactly what was planned, and a plan leaves no trace."""

import json
import os
import re
from contextlib import closing
from hashlib import sha256
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline.cli import main
from pipeline.decider import Decider, enter_workspace, write_registry
from pipeline.log import SqliteLog
from pipeline.overlay import Overlay
from pipeline.planner import Planner
from pipeline.state_db import StateDb, decode_call
from pipeline.vendors import destinations, vendors
from sandbox.testing import running_sandbox
from schemas.calls import Call
from schemas.outcomes import Reason
from schemas.receipts import receipt_of
from schemas.secret import Secret
from schemas.workspace import Connection, Workspace
from tests.pipeline.conftest import Shop
from tests.pipeline.running import profile, score, vip, write_events
from tests.transforms.logic import histories
from tests.transforms.logic.job import Event, hour, lines_of
from tests.transforms.logic.test_rules import in_runs
from transforms.destinations import find
from transforms.logic.detect import micros
from transforms.logic.ledger import refusal
from transforms.logic.portion import parse_lines
from transforms.sending.log import Writing

Capture = pytest.CaptureFixture[str]
DAY_1, DAY_2, DAY_3 = (f"2026-01-0{day}T00:00:00Z" for day in (1, 2, 3))
ANA = (profile("ana", DAY_1, "ana@x.example"), vip("ana", DAY_1), score("ana", DAY_1, 7))
REASON: Reason = "refused"


def contents(folder: Path) -> dict[str, str]:
    """Everything in a folder but what SQLite keeps beside its files."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-wal", "-shm"))]
    return {str(path): sha256(path.read_bytes()).hexdigest() for path in files}


# -- the property


def real(found: Workspace) -> Workspace:
    """With a connection with lists beside webhooks, in place of vendors that only the model knows."""
    hook, lists = find("webhook"), find("sendgrid-lists")
    assert hook
    assert lists
    connections: list[Connection] = []
    for each in found.connections:
        kind = lists if each.destination in ("ads", "site") else hook
        forms = {"list"} if kind is lists else {"identify", "track", "group"}
        syncs = tuple(
            replace(sync, forms=tuple(form for form in sync.forms if form in forms) or tuple(sorted(forms))[-1:])
            for sync in each.syncs
        )
        about = {"url": f"https://{each.name}.example"} if kind is hook else {"api_key": Secret("${SENDGRID_KEY}")}
        connections.append(replace(each, destination=kind.slug, syncs=syncs, settings=kind.Settings(**about)))
    return replace(found, connections=tuple(connections))


WORKSPACES = histories.workspaces(occurrences=True).map(real)  # with all options of syncs
RUNS = st.lists(st.booleans(), min_size=1, max_size=4)  # whether the first sync of the first connection is not there
EXAMPLES = int(os.environ.get("EXAMPLES", "15"))


class Place:
    """A state directory that is decided in and planned for, without a sender."""

    def __init__(self, root: Path, chance: Random) -> None:
        self.state, self.root, self.chance, self.plans = root / "state", root, chance, count()
        StateDb.create(self.state)

    def round(self, workspace: Workspace, events: list[Event], hours: float) -> tuple[list[object], list[object]]:
        """What was planned, and what was decided."""
        now = micros(hour(hours))
        kinds = vendors(destinations(workspace))
        with closing(StateDb.open(self.state)) as db:
            plan, registry, _ = enter_workspace(db, workspace, kinds, now)
            scratch = self.root / f"scratch-{next(self.plans)}"
            Overlay.make(self.state, scratch)
            planner = Planner(self.state, scratch, plan, registry, workspace, {})
            decide(planner, events)
            with closing(StateDb.open(scratch)) as planned:
                rows = planned.rows("SELECT connection, call FROM planned ORDER BY ask")
            before = self._calls(db)
            plan, registry, _ = enter_workspace(db, workspace, kinds, now)
            write_registry(db, registry)
            decide(Decider(self.state, plan, registry, "run"), events)
            made = {ask: each for ask, each in self._calls(db).items() if ask not in before}
            names = registry.connections
        self._settle(workspace)
        expected = [facts(name, decode_call(packed)) for name, packed in rows]
        return expected, [facts(names[number], call) for _, (number, call) in sorted(made.items())]

    def _calls(self, db: StateDb) -> dict[int, tuple[int, Call]]:
        rows = db.rows("SELECT ask, connection, call FROM calls")
        return {ask: (number, decode_call(packed)) for ask, number, packed in rows}

    def _settle(self, workspace: Workspace) -> None:
        """Some of the calls get an outcome."""
        with closing(StateDb.open(self.state)) as db:
            waiting = self._calls(db)
        for number, connection in enumerate(workspace.connections):
            mine = [call for place, call in waiting.values() if place == number]
            log = SqliteLog(self.state, connection.name, number)
            done = [call for call in sorted(mine, key=lambda c: c.ask) if self.chance.random() < 0.7]
            log.write(Writing(receipts=[self._receipt(call) for call in done])).result()
            log.close()

    def _receipt(self, call: Call) -> Any:
        if call.kind == "cancel" or self.chance.random() < 0.2:
            return receipt_of(call, "superseded", 1.0)
        if self.chance.random() < 0.3:
            return receipt_of(call, "rejected", 1.0, reason=REASON, refused=refusal(call, b""))
        return receipt_of(call, "delivered", 1.0)


def decide(decider: Decider, events: list[Event]) -> None:
    """As `Run` and `Planning` do it, without the graph."""
    decider.fold_receipts()
    decider.tick()
    decider.fold_parsed(parse_lines([lines_of(events)], decider.plan))
    decider.close()


def facts(connection: str, call: Call) -> object:
    """A call without its numbers."""
    return connection, replace(call, ask=0, replaces=bool(call.replaces), opens=bool(call.opens))


@settings(max_examples=EXAMPLES)
@given(WORKSPACES, histories.events, RUNS, st.randoms(use_true_random=False))
def test_a_run_asks_exactly_what_was_planned(
    workspace: Workspace, events: list[Event], removals: list[bool], chance: Random
) -> None:
    check(workspace, events, removals, chance)


@settings(max_examples=EXAMPLES)
@given(
    histories.workspaces_with_accounts().map(real),
    histories.events_with_accounts,
    RUNS,
    st.randoms(use_true_random=False),
)
def test_a_run_asks_exactly_what_was_planned_of_accounts_too(
    workspace: Workspace, events: list[Event], removals: list[bool], chance: Random
) -> None:
    check(workspace, events, removals, chance)


def check(workspace: Workspace, events: list[Event], removals: list[bool], chance: Random) -> None:
    with TemporaryDirectory() as root:
        place = Place(Path(root), chance)
        for number, part in enumerate(in_runs(events, len(removals), chance)):
            syncs = workspace.connections[0].syncs
            first = replace(workspace.connections[0], syncs=syncs[1:] if removals[number] else syncs)
            changed = replace(workspace, connections=(first, *workspace.connections[1:]))
            planned, decided = place.round(changed, part, 2 + number)
            assert planned == decided


# -- the command


def plan(shop: Shop, *more: str, code: int = 0) -> None:
    assert code == shop.main("plan", "--workspace", str(shop.workspace), "--state", str(shop.state), *more)


def rows(text: str) -> list[tuple[str, ...]]:
    """The rows of the table: connection, sync, form, what, why, people, identifiers."""
    lines = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    start = next((n for n, line in enumerate(lines) if line[:2] == ["connection", "sync"]), len(lines))
    found = [tuple(line) for line in lines[start + 1 :]]
    return found[: next((n for n, line in enumerate(found) if len(line) < 3), len(found))]


def events(shop: Shop, *given: Event) -> str:
    return str(write_events(shop.root / "planned.jsonl", *given))


def test_nothing_is_sent_and_nothing_in_the_state_changes(shop: Shop) -> None:
    shop.run(*ANA)
    sent, before = len(shop.receiver.messages), contents(shop.state)
    plan(shop, "--events", events(shop, score("ana", DAY_2, 8)))
    assert before == contents(shop.state)
    assert sent == len(shop.receiver.messages)


def test_a_first_run_is_planned_without_a_state(shop: Shop, capsys: Capture) -> None:
    plan(shop, "--new-state", "--events", events(shop, *ANA))
    assert not shop.state.exists()
    assert [
        ("hook", "score", "identify", "change", "first sync", "1", "2"),
        ("hook", "vip", "identify", "enter", "first sync", "1", "2"),
        ("hook", "vip", "track", "enter", "first sync", "1", "2"),
    ] == rows(capsys.readouterr().out)


def test_without_a_state_and_without_consent_to_one_there_is_no_plan(shop: Shop, capsys: Capture) -> None:
    plan(shop, code=1)
    assert "there is no state here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("news", "expected"),
    [
        ((score("ana", DAY_2, 8),), {("score", "change", "new value")}),
        ((vip("ana", DAY_2, False),), {("vip", "leave", "new value")}),
        (
            (profile("ana", DAY_2, "new@x.example"),),
            {("vip", "enter", "new identifier"), ("score", "change", "new identifier")},
        ),
        (
            ({**profile("ana", DAY_2), "removed_ids": [{"type": "email", "id": "ana@x.example"}]},),
            {("vip", "leave", "identifier gone")},
        ),
        ((score("ana", DAY_2, 7),), set()),
        ((profile("bob", DAY_1), score("bob", DAY_1, 1)), {("score", "change", "first sync")}),
    ],
)
def test_each_call_says_why(shop: Shop, capsys: Capture, news: tuple[Event, ...], expected: set[object]) -> None:
    shop.run(*ANA)
    capsys.readouterr()
    plan(shop, "--events", events(shop, *news))
    assert expected == {(row[1], row[3], row[4]) for row in rows(capsys.readouterr().out)}


def test_a_run_makes_as_many_calls_as_its_plan_says(shop: Shop, capsys: Capture) -> None:
    shop.receiver.answer = lambda host, message: 401
    shop.run(*ANA)
    capsys.readouterr()
    given = events(shop, score("ana", DAY_2, 8), profile("bob", DAY_2, "bob@x.example"), vip("bob", DAY_2))
    plan(shop, "--events", given, "--out", str(shop.root / "plan.json"))
    planned = json.loads((shop.root / "plan.json").read_text())["connections"]["hook"]
    shop.receiver.answer = lambda host, message: 200
    shop.receiver.messages.clear()
    assert 0 == shop.run(files=(Path(given),))
    assert (6, 6, 2) == (planned["waiting"], planned["made"], planned["superseded"])
    assert 10 == len(shop.receiver.messages)


def test_a_sample_shows_the_request_without_the_person(shop: Shop, capsys: Capture) -> None:
    plan(shop, "--new-state", "--events", events(shop, *ANA), "--sample", "9")
    told = capsys.readouterr().out
    assert "POST https://hook.example/in" in told
    assert '"vip": true' in told
    assert "ana@x.example" not in told
    plan(shop, "--new-state", "--events", events(shop, *ANA), "--sample", "9", "--show-people")
    assert "ana@x.example" in capsys.readouterr().out


@pytest.mark.parametrize("people", [(), ("--show-people",)])
def test_a_sample_shows_no_secret(
    shop: Shop, capsys: Capture, monkeypatch: pytest.MonkeyPatch, people: tuple[str, ...]
) -> None:
    monkeypatch.setenv("HOOK_URL", "https://hook.example/in/very-secret-part")
    text = shop.workspace.read_text()
    shop.workspace.write_text(text.replace('url: "https://hook.example/in"', 'secret_url: "${HOOK_URL}"'))
    plan(shop, "--new-state", "--events", events(shop, *ANA), "--sample", "9", *people)
    told = capsys.readouterr().out
    assert "POST " in told
    assert "very-secret-part" not in told


def test_another_workspace_is_compared(shop: Shop, capsys: Capture) -> None:
    shop.run(*ANA)
    changed = shop.root / "other.yaml"
    changed.write_text(
        shop.workspace.read_text().replace("destination: webhook\n", "destination: webhook\n    where: {plan: gold}\n")
    )
    capsys.readouterr()
    plan(shop, "--diff", str(changed))
    assert [
        ("hook", "vip", "identify", "leave", "0", "2"), ("hook", "vip", "track", "leave", "0", "2"),
    ] == rows(capsys.readouterr().out)  # fmt: skip


def test_a_change_that_needs_consent_is_said_and_planned(shop: Shop, capsys: Capture) -> None:
    shop.run(*ANA)
    shop.workspace.write_text(shop.workspace.read_text().replace("as: identify}", "as: identify, send_as: points}"))
    capsys.readouterr()
    plan(shop)
    told = capsys.readouterr().out
    assert "A run would do nothing without --accept-changes. With it:" in told
    assert [("hook", "score", "identify", "change", "first sync", "1", "2")] == rows(told)


class TestApproval:
    def planned(self, shop: Shop, *given: Event) -> tuple[Path, Path]:
        """The file of a plan for these events, and theirs."""
        shop.run(*ANA)
        shop.receiver.messages.clear()
        file, path = Path(events(shop, *given)), shop.root / "plan.json"
        plan(shop, "--events", str(file), "--out", str(path))
        return file, path

    def test_a_run_that_does_what_was_planned_goes(self, shop: Shop) -> None:
        file, path = self.planned(shop, score("ana", DAY_2, 8))
        assert 0 == shop.run(files=(file,), more=("--plan", str(path)))
        assert 2 == len(shop.receiver.messages)

    def test_a_run_that_would_do_more_does_nothing(self, shop: Shop, capsys: Capture) -> None:
        file, path = self.planned(shop, score("ana", DAY_2, 8))
        write_events(file, score("ana", DAY_2, 8), vip("ana", DAY_2, False))
        before = contents(shop.state)
        assert 3 == shop.run(files=(file,), more=("--plan", str(path)))
        assert before == contents(shop.state)
        assert [] == shop.receiver.messages
        told = capsys.readouterr().err
        assert "200.0% of the calls are others than planned" in told
        assert "hook: leave of vip as identify: 2 instead of 0" in told

    def test_how_much_may_differ_is_said(self, shop: Shop) -> None:
        file, path = self.planned(shop, *(score("ana", DAY_2, 8), profile("bob", DAY_1), score("bob", DAY_1, 1)))
        write_events(file, score("ana", DAY_2, 8))
        assert 3 == shop.run(files=(file,), more=("--plan", str(path), "--max-drift", "33%"))
        assert 0 == shop.run(files=(file,), more=("--plan", str(path), "--max-drift", "34%"))

    def test_a_change_that_nobody_planned_is_refused_though_the_numbers_are_the_same(self, shop: Shop) -> None:
        _, path = self.planned(shop)
        shop.workspace.write_text(shop.workspace.read_text().replace("as: identify}", "as: identify, send_as: x}"))
        assert 3 == shop.run(more=("--plan", str(path), "--accept-changes", "--max-drift", "100%"))

    @pytest.mark.parametrize(("text", "words"), [("", "it is no plan"), (None, "No such file or directory")])
    def test_what_is_no_plan_is_refused(self, shop: Shop, capsys: Capture, text: str | None, words: str) -> None:
        path = shop.root / "plan.json"
        if text is not None:
            path.write_text(text)
        assert 3 == shop.run(*ANA, more=("--plan", str(path)))
        assert words in capsys.readouterr().err


def test_an_unreadable_file_ends_a_plan_as_it_ends_a_run(shop: Shop, capsys: Capture) -> None:
    (shop.root / "cut.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00")
    plan(shop, "--new-state", "--events", str(shop.root / "cut.jsonl.gz"), code=3)


SUPPORT = """\
workspace: shop
computations: [{name: Vip, kind: audience}, {name: Score, kind: trait}]
connections:
  - name: support
    destination: zendesk
    settings: {subdomain: acme, oauth_token: "${ZENDESK_TOKEN}"}
    syncs: [{computation: vip}, {computation: score}]
"""


def test_requests_of_a_first_sync_are_those_that_the_vendor_gets(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZENDESK_TOKEN", "very-secret-token")
    shop.workspace.write_text(SUPPORT)
    people = [
        each
        for n in range(30)
        for each in (profile(f"u{n}", DAY_1, f"u{n}@x.example"), vip(f"u{n}", DAY_1), score(f"u{n}", DAY_1, n))
    ]
    path = shop.root / "plan.json"
    events = write_events(shop.root / "all.jsonl", *people)
    plan(shop, "--new-state", "--events", str(events), "--out", str(path))
    foreseen = json.loads(path.read_text())["connections"]["support"]["requests"]
    with running_sandbox() as sandbox:
        common = ["--workspace", str(shop.workspace), "--state", str(shop.state), "--gateway", sandbox.url]
        assert 0 == main(["run", *common, "--new-state", "--events", str(events)])
        (sent,) = (each["requests"] for each in sandbox.stats() if each["destination"] == "zendesk")
    ahead = 4  # the fields, looked for and made
    assert foreseen + ahead == sent


def test_what_failed_before_and_is_tried_again_is_counted(shop: Shop, capsys: Capture) -> None:
    shop.receiver.answer = lambda host, message: 503
    shop.run(*ANA, more=("--retry-for", "0s"))
    path = shop.root / "plan.json"
    plan(shop, "--out", str(path))
    ahead = json.loads(path.read_text())["connections"]["hook"]
    assert 6 == ahead["waiting"]
    assert 1 <= ahead["retries"] < 6, "the others were not sent: a vendor in trouble gets one request at a time"
    told = capsys.readouterr().out
    assert f"hook: 6 calls to send, 6 of them wait since earlier runs ({ahead['retries']} failed before: retry)" in told
    shop.receiver.answer = lambda host, message: 200
    shop.run()
    plan(shop, "--out", str(path))
    assert 0 == json.loads(path.read_text())["connections"]["hook"]["retries"]
