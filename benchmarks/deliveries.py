"""For the benchmarks of the sender: calls of any number, made when they are read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from transforms.sender import Delivery, Journal, SenderOptions

from schemas.calls import Call, Identifier
from schemas.workspace import Cap, Computation, Connection, Sync, Workspace
from transforms.destinations.contract import Memory
from transforms.destinations.webhook import Webhook
from transforms.logic.lanes import Item

KEY = "big_spenders"
_PADDING = {"note": "x" * 450}  # makes a webhook's body 1 KB


@dataclass
class MadeCalls:
    """`number` identify calls of as many people."""

    number: int

    def size(self) -> int:
        return self.number

    def read(self) -> Iterator[list[Item]]:
        for start in range(0, self.number, 500):
            yield [Item(n, call(n)) for n in range(start, min(start + 500, self.number))]


def call(n: int) -> Call:
    identifier = Identifier("email", f"person-{n:07}@example.com")
    return Call(f"customer-{n:07}", "identify", identifier, KEY, True, 1_760_000_000_000_000, 0, _PADDING)


class CountingJournal:
    """Keeps numbers only."""

    def __init__(self) -> None:
        self.marked = self.final = 0

    def sent(self, refs: Any) -> None:
        self.marked += len(refs)

    def unsent(self, refs: Any) -> None:
        self.marked -= len(refs)

    def unreached(self, refs: Any, since: float) -> None: ...

    def settled(self, items: Any) -> None:
        self.final += len(items)

    def remember(self, memory: Memory) -> None: ...

    def close(self) -> None: ...


def hook(name: str, url: str, number: int, cap: Cap | None = None, journal: Journal | None = None) -> Delivery:
    """So many calls for a webhook of its own."""
    settings = Webhook.Settings(url=f"{url}{name}", private_addresses=True)
    connection = Connection(name, "webhook", (Sync(computation=KEY),), settings, cap)
    workspace = Workspace("benchmark", (Computation("Big spenders", "audience", KEY, KEY),), (connection,))
    return Delivery(workspace, connection, MadeCalls(number), journal or CountingJournal(), {}, SenderOptions())
