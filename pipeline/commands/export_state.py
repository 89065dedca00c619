"""`profilecast export state`: from a streaming job back to a state directory."""

import argparse
from pathlib import Path

from pipeline.commands.arguments import address
from pipeline.commands.exits import DONE
from pipeline.commands.kafka import add_log_arguments, guarded, log_of
from pipeline.commands.output import counted
from pipeline.commands.say import mute_beam, text


def add_state_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("of a streaming job's state (docs/streaming.md)").add_argument
    add("--to", type=Path, metavar="DIR", help="the state directory to make (required)")
    add("--gateway", type=address, metavar="URL", help="where its senders sent every request, if they had this option")
    add_log_arguments(parser, required=False)


def export_state(args: argparse.Namespace) -> int:
    """0: the directory is there. Raises WorkspaceError."""
    if missing := [f"--{name}" for name in ("log", "to") if getattr(args, name) is None]:
        args.refuse(f"the following arguments are required: {', '.join(missing)}")
    mute_beam()
    return guarded(lambda: _export(args))


def _export(args: argparse.Namespace) -> int:
    from pipeline.streaming.moving_out import export_state

    found = export_state(log_of(args), args.to, args.gateway or "", text)
    print(f"{counted(found.profiles, 'profile')} and {counted(found.calls, 'call')} that wait in {args.to}")
    return DONE
