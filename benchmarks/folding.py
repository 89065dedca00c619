"""What folding costs by the number of connections: an event, and a receipt.

    python -m benchmarks.folding [--connections 1 30 86] [--people 300]

Processor time of one process, without a disk and an engine. Each person has one address and one value; each connection
is a webhook that is told it, and acknowledges it.
"""

import argparse
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.machine import facts as machine
from pipeline.vendors import made
from pipeline.workspace import load
from schemas.receipts import receipt_of
from schemas.registry import Registry
from transforms.logic.detect import micros
from transforms.logic.fold import Facts
from transforms.logic.plan import Plan, make_plan
from transforms.logic.portion import Lines, fold_portion, parse_lines
from transforms.logic.registry import enter

WORKSPACE = "workspace: benchmark\ncomputations: [{name: Score, kind: trait}]\nconnections:\n"
CONNECTION = """\
  - name: hook-%d
    destination: webhook
    settings: {url: "https://hook-%d.example/in"}
    syncs: [{computation: score, as: identify}]
"""
PERSON = (
    b'{"type": "profile", "profile_id": "u%d", "at": "2026-01-01T00:00:00Z", '
    b'"external_ids": [{"type": "email", "id": "u%d@x.example"}]}'
)
SCORE = b'{"type": "trait", "profile_id": "u%d", "at": "2026-01-01T00:00:00Z", "computation": "score", "value": %d}'


def plan_of(connections: int) -> Plan:
    now = micros(datetime(2026, 1, 2, tzinfo=UTC))
    with TemporaryDirectory() as folder:
        path = Path(folder, "workspace.yaml")
        path.write_text(WORKSPACE + "".join(CONNECTION % (number, number) for number in range(connections)))
        workspace = load(str(path))
    vendors = made(workspace).vendors
    registry, _ = enter(Registry(), workspace, vendors, now)
    return make_plan(workspace, vendors, registry, now)


def folded(plan: Plan, people: int) -> tuple[float, float]:
    """Seconds of each person's events, and of each receipt."""
    lines = [line for n in range(people) for line in (PERSON % (n, n), SCORE % (n, n))]
    events = parse_lines([Lines("events.jsonl", [*range(len(lines))], lines)], plan).events
    states: dict[str, bytes] = {}
    asks = count(1)

    def known(keys: list[str]) -> Mapping[str, bytes]:
        return {key: states[key] for key in keys if key in states}

    began = time.process_time()
    first = fold_portion({name: Facts(events=of) for name, of in events.items()}, known, plan, asks)
    of_events = time.process_time() - began
    states |= first.states
    began = time.process_time()
    for calls in first.calls.values():
        receipts = {call.profile_id: Facts(receipts=[receipt_of(call, "delivered", 1.0)]) for call in calls}
        states |= fold_portion(receipts, known, plan, asks).states
    return of_events / people, (time.process_time() - began) / sum(map(len, first.calls.values()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.folding", description=__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 30, 86])
    parser.add_argument("--people", type=int, default=300)
    options = parser.parse_args()
    print(machine())
    print("| connections | a person's events | a receipt |")
    for connections in options.connections:
        events, receipt = folded(plan_of(connections), options.people)
        print(f"| {connections} | {events * 1e6:,.0f} µs | {receipt * 1e6:,.0f} µs |")


if __name__ == "__main__":
    main()
