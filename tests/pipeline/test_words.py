"""What it says when it is interrupted, when nobody can hear it, and while a run lasts."""

import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, CompletedProcess
from typing import Any

import pytest
from rich.console import Console

from pipeline.printing import deliveries
from schemas.report import Report
from tests.pipeline.conftest import Shop
from tests.pipeline.running import command, profile, score, summary_of, vip, workspace

Capture = pytest.CaptureFixture[str]
SIGNALS = (signal.SIGINT, signal.SIGTERM)
DAY_1 = "2026-01-01T00:00:00Z"
ANA = (profile("ana", DAY_1), vip("ana", DAY_1), score("ana", DAY_1, 7))
ROOT = Path(__file__).parents[2]
# Who runs the tests in the background may have left them a SIGINT that is ignored.
INTERRUPTED_LOADING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Interrupting:
    def find_spec(name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Interrupting)
from pipeline.__main__ import main
sys.exit(main())
"""
INTERRUPTED_ENDING = """
import atexit, os, sys
from pipeline.cli import main
atexit.register(os.kill, os.getpid(), {number})
code = main()
os.kill(os.getpid(), {number})
sys.exit(code)
"""


def python(script: str, *arguments: object, stdout: int = PIPE, stderr: int = PIPE) -> "CompletedProcess[str]":
    """A script with the arguments of `profilecast`, in a process of its own, until it ends."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, stdout=stdout, stderr=stderr, text=True, timeout=60, check=False)


def profilecast(*arguments: object, stdout: int = PIPE, stderr: int = PIPE) -> "CompletedProcess[str]":
    return python(
        "import sys; from pipeline.cli import main; sys.exit(main())", *arguments, stdout=stdout, stderr=stderr
    )


class TestInterrupted:
    @pytest.mark.parametrize("number", SIGNALS)
    @pytest.mark.parametrize(
        "module", ["pipeline.cli", "pipeline.commands.run", "apache_beam.runners", "pipeline.printing"]
    )
    def test_while_modules_load_it_says_one_line(self, shop: Shop, module: str, number: signal.Signals) -> None:
        done = python(INTERRUPTED_LOADING.format(module=module, number=number), "run", *shop.arguments(*ANA))
        assert (4, "", "Stopped. Nothing was sent.\n") == (done.returncode, done.stdout, done.stderr)
        assert [] == shop.receiver.messages
        assert not shop.state.exists()

    @pytest.mark.parametrize("module", ["pipeline.cli", "pipeline.problems", "pipeline.commands.serve"])
    def test_a_service_that_is_stopped_while_modules_load_was_stopped(self, module: str) -> None:
        done = python(INTERRUPTED_LOADING.format(module=module, number=signal.SIGTERM), "serve", "--state", "nowhere")
        assert (0, "", "Stopped. Nothing was sent.\n") == (done.returncode, done.stdout, done.stderr)

    @pytest.mark.parametrize("number", SIGNALS)
    def test_when_all_is_delivered_it_changes_nothing(self, shop: Shop, number: signal.Signals) -> None:
        done = python(INTERRUPTED_ENDING.format(number=number), "run", *shop.arguments(*ANA))
        assert (0, "") == (done.returncode, done.stderr)
        assert "Done: 3 calls delivered." == done.stdout.splitlines()[-1]

    @pytest.mark.parametrize("number", SIGNALS)
    def test_while_the_table_is_printed_it_changes_nothing(self, shop: Shop, number: signal.Signals) -> None:
        with command("run", *shop.arguments(*ANA)) as process:
            assert process.stdout
            assert process.stderr
            lines = iter(process.stdout)
            assert any(line.startswith("Read ") for line in lines)
            process.send_signal(number)
            assert "Done: 3 calls delivered.\n" == list(lines)[-1]
            assert (0, "") == (process.wait(30), process.stderr.read())

    def test_whoever_calls_it_from_python_has_its_own_handlers_again(self, shop: Shop) -> None:
        before = [signal.getsignal(number) for number in SIGNALS]
        assert 0 == shop.run(*ANA)
        assert before == [signal.getsignal(number) for number in SIGNALS]

    def test_when_the_time_is_up_nobody_has_pressed_ctrl_c_yet(self, shop: Shop, capsys: Capture) -> None:
        assert 4 == shop.run(*ANA, more=("--stop-after", "0s"))
        errors = capsys.readouterr().err
        assert errors.startswith("The time is up: ")
        assert errors.endswith(" the rest waits for the next run. Ctrl-C: at once.\n")


@contextmanager
def full() -> Iterator[int]:
    """A disk that has no room."""
    with Path("/dev/full").open("w") as disk:
        yield disk.fileno()


@contextmanager
def gone() -> Iterator[int]:
    """A pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


BROKEN = ((full, "No space left on device"), (gone, "Broken pipe"))


class TestUnheard:
    """Standard output cannot be written."""

    @pytest.mark.parametrize(("broken", "why"), BROKEN)
    def test_a_run_says_so_and_goes_on(self, shop: Shop, broken: Callable[[], Any], why: str) -> None:
        with broken() as output:
            done = profilecast("run", *shop.arguments(*ANA), stdout=output)
        told = "The run goes on; its summary.json will say what it did."
        assert (0, f"Standard output cannot be written: {why}. {told}\n") == (done.returncode, done.stderr)
        assert 3 == summary_of(shop.state)["connections"]["hook"]["delivered"]
        assert 3 == len(shop.receiver.messages)

    def test_a_run_ends_with_its_own_exit_code(self, shop: Shop) -> None:
        shop.receiver.answer = lambda host, message: 422
        with gone() as output:
            assert 2 == profilecast("run", *shop.arguments(*ANA), "--max-rejected", 0, stdout=output).returncode

    def test_a_run_that_is_not_heard_at_all_goes_on(self, shop: Shop) -> None:
        with gone() as output:
            assert 0 == profilecast("run", *shop.arguments(*ANA), stdout=output, stderr=output).returncode
        assert 3 == len(shop.receiver.messages)

    @pytest.mark.parametrize(("broken", "why"), BROKEN)
    def test_a_replay_goes_on_too(self, shop: Shop, broken: Callable[[], Any], why: str) -> None:
        shop.receiver.answer = lambda host, message: 422
        shop.run(*ANA)
        shop.receiver.answer = lambda host, message: 200
        with broken() as output:
            done = profilecast("replay", *shop.common(), stdout=output)
        assert (0, 1) == (done.returncode, done.stderr.count(why))
        assert 3 == summary_of(shop.state)["connections"]["hook"]["delivered"]
        with full() as output:
            assert 3 == profilecast("replay", *shop.common(), "--dry-run", stdout=output).returncode

    @pytest.mark.parametrize("arguments", [["destinations"], ["check", "--schema"], ["destinations", "braze"]])
    def test_a_command_that_only_prints_could_not_finish(self, arguments: list[str]) -> None:
        with full() as output:
            done = profilecast(*arguments, stdout=output)
        assert (3, "Standard output cannot be written: No space left on device.\n") == (done.returncode, done.stderr)

    @pytest.mark.parametrize("arguments", [["destinations"], ["check", "--schema"], ["run", "--help"], []])
    def test_a_reader_that_has_enough_is_no_error(self, arguments: list[str]) -> None:
        with gone() as output:
            done = profilecast(*arguments, stdout=output)
        assert (0, "") == (done.returncode, done.stderr)

    def test_a_run_without_any_output_goes_on(self, shop: Shop) -> None:
        script = "import os, sys; os.close(1); os.close(2); os.execv(sys.executable, sys.orig_argv[:1] + sys.argv[1:])"
        assert 0 == python(script, "-m", "pipeline", "run", *shop.arguments(*ANA)).returncode
        assert 3 == summary_of(shop.state)["connections"]["hook"]["delivered"]


CURSOR_HIDDEN, CURSOR_SHOWN = "\x1b[?25l", "\x1b[?25h"
CONNECTIONS = [
    Report(
        connection="hubspot-production-eu-marketing-contacts", destination="hubspot", cap="190/10s", calls=1_234_567,
        delivered=412_345, rejected={"invalid_value": 98_765}, rate=18.94, seconds_left=40_000.0,
    ),
    Report(connection="braze", destination="braze", cap="50/s", calls=300_000, delivered=299_000, seconds_left=12.0),
    Report(connection="zendesk-support", destination="zendesk", cap="700/min", calls=25_000),
    Report(connection="iterable-us", destination="iterable", cap="500/s", calls=25_000, delivered=25_000),
    Report(
        connection="internal-data-warehouse-webhook", destination="webhook", calls=2_000_000, delivered=1_700_000,
        rate=2_345.6, seconds_left=170_000.0,
    ),
    Report(connection="crm", destination="webhook", calls=2_000, delivered=17, stopped="the vendor refuses …"),
]  # fmt: skip


def unwrapped(table: str) -> list[list[str]]:
    """The cells of its rows: of a row that wraps, only the name goes on."""
    rows: list[list[str]] = []
    for line in table.splitlines():
        name, _, others = line.strip().partition(" ")
        if others:
            rows.append([name, *re.split(r"\s{2,}", others.strip())])
        else:
            rows[-1][0] += name
    return rows


class TestProgress:
    @pytest.mark.parametrize("width", [80, 120])
    def test_every_number_and_name_fits(self, width: int) -> None:
        console = Console(width=width, no_color=True)
        with console.capture() as captured:
            console.print(deliveries(CONNECTIONS))
        assert max(map(len, captured.get().splitlines())) <= width
        assert [
            ["connection", "delivered", "waiting", "rejected", "time left", "requests/s", "cap"],
            ["hubspot-production-eu-marketing-contacts", "412,345", "723,457", "98,765", "11 h", "18.9", "190/10s"],
            ["braze", "299,000", "1,000", "0", "12 s", "0.0", "50/s"],
            ["zendesk-support", "0", "25,000", "0", "0.0", "700/min"],
            ["iterable-us", "25,000", "0", "0", "done", "0.0", "500/s"],
            ["internal-data-warehouse-webhook", "1,700,000", "300,000", "0", "47 h", "2,346", "none"],
            ["crm", "17", "1,983", "0", "stopped", "0.0", "none"],
        ] == unwrapped(captured.get())

    def test_what_keeps_a_connection_from_its_cap_is_said_beside_it(self, shop: Shop) -> None:
        workspace(shop.workspace, "hook")
        shop.receiver.answer = lambda host, message: 503
        shown = on_a_terminal(shop.arguments(*ANA), "no useful answer since")
        _, _, after = shown.partition("Stopping")
        words = "waiting for the next run: no useful answer since"
        assert re.search(f"{words} [^ ]+Z: HTTP 503 .Service Unavailable.", " ".join(after.split()))

    def test_rejections_have_a_column_where_there_are_any(self) -> None:
        heads = [column.header for column in deliveries(CONNECTIONS[1:]).columns]
        assert ["connection", "delivered", "waiting", "time left", "requests/s", "cap"] == heads

    def test_what_is_said_meanwhile_has_a_line_of_its_own(self, shop: Shop) -> None:
        workspace(shop.workspace, "hook", cap="20/s")
        events = [event for n in range(100) for event in (profile(f"p{n}", DAY_1), score(f"p{n}", DAY_1, n))]
        shown = on_a_terminal(shop.arguments(*events), "requests/s")
        before, _, after = shown.partition("Stopping: what is in flight ends")
        assert "" == re.sub(r"\x1b\[[0-9;]*m", "", re.split(r"\n|\x1b\[2K", before)[-1])
        assert "Not done yet: hook." in after
        assert shown.rindex(CURSOR_HIDDEN) < shown.rindex(CURSOR_SHOWN)

    def test_the_cursor_is_there_again_though_it_stopped_at_once(self, shop: Shop) -> None:
        over = threading.Event()
        shop.receiver.answer = lambda host, message: 200 if over.wait(30) else 0
        shown = on_a_terminal(shop.arguments(*ANA), "requests/s", "Stopping")
        over.set()
        assert "Stopped at once." in shown
        assert shown.rindex(CURSOR_HIDDEN) < shown.rindex(CURSOR_SHOWN)


def on_a_terminal(arguments: list[str], *words: str) -> str:
    """What a run prints that hears Ctrl-C when each of these words has been printed."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    run = [sys.executable, "-m", "pipeline", "run", *arguments]
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    with subprocess.Popen(
        run, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, env=environment | {"TERM": "xterm"}
    ) as process:
        os.close(theirs)
        shown, presses = "", list(words)
        for part in _parts(ours):
            shown += part
            if presses and presses[0] in shown:
                process.send_signal(signal.SIGINT)
                del presses[0]
        assert 4 == process.wait(30), shown
    os.close(ours)
    return shown


def _parts(terminal: int) -> Iterator[str]:
    while True:
        try:
            yield os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # the other end is closed
            return
