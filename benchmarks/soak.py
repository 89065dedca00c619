"""The streaming job for a while, with a fault every minute: is anything lost, does anything grow?

    python -m benchmarks.soak [--minutes 30] [--rate 200] [--people 5000] [--cap 400]

A broker, Flink with RocksDB and checkpoints, Python workers and two senders on this machine, and a vendor that keeps
the last value of each person. Faults take turns: the TaskManager, the workers, the broker or a sender is killed with -9
and started again, or the sender is paused for 40 seconds and goes on beside its successor: the one of the two that
sends.
"""

import argparse
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from subprocess import Popen
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

import requests

from benchmarks.machine import facts
from benchmarks.receiver import peak
from benchmarks.streaming import event, running, waits
from examples.cdnow.topic import writer
from pipeline.streaming.kafka import KafkaProblem
from scripts.engines.flink import Cluster, cluster
from scripts.engines.kafka import Broker, broker
from tests.pipeline.running import receiving

WORKSPACE = """\
workspace: soak
computations: [{name: Score, kind: trait}]
connections:
  - name: hook
    destination: webhook
    cap: %d/s
    settings: {url: "https://hook.example/in"}
    syncs: [{computation: score, as: identify}]
"""


class Heard:
    """What the vendor heard."""

    def __init__(self) -> None:
        self.last: dict[str, int] = {}
        self.messages: Counter[str] = Counter()

    def answer(self, host: str, message: dict[str, Any]) -> int:
        """One at a time."""
        self.messages[message["messageId"]] += 1
        self.last[message["userId"]] = message["traits"]["score"]
        return 200


class Changes:
    """Written in a thread, so many a second, as long as the block lasts. `newest`: of each person."""

    def __init__(self, place: str, people: int, rate: int) -> None:
        self._write, self._people, self._rate = writer(place), people, rate
        self.newest: dict[str, int] = {}
        self._ended = Event()
        self._thread = Thread(target=self._run)

    def __enter__(self) -> "Changes":
        self._put([line for n in range(self._people) for line in self._of_person(n)])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _of_person(self, number: int) -> list[bytes]:
        who = {"external_ids": [{"type": "user_id", "id": f"u{number}"}]}
        return [event("profile", number, **who), self._change(number, 0)]

    def _change(self, number: int, value: int) -> bytes:
        self.newest[f"u{number}"] = value
        return event("trait", number, computation="score", value=value)

    def _run(self) -> None:
        value, began = 0, time.monotonic()
        while not self._ended.is_set():
            due = int((time.monotonic() - began) * self._rate)
            if due > value:
                self._put([self._change(each % self._people, each) for each in range(value + 1, due + 1)])
                value = due
            time.sleep(0.05)

    def _put(self, lines: list[bytes]) -> None:
        """The broker may be away for a while."""
        while True:
            try:
                self._write(lines)
                return
            except KafkaProblem:
                time.sleep(1.0)


class Sender:
    """A process of `profilecast send`, with a log of its own."""

    def __init__(self, process: "Popen[bytes]", log: Path) -> None:
        self.process, self._log = process, log

    def sends(self) -> bool:
        """Whether it said that it took the connection over, and not that it gave it up."""
        text = self._log.read_text("utf-8", "replace")
        return text.count("takes over hook") > text.count("gives up hook")


class Place:
    """Everything that runs, and what may happen to it."""

    def __init__(self, stack: ExitStack, root: Path, heard: Heard, cap: int) -> None:
        self._stack, self._root = stack, root
        self.kafka: Broker = stack.enter_context(broker(root / "kafka"))
        self.flink: Cluster = stack.enter_context(cluster(root / "flink"))
        self.vendor = stack.enter_context(receiving())
        self.vendor.answer = heard.answer
        self._log = f"kafka://{self.kafka.servers}/log"
        self.events = f"kafka://{self.kafka.servers}/profiles"
        self._workspace = root / "workspace.yaml"
        self._workspace.write_text(WORKSPACE % cap)
        self.senders: list[Sender] = []
        self._started = 0  # of these, ever

    def start(self) -> None:
        what = ("--workspace", self._workspace, "--events", self.events, "--log", self._log)
        job = ("run", "--streaming", *what, *self.flink.beam, "--parallelism=2")
        self._stack.enter_context(running(self._root / "job.log", *job))
        waits(self.flink.jobs)
        self.senders = [self._sender(), self._sender()]

    def _sender(self) -> "Sender":
        self._started += 1
        log = self._root / f"send-{self._started}.log"
        more = ("send", "--log", self._log, "--gateway", self.vendor.url, "--status-port", 0)
        return Sender(self._stack.enter_context(running(log, *more)), log)

    def _sending(self) -> "Sender":
        """The sender that has the connection."""
        while not (found := [each for each in self.senders if each.sends()]):
            time.sleep(0.2)
        return found[0]

    def kill_task_manager(self) -> None:
        self.flink.task_manager.stop(hard=True)
        self.flink.start_task_manager()

    def kill_workers(self) -> None:
        self.flink.workers.restart(after=2.0)

    def kill_broker(self) -> None:
        self.kafka.restart(after=3.0)

    def kill_sender(self) -> None:
        sending = self._sending()
        sending.process.kill()
        self.senders = [each for each in self.senders if each is not sending] + [self._sender()]

    def pause_sender(self) -> None:
        sending = self._sending()
        sending.process.send_signal(signal.SIGSTOP)
        time.sleep(40.0)
        if not any(each.sends() for each in self.senders if each is not sending):
            raise SystemExit("nobody took the place of the sender that was paused")
        sending.process.send_signal(signal.SIGCONT)

    def sizes(self) -> str:
        """Memory in MB, and the size of the last checkpoint."""
        workers, task_manager = self.flink.workers.process.pid, self.flink.task_manager.process.pid
        found = [resident(workers), max(resident(each.process.pid) for each in self.senders), resident(task_manager)]
        return " | ".join(f"{each:,.0f}" for each in (*found, self._checkpoint() / 1_000))

    def _checkpoint(self) -> int:
        for job in self.flink.jobs():
            root = f"http://127.0.0.1:{self.flink.rest}/jobs/{job}/checkpoints"
            last = requests.get(root, timeout=30).json().get("latest", {}).get("completed")
            return int(last["state_size"]) if last else 0
        return 0


def resident(pid: int) -> float:
    """MB of a process and those that it started."""
    parents: dict[int, int] = {}
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(each.parent.name)] = int(each.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(_resident(each) for each in family)


def _resident(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def soak(place: Place, changes: Changes, heard: Heard, minutes: int) -> None:
    faults: list[Callable[[], None]] = [
        place.kill_task_manager, place.kill_workers, place.kill_broker, place.kill_sender, place.pause_sender,
    ]  # fmt: skip
    told = sum(heard.messages.values())
    print("| minute | fault | told | behind | workers MB | sender MB | TaskManager MB | checkpoint KB |")
    began = time.monotonic()
    for minute, fault in zip(range(1, minutes + 1), cycle(faults), strict=False):
        before = told
        fault()
        time.sleep(max(0.0, began + 60.0 * minute - time.monotonic()))
        behind = sum(heard.last.get(who) != value for who, value in list(changes.newest.items()))
        told = sum(heard.messages.values())
        counts = f"{fault.__name__.replace('_', ' ')} | {told - before:,} | {behind:,}"
        print(f"| {minute} | {counts} | {place.sizes()} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--rate", type=int, default=200, help="changes a second")
    parser.add_argument("--people", type=int, default=5_000)
    parser.add_argument("--cap", type=int, default=400, help="requests a second")
    options = parser.parse_args()
    print(facts())
    heard = Heard()
    with ExitStack() as stack:
        root = Path(stack.enter_context(TemporaryDirectory()))
        os.environ["XDG_STATE_HOME"] = str(root / "user")
        place = Place(stack, root, heard, options.cap)
        changes = stack.enter_context(Changes(place.events, options.people, options.rate))
        place.start()
        waits(lambda: len(heard.last) == options.people)
        soak(place, changes, heard, options.minutes)
        changes.end()
        ended = time.monotonic()
        waits(lambda: heard.last == changes.newest)
        repeated = sum(heard.messages.values()) - len(heard.messages)
        print(
            f"All of {options.people:,} people told their newest value {time.monotonic() - ended:.0f} s after the last "
            f"change. {sum(heard.messages.values()):,} messages, {repeated:,} of them a second time; at most "
            f"{peak(sorted(place.vendor.times))} came in a second, the cap is {options.cap}."
        )


if __name__ == "__main__":
    main()
