"""One person in a state directory: what is known, and the calls of the logs that are about that person.

Everything is found by keys: the state says by which asks, see `ProfileState.asked`.
"""

from collections.abc import Mapping
from contextlib import closing
from itertools import chain
from sqlite3 import Connection as Database

import msgspec
from msgspec import Struct

from pipeline.sent import attached, errors_of_both, path_of, receipt_of_bytes
from pipeline.state_db import StateDb, decode_call
from schemas.calls import Call, Identifier
from schemas.dead_letters import DeadLetter
from schemas.receipts import Receipt
from schemas.registry import Registry
from schemas.state import ProfileState, decode_profile
from transforms.logic.ledger import settle
from transforms.logic.plan import Plan
from transforms.logic.portion import tombstone
from transforms.sending.log import Attempt, Mark

_letter_of = msgspec.json.Decoder(DeadLetter).decode


class Record(Struct):
    """One call about the person: as it waits, what is known of its attempts, and what became of it."""

    connection: str
    ask: int
    call: Call | None = None  # only until its receipt is folded
    mark: Mark | None = None
    receipt: Receipt | None = None
    letter: DeadLetter | None = None
    attempts: list[Attempt] = []  # that came to nothing, the last ones, in their order


class Person(Struct):
    """What is known of one profile."""

    profile_id: str
    state: ProfileState
    records: list[Record]  # the newest first

    def record(self, connection: str, ask: int) -> Record | None:
        return next((each for each in self.records if (each.connection, each.ask) == (connection, ask)), None)


def find_people(db: StateDb, words: str) -> list[str]:
    """Ids of the profiles that a profile id, or an identifier written as `email:ana@x.example`, may mean."""
    if db.get([words]) or db.get([tombstone(words)]):
        return [words]
    kind, colon, value = words.partition(":")
    return db.having(Identifier(kind, value)) if colon else []


def look_up(db: StateDb, registry: Registry, plan: Plan, profile_id: str, logs: Mapping[str, str] = {}) -> Person:
    """The person; receipts that no run has folded yet are counted in.

    `logs`: under which name a connection's log lies, where the workspace renames it.
    """
    packed = db.get([profile_id]).get(profile_id) or db.get([tombstone(profile_id)])[tombstone(profile_id)]
    state = decode_profile(packed)
    found = [
        records(db, name, logs.get(name, name), number, profile_id, state, plan)
        for number, name in enumerate(registry.connections)
        if state.asked
    ]
    return Person(profile_id, state, sorted(chain(*found), key=lambda each: -each.ask))


def records(
    db: StateDb, connection: str, log: str, number: int, profile_id: str, state: ProfileState, plan: Plan
) -> list[Record]:
    """Of one connection. New receipts are settled in the state."""
    if not path_of(db.folder, log).exists():
        return []
    with (
        closing(attached(db.folder, log)) as database,
        errors_of_both(database, db.folder, log),
    ):
        found: dict[int, Record] = {}
        for first, many in state.asked:
            _read(database, connection, number, profile_id, (first, first + many - 1), found)
        for record in found.values():
            if record.call and record.receipt:
                settle(state, record.receipt, plan)
    return list(found.values())


def _read(
    database: Database,
    connection: str,
    number: int,
    profile_id: str,
    asks: tuple[int, int],
    found: dict[int, Record],
) -> None:
    """The calls, marks, receipts and dead letters with these asks."""
    for backfill in (0, 1):
        calls = "SELECT ask, call FROM main.calls WHERE connection = ? AND backfill = ? AND ask BETWEEN ? AND ?"
        for ask, packed in database.execute(calls, (number, backfill, *asks)):
            call = decode_call(packed)
            if call.profile_id == profile_id and call.kind != "cancel":
                found[ask] = Record(connection, ask, call)
    receipts = "SELECT ask, receipt FROM sent.receipts WHERE ask BETWEEN ? AND ? ORDER BY position"
    for ask, packed in database.execute(receipts, asks):
        receipt = receipt_of_bytes(packed)
        if receipt.profile_id == profile_id and receipt.kind != "cancel":
            found.setdefault(ask, Record(connection, ask)).receipt = receipt
    for ask, *mark in database.execute(
        "SELECT ask, since, maybe, until, job FROM sent.marks WHERE ask BETWEEN ? AND ?", asks
    ):
        if ask in found:
            found[ask].mark = Mark(mark[0], bool(mark[1]), mark[2], mark[3])
    if database.execute("SELECT 1 FROM sent.sqlite_master WHERE name = 'attempts'").fetchone():
        attempts = "SELECT ask, at, status, words FROM sent.attempts WHERE ask BETWEEN ? AND ? ORDER BY ask, at"
        for ask, *attempt in database.execute(attempts, asks):
            if ask in found:
                found[ask].attempts.append(Attempt(*attempt))
    letters = "SELECT ask, letter FROM sent.letters WHERE ask BETWEEN ? AND ? AND profile = ? ORDER BY number"
    for ask, letter in database.execute(letters, (*asks, profile_id)):
        found.setdefault(ask, Record(connection, ask)).letter = _letter_of(letter)
