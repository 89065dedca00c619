"""`profilecast plan`: what a run would do, without consequences."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands.arguments import time
from pipeline.commands.engine_options import LOCAL_RUNNER
from pipeline.commands.exits import DONE, PERSON, ended, wrong
from pipeline.commands.refresh import UnknownSync, add_refresh_argument, refreshed
from pipeline.commands.rehearse import Rehearse, WrongRehearsal, add_rehearsal_arguments, rehearsing
from pipeline.commands.run import add_place, loaded
from pipeline.commands.say import mute_beam
from pipeline.problems import Ending

if TYPE_CHECKING:
    from pipeline.planning import Planned
    from pipeline.run import RunOptions

EXIT_CODES = """\
Nothing is sent, and nothing in the state directory is written. What it decides stands in a temporary folder until it \
ends: as much as the run itself would write.

exit codes:
  0  the plan is made
  1  wrong usage or configuration
  3  an event file, or the state, cannot be read"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Says what a run would do: to which connection how many people and identifiers would be told what, and why; "
        "how many requests, and how long at the cap."
    )
    add = parser.add_argument_group("input and state").add_argument
    add("--events", nargs="*", default=[], metavar="GLOB", help="event files, as for a run")
    add_place(add)
    add("--new-state", action="store_true", help="plan the first run of a state directory that is not there yet")
    add("--now", type=time, metavar="TIME", help="plan for this time (default: the clock)")
    add_refresh_argument(add)
    add = parser.add_argument_group("what is said").add_argument
    add("--sample", type=int, default=0, metavar="N", help="show so many calls as the vendors would get them")
    add("--show-people", action="store_true", help="show personal data in the samples")
    add("--diff", metavar="FILE", help="say what another workspace file would change")
    add("--out", type=Path, metavar="FILE", help="write the plan as JSON; `run --plan FILE` holds a run to it")
    add_rehearsal_arguments(parser)
    parser.epilog = EXIT_CODES


def run(args: argparse.Namespace) -> int:
    """0: the plan is made. Raises WorkspaceError."""
    mute_beam()
    if args.diff and (args.sample or args.out or args.rehearse):
        return wrong("plan", "--diff compares two plans; it goes without --sample, --out and --rehearse")
    try:
        with rehearsing(args) as rehearse:
            return _carry_out(args, rehearse)
    except WrongRehearsal as error:
        return wrong("plan", str(error))


def _carry_out(args: argparse.Namespace, rehearse: Rehearse | None) -> int:
    workspace = loaded(args.workspace)
    other = loaded(args.diff) if args.diff else None
    try:
        refresh = refreshed(args, workspace)
    except UnknownSync as error:
        return wrong("plan", str(error))

    from dataclasses import replace

    from pipeline.planning import planned_of
    from pipeline.planning_words import show_difference
    from pipeline.run import RunOptions, clock

    now = args.now or clock()
    options = RunOptions(
        workspace,
        args.events,
        args.state,
        now,
        LOCAL_RUNNER,
        new_state=args.new_state,
        refresh=refresh,
        sources=workspace.sources,
    )
    try:
        if other is None:
            return _plan(options, args, rehearse)
        show_difference(planned_of(options), planned_of(replace(options, workspace=other, sources=other.sources)))
    except Ending as error:
        return ended(error, error.code)
    return DONE


def _plan(options: "RunOptions", args: argparse.Namespace, rehearse: Rehearse | None) -> int:
    from pipeline.planning import Planning
    from pipeline.planning_words import show, show_samples
    from pipeline.samples import samples

    with Planning(options) as planning:
        planned = planning.plan()
        show(planned)
        if args.sample and not planned.errors:
            show_samples([*samples(planning.calls(args.sample), planning.made.destinations, args.show_people)])
        if rehearse and not planned.errors:
            rehearse(planning, planned)
    if args.out:
        return _write(args.out, planned)
    return PERSON if planned.errors else DONE


def _write(path: Path, planned: "Planned") -> int:
    import msgspec

    from pipeline.disk import StoreError, replace

    try:
        replace(path, msgspec.json.format(msgspec.json.encode(planned), indent=2))
    except StoreError as error:
        return wrong("plan", str(error))
    print(f"\nThe plan is in {path}: profilecast run --plan {path}")
    return PERSON if planned.errors else DONE
