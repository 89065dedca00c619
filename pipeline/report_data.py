"""What a report shows, read from a state directory. It may be read while others decide and send."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
from msgspec import Struct

from pipeline.ages import last_flushes, oldest_waiting
from pipeline.history import summaries
from pipeline.sent import Receipts, attached, errors_of_both, standing
from pipeline.state_db import StateDb
from pipeline.summary import Summary
from schemas.dead_letters import DeadLetter, mask
from schemas.registry import Registry, decode_registry
from transforms.destinations import find

_SHOWN = 300  # characters of a vendor's words
_letter_of = msgspec.json.Decoder(DeadLetter).decode


class Reason(Struct):
    """Why calls of one connection came to nothing."""

    reason: str
    number: int
    words: str = ""  # the vendor's, of the newest one, or what a record should have had; without the person
    advice: str = ""


class ConnectionNow(Struct):
    """How it stands with one connection now, and what became of its calls since the state was made."""

    made: int
    waiting: int
    fates: dict[str, int]
    oldest: float = 0.0  # when the oldest waiting call was asked, seconds since 1970; 0: none waits
    deletions: int = 0  # that wait
    flushed: dict[str, float] = {}  # by list: when its last flush began
    flush_every: float = 0.0  # seconds between flushes of a list; 0: not known, since no run tells the destination
    reasons: list[Reason] = []


class Audience(Struct):
    """How many members an audience had at the end of days; of days that are not here, as on the one before."""

    sizes: dict[date, int] = {}

    @property
    def size(self) -> int:
        return self.sizes[max(self.sizes)]


class ReportData(Struct):
    """Everything that the page shows."""

    workspace: str
    at: datetime
    profiles: int
    runs: list[Summary]  # the oldest first
    connections: dict[str, ConnectionNow]
    audiences: dict[str, Audience]


def collect(folder: Path, run: str, since: datetime | None, now: datetime) -> ReportData:
    """`run` and `since` choose runs; how it stands now is always shown. Raises NoState and StoreError."""
    with closing(StateDb.open(folder, to_read=True)) as db:
        registry = decode_registry(packed) if (packed := db.registry()) else Registry()
        names = [name for name in registry.connections if name in registry.tenants]
        connections = {name: _connection(db, registry, name, since) for name in names}
        if last := next(summaries(folder), None):
            for name in connections.keys() & last.connections.keys():
                kind = find(last.connections[name].report.destination)
                connections[name].flush_every = kind.flush_every.get("list", 0.0) if kind else 0.0
        return ReportData(
            registry.workspace,
            now,
            db.subjects(),
            list(reversed([*chosen(folder, run, since)])),
            connections,
            _audiences(db, registry),
        )


def chosen(folder: Path, run: str, since: datetime | None) -> Iterator[Summary]:
    """Runs, the latest first."""
    for summary in summaries(folder):
        began = datetime.strptime(summary.run[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if run in ("", summary.run) and (since is None or began >= since):
            yield summary


def _connection(db: StateDb, registry: Registry, name: str, since: datetime | None) -> ConnectionNow:
    number = registry.connections.index(name)
    found = standing(db.folder, name, number, quickly=True)
    now = ConnectionNow(found.made, found.waiting, found.fates, oldest_waiting(db.folder, name, number))
    slots = {n: slot for n, slot in enumerate(registry.slots, 1) if slot.connection == name}
    deletions = [n for n, slot in slots.items() if slot.form == "delete"]
    with closing(attached(db.folder, name)) as database, errors_of_both(database, db.folder, name):
        left = "c.connection = ? AND NOT EXISTS (SELECT 1 FROM sent.receipts r WHERE r.ask = c.ask)"
        marks = ",".join(map(str, deletions)) or "0"
        deletion = f"SELECT count(*) FROM main.calls c WHERE {left} AND c.slot IN ({marks})"
        (now.deletions,) = database.execute(deletion, (number,)).fetchone()
    with closing(Receipts(db.folder, name)) as receipts:
        flushed = last_flushes(receipts)
        now.flushed = {slot.sync: flushed[n] for n, slot in slots.items() if slot.form == "list" and n in flushed}
        now.reasons = list(reasons_of(receipts, since.timestamp() if since else 0.0))
    return now


def reasons_of(receipts: Receipts, since: float) -> Iterator[Reason]:
    """Dead letters of a connection since a time, by reason, the most frequent first."""
    for _, number, packed in receipts.reasons(since):
        yield reason_of(number, _letter_of(packed))


def reason_of(number: int, newest: DeadLetter, of_record: bool = False) -> Reason:
    """So many dead letters; `of_record`: of records that were no events, and not of calls."""
    letter = mask(newest)
    return Reason(letter.reason, number, letter.expected if of_record else letter.answer[:_SHOWN], letter.advice)


def _audiences(db: StateDb, registry: Registry) -> dict[str, Audience]:
    found: dict[str, Audience] = {}
    for number, day, size in db.audiences():
        audience = found.setdefault(registry.computations[number], Audience(sizes={}))
        audience.sizes[date(1970, 1, 1) + timedelta(days=day)] = size
    return found
