"""A run costs what it touches: runs over a state of many profiles of which few have news, or none.

    python -m benchmarks.touched [--profiles 1000000]

Builds a state of so many profiles, each told three values (six slots, one identifier), then measures
`profilecast run` as a process of its own: over an empty state (the start-up time), without news, with 1,000 changes
that are delivered to a receiver, and what it takes to decide after one new sync.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import facts
from benchmarks.receiver import receiver
from pipeline.decider import Decider, enter_workspace, write_registry
from pipeline.log import SqliteLog
from pipeline.state_db import StateDb
from pipeline.vendors import destinations, vendors
from pipeline.workspace import load
from schemas.receipts import receipt_of
from transforms.logic.detect import micros
from transforms.logic.portion import Lines, parse_lines
from transforms.sending.log import Writing

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WORKSPACE = """\
workspace: benchmark
computations:
  - {{name: A, kind: trait}}
  - {{name: B, kind: trait}}
  - {{name: C, kind: audience}}
connections:
  - name: hook
    destination: webhook
    settings: {{url: "https://hook.example/in"}}
    syncs: [{syncs}]
"""
SYNCS = "{computation: a, as: identify}, {computation: b, as: identify}, {computation: c, as: identify}"
ONE_MORE = ", {computation: a, name: again, send_as: a_again, as: identify}"
CHUNK = 20_000  # profiles


def lines_of(first: int, number: int) -> Iterator[bytes]:
    chance = random.Random(first)
    for n in range(first, first + number):
        head = {"profile_id": f"customer-{n:08}", "at": "2025-06-01T00:00:00Z"}
        ids = [{"type": "user_id", "id": f"user-{n:08}"}]
        yield json.dumps({"type": "profile", **head, "external_ids": ids, "traits": {"plan": "gold"}}).encode()
        for key in "ab":
            value = round(chance.uniform(1, 900), 2)
            yield json.dumps({"type": "trait", **head, "computation": key, "value": value}).encode()
        yield json.dumps({"type": "audience", **head, "computation": "c", "member": True}).encode()


def build(state: Path, workspace: Path, gateway: str, profiles: int) -> None:
    """Decide, and let every call have been delivered."""
    shop = load(str(workspace))
    with StateDb.use(state, make=True) as db:
        db.bind(shop.workspace, gateway)
        plan, registry, _ = enter_workspace(db, shop, vendors(destinations(shop)), micros(NOW))
        write_registry(db, registry)
        decider = Decider(state, plan, registry, "build")
        decider.tick()
        for first in range(0, profiles, CHUNK):
            number = min(CHUNK, profiles - first)
            lines = list(lines_of(first, number))
            decider.fold_parsed(parse_lines([Lines("build", list(range(len(lines))), lines)], plan))
        log = SqliteLog(state, "hook", 0)
        for backfill in (False, True):
            after = 0
            while waiting := log.read(backfill, after, CHUNK):
                after = waiting[-1].call.ask
                log.write(Writing(receipts=[receipt_of(each.call, "delivered", 0.0) for each in waiting])).result()
        log.close()
        decider.fold_receipts()
        decider.close()


def run(name: str, *arguments: object) -> None:
    """One line: seconds and peak memory of a `profilecast run`."""
    command = [sys.executable, "-m", "pipeline", "run", *map(str, arguments)]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    out = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    last = out.splitlines()[-1] if out else ""
    print(f"{name:42} {seconds:6.2f} s  peak {usage.ru_maxrss / 1024:5.0f} MB  exit {status >> 8}  {last}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profiles", type=int, default=1_000_000)
    profiles = parser.parse_args().profiles
    print(facts())
    with tempfile.TemporaryDirectory() as folder, receiver() as hook:
        os.environ["XDG_STATE_HOME"], gateway = folder, hook.url.rstrip("/")
        root = Path(folder)
        workspace = root / "workspace.yaml"
        workspace.write_text(WORKSPACE.format(syncs=SYNCS))
        common = ("--workspace", workspace, "--gateway", gateway)
        run("an empty state (start-up)", *common, "--state", root / "empty", "--new-state")
        began = time.perf_counter()
        build(root / "state", workspace, gateway, profiles)
        size = sum(path.stat().st_size for path in (root / "state").rglob("*.db"))
        print(f"built {profiles:,} profiles in {time.perf_counter() - began:.0f} s, {size / 2**20:,.0f} MB")
        run("no events", *common, "--state", root / "state")
        changes = root / "changes.jsonl"
        chosen = random.Random(1).sample(range(profiles), 1000)
        rows = ({"type": "trait", "profile_id": f"customer-{n:08}", "at": "2026-01-02T00:00:00Z", "computation": "a",
                 "value": n} for n in chosen)  # fmt: skip
        changes.write_text("".join(json.dumps(row) + "\n" for row in rows))
        run("1,000 changes, delivered", *common, "--state", root / "state", "--events", changes)
        run("the same again", *common, "--state", root / "state", "--events", changes)
        workspace.write_text(WORKSPACE.format(syncs=SYNCS + ONE_MORE))
        run("one new sync, nothing sent in time", *common, "--state", root / "state", "--stop-after", "0s")


if __name__ == "__main__":
    main()
