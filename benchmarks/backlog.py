"""A backlog on disk: memory, and time until the first request is at the server.

    python -m benchmarks.backlog [--calls 1000000 5000000]

The calls are in a state directory as a run leaves them; each size is delivered for some seconds at 500/s by a process
of its own. Memory is the process's, above what it had before it opened the log.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.deliveries import call, hook
from benchmarks.machine import facts
from benchmarks.receiver import receiver
from pipeline.log import SqliteLog
from pipeline.state_db import StateDb
from schemas.workspace import Cap
from transforms.sending.sender import Sender

SENDING = 3.0  # seconds


PORTION = 50_000  # calls


def write(folder: Path, number: int) -> None:
    """A log of so many calls."""
    with StateDb.use(folder, make=True) as db:
        for start in range(1, number + 1, PORTION):
            with db.portion() as portion:
                portion.append(0, [call(n) for n in range(start, min(start + PORTION, number + 1))])


def resident() -> float:
    """MB of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def measure(number: int) -> None:
    """One line of figures."""
    with tempfile.TemporaryDirectory() as folder, receiver() as there:
        command = [sys.executable, "-m", "benchmarks.backlog", "--write", folder, "--calls", str(number)]
        subprocess.run(command, check=True)
        sender, before, started = Sender(), resident(), time.perf_counter()
        delivery = hook("hook", there.url, 0, Cap(500), SqliteLog(Path(folder) / "state", "hook", 0))
        running = sender.start(delivery)
        while not delivery.report.requests:
            time.sleep(0.001)
        first, most = time.perf_counter() - started, 0.0
        while time.perf_counter() - started < SENDING:
            most = max(most, resident() - before)
            time.sleep(0.05)
        sender.stop()
        report = running.result()
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.db")) / 2**20
    print(
        f"{number:>9,} calls waiting ({size:,.0f} MB on disk): first request sent after {first * 1000:.0f} ms, "
        f"{most:.0f} MB at most, {report.delivered:,} delivered in {report.seconds:.1f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, nargs="+", default=[1_000_000, 5_000_000])
    parser.add_argument("--write", help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        write(Path(arguments.write) / "state", arguments.calls[0])
    elif arguments.child:
        measure(arguments.calls[0])
    else:
        print(facts())
        for number in arguments.calls:
            command = [sys.executable, "-m", "benchmarks.backlog", "--child", "--calls", str(number)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
