"""Replay: dead letters of earlier runs, made ready to be tried once more.

A call goes again by what the ledger remembers of its rejection, so that nothing goes twice and
nothing goes that is not wanted any more. A bad record is parsed again as an event.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from pipeline.disk import StoreError
from pipeline.store import RUN_NAME
from schemas.dead_letters import DeadLetter
from transforms.logic.ledger import Retry
from transforms.logic.parse import profile_id_of
from transforms.logic.shard import shard_of
from transforms.read import packs


class _ToldCall(Struct):
    """What is read of a call that was refused or expired."""

    profile_id: str
    kind: str
    key: str


class _OfCall(Struct):
    payload: _ToldCall


class _OfRecord(Struct):
    payload: str


_letter = msgspec.json.Decoder(DeadLetter)
_of_call, _of_record = msgspec.json.Decoder(_OfCall), msgspec.json.Decoder(_OfRecord)


@dataclass(frozen=True)
class Replay:
    """What a run tries again beside its events."""

    retries: dict[int, list[Retry]] = field(default_factory=dict)  # by shard
    packs: list[tuple[int, bytes]] = field(default_factory=list)  # (shard, packed `Lines`): bad records


NOTHING = Replay()


@dataclass(frozen=True)
class Wanted:
    """Which dead letters. What is empty does not matter."""

    since: datetime | None = None  # of runs that began then or later
    connection: str = ""
    reason: str = ""
    profile: str = ""

    def run(self, name: str) -> bool:
        """Whether letters of this run can be meant; its name is the time at which it began."""
        return self.since is None or name >= self.since.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")

    def letter(self, letter: DeadLetter) -> bool:
        return (
            self.connection in ("", letter.connection)
            and self.reason in ("", letter.reason)
            and self.profile in ("", _profile(letter))
        )


@dataclass
class Letters:
    """Dead letters that were found, each call and each record once."""

    calls: dict[Retry, str] = field(default_factory=dict)  # with the reason
    records: dict[tuple[str, bool, int, str], DeadLetter] = field(default_factory=dict)
    partial: Counter[str] = field(default_factory=Counter)  # cut or masked records by source: they cannot be parsed

    def counts(self) -> Counter[tuple[str, str]]:
        """Their number by connection ("" for records) and reason."""
        calls = Counter((retry.connection, reason) for retry, reason in self.calls.items())
        return calls + Counter(("", letter.reason) for letter in self.records.values())

    def replay(self) -> Replay:
        """Ready for a run."""
        retries: dict[int, list[Retry]] = {}
        for retry in self.calls:
            retries.setdefault(shard_of(retry.profile_id), []).append(retry)
        sources: dict[tuple[str, bool], list[tuple[int, list[bytes]]]] = {}
        for source, records, number, payload in self.records:
            sources.setdefault((source, records), []).append((number, [payload.encode()]))
        packed = [pack for (source, records), lines in sources.items() for pack in packs(source, lines, records)]
        return Replay(retries, packed)


def find_letters(root: Path, wanted: Wanted) -> Letters:
    """The dead letters of all runs of a state directory that are meant. Raises StoreError."""
    found = Letters()
    for folder in sorted((root / "runs").glob("*")):
        if RUN_NAME.fullmatch(folder.name) and wanted.run(folder.name):
            for letter in filter(wanted.letter, _letters(folder)):
                _add(letter, found)
    return found


def _add(letter: DeadLetter, found: Letters) -> None:
    if letter.step == "Deliver":
        kind, key = letter.payload["kind"], letter.payload["key"]
        slot = ("list" if kind in ("add", "remove") else kind, key)
        refused = bytes.fromhex(letter.refused)
        found.calls[Retry(letter.payload["profile_id"], letter.connection, slot, refused)] = letter.reason
    elif letter.cut or letter.masked:
        found.partial[letter.source] += 1
    else:
        number = letter.record if letter.line is None else letter.line
        found.records[letter.source, letter.line is None, number or 0, letter.payload] = letter


def _letters(folder: Path) -> Iterator[DeadLetter]:
    """Of one run; of a run that was killed, from the parts that were not yet put together."""
    whole = folder / "dead_letters.jsonl"
    for path in [whole] if whole.exists() else sorted((folder / "dead_letters").glob("*.jsonl")):
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.endswith(b"\n"):
                    try:
                        yield _usable(line)
                    except (msgspec.MsgspecError, ValueError) as error:
                        raise StoreError(f"{path}:{number}: it is no dead letter ({error}); remove the line") from error


def _usable(line: bytes) -> DeadLetter:
    """A letter with all that is needed of it. Raises MsgspecError and ValueError."""
    letter = _letter.decode(line)
    if letter.step == "Deliver":
        _of_call.decode(line)
        bytes.fromhex(letter.refused)
    else:
        _of_record.decode(line).payload.encode()
    return letter


def _profile(letter: DeadLetter) -> str | None:
    if letter.step == "Deliver":
        profile: str = letter.payload["profile_id"]
        return profile
    return profile_id_of(letter.payload.encode())
