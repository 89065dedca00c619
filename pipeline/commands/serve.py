"""`profilecast serve`: reads, decides and sends all the time, until it is stopped."""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.commands.arguments import duration
from pipeline.commands.engine_options import LOCAL_RUNNER
from pipeline.commands.run import (
    AGAIN,
    DONE,
    PERSON,
    USAGE,
    add_reading_arguments,
    add_sending_arguments,
    loaded,
    mute_beam,
    run_options,
)

if TYPE_CHECKING:
    from pipeline.serve import Serving

EXIT_CODES = """\
Ctrl-C or SIGTERM ends it: requests in flight end, what is left waits in the state directory. It takes over a changed \
workspace file by itself, or after SIGHUP.

exit codes:
  0  it was stopped
  1  wrong usage or configuration
  3  needs a person: the state cannot be used, or a change needs --accept-changes
  4  another process is deciding in this state directory; or a fault in profilecast: start it again"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Runs all the time: reads events as they come, and sends what changed to every connection. It folds new events "
        "about twice a second."
    )
    add_reading_arguments(
        parser,
        "event files, as paths or patterns in quotes. New files are read; a .jsonl file may grow, its new lines are "
        "read. Without --events, it sends what waits",
    )
    add_sending_arguments(parser)
    add = parser.add_argument_group("the service").add_argument
    add(
        "--status-port",
        type=int,
        default=8807,
        metavar="PORT",
        help="the port of /healthz and /status on 127.0.0.1 (%(default)s); 0 takes a free one",
    )
    add(
        "--retry-stopped",
        type=duration,
        default=300.0,
        metavar="TIME",
        help="try a connection that stopped, or a list or field that is blocked, again after this time (5m)",
    )
    add("--log", choices=("text", "json"), default="text", help="the form of its log lines (%(default)s)")
    parser.epilog = EXIT_CODES


def run(args: argparse.Namespace) -> int:
    """Serve until stopped; the exit code. Raises WorkspaceError."""
    mute_beam()
    args.now, args.runner = None, LOCAL_RUNNER
    workspace = loaded(args.workspace)
    from pipeline.files import WrongPattern
    from pipeline.serve import ServeOptions, Serving
    from pipeline.status_server import serving_status

    options = ServeOptions(
        run_options(args, workspace, args.events),
        lambda: loaded(args.workspace),
        lambda: _written(Path(args.workspace)),
        args.retry_stopped,
    )
    say = _json if args.log == "json" else _text
    try:
        serving = Serving(options, say)
    except WrongPattern as error:
        return _ended(error, USAGE)
    with ExitStack() as stack:
        stack.callback(serving.close)
        try:
            port = stack.enter_context(serving_status(args.status_port, serving.status, serving.well))
        except OSError as error:
            words = f"--status-port {args.status_port}: {error.strerror}; give another one, or 0 for any that is free"
            return _ended(words, USAGE)
        stack.enter_context(_signals(serving))
        serving.page = f"http://127.0.0.1:{port}/status"
        return _served(serving)


def _served(serving: "Serving") -> int:
    from pipeline.disk import StoreError
    from pipeline.leases import Busy
    from pipeline.run import NeedsConsent
    from pipeline.state_db import NoState, StateExists

    try:
        serving.loop()
    except (NoState, StateExists) as error:
        return _ended(error, USAGE)
    except Busy as error:
        return _ended(error, AGAIN)
    except (StoreError, NeedsConsent) as error:
        return _ended(error, PERSON)
    except Exception:  # whatever it was, the operator has to hear that the state is good
        traceback.print_exc()
        return _ended("This is a fault in profilecast. The state is good: start it again.", AGAIN)
    return DONE


def _ended(why: object, code: int) -> int:
    print(why, file=sys.stderr)
    return code


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # an editor is replacing it
        return 0.0


@contextmanager
def _signals(serving: "Serving") -> Iterator[None]:
    """While the block lasts: SIGTERM and Ctrl-C stop softly, a second one at once; SIGHUP reloads the workspace."""

    def stop(number: int, frame: object) -> None:
        if stopping:
            os._exit(AGAIN)
        stopping.append(number)
        serving.stop()

    stopping: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, lambda number, frame: serving.reload())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _text(event: str, words: str = "", **details: Any) -> None:
    subject = "".join(f" {details.pop(name)}" for name in ("workspace", "connection") if name in details)
    told = " ".join(f"{name}={value}" for name, value in details.items())
    lines = "; ".join(line.strip() for line in words.splitlines()).replace(":; ", ": ")
    what = ": ".join(part for part in (event + subject, lines, told) if part)
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z {what}", flush=True)


def _json(event: str, words: str = "", **details: Any) -> None:
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    said = {"words": words} if words else {}
    print(msgspec.json.encode({"at": at, "event": event, **details, **said}).decode(), flush=True)
