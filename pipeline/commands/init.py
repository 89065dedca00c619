"""`profilecast init`: writes a first workspace file."""

import argparse
import sys

from pipeline.commands.check import DEFAULT_FILE
from pipeline.commands.destinations import unknown
from pipeline.commands.output import counted, listed
from pipeline.first_workspace import Planned, first_workspace, planned
from transforms.destinations import find

# Needs no account with anybody.
DEFAULT_DESTINATION = "webhook"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Writes a first workspace file, with comments. A file that is there is left as it is."
    parser.add_argument("--workspace", metavar="FILE", default=DEFAULT_FILE, help="the file to write (%(default)s)")
    parser.add_argument(
        "--destination",
        metavar="SLUG",
        action="append",
        help=f"with a connection to this destination; may be given several times ({DEFAULT_DESTINATION})",
    )


def run(args: argparse.Namespace) -> int:
    """0: written. 1: there is no such destination, or the file exists or cannot be written."""
    destinations = []
    for slug in args.destination or [DEFAULT_DESTINATION]:
        destination = find(slug)
        if destination is None:
            return _refuse(unknown(slug))
        destinations.append(destination)
    connections = planned(destinations)
    text = first_workspace(connections)
    try:
        with open(args.workspace, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return _refuse(f"{args.workspace} exists and was left as it is; name another file with --workspace FILE")
    except OSError as error:
        return _refuse(f"{args.workspace} cannot be written: {error.strerror}")
    _tell_next_steps(args.workspace, connections)
    return 0


def _refuse(message: str) -> int:
    print(f"profilecast: {message}", file=sys.stderr)
    return 1


def _tell_next_steps(file: str, connections: list[Planned]) -> None:
    names = listed([connection.name for connection in connections])
    print(f"Wrote {file} with {counted(len(connections), 'connection')}: {names}. Next:")
    shown = "" if file == DEFAULT_FILE else f" --workspace {file}"
    steps = ["Put in your own computations and settings."]
    if variables := [name for connection in connections for name in connection.variables()]:
        steps.append(f"Set the secrets: export {' '.join(f'{name}=...' for name in variables)}")
    run = f"profilecast run{shown} --events 'events/*.jsonl'"
    steps += [f"profilecast check{shown}", f"{run} --state state --new-state    (later runs: without --new-state)"]
    for number, step in enumerate(steps, 1):
        print(f"  {number}. {step}")
    print("To try it on the sandbox first, instead of the vendors, with a state of its own:")
    print(f"  profilecast sandbox --workspace {file}")
    print(f"  {run} --state sandbox-state --new-state --gateway http://127.0.0.1:8808    (in another terminal)")
