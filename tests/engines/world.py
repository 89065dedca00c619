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
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from benchmarks.receiver import peak
from scripts.engines.kafka import Broker
from tests.engines.heard import Heard, gone_back, identifier_of, occurrences, wanted_occurrences
from tests.engines.heard import again as told_again
from tests.pipeline import running
from tests.pipeline.running import Event, Message
from transforms.logic.inflight import FEWEST

ROOT = Path(__file__).parents[2]
PATIENCE = 180.0  # seconds: engines are slow to start, and machines may be busy
_QUIET = 5.0  # seconds
HOOK = "hook.example"  # the vendor of most tests
LEAVING = 1  # requests of a paused sender that were leaving: it had looked whether it may
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


def delete_records(servers: str, topic: str, before: int, partition: int = 0) -> None:
    """Let the records of a partition before this offset be gone."""
    admin = AdminClient({"bootstrap.servers": servers})
    for future in admin.delete_records([TopicPartition(topic, partition, before)]).values():
        future.result(30)


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

    def owns(self, connection: str = "hook") -> bool:
        """Whether a sender that lives, or is paused, said that it took the connection over, and did not give it up."""
        text = self.text()
        taken = text.count(f"takes over {connection}") > text.count(f"gives up {connection}")
        return taken and self._process.poll() is None

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

    def __init__(self, kafka: Broker, root: Path) -> None:
        os.environ["XDG_STATE_HOME"] = str(root / "user")
        self.kafka, self.root = kafka, root
        self.at = kafka.servers  # where commands find it
        self.name = f"t{os.getpid()}-{next(_number)}"
        self.events, self.log = f"{self.name}-events", f"{self.name}-log"
        self._stack = ExitStack()
        self.vendor = self._stack.enter_context(running.receiving())
        self.heard: list[Heard] = []
        self.vendor.answer = self._answer
        self.status = 200  # that the vendor of most tests answers
        self.cap = 0  # requests a second; 0: none
        self.senders: list[Process] = []
        admin = AdminClient({"bootstrap.servers": kafka.servers})
        for future in admin.create_topics([NewTopic(self.events, 3, 1)]).values():
            future.result(30)
        self._producer = Producer({"bootstrap.servers": kafka.servers, "linger.ms": 5})
        self.workspace = running.workspace(root / "workspace.yaml", "hook")
        self.written: list[Event] = []
        self._logs = count(1)

    def _answer(self, host: str, message: Message) -> int:
        status = self.status if host == HOOK else 200
        self.heard.append(Heard(self.vendor.times[-1], host, message, status))
        return status

    @property
    def messages(self) -> list[Message]:
        """Those that were taken."""
        return [each.message for each in self.arrived]

    @property
    def arrived(self) -> list[Heard]:
        """What was taken."""
        return [each for each in list(self.heard) if each.status == 200]

    def limit(self, cap: int) -> None:
        """Give the connection a cap, ahead of everything else."""
        self.cap = cap
        running.workspace(self.workspace, "hook", cap=f"{cap}/s")

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
        until(lambda: sender.said("sending") or sender.said("waiting"), sender.text)
        self.senders.append(sender)
        return sender

    def owner(self) -> Process:
        """The one sender that has the connection, when it is not on its way from one to another."""

        def owners() -> list[Process]:
            found = [each for each in self.senders if each.owns()]
            return found if len(found) == 1 else []

        (found,) = until(owners, self.difference)
        return found

    def kill_owner(self, news: Iterable[Event]) -> None:
        """Kill the sender that has the connection while it tells these; another one is there, and takes it over."""
        self.telling(news)
        self.owner().kill()
        until(lambda: any(each.owns() for each in self.senders), self.difference)

    def pause_owner(self, news: Iterable[Event], newer: Iterable[Event]) -> None:
        """Pause the only sender while it tells the news, and let another one tell the newer ones.

        Then the first one goes on, beside its successor, and has to send nothing more.
        """
        first = self.owner()
        requests_before, heard_before = requests_of(first), len(self.heard)
        self.telling(news)
        assert first.owns()
        first.send(signal.SIGSTOP)
        stopped = time.time()
        second = self.sender()
        self.write(newer)
        until(second.owns, second.text)
        until(lambda: self.heard[-1].at > stopped + 1.0, self.difference)
        assert first.owns()  # as far as it knows
        first.send(signal.SIGCONT)
        until(lambda: not first.owns(), first.text)
        until_stopped = sum(each.at <= stopped for each in self.heard) - heard_before
        assert until_stopped > 0
        assert requests_of(first) - requests_before <= until_stopped + LEAVING

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

    def telling(self, events: Iterable[Event]) -> None:
        """Write them, and wait until the vendor has heard some: for half a second at the cap."""
        heard = len(self.heard)
        self.write(events)
        until(lambda: len(self.heard) > heard + self.cap // 2, self.difference)

    def write_message(self, message: dict[str, Any]) -> None:
        """In Segment's format. What should come of it the test knows."""
        self._producer.produce(self.events, json.dumps(message).encode())
        assert not self._producer.flush(30)

    # -- what should have come of it

    def ids(self) -> dict[str, set[str]]:
        """The identifiers of everybody."""
        found: dict[str, set[str]] = {}
        for event in self.written:
            found.setdefault(event["profile_id"], set()).update(each["id"] for each in event.get("external_ids", ()))
        return found

    def wanted(self, key: str = "score") -> dict[tuple[str, str], Any]:
        """The newest value of the trait for each identifier, of everybody who has one: the slow obvious way."""
        newest: dict[str, tuple[str, Any]] = {}
        for event in self.written:
            if event.get("computation") == key:
                who = event["profile_id"]
                newest[who] = max(newest.get(who, ("", None)), (event["at"], event["value"]), key=lambda each: each[0])
        ids = self.ids()
        return {(each, key): value for who, (_, value) in newest.items() for each in ids[who]}

    def members(self) -> set[str]:
        """The identifiers of everybody who is in the audience."""
        newest: dict[str, tuple[str, bool]] = {}
        for event in self.written:
            if event["type"] == "audience":
                who = event["profile_id"]
                newest[who] = max(newest.get(who, ("", False)), (event["at"], event["member"]))
        ids = self.ids()
        return {each for who, (_, member) in newest.items() if member for each in ids[who]}

    def told(self, key: str = "score", host: str = HOOK) -> dict[tuple[str, str], Any]:
        """What a vendor heard last of each identifier."""
        found = {}
        for each in self.arrived:
            traits = each.message.get("traits") or {}
            if each.host == host and each.message["type"] == "identify" and key in traits:
                found[identifier_of(each.message), key] = traits[key]
        return found

    def told_members(self) -> set[str]:
        return {identifier for (identifier, _), value in self.told("vip").items() if value}

    def right(self) -> bool:
        return self.told() == self.wanted() and self.told_members() == self.members()

    def difference(self) -> str:
        told, wanted = self.told(), self.wanted()
        wrong = {place: (told.get(place), value) for place, value in wanted.items() if told.get(place) != value}
        members, told_members = self.members(), self.told_members()
        in_only, told_only = sorted(members - told_members), sorted(told_members - members)
        logs = "\n".join(f"== {path.name}\n{path.read_text()[-1500:]}" for path in sorted(self.root.glob("*.log")))
        return (
            f"{len(wrong)} of {len(wanted)} differ (told, wanted): {dict(list(wrong.items())[:3])}; "
            f"members who were not told: {in_only[:3]}, others who were: {told_only[:3]}\n{logs}"
        )

    def settle(self) -> None:
        """Wait until the vendor knows what it should."""
        until(self.right, self.difference)

    def ends_well(self, again: int, began_again: str = "") -> None:
        """Wait until all is told; then everything has to be as it was promised, whatever died on the way.

        `again`: how many messages at most may have told what was told before. `began_again`: see `gone_back`.
        """
        self.settle()
        self.quiet()
        assert self.right(), self.difference()
        hook = [each for each in self.arrived if each.host == HOOK]
        assert [] == gone_back(hook, began_again)
        missed = wanted_occurrences(self.written, self.ids()) - occurrences(hook)
        assert not missed, f"nobody was told {len(missed)} of them: {sorted(missed)[:3]}"
        assert told_again(hook) <= again
        if self.cap:
            assert (busiest := self.busiest()) <= self.cap, f"{busiest} requests within a second"

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
        return sum(times - 1 for times in Counter(each.message["messageId"] for each in self.arrived).values())

    def busiest(self) -> int:
        """The most requests that the vendor got within any second, by the clock of the kernel that took them in.

        The sender paces by when it writes them, and leaves room for how much closer they may come on their way.
        """
        return peak(sorted(each.at for each in self.heard if each.host == HOOK))


def requests_of(sender: Process) -> int:
    """How many it sent, as it says."""
    return int(sender.status()["connections"]["hook"]["requests"])


def in_flight(cap: int) -> int:
    """How many requests a sender may have sent without having written down that they were answered.

    Half a second's: an answer takes milliseconds, and the transaction that writes it some more on a busy machine.
    Without a cap, as many as are out at once, and as many whose answers are written.
    """
    return cap // 2 if cap else 2 * FEWEST


def people(numbers: Iterable[int], value: int = 0) -> Iterable[Event]:
    """Everything about these people: two identifiers, a score, and every second one is a member."""
    for number in numbers:
        who = f"u{number}"
        yield running.profile(who, now(), f"{who}@example.com")
        yield running.score(who, now(), value + number % 100)
        yield running.vip(who, now(), number % 2 == 0)
