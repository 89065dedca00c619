"""For tests of the sender: an outbox and a journal in memory, and connections to deliver to."""

import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from schemas.calls import Call, Identifier
from schemas.outcomes import Delivered, Expired, Final, Rejected
from schemas.report import Report
from schemas.secret import Secret
from schemas.workspace import Cap, Computation, Connection, Sync, Workspace
from tests.transforms.vendor_server import Seen
from transforms.destinations import find
from transforms.destinations.contract import Memory
from transforms.logic.lanes import Item
from transforms.sender import Delivery, Sender, SenderOptions

COMPUTATIONS = (
    Computation("Big spenders", "audience", "big_spenders", "computation-1"),
    Computation("Total revenue", "trait", "total_revenue", "computation-2"),
)
FAST = SenderOptions(retry_for=5.0, connect_timeout=1.0, read_timeout=0.3, finish_within=0.5)


@dataclass
class Outbox:
    """Chunks of calls; the place of a call is its number."""

    calls: Sequence[Call]
    chunk: int = 500
    read_so_far: int = 0

    def size(self) -> int:
        return len(self.calls)

    def read(self) -> Iterator[list[Item]]:
        for start in range(0, len(self.calls), self.chunk):
            part = self.calls[start : start + self.chunk]
            self.read_so_far += len(part)
            yield [Item(start + n, call) for n, call in enumerate(part)]


@dataclass
class Journal:
    """What the sender wrote down."""

    marked: list[int] = field(default_factory=list)  # in order of their attempts
    unmarked: list[int] = field(default_factory=list)
    out_of_reach: dict[int, float] = field(default_factory=dict)  # since when
    final: dict[int, Final] = field(default_factory=dict)
    memories: list[Memory] = field(default_factory=list)
    closed: bool = False

    def sent(self, refs: Sequence[int]) -> None:
        assert not self.closed
        assert not self.final.keys() & set(refs), "a call with its final outcome is sent again"
        self.marked += refs

    def unsent(self, refs: Sequence[int]) -> None:
        self.unmarked += refs

    def unreached(self, refs: Sequence[int], since: float) -> None:
        self.out_of_reach |= dict.fromkeys(refs, since)

    def settled(self, items: Sequence[tuple[Item, Final]]) -> None:
        assert not self.closed
        for item, outcome in items:
            assert item.ref not in self.final, "a call has two final outcomes"
            self.final[item.ref] = outcome

    def remember(self, memory: Memory) -> None:
        self.memories.append(deepcopy(memory))

    def close(self) -> None:
        self.closed = True

    def delivered(self) -> list[int]:
        return sorted(ref for ref, outcome in self.final.items() if isinstance(outcome, Delivered))

    def rejected(self) -> dict[int, str]:
        return {ref: outcome.reason for ref, outcome in self.final.items() if isinstance(outcome, Rejected)}

    def expired(self) -> list[int]:
        return sorted(ref for ref, outcome in self.final.items() if isinstance(outcome, Expired))

    def maybe(self) -> set[int]:
        """Without an outcome, but perhaps at the vendor."""
        standing = set()
        for ref in self.marked:
            standing.add(ref)
        return standing - set(self.unmarked) - self.final.keys()


@dataclass
class Delivering:
    """A delivery under way."""

    delivery: Delivery
    journal: Journal
    outbox: Outbox
    sender: Sender
    future: Any

    def report(self, within: float = 30.0) -> Report:
        report: Report = self.future.result(within)
        settled = len(self.journal.final)
        assert len(self.outbox.calls) == settled + report.pending, "the calls do not add up"
        assert settled == report.delivered + report.rejections + report.expired
        assert self.journal.closed
        return report


def connect(
    slug: str, settings: dict[str, Any], name: str = "", cap: Cap | None = None, **more: Any
) -> tuple[Workspace, Connection]:
    """A workspace of one connection; a setting `${NAME}` is a secret."""
    kind = find(slug)
    assert kind
    made = {
        key: Secret(value) if isinstance(value, str) and value.startswith("${") else value
        for key, value in settings.items()
    }
    syncs = tuple(
        Sync(c.key, ("identify", "track")) for c in COMPUTATIONS if kind.kind == "event" or c.kind == "audience"
    )
    connection = Connection(name or slug, slug, syncs, kind.Settings(**made), cap, **more)
    return Workspace("shop", COMPUTATIONS, (connection,)), connection


def webhook(name: str = "hook", cap: Cap | None = None, **settings: Any) -> tuple[Workspace, Connection]:
    """A webhook of its own host."""
    return connect("webhook", {"url": f"https://{name}.example.com/in", **settings}, name, cap)


def braze(**settings: Any) -> tuple[Workspace, Connection]:
    """Its key is in the variable BRAZE."""
    return connect("braze", {"endpoint": "https://rest.braze.example", "api_key": "${BRAZE}", **settings})


def errors_of(seen: Seen, indexes: set[int]) -> list[dict[str, Any]]:
    """As Braze reports attributes of these places that it does not take."""
    return [
        {"type": "the email is not valid", "input_array": "attributes", "index": index}
        for index in sorted(indexes)
        if index < len(seen.json["attributes"])
    ]


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for it."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


def start(
    calls: Sequence[Call],
    connected: tuple[Workspace, Connection],
    options: SenderOptions,
    sender: Sender | None = None,
    memory: Memory | None = None,
    first_sync: bool = False,
) -> Delivering:
    """Begin to deliver."""
    outbox, journal, sender = Outbox(calls), Journal(), sender or Sender()
    delivery = Delivery(*connected, outbox, journal, {} if memory is None else memory, options, first_sync)
    return Delivering(delivery, journal, outbox, sender, sender.start(delivery))


def identify(number: int, value: Any = True, key: str = "big_spenders", **more: Any) -> Call:
    """Tell person `number` something."""
    identifier = Identifier("email", f"person-{number}@example.com")
    return Call(f"p{number}", "identify", identifier, key, value, 1_000_000, **more)


def track(number: int, value: Any, at: int) -> Call:
    """Report an occurrence to person `number`."""
    return Call(f"p{number}", "track", Identifier("email", f"person-{number}@example.com"), "total_revenue", value, at)


def people(number: int) -> list[Call]:
    """One identify call each."""
    return [identify(n) for n in range(number)]
