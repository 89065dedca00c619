"""`on_trouble`: who is told of what, over real HTTP and by real commands; the service waits for nobody."""

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.alerting import Alerting
from pipeline.cli import main
from pipeline.disk import StoreError
from pipeline.telling import Message, Teller, message_of, of_a_run, on_trial, tell, tell_at_the_end
from schemas.secret import Secret
from schemas.workspace import OnTrouble, Workspace
from tests.pipeline.conftest import Shop
from tests.pipeline.running import Receiver, profile, receiving, score
from tests.pipeline.serving import now as this_moment
from tests.pipeline.serving import serving, until
from transforms.logic.alerts import CALM, News

WELL: dict[str, Any] = {
    "waiting": 0, "scheduled": 0, "delivered": 0, "rejected": 0, "expired": 0, "oldest_change_seconds": 0.0,
    "stopped": "", "blocked": {}, "elsewhere": False,
}  # fmt: skip
STOPPED = {**WELL, "waiting": 3, "stopped": "the vendor refuses ana@x.example"}
NEWS = News("hook", False, "stopped", 0.0, 1_200)


@pytest.fixture
def ops() -> Iterator[Receiver]:
    """Where webhooks lead."""
    with receiving() as receiver:
        yield receiver


class World:
    """An Alerting with a clock and connections that the test sets."""

    def __init__(self, root: Path, *items: OnTrouble) -> None:
        self.root, self.workspace = root, Workspace("shop", (), (), on_trouble=items)
        self.at, self.said = 1_000_000.0, list[tuple[str, str]]()
        self.connections: dict[str, dict[str, Any]] = {"hook": WELL}
        self.sources: dict[str, bool | None] = {}
        self.begin()

    def begin(self) -> None:
        self.alerting = Alerting(self.root, lambda event, words: self.said.append((event, words)), lambda: self.at)

    def look(self, seconds: float, trouble: str = "", **connections: dict[str, Any]) -> None:
        self.at += seconds
        self.connections = connections or self.connections
        self.alerting.look(self.workspace, lambda: self.connections, trouble, self.sources)


def told(ops: Receiver, number: int) -> list[dict[str, Any]]:
    """What came; the test waits for so many."""
    until(lambda: len(ops.messages) >= number)
    return ops.messages


def test_a_trouble_and_its_end_are_one_message_each(tmp_path: Path, ops: Receiver) -> None:
    world = World(tmp_path, OnTrouble(webhook=f"{ops.url}/in"))
    for _ in range(200):
        world.look(10.0, hook=STOPPED)
    world.look(CALM, hook={**WELL, "delivered": 3})
    first, second = told(ops, 2)
    assert {
        "workspace": "shop", "connection": "hook", "event": "trouble", "kind": "stopped", "waiting": 3,
        "since": "1970-01-12T13:46:50Z", "at": "1970-01-12T13:56:50Z",
        "words": "shop: hook is stopped since 10 minutes ago; 3 calls wait. Its status and its log say why.",
    } == first  # fmt: skip
    assert ("over", "shop: hook is well again, after 34 minutes (stopped).") == (second["event"], second["words"])
    assert "ana" not in json.dumps(ops.messages)


def test_what_was_told_outlives_the_process(tmp_path: Path, ops: Receiver) -> None:
    world = World(tmp_path, OnTrouble(webhook=f"{ops.url}/in"))
    world.look(0, hook=STOPPED)
    world.look(600)
    told(ops, 1)
    world.begin()
    for _ in range(100):
        world.look(10)
    world.look(CALM, hook=WELL)
    assert ["trouble", "over"] == [each["event"] for each in told(ops, 2)]
    assert 0o600 == (tmp_path / "alerts.json").stat().st_mode & 0o777


@pytest.mark.parametrize("content", ["", "{", "[]", '{"x": 1}', '{"x": {"hook": {"kind": 5}}}'])
def test_a_damaged_file_of_what_was_told_is_none(tmp_path: Path, ops: Receiver, content: str) -> None:
    (tmp_path / "alerts.json").write_text(content)
    world = World(tmp_path, OnTrouble(webhook=f"{ops.url}/in"))
    world.look(0, hook=STOPPED)
    world.look(600)
    assert 1 == len(told(ops, 1))


def test_each_item_has_its_own_patience(tmp_path: Path, ops: Receiver) -> None:
    items = OnTrouble(webhook=f"{ops.url}/soon", after=60.0), OnTrouble(webhook=f"{ops.url}/late", after=3600.0)
    paths: list[str] = []
    ops.answer = lambda path, message: paths.append(path) or 200  # type: ignore[func-returns-value]
    world = World(tmp_path, *items)
    world.look(0, hook=STOPPED)
    world.look(60)
    until(lambda: paths == ["soon"])
    world.look(3540)
    until(lambda: paths == ["soon", "late"])


def test_what_another_process_delivers_is_its_own_matter(tmp_path: Path, ops: Receiver) -> None:
    world = World(tmp_path, OnTrouble(webhook=f"{ops.url}/in"))
    world.look(0, hook={**STOPPED, "elsewhere": True}, other=STOPPED)
    world.look(600)
    world.look(600, hook={**STOPPED, "elsewhere": True}, other={**STOPPED, "elsewhere": True})
    world.look(600, last=WELL)  # both are gone from the workspace: what was told is over
    assert [("other", "trouble"), ("other", "over")] == [(m["connection"], m["event"]) for m in told(ops, 2)]


def test_what_waits_while_a_connection_is_paused_is_not_late(tmp_path: Path, ops: Receiver) -> None:
    late = {**WELL, "waiting": 3, "oldest_change_seconds": 100_000.0}
    world = World(tmp_path, OnTrouble(webhook=f"{ops.url}/in"))
    world.look(0, hook=WELL)
    world.look(100_000, hook={**late, "paused": "2026-01-31T10:00:00Z"})
    world.look(599, hook=late)
    world.look(10, hook=WELL, other=STOPPED)
    world.look(600, other=STOPPED)
    assert ["other"] == [message["connection"] for message in told(ops, 1)]


def test_a_table_that_is_not_read_is_told_and_so_is_its_end(tmp_path: Path, ops: Receiver) -> None:
    world = World(tmp_path, OnTrouble(webhook=f"{ops.url}/in"))
    world.sources = {"customers": True, "others": False}
    world.look(0)
    world.look(600)
    (message,) = told(ops, 1)
    words = "shop: source customers is not read since 10 minutes ago. Its status and its log say why."
    assert ("trouble", "customers", "unread", words) == tuple(
        message[each] for each in ("event", "source", "kind", "words")
    )
    assert "connection" not in message
    world.begin()
    world.sources = {"customers": None, "others": None}  # not read since then: nothing is known of it
    world.look(CALM)
    world.look(CALM)
    world.sources = {"customers": False, "others": False}
    world.look(CALM)
    assert ["trouble", "over"] == [each["event"] for each in told(ops, 2)]
    assert "shop: source customers is well again, after 13 minutes (unread)." == ops.messages[1]["words"]


def test_the_trouble_of_the_service_itself_is_told(tmp_path: Path, ops: Receiver) -> None:
    world = World(tmp_path, OnTrouble(webhook=f"{ops.url}/in"))
    world.look(0, trouble="state.db cannot be written")
    world.look(600, trouble="state.db cannot be written")
    (message,) = told(ops, 1)
    assert (
        "state",
        "shop: the service cannot use its state since 10 minutes ago. Its status and its log say why.",
    ) == (
        message["kind"],
        message["words"],
    )


def test_a_state_that_cannot_be_read_ends_no_other_trouble(tmp_path: Path, ops: Receiver) -> None:
    world = World(tmp_path, OnTrouble(webhook=f"{ops.url}/in"))
    world.look(0, hook=STOPPED)
    world.look(600)

    def broken() -> Any:
        raise StoreError("state.db is damaged")

    for _ in range(3):
        world.at += 600
        world.alerting.look(world.workspace, broken, "")
    assert [("hook", "stopped"), ("", "state")] == [(m.get("connection", ""), m["kind"]) for m in told(ops, 2)]


def test_who_is_not_asked_for_costs_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.alerting.look(world.workspace, lambda: pytest.fail("nobody wants to know"), "")
    assert [] == [*tmp_path.iterdir()]


# -- the ways
def test_slack_gets_words(ops: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_URL", f"{ops.url}/services/T/B/hush")
    assert "" == tell(OnTrouble(slack=Secret("${SLACK_URL}")), message_of("shop", NEWS, 600.0))
    words = "shop: hook is stopped since 10 minutes ago; 1,200 calls wait. Its status and its log say why."
    assert [{"text": words}] == ops.messages


def test_a_command_gets_the_message_on_its_input(tmp_path: Path) -> None:
    copy = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())"
    assert "" == tell(OnTrouble(command=(sys.executable, "-c", copy, str(tmp_path / "got"))), on_trial("shop"))
    assert ("test", "shop") == (lambda m: (m["event"], m["workspace"]))(json.loads((tmp_path / "got").read_text()))


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (OnTrouble(command=("/no/such/program",)), "/no/such/program cannot be started: No such file or directory"),
        (OnTrouble(command=("false",)), "false ended with 1"),
        (OnTrouble(webhook="http://127.0.0.1:1/?key=${HUSH}"), "it could not be sent (ConnectionError)"),
        (OnTrouble(webhook="http://[${HUSH}/"), "it could not be sent (InvalidURL)"),
        (OnTrouble(slack=Secret("${NOT_SET}")), "the environment variable NOT_SET is not set"),
    ],
)
def test_why_a_message_was_not_taken_is_said_without_secrets(item: OnTrouble, why: str) -> None:
    found = tell(item, on_trial("shop"), {"HUSH": "hush-hush"})
    assert why == found
    assert "hush" not in found


@pytest.mark.parametrize("status", [301, 400, 500])
def test_any_answer_but_success_is_a_refusal(ops: Receiver, status: int) -> None:
    ops.answer = lambda path, message: status
    assert f"it was answered with {status}" == tell(OnTrouble(webhook=f"{ops.url}/in"), on_trial("shop"))


def test_a_message_is_tried_again_and_given_up(ops: Receiver) -> None:
    statuses = [503, 503, 200, 503, 503, 503, 200]
    ops.answer = lambda path, message: statuses.pop(0)
    failed: list[str] = []
    teller = Teller(OnTrouble(webhook=f"{ops.url}/in"), failed.append, pauses=(0.0, 0.0))
    for n in range(3):
        teller.give(Message("shop", "test", "", f"{n}"))
    until(lambda: not statuses)
    assert ["0", "0", "0", "1", "1", "1", "2"] == [each["words"] for each in ops.messages]
    assert ["webhook: it was answered with 503"] == failed


def test_whoever_gives_a_message_does_not_wait_for_one_that_hangs(ops: Receiver) -> None:
    release, failed = threading.Event(), list[str]()
    ops.answer = lambda path, message: 200 if release.wait(30) else 500
    teller = Teller(OnTrouble(webhook=f"{ops.url}/in"), failed.append)
    for _ in range(1_100):
        teller.give(on_trial("shop"))
    assert {"too many messages wait"} == set(failed)
    assert len(ops.messages) <= 1
    release.set()


# -- commands
def with_ops(shop: Shop, ops: Receiver, after: str = "10m") -> None:
    with shop.workspace.open("a") as file:
        file.write(f"on_trouble:\n  - {{webhook: '{ops.url}/in', after: {after}}}\n")


def test_a_run_that_needs_a_person_says_so_once(shop: Shop, ops: Receiver) -> None:
    with_ops(shop, ops)
    assert 0 == shop.run(profile("ana", "2026-01-01T00:00:00Z"), score("ana", "2026-01-01T00:00:00Z", 1))
    assert [] == ops.messages
    shop.receiver.answer = lambda host, message: 401
    assert 3 == shop.run(score("ana", "2026-01-02T00:00:00Z", 2))
    (message,) = ops.messages
    assert ("run", 3, "shop: a run ended with 3: it needs a person. Its last lines say more.") == (
        message["event"],
        message["exit_code"],
        message["words"],
    )


def test_a_run_with_too_many_bad_records_says_so(shop: Shop, ops: Receiver) -> None:
    with_ops(shop, ops)
    assert 2 == shop.run({"type": "nonsense"}, profile("ana", "2026-01-01T00:00:00Z"), more=("--max-bad", "0"))
    assert [2] == [message["exit_code"] for message in ops.messages]


def test_a_run_does_not_wait_for_ever_for_its_message_to_be_taken(ops: Receiver) -> None:
    release, failed = threading.Event(), list[str]()
    ops.answer = lambda path, message: 200 if release.wait(30) else 500
    tell_at_the_end((OnTrouble(webhook=f"{ops.url}/in"),), of_a_run("shop", 3), failed.append, patience=0.1)
    assert ["it is not taken in time"] == failed
    release.set()


def test_check_sends_a_message_only_if_it_is_asked_to(
    shop: Shop, ops: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    with_ops(shop, ops)
    workspace = ("--workspace", str(shop.workspace))
    assert 0 == main(["check", *workspace])
    assert [] == ops.messages
    assert 0 == main(["check", *workspace, "--on-trouble"])
    assert ["shop: a message on trial; nothing is wrong."] == [message["words"] for message in ops.messages]
    assert "on_trouble[0].webhook: told" in capsys.readouterr().out
    ops.answer = lambda path, message: 404
    assert 1 == main(["check", *workspace, "--on-trouble"])
    assert "on_trouble[0].webhook: not told: it was answered with 404" in capsys.readouterr().out


def test_check_of_a_workspace_that_names_nobody_says_so(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert 1 == main(["check", "--workspace", str(shop.workspace), "--on-trouble"])
    assert "on_trouble names nobody" in capsys.readouterr().out


def test_a_service_tells_of_a_connection_that_stopped(tmp_path: Path, ops: Receiver) -> None:
    with receiving() as vendor:
        vendor.answer = lambda host, message: 401
        shop = Shop(tmp_path, vendor)
        with_ops(shop, ops, after="1s")
        with serving(tmp_path, vendor.url) as service:
            service.append("events.jsonl", profile("ana", this_moment()), score("ana", this_moment(), 1))
            (message,) = told(ops, 1)
            assert ("trouble", "stopped", "hook") == (message["event"], message["kind"], message["connection"])
            assert 0 == service.stop()
        assert 1 == len(ops.messages)
