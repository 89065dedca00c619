"""`profilecast sandbox`: the command line of the fake vendors."""

import argparse
import asyncio
import gc
import os
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.commands.arguments import port
from pipeline.problems import WorkspaceError
from pipeline.workspace import load, missing_secrets, with_lines
from sandbox.faults import Fault
from sandbox.server import Options, Sandbox
from sandbox.serving import ADDRESS, listen
from sandbox.vendor import REFUSED, Cap
from sandbox.vendors import all_vendors
from sandbox.workspace import accounts, secrets_of

PORT = 8808
PER = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Starts a local server that behaves like the vendors. It checks credentials and bodies, keeps the vendors' "
        "caps, refuses single items as they do, and remembers what it was told: GET /_sandbox/told, /_sandbox/stats. "
        "Give its address to `run` as --gateway.\n\n"
        f"It knows {', '.join(all_vendors())}. Any other host is a webhook receiver. "
        f"It refuses identifiers that end in {REFUSED}, but not those that come as hashes."
    )
    parser.add_argument("--port", type=port, default=PORT, help=f"the port on {ADDRESS} ({PORT}); 0 takes a free one")
    parser.add_argument(
        "--workspace",
        metavar="FILE",
        help="accept only the secrets of this workspace, and write the names of its connections into the recording",
    )
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="write every request into this file, as a line of JSON"
    )
    parser.add_argument(
        "--latency", type=_seconds, default=0.0, metavar="SECONDS", help="wait so long before every answer"
    )
    parser.add_argument(
        "--cap", type=_cap, action="append", default=[], metavar="SLUG=N/s", help="give a destination another cap"
    )
    parser.add_argument("--no-caps", action="store_true", help="keep no caps: never answer 429")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument(
        "--ready-file", type=Path, metavar="FILE", help="write the address into this file when it listens"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM. 0, or 1 where it could not start. Raises WorkspaceError."""
    # What it is told stays: looking for garbage in it takes half of the time, and the arrivals meanwhile are seen late.
    gc.disable()
    sys.setswitchinterval(0.001)  # for the same reason
    options = Options(record=args.record, caps=dict(args.cap), capped=not args.no_caps)
    if args.workspace:
        options = _of_workspace(options, args.workspace)
    try:
        sandbox = Sandbox(options)
    except OSError as error:
        print(f"The recording {args.record} cannot be written: {error.strerror}.", file=sys.stderr)
        return 1
    if args.latency:
        sandbox.faults.put(Fault(latency=args.latency))
    try:
        stats = asyncio.run(_serve(sandbox, args))
    except OSError as error:
        where = error.filename or f"port {args.port} of {ADDRESS}"
        print(
            f"{where} cannot be used: {error.strerror}. Give another one; --port 0 takes a free port.", file=sys.stderr
        )
        return 1
    if not args.quiet:
        Console(width=None if sys.stdout.isatty() else 120).print(_table(stats))
    return 0


def _of_workspace(options: Options, file: str) -> Options:
    workspace = load(file)
    for connection in workspace.connections:
        if connection.destination not in all_vendors():
            words = f"there is no sandbox of {connection.destination}; a webhook receiver answers in its place"
            print(f"{connection.name}: {words}", file=sys.stderr)
    if missing := missing_secrets(workspace, file):
        raise WorkspaceError(file, with_lines(missing, file))
    names, credentials = accounts(workspace)
    return replace(options, connections=names, credentials=credentials, secrets=secrets_of(workspace))


async def _serve(sandbox: Sandbox, args: argparse.Namespace) -> list[dict[str, Any]]:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with listen(sandbox, args.port) as url:
        if args.ready_file:
            _write(args.ready_file, url)
        if not args.quiet:
            print(f"The sandbox listens on {url}: give it as --gateway {url}", flush=True)
        await stopped.wait()
    return sandbox.stats()


def _write(path: Path, url: str) -> None:
    """Write the address all at once, so that whoever waits for the file never reads half of it."""
    half = path.with_name(path.name + ".new")
    half.write_text(url + "\n")
    os.replace(half, path)


def _table(stats: list[dict[str, Any]]) -> Table:
    table = Table(title="What the vendors saw")
    for name in ("destination", "host", "requests", "429s", "failed", "most in a second", "told"):
        table.add_column(name, justify="left" if name in ("destination", "host", "told") else "right")
    for entry in stats:
        failed = sum(count for status, count in entry["statuses"].items() if not status.startswith("2"))
        told = ", ".join(f"{count:,} {what}" for what, count in entry["told"].items() if count)
        table.add_row(
            entry["destination"],
            entry["host"],
            f"{entry['requests']:,}",
            f"{entry['throttled']:,}",
            f"{failed - entry['throttled']:,}",
            f"{entry['peaks']['1s']:,}",
            told or "nothing",
        )
    return table


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds, as in 0.25")
    return float(text)


def _cap(text: str) -> tuple[str, Cap]:
    match = re.fullmatch(r"([a-z0-9-]+)=(\d+)/([smhd])", text)
    if not match or match[2] == "0":
        raise argparse.ArgumentTypeError(f"{text!r}: expected a destination and a rate, as in braze=100/s")
    if match[1] not in all_vendors():
        raise argparse.ArgumentTypeError(f"no such destination: {match[1]}; there are {', '.join(all_vendors())}")
    return match[1], Cap(int(match[2]), PER[match[3]])
