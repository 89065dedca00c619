"""The streaming job: events per second through its folds, and how long from a topic to the vendor.

    python -m benchmarks.streaming [--flink [--subtasks 2] [--processes 2]] [--people 10000] [--rate 200]
        [--seconds 20] [--unchanged] [--refusing | --backfill]

A broker and an engine on this machine (`scripts/install_engines.sh`), the job with one worker process, a sender, and a
vendor that takes whatever comes. When the job has made its first call, the topic gets the events of so many people, as
fast as it takes them: four of each, far apart, of which two say nothing new. Measured is until all their calls are in
their topic. Then it gets so many changes a second, of people who are known: measured is from each to its call, and from
there to the vendor. With `--unchanged` there are as many events besides that say nothing new.

With `--refusing` all of it goes to a second vendor too; then as many changes are written while that one answers 503 to
everything. With `--backfill` a second connection is published, and as many changes are written while everybody is told
to that one for the first time.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

from confluent_kafka import OFFSET_END, TopicPartition
from msgspec.msgpack import Decoder

from benchmarks.machine import facts
from examples.cdnow.topic import writer
from pipeline.streaming.kafka import Kafka, address, ends, partitions
from schemas.calls import Call
from scripts.engines import PRISM
from scripts.engines.flink import cluster
from scripts.engines.kafka import broker

WORKSPACE = """\
workspace: benchmark
computations: [{name: Score, kind: trait}]
connections:
  - name: hook
    destination: webhook
    cap: 1000/s
    settings: {url: "https://hook.example/in"}
    syncs: [{computation: score, as: identify}]
"""
SECOND = """\
  - name: second
    destination: webhook
    cap: 1000/s
    settings: {url: "https://second.example/in"}
    syncs: [{computation: score, as: identify}]
"""
_PATIENCE = 1_800.0  # seconds
_call = Decoder(Call).decode


class Second:
    """What the second vendor heard: the last value of each person, and how many messages. It may refuse them all."""

    def __init__(self) -> None:
        self.refuses, self.messages, self.last = False, 0, dict[str, int]()

    def hear(self, message: dict[str, Any]) -> int:
        if self.refuses:
            return 503
        self.messages += 1
        self.last[message["userId"]] = message["traits"]["score"]
        return 200

    def knows(self, values: range, people: int) -> bool:
        """Whether it heard last the newest value of everybody who changed."""
        return all(self.last.get(f"u{person}") == value for value, person in newest(values, people).items())


@contextmanager
def vendor(answer: Callable[[str, dict[str, Any]], int]) -> Iterator[str]:
    """A vendor's address; `answer` gets the path and the message of each request, and says the status."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.send_response(answer(self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def running(log: Path, *arguments: object) -> "Iterator[subprocess.Popen[bytes]]":
    with log.open("ab") as file:
        command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def event(kind: str, number: int, **more: Any) -> bytes:
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"type": kind, "profile_id": f"u{number}", "at": at, **more}).encode()


def history(people: range) -> list[bytes]:
    """Four events of each, of which two say nothing new; the last makes the call. Those of a person are far apart."""
    valued = [event("trait", each, computation="score", value=-each - 1) for each in people]
    known = [event("profile", each, external_ids=[{"type": "user_id", "id": f"u{each}"}]) for each in people]
    return valued * 3 + known


def written(log: Kafka, topic: str) -> int:
    consumer = log.consumer()
    try:
        return sum(ends(consumer, topic, each)[1] for each in range(partitions(log, topic)))
    finally:
        consumer.close()


def folding(log: Kafka, write: Callable[[list[bytes]], object], people: int) -> float:
    """Seconds from the first event that is written until the calls of all these people are in their topic."""
    calls = log.topic("calls", "hook")
    write(history(range(1)))
    waits(lambda: partitions(log, calls) and written(log, calls))
    events = history(range(1, people + 1))
    began = time.monotonic()
    write(events)
    waits(lambda: written(log, calls) > people)
    return time.monotonic() - began


def waits(true: Callable[[], object]) -> None:
    end = time.monotonic() + _PATIENCE
    while not true():
        if time.monotonic() > end:
            raise SystemExit("it takes too long")
        time.sleep(0.2)


def is_read(log: Kafka) -> bool:
    """Whether the job has folded all receipts: it commits what it has. Ends of transactions may be behind them."""
    topic = log.topic("facts")
    consumer = log.consumer(group_id=log.topic("job"))
    try:
        places = [TopicPartition(topic, each) for each in range(partitions(log, topic))]
        consumer.assign(consumer.committed(places, timeout=30))
        return not consumer.consume(1, timeout=1)
    finally:
        consumer.close()


def changes(
    write: Callable[[list[bytes]], object], people: int, rate: int, values: range, unchanged: bool
) -> dict[int, float]:
    """So many a second; when each value was written. `unchanged`: with each one event that says nothing new."""
    sent = dict[int, float]()
    began = time.monotonic()
    for number, value in enumerate(values):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        sent[value] = time.time()
        write([event("trait", value % people, computation="score", value=value), *([same(value, people)] * unchanged)])
    return sent


def same(value: int, people: int) -> bytes:
    """An event that says nothing new, of somebody who is not about to change, when this value is written."""
    last = value - people // 2
    who = last % people
    return event("trait", who, computation="score", value=last if last > 0 else -who - 1)


@contextmanager
def following(log: Kafka, decided: dict[Any, float]) -> Iterator[None]:
    """Notes when the call for each value came into its topic: the sender deletes what is settled."""
    consumer, done = log.consumer(), Event()
    consumer.assign([TopicPartition(log.topic("calls", "hook"), 0, OFFSET_END)])

    def follow() -> None:
        while not done.is_set():
            for message in consumer.consume(500, 0.2):
                if value := message.value():
                    decided[_call(value).value] = message.timestamp()[1] / 1000

    thread = Thread(target=follow)
    thread.start()
    yield
    done.set()
    thread.join()
    consumer.close()


def shares(name: str, seconds: list[float]) -> None:
    cuts = quantiles(seconds, n=100)
    print(f"    {name}: p50 {cuts[49]:.2f} s, p95 {cuts[94]:.2f} s, p99 {cuts[98]:.2f} s")


class Told:
    """Changes, and how long each takes to the vendor."""

    def __init__(
        self, log: Kafka, heard: dict[Any, float], write: Callable[[list[bytes]], object], options: argparse.Namespace
    ) -> None:
        self._log, self._heard, self._write, self._options = log, heard, write, options

    def measure(self, values: range, what: str) -> None:
        calls: dict[Any, float] = {}
        with following(self._log, calls):
            options = self._options
            sent = changes(self._write, options.people, options.rate, values, options.unchanged)
            waits(lambda: self._heard.keys() >= newest(values, self._options.people).keys())
        same = ", and as many events that say nothing new" if options.unchanged else ""
        print(f"{options.rate} changes a second{same} for {options.seconds} s, {what}:")
        told = [value for value in sent if value in self._heard and value in calls]  # others gave way to newer ones
        shares("into the topic of calls", [calls[value] - sent[value] for value in told])
        shares("from there to the vendor", [self._heard[value] - calls[value] for value in told])
        shares("in all", [self._heard[value] - sent[value] for value in told])


def newest(values: range, people: int) -> dict[int, int]:
    """The newest value of each person who changed → that person's number."""
    return {value: value % people for value in values[-people:]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__)
    parser.add_argument("--flink", action="store_true")
    parser.add_argument("--subtasks", type=int, default=1, help="that Flink folds with")
    parser.add_argument("--processes", type=int, default=1, help="of Python, which these share")
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=200, help="changes a second")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--unchanged", action="store_true", help="as many events besides that say nothing new")
    more = parser.add_mutually_exclusive_group()
    more.add_argument("--refusing", action="store_true", help="with a second vendor that refuses everything")
    more.add_argument("--backfill", action="store_true", help="with a second vendor that comes later")
    options = parser.parse_args()
    print(facts())
    heard: dict[Any, float] = {}  # when each value came
    second = Second()

    def answer(path: str, message: dict[str, Any]) -> int:
        if path.startswith("/second.example"):
            return second.hear(message)
        heard.setdefault(message["traits"]["score"], time.time())
        return 200

    with ExitStack() as stack:
        root = Path(stack.enter_context(TemporaryDirectory()))
        os.environ["XDG_STATE_HOME"] = str(root / "user")
        workers = [f"--parallelism={options.subtasks}", f"--sdk_worker_parallelism={options.processes}"]
        kafka = stack.enter_context(broker(root / "kafka"))
        beam = [*stack.enter_context(cluster(root / "flink")).beam, *workers] if options.flink else PRISM
        gateway = stack.enter_context(vendor(answer))
        workspace = root / "workspace.yaml"
        workspace.write_text(WORKSPACE + SECOND * options.refusing)
        place, log = f"kafka://{kafka.servers}/profiles", address(f"kafka://{kafka.servers}/log")
        write, at = writer(place), ("--log", f"kafka://{kafka.servers}/log")
        job = ("run", "--streaming", "--workspace", workspace, "--events", place, *at, *beam)
        stack.enter_context(running(root / "job.log", *job))
        took = folding(log, write, options.people)
        events, engine = 4 * options.people, "Flink" if options.flink else "Prism"
        print(f"{engine}: {events:,} events in {took:.1f} s: {events / took:,.0f} a second")
        sender = ("send", *at, "--gateway", gateway, "--status-port", 0)
        stack.enter_context(running(root / "send.log", *sender))
        began = time.monotonic()
        waits(lambda: len(heard) > options.people)
        print(f"{options.people:,} people told within {time.monotonic() - began:.1f} s of the sender's start")
        waits(lambda: is_read(log))
        print(f"their receipts folded within {time.monotonic() - began:.1f} s")
        number = options.rate * options.seconds
        told = Told(log, heard, write, options)
        told.measure(range(1, number + 1), "all told")
        if options.refusing:
            waits(lambda: second.knows(range(1, number + 1), options.people) and is_read(log))
            before, second.refuses = second.messages, True
            told.measure(range(number + 1, 2 * number + 1), "while the second vendor refuses everything")
            second.refuses = False
            values, began = range(number + 1, 2 * number + 1), time.monotonic()
            waits(lambda: second.knows(values, options.people))
            print(
                f"The second vendor knows all within {time.monotonic() - began:.1f} s: {number:,} changes of "
                f"{len(newest(values, options.people)):,} people in {second.messages - before:,} messages"
            )
        if options.backfill:
            workspace.write_text(WORKSPACE + SECOND)
            began = time.monotonic()
            with running(root / "publish.log", "publish", "--workspace", workspace, *at):
                told.measure(range(number + 1, 2 * number + 1), "while everybody is told to a second vendor")
                print(f"{len(second.last):,} people were told to it {time.monotonic() - began:.1f} s after `publish`")
                waits(lambda: len(second.last) > options.people - 1)
            print(f"and all {options.people:,} {time.monotonic() - began:.1f} s after it")


if __name__ == "__main__":
    main()
