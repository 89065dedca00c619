"""A streaming job as its users have it: a topic of events, the job, senders, and a vendor that remembers."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import requests
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from scripts.engines.kafka import Broker
from tests.pipeline import running
from tests.pipeline.running import Event, Message

ROOT = Path(__file__).parents[2]
PATIENCE = 180.0  # seconds: engines are slow to start, and machines may be busy
_QUIET = 5.0  # seconds
LATE = 5  # requests that the receiver, which is in this busy process, notices late, or that left when a sender stopped
_number = count(1)


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def until(reached: Callable[[], Any], what: Callable[[], str] = lambda: "it takes too long") -> Any:
    """Its first true value."""
    end = time.monotonic() + PATIENCE
    while not (found := reached()):
        if time.monotonic() > end:
            raise AssertionError(what())
        time.sleep(0.1)
    return found


class Process:
    """A command of profilecast; what it prints is in a file."""

    def __init__(self, log: Path, *arguments: object) -> None:
        self.log = log
        command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
        with log.open("ab") as file:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, start_new_session=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    def text(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def said(self, words: str) -> bool:
        if self._process.poll() not in (None, 0):
            raise AssertionError(self.text())
        return words in self.text()

    @property
    def page(self) -> str:
        """Where a sender serves its page."""
        found = until(lambda: re.findall(r"(http://[^ ]+)/status", self.text()), self.text)
        return str(found[0])

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = requests.get(f"{self.page}/status", timeout=60).json()
        return found

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def wait(self, seconds: float = 60.0) -> int:
        return self._process.wait(seconds)

    def stop(self) -> None:
        if self._process.poll() is None:
            self.send(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(40)
            except subprocess.TimeoutExpired:
                self.kill()
        with suppress(ProcessLookupError):  # the engine that it started
            os.killpg(self._process.pid, signal.SIGKILL)


class World:
    """Each has topics of its own on the broker."""

    def __init__(self, kafka: Broker, root: Path, cap: int = 0) -> None:
        os.environ["XDG_STATE_HOME"] = str(root / "user")
        self.kafka, self.root = kafka, root
        self.at = kafka.servers  # where commands find it
        self.name = f"t{os.getpid()}-{next(_number)}"
        self.events, self.log = f"{self.name}-events", f"{self.name}-log"
        self._stack = ExitStack()
        self.vendor = self._stack.enter_context(running.receiving())
        self.arrived: list[tuple[float, Message]] = []
        self.vendor.answer = self._answer
        self.status = 200
        admin = AdminClient({"bootstrap.servers": kafka.servers})
        for future in admin.create_topics([NewTopic(self.events, 3, 1)]).values():
            future.result(30)
        self._producer = Producer({"bootstrap.servers": kafka.servers, "linger.ms": 5})
        self.workspace = running.workspace(root / "workspace.yaml", "hook", cap=f"{cap}/s" if cap else "")
        self.written: list[Event] = []
        self._logs = count(1)

    def _answer(self, host: str, message: Message) -> int:
        if self.status == 200:
            self.arrived.append((time.time(), message))
        return self.status

    # -- what is started

    def start(self, *arguments: object) -> Process:
        process = Process(self.root / f"{arguments[0]}-{next(self._logs)}.log", *arguments)
        self._stack.callback(process.stop)
        return process

    def job(self, beam: Sequence[str], *more: object) -> Process:
        """Submit the job."""
        events = ("--events", self._at(self.events)) if "--events" not in more else ()
        job = self.start(
            "run", "--streaming", "--workspace", self.workspace, *events, "--log", self._at(self.log), *beam, *more
        )
        until(lambda: job.said("submitting"), job.text)
        return job

    def sender(self, *more: object) -> Process:
        sender = self.start(
            "send", "--log", self._at(self.log), "--gateway", self.vendor.url, "--status-port", 0, *more
        )
        until(lambda: job_or_waiting(sender), sender.text)
        return sender

    def publish(self, *more: object) -> Process:
        return self.start("publish", "--workspace", self.workspace, "--log", self._at(self.log), *more)

    def _at(self, name: str) -> str:
        return f"kafka://{self.at}/{name}"

    def stop(self) -> None:
        self._stack.close()

    # -- what happens

    def write(self, events: Iterable[Event]) -> None:
        for event in events:
            self.written.append(event)
            self._producer.produce(
                self.events, json.dumps(event).encode(), (event.get("profile_id") or event["account_id"]).encode()
            )
            self._producer.poll(0)
        assert not self._producer.flush(30)

    def write_message(self, message: dict[str, Any]) -> None:
        """In Segment's format. What should come of it the test knows."""
        self._producer.produce(self.events, json.dumps(message).encode())
        assert not self._producer.flush(30)

    # -- what should have come of it

    def wanted(self, key: str = "score") -> dict[tuple[str, str], Any]:
        """The newest value of the trait for each identifier, of everybody who has one: the slow obvious way."""
        ids: dict[str, set[str]] = {}
        newest: dict[str, tuple[str, Any]] = {}
        for event in self.written:
            who = event["profile_id"]
            for each in event.get("external_ids", ()):
                ids.setdefault(who, set()).add(each["id"])
            if event.get("computation") == key:
                newest[who] = max(newest.get(who, ("", None)), (event["at"], event["value"]), key=lambda each: each[0])
        return {(each, key): value for who, (_, value) in newest.items() for each in ids.get(who, ())}

    def members(self) -> set[str]:
        """The identifiers of everybody who is in the audience."""
        ids: dict[str, set[str]] = {}
        newest: dict[str, tuple[str, bool]] = {}
        for event in self.written:
            who = event["profile_id"]
            for each in event.get("external_ids", ()):
                ids.setdefault(who, set()).add(each["id"])
            if event["type"] == "audience":
                newest[who] = max(newest.get(who, ("", False)), (event["at"], event["member"]))
        return {each for who, (_, member) in newest.items() if member for each in ids.get(who, ())}

    def told(self, key: str = "score") -> dict[tuple[str, str], Any]:
        """What the vendor heard last of each identifier."""
        found = {}
        for _, message in list(self.arrived):
            traits = message.get("traits") or {}
            if message["type"] == "identify" and key in traits:
                found[identifier_of(message), key] = traits[key]
        return found

    def told_members(self) -> set[str]:
        return {identifier for (identifier, _), value in self.told("vip").items() if value}

    def right(self) -> bool:
        return self.told() == self.wanted() and self.told_members() == self.members()

    def difference(self) -> str:
        told, wanted = self.told(), self.wanted()
        wrong = {place: (told.get(place), value) for place, value in wanted.items() if told.get(place) != value}
        logs = "\n".join(f"== {path.name}\n{path.read_text()[-1500:]}" for path in sorted(self.root.glob("*.log")))
        return f"{len(wrong)} of {len(wanted)} differ (told, wanted): {dict(list(wrong.items())[:3])}\n{logs}"

    def settle(self) -> None:
        """Wait until the vendor knows what it should."""
        until(self.right, self.difference)

    def quiet(self) -> int:
        """Wait until the vendor hears nothing for a while; how many messages it heard."""
        heard, since = -1, time.monotonic()
        while len(self.arrived) != heard or time.monotonic() - since < _QUIET:
            if len(self.arrived) != heard:
                heard, since = len(self.arrived), time.monotonic()
            time.sleep(0.1)
        return heard

    def twice(self) -> int:
        """Messages that came more than once."""
        return sum(times - 1 for times in Counter(message["messageId"] for _, message in self.arrived).values())

    def peak(self, seconds: float = 1.0) -> int:
        """The most messages within any so many seconds."""
        times = sorted(at for at, _ in self.arrived)
        first, most = 0, 0
        for last, at in enumerate(times):
            while at - times[first] >= seconds:
                first += 1
            most = max(most, last - first + 1)
        return most


def job_or_waiting(sender: Process) -> bool:
    return sender.said("sending") or sender.said("waiting")


def identifier_of(message: Message) -> str:
    found: str = message.get("userId") or (message.get("traits") or {}).get("email") or ""
    return found


def people(numbers: Iterable[int], value: int = 0) -> Iterable[Event]:
    """Everything about these people: two identifiers, a score, and every second one is a member."""
    for number in numbers:
        who = f"u{number}"
        yield running.profile(who, now(), f"{who}@example.com")
        yield running.score(who, now(), value + number % 100)
        yield running.vip(who, now(), number % 2 == 0)
