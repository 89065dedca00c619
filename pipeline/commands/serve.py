"""`profilecast serve`: reads, decides and sends all the time, until it is stopped."""

import argparse
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands.arguments import duration
from pipeline.commands.engine_options import LOCAL_RUNNER
from pipeline.commands.exits import AGAIN, DONE, USAGE, ended
from pipeline.commands.listen import WrongKey, add_listening_arguments, write_keys
from pipeline.commands.run import add_reading_arguments, add_sending_arguments, loaded, run_options
from pipeline.commands.say import json, mute_beam, text
from pipeline.commands.status_options import WrongStatus, add_status_arguments, status_pages
from pipeline.problems import Ending
from pipeline.source_reader import with_readers
from schemas.workspace import Workspace

if TYPE_CHECKING:
    from pipeline.serve import Say, Serving

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
    add_status_arguments(add)
    add(
        "--retry-stopped",
        type=duration,
        default=300.0,
        metavar="TIME",
        help="try a connection that stopped, or a list or field that is blocked, again after this time (5m)",
    )
    add_listening_arguments(add)
    add("--log", choices=("text", "json"), default="text", help="the form of its log lines (%(default)s)")
    parser.epilog = EXIT_CODES


def run(args: argparse.Namespace) -> int:
    """Serve until stopped; the exit code. Raises WorkspaceError."""
    if bool(args.listen) != bool(args.write_key):
        args.refuse("--listen and --write-key need each other")
    try:
        keys = write_keys(args.write_key) if args.listen else []
    except WrongKey as error:
        return ended(error, USAGE)
    mute_beam()
    args.now, args.runner = None, LOCAL_RUNNER
    workspace = _served_of(args.workspace)
    from pipeline import inbox
    from pipeline.files import WrongPattern
    from pipeline.operating import Operating
    from pipeline.serve import ServeOptions, Serving
    from pipeline.status_page import page_routes
    from pipeline.status_server import status_routes

    took = [inbox.pattern(args.state)] if args.listen or (args.state / inbox.NAME).is_dir() else []
    options = ServeOptions(
        run_options(args, workspace, [*args.events, *took]),
        lambda: _served_of(args.workspace),
        lambda: _written(Path(args.workspace)),
    )
    say = json if args.log == "json" else text
    try:
        serving = Serving(options, say)
    except WrongPattern as error:
        return ended(error, USAGE)
    with ExitStack() as stack:
        stack.callback(serving.close)
        try:
            routes = status_routes(serving.status, serving.well) | page_routes("serve", Operating(serving).acts())
            serving.page = stack.enter_context(status_pages(args, routes))
        except WrongStatus as error:
            return ended(error, USAGE)
        if args.listen:
            try:
                serving.beside = _listening(args, keys, stack, say)
            except OSError as error:
                words = f"--listen {args.listen.host}:{args.listen.port}: {error.strerror}; give another one"
                return ended(words, USAGE)
        stack.enter_context(_signals(serving))
        return _served(serving)


def _listening(
    args: argparse.Namespace, keys: list[str], stack: ExitStack, say: "Say"
) -> "Callable[[], AbstractContextManager[None]]":
    """What takes messages while it serves. Raises OSError."""
    from pipeline.inbox import Inbox
    from pipeline.listening import bound, listening

    opened = stack.enter_context(bound(*args.listen))
    return partial(listening, opened, keys, Inbox(args.state), say)


def _served_of(file: str) -> Workspace:
    """The workspace; what reads its sources is installed. Raises WorkspaceError."""
    return with_readers(loaded(file), file)


def _served(serving: "Serving") -> int:
    try:
        serving.loop()
    except Ending as error:
        return ended(error, error.code)
    except Exception:  # whatever it was, the operator has to hear that the state is good
        traceback.print_exc()
        return ended("This is a fault in profilecast. The state is good: start it again.", AGAIN)
    return DONE


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
