"""Detection, JSON Lines to calls: the Beam job against a plain loop over the same decisions.

    python -m benchmarks.detection [--events 1000000] [--only loop|beam]

Events: for every five, one profile (a user_id) and four computed values of it, of five
computations; half of the values repeat what is known. One connection, identify. The loop reads the same file,
parses, folds, packs the state and writes the calls in the same process; it has no shards, no database and no Beam.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import msgspec

from benchmarks.machine import facts, peak_memory
from pipeline.decider import Decided, Decider, enter_workspace, write_registry
from pipeline.graph import Input, decide
from pipeline.run import RunOptions, make_pipeline
from pipeline.run_folder import RunFolder
from pipeline.state_db import StateDb
from schemas.events import AnyEvent
from schemas.registry import Registry
from schemas.state import ProfileState, encode_profile
from schemas.workspace import Computation, Connection, Sync, Workspace
from transforms.logic.detect import micros
from transforms.logic.fold import Facts, fold
from transforms.logic.plan import Plan, make_plan
from transforms.logic.portion import parser_of
from transforms.logic.registry import Vendor, enter

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = [f"computation_{n}" for n in range(5)]


def workspace() -> Workspace:
    """Five traits, one webhook."""
    computations = tuple(Computation(name=key, kind="trait", key=key, id=key) for key in KEYS)
    syncs = tuple(Sync(computation=key, forms=("identify",)) for key in KEYS)
    return Workspace("benchmark", computations, (Connection("hook", "webhook", syncs),))


def write_events(path: Path, number: int) -> None:
    """A file of events, shuffled, the same every time."""
    chance = random.Random(7)
    with path.open("w") as file:
        for start in range(0, number, 50_000):
            lines = [line for n in range(start // 5, (start + 50_000) // 5) for line in profile_events(n, chance)]
            chance.shuffle(lines)
            file.writelines(lines)


def profile_events(n: int, chance: random.Random) -> Iterator[str]:
    """One profile event and four values; of these two repeat the two others, later."""
    head = f'"profile_id":"customer-{n:07}"'
    yield (
        f'{{"type":"profile",{head},"at":"2025-06-01T00:00:00Z","external_ids":[{{"type":"user_id","id":"user-{n:07}"}}],'
        f'"traits":{{"first_name":"Ann","plan":"gold"}}}}\n'
    )
    for key in chance.sample(KEYS, 2):
        value = round(chance.uniform(1, 900), 2)
        for day in (2, 3):
            yield f'{{"type":"trait",{head},"at":"2025-06-{day:02}T12:30:00Z","computation":"{key}","value":{value}}}\n'


VENDORS = {"hook": Vendor("hook", ("*",))}


def plan() -> Plan:
    registry, _ = enter(Registry(), workspace(), VENDORS, micros(NOW))
    return make_plan(workspace(), VENDORS, registry, micros(NOW))


def loop(path: Path, out: Path) -> int:
    """The plain loop: the number of calls."""
    decisions, encode, made, asks = plan(), msgspec.json.Encoder().encode, 0, count(1)
    parse = parser_of(decisions).parse
    events: dict[str, list[AnyEvent]] = {}
    with path.open("rb") as file:
        for line in file:
            event = parse(line)
            events.setdefault(event.profile_id, []).append(event)  # type: ignore[union-attr,arg-type]
    with out.open("wb") as calls:
        for profile_id, told in events.items():
            state = ProfileState()
            for _, call in fold(profile_id, state, Facts(events=told), decisions, asks).calls:
                calls.write(encode(call) + b"\n")
                made += 1
            encode_profile(state)
    return made


def beam(path: Path, state: Path) -> int:
    """The job up to the last commit: the number of calls."""
    options = RunOptions(workspace(), [str(path)], state, NOW)
    with StateDb.use(state, make=True) as db:
        decisions, registry, _ = enter_workspace(db, workspace(), VENDORS, micros(NOW))
        write_registry(db, registry)
        folder = RunFolder.make(state)
        decider = Decider(state, decisions, registry, folder.name)
        with make_pipeline(options) as root:
            decide(root, Input([(str(path), False)], path.stat().st_size), decider, folder.write_decided)
        decided: Decided = folder.decided()
    return decided.made["hook"]


def measure(kind: str, path: Path, folder: Path) -> None:
    """In a process of its own: one line of figures."""
    started = time.process_time(), time.perf_counter()
    made = loop(path, folder / "calls.jsonl") if kind == "loop" else beam(path, folder / "state")
    cpu, wall = time.process_time() - started[0], time.perf_counter() - started[1]
    print(f"{cpu:.3f} {wall:.3f} {peak_memory():.0f} {made}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        kind, path, folder = arguments.child
        measure(kind, Path(path), Path(folder))
        return
    print(facts())
    for number in arguments.events:
        compare(number)


def compare(number: int) -> None:
    """The loop and the job over the same events."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        write_events(path, number)
        speed = {}
        for kind in ("loop", "beam"):
            command = [sys.executable, "-m", "benchmarks.detection", "--child", kind, str(path), folder]
            cpu, wall, peak, made = map(
                float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-4:]
            )
            speed[kind] = number / wall
            print(
                f"{number:>9,} events  {kind:4}  {number / wall:>9,.0f} events/s (wall {wall:.1f} s, CPU {cpu:.1f} s)  "
                f"peak {peak:,.0f} MB  {made:,.0f} calls"
            )
        print(f"{number:>9,} events  the job does {speed['beam'] / speed['loop']:.2f} of the loop")


if __name__ == "__main__":
    main()
