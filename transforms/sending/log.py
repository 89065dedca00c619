"""The log of one connection, as its one sender sees it: calls to read, marks and receipts to write.

The SQLite log is `pipeline/log.py`; a Kafka log keeps the same protocol. Reads block shortly; the sender makes them
on a thread of its own, never on the event loop. Everything written is durable when the future of `write` is done.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from schemas.calls import Call
from schemas.dead_letters import DeadLetter
from schemas.receipts import Receipt

# A fact, of a `form/key` at the vendor in which nobody is any more: it was gone and made again, or was emptied. When
# that was, seconds since 1970.
REMADE = "remade:"


class Mark(NamedTuple):
    """What earlier attempts, of this process or of one before it, have shown of a call without an outcome."""

    since: float = 0.0  # when it first failed, seconds since 1970; 0: never
    maybe: bool = False  # a request of it may have arrived
    until: float = 0.0  # if it did not arrive yet, it may until then; seconds since 1970
    job: str = ""  # the vendor's, that it is in


class Attempt(NamedTuple):
    """A request that came to nothing for the calls in it."""

    at: float  # seconds since 1970
    status: int  # of the answer; 0: there was none
    words: str  # the vendor's, or why there was no answer; without secrets and people


class Waiting(NamedTuple):
    """A call without a receipt."""

    call: Call
    mark: Mark = Mark()
    replaced: bool = False  # a newer call takes its place, which may go as soon as it is read
    late: bool = False  # the call that takes its place has an outcome already


class Writing(Struct):
    """What is written in one go, all of it or nothing."""

    marks: dict[int, Mark] = {}  # by ask; ahead of sending: maybe. An empty Mark takes it back
    receipts: list[Receipt] = []
    dead_letters: list[tuple[int, DeadLetter]] = []  # by ask
    failed: list[tuple[int, Attempt]] = []  # by ask; of each call the last few are kept, for people who ask
    facts: dict[str, Any] = {}  # small ones, JSON: what the destination remembers, flushes, windows. None: forget it


class Log(Protocol):
    """One connection's calls and receipts."""

    def read(self, backfill: bool, after: int, most: int) -> list[Waiting]:
        """Calls without a receipt whose ask is greater than `after`, in order. Fewer than `most`: there are no more."""

    def newest(self) -> int:
        """The greatest ask so far; 0: none."""

    def stamp(self) -> object:
        """Something that is another one, as good as always, when calls were added; None: not known.

        Cheap: the event loop may ask for it.
        """

    def waiting(self) -> int:
        """How many calls (not cancels) have no receipt. Counted, so it may take a moment."""

    def receipt(self, ask: int) -> Receipt | None:
        """The receipt of this call, whatever process wrote it. Receipts that were folded long ago are forgotten."""

    def doubtful(self) -> bool:
        """Whether a request of a call without a receipt may have arrived."""

    def write(self, writing: Writing) -> "Future[None]":
        """Write, in the order of these calls: on the disk when the future is done. The future raises OSError if not."""

    def facts(self) -> dict[str, Any]:
        """All small facts."""

    def workspace(self) -> int:
        """The number of the newest workspace that somebody decided with: a sender of an older one hands over."""

    def close(self) -> None:
        """Wait until everything written is durable, and let go of the files."""


class Kept(Protocol):
    """Something small that outlives a process: of a `limit_group`, or a refresh token."""

    def load(self) -> dict[str, Any]: ...

    def save(self, kept: dict[str, Any]) -> None:
        """Keep it, whole or not at all. Blocks while a file is written."""


def fields_of(receipts: Sequence[Receipt]) -> dict[str, int]:
    """Receipts counted by fate, without those of cancels."""
    counted: dict[str, int] = {}
    for receipt in receipts:
        if receipt.kind != "cancel":
            counted[receipt.fate] = counted.get(receipt.fate, 0) + 1
    return counted
