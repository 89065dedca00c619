"""`profilecast export`: receipts, waiting calls or the ledger as a table; a streaming job's state as a directory."""

import argparse
from contextlib import closing
from pathlib import Path

from pipeline.commands.exits import DONE, ended, wrong
from pipeline.commands.export_state import add_state_arguments, export_state
from pipeline.commands.output import counted
from pipeline.problems import Ending

WHAT = {
    "receipts": "what became of calls, of the last 7 days",
    "calls": "calls that wait",
    "ledger": "what every connection was told of everybody",
}
STATE = "state"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes receipts, waiting calls or the ledger into a Parquet or CSV file, a row for each. Or makes a state "
        "directory of what a streaming job knew, with which `run` and `serve` go on."
    )
    about = {**WHAT, STATE: "everything that a streaming job knew, which was stopped"}
    parser.add_argument("what", choices=(*about,), help="; ".join(f"{name}: {each}" for name, each in about.items()))
    add = parser.add_argument_group("of a table").add_argument
    add("--state", type=Path, metavar="DIR", help="the state directory (required)")
    add("--out", type=Path, metavar="FILE", help="the file to write (required)")
    add("--format", choices=("parquet", "csv"), help="by default as the file's name ends")
    add_state_arguments(parser)
    parser.epilog = (
        "What is written has personal data in it, and only its owner can read it. A table changes nothing in the "
        "state, so it may be asked for at any time. A log whose state was exported is used no more.\n\nexit codes:\n"
        "  0  done\n  1  wrong usage, or no state there\n"
        "  3  the state cannot be read, or moved now; or nothing can be written\n"
        "  4  another process uses a vendor account of the state: again when it is done"
    )


def run(args: argparse.Namespace) -> int:
    """0: it is written."""
    if args.what == STATE:
        return export_state(args)
    if missing := [f"--{name}" for name in ("state", "out") if getattr(args, name) is None]:
        args.refuse(f"the following arguments are required: {', '.join(missing)}")
    form = args.format or args.out.suffix.removeprefix(".")
    if form not in ("parquet", "csv"):
        return wrong("export", f"--out {args.out}: say --format parquet or --format csv, or end its name so")

    from pipeline.export import export
    from pipeline.state_db import StateDb

    try:
        with closing(StateDb.open(args.state, to_read=True)) as db:
            number = export(db, args.what, args.out, form)
    except Ending as error:
        return ended(error, error.code)
    print(f"{counted(number, 'row')} in {args.out}")
    return DONE
