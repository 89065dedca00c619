"""`profilecast run`: one bounded run."""

import argparse
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from pipeline.commands.arguments import address, bound, duration, refuse_given, share, time
from pipeline.commands.check import DEFAULT_FILE
from pipeline.commands.engine_options import LOCAL_RUNNER, wrong_option
from pipeline.commands.exits import AGAIN, DONE, PERSON, REJECTED, wrong
from pipeline.commands.refresh import UnknownSync, add_refresh_argument, refreshed
from pipeline.commands.say import mute_beam
from pipeline.commands.streaming import STREAMING, add_streaming_arguments, moves_in, run_streaming
from pipeline.problems import Ending, WorkspaceError
from pipeline.workspace import load, missing_secrets, with_lines
from schemas.workspace import Workspace

if TYPE_CHECKING:  # they need Beam, which takes a second to import
    from pipeline.replay import Replay
    from pipeline.run import RunOptions
    from pipeline.summary import Summary
    from transforms.sending.delivery import SenderOptions

_LOG_WIDTH = 200  # columns, where there is no terminal to say
EXIT_CODES = """\
Options of Beam itself may be added; they go to Beam.

exit codes:
  0  done
  1  wrong usage or configuration; nothing was read
  2  done, but with more rejected calls than --max-rejected, more unusable records than --max-bad, or a file in which \
every record is unusable
  3  needs a person: an event file cannot be read (then nothing was sent), the state cannot be used, a change \
needs --accept-changes, or a connection stopped
  4  not done yet, run again: calls wait, another run is deciding, or it was stopped before it read anything"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Reads events once, and sends what changed to every connection. Ends when nothing can be sent any more. What "
        "could not be sent waits in the state directory for the next run."
    )
    add_reading_arguments(
        parser,
        "event files: JSON Lines (also gzipped), Avro or Parquet; a path, or a pattern in quotes. Without --events, "
        "the run sends what earlier runs left. With --streaming also kafka://HOST:PORT/TOPIC, or on Dataflow "
        "pubsub://projects/PROJECT/subscriptions/NAME; files are read before topics",
        state=False,
    )
    add = parser.add_argument_group("approval").add_argument
    add("--plan", type=Path, metavar="FILE", help="do nothing if the run would differ from this plan of `plan --out`")
    add(
        "--max-drift",
        type=share,
        default=0.05,
        metavar="SHARE",
        help="how many of the planned calls may be others (5%%)",
    )
    add_refresh_argument(parser.add_argument_group("telling again").add_argument)
    add_run_arguments(parser)
    add_streaming_arguments(parser)


def add_reading_arguments(
    parser: argparse.ArgumentParser, events: str = "", state: bool = True, instead: str = "--streaming"
) -> None:
    """What is read and kept. `events` is the help of --events: a command without it reads none, and makes no state.

    `state`, `instead`: see `add_place`.
    """
    add = parser.add_argument_group("input and state").add_argument
    if events:
        add("--events", nargs="*", default=[], metavar="GLOB", help=events)
    add_place(add, state, instead)
    if events:
        add(
            "--new-state",
            action="store_true",
            help="make the state directory. The first run with a new one tells everybody everything once",
        )
    add(
        "--accept-changes",
        action="store_true",
        help="go on although the changed workspace would tell many people something",
    )


def add_place(add: Callable[..., object], state: bool = True, instead: str = "--streaming") -> None:
    """The workspace and the state, which is required or (`state`: False) only where `instead` is not given."""
    add("--workspace", default=DEFAULT_FILE, metavar="FILE", help="the workspace file (%(default)s)")
    add(
        "--state",
        required=state,
        type=Path,
        metavar="DIR",
        help="the state directory: what every vendor was told (required" + (")" if state else f", without {instead})"),
    )


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """What `run` and `replay` have in common, but for what they read."""
    add_sending_arguments(parser)
    add = parser.add_argument_group("how it ends").add_argument
    add("--stop-after", type=duration, metavar="TIME", help="end after this time (10m, 2h); what is left waits")
    add("--max-bad", type=bound, metavar="N|SHARE", help="exit with 2 if more records are unusable (no limit)")
    add("--max-rejected", type=int, metavar="N", help="exit with 2 if more calls are rejected (no limit)")
    add = parser.add_argument_group("seldom needed").add_argument
    add(
        "--now",
        type=time,
        metavar="TIME",
        help="act as if it were this time: for `historical`, lists, and events from the future (default: the clock)",
    )
    add("--runner", default=LOCAL_RUNNER, metavar="NAME", help="the Beam runner (%(default)s)")
    parser.epilog = EXIT_CODES


# Options that mean nothing to a job that goes on for ever.
BOUNDED = ("state", "new_state", "plan", "max_drift", "stop_after", "max_bad", "max_rejected", "now")


def add_sending_arguments(parser: argparse.ArgumentParser) -> None:
    """What every command that sends has in common."""
    add = parser.add_argument_group("sending").add_argument
    add("--gateway", type=address, metavar="URL", help="send every request to URL/<vendor host>/<path> instead")
    add(
        "--retry-for",
        type=duration,
        default=600.0,
        metavar="TIME",
        help="how long a request is tried again without a useful answer, and a job of the vendor is waited for (10m); "
        "then the calls wait",
    )
    add("--connect-timeout", type=duration, default=10.0, metavar="TIME", help="how long connecting may take (10s)")
    add("--read-timeout", type=duration, default=30.0, metavar="TIME", help="how long a vendor may be silent (30s)")
    add(
        "--max-reject-rate",
        type=share,
        default=0.5,
        metavar="SHARE",
        help="a first sync stops if its vendor rejects more than this share of the first calls (50%%)",
    )
    add("--mask-dead-letters", action="store_true", help="leave identifiers and values of people out of dead letters")


SENDING = ("gateway", "retry_for", "connect_timeout", "read_timeout", "max_reject_rate", "mask_dead_letters")


def run(args: argparse.Namespace) -> int:
    """Do one run; the exit code. Raises WorkspaceError."""
    mute_beam()
    if args.streaming:
        refuse_given(args, ["full_refresh"], "of a streaming job goes with `publish`")
        refuse_given(args, BOUNDED, "has no meaning for a streaming job, which does not end; leave it out")
        if args.senders == "beside":
            ours = ("mask_dead_letters", *(("gateway",) if moves_in(args) else ()))
            others = [each for each in SENDING if each not in ours]
            refuse_given(args, others, "is of who sends: give it to `profilecast send`, or add --senders inside")
        return run_streaming(args)
    refuse_given(args, STREAMING, "is of a streaming job; add --streaming, or leave it out")
    if not args.state:
        args.refuse("the following arguments are required: --state")
    if fault := wrong_option(args):
        return wrong("run", fault)
    workspace = loaded(args.workspace)
    try:
        refresh = refreshed(args, workspace)
    except UnknownSync as error:
        return wrong("run", str(error))
    return carry_out(args, workspace, args.events, refresh=refresh, sources=workspace.sources)


def loaded(file: str) -> Workspace:
    """The workspace, with a value for every secret. Raises WorkspaceError."""
    workspace = load(file)
    if problems := missing_secrets(workspace, file):
        raise WorkspaceError(file, with_lines(problems, file))
    return workspace


def carry_out(
    args: argparse.Namespace,
    workspace: Workspace,
    events: list[str],
    prepare: "Callable[[], Replay] | None" = None,
    **more: Any,
) -> int:
    """One run, as `add_run_arguments` describe it; `prepare` says what is to be tried again. `more`: of RunOptions."""
    code = _carried_out(args, workspace, events, prepare, more)
    if code in (REJECTED, PERSON) and workspace.on_trouble:
        from pipeline.telling import of_a_run, tell_at_the_end

        message = of_a_run(workspace.workspace, code)
        tell_at_the_end(
            workspace.on_trouble, message, lambda why: print(f"on_trouble: not told: {why}", file=sys.stderr)
        )
    return code


def _carried_out(
    args: argparse.Namespace,
    workspace: Workspace,
    events: list[str],
    prepare: "Callable[[], Replay] | None",
    more: dict[str, Any],
) -> int:
    console, errors = _consoles()
    from pipeline.approval import hold_to
    from pipeline.printing import announce, progress
    from pipeline.replay import NOTHING
    from pipeline.run import Heard
    from pipeline.run import run as run_once

    say = partial(errors.print, highlight=False, markup=False, soft_wrap=True)
    try:
        with _stoppable(console, errors, args.stop_after), progress(console):
            heard = Heard(decided=partial(announce, console))
            options = replace(run_options(args, workspace, events), **more)
            if plan := vars(args).get("plan"):
                hold_to(plan, options, args.max_drift)
            summary = run_once(options, heard, prepare() if prepare else NOTHING)
    except Ending as error:
        say(str(error))
        return error.code
    except Exception:  # whatever it was, the operator has to hear that the state is good
        traceback.print_exc()
        errors.print("This is a fault in profilecast. The state is good: the next run goes on from it.")
        return PERSON
    return _told(summary, args, console, errors, whole=prepare is None)


def run_options(args: argparse.Namespace, workspace: Workspace, events: list[str]) -> "RunOptions":
    """The options of a run, as the command line has them."""
    from pipeline.run import RunOptions, clock

    return RunOptions(
        workspace=workspace,
        events=events,
        state=args.state,
        now=args.now or clock(),
        runner=args.runner,
        beam_arguments=args.beam_arguments,
        sender=sender_options(args),
        new_state=args.new_state,
        accept_changes=args.accept_changes,
    )


def sender_options(args: argparse.Namespace) -> "SenderOptions":
    """How to send, as the command line has it."""
    from transforms.sending.sender import SenderOptions

    return SenderOptions(
        gateway=args.gateway or "",
        retry_for=args.retry_for,
        connect_timeout=args.connect_timeout,
        read_timeout=args.read_timeout,
        max_reject_rate=args.max_reject_rate,
        mask_dead_letters=args.mask_dead_letters,
        **({"retry_stopped": args.retry_stopped} if "retry_stopped" in args else {}),
    )


def _told(summary: "Summary", args: argparse.Namespace, console: Console, errors: Console, whole: bool) -> int:
    """Print what happened; the exit code."""
    from pipeline.printing import print_summary
    from pipeline.unusable import verdict

    say = partial(errors.print, highlight=False, markup=False, soft_wrap=True)
    if summary.errors:
        for text in summary.errors:
            say(text)
        errors.print("Nothing was sent, and the state is as it was.")
        return PERSON
    print_summary(console, summary)
    if summary.stopped or summary.mistakes:
        return PERSON
    bad = verdict(summary.sources, args.max_bad, whole)
    if bad:
        say(bad)
    if args.max_rejected is not None and summary.rejected > args.max_rejected:
        bad = f"{summary.rejected:,} calls were rejected; --max-rejected is {args.max_rejected:,}."
        say(bad)
    if bad:
        return REJECTED
    return AGAIN if summary.waiting else DONE


def _consoles() -> tuple[Console, Console]:
    """For output and for errors: on a terminal the same one, so that no error is written into the progress."""
    output, errors = _console(), _console(stderr=True)
    return output, output if sys.stdout.isatty() and sys.stderr.isatty() else errors


def _console(stderr: bool = False) -> Console:
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=None if terminal else _LOG_WIDTH)


@contextmanager
def _stoppable(console: Console, errors: Console, seconds: float | None) -> Iterator[None]:
    """Ctrl-C, SIGTERM or the time: take no new work, let what is in flight end. The second signal: at once.

    Afterwards both are ignored: what is left is to print and to end, and the exit code is known.
    """
    from transforms.sending.sender import shared_sender

    sender, stopping = shared_sender(), threading.Event()

    def on_signal(number: int, frame: object) -> None:
        if stopping.is_set():
            errors.print("Stopped at once. What was in flight may be sent again by the next run.")
            console.show_cursor()  # the progress hides it
            os._exit(AGAIN)  # everything that counts is on the disk, and threads would keep it alive
        stop("Stopping", "Ctrl-C again: at once.")

    def stop(why: str, sooner: str) -> None:
        stopping.set()
        ends = "what is in flight ends" if sender.reports() else "deciding ends first, and nothing is sent"
        errors.print(f"{why}: {ends}, the rest waits for the next run. {sooner}")
        sender.stop()

    late = ("The time is up", "Ctrl-C: at once.")
    timer = threading.Timer(seconds, stop, late) if seconds is not None else None
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    try:
        if timer:
            timer.daemon = True
            timer.start()
        yield
    finally:
        if timer:
            timer.cancel()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
