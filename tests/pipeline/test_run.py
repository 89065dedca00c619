"""A run as it is typed: what is sent, what is kept, what it says and its exit code."""

import json
import resource
import signal
import sqlite3
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main
from pipeline.disk import StoreError
from pipeline.run import plain_errors
from tests.pipeline.conftest import Shop
from tests.pipeline.running import command, dead_letters, profile, score, summary_of, vip, workspace

Capture = pytest.CaptureFixture[str]
DAY_1, DAY_2, DAY_3 = (f"2026-01-0{day}T00:00:00Z" for day in (1, 2, 3))
ANA = (profile("ana", DAY_1, "ana@example.com"), vip("ana", DAY_1), score("ana", DAY_1, 7))


def many(number: int) -> Iterator[dict[str, Any]]:
    for n in range(number):
        yield profile(f"p{n:03}", DAY_1)
        yield score(f"p{n:03}", DAY_1, n)


class TestWhatItSays:
    def test_a_run_that_told_something_prints_a_table(self, shop: Shop, capsys: Capture) -> None:
        assert 0 == shop.run(*ANA)
        printed = capsys.readouterr().out
        assert "Read 3 events: 3 said something new, 0 did not, 0 could not be used. 1 profile known." in printed
        [row] = [line.split() for line in printed.splitlines() if line.startswith("hook")]
        assert ["hook", "6", "6", "0", "0", "6", "none"] == row
        assert "Done: 6 calls delivered." == printed.splitlines()[-1]
        assert "\x1b" not in printed

    def test_a_connection_that_had_nothing_to_do_has_its_cap_too(self, shop: Shop, capsys: Capture) -> None:
        workspace(shop.workspace, "hook", "quiet", cap="30/s")
        shop.workspace.write_text(shop.workspace.read_text() + "    where: {plan: gold}\n")
        assert 0 == shop.run(*ANA)
        rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith(("hook", "quiet"))]
        assert {"hook": "30/s", "quiet": "30/s"} == {row[0]: row[-1] for row in rows if len(row) > 4}

    def test_a_run_that_sent_nothing_says_so_in_one_line(self, shop: Shop, capsys: Capture) -> None:
        shop.run(*ANA)
        capsys.readouterr()
        assert 0 == shop.run(*ANA)
        printed = capsys.readouterr().out
        assert "Nothing was sent: there is no news for any connection." == printed.splitlines()[-1]
        assert "hook" not in printed

    def test_a_run_that_knows_nobody_does_not_say_that_everything_is_told(self, shop: Shop, capsys: Capture) -> None:
        shop.run({"type": "nonsense"})
        last = capsys.readouterr().out.splitlines()[-1]
        assert "Nothing was sent: no profile is known yet. 1 of 1 record could not be used." == last

    def test_records_that_could_not_be_used_stand_in_the_last_line(self, shop: Shop, capsys: Capture) -> None:
        assert 0 == shop.run(*ANA, {"type": "nonsense"}, {"type": "trait"})
        last = capsys.readouterr().out.splitlines()[-1]
        assert "Done: 6 calls delivered. 2 of 5 records could not be used." == last

    def test_a_run_with_calls_left_says_who_waits(self, shop: Shop, capsys: Capture) -> None:
        shop.receiver.answer = lambda host, message: 503
        assert 4 == shop.run(*ANA, more=("--retry-for", "0s"))
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.startswith("Not done yet: hook. 6 calls waiting")

    def test_help_tells_the_exit_codes(self, capsys: Capture) -> None:
        with pytest.raises(SystemExit):
            main(["run", "--help"])
        printed = " ".join(capsys.readouterr().out.split())
        words = ((0, "done"), (1, "wrong"), (2, "done, but"), (3, "needs"), (4, "not done yet"))
        assert all(f"{code} {what}" in printed for code, what in words)


class TestConservation:
    def test_calls_of_an_earlier_run_go_or_are_superseded_by_newer_ones(self, shop: Shop) -> None:
        shop.receiver.answer = lambda host, message: 503
        shop.run(*ANA, more=("--retry-for", "0s"))
        shop.receiver.answer = lambda host, message: 200
        assert 0 == shop.run(score("ana", DAY_2, 8))
        found = summary_of(shop.state)
        hook = found["connections"]["hook"]
        assert [] == found["mistakes"]
        counted = {name: hook[name] for name in ("before", "made", "superseded", "delivered", "waiting")}
        assert {"before": 6, "made": 2, "superseded": 2, "delivered": 6, "waiting": 0} == counted

    def test_a_log_that_does_not_add_up_fails_loudly(self, shop: Shop, capsys: Capture) -> None:
        def tamper(host: str, message: dict[str, Any]) -> int:
            if len(shop.receiver.messages) == 1:
                with closing(sqlite3.connect(shop.state / "sent" / "hook.db", timeout=60)) as log, log:
                    log.execute("INSERT INTO counters VALUES ('rejected', 5)")
            return 200

        shop.receiver.answer = tamper
        assert 3 == shop.run(*many(40))
        expected = "DOES NOT ADD UP: hook: 0 calls waited and 40 were made; 45 have an outcome and 0 wait"
        assert expected in capsys.readouterr().out
        assert 1 == len(summary_of(shop.state)["mistakes"])


class TestBrokenState:
    @pytest.mark.parametrize(
        ("file", "content", "said"),
        [
            ("state.db", "torn" * 2000, "it is damaged"),
            ("state.db", "", "it is damaged"),
            ("sent/hook.db", "torn" * 2000, "it is damaged"),
        ],
    )
    def test_a_damaged_file_is_named_and_nothing_is_sent(
        self, shop: Shop, capsys: Capture, file: str, content: str, said: str
    ) -> None:
        shop.run(*ANA)
        path = shop.state / file
        for beside in path.parent.glob(f"{path.name}-*"):
            beside.unlink()
        path.write_text(content)
        before = len(shop.receiver.messages)
        capsys.readouterr()
        assert 3 == shop.run(score("ana", DAY_2, 8))
        printed = capsys.readouterr()
        assert f"{path}: {said}" in printed.out + printed.err
        assert "Traceback" not in printed.err
        assert before == len(shop.receiver.messages)

    @pytest.mark.parametrize("content", ["{", "[]", '{"windows": 3}'])
    def test_what_is_kept_of_a_cap_is_not_guessed_where_it_is_damaged(
        self, shop: Shop, capsys: Capture, state_home: Path, content: str
    ) -> None:
        workspace(shop.workspace, "hook", cap="1000/h")
        shop.run(*ANA)
        [path] = state_home.rglob("*.json")
        path.write_text(content)
        before = len(shop.receiver.messages)
        capsys.readouterr()
        assert 3 == shop.run(score("ana", DAY_2, 8))
        assert "hook: STOPPED: " in capsys.readouterr().out
        assert before == len(shop.receiver.messages)

    def test_a_state_that_is_gone_is_not_begun_anew_without_a_word(self, shop: Shop, capsys: Capture) -> None:
        shop.run(*ANA)
        given = shop.arguments()
        shop.state.rename(shop.root / "elsewhere")
        assert 1 == main(["run", *given])
        assert "add --new-state" in capsys.readouterr().err
        assert not shop.state.exists()


class Engine(Exception):
    """What an engine raises for what a step raised."""


class TestErrorsOfSteps:
    """Each engine wraps them in its own way."""

    def test_the_cause_is_told(self) -> None:
        wrapped = Engine("disk: full [while running 'FoldShards']")
        wrapped.__context__ = StoreError("disk: full")
        with pytest.raises(StoreError, match=r"^disk: full$"), plain_errors():
            raise wrapped

    def test_what_comes_as_text_from_another_process_is_told(self) -> None:
        with pytest.raises(StoreError, match=r"^disk: full$"), plain_errors():
            raise Engine("Traceback: …\npipeline.disk.StoreError: disk: full\n\n")

    def test_an_error_of_the_machine_names_the_file(self) -> None:
        with pytest.raises(StoreError, match=r"^gone: No such file or directory; "), plain_errors():
            Path("gone").read_bytes()

    def test_a_fault_of_ours_stays_one(self) -> None:
        with pytest.raises(ZeroDivisionError), plain_errors():
            _ = 1 / 0


class TestDisk:
    def test_a_disk_full_while_deciding_leaves_the_old_state(self, shop: Shop) -> None:
        shop.run(*ANA)
        sent = len(shop.receiver.messages)
        process = limited(shop, 60_000, *many(400))
        assert 3 == process.returncode
        [line] = process.stderr.splitlines()
        assert "state.db: the disk refuses it" in line
        assert "make room" in line
        assert sent == len(shop.receiver.messages)
        assert 0 == shop.run(score("ana", DAY_2, 8))

    def test_a_disk_full_while_sending_stops_before_what_cannot_be_written_down(self, shop: Shop) -> None:
        workspace(shop.workspace, "hook", cap="300/s")
        process = limited(shop, 800_000, *many(400))
        assert 3 == process.returncode
        assert "hook: STOPPED: " in process.stdout
        assert "hook.db" in process.stdout
        sent = shop.receiver.message_ids()
        assert 0 < len(sent) < 400
        assert "DOES NOT ADD UP" not in process.stdout
        workspace(shop.workspace, "hook")
        assert 0 == shop.run()
        again = [one for one in shop.receiver.message_ids() if one in set(sent)]
        assert 400 == len(set(shop.receiver.message_ids()))
        assert len(again) - len(sent) <= 60  # what was in flight

    def test_only_the_owner_can_read_the_state(self, shop: Shop, state_home: Path) -> None:
        shop.run(*ANA)
        kept = (shop.state, *shop.state.rglob("*"), *(state_home / "profilecast").rglob("*"))
        assert [] == [path for path in kept if stat.S_IMODE(path.stat().st_mode) & 0o077]


def limited(shop: Shop, largest: int, *events: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """A run that can write no file larger than so many bytes."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    process = command("run", *shop.arguments(*events), preexec_fn=limit)
    out, errors = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, errors)


class TestStopping:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_while_sending_ends_what_is_in_flight_and_keeps_the_rest(
        self, shop: Shop, number: signal.Signals
    ) -> None:
        workspace(shop.workspace, "hook", cap="20/s")

        def stop(host: str, message: dict[str, Any]) -> int:
            if 5 == len(shop.receiver.messages):
                process.send_signal(number)
            return 200

        shop.receiver.answer = stop
        process = command("run", *shop.arguments(*many(100)))
        out, errors = process.communicate(timeout=60)
        assert 4 == process.returncode
        assert "Stopping: what is in flight ends" in errors
        assert out.splitlines()[-1].startswith("Not done yet: hook.")
        sent = len(shop.receiver.messages)
        assert summary_of(shop.state)["connections"]["hook"]["delivered"] == sent < 20
        workspace(shop.workspace, "hook")
        assert 0 == shop.run()
        assert 100 == len(shop.receiver.messages)

    def test_a_signal_while_deciding_keeps_the_events_and_sends_nothing(self, shop: Shop) -> None:
        process = command("run", *shop.arguments(*many(8000)))
        while not (shop.state / "deciding").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=60)
        assert 4 == process.returncode
        assert "Stopping: deciding ends first" in errors
        assert "8,000 calls waiting" in out
        assert [] == shop.receiver.messages

    def test_a_second_signal_ends_at_once(self, shop: Shop) -> None:
        in_flight, gone = threading.Event(), threading.Event()

        def hang(host: str, message: dict[str, Any]) -> int:
            in_flight.set()
            gone.wait(30)
            return 0

        shop.receiver.answer = hang
        process = command("run", *shop.arguments(*ANA))
        assert process.stderr
        assert in_flight.wait(30)
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline().startswith("Stopping")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        gone.set()
        assert 4 == process.returncode
        assert "Stopped at once." in errors

    def test_it_stops_when_the_time_is_up(self, shop: Shop, capsys: Capture) -> None:
        workspace(shop.workspace, "hook", cap="20/s")
        assert 4 == shop.run(*many(200), more=("--stop-after", "2s"))
        assert "The time is up: what is in flight ends" in capsys.readouterr().err
        hook = summary_of(shop.state)["connections"]["hook"]
        assert 0 < hook["delivered"] < 100
        assert 200 == hook["delivered"] + hook["waiting"]


class TestExitCodes:
    def test_rejected_calls_beyond_the_limit_exit_with_2(self, shop: Shop, capsys: Capture) -> None:
        shop.receiver.answer = lambda host, message: 422 if message.get("userId") == "bob" else 200
        events = (*ANA, profile("bob", DAY_1), score("bob", DAY_1, 1))
        assert 2 == shop.run(*events, more=("--max-rejected", "0"))
        assert "1 calls were rejected; --max-rejected is 0." in capsys.readouterr().err
        assert 0 == shop.run(score("bob", DAY_2, 2), more=("--max-rejected", "1"))

    def test_a_vendor_that_refuses_the_credentials_stops_its_connection_alone(
        self, shop: Shop, capsys: Capture
    ) -> None:
        workspace(shop.workspace, "hook", "other")
        shop.receiver.answer = lambda host, message: 401 if host == "hook.example" else 200
        assert 3 == shop.run(*ANA)
        printed = capsys.readouterr().out
        assert 1 == printed.count("refuses the credentials")
        found = summary_of(shop.state)["connections"]
        assert (0, 6) == (found["hook"]["delivered"], found["other"]["delivered"])


def test_dead_letters_are_kept_with_their_attempts(shop: Shop) -> None:
    shop.receiver.answer = lambda host, message: 422
    shop.run(*ANA[:2])
    letters = dead_letters(shop.state)
    assert {("Deliver", "invalid_value", "hook", 1)} == {
        (letter["step"], letter["reason"], letter["connection"], letter["attempts"]) for letter in letters
    }
    assert 4 == len(letters)


def test_masked_dead_letters_hold_nothing_of_the_person(shop: Shop) -> None:
    shop.receiver.answer = lambda host, message: 422
    events = (*ANA, {"type": "profile", "profile_id": "bob", "at": DAY_1, "traits": {"name": "Bob"}, "external_ids": 1})
    shop.run(*events, more=("--mask-dead-letters",))
    letters = dead_letters(shop.state)
    assert 7 == len(letters)
    text = json.dumps([letter["payload"] for letter in letters])
    assert "example.com" not in text
    assert "Bob" not in text
    assert {True} == {letter["masked"] for letter in letters}
    assert "wrong_type" == letters[-1]["reason"] or "wrong_type" in {letter["reason"] for letter in letters}


def test_an_unfinished_first_sync_is_still_the_first(shop: Shop, capsys: Capture) -> None:
    """Its first calls are looked at, whatever an earlier run tried."""
    shop.receiver.answer = lambda host, message: 503
    shop.run(*many(200), more=("--retry-for", "0s"))
    shop.receiver.answer = lambda host, message: 422
    shop.receiver.messages.clear()
    assert 3 == shop.run()
    assert "the vendor rejected" in capsys.readouterr().out
    assert len(shop.receiver.messages) <= 50
