"""`profilecast replay`: tries dead letters of earlier runs again."""

import argparse
from collections import Counter
from typing import TYPE_CHECKING, get_args

from pipeline.commands.arguments import refuse_given, time
from pipeline.commands.engine_options import wrong_option
from pipeline.commands.exits import DONE, ended, wrong
from pipeline.commands.kafka import add_log_arguments, guarded, log_of
from pipeline.commands.output import counted, show_table
from pipeline.commands.run import (
    BOUNDED,
    SENDING,
    add_reading_arguments,
    add_run_arguments,
    carry_out,
    loaded,
    run_options,
)
from pipeline.commands.say import mute_beam
from pipeline.problems import Ending, closest
from schemas.dead_letters import BAD_RECORD
from schemas.outcomes import Reason
from schemas.workspace import Workspace

if TYPE_CHECKING:
    from pipeline.replay import Letters

REASONS = (*get_args(Reason), "expired", *BAD_RECORD)
_FILE = "fix them in that file, and give it to a run"
_TOPICS = "write them once more, rightly, into a topic of events"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Tries dead letters again: rejected and expired calls that are still wanted, and unusable records, which are "
        "read again. What waits from earlier runs is sent too. Doing it twice sends nothing twice."
    )
    add = parser.add_argument_group("which dead letters (default: all that are kept, 90 days)").add_argument
    add("--since", type=time, metavar="TIME", help="only of runs that began at this time or later")
    add("--connection", default="", metavar="NAME", help="only of this connection")
    add("--reason", default="", metavar="CODE", help="only with this reason, such as unknown_field or expired")
    add("--profile", default="", metavar="ID", help="only about this profile")
    add("--dry-run", action="store_true", help="count what would be sent, and do nothing")
    add_reading_arguments(parser, state=False, instead="--log")
    parser.set_defaults(new_state=False)
    add_log_arguments(parser, required=False)
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Try the dead letters again; the exit code. Raises WorkspaceError."""
    mute_beam()
    if args.log:
        return guarded(lambda: _of_job(args))
    if not args.state:
        args.refuse("one of the following arguments is required: --state, or --log for those of a streaming job")
    if fault := wrong_option(args):
        return wrong("replay", fault)
    workspace = loaded(args.workspace)
    if fault := _fault(args, workspace):
        return wrong("replay", fault)

    from pipeline.decider import planned
    from pipeline.replay import Wanted, find_letters, would_go
    from pipeline.state_db import StateDb

    try:
        with StateDb.use(args.state) as db:
            plan, registry = planned(db, workspace, run_options(args, workspace, []).now)
            wanted = Wanted(args.since, args.connection, args.reason, args.profile)
            letters = find_letters(db, registry, wanted)
            if args.dry_run:
                _show(letters, would_go(db.get, plan, letters), "would be sent")
                return DONE
    except Ending as error:
        return ended(error, error.code)
    _show(letters, letters.counts(), "dead letters")
    if not (letters.calls or letters.records):
        return DONE
    return carry_out(args, workspace, [], letters.replay)


def _of_job(args: argparse.Namespace) -> int:
    from pipeline.replay import Wanted
    from pipeline.streaming.replaying import Replaying

    others = ("workspace", "accept_changes", "runner", *SENDING, *(each for each in BOUNDED if each in vars(args)))
    refuse_given(args, others, "does not go with --log, where the job and its senders do the rest; leave it out")
    if args.beam_arguments:
        args.refuse(f"unrecognized arguments: {' '.join(args.beam_arguments)}")
    replaying = Replaying(log_of(args), args.dry_run)
    if fault := _wrong_choice(args, replaying.version.workspace()):
        return wrong("replay", fault)
    letters = replaying.find(Wanted(args.since, args.connection, args.reason, args.profile))
    if args.dry_run:
        _show(letters, replaying.would_go(letters), "would be sent", _TOPICS)
        return DONE
    replaying.give(letters)
    _show(letters, letters.counts(), "given to the job", _TOPICS)
    return DONE


def _fault(args: argparse.Namespace, workspace: Workspace) -> str:
    if fault := _wrong_choice(args, workspace):
        return fault
    if args.state.is_file():
        return f"--state {args.state}: it is a file; --state needs a folder"
    if not args.state.is_dir():
        return f"--state {args.state}: there is no such directory"
    return ""


def _wrong_choice(args: argparse.Namespace, workspace: Workspace) -> str:
    names = [connection.name for connection in workspace.connections]
    for option, given, allowed in (("--connection", args.connection, names), ("--reason", args.reason, REASONS)):
        if given and given not in allowed:
            meant = closest(given, allowed)
            return f"{option} {given}: " + (f"did you mean {meant}?" if meant else f"allowed: {', '.join(allowed)}")
    return ""


def _show(letters: "Letters", counts: "Counter[tuple[str, str]]", what: str, again: str = _FILE) -> None:
    if counts:
        rows = sorted(counts.items())
        show_table(
            ("connection", "reason", what),
            [(connection or "(records)", reason, f"{number:,}") for (connection, reason), number in rows],
        )
    else:
        print("No dead letter to try again.")
    for source, number in sorted(letters.partial.items()):
        print(f"{counted(number, 'record')} of {source or 'a topic'} not kept whole: {again}.")
