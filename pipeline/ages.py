"""How long what a connection was asked waits."""

import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from pipeline.database import uri
from pipeline.sent import Receipts, both
from transforms.destinations import find
from transforms.logic.plan import ConnectionPlan
from transforms.sending.deferred import FLUSHED, next_flush


def oldest_waiting(folder: Path, connection: str, number: int) -> float:
    """When the oldest call without a receipt was asked, seconds since 1970; 0: none waits, or it is not known."""
    with both(folder, connection) as database:
        found = [_asked(folder, connection, _oldest(database, number, backfill)) for backfill in (False, True)]
    return min((asked for asked in found if asked), default=0.0)


def oldest_change(folder: Path, plan: ConnectionPlan, destination: str, silent: float = 0.0) -> float:
    """Seconds since the oldest change that waits could have gone; 0: none waits.

    A change is what an event or a receipt asks for: what a changed workspace asks for, and history, take as long as
    they take; of them only a silence of the vendor counts. `silent`: since when there is one, seconds since 1970. What
    goes to a list has until its next flush.
    """
    every = _flushed(plan, destination)
    among = {f"c.slot NOT IN ({_listed(list(every))})": 0.0}
    for seconds in set(every.values()):
        among[f"c.slot IN ({_listed([slot for slot, each in every.items() if each == seconds])})"] = seconds
    with both(folder, plan.name) as database:
        asked = [_asked(folder, plan.name, _oldest(database, plan.number, False, f"AND {each}")) for each in among]
    now = time.time()
    due = [at + seconds for at, seconds in zip(asked, among.values(), strict=True) if at]
    if silent and (oldest := oldest_waiting(folder, plan.name, plan.number)):
        due.append(max(oldest, silent))
    return max((now - at for at in due if at < now), default=0.0)


def until_flush(folder: Path, plan: ConnectionPlan, destination: str, now: float) -> int:
    """Calls without a receipt that wait for the next flush of their list. `now`: by the clock that flushes go by."""
    with closing(Receipts(folder, plan.name)) as receipts:
        began = last_flushes(receipts)
    every = _flushed(plan, destination)
    later = [slot for slot in every if next_flush(began.get(slot, 0.0), every[slot]) > now]
    if not later:
        return 0
    with both(folder, plan.name) as database:
        row = database.execute(
            f"SELECT count(*) FROM main.calls c WHERE c.connection = ? AND c.backfill IN (0, 1) "
            f"AND c.slot IN ({_listed(later)}) AND NOT EXISTS (SELECT 1 FROM sent.receipts r WHERE r.ask = c.ask)",
            (plan.number,),
        ).fetchone()
    return int(row[0])


def last_flushes(receipts: Receipts) -> dict[int, float]:
    """When the last flush of each list began, by slot."""
    return {int(key.removeprefix(FLUSHED)): float(at or 0.0) for key, at in receipts.facts(FLUSHED)}


def _oldest(database: sqlite3.Connection, number: int, backfill: bool, among: str = "") -> int:
    """The first ask without a receipt; 0: there is none."""
    statement = (
        f"SELECT c.ask FROM main.calls c WHERE c.connection = ? AND c.backfill = ? AND c.slot > 0 {among} "
        "AND NOT EXISTS (SELECT 1 FROM sent.receipts r WHERE r.ask = c.ask) ORDER BY c.ask LIMIT 1"
    )
    row = database.execute(statement, (number, backfill)).fetchone()
    return row[0] if row else 0


def _asked(folder: Path, connection: str, ask: int) -> float:
    """When it was asked, seconds since 1970; 0: not known.

    Asks are of the clock. A sender of a streaming job numbers calls by their places in Kafka, and keeps the asks beside
    (`pipeline.streaming.places`).
    """
    places = folder / f"{connection}.places"
    if ask and places.exists():
        found = None
        with suppress(sqlite3.Error), closing(sqlite3.connect(uri(places, "ro"), uri=True)) as database:
            found = database.execute("SELECT ask FROM places WHERE place = ?", (ask,)).fetchone()
        ask = found[0] if found else 0
    return ask / 1e6


def _flushed(plan: ConnectionPlan, destination: str) -> dict[int, float]:
    """Slots that are flushed, with the seconds between flushes."""
    kind = find(destination)
    forms = [form for sync in (*plan.syncs, *plan.groups) for form in sync.forms]
    return {form.slot: kind.flush_every[form.form] for form in forms if kind and form.form in kind.flush_every}


def _listed(slots: list[int]) -> str:
    return ",".join(map(str, slots)) or "0"
