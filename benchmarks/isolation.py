"""A connection beside one whose vendor is in trouble: it takes no longer than alone, and nothing of the other is lost.

    python -m benchmarks.isolation [--calls 1000] [--only NAME …]

Webhook calls at 100/s; beside them 200,000 calls for a Braze, HubSpot or Zendesk in trouble (`benchmarks.troubles`).
Both go through one sender, in a process of its own for each trouble; the vendors are one sandbox, in this process. When
the webhook has everything, the run is stopped. Then, or the exit code is 1:

* the webhook had everything, in at most 1.1 times the time that it takes alone
* the vendor saw at most its cap in any sliding second; one that is well, nearly all of it
* receipts and report agree: delivered + rejected + expired + waiting = all; what is delivered the vendor was told, and
  it was told nothing that is not delivered, or may have arrived
* the process's peak memory is at most 16 MB above what it is alone
* the trouble was there, the connection went on, and where some calls could get through, some did
"""

import argparse
import gc
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import msgspec
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from benchmarks.bounds import Seen, mistakes
from benchmarks.faulty import Sent, send
from benchmarks.machine import facts
from benchmarks.receiver import peak
from benchmarks.troubles import ALONE, BY_NAME, TROUBLES, Trouble
from sandbox.testing import RunningSandbox, running_sandbox

COLUMNS = (
    "beside one that",
    "time / alone",
    "most in 1 s / cap",
    "delivered",
    "rejected",
    "may be",
    "MB more",
    "answers",
)


def measure(trouble: Trouble, calls: int) -> Seen:
    """One process, before a sandbox of its own."""
    with tempfile.TemporaryDirectory() as folder, running_sandbox(record=Path(folder) / "requests") as sandbox:
        sent = _run(trouble, calls, sandbox)
        sandbox.stats()  # writes the recording out
        lines = map(msgspec.json.decode, (Path(folder) / "requests").read_bytes().splitlines())
        times = sorted(line["at"] for line in lines if line["destination"] == trouble.vendor)
        people = [person for account in sandbox.told(trouble.vendor) for person in account["people"] if person["told"]]
    told = {int(person["identifiers"]["email"].partition("@")[0]) for person in people}
    return Seen(trouble, sent, told, peak(times))


def _run(trouble: Trouble, calls: int, sandbox: RunningSandbox) -> Sent:
    command = [sys.executable, "-m", "benchmarks.isolation", "--calls", str(calls), "--send", trouble.name, sandbox.url]
    sandbox.fault(destination=trouble.vendor, **trouble.faults[0])
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        for second in range(1, 60 + calls // 10):
            try:
                said = process.communicate(timeout=1.0)[0]
            except subprocess.TimeoutExpired:
                if len(trouble.faults) > 1:
                    sandbox.fault(destination=trouble.vendor, **trouble.faults[second % len(trouble.faults)])
                continue
            if process.returncode == 0:
                return msgspec.json.decode(said, type=Sent)
            raise SystemExit(f"the sending process failed beside one that {trouble.name}")
        process.kill()
    raise SystemExit(f"the webhook is not done yet beside one that {trouble.name}")


def table(results: list[Seen], alone: Sent) -> Table:
    shown = Table(box=MARKDOWN)
    for name in COLUMNS:
        shown.add_column(name, justify="left" if name in COLUMNS[::7] else "right", overflow="fold")
    for seen in results:
        sent, report = seen.sent, seen.sent.beside
        shown.add_row(
            seen.trouble.name,
            f"{sent.hook.seconds / alone.hook.seconds:.3f}",
            f"{seen.most} / {seen.trouble.cap or '-'}",
            f"{report.delivered:,}",
            f"{report.rejections:,}",
            f"{sum(map(sent.states.count, 'su')):,}",
            f"{sent.peak - alone.peak:+.0f}",
            ", ".join(f"{status} {count:,}" for status, count in sorted(report.statuses.items())),
        )
    return shown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000, help="for the webhook; below 500 time-outs come too late")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[each.name for each in TROUBLES])
    parser.add_argument("--send", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.send:
        name, gateway = arguments.send
        sys.stdout.buffer.write(msgspec.json.encode(send(BY_NAME[name], arguments.calls, gateway)))
        return 0
    gc.disable()  # what the sandbox is told stays: looking for garbage in it would make it see the next arrivals late
    print(facts())
    alone = min((measure(ALONE, arguments.calls).sent for _ in range(2)), key=lambda sent: sent.hook.seconds)
    print(f"alone: {alone.hook.seconds:.2f} s, {alone.peak:.0f} MB", flush=True)
    results = []
    for trouble in TROUBLES:
        if trouble.name in (arguments.only or BY_NAME):
            results.append(measure(trouble, arguments.calls))
            gc.collect()
    Console(width=150).print(table(results, alone))
    reasons = Counter[str]()
    for seen in results:
        reasons.update(seen.sent.beside.rejected)
    print(f"rejected for: {', '.join(sorted(reasons))}")
    found = [f"{s.trouble.name}: {wrong}" for s in results for wrong in mistakes(s, alone)]
    for line in found:
        print(f"A BOUND IS PASSED beside one that {line}")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
