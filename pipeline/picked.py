"""What a run would find in the log of one connection after a plan: the calls that wait, and those it would ask."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection as Database
from typing import Any, NamedTuple

import msgspec

from pipeline.sent import attached, errors_of_both, receipt_of_bytes, waiting
from pipeline.state_db import StateDb, decode_call
from schemas.calls import Call
from schemas.receipts import Receipt
from transforms.sending.log import Mark, Waiting

_READ = 1_000  # calls at once


class Place(NamedTuple):
    """Where the calls of one connection stand. Nothing is written there."""

    state: Path
    scratch: Path  # of the plan
    connection: str
    log: str  # the connection's name in the state, where the workspace renames it
    number: int  # in the registry


class Picked(NamedTuple):
    """The calls of some people."""

    calls: list[Waiting]
    receipts: dict[int, Receipt]  # of earlier calls that these speak of
    facts: dict[str, Any]
    people: int
    all_calls: int  # with those of all others; cancels are not counted


def pick(place: Place, people: int) -> Picked:
    """Calls of so many people who wait, and of so many more of whom something new is to be told: some of each kind."""
    with (
        closing(attached(place.state, place.log)) as database,
        errors_of_both(database, place.state, place.log),
        closing(StateDb.open(place.scratch, to_read=True)) as plan,
    ):
        found = {each.call.ask: each for each in _waiting(database, place.number, people)}
        who = {each.call.profile_id for each in found.values()}
        for call in _planned(plan, place.connection, people, sorted(who)):
            found[call.ask] = Waiting(call)
        receipts = _spoken_of(database, place.number, found)
        count = "SELECT count(*) FROM planned WHERE connection = ? AND form != 'cancel'"
        return Picked(
            list(found.values()),
            receipts,
            _facts(database),
            len({each.call.profile_id for each in found.values()}),
            plan.rows(count, place.connection)[0][0] + waiting(place.state, place.log, place.number),
        )


def _waiting(database: Database, number: int, people: int) -> Iterator[Waiting]:
    """In the order in which a sender reads them, until somebody would be one too many."""
    who: set[str] = set()
    doubt = _doubt(database)
    for backfill in (False, True):
        after = 0
        while rows := database.execute(
            "SELECT c.ask, c.call FROM main.calls c WHERE c.connection = ? AND c.backfill = ? AND c.ask > ? "
            "AND NOT EXISTS (SELECT 1 FROM sent.receipts r WHERE r.ask = c.ask) ORDER BY c.ask LIMIT ?",
            (number, backfill, after, _READ),
        ).fetchall():
            after = rows[-1][0]
            for _, packed in rows:
                call = decode_call(packed)
                who.add(call.profile_id)
                if len(who) > people:
                    return
                yield Waiting(call, _mark(database, call.ask, doubt))


def _mark(database: Database, ask: int, doubt: int) -> Mark:
    """What is known of a call, but for a job of the vendor's: nobody else knows of that."""
    row = database.execute("SELECT since, maybe, until FROM sent.marks WHERE ask = ?", (ask,)).fetchone()
    since, maybe, until = row or (0.0, False, 0.0)
    return Mark(since, bool(maybe) or ask <= doubt, until)


def _doubt(database: Database) -> int:
    row = database.execute("SELECT value FROM sent.meta WHERE key = 'doubt'").fetchone()
    return int(row[0]) if row else 0


def _planned(plan: StateDb, connection: str, people: int, who: Sequence[str]) -> Iterator[Call]:
    """New calls of the people given, and of others: of each kind the first ones."""
    rows = plan.rows(
        "WITH chosen AS (SELECT profile FROM (SELECT profile, row_number() OVER "
        "(PARTITION BY sync, form, what ORDER BY ask) AS place FROM planned WHERE connection = ?1) "
        "GROUP BY profile ORDER BY min(place), profile LIMIT ?2) "
        "SELECT call FROM planned WHERE connection = ?1 AND (profile IN (SELECT profile FROM chosen) "
        "OR profile IN (SELECT value FROM json_each(?3))) ORDER BY ask",
        connection, people, msgspec.json.encode(who).decode(),
    )  # fmt: skip
    return (decode_call(packed) for (packed,) in rows)


def _spoken_of(database: Database, number: int, found: dict[int, Waiting]) -> dict[int, Receipt]:
    """Receipts of the calls that others replace, or whose entry they end. Those that wait still are added."""
    receipts: dict[int, Receipt] = {}
    doubt, asks = _doubt(database), [ask for each in found.values() for ask in (each.call.replaces, each.call.opens)]
    while asks:
        ask = asks.pop()
        if not ask or ask in found or ask in receipts:
            continue
        row = database.execute("SELECT receipt FROM sent.receipts WHERE ask = ?", (ask,)).fetchone()
        if row:
            receipts[ask] = receipt_of_bytes(row[0])
            continue
        for backfill in (False, True):
            one = "SELECT call FROM main.calls WHERE connection = ? AND backfill = ? AND ask = ?"
            if row := database.execute(one, (number, backfill, ask)).fetchone():
                found[ask] = Waiting(decode_call(row[0]), _mark(database, ask, doubt))
                asks += [found[ask].call.replaces, found[ask].call.opens]
    return receipts


def _facts(database: Database) -> dict[str, Any]:
    if not database.execute("SELECT 1 FROM sent.sqlite_master WHERE name = 'facts'").fetchone():
        return {}
    return {key: msgspec.json.decode(value) for key, value in database.execute("SELECT key, value FROM sent.facts")}
