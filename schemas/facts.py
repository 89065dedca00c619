"""Facts about a profile or an account, as they travel to the fold of unbounded input."""

from typing import Any

from msgspec import Struct

from schemas.calls import Call
from schemas.receipts import Receipt


class EventFact(Struct, array_like=True, tag="event"):
    """A raw event, as a line of JSON."""

    line: bytes
    source: str = ""  # the file that it is of, and its number there
    number: int | None = None
    records: bool = False  # the number is of a record (Avro, Parquet), not of a line
    version: int = 0  # of the workspace: it is read with this one at least


class ReceiptFact(Struct, array_like=True, tag="receipt"):
    receipt: Receipt


class RetryFact(Struct, array_like=True, tag="retry"):
    """A rejected or expired call that is to be tried again; `refused`: see `transforms.logic.ledger`."""

    call: Call
    refused: bytes
    version: int = 0  # of the workspace: the call is asked with this one at least


class TickFact(Struct, array_like=True, tag="tick"):
    """The workspace changed: it is this version now, at least."""

    version: int = 0
    refresh: list[int] = []  # slots in which everything that was told is told once more


class ProbeFact(Struct, array_like=True, tag="probe"):
    """Goes through a job behind a tick, and comes back as a fact to the process that read the tick."""

    key: bytes  # of the tick: what comes back falls on the same number of partition, which that process reads
    reader: str  # the process
    number: int  # how many ticks it had read
    at: float  # when, in seconds by its clock


class MemberFact(Struct, array_like=True, tag="member"):
    """What an account says to somebody who is a member, or is none any more."""

    account: str
    at: int  # since when
    member: bool
    values: dict[int, tuple[int, Any]] = {}  # those of its computations that are new to the member: since when, value


class LeftFact(Struct, array_like=True, tag="left"):
    """What a profile says to an account: it was deleted, and what was before that is to be forgotten."""

    profile: str
    deleted: int


class SnapshotFact(Struct, array_like=True, tag="snapshot"):
    """What an earlier job, or a state directory, knew of the subject: packed (`schemas.state`)."""

    state: bytes


AnyFact = EventFact | ReceiptFact | RetryFact | TickFact | ProbeFact | SnapshotFact | MemberFact | LeftFact


class Addressed(Struct, array_like=True):
    """A fact and what it is about."""

    subject: str  # a profile's id, or the key of an account or of a part of it (`schemas.state`)
    fact: AnyFact
