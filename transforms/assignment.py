"""What the sender is given: an outbox, the journal of its outcomes, and how to deliver."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from schemas.outcomes import Final
from schemas.report import Report
from schemas.workspace import Connection, Workspace
from transforms.destinations.contract import Memory
from transforms.logic.lanes import Item


class Journal(Protocol):
    """The durable record of one outbox's outcomes; see `pipeline.journal`."""

    def sent(self, refs: Sequence[int]) -> None:
        """These calls are about to be sent: from now on they may have arrived."""

    def unsent(self, refs: Sequence[int]) -> None:
        """The vendor's answer shows that they did not arrive."""

    def unreached(self, refs: Sequence[int], since: float) -> None:
        """Since then (seconds since 1970) no request of these has reached the vendor."""

    def settled(self, items: Sequence[tuple[Item, Final]]) -> None:
        """These calls have their final outcome."""

    def remember(self, memory: Memory) -> None:
        """What the connection keeps for later runs."""

    def close(self) -> None:
        """Everything is on disk."""


class Outbox(Protocol):
    """The calls of one connection, in order; see `pipeline.outbox`."""

    def size(self) -> int: ...

    def read(self) -> Iterator[list[Item]]: ...


@dataclass(frozen=True)
class SenderOptions:
    """How a run delivers. Seconds."""

    gateway: str = ""  # every vendor request goes to GATEWAY/<vendor host>/<path> instead
    retry_for: float = 600.0  # how long a request is tried again before its calls are left pending
    give_up_after: float = 4 * 3600.0  # how long a call is tried again, over all runs, before it expires
    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    finish_within: float = 15.0  # how long a stopping run waits for what is in flight
    max_reject_rate: float = 0.5  # of the first calls of a first sync; above it, the connection stops


@dataclass
class Delivery:
    """One outbox to be delivered."""

    workspace: Workspace
    connection: Connection
    outbox: Outbox
    journal: Journal
    memory: Memory
    options: SenderOptions
    first_sync: bool = False  # this connection has never acknowledged anything
    report: Report = field(init=False)

    def __post_init__(self) -> None:
        self.report = Report(
            connection=self.connection.name, destination=self.connection.destination, calls=self.outbox.size()
        )
