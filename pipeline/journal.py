"""The journal: what became of each call of an outbox, written as it happens.

One JSON object per line, `at` in seconds since 1970, calls by their place in the outbox:

    {"at": …, "sent": [12, 13]}              ahead of sending: from here on they may have arrived
    {"at": …, "unsent": [12]}                the answer shows that they did not
    {"at": …, "delivered": [12]}
    {"at": …, "rejected": [[13, "invalid_identifier", "the vendor's words"]]}

A line that a crash cut short is no line.
"""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct, to_builtins

from schemas.dead_letters import DeadLetter
from schemas.outcomes import Delivered, Rejected
from transforms.destinations.contract import Memory
from transforms.logic.lanes import Item
from transforms.logic.ledger import Fate

_ADVICE = {
    "missing_required_key": "The call goes out by itself once the profile has the key.",
    "unsupported": "Change the sync, or the value of the computation.",
    "forgotten": "Nothing to do: the vendor was told to forget this person.",
}
_MEND = "Not tried again until the value, the identifier or the connection's settings change."


class Line(Struct, omit_defaults=True):
    """One line of a journal."""

    at: float
    sent: list[int] = []
    unsent: list[int] = []
    delivered: list[int] = []
    rejected: list[tuple[int, str, str]] = []


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Line)


class Journal:
    """The journal of one connection's outbox. Picklable until it is first written."""

    def __init__(self, connection: str, journal: Path, dead_letters: Path, memory: Path) -> None:
        self._connection = connection
        self._paths = (journal, dead_letters)
        self._memory = memory
        self._files: tuple[BinaryIO, BinaryIO] | None = None

    def sent(self, refs: Sequence[int]) -> None:
        """Ahead of sending."""
        self._write(Line(time.time(), sent=list(refs)))

    def unsent(self, refs: Sequence[int]) -> None:
        """The vendor's answer shows that these did not arrive."""
        self._write(Line(time.time(), unsent=list(refs)))

    def settled(self, items: Sequence[tuple[Item, Delivered | Rejected]]) -> None:
        """Final outcomes; a rejected call becomes a dead letter too."""
        delivered: list[int] = []
        rejected: list[tuple[int, str, str]] = []
        for item, outcome in items:
            if isinstance(outcome, Delivered):
                delivered.append(item.ref)
            else:
                rejected.append((item.ref, outcome.reason, outcome.words))
                self._dead_letter(item, outcome)
        self._write(Line(time.time(), delivered=delivered, rejected=rejected))

    def remember(self, memory: Memory) -> None:
        """What the connection keeps for later runs, whole or not at all."""
        if memory or self._memory.exists():
            replace(self._memory, msgspec.json.encode(memory))

    def close(self) -> None:
        """Everything is on disk."""
        for file in self._files or ():
            os.fsync(file.fileno())
            file.close()
        self._files = None

    def _write(self, line: Line) -> None:
        self._open()[0].write(_encoder.encode(line) + b"\n")

    def _dead_letter(self, item: Item, outcome: Rejected) -> None:
        letter = DeadLetter(
            step="Deliver",
            reason=outcome.reason,
            connection=self._connection,
            payload=described(item),
            answer=outcome.words,
            advice=_ADVICE.get(outcome.reason, _MEND),
        )
        self._open()[1].write(_encoder.encode(letter) + b"\n")

    def _open(self) -> tuple[BinaryIO, BinaryIO]:
        if self._files is None:
            journal, letters = self._paths
            self._files = (journal.open("ab", buffering=0), letters.open("ab", buffering=0))
        return self._files


def described(item: Item) -> dict[str, object]:
    """A call as JSON with named fields."""
    call = item.call
    return {name: to_builtins(getattr(call, name)) for name in call.__struct_fields__}


def fates(path: Path, sizes: Sequence[int]) -> list[bytearray]:
    """Per shard, the `Fate` of each call of the outbox that this journal belongs to."""
    found = [bytearray(size) for size in sizes]
    for line in read(path):
        for ref in line.sent:
            if found[ref >> 32][ref & 0xFFFFFFFF] == Fate.PENDING:
                found[ref >> 32][ref & 0xFFFFFFFF] = Fate.MAYBE
        for ref in line.unsent:
            found[ref >> 32][ref & 0xFFFFFFFF] = Fate.PENDING
        for ref in line.delivered:
            found[ref >> 32][ref & 0xFFFFFFFF] = Fate.DELIVERED
        for ref, reason, _ in line.rejected:
            waits = reason == "missing_required_key"
            found[ref >> 32][ref & 0xFFFFFFFF] = Fate.REJECTED_FOR_NOW if waits else Fate.REJECTED
    return found


def read(path: Path) -> Iterator[Line]:
    """The whole lines of a journal."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield _decoder.decode(line)


def replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
