"""`profilecast why`: what is known of one person, what each connection was told, and why it was not told the rest."""

import argparse
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline.commands.exits import DONE, PERSON, ended, wrong
from pipeline.commands.output import counted, show_table, show_text
from pipeline.commands.run import add_place
from pipeline.problems import closest
from pipeline.workspace import load
from schemas.workspace import Workspace
from transforms.logic.registry import sync_name

if TYPE_CHECKING:
    from pipeline.state_db import StateDb

_MOST = 10  # people of one identifier that are shown
EXIT_CODES = """\
It shows personal data. It reads the state and changes nothing, so it may be asked at any time.

exit codes:
  0  done
  1  wrong usage or configuration, or nobody is known by that name
  3  the state cannot be read"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Says what is known of one person, what each connection was asked and told and when, and for everything that "
        "it was not told, why."
    )
    parser.add_argument("profile", metavar="PROFILE", help="a profile id, or an identifier such as email:ana@x.example")
    parser.add_argument("--connection", default="", metavar="NAME", help="only this connection")
    parser.add_argument("--sync", default="", metavar="NAME", help="only this sync")
    add_place(parser.add_argument)
    parser.epilog = EXIT_CODES


def run(args: argparse.Namespace) -> int:
    """0: it is said. Raises WorkspaceError."""
    workspace = load(args.workspace)
    if fault := _fault(args, workspace):
        return wrong("why", fault)

    from pipeline.disk import StoreError
    from pipeline.state_db import NoState, StateDb

    try:
        with closing(StateDb.open(args.state, to_read=True)) as db:
            return _show_all(db, workspace, args)
    except NoState as error:
        return wrong("why", str(error))
    except StoreError as error:
        return ended(error, PERSON)


def _fault(args: argparse.Namespace, workspace: Workspace) -> str:
    names = [connection.name for connection in workspace.connections]
    syncs = sorted({sync_name(sync) for connection in workspace.connections for sync in connection.syncs})
    for option, given, allowed in (("--connection", args.connection, names), ("--sync", args.sync, syncs)):
        if given and given not in allowed:
            meant = closest(given, allowed)
            return f"{option} {given}: " + (f"did you mean {meant}?" if meant else f"there are {', '.join(allowed)}")
    return ""


def _show_all(db: "StateDb", workspace: Workspace, args: argparse.Namespace) -> int:
    from pipeline.person import find_people

    found = find_people(db, args.profile)
    if not found:
        return wrong(
            "why",
            f"{args.profile}: nobody is known by that. A profile id stands in the events as profile_id; an identifier "
            "is written with its type, such as email:ana@x.example, exactly as in the events",
        )
    if found != [args.profile]:
        print(f"{args.profile}: {counted(len(found), 'profile')}: {', '.join(found[:_MOST])}")
    for profile_id in found[:_MOST]:
        _show(db, workspace, profile_id, args)
    return DONE


def _show(db: "StateDb", workspace: Workspace, profile_id: str, args: argparse.Namespace) -> None:
    from pipeline.why import why
    from pipeline.why_words import Words, by_connection, history, known, tried

    now = datetime.now(UTC)
    found = why(db, workspace, profile_id, now)
    words = Words(workspace, found.registry.slots, now)
    print(f"\n{profile_id}")
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
