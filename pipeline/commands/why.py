"""`profilecast why`: what is known of one person, what each connection was told, and why it was not told the rest."""

import argparse
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline.commands.arguments import refuse_given
from pipeline.commands.exits import DONE, ended, wrong
from pipeline.commands.kafka import add_log_arguments, guarded, log_of
from pipeline.commands.output import counted, show_table, show_text
from pipeline.commands.run import add_place
from pipeline.commands.say import mute_beam
from pipeline.problems import Ending, closest
from pipeline.workspace import load
from schemas.workspace import Workspace
from transforms.logic.registry import sync_name

if TYPE_CHECKING:
    from pipeline.why import Why
    from pipeline.why_words import Words

_MOST = 10  # people of one identifier that are shown
EXIT_CODES = """\
It shows personal data. It reads the state, or the log of a streaming job, and changes nothing, so it may be asked at \
any time. In a log it finds a person by profile id sooner than by an identifier, for which all of PREFIX.state is read.

exit codes:
  0  done
  1  wrong usage or configuration, or nobody is known by that name
  3  the state, or Kafka, cannot be read"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Says what is known of one person, what each connection was asked and told and when, and for everything that "
        "it was not told, why."
    )
    parser.add_argument("profile", metavar="PROFILE", help="a profile id, or an identifier such as email:ana@x.example")
    parser.add_argument("--connection", default="", metavar="NAME", help="only this connection")
    parser.add_argument("--sync", default="", metavar="NAME", help="only this sync")
    add_place(parser.add_argument, state=False, instead="--log")
    add_log_arguments(parser, required=False)
    parser.epilog = EXIT_CODES


def run(args: argparse.Namespace) -> int:
    """0: it is said. Raises WorkspaceError."""
    if args.log:
        mute_beam()
        return guarded(lambda: _of_job(args))
    if not args.state:
        args.refuse("one of the following arguments is required: --state, or --log for what a streaming job knows")
    workspace = load(args.workspace)
    if fault := _fault(args, workspace):
        return wrong("why", fault)

    from pipeline.person import find_people
    from pipeline.state_db import StateDb
    from pipeline.why import why
    from pipeline.why_words import HERE, Words

    now = datetime.now(UTC)
    try:
        with closing(StateDb.open(args.state, to_read=True)) as db:
            ids = find_people(db, args.profile)
            people = [why(db, workspace, each, now) for each in ids[:_MOST]]
    except Ending as error:
        return ended(error, error.code)
    return _show_all(args, ids, [(each, Words(workspace, each.registry.slots, now, HERE)) for each in people])


def _of_job(args: argparse.Namespace) -> int:
    refuse_given(args, ("state", "workspace"), "does not go with --log, where the workspace is the published one")
    from pipeline.streaming.versions import of_job
    from pipeline.streaming.why_log import why_of
    from pipeline.why_words import JOB, Words

    log, now = log_of(args), datetime.now(UTC)
    version = of_job(log)
    workspace = version.workspace()
    if fault := _fault(args, workspace):
        return wrong("why", fault)
    found = why_of(log, version, args.profile, _MOST, now)
    people = [(each, Words(workspace, each.registry.slots, now, JOB)) for each in found.people]
    return _show_all(args, found.ids, people)


def _fault(args: argparse.Namespace, workspace: Workspace) -> str:
    names = [connection.name for connection in workspace.connections]
    syncs = sorted({sync_name(sync) for connection in workspace.connections for sync in connection.syncs})
    for option, given, allowed in (("--connection", args.connection, names), ("--sync", args.sync, syncs)):
        if given and given not in allowed:
            meant = closest(given, allowed)
            return f"{option} {given}: " + (f"did you mean {meant}?" if meant else f"there are {', '.join(allowed)}")
    return ""


def _show_all(args: argparse.Namespace, ids: Sequence[str], people: "Sequence[tuple[Why, Words]]") -> int:
    """`ids`: of all who are meant; `people`: of the first of them."""
    from pipeline.why_words import nobody

    if not ids:
        return wrong("why", nobody(args.profile))
    if list(ids) != [args.profile]:
        print(f"{args.profile}: {counted(len(ids), 'profile')}: {', '.join(ids[:_MOST])}")
    for found, words in people:
        _show(found, words, args)
    return DONE


def _show(found: "Why", words: "Words", args: argparse.Namespace) -> None:
    from pipeline.why_words import by_connection, history, known, tried

    print(f"\n{found.person.profile_id}")
    for line in known(found):
        show_text(line, 2)
    for connection, answers in by_connection(found.answers):
        if args.connection not in ("", connection):
            continue
        print(f"\n{connection}" if connection else "")
        before = ""
        for answer in answers:
            sync = answer.finding.sync
            if args.sync and (sync is None or sync.name != args.sync):
                continue
            title, who = words.title(answer.finding), answer.finding.identifier
            if title and title != before:
                print(f"  {title}")
            before = title
            show_text(f"{' '.join(who)}: {words.reason(answer)}" if who else words.reason(answer), 4 if title else 2)
            for line in tried(answer):
                show_text(line, 6)
    rows = [row for row in history(found.person) if args.connection in ("", row[1])]
    if rows:
        print("\nCalls, the newest first")
        show_table(("asked", "connection", "kind", "identifier", "value", "outcome"), rows)
