"""The journal: what became of each call of an outbox, written as it happens.

One JSON object per line, `at` in seconds since 1970, calls by their place in the outbox:

    {"at": …, "run": "…", "connection": "…"}  the outbox that it belongs to
    {"at": …, "sent": [12, 13]}               ahead of sending: from here on they may have arrived
    {"at": …, "unsent": [12]}                 the answer shows that they did not
    {"at": …, "unreached": [12]}              since then none of their requests has reached the vendor
    {"at": …, "delivered": [12]}
    {"at": …, "rejected": [[13, "invalid_identifier", "the vendor's words"]], "maybe": [13]}
    {"at": …, "expired": [[14, "the vendor's words"]], "maybe": [14]}

`maybe`: of the rejected and the expired, those of which an attempt had no answer.

A last line that a crash cut short is no line. A process that dies loses nothing of what it wrote. A
power cut may take the last second, or 500 calls: what was accepted then is told once more.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Struct, to_builtins

from pipeline.disk import RESTORE, Appended, StoreError, replace, unwritable
from schemas.dead_letters import DeadLetter, mask
from schemas.outcomes import Delivered, Expired, Final, Rejected
from transforms.destinations.contract import Memory
from transforms.logic.lanes import Item
from transforms.logic.ledger import Fate, Retry, expiry, refusal
from transforms.logic.shard import Past
from transforms.talk import Stopped

EXPIRED = "expired"  # the reason of its dead letter
_ADVICE = {
    "missing_required_key": "The call goes out by itself once the profile has the key.",
    "unsupported": "Change the sync, or the value of the computation.",
    "forgotten": "Nothing to do: the vendor was told to forget this person.",
    EXPIRED: "When the vendor is well again: profilecast replay --reason expired",
}
_MEND = (
    "Not tried again until the value, the identifier or the connection's settings change; "
    "mended at the vendor: profilecast replay"
)

Ref = Annotated[int, Meta(ge=0)]


class Line(Struct, omit_defaults=True):
    """One line of a journal."""

    at: float
    run: str = ""
    connection: str = ""
    sent: list[Ref] = []
    unsent: list[Ref] = []
    unreached: list[Ref] = []
    delivered: list[Ref] = []
    rejected: list[tuple[Ref, str, str]] = []
    maybe: list[Ref] = []  # of the rejected and the expired
    expired: list[tuple[Ref, str]] = []


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Line)


class JournalPaths(NamedTuple):
    """Where one connection's delivery is written down."""

    journal: Path
    dead_letters: Path
    memory: Path


class Journal:
    """The journal of one connection's outbox. Picklable until it is first written.

    A disk that refuses it stops the connection, and `failure` says why; nothing is sent that could
    not be written down first.
    """

    def __init__(self, run: str, connection: str, settings: bytes, paths: JournalPaths, masked: bool) -> None:
        self.failure = ""
        self._run, self._connection, self._settings = run, connection, settings
        self._paths = paths
        self._masked = masked
        self._files: tuple[Appended, Appended] | None = None

    def sent(self, refs: Sequence[int]) -> None:
        """Ahead of sending."""
        self._write(Line(time.time(), sent=list(refs)))

    def unsent(self, refs: Sequence[int]) -> None:
        """The vendor's answer shows that these did not arrive."""
        self._write(Line(time.time(), unsent=list(refs)))

    def unreached(self, refs: Sequence[int], since: float) -> None:
        """Since then (seconds since 1970) no request of these has reached the vendor."""
        self._write(Line(since, unreached=list(refs)))

    def settled(self, items: Sequence[tuple[Item, Final]]) -> None:
        """Final outcomes; a call that was not delivered becomes a dead letter too."""
        line = Line(time.time(), delivered=[], rejected=[], maybe=[], expired=[])
        letters = []
        for item, outcome in items:
            if isinstance(outcome, Delivered):
                line.delivered.append(item.ref)
                continue
            if isinstance(outcome, Rejected):
                line.rejected.append((item.ref, outcome.reason, outcome.words))
            else:
                line.expired.append((item.ref, outcome.words))
            if outcome.maybe:
                line.maybe.append(item.ref)
            letters.append(self._dead_letter(item, outcome))
        self._write(line, letters)

    def remember(self, memory: Memory) -> None:
        """What the connection keeps for later runs, whole or not at all."""
        if self.failure or not (memory or self._paths.memory.exists()):
            return
        try:
            replace(self._paths.memory, msgspec.json.encode(memory))
        except StoreError as error:
            self.failure = str(error)

    def close(self) -> None:
        """Everything is on the disk, or `failure` says why not."""
        files, self._files = self._files or (), None
        for file in files:
            try:
                file.close()
            except OSError as error:
                self.failure = self.failure or unwritable(self._paths.journal, error)

    def _write(self, line: Line, letters: Sequence[DeadLetter] = ()) -> None:
        if self.failure:  # behind half a line, no other could be read
            raise Stopped(self.failure)
        try:
            journal, dead_letters = self._files or self._open()
            # First, so that no rejection is without its dead letter.
            dead_letters.write(b"".join(_encoder.encode(letter) + b"\n" for letter in letters), len(letters))
            journal.write(_encoder.encode(line) + b"\n", _size(line))
        except OSError as error:
            self.failure = unwritable(self._paths.journal, error)
            raise Stopped(self.failure) from error

    def _open(self) -> tuple[Appended, Appended]:
        journal = Appended(self._paths.journal)
        self._files = journal, Appended(self._paths.dead_letters)
        if journal.empty:
            journal.write(_encoder.encode(Line(time.time(), self._run, self._connection)) + b"\n", 1)
        return self._files

    def _dead_letter(self, item: Item, outcome: Rejected | Expired) -> DeadLetter:
        reason, kept = (outcome.reason, refusal) if isinstance(outcome, Rejected) else (EXPIRED, expiry)
        letter = DeadLetter(
            step="Deliver",
            reason=reason,
            connection=self._connection,
            payload=described(item),
            answer=outcome.words,
            advice=_ADVICE.get(reason, _MEND),
            attempts=outcome.attempts,
            refused=kept(item.call, self._settings).hex(),
        )
        return mask(letter) if self._masked else letter


def _size(line: Line) -> int:
    of_calls = len(line.sent) + len(line.unsent) + len(line.unreached)
    return of_calls + len(line.delivered) + len(line.rejected) + len(line.expired)


def described(item: Item) -> dict[str, object]:
    """A call as JSON with named fields."""
    call = item.call
    return {name: to_builtins(getattr(call, name)) for name in call.__struct_fields__}


class Fates(NamedTuple):
    """What a journal says of the calls of its outbox, by shard and position."""

    fates: list[bytearray]  # of `Fate`
    tried_at: list[dict[int, float]]  # of those that failed without an outcome: when this run first tried them

    def acknowledged(self) -> bool:
        """Whether the vendor took any call."""
        return any(Fate.DELIVERED in shard for shard in self.fates)

    def left(self) -> int:
        """How many calls wait for another run."""
        return sum(shard.count(Fate.PENDING) + shard.count(Fate.MAYBE) for shard in self.fates)


def past_of(shard: int, found: Mapping[str, Fates], retries: list[Retry]) -> Past:
    """What the journals of all connections say of a shard, and what is to be tried again in it."""
    return Past(
        {name: bytes(each.fates[shard]) for name, each in found.items()},
        {name: each.tried_at[shard] for name, each in found.items()},
        retries,
    )


def fates(path: Path, run: str, connection: str, sizes: Sequence[int]) -> Fates:
    """What the journal of this outbox says. Raises StoreError where it cannot be what a run wrote."""
    found = Fates([bytearray(size) for size in sizes], [{} for _ in sizes])
    unanswered: set[int] = set()
    for number, line in enumerate(read(path), 1):
        if number == 1 and (line.run, line.connection) != (run, connection):
            whose = f"{line.run}, {line.connection}" if line.run else "nobody"
            raise _unusable(path, 1, f"it belongs to the outbox of {whose}, not of {run}, {connection}")
        try:
            _apply(line, found, unanswered)
        except IndexError:
            raise _unusable(path, number, "it speaks of a call that the outbox does not have") from None
    return found


def _apply(line: Line, found: Fates, unanswered: set[int]) -> None:
    """`unanswered`: calls that were sent again though an earlier attempt may have arrived."""
    for ref in (*line.unreached, *line.sent):
        shard, position = ref >> 32, ref & 0xFFFFFFFF
        found.tried_at[shard].setdefault(position, line.at)
    for ref in line.sent:
        shard, position = ref >> 32, ref & 0xFFFFFFFF
        if found.fates[shard][position] == Fate.PENDING:
            found.fates[shard][position] = Fate.MAYBE
        else:
            unanswered.add(ref)
    for ref in line.unsent:
        if ref not in unanswered:
            _settle(found, ref, Fate.PENDING)
    for ref in line.delivered:
        _settle(found, ref, Fate.DELIVERED)
    for ref, reason, _ in line.rejected:
        _settle(found, ref, Fate.REJECTED_FOR_NOW if reason == "missing_required_key" else Fate.REJECTED)
    for ref, _ in line.expired:
        _settle(found, ref, Fate.EXPIRED)
    for ref in line.maybe:
        expired = found.fates[ref >> 32][ref & 0xFFFFFFFF] == Fate.EXPIRED
        _settle(found, ref, Fate.EXPIRED_MAYBE if expired else Fate.REJECTED_MAYBE)


def _settle(found: Fates, ref: int, fate: Fate) -> None:
    shard, position = ref >> 32, ref & 0xFFFFFFFF
    found.fates[shard][position] = fate
    found.tried_at[shard].pop(position, None)


def read(path: Path) -> Iterator[Line]:
    """The whole lines of a journal. Raises StoreError."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.endswith(b"\n"):
                try:
                    yield _decoder.decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    raise _unusable(path, number, f"it is no line of a journal ({error})") from error


def _unusable(path: Path, number: int, wrong: str) -> StoreError:
    return StoreError(f"{path}:{number}: {wrong}; {RESTORE}")
