"""Start-up with every destination configured: seconds, processor time and memory of whole commands.

    python -m benchmarks.startup [--each 1 2]

One, and then two connections of each destination; `check`, a first run over no events, and a second one. Each is a
process of its own, from its start to its end. Nothing is sent.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import yaml

from benchmarks.machine import facts
from examples.cdnow.everywhere import workspace
from sandbox.examples import environment
from transforms.destinations import catalogue


class Took(NamedTuple):
    """One command, to its end."""

    code: int
    seconds: float
    processor: float
    megabytes: float  # at its peak


def measured(arguments: Sequence[str], values: dict[str, str], log: Path) -> Took:
    """`profilecast` with these arguments."""
    began = time.perf_counter()
    to_log = [(os.POSIX_SPAWN_OPEN, place, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) for place in (1, 2)]
    command = [sys.executable, "-m", "pipeline", *arguments]
    _, status, used = os.wait4(os.posix_spawn(sys.executable, command, values, file_actions=to_log), 0)
    seconds = time.perf_counter() - began
    return Took(os.waitstatus_to_exitcode(status), seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def described(each: int) -> str:
    """A workspace with so many connections of each destination."""
    made = workspace(catalogue().values(), 1)
    connections = [
        {**connection, "name": f"{connection['name']}-{number}" if number else connection["name"]}
        for connection in made["connections"]
        for number in range(each)
    ]
    return yaml.safe_dump({**made, "connections": connections}, sort_keys=False)


def commands(each: int) -> Iterator[tuple[str, Took]]:
    values = {**os.environ, **{name: text for kind in catalogue().values() for name, text in environment(kind).items()}}
    with TemporaryDirectory() as name:
        folder = Path(name)
        file, events, log = folder / "workspace.yaml", folder / "events.jsonl", folder / "log"
        file.write_text(described(each))
        events.touch()
        given = ["--workspace", str(file)]
        run = ["run", *given, "--state", str(folder / "state"), "--events", str(events)]
        values["XDG_STATE_HOME"] = str(folder / "caps")
        for what, arguments in (
            ("check", ["check", *given]), ("a first run over no events", [*run, "--new-state"]), ("another one", run),
        ):  # fmt: skip
            took = measured(arguments, values, log)
            if took.code:
                raise SystemExit(f"{what} ended with {took.code}:\n{log.read_text()}")
            yield what, took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, nargs="*", default=[1, 2])
    print(f"{facts()}\n\n| connections | | seconds | processor | peak MB |\n|---:|---|---:|---:|---:|")
    for each in parser.parse_args().each:
        for what, took in commands(each):
            number = each * len(catalogue())
            print(
                f"| {number} | {what} | {took.seconds:.1f} | {took.processor:.1f} | {took.megabytes:.0f} |", flush=True
            )


if __name__ == "__main__":
    main()
