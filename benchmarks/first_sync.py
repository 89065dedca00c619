"""A first sync: requests per 1,000 people, and hours for a million, beside one call per identifier at the same cap.

    python -m benchmarks.first_sync [--people 1000000] [--real 2000] [--flip 1000]

People have 1.4 e-mail addresses each; one audience, everybody in it. The simulation has the real limiter, lanes,
batches and conversations on a virtual clock: the first batches are talked through with the sandbox, which shows how
many requests a batch and a single call take; the rest of them only take their tokens. Answers come at once.
`--real` people are then delivered by the real sender to the sandbox over HTTP, at true caps. `--flip` people enter the
audience and then leave it, by the real sender without caps: requests of each.
"""

import argparse
import os
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any
from urllib.parse import urlsplit

from benchmarks.deliveries import MadeCalls
from benchmarks.machine import facts
from sandbox import vendor as fake
from sandbox.held_log import NothingKept
from sandbox.server import Options, Sandbox
from sandbox.testing import running_sandbox
from schemas.calls import Call, Identifier
from schemas.canonical import digest
from schemas.secret import Secret
from schemas.workspace import Computation, Connection, Sync, Workspace
from transforms.destinations import find
from transforms.destinations.auth import NO_SESSION
from transforms.destinations.contract import Destination, Reply, Request, headers, target_of
from transforms.logic.caps import effective_limits
from transforms.logic.lanes import Item, Lanes
from transforms.logic.limit import Limiter
from transforms.sending.log import Waiting
from transforms.sending.sender import Active, Delivery, Sender, SenderOptions

KEY = "big_spenders"
TALKED = 5  # batches that are talked through
os.environ.setdefault("BENCHMARK_KEY", "benchmark-key-0123456789abcdef")
_KEY = Secret("${BENCHMARK_KEY}")
_AWS = {"region": "eu-west-1", "access_key_id": "AKIDEXAMPLE", "secret_access_key": _KEY}
SETTINGS: dict[str, dict[str, Any]] = {
    "braze": {"endpoint": "https://rest.iad-01.braze.com", "api_key": _KEY},
    "hubspot": {"access_token": _KEY},
    "zendesk": {"subdomain": "acme", "email": "admin@acme.example", "api_token": _KEY},
    "iterable": {"api_key": _KEY},
    "facebook-custom-audiences": {"ad_account_id": "1234567890", "access_token": _KEY},
    "webhook": {"url": "https://hooks.example.com/in"},
    "vero": {"auth_token": _KEY},
    "klaviyo": {"api_key": _KEY},
    "amazon-kinesis": {**_AWS, "stream": "changes"},
    "amazon-kinesis-firehose": {**_AWS, "stream": "changes"},
    "amazon-eventbridge": _AWS,
    "amazon-lambda": {**_AWS, "function": "on-change"},
    "amazon-s3": {**_AWS, "bucket": "acme"},
    "mailchimp": {"api_key": _KEY, "data_centre": "us6", "audience_id": "a1", "new_members": "subscribed"},
    "sendgrid": {"api_key": _KEY},
    "sendgrid-lists": {"api_key": _KEY},
}


def connected(slug: str) -> tuple[Workspace, Connection, type[Destination]]:
    kind = find(slug)
    assert kind
    connection = Connection(slug, slug, (Sync(computation=KEY, forms=kind.forms[:1]),), kind.Settings(**SETTINGS[slug]))
    return Workspace("benchmark", (Computation("Big spenders", "audience", KEY, KEY),), (connection,)), connection, kind


def kind_of(destination: type[Destination]) -> Any:
    """Of the calls that it takes."""
    return "add" if destination.forms[0] == "list" else "identify"


@dataclass
class People:
    """Two of five have a second address."""

    number: int
    kind: Any  # of their calls
    value: bool = True
    before: bytes | None = None  # digest of what the vendor has

    def size(self) -> int:
        return self.number + sum(1 for n in range(self.number) if n % 5 < 2)

    def calls(self) -> Iterator[Call]:
        asks = count(1)
        for n in range(self.number):
            for address in ("a", "b")[: 2 if n % 5 < 2 else 1]:
                identifier = Identifier("email", f"{address}{n:07}@example.com")
                yield Call(
                    f"customer-{n:07}", self.kind, identifier, KEY, self.value, 1_760_000_000_000_000, next(asks), 1,
                    1, KEY, KEY, traits={"name": "Ann"}, before=self.before,
                )  # fmt: skip


class PeopleLog(MadeCalls):
    """Their calls, made when they are read."""

    def __init__(self, people: People) -> None:
        super().__init__(people.size())
        self._calls, self._read = people.calls(), 0

    def read(self, backfill: bool, after: int, most: int) -> list[Waiting]:
        assert backfill or after == self._read, "each is made once"
        made = [] if backfill else [Waiting(call) for call in islice(self._calls, most)]
        self._read += len(made)
        return made


@dataclass
class Simulation:
    """One destination on a virtual clock."""

    destination: Destination
    limiter: Limiter
    now: float = 0.0
    requests: int = 0
    memory: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sandbox = Sandbox(Options(clock=lambda: self.now))

    def ask(self, endpoint: str) -> None:
        """Take the token of one request, when it is due."""
        self.now += self.limiter.delay(self.now, endpoint)
        self.limiter.take(self.now, endpoint)
        self.requests += 1

    def talk(self, conversation: Generator[Request, Reply, Any]) -> list[str]:
        """Hold a conversation with the sandbox; the endpoint classes of its requests."""
        endpoints = []
        try:
            request = next(conversation)
            while True:
                self.now += request.after
                self.ask(request.endpoint)
                endpoints.append(request.endpoint)
                request = conversation.send(self._reply(request))
        except StopIteration:
            return endpoints

    def _reply(self, request: Request) -> Reply:
        request = self.destination.auth.complete(request, self.destination.settings, NO_SESSION)
        url = urlsplit(request.full_url)
        target = url.path + (f"?{url.query}" if url.query else "")
        sent = {**headers(self.destination, request), "host": url.netloc}
        asked = fake.Request(request.method, url.netloc, target, sent, request.body() or b"", self.sandbox.now())
        answer, _, _ = self.sandbox.handle(asked, self.sandbox.admit(asked, self.now))
        reply = Reply(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.body())
        verdict = self.destination.classify(request, reply, 1_000)
        assert verdict.meaning == "answered", f"the sandbox says {verdict}"
        return reply


def simulate(slug: str, people: int) -> tuple[int, float, float]:
    """Requests, seconds of a first sync, and requests of one call alone."""
    workspace, connection, kind = connected(slug)
    destination = kind(workspace, connection)
    simulation = Simulation(destination, Limiter(effective_limits(kind.limits, connection), 0.0))
    lanes = Lanes(destination.route, destination.unit, destination.batch_of)
    calls = People(people, kind_of(kind), True, digest(False)).calls()
    window = max(2_000, 4 * destination.batch.items)
    pattern: list[str] = []
    alone, number = 0, 0
    while True:
        while sum(lanes.ready.values()) < window and (call := next(calls, None)):
            lanes.add(Item(call))
        batch = lanes.take(simulation.now)
        if not batch:
            return simulation.requests, simulation.now, alone
        told = [item.call for item in batch]
        if not number:
            simulation.talk(destination.prepare({target_of(told[0]): told[0]}))
            alone = _alone(destination, told[:1])
        if number < TALKED:
            pattern = simulation.talk(destination.deliver(told))
        else:
            for endpoint in pattern:
                simulation.ask(endpoint)
        number += 1
        for item in batch:
            lanes.done(item)


def _alone(destination: Destination, calls: list[Call]) -> int:
    """How many requests a single call takes."""
    simulation = Simulation(destination, Limiter((), 0.0))
    simulation.talk(destination.prepare({target_of(call): call for call in calls}))
    return len(simulation.talk(destination.deliver(calls)))


def real(slug: str, people: int) -> tuple[int, float, int, int]:
    """Requests, seconds, delivered calls and 429s of the real sender before the sandbox, in one process."""
    workspace, connection, kind = connected(slug)
    log = PeopleLog(People(people, kind_of(kind), True, digest(False)))
    with running_sandbox() as sandbox:
        options = SenderOptions(gateway=sandbox.url)
        delivery = Delivery(workspace, connection, log, NothingKept(), {1: Active(1)}, 0, options)
        report = Sender().start(delivery).result()
        throttled = sum(account["throttled"] for account in sandbox.stats())
    assert not report.stopped, report.stopped
    return report.requests, report.seconds, report.delivered, throttled


def flip(slug: str, people: int) -> tuple[int, int]:
    """Requests of people who enter an audience, and of the same people when they leave it."""
    workspace, connection, kind = connected(slug)
    leaving = "remove" if kind_of(kind) == "add" else "identify"
    days = (
        People(people, kind_of(kind), True, digest(False)),
        People(people, leaving, False, digest(True)),
    )
    requests = []
    with running_sandbox(capped=False) as sandbox:
        for day in days:
            options = SenderOptions(gateway=sandbox.url)
            delivery = Delivery(workspace, connection, PeopleLog(day), NothingKept(), {1: Active(1)}, 0, options)
            report = Sender().start(delivery).result()
            assert not report.stopped, report.stopped
            assert day.size() == report.delivered
            requests.append(report.requests)
    return requests[0], requests[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--real", type=int, default=2_000)
    parser.add_argument("--flip", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(SETTINGS))
    arguments = parser.parse_args()
    print(facts())
    print(f"{'':26} per 1,000 people          {arguments.people:,} people")
    print(f"{'':26} requests  one per id      hours  one per id  times faster")
    for slug in arguments.only:
        show(slug, arguments.people)
    for slug in arguments.only if arguments.flip else ():
        entered, left = flip(slug, arguments.flip)
        print(f"{slug:26} {arguments.flip:,} people enter: {entered:,} requests, and leave: {left:,}", flush=True)
    for slug in arguments.only if arguments.real else ():
        compare(slug, arguments.real)


def show(slug: str, people: int) -> None:
    started = time.perf_counter()
    requests, seconds, alone = simulate(slug, people)
    _, connection, kind = connected(slug)
    cap = Limiter(effective_limits(kind.limits, connection), 0.0).rate
    single = 1.4 * alone
    line = f"{slug:26} {requests / people * 1000:>8,.1f} {single * 1000:>11,.0f}"
    if cap:
        slow = people * single / cap
        line += f" {seconds / 3600:>10,.2f} {slow / 3600:>11,.2f} {slow / seconds:>13,.1f}"
    else:
        line += "     no cap"
    print(f"{line}   (simulated in {time.perf_counter() - started:.0f} s)", flush=True)


def compare(slug: str, people: int) -> None:
    """The real sender and the simulation over the same people."""
    foreseen, virtual, _ = simulate(slug, people)
    requests, seconds, delivered, throttled = real(slug, people)
    print(
        f"{slug:26} {people:,} people for real: {requests:,} requests (simulated {foreseen:,}), "
        f"{seconds:.1f} s (simulated {virtual:.1f}), {delivered:,} calls delivered, {throttled} times 429",
        flush=True,
    )


if __name__ == "__main__":
    main()
