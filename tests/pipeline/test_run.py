"""A run as it is typed: what is sent, what is kept, what it says and its exit code."""

import json
import os
import resource
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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
        assert "Read 3 events: 3 told something new, 0 did not, 0 could not be used. 1 profile known." in printed
        [row] = [line.split() for line in printed.splitlines() if line.startswith("hook")]
        assert ["hook", "6", "6", "0", "0", "6", "none"] == row
        assert "Done: 6 calls delivered." == printed.splitlines()[-1]
        assert "\x1b" not in printed

    def test_a_run_that_sent_nothing_says_so_in_one_line(self, shop: Shop, capsys: Capture) -> None:
        shop.run(*ANA)
        capsys.readouterr()
        assert 0 == shop.run(*ANA)
        printed = capsys.readouterr().out
        assert "Nothing was sent: there is no news for any connection." == printed.splitlines()[-1]
        assert "hook" not in printed

    def test_a_run_that_knows_nobody_does_not_say_that_everything_is_told(self, shop: Shop, capsys: Capture) -> None:
        shop.run({"type": "nonsense"})
        assert "Nothing was sent: no profile is known yet." == capsys.readouterr().out.splitlines()[-1]

    def test_a_run_with_calls_left_says_who_waits(self, shop: Shop, capsys: Capture) -> None:
        shop.receiver.answer = lambda host, message: 503
        assert 3 == shop.run(*ANA, more=("--retry-for", "0s"))
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.startswith("Not finished: hook. 6 calls waiting")

    def test_help_tells_the_exit_codes(self, capsys: Capture) -> None:
        from pipeline.cli import main

        with pytest.raises(SystemExit):
            main(["run", "--help"])
        printed = " ".join(capsys.readouterr().out.split())
        assert all(f"{code} {what}" in printed for code, what in ((0, "done"), (1, "wrong"), (2, "fin"), (3, "could")))


class TestConservation:
    def test_calls_of_an_earlier_run_are_carried_or_superseded(self, shop: Shop) -> None:
        shop.receiver.answer = lambda host, message: 503
        shop.run(*ANA, more=("--retry-for", "0s"))
        shop.receiver.answer = lambda host, message: 200
        assert 0 == shop.run(score("ana", DAY_2, 8))
        found = summary_of(shop.state)
        hook = found["connections"]["hook"]
        assert [] == found["mistakes"]
        counted = {name: hook[name] for name in ("made", "left", "carried", "superseded", "delivered", "pending")}
        assert {"made": 8, "left": 6, "carried": 4, "superseded": 2, "delivered": 6, "pending": 0} == counted

    def test_a_journal_that_says_something_else_than_the_sender_fails_loudly(self, shop: Shop, capsys: Capture) -> None:
        def tamper(host: str, message: dict[str, Any]) -> int:
            [journal] = shop.state.glob("outcomes/*/hook.jsonl")
            with journal.open("a") as lines:
                lines.write(f'{{"at": 0, "rejected": [[{9 << 32}, "refused", ""]]}}\n')
            return 200

        shop.receiver.answer = tamper
        shop.workspace.write_text(shop.workspace.read_text().replace("as: [identify, track]", "as: identify"))
        events = [event for n in range(400) for event in (profile(f"p{n}", DAY_1), vip(f"p{n}", DAY_1))]
        assert 3 == shop.run(*events)
        printed = capsys.readouterr().out
        assert "DOES NOT ADD UP: hook: 400 calls delivered by the sender, 399 by its journal" in printed
        assert 2 == len(summary_of(shop.state)["mistakes"])


class TestLock:
    def test_a_second_run_refuses_and_names_the_first(self, shop: Shop, capsys: Capture) -> None:
        second: list[int] = []

        def run_again(host: str, message: dict[str, Any]) -> int:
            if not second:
                second.append(-1)
                process = command("run", *shop.arguments())
                _, errors = process.communicate(timeout=30)
                second[:] = [process.returncode]
                said.append(errors)
            return 200

        said: list[str] = []
        shop.receiver.answer = run_again
        assert 0 == shop.run(*ANA)
        assert [3] == second
        assert f"in use by process {os.getpid()}" in said[0]
        assert "wait until it ends, or stop it" in said[0]

    def test_the_lock_of_a_dead_run_is_free(self, shop: Shop) -> None:
        shop.state.mkdir()
        (shop.state / "lock").write_text("process 1 on a machine that is gone")
        assert 0 == shop.run(*ANA)


class TestBrokenState:
    @pytest.mark.parametrize(
        ("file", "content", "said"),
        [
            ("current", "", "it names no run"),
            ("current", "20200101T000000Z", "cannot be read: No such file"),
            ("snapshots/*/manifest.json", '{"format": 1, "run', "it is damaged"),
            ("snapshots/*/manifest.json", '{"format": 99}', "a newer version of profilecast wrote it"),
            ("snapshots/*/07.state", "torn", "it is damaged"),
            ("outcomes/*/hook.jsonl", "torn\n", "it is no line of a journal"),
            ("outbox/hook/*/*.calls", "torn", "it is damaged"),
            ("memory/hook.json", "{", "it is damaged"),
            ("memory/hook.json", "[]", "it is damaged (Expected `object`, got `array`)"),
            ("memory/hook.json", '{"sender": []}', "it is damaged (Expected `object`, got `array` - at `$.sender`)"),
            (
                "memory/hook.json",
                '{"sender": {"limiter": {"held_until": "tomorrow"}}}',
                "it is damaged (Expected `float | null`, got `str` - at `$.sender.limiter.held_until`)",
            ),
            ("memory/hook.json", '{"sender": {"limiter": {"windows": [{"seconds": 3600}]}}}', "it is damaged"),
        ],
    )
    def test_a_damaged_file_is_named_and_nothing_is_sent(
        self, shop: Shop, capsys: Capture, file: str, content: str, said: str
    ) -> None:
        shop.run(*ANA)
        (shop.state / "memory" / "hook.json").write_text("{}")
        path = next(shop.state.glob(file))
        path.write_text(content)
        before = len(shop.receiver.messages)
        capsys.readouterr()
        assert 3 == shop.run(score("ana", DAY_2, 8))
        errors = capsys.readouterr().err
        assert said in errors
        assert errors.startswith(f"{shop.state}/{file.split(chr(47))[0]}") or "current" == file
        assert 1 == len(errors.splitlines())
        assert before == len(shop.receiver.messages)

    def test_a_state_file_that_is_gone_is_named(self, shop: Shop, capsys: Capture) -> None:
        shop.run(*ANA)
        [path] = shop.state.glob("snapshots/*/07.state")
        path.unlink()
        capsys.readouterr()
        assert 3 == shop.run()
        assert f"{path}: cannot be read" in capsys.readouterr().err


class Engine(Exception):
    """What an engine raises for what a step raised."""


class TestErrorsOfSteps:
    """Each engine wraps them in its own way."""

    def test_the_cause_is_told(self) -> None:
        wrapped = Engine("disk: full [while running 'WriteState']")
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
    def test_a_part_that_cannot_be_written_leaves_the_old_state(self, shop: Shop, capsys: Capture) -> None:
        shop.run(*ANA)
        pointer = (shop.state / "current").read_text()
        (shop.state / "outbox" / "other").write_text("")
        workspace(shop.workspace, "hook", "other")
        capsys.readouterr()
        assert 3 == shop.run(score("ana", DAY_2, 8))
        assert "outbox/other" in capsys.readouterr().err
        assert pointer == (shop.state / "current").read_text()

    @pytest.mark.parametrize("largest", [0, 60], ids=["the lock", "what is decided"])
    def test_a_disk_full_before_the_commit_leaves_the_old_state(self, shop: Shop, largest: int) -> None:
        shop.run(*ANA)
        pointer = (shop.state / "current").read_text()
        sent = len(shop.receiver.messages)
        process = limited(shop, largest, *many(400))
        assert 3 == process.returncode
        [line] = process.stderr.splitlines()
        assert "cannot be written: File too large; make room" in line
        assert pointer == (shop.state / "current").read_text()
        assert sent == len(shop.receiver.messages)
        assert 0 == shop.run(score("ana", DAY_2, 8))

    def test_a_disk_full_while_sending_stops_before_what_cannot_be_written_down(self, shop: Shop) -> None:
        process = limited(shop, 6000, *many(400))
        assert 3 == process.returncode
        assert "hook: STOPPED: " in process.stdout
        assert "hook.jsonl: cannot be written: File too large" in process.stdout
        sent = shop.receiver.message_ids()
        assert 0 < len(sent) < 400
        assert "DOES NOT ADD UP" not in process.stdout
        assert 0 == shop.run()
        again = [one for one in shop.receiver.message_ids() if one in set(sent)]
        assert 400 == len(set(shop.receiver.message_ids()))
        assert len(again) - len(sent) <= 17  # what was in flight

    def test_only_the_owner_can_read_the_state(self, shop: Shop) -> None:
        shop.run(*ANA)
        modes = {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (shop.state, *shop.state.rglob("*"))}
        assert {0} == modes


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
        out, errors = process.communicate(timeout=30)
        assert 3 == process.returncode
        assert "Stopping: what is in flight ends" in errors
        assert out.splitlines()[-1].startswith("Not finished: hook.")
        sent = len(shop.receiver.messages)
        assert summary_of(shop.state)["connections"]["hook"]["delivered"] == sent < 20
        workspace(shop.workspace, "hook")
        assert 0 == shop.run()
        assert 100 == len(shop.receiver.messages)

    def test_a_signal_while_deciding_keeps_the_events_and_sends_nothing(self, shop: Shop) -> None:
        process = command("run", *shop.arguments(*many(100)))
        assert process.stdout
        assert process.stdout.readline().startswith("Run ")
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=30)
        assert 3 == process.returncode
        assert "Stopping: deciding ends first" in errors
        assert "100 calls waiting" in out
        assert [] == shop.receiver.messages
        assert 0 == shop.run()
        assert 100 == len(shop.receiver.messages)

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
        _, errors = process.communicate(timeout=5)
        gone.set()
        assert 3 == process.returncode
        assert "Stopped at once." in errors

    def test_it_stops_when_the_time_is_up(self, shop: Shop, capsys: Capture) -> None:
        workspace(shop.workspace, "hook", cap="20/s")
        assert 3 == shop.run(*many(200), more=("--stop-after", "2s"))
        assert "The time is up: what is in flight ends" in capsys.readouterr().err
        hook = summary_of(shop.state)["connections"]["hook"]
        assert 0 < hook["delivered"] < 100
        assert 200 == hook["delivered"] + hook["pending"]


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


def test_an_unfinished_first_sync_is_still_the_first(shop: Shop) -> None:
    def acknowledged() -> bool:
        pointer = (shop.state / "current").read_text()
        manifest = json.loads((shop.state / "snapshots" / pointer / "manifest.json").read_text())
        found: bool = manifest["connections"]["hook"]["acknowledged"]
        return found

    shop.receiver.answer = lambda host, message: 503
    shop.run(*ANA, more=("--retry-for", "0s"))
    shop.receiver.answer = lambda host, message: 200
    shop.run()
    assert not acknowledged()
    shop.run()
    assert acknowledged()


def test_runs_that_were_killed_before_their_commit_are_cleared_away(shop: Shop) -> None:
    shop.run(*ANA)
    later = "99990101T000000Z"
    for folder in ("snapshots", "outcomes", "outbox/hook"):
        (shop.state / folder / later).mkdir()
    shop.run()
    assert not list(shop.state.glob(f"*/{later}")) + list(shop.state.glob(f"*/*/{later}"))


def test_the_pointer_names_a_run_of_the_folder(shop: Shop) -> None:
    shop.run(*ANA)
    assert [Path(shop.state / "snapshots" / (shop.state / "current").read_text())] == list(
        (shop.state / "snapshots").iterdir()
    )
