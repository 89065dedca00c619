"""For tests of the sender: deliveries of logs in memory, and connections to deliver to."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import structs

from schemas.calls import Call, Identifier
from schemas.outcomes import Delivered, Expired, Final, Rejected, Superseded
from schemas.report import Report
from schemas.secret import Secret
from schemas.workspace import Cap, Computation, Connection, Sync, Workspace
from tests.sending.memory_log import MemoryCaps, MemoryLog
from tests.sending.vendor_server import Seen
from transforms.destinations import find
from transforms.sending.log import Mark, Waiting
from transforms.sending.sender import Active, Delivery, Sender, SenderOptions

COMPUTATIONS = (
    Computation("Big spenders", "audience", "big_spenders", "computation-1"),
    Computation("Total revenue", "trait", "total_revenue", "computation-2"),
)
FAST = SenderOptions(retry_for=5.0, connect_timeout=1.0, read_timeout=0.3, finish_within=0.5)


@dataclass
class Delivering:
    """A delivery under way. Calls are spoken of by their place, from 0; their asks are one more."""

    delivery: Delivery
    log: MemoryLog
    caps: MemoryCaps
    sender: Sender
    future: Any

    def report(self, within: float = 30.0) -> Report:
        report: Report = self.future.result(within)
        made = sum(call.kind != "cancel" for call in self.log.calls.values())
        assert made == self.settled + self.log.waiting()
        assert report.settled == self.settled
        assert report.pending == self.log.waiting(), "the calls do not add up"
        assert self.log.closed
        return report

    @property
    def settled(self) -> int:
        return sum(receipt.kind != "cancel" for receipt in self.log.receipts.values())

    @property
    def final(self) -> dict[int, Final]:
        return finals(self.log)

    def delivered(self) -> list[int]:
        return [ask - 1 for ask in self.log.of("delivered")]

    def rejected(self) -> dict[int, str]:
        return {ask - 1: r.reason for ask, r in sorted(self.log.receipts.items()) if r.fate == "rejected"}

    def expired(self) -> list[int]:
        return [ask - 1 for ask in self.log.of("expired")]

    def superseded(self) -> list[int]:
        return [ask - 1 for ask in self.log.of("superseded")]

    def maybe(self) -> set[int]:
        return {ask - 1 for ask in self.log.maybe()}

    @property
    def marked(self) -> list[int]:
        return [ask - 1 for ask in self.log.marked]

    @property
    def unmarked(self) -> list[int]:
        return [ask - 1 for ask in self.log.unmarked]


def finals(log: MemoryLog) -> dict[int, Final]:
    """Outcomes by place, as receipts and dead letters tell them."""
    found: dict[int, Final] = {}
    for ask, receipt in log.receipts.items():
        letter = log.letters.get(ask)
        words, attempts = (letter.answer, letter.attempts) if letter else ("", 0)
        match receipt.fate:
            case "delivered":
                found[ask - 1] = Delivered()
            case "rejected":
                found[ask - 1] = Rejected(receipt.reason, words, receipt.maybe, attempts)  # type: ignore[arg-type]
            case "expired":
                found[ask - 1] = Expired(words, receipt.maybe, attempts)
            case "superseded":
                found[ask - 1] = Superseded(receipt.maybe)
    return found


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
        Sync(c.key, forms=kind.forms) for c in COMPUTATIONS if "list" not in kind.forms or c.kind == "audience"
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


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for it."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


def delivery_of(
    calls: Sequence[Call | Waiting],
    connected: tuple[Workspace, Connection],
    options: SenderOptions,
    first_sync: bool = False,
    log: MemoryLog | None = None,
    caps: MemoryCaps | None = None,
    facts: dict[str, Any] | None = None,
    **more: Any,
) -> Delivery:
    """Of a log in memory; without `first_sync`, of a connection that was delivered before."""
    log = log or MemoryLog(placed(calls))
    active = {slot: Active(1) for slot in {call.slot for call in log.calls.values()} | set(SLOTS.values())}
    active |= more.pop("active", {})
    if not first_sync:
        log.kept.setdefault("proved", {str(slot): each.epoch for slot, each in active.items()})
    log.kept |= facts or {}
    return Delivery(*connected, log, caps or MemoryCaps(), active, 0, options, **more)


def start(
    calls: Sequence[Call | Waiting],
    connected: tuple[Workspace, Connection],
    options: SenderOptions,
    sender: Sender | None = None,
    first_sync: bool = False,
    **more: Any,
) -> Delivering:
    """Begin to deliver."""
    delivery, sender = delivery_of(calls, connected, options, first_sync, **more), sender or Sender()
    log, caps = delivery.log, delivery.caps
    assert isinstance(log, MemoryLog)
    assert isinstance(caps, MemoryCaps)
    return Delivering(delivery, log, caps, sender, sender.start(delivery))


SLOTS: dict[tuple[str, str], int] = {}


def slot_of(kind: str, key: str) -> int:
    """A number for each form and key."""
    return SLOTS.setdefault(("list" if kind in ("add", "remove") else kind, key), len(SLOTS) + 1)


def placed(calls: Sequence[Call | Waiting], first: int = 1) -> list[Call | Waiting]:
    """With asks in their order, slots and epochs, where they have none."""
    found: list[Call | Waiting] = []
    for number, each in enumerate(calls, first):
        call = each.call if isinstance(each, Waiting) else each
        if call.kind == "cancel":
            found.append(call)
            continue
        call = structs.replace(
            call, ask=call.ask or number, slot=call.slot or slot_of(call.kind, call.key), epoch=call.epoch or 1
        )
        found.append(Waiting(call, each.mark) if isinstance(each, Waiting) else call)
    return found


def failing(call: Call, since: float) -> Waiting:
    """A call that an earlier run had no success with."""
    return Waiting(call, Mark(since))


def identify(number: int, value: Any = True, key: str = "big_spenders", **more: Any) -> Call:
    """Tell person `number` something."""
    identifier = Identifier("email", f"person-{number}@example.com")
    return Call(f"p{number}", "identify", identifier, key, value, 1_000_000, 0, computation=key, sync=key, **more)


def track(number: int, value: Any, at: int, **more: Any) -> Call:
    """Report an occurrence to person `number`."""
    identifier, key = Identifier("email", f"person-{number}@example.com"), "total_revenue"
    return Call(f"p{number}", "track", identifier, key, value, at, 0, computation=key, sync=key, **more)


def people(number: int) -> list[Call]:
    """One identify call each."""
    return [identify(n) for n in range(number)]
