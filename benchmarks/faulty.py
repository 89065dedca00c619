"""One sender with two connections: a well webhook, and beside it a vendor in trouble."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import Struct
from transforms.sender import Delivery, Sender, SenderOptions

from benchmarks.machine import peak_memory
from benchmarks.troubles import Trouble
from schemas.calls import Call, Identifier
from schemas.outcomes import Delivered, Final, Rejected
from schemas.report import Report
from schemas.secret import Secret
from schemas.workspace import Cap, Computation, Connection, Sync, Workspace
from transforms.destinations import find
from transforms.destinations.contract import Memory
from transforms.logic.lanes import Item

KEY = "big_spenders"
_SYNCS = (Sync(computation=KEY),)
CAP = Cap(100)  # of the webhook
READ_TIMEOUT = 3.0  # seconds: by default a hung request would outlast the measurement
os.environ.setdefault("BENCHMARK_KEY", "benchmark-key-0123456789abcdef")
_KEY = Secret("${BENCHMARK_KEY}")
SETTINGS: dict[str, dict[str, Any]] = {
    "braze": {"endpoint": "https://rest.iad-01.braze.com", "api_key": _KEY, "objects": 10},
    "hubspot": {"refresh_token": _KEY, "client_id": "benchmark", "client_secret": _KEY, "upsert": True},
    "zendesk": {"subdomain": "acme", "email": "admin@acme.example", "api_token": _KEY},
}


@dataclass
class Calls:
    """Identify calls of as many people, made when they are read."""

    number: int
    flawed: bool = False

    def size(self) -> int:
        return self.number

    def read(self) -> Iterator[list[Item]]:
        for start in range(0, self.number, 500):
            yield [Item(n, self._call(n)) for n in range(start, min(start + 500, self.number))]

    def _call(self, n: int) -> Call:
        flaw = n % 20 if self.flawed else 0
        kind: Any = "add" if flaw == 1 else "identify"
        identifier = Identifier("email", f"{n:07}@{'refused.example' if flaw == 2 else 'example.com'}")
        traits = {} if flaw == 3 else {"name": "Ann"}
        return Call(f"customer-{n:07}", kind, identifier, KEY, True, 1_760_000_000_000_000, 0, traits)


class Receipts:
    """A journal in memory, a letter for each call: (w)aits, (s)ent, (d)elivered, (r)ejected, (u)nknown for good."""

    def __init__(self, number: int) -> None:
        self.states = bytearray(b"w" * number)

    def sent(self, refs: Sequence[int]) -> None:
        self._put(refs, "s")

    def unsent(self, refs: Sequence[int]) -> None:
        self._put(refs, "w")

    def unreached(self, refs: Sequence[int], since: float) -> None: ...

    def settled(self, items: Sequence[tuple[Item, Final]]) -> None:
        for item, outcome in items:
            certain = isinstance(outcome, Rejected) and not outcome.maybe
            self._put([item.ref], "d" if isinstance(outcome, Delivered) else "r" if certain else "u")

    def _put(self, refs: Sequence[int], state: str) -> None:
        for ref in refs:
            if self.states[ref] in b"dru":
                raise ValueError("a call that has its outcome is sent, or settled, once more")
            self.states[ref] = ord(state)

    def remember(self, memory: Memory) -> None: ...

    def close(self) -> None: ...


class Sent(Struct):
    """What the process did."""

    hook: Report
    beside: Report
    states: str  # of the calls beside, see `Receipts`
    peak: float  # MB


def send(trouble: Trouble, calls: int, gateway: str) -> Sent:
    """So many calls for the webhook, and meanwhile those for the vendor in trouble."""
    sender, hook, receipts = Sender(), Receipts(calls), Receipts(trouble.calls)
    beside = _delivery(_connection(trouble), Calls(trouble.calls, trouble.flawed), receipts, gateway, trouble.url)
    well = Connection("hook", "webhook", _SYNCS, _settings("webhook", {"url": "https://hooks.example.com/in"}), CAP)
    started = sender.start(beside)
    report = sender.start(_delivery(well, Calls(calls), hook, gateway)).result()
    sender.stop()
    return Sent(report, started.result(), receipts.states.decode(), peak_memory())


def _delivery(connection: Connection, calls: Calls, journal: Receipts, gateway: str, url: str = "") -> Delivery:
    workspace = Workspace("benchmark", (Computation("Big spenders", "audience", KEY, KEY),), (connection,))
    options = SenderOptions("" if url else gateway, read_timeout=READ_TIMEOUT, finish_within=1.0)
    return Delivery(workspace, connection, calls, journal, {}, options)


def _connection(trouble: Trouble) -> Connection:
    slug = "webhook" if trouble.url else trouble.vendor
    settings = {"url": trouble.url, "private_addresses": True} if trouble.url else SETTINGS[slug]
    return Connection("beside", slug, _SYNCS, _settings(slug, settings))


def _settings(slug: str, settings: dict[str, Any]) -> Any:
    kind = find(slug)
    assert kind
    return kind.Settings(**settings)
