"""`profilecast check`: says what a workspace file means, or names every mistake in it."""

import argparse
import os
from collections.abc import Mapping
from datetime import date, timedelta

import msgspec

from pipeline.commands.destinations import identifiers
from pipeline.commands.output import counted, listed, show_text
from pipeline.problems import Problem
from pipeline.trouble_reader import way_of
from pipeline.workspace import Destinations, cap_of, load, missing_secrets
from pipeline.workspace_words import conditions, options, plain_traits, strategies
from schemas.workspace import Connection, Workspace
from schemas.workspace_schema import json_schema
from transforms.destinations import catalogue
from transforms.destinations.contract import Destination
from transforms.logic.caps import per

DEFAULT_FILE = "workspace.yaml"
_AHEAD = timedelta(days=90)  # how long before the end of an API's version that is said


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Says what a workspace file means, or names every mistake in it with its line. Says too which secrets have no "
        "value yet. Sends nothing, unless --on-trouble is given."
    )
    parser.epilog = (
        "exit codes:\n  0  it can be run\n  1  it has mistakes, a secret has no value, or somebody cannot be told"
    )
    parser.add_argument("--workspace", metavar="FILE", default=DEFAULT_FILE, help="the workspace file (%(default)s)")
    parser.add_argument(
        "--today",
        type=date.fromisoformat,
        metavar="DATE",
        help="the day as of which versions of vendors' APIs are near their end (today)",
    )
    parser.add_argument(
        "--on-trouble", action="store_true", help="send everybody whom `on_trouble` names a message on trial"
    )
    parser.add_argument(
        "--schema",
        nargs="?",
        const="workspace",
        choices=("workspace", "events", "avro", "parquet"),
        help="print a schema instead: of workspace files (for editors; the default), or of events as JSON, Avro or "
        "Parquet",
    )


def run(args: argparse.Namespace) -> int:
    """0: it can be run. 1: variables are missing. Raises WorkspaceError on mistakes."""
    if args.schema:
        print(_schema(args.schema))
        return 0
    code = report(args.workspace, catalogue(), os.environ, args.today or date.today())
    return code or (_try_telling(args.workspace) if args.on_trouble else 0)


def _try_telling(file: str) -> int:
    """Send each item of `on_trouble` a message; the exit code."""
    from pipeline.telling import on_trial, tell

    workspace = load(file)
    if not workspace.on_trouble:
        print("on_trouble names nobody.")
        return 1
    refused = 0
    for i, item in enumerate(workspace.on_trouble):
        why = tell(item, on_trial(workspace.workspace))
        refused += bool(why)
        show_text(f"on_trouble[{i}].{way_of(item)}: {f'not told: {why}' if why else 'told'}")
    return 1 if refused else 0


def _schema(of: str) -> str:
    from schemas import formats  # pyarrow takes its time to import

    if of == "parquet":
        return str(formats.parquet_schema().to_string())
    schema = {
        "workspace": lambda: json_schema(catalogue()),
        "events": formats.json_schema,
        "avro": formats.avro_schema,
    }
    return msgspec.json.format(msgspec.json.encode(schema[of]())).decode()


def report(file: str, destinations: Destinations, environment: Mapping[str, str], today: date | None = None) -> int:
    """Print what the workspace says and what is still to do; the exit code. Without `today` nothing ends."""
    workspace = load(file, destinations, environment)
    _summarise(file, workspace, destinations)
    _set_up_first(workspace, destinations)
    if today:
        _warn_of_ends(workspace, destinations, today)
    missing = missing_secrets(workspace, file, environment)
    if missing:
        _name_variables(missing)
        return 1
    print("\nNo mistakes. Every secret has a value.")
    return 0


def _summarise(file: str, workspace: Workspace, destinations: Destinations) -> None:
    syncs = [sync for connection in workspace.connections for sync in connection.syncs]
    parts = (
        counted(len(workspace.computations), "computation"),
        counted(len(workspace.connections), "connection"),
        counted(len(syncs), "sync"),
    )
    print(f"{file}: workspace {workspace.workspace}, {', '.join(parts)}")
    kinds = {computation.key: computation.kind for computation in workspace.computations}
    for connection in workspace.connections:
        print()
        _show_connection(workspace, connection, destinations[connection.destination], kinds)
    sent = {sync.computation for sync in syncs}
    if idle := [key for key in kinds if key not in sent]:
        print()
        show_text(f"Sent to no connection: {listed(idle)}")
    where = [*(connection.where for connection in workspace.connections), *(sync.where for sync in syncs)]
    if traits := plain_traits(where, [name for sync in syncs for name in sync.enrich], kinds):
        print()
        show_text(f"Plain traits (no computation is called so): {listed(traits)}")


def _show_connection(
    workspace: Workspace, connection: Connection, destination: type[Destination], kinds: Mapping[str, str]
) -> None:
    slug = "" if connection.destination == connection.name else f"{connection.destination}, "
    show_text(f"{connection.name}: {slug}{_cap(connection, destination)}")
    understood = identifiers(destination(workspace, connection).identifiers, "any identifier")
    show_text(f"knows people by {understood}", 2)
    if destination.required:
        show_text(f"requires {listed(tuple(destination.required))}", 2)
    if connection.was:
        show_text(f"was called {connection.was}", 2)
    if connection.where:
        show_text(f"only if {conditions(connection.where, kinds)}", 2)
    if told := strategies(connection.identifiers):
        show_text(f"identifiers: {told}", 2)
    for sync in connection.syncs:
        name = "" if sync.name == sync.computation else f"{sync.name}: "
        show_text(f"- {name}{sync.computation} ({kinds[sync.computation]}) as {listed(sync.forms)}", 2)
        for line in options(sync, connection.identifiers, kinds):
            show_text(line, 6)


def _cap(connection: Connection, destination: type[Destination]) -> str:
    own, cap = cap_of(destination), connection.cap
    known = per(own.requests, own.seconds) if own else ""
    if cap is None:
        return f"at most {known}" if known else "no cap"
    told = f"at most {per(cap.requests, cap.seconds)}"
    if not own:
        return told
    return f"{told}, raised from {known}" if connection.cap_raised_by_vendor else f"{told} of {known}"


def _set_up_first(workspace: Workspace, destinations: Destinations) -> None:
    for connection in workspace.connections:
        destination = destinations[connection.destination]
        names = list(dict.fromkeys(sync.send_as for sync in connection.syncs if "identify" in sync.forms))
        if destination.columns_first and names:
            print()
            columns = f"make these columns at {destination.name} ({connection.name})"
            show_text(f"Before the first run, {columns}: {listed(names)}")


def _warn_of_ends(workspace: Workspace, destinations: Destinations, today: date) -> None:
    """Say which versions of vendors' APIs end soon, or have ended."""
    for connection in workspace.connections:
        destination = destinations[connection.destination](workspace, connection)
        version = destination.api_version
        if version is None or version.ends is None or version.ends - today > _AHEAD:
            continue
        when = f"{'ended' if version.ends <= today else 'ends'} on {version.ends}"
        settable = hasattr(connection.settings, "api_version")
        fix = "set a newer api_version" if settable else "that needs a newer profilecast"
        print()
        show_text(f"{connection.name}: version {version.name} of {destination.name} {when}; {fix}")


def _name_variables(missing: list[Problem]) -> None:
    print("\nNot ready to run yet:")
    for problem in missing:
        show_text(f"{problem.message} ({problem.field})", 2)
