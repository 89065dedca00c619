"""A first sync of the same people at every destination: what the real sender takes, beside what was foreseen.

    python -m benchmarks.destinations [--people 2000] [--only SLUG …]

The sender talks to the sandbox over HTTP, in virtual time and under the caps of both. Requests more than 2 % apart are
marked.
"""

import argparse
import os
import time
from typing import NamedTuple

from benchmarks.foreseen import calls_of, foresee
from benchmarks.machine import facts
from sandbox.examples import connected, environment
from sandbox.held_log import HeldLog, NothingKept
from sandbox.playing import play
from sandbox.server import Options
from transforms.destinations import catalogue
from transforms.destinations.contract import Destination
from transforms.sending.log import Waiting
from transforms.sending.sender import Active, Delivery

_HEAD = (
    "| destination | calls | requests foreseen | requests | seconds foreseen | seconds | |\n"
    "|---|---:|---:|---:|---:|---:|---|"
)
APART = 0.02  # of the requests: more is marked


class Compared(NamedTuple):
    """One destination."""

    calls: int
    delivered: int
    foreseen: int  # requests
    sent: int
    foreseen_seconds: float  # at the published caps
    seconds: float  # in virtual time
    throttled: int
    trouble: str

    @property
    def apart(self) -> float:
        """As a share of what was sent."""
        return abs(self.sent - self.foreseen) / max(self.sent, 1)


def compare(kind: type[Destination], people: int) -> Compared:
    """With the real sender, in a sandbox of its own."""
    os.environ.update(environment(kind))
    sync, calls = foresee(kind), [Waiting(call) for call in calls_of(kind, people)]
    workspace, connection = connected(kind, kind.forms[:1])
    log = HeldLog(calls, facts={"proved": {"1": 1}})
    active = {slot: Active(1) for slot in (0, 1, 2)}
    delivery = Delivery(workspace, connection, log, NothingKept(), active)
    [report], seen = play([delivery], time.time(), Options())
    sent, throttled = (sum(account[what] for account in seen) for what in ("requests", "throttled"))
    return Compared(
        len(calls), report.delivered, sync.requests(people), sent, sync.seconds(people), report.seconds, throttled,
        report.stopped or report.trouble,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=2_000)
    parser.add_argument("--only", nargs="*", metavar="SLUG", default=list(catalogue()))
    arguments = parser.parse_args()
    print(facts())
    print(f"\n{arguments.people:,} people\n\n{_HEAD}")
    began = time.perf_counter()
    for slug in arguments.only:
        found = compare(catalogue()[slug], arguments.people)
        marks = [
            f"{found.apart:.0%} apart" if found.apart > APART else "",
            f"{found.calls - found.delivered:,} not delivered" if found.delivered < found.calls else "",
            f"{found.throttled:,} answered 429" if found.throttled else "",
            found.trouble,
        ]
        words = "; ".join(filter(None, marks))
        counts = f"{found.calls:,} | {found.foreseen:,} | {found.sent:,}"
        print(f"| {slug} | {counts} | {found.foreseen_seconds:.1f} | {found.seconds:.1f} | {words} |", flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
