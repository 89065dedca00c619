"""`profilecast report`: one HTML page of how it stands, and what runs did."""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from pipeline.commands.arguments import time
from pipeline.commands.exits import DONE, ended, wrong
from pipeline.problems import Ending


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes one HTML file that needs nothing else: how each connection stands now, what runs did from events to "
        "outcomes, why calls came to nothing, the rate against the cap, answer times, and audiences."
    )
    add = parser.add_argument
    add("--state", required=True, type=Path, metavar="DIR", help="the state directory (required)")
    add("--out", type=Path, default=Path("report.html"), metavar="FILE", help="the file to write (%(default)s)")
    add("--run", default="", metavar="RUN", help="only this run, as its folder in `runs/` is called")
    add("--since", type=time, metavar="TIME", help="only runs that began at this time or later")
    parser.epilog = (
        "Identifiers and values of people are not in it. Nothing in the state changes, so it may be asked at any time."
        "\n\nexit codes:\n  0  done\n  1  wrong usage, or no state there\n  3  the state cannot be read, or the file "
        "cannot be written"
    )


def run(args: argparse.Namespace) -> int:
    """0: it is written."""
    from pipeline.disk import replace
    from pipeline.report_data import collect
    from pipeline.report_page import page

    try:
        data = collect(args.state, args.run, args.since, datetime.now(UTC))
        if args.run and not data.runs:
            return wrong("report", f"--run {args.run}: there is no such run in {args.state / 'runs'}")
        replace(args.out, page(data).encode())
    except Ending as error:
        return ended(error, error.code)
    print(f"The report is in {args.out}")
    return DONE
