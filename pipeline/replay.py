"""Replay: dead letters, made ready to be tried again.

A call goes again by what the ledger remembers of its rejection, so that nothing goes twice and nothing goes that is
not wanted any more. A bad record is parsed again as an event.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

import msgspec

from pipeline.log import Receipts
from pipeline.state_db import StateDb
from schemas.calls import Call
from schemas.dead_letters import DeadLetter
from schemas.registry import Registry
from transforms.logic.fold import Facts
from transforms.logic.ledger import Retry
from transforms.logic.parse import subject_of
from transforms.logic.plan import Plan
from transforms.logic.portion import Lines, Portion, States, fold_portion, parse_lines

FROM_RECORDS = "from records"  # stands for the reason of a call that a bad record, read again, would bring about


@dataclass(frozen=True)
class Replay:
    """What a run tries again beside its events."""

    retries: list[Retry] = field(default_factory=list)
    lines: list[Lines] = field(default_factory=list)  # bad records


NOTHING = Replay()


@dataclass(frozen=True)
class Wanted:
    """Which dead letters. What is empty does not matter."""

    since: datetime | None = None  # written then or later
    connection: str = ""
    reason: str = ""
    profile: str = ""

    def letter(self, letter: DeadLetter) -> bool:
        return (
            self.connection in ("", letter.connection)
            and self.reason in ("", letter.reason)
            and self.profile in ("", _profile(letter))
        )


@dataclass
class Letters:
    """Dead letters that were found, each call and each record once."""

    calls: dict[tuple[str, int, bytes], tuple[Retry, DeadLetter]] = field(default_factory=dict)
    records: dict[tuple[str, bool, int, str], DeadLetter] = field(default_factory=dict)
    partial: Counter[str] = field(default_factory=Counter)  # cut or masked ones, by source: they cannot be tried again

    def counts(self) -> Counter[tuple[str, str]]:
        """Their number by connection ("" for records) and reason."""
        calls = Counter((letter.connection, letter.reason) for _, letter in self.calls.values())
        return calls + Counter(("", letter.reason) for letter in self.records.values())

    def replay(self) -> Replay:
        """Ready for a run."""
        sources: dict[tuple[str, bool], Lines] = {}
        for source, records, number, payload in self.records:
            lines = sources.setdefault((source, records), Lines(source, [], [], records))
            lines.numbers.append(number)
            lines.lines.append(payload.encode())
        return Replay([retry for retry, _ in self.calls.values()], [*sources.values()])


def find_letters(db: StateDb, registry: Registry, wanted: Wanted) -> Letters:
    """The dead letters of a state directory that are meant. Raises StoreError."""
    return gathered(_letters(db, registry, wanted), wanted, db.replayed())


def gathered(letters: Iterable[DeadLetter], wanted: Wanted, replayed: Container[tuple[int, int]]) -> Letters:
    """Those that are meant. `replayed`: deletions that were tried again, by slot and ask."""
    found = Letters()
    for letter in filter(wanted.letter, letters):
        _add(letter, found, replayed)
    return found


def _letters(db: StateDb, registry: Registry, wanted: Wanted) -> Iterator[DeadLetter]:
    since = wanted.since.timestamp() if wanted.since else 0.0
    yield from db.letters(since=since)
    for name in registry.connections:
        receipts = Receipts(db.folder, name)
        yield from (letter for _, letter in receipts.letters(since=since))
        receipts.close()


def _add(letter: DeadLetter, found: Letters, replayed: Container[tuple[int, int]]) -> None:
    if letter.step != "Deliver":
        if letter.cut or letter.masked:
            found.partial[letter.source] += 1
            return
        number = letter.record if letter.line is None else letter.line
        found.records[letter.source, letter.line is None, number or 0, letter.payload] = letter
        return
    call = msgspec.convert(letter.payload, Named)
    if call.kind == "delete" and (call.slot, call.ask) in replayed:
        return
    if letter.masked and call.kind == "delete":
        found.partial[letter.connection] += 1
        return
    retry = Retry(call.call(), bytes.fromhex(letter.refused))
    found.calls[call.profile_id, call.slot, retry.refused] = retry, letter


class Named(msgspec.Struct):
    """A call as a dead letter has it: what is needed to try it again."""

    profile_id: str
    kind: str
    identifier: tuple[str, str]
    key: str
    at: int
    ask: int
    slot: int
    value: object = None

    def call(self) -> Call:
        who, what = (self.profile_id, self.kind, self.identifier), (self.key, self.value, self.at)
        return msgspec.convert([*who, *what, self.ask, self.slot], Call)


def _profile(letter: DeadLetter) -> str | None:
    if letter.step == "Deliver":
        profile: str = letter.payload["profile_id"]
        return profile
    return subject_of(letter.payload.encode())


def would_go(states: States, plan: Plan, letters: Letters) -> Counter[tuple[str, str]]:
    """How many calls would go because of the dead letters, by connection and reason; nothing is written.

    With the records, under the connection "", of which each is read again.
    """
    found = Counter(("", letter.reason) for letter in letters.records.values())
    reasons = {(retry.call.profile_id, retry.call.slot): letter.reason for retry, letter in letters.calls.values()}
    facts: dict[str, Facts] = {}
    for retry, _ in letters.calls.values():
        facts.setdefault(retry.call.profile_id, Facts(retries=[])).retries.append(retry)  # type: ignore[attr-defined]
    for profile_id, events in parse_lines(letters.replay().lines, plan).events.items():
        facts.setdefault(profile_id, Facts()).events = events
    for connection, calls in _folded(states, plan, facts).calls.items():
        for call in calls:
            if call.kind != "cancel":
                found[connection, reasons.get((call.profile_id, call.slot), FROM_RECORDS)] += 1
    return found


def _folded(states: States, plan: Plan, facts: dict[str, Facts]) -> Portion:
    return fold_portion(facts, states, plan, count(1 << 60))
