"""The example for any destinations at once: `./run_local.sh --destinations all`, or their names with commas.

    python -m examples.cdnow.everywhere make --destinations all --faster 100 --out DIR
    python -m examples.cdnow.everywhere check --out DIR --gateway URL

`make` writes a workspace with a connection for each, secrets that the sandbox takes, and options for the sandbox. Where
a vendor publishes a cap, both have it so many times: 100 seconds at the vendor are one here. `check` prints a table of
what each connection sent, and compares what the sandbox knows with what the events say.
"""

import argparse
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from math import floor
from pathlib import Path
from typing import Any

import msgspec
import requests
import yaml
from msgspec.structs import replace

from examples.cdnow.members import Wanted, wanted
from pipeline.commands.output import show_table
from pipeline.summary import ConnectionSummary, Summary
from pipeline.workspace import cap_of, load
from sandbox.conversing import Clock, Conversing
from sandbox.examples import environment, settings
from sandbox.server import Options, Sandbox
from sandbox.state import State, state
from sandbox.vendors import all_vendors
from schemas.workspace import Connection, Workspace
from transforms.destinations import catalogue, find
from transforms.destinations.contract import Destination

AUDIENCE, TRAIT = "big_spenders", "total_revenue_180_days"
EXAMPLE = Path(__file__).with_name("workspace.yaml")
WORKSPACE, SECRETS, CAPS = "everywhere.yaml", "everywhere.env", "everywhere.caps"


# -- make


def workspace(kinds: Iterable[type[Destination]], faster: int) -> dict[str, Any]:
    """As its file has it: an audience to everybody, and a trait of its members where there is room for traits."""
    return {
        "workspace": "cdnow-everywhere",
        "computations": yaml.safe_load(EXAMPLE.read_text())["computations"],  # all that the events speak of
        "connections": [_connection(kind, faster) for kind in kinds],
    }


def _connection(kind: type[Destination], faster: int) -> dict[str, Any]:
    forms = [form for form in kind.forms if form in (kind.forms[0], "list")]
    told: list[dict[str, Any]] = [{"computation": AUDIENCE, "as": forms}]
    if forms[0] != "list":
        told.append({"computation": TRAIT, "as": forms[0], "where": {AUDIENCE: True}})
    own = cap_of(kind)
    cap = {"cap": f"{_rate(own.requests, own.seconds, faster)}/s", "cap_raised_by_vendor": True} if own else {}
    return {
        "name": kind.slug,
        "destination": kind.slug,
        "settings": settings(kind, (AUDIENCE, TRAIT)),
        **cap,
        "syncs": told,
    }


def _rate(number: float, seconds: float, faster: int) -> int:
    """Requests per second."""
    return max(1, floor(number / seconds * faster))


def caps(kinds: Iterable[type[Destination]], faster: int) -> Iterator[str]:
    """Options for the sandbox: what it keeps instead of the published caps of all requests."""
    fakes = all_vendors()
    for slug in sorted({fakes[kind.slug].slug for kind in kinds if kind.slug in fakes}):
        own = [cap for cap in fakes[slug].caps if not cap.endpoint]
        if own:
            yield f"--cap={slug}={min(_rate(cap.requests, cap.seconds, faster) for cap in own)}/s"


def make(out: Path, names: str, faster: int) -> None:
    kinds = _kinds(names)
    out.mkdir(parents=True, exist_ok=True)
    (out / WORKSPACE).write_text(yaml.safe_dump(workspace(kinds, faster), sort_keys=False, allow_unicode=True))
    values = {name: value for kind in kinds for name, value in environment(kind).items()}
    (out / SECRETS).write_text("".join(f"export {name}={shlex.quote(text)}\n" for name, text in values.items()))
    (out / CAPS).write_text("".join(f"{option}\n" for option in caps(kinds, faster)))
    print(f"{len(kinds)} destinations; caps are {faster} times those that the vendors publish")


def _kinds(names: str) -> list[type[Destination]]:
    if names == "all":
        return list(catalogue().values())
    found = {name: find(name) for name in names.split(",")}
    if unknown := [name for name, kind in found.items() if kind is None]:
        raise SystemExit(f"no such destination: {', '.join(unknown)}; `profilecast destinations` lists all")
    return [kind for kind in found.values() if kind]


# -- check


def check(out: Path, gateway: str) -> int:
    """Print the table. 1 where the sandbox knows something else than is wanted."""
    for line in (out / SECRETS).read_text().splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        os.environ[name] = "".join(shlex.split(value))
    described = load(str(out / WORKSPACE))
    runs = [
        msgspec.json.decode(path.read_bytes(), type=Summary)
        for path in sorted((out / "state" / "runs").glob("*/summary.json"))
    ]
    accounts = requests.get(f"{gateway}/_sandbox/told", timeout=120).json()
    people = wanted(sorted((out / "events").glob("*/*.jsonl")), AUDIENCE, TRAIT)
    rows = [_row(described, each, runs, accounts, people) for each in described.connections]
    show_table(("connection", "calls", "rejected", "requests", "seconds", "the sandbox knows"), rows)
    print(LEGEND)
    return int(any(row[-1] == DIFFERENT for row in rows))


LEGEND = """
What is wanted: the people whom the events put into the audience, with their values. Messages only: what takes messages
keeps nothing to compare. Calls wait where a list is uploaded at intervals, and where a vendor works for hours on what
it took; run it again with --keep-state some minutes later, and they go."""
DIFFERENT, RIGHT, MESSAGES = "SOMETHING ELSE", "what is wanted", "messages only"


def _row(
    described: Workspace, connection: Connection, runs: Sequence[Summary], accounts: Any, people: Sequence[Wanted]
) -> tuple[str, ...]:
    mine = [run.connections[connection.name] for run in runs if connection.name in run.connections]
    made, rejected = sum(each.made for each in mine), sum(each.rejected for each in mine)
    told = [each for each in accounts if connection.name in each["connection"].split(" or ")]
    return (
        connection.name,
        f"{made:,}",
        f"{rejected:,}",
        f"{sum(each.report.requests for each in mine):,}",
        f"{sum(each.report.seconds for each in mine):.1f}",
        _verdict(described, connection, mine, told, people) if made else "nothing: nobody has such an identifier",
    )


def _verdict(
    described: Workspace,
    connection: Connection,
    mine: Sequence[ConnectionSummary],
    told: Sequence[Any],
    people: Sequence[Wanted],
) -> str:
    if all(each.rejected == each.made for each in mine):
        return "nothing: all were rejected"
    kind = catalogue()[connection.destination]
    right = state(_faultless(described, connection, people), leaving_out=kind.required)
    right = State(
        set() if kind.forms == ("list",) else right.people, set(), right.lists if "list" in kind.forms else {}, set()
    )
    if not (right.people or right.lists):
        return MESSAGES
    rejected, waiting = sum(each.rejected for each in mine), mine[-1].waiting
    if not _knows(state(told, leaving_out=kind.required), right, rejected):
        return f"less than is wanted: {waiting:,} calls wait" if waiting else DIFFERENT
    return (
        RIGHT + (", but for what was rejected" if rejected else "") + (f"; {waiting:,} calls wait" if waiting else "")
    )


def _knows(actual: State, right: State, rejected: int) -> bool:
    """All members, with their values, and in lists nobody else. Who left is known too, as not being in."""
    there = all(actual.lists.get(name) == members for name, members in right.lists.items())
    return there and len(right.people - actual.people) <= rejected


def _faultless(described: Workspace, connection: Connection, people: Sequence[Wanted]) -> list[dict[str, Any]]:
    """What a sandbox knows that was told each member once."""
    clock = Clock()
    sandbox = Sandbox(Options(clock=clock, capped=False))
    destination = catalogue()[connection.destination](described, connection)
    told = Conversing(destination, sandbox, clock)
    calls = (call for person in people for call in person.calls(destination, AUDIENCE))
    told.deliver([replace(call, ask=ask) for ask, call in enumerate(calls, 1)])
    clock.now += 3600.0
    return sandbox.told()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("make", "check"))
    parser.add_argument("--destinations", default="all", metavar="NAMES", help="with commas, or all (%(default)s)")
    parser.add_argument(
        "--faster", type=int, default=100, metavar="N", help="caps are so many times higher (%(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--gateway", default="", metavar="URL", help="of the sandbox, to check")
    options = parser.parse_args()
    if options.do == "make":
        make(options.out, options.destinations, options.faster)
        return 0
    return check(options.out, options.gateway)


if __name__ == "__main__":
    raise SystemExit(main())
