"""Why, asked of the log of a job: what is about one person goes into a small directory, and `why` is asked of that.

    PREFIX.state ── who it is, and what is known ─┐
    PREFIX.calls.NAME ── calls that wait ─────────┼─ a directory of one person ── `pipeline.why`
    PREFIX.kept.NAME ── marks, facts, pauses ─────┤
    PREFIX.facts, PREFIX.dead ── what became of calls

Everything is read, nothing is written; the job and its senders go on meanwhile. So the order counts: what is asked is
read first, and what became of it last.
"""

from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from pipeline.log import SqliteLog
from pipeline.paused import keep_paused
from pipeline.person import Record
from pipeline.state_db import StateDb
from pipeline.streaming.by_key import newest
from pipeline.streaming.kafka import Kafka, read_all
from pipeline.streaming.log import CAPS, PAUSED
from pipeline.streaming.outcomes import Outcomes, outcomes
from pipeline.streaming.standing import Standing, standing
from pipeline.streaming.subjects import state_errors
from pipeline.streaming.versions import Version
from pipeline.why import Why, why
from schemas.calls import Call, Identifier
from schemas.receipts import Receipt
from schemas.registry import Registry, decode_registry
from schemas.state import ProfileState, decode_ids, decode_profile, encode_profile
from transforms.logic.alike import alike
from transforms.logic.ledger import settle
from transforms.logic.plan import Plan
from transforms.logic.portion import tombstone
from transforms.logic.snapshots import newer
from transforms.sending.log import Writing


class Found(NamedTuple):
    """Who is meant."""

    ids: list[str]  # profiles, all of them
    people: list[Why]  # of the first ones


def why_of(kafka: Kafka, version: Version, words: str, most: int, now: datetime) -> Found:
    """Everything about those whom a profile id, or an identifier, may mean; of `most` of them.

    `version`: that counts now. Raises KafkaProblem and StoreError.
    """
    workspace, registry = version.workspace(), decode_registry(version.registry)
    with state_errors(kafka):
        states = find_states(kafka, words)
        people = {name: decode_profile(states[name]) for name in sorted(states)[:most]}
    first_names, stand = version.first_names(), dict[str, Standing]()
    for name in _asked_at(people, registry):
        stand[name] = standing(kafka, first_names[name], people.keys())
    became = outcomes(kafka, people)
    plan = version.plan(now)
    found = []
    for name, state in people.items():
        _settle(state, became[name].receipts, plan)
        person = _Person(name, state, became[name], stand)
        with (
            TemporaryDirectory(prefix="profilecast-") as folder,
            closing(person.directory(Path(folder), version, registry)) as db,
        ):
            found.append(why(db, workspace, name, now, person.before))
    return Found(sorted(states), found)


# -- who it is


def find_states(kafka: Kafka, words: str) -> dict[str, bytes]:
    """Packed states by profile id, of those whom these words may mean; as `find_people`.

    For a profile id one or two partitions are read, for an identifier (`email:ana@x.example`) all of them.
    """
    kind, colon, value = words.partition(":")
    found = _states(kafka, [words])
    if found or not colon:
        return found
    its, named = alike(Identifier(kind, value)), set[bytes]()
    for record in read_all(kafka, kafka.topic("state")):
        if record.value and record.key[:1] != b"\0" and _has(record.value, its):
            named.add(record.key)
        else:
            named.discard(record.key)
    return _states(kafka, sorted(key.decode() for key in named)) if named else {}


def _has(state: bytes, its: Identifier) -> bool:
    """Whether a profile has, or had, an identifier in any spelling."""
    return any(each.type == its.type and alike(each.identifier) == its for each in decode_ids(state))


def _states(kafka: Kafka, names: list[str]) -> dict[str, bytes]:
    """What is known of these profiles now, be it as of people who were deleted."""
    known = newest(kafka, kafka.topic("state"), [key for name in names for key in (name, tombstone(name))])
    found = {name: newer(known.get(tombstone(name), b""), known.get(name, b"")) for name in names}
    return {name: state for name, state in found.items() if state}


def _asked_at(people: Mapping[str, ProfileState], registry: Registry) -> set[str]:
    """Connections at which something is asked of somebody."""
    return {
        registry.slots[slot - 1].connection
        for state in people.values()
        for slot, entries in state.ledger.items()
        if any(entry.open for entry in entries.values())
    }


def _settle(state: ProfileState, receipts: list[Receipt], plan: Plan) -> None:
    """Fold the receipts that the job has not folded: those of calls that it waits for."""
    for receipt in receipts:
        place = state.place(receipt.identifier)
        entry = state.ledger.get(receipt.slot, {}).get(-1 if place is None else place)
        if entry and entry.open and entry.open.ask == receipt.ask:
            settle(state, receipt, plan)


# -- the directory


class _Person:
    """One person as the topics have it, for a directory."""

    def __init__(self, name: str, state: ProfileState, became: Outcomes, stand: Mapping[str, Standing]) -> None:
        self._name, self._state, self._became, self._stand = name, state, became, stand
        self._settled = {receipt.ask for receipt in became.receipts}

    def before(self, connection: str, record: Record) -> tuple[int, bool]:
        """See `pipeline.why.Before`: by places in the topic, where calls of everybody are."""
        return self._stand[connection].before(self._name, record.ask), False

    def directory(self, folder: Path, version: Version, registry: Registry) -> StateDb:
        StateDb.create(folder)
        db = StateDb.open(folder)
        slots = [slot.connection for slot in registry.slots]
        with db.portion() as transaction:
            transaction.registry(version.registry, version.number)
            transaction.put({self._name: encode_profile(self._state)})
            for number, name in enumerate(registry.connections):
                transaction.append(number, self._calls(name))
        for number, name in enumerate(registry.connections):
            writing = self._writing(name, {slot for slot, of in enumerate(slots, 1) if of == name})
            if name in self._stand or writing != Writing():  # calls are not looked for without the file
                _write(SqliteLog(folder, name, number), writing)
        pauses = {name: each.kept.facts.get(PAUSED) for name, each in self._stand.items()}
        keep_paused(folder, {name: since for name, since in pauses.items() if since})
        return db

    def _calls(self, name: str) -> list[Call]:
        """Calls that wait at a connection."""
        waiting = self._stand[name].calls_of(self._name) if name in self._stand else []
        return [call for call in waiting if call.ask not in self._settled]

    def _writing(self, name: str, slots: set[int]) -> Writing:
        """What became of calls of a connection, and what is kept of it."""
        receipts = [each for each in self._became.receipts if each.slot in slots]
        writing = Writing(receipts=receipts, dead_letters=self._became.letters(slots))
        if stands := self._stand.get(name):
            writing.facts = {key: value for key, value in stands.kept.facts.items() if key not in (CAPS, PAUSED)}
            writing.marks = {ask: mark for ask, mark in stands.marks_of(self._name).items() if ask not in self._settled}
        return writing


def _write(log: SqliteLog, writing: Writing) -> None:
    try:
        log.write(writing).result()
    finally:
        log.close()
