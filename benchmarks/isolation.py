"""A connection beside one whose vendor is in trouble: how much longer it takes than alone.

    python -m benchmarks.isolation [--calls 1000]

Webhook calls at 100/s; beside them 20,000 calls for a Braze that hangs, fails, refuses, cuts off or is slow (the
sandbox's faults). Both go through one sender; both vendors are one sandbox, which costs both the same.
"""

import argparse
import os
from typing import Any

from benchmarks.deliveries import KEY, CountingJournal, MadeCalls
from benchmarks.machine import facts
from sandbox.testing import running_sandbox
from schemas.secret import Secret
from schemas.workspace import Cap, Computation, Connection, Sync, Workspace
from transforms.destinations.braze import Braze
from transforms.destinations.webhook import Webhook
from transforms.sender import Delivery, Sender, SenderOptions

TROUBLE: dict[str, dict[str, Any]] = {
    "well": {},
    "hangs": {"hang": 1.0},
    "answers 503": {"status": 503},
    "answers 429": {"status": 429},
    "is cut off": {"reset": 1.0},
    "takes 2 s": {"latency": 2.0},
}


def delivery(connection: Connection, calls: int, gateway: str) -> Delivery:
    workspace = Workspace("benchmark", (Computation("Big spenders", "audience", KEY, KEY),), (connection,))
    return Delivery(
        workspace, connection, MadeCalls(calls), CountingJournal(), {}, SenderOptions(gateway, finish_within=1.0)
    )


def measure(calls: int, fault: dict[str, Any] | None) -> float:
    """Seconds that the webhook takes; `fault` None: it is alone."""
    syncs = (Sync(computation=KEY),)
    hook = Connection("hook", "webhook", syncs, Webhook.Settings(url="https://hooks.example.com/in"), Cap(100))
    os.environ.setdefault("BENCHMARK_KEY", "benchmark-key-0123456789abcdef")
    settings = Braze.Settings(endpoint="https://rest.iad-01.braze.com", api_key=Secret("${BENCHMARK_KEY}"))
    with running_sandbox() as sandbox:
        sender = Sender()
        if fault is not None:
            sandbox.fault(destination="braze", **fault)
            beside = sender.start(delivery(Connection("braze", "braze", syncs, settings), 20_000, sandbox.url))
        report = sender.start(delivery(hook, calls, sandbox.url)).result()
        assert calls == report.delivered
        if fault is not None:
            sender.stop()
            beside.result()
    return report.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000)
    calls = parser.parse_args().calls
    print(facts())
    alone = measure(calls, None)
    print(f"alone                            {alone:.2f} s")
    for name, fault in TROUBLE.items():
        seconds = measure(calls, fault)
        print(f"beside one that {name:15}  {seconds:.2f} s, {seconds / alone - 1:+.1%}", flush=True)


if __name__ == "__main__":
    main()
