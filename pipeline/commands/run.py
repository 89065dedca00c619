"""`profilecast run`: one bounded run."""

import argparse
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from rich.console import Console

from pipeline.problems import WorkspaceError
from pipeline.workspace import load, missing_secrets

DONE, USAGE, REJECTED, UNFINISHED = 0, 1, 2, 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `run`."""
    parser.add_argument("--workspace", required=True, metavar="FILE", help="the workspace file (YAML)")
    parser.add_argument(
        "--events",
        nargs="*",
        default=[],
        metavar="GLOB",
        help="event files: JSON Lines (also gzipped), Avro or Parquet; none: deliver what an earlier run left",
    )
    parser.add_argument("--state", required=True, type=Path, metavar="DIR", help="what survives between runs")
    parser.add_argument("--gateway", default="", metavar="URL", help="send to URL/<vendor host>/<path> instead")
    parser.add_argument(
        "--now",
        type=_time,
        metavar="TIME",
        help="the time that decides flush intervals, history and which event times are absurd (default: the clock)",
    )
    parser.add_argument("--runner", default="FnApiRunner", metavar="NAME", help="the Beam runner (%(default)s)")
    parser.add_argument(
        "--retry-for", type=float, default=600.0, metavar="SECONDS", help="how long a request is tried again (600)"
    )
    parser.add_argument(
        "--max-rejected", type=int, metavar="N", help="exit with 2 when more calls are rejected (default: no limit)"
    )
    parser.epilog = (
        "Other options go to the Beam runner. Exit codes: 0 done; 1 usage or configuration; 2 more rejected calls than "
        "--max-rejected; 3 could not finish: a file was unreadable (nothing was sent), or calls wait for the next run."
    )


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 1998-03-31T00:00:00Z") from error
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no zone; write 1998-03-31T00:00:00Z")
    return moment


def run(args: argparse.Namespace) -> int:
    """Do it; the exit code."""
    console, errors = Console(), Console(stderr=True)
    try:
        workspace = load(args.workspace)
        problems = missing_secrets(workspace, args.workspace)
        if problems:
            raise WorkspaceError(args.workspace, problems)
    except WorkspaceError as error:
        errors.print(str(error), highlight=False, markup=False, soft_wrap=True)
        return USAGE

    # Beam takes a second to import: only when the configuration is right. It warns of extras that are not there.
    logging.getLogger().setLevel(logging.ERROR)
    from pipeline.inputs import InputError
    from pipeline.printing import print_summary, progress
    from pipeline.run import RunOptions, clock
    from pipeline.run import run as run_once
    from pipeline.store import StoreError
    from transforms.sender import SenderOptions

    options = RunOptions(
        workspace=workspace,
        events=args.events,
        state=args.state,
        now=args.now or clock(),
        runner=args.runner,
        beam_arguments=args.beam_arguments,
        sender=SenderOptions(gateway=args.gateway, retry_for=args.retry_for),
    )
    try:
        with _stoppable(errors), progress(console):
            summary = run_once(options, lambda started: console.print(f"Run {started.name}", highlight=False))
    except (InputError, StoreError) as error:
        errors.print(str(error), highlight=False, markup=False, soft_wrap=True)
        return UNFINISHED
    if summary.errors:
        for text in summary.errors:
            errors.print(text, highlight=False, markup=False, soft_wrap=True)
        errors.print("Nothing was sent, and the state is as it was.")
        return UNFINISHED
    print_summary(console, summary)
    if summary.unfinished or summary.mistakes:
        return UNFINISHED
    if args.max_rejected is not None and summary.rejected > args.max_rejected:
        errors.print(f"{summary.rejected:,} calls were rejected; --max-rejected is {args.max_rejected:,}.")
        return REJECTED
    return DONE


@contextmanager
def _stoppable(console: Console) -> Iterator[None]:
    """Ctrl-C and SIGTERM: take no new work, let what is in flight end. The second time: at once."""
    from transforms.sender import shared_sender

    def stop(number: int, frame: object) -> None:
        if shared_sender().stopping:
            sys.exit(UNFINISHED)
        console.print("Stopping: what is in flight ends, the rest waits for the next run.")
        shared_sender().stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
