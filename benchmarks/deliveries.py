"""For the benchmarks of the sender: logs of any number of calls, made when they are read, that keep counts only."""

from concurrent.futures import Future
from typing import Any

from sandbox.held_log import NothingKept
from schemas.calls import Call, Identifier
from schemas.receipts import Receipt
from schemas.workspace import Cap, Computation, Connection, Sync, Workspace
from transforms.destinations.webhook import Webhook
from transforms.sending.log import Log, Waiting, Writing
from transforms.sending.sender import Active, Delivery, SenderOptions

KEY = "big_spenders"
_PADDING = {"note": "x" * 450}  # makes a webhook's body 1 KB


class MadeCalls:
    """`number` identify calls of as many people; what is written is counted, and durable at once."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.marked = self.settled = 0

    def read(self, backfill: bool, after: int, most: int) -> list[Waiting]:
        if backfill:
            return []
        return [Waiting(call(n)) for n in range(after + 1, min(after + most, self.number) + 1)]

    def newest(self) -> int:
        return self.number

    def stamp(self) -> object:
        return None

    def waiting(self) -> int:
        return self.number - self.settled

    def receipt(self, ask: int) -> Receipt | None:
        return None

    def doubtful(self) -> bool:
        return False

    def write(self, writing: Writing) -> "Future[None]":
        self.marked += len(writing.marks)
        self.settled += len(writing.receipts)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def facts(self) -> dict[str, Any]:
        return {"proved": {"1": 1}}

    def workspace(self) -> int:
        return 0

    def close(self) -> None: ...


def call(n: int) -> Call:
    identifier = Identifier("email", f"person-{n:07}@example.com")
    return Call(
        f"customer-{n:07}", "identify", identifier, KEY, True, 1_760_000_000_000_000, n, 1, 1, KEY, KEY, traits=_PADDING
    )


def hook(name: str, url: str, number: int, cap: Cap | None = None, log: Log | None = None) -> Delivery:
    """So many calls for a webhook of its own."""
    settings = Webhook.Settings(url=f"{url}{name}", private_addresses=True)
    connection = Connection(name, "webhook", (Sync(computation=KEY),), settings, cap)
    workspace = Workspace("benchmark", (Computation("Big spenders", "audience", KEY, KEY),), (connection,))
    return Delivery(workspace, connection, log or MadeCalls(number), NothingKept(), {1: Active(1)}, 0, SenderOptions())
