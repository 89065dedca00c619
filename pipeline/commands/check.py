"""`profilecast check`: every mistake of a workspace, or what it says in short."""

import argparse
import os
from collections.abc import Mapping

import msgspec

from pipeline.commands.destinations import identifiers
from pipeline.commands.output import counted, listed, show_table
from pipeline.problems import Problem
from pipeline.workspace import Destinations, cap_of, load, missing_secrets
from schemas.workspace import Connection, Sync, Workspace
from schemas.workspace_schema import json_schema
from transforms.destinations import catalogue
from transforms.destinations.contract import Destination
from transforms.logic.caps import per

DEFAULT_FILE = "workspace.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workspace", metavar="FILE", default=DEFAULT_FILE, help=f"default: {DEFAULT_FILE}")
    parser.add_argument(
        "--schema",
        nargs="?",
        const="workspace",
        choices=("workspace", "events", "avro", "parquet"),
        help="print a schema instead: of workspace files (for editors; the default), or of events in each format",
    )


def run(args: argparse.Namespace) -> int:
    """0: it can be run. 1: variables are missing. Raises WorkspaceError on mistakes."""
    if args.schema:
        print(_schema(args.schema))
        return 0
    return report(args.workspace, catalogue(), os.environ)


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


def report(file: str, destinations: Destinations, environment: Mapping[str, str]) -> int:
    """Print what the workspace says and what is still to do; the exit code."""
    workspace = load(file, destinations, environment)
    _summarise(file, workspace, destinations)
    _set_up_first(workspace, destinations)
    missing = missing_secrets(workspace, file, environment)
    if missing:
        _name_variables(missing)
        return 1
    print("\nNo mistakes, and no secret without a value.")
    return 0


def _summarise(file: str, workspace: Workspace, destinations: Destinations) -> None:
    syncs = [(connection, sync) for connection in workspace.connections for sync in connection.syncs]
    parts = (
        counted(len(workspace.computations), "computation"),
        counted(len(workspace.connections), "connection"),
        counted(len(syncs), "sync"),
    )
    print(f"{file}: workspace {workspace.workspace}, {', '.join(parts)}")
    if workspace.connections:
        print("\nConnections")
        show_table(
            ("connection", "destination", "kind", "cap", "identifiers", "requires"),
            [_connection_row(workspace, c, destinations[c.destination]) for c in workspace.connections],
        )
    if syncs:
        kinds = {computation.key: computation.kind for computation in workspace.computations}
        print("\nSyncs")
        show_table(
            ("connection", "computation", "kind", "sent as", "options"),
            [
                (c.name, s.computation, kinds[s.computation], _sent_as(s, destinations[c.destination]), _options(s))
                for c, s in syncs
            ],
        )
    sent = {sync.computation for _, sync in syncs}
    idle = [computation.key for computation in workspace.computations if computation.key not in sent]
    if idle:
        print(f"\nSent to no connection: {listed(idle)}")


def _connection_row(
    workspace: Workspace, connection: Connection, destination: type[Destination]
) -> tuple[str, str, str, str, str, str]:
    understood = destination(workspace, connection).understands()
    return (
        connection.name,
        connection.destination,
        destination.kind,
        _cap(connection, destination),
        identifiers(understood),
        listed(tuple(destination.required)),
    )


def _cap(connection: Connection, destination: type[Destination]) -> str:
    own, cap = cap_of(destination), connection.cap
    known = per(own.requests, own.seconds) if own else ""
    if cap is None:
        return known or "none"
    told = per(cap.requests, cap.seconds)
    if not own:
        return told
    return f"{told}, raised from {known}" if connection.cap_raised_by_vendor else f"{told} of {known}"


def _sent_as(sync: Sync, destination: type[Destination]) -> str:
    return "members of a list" if destination.kind == "list" else listed(sync.forms)


def _options(sync: Sync) -> str:
    told = [f"{strategy} {kind}" for kind, strategy in sync.identifiers.items() if strategy != "all"]
    told += [f"with {name}" for name in sync.enrich]
    told += [] if sync.historical else ["no history"]
    told += [] if sync.resync_on_new_identifier else ["no resync on a new identifier"]
    return listed(told)


def _set_up_first(workspace: Workspace, destinations: Destinations) -> None:
    for connection in workspace.connections:
        destination = destinations[connection.destination]
        if destination.columns_first and connection.syncs:
            keys = listed([sync.computation for sync in connection.syncs])
            print(f"\nBefore the first sync, set up these columns at {destination.name} ({connection.name}): {keys}")


def _name_variables(missing: list[Problem]) -> None:
    print(f"\n{counted(len(missing), 'secret')} without a value:")
    for problem in missing:
        print(f"  {problem.field}: {problem.message}")
