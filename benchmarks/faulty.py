"""One sender with two connections: a well webhook, and beside it a vendor in trouble."""

import os
from concurrent.futures import Future
from typing import Any

from msgspec import Struct

from benchmarks.deliveries import MadeCalls
from benchmarks.machine import peak_memory
from benchmarks.troubles import Trouble
from sandbox.held_log import NothingKept
from schemas.calls import Call, Identifier
from schemas.report import Report
from schemas.secret import Secret
from schemas.workspace import Cap, Computation, Connection, Sync, Workspace
from transforms.destinations import find
from transforms.sending.log import Waiting, Writing
from transforms.sending.sender import Active, Delivery, Sender, SenderOptions

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


class Calls(MadeCalls):
    """Identify calls of as many people. What became of each is a letter of `states`.

    (w)aits, (s)ent and without an outcome, (d)elivered, (r)ejected, (u)nknown for good.
    """

    def __init__(self, number: int, flawed: bool = False) -> None:
        super().__init__(number)
        self._flawed = flawed
        self.states = bytearray(b"w" * number)

    def read(self, backfill: bool, after: int, most: int) -> list[Waiting]:
        if backfill:
            return []
        asks = range(after + 1, min(after + most, self.number) + 1)
        return [Waiting(self._call(ask)) for ask in asks if self.states[ask - 1] in b"ws"]

    def write(self, writing: Writing) -> "Future[None]":
        for ask, mark in writing.marks.items():
            self._put(ask, "s" if mark.maybe else "w")
        for receipt in writing.receipts:
            certain = receipt.fate == "rejected" and not receipt.maybe
            self._put(receipt.ask, "d" if receipt.fate == "delivered" else "r" if certain else "u")
        return super().write(writing)

    def _put(self, ask: int, state: str) -> None:
        if self.states[ask - 1] in b"dru":
            raise ValueError("a call that has its outcome is sent, or settled, once more")
        self.states[ask - 1] = ord(state)

    def _call(self, ask: int) -> Call:
        n = ask - 1
        flaw = n % 20 if self._flawed else 0
        kind: Any = "add" if flaw == 1 else "identify"
        identifier = Identifier("email", f"{n:07}@{'refused.example' if flaw == 2 else 'example.com'}")
        traits = {} if flaw == 3 else {"name": "Ann"}
        at = 1_760_000_000_000_000
        return Call(f"customer-{n:07}", kind, identifier, KEY, True, at, ask, 1, 1, KEY, KEY, traits=traits)


class Sent(Struct):
    """What the process did."""

    hook: Report
    beside: Report
    states: str  # of the calls beside, see `Calls`
    peak: float  # MB


def send(trouble: Trouble, calls: int, gateway: str) -> Sent:
    """So many calls for the webhook, and meanwhile those for the vendor in trouble."""
    sender, told = Sender(), Calls(trouble.calls, trouble.flawed)
    beside = _delivery(_connection(trouble), told, gateway, trouble.url)
    well = Connection("hook", "webhook", _SYNCS, _settings("webhook", {"url": "https://hooks.example.com/in"}), CAP)
    started = sender.start(beside)
    report = sender.start(_delivery(well, Calls(calls), gateway)).result()
    sender.stop()
    return Sent(report, started.result(), told.states.decode(), peak_memory())


def _delivery(connection: Connection, calls: Calls, gateway: str, url: str = "") -> Delivery:
    workspace = Workspace("benchmark", (Computation("Big spenders", "audience", KEY, KEY),), (connection,))
    options = SenderOptions("" if url else gateway, read_timeout=READ_TIMEOUT, finish_within=1.0)
    return Delivery(workspace, connection, calls, NothingKept(), {1: Active(1)}, 0, options)


def _connection(trouble: Trouble) -> Connection:
    slug = "webhook" if trouble.url else trouble.vendor
    settings = {"url": trouble.url, "private_addresses": True} if trouble.url else SETTINGS[slug]
    return Connection("beside", slug, _SYNCS, _settings(slug, settings))


def _settings(slug: str, settings: dict[str, Any]) -> Any:
    kind = find(slug)
    assert kind
    return kind.Settings(**settings)
