"""`sent/<connection>.db`: what became of a connection's calls. Its one sender writes it, others read it meanwhile.

meta      the file's id: the decider keeps how far it has folded this very file
ids       those that it had before another copy of it was put back, and where it ended then
marks     calls that may have been sent, and have no receipt
attempts  the last ones that came to nothing, of calls that had any
receipts  what became of calls, in the order of their outcomes
letters   dead letters of rejected and expired calls
facts     what the destination remembers, flushes, caps: small JSON values
counters  receipts by fate
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from pipeline import state_db
from pipeline.database import connect, connect_to_read, make_database, remove_beside, stamp, uri
from pipeline.disk import StoreError, make_folder, sqlite_errors, sync_folder
from pipeline.leases import log_lease
from pipeline.traces import Trace
from schemas.dead_letters import DeadLetter
from schemas.receipts import Receipt
from schemas.workspace import Workspace
from transforms.sending.log import REMADE

MEND = "put it back from a backup, or remove it: what waits, and what it alone knew of, is then sent once more"
# `calls`: how many receipts of calls, not of cancels, there are up to this one, so that nobody has to count them.
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE ids (number INTEGER PRIMARY KEY, id BLOB, upto INTEGER);
CREATE TABLE marks (ask INTEGER PRIMARY KEY, since REAL, maybe INTEGER, until REAL, job TEXT);
CREATE TABLE receipts (
    position INTEGER PRIMARY KEY AUTOINCREMENT, ask INTEGER, at REAL, calls INTEGER, receipt BLOB
);
CREATE INDEX receipts_by_ask ON receipts (ask);
CREATE TABLE letters (number INTEGER PRIMARY KEY, ask INTEGER, at INTEGER, reason TEXT, profile TEXT, letter BLOB);
CREATE INDEX letters_by_ask ON letters (ask);
CREATE TABLE facts (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE counters (fate TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID
"""
ATTEMPTS = """
CREATE TABLE IF NOT EXISTS attempts (
    ask INTEGER, at REAL, status INTEGER, words TEXT, PRIMARY KEY (ask, at)
) WITHOUT ROWID
"""  # by itself: files that are older have none until somebody sends
receipt_of_bytes = msgspec.msgpack.Decoder(Receipt).decode
_letter_of = msgspec.json.Decoder(DeadLetter).decode


def path_of(folder: Path, connection: str) -> Path:
    return folder / "sent" / f"{connection}.db"


def make(folder: Path, connection: str) -> bytes:
    """Make the file where there is none; its id. Raises StoreError."""
    path = path_of(folder, connection)
    if not path.exists():
        with sqlite_errors(path, MEND), _making(path.parent):
            if not path.exists():
                _make(path)
    with closing(Receipts(folder, connection)) as receipts:
        return receipts.file_id


def _make(path: Path) -> None:
    beside = path.with_name(f"{path.name}.new")
    make_database(beside, _SCHEMA, {"id": os.urandom(16), "doubt": 0, "pruned": 0})
    remove_beside(path)
    beside.rename(path)  # a power cut may lose the name: that is found by the id, which the state knows
    Trace(path).leave()


@contextmanager
def _making(folder: Path) -> Iterator[None]:
    """One at a time: a decider and a sender may both find that there is no file."""
    make_folder(folder)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def rename(folder: Path, names: Mapping[str, str]) -> None:
    """Connections have other names (old: new): their files go with them. What is done already, after a crash, is left.

    The caller may decide here. Raises Busy, before anything is done, while one of them is delivered; and StoreError.
    """
    with ExitStack() as leases:
        for name in sorted({*names, *names.values()}):
            leases.enter_context(log_lease(folder, name))
        left = {old: new for old, new in names.items() if path_of(folder, old).exists()}
        for old, new in left.items():
            if new not in names and path_of(folder, new).exists():
                raise StoreError(
                    f"{path_of(folder, new)}: it is of a connection that had this name before; give {old} another new "
                    "name, or remove the file if nobody needs its dead letters"
                )
        while left:  # first those whose new name nobody has to give up
            old = next((old for old, new in left.items() if new not in left), next(iter(left)))
            _move(path_of(folder, old), path_of(folder, left.pop(old)))


def _move(before: Path, after: Path) -> None:
    with sqlite_errors(before, MEND):
        trace = Trace(before)
        sure = trace.sure()
        with closing(connect(before)) as database:  # what lies in the file beside it comes into it, whoever reads it
            if database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                raise StoreError(f"{before}: another process reads it; run again")
        remove_beside(after)
        before.rename(after)
        remove_beside(before)
        sync_folder(after.parent)
        trace.forget()
        if sure:
            Trace(after).leave()


class Told(NamedTuple):
    position: int
    receipt: Receipt


class Receipts:
    """A connection's receipts and dead letters, as others read them while its sender writes."""

    def __init__(self, folder: Path, connection: str) -> None:
        self._path, self._connection = path_of(folder, connection), connection
        self._db: sqlite3.Connection | None = None
        if self._path.exists():
            with sqlite_errors(self._path, MEND):
                self._db = connect_to_read(self._path)

    def stamp(self) -> object:
        """See `pipeline.database.stamp`."""
        return stamp(self._path)

    @property
    def file_id(self) -> bytes:
        """The id of the file; b"" where there is none."""
        found = self.one("SELECT value FROM meta WHERE key = 'id'")
        return bytes(found[0]) if found else b""

    def place(self, folded: tuple[bytes, int] | None) -> int:
        """Up to which position receipts of this file are folded, where those of a file are up to a position.

        What an older copy has in common with the file in whose place it was put is not folded again: it would write
        old values over newer ones that are known to be told, and a later value that is none of them might be taken
        for what the vendor has.
        """
        if folded is None:
            return 0
        file, position = folded
        if file == self.file_id:
            return position
        rows = self._rows("SELECT upto FROM ids WHERE id = ? ORDER BY number DESC LIMIT 1", file)
        return min(position, rows[0][0]) if rows else 0

    def after(self, position: int, most: int) -> list[Told]:
        """Receipts behind a position, in order."""
        rows = self._rows(
            "SELECT position, receipt FROM receipts WHERE position > ? ORDER BY position LIMIT ?", position, most
        )
        with sqlite_errors(self._path, MEND):
            return [Told(place, receipt_of_bytes(receipt)) for place, receipt in rows]

    def settled(self, first: int, last: int) -> set[int]:
        """Those of these asks that have a receipt."""
        return {ask for (ask,) in self._rows("SELECT ask FROM receipts WHERE ask BETWEEN ? AND ?", first, last)}

    def last_ask(self) -> int:
        """The greatest one that has a receipt; 0: none has."""
        found = self.one("SELECT max(ask) FROM receipts")
        return int(found[0] or 0) if found else 0

    def facts(self, prefix: str) -> list[tuple[str, Any]]:
        """Small facts whose names begin so."""
        rows = self._rows("SELECT key, value FROM facts WHERE substr(key, 1, ?) = ?", len(prefix), prefix)
        return [(key, msgspec.json.decode(value)) for key, value in rows]

    def counters(self) -> dict[str, int]:
        """Receipts so far by fate, without those of cancels."""
        return dict(self._rows("SELECT fate, number FROM counters"))

    def acknowledged(self) -> bool:
        """Whether the vendor ever took a call."""
        return self.counters().get("delivered", 0) > 0

    def letters(self, after: int = 0, since: float = 0.0) -> Iterator[tuple[int, DeadLetter]]:
        """Dead letters with the number of the call's ask, oldest first, by the name that the connection has now."""
        while rows := self._rows(
            "SELECT number, ask, letter FROM letters WHERE number > ? AND at >= ? ORDER BY number LIMIT 500",
            after, int(since),
        ):  # fmt: skip
            after = rows[-1][0]
            with sqlite_errors(self._path, MEND):
                found = [(ask, _letter_of(letter)) for _, ask, letter in rows]
            for ask, letter in found:
                yield ask, replace(letter, connection=self._connection)

    def reasons(self, since: float = 0.0) -> list[tuple[str, int, bytes]]:
        """Dead letters counted by reason, the most frequent first, each with its newest one."""
        return self._rows(
            "SELECT l.reason, n.number, l.letter FROM letters l JOIN (SELECT reason, count(*) AS number, max(number) "
            "AS newest FROM letters WHERE at >= ? GROUP BY reason) n ON l.number = n.newest ORDER BY n.number DESC",
            int(since),
        )

    def close(self) -> None:
        if self._db is not None:
            self._db.close()

    def one(self, statement: str) -> Any:
        found = self._rows(statement)
        return found[0] if found else None

    def _rows(self, statement: str, *values: object) -> list[Any]:
        if self._db is None:
            return []
        with sqlite_errors(self._path, MEND):
            return self._db.execute(statement, values).fetchall()


def remade(folder: Path, workspace: Workspace) -> dict[str, float]:
    """When lists and fields that were gone at their vendor were made again, by `connection/form/key`."""
    found = {}
    for connection in workspace.connections:
        for name in {connection.name, connection.was} - {""}:
            receipts = Receipts(folder, name)
            for key, value in receipts.facts(REMADE):
                found[f"{connection.name}/{key.removeprefix(REMADE)}"] = float(value)
            receipts.close()
    return found


def newest_letter(folder: Path, connection: str) -> int:
    """The number of the newest dead letter of a connection."""
    with closing(Receipts(folder, connection)) as receipts:
        found = receipts.one("SELECT max(number) FROM letters")
    return (found[0] if found else 0) or 0


class Left(NamedTuple):
    """What waits in a connection's log."""

    calls: int
    cancels: int


def waiting(folder: Path, connection: str, number: int, quickly: bool = False) -> int:
    """Calls without a receipt; cancels are not counted.

    `quickly`: without looking at each receipt that is not folded. It is the same number, unless another copy of a
    file was put back and is not folded yet.
    """
    with both(folder, connection) as database:
        return (_left if quickly else _counted)(database, number).calls


def retries(folder: Path, connection: str, number: int) -> int:
    """Of the calls without a receipt those that were sent before, or may have been: their requests came to nothing."""
    with both(folder, connection) as database:
        there = database.execute("SELECT 1 FROM sent.sqlite_master WHERE name = 'attempts'").fetchone()
        tried = "SELECT ask FROM sent.marks" + (" UNION SELECT ask FROM sent.attempts" if there else "")
        found = database.execute(
            f"SELECT count(*) FROM ({tried}) t WHERE NOT EXISTS (SELECT 1 FROM sent.receipts r WHERE r.ask = t.ask) "
            "AND EXISTS (SELECT 1 FROM main.calls c WHERE c.connection = ? AND c.backfill IN (0, 1) AND c.ask = t.ask)",
            (number,),
        )
        return int(found.fetchone()[0])


class Standing(NamedTuple):
    """A connection's log at one moment: made = settled + waiting."""

    made: int
    waiting: int
    fates: dict[str, int]


def standing(folder: Path, connection: str, number: int, quickly: bool = False) -> Standing:
    """While others decide and send. `quickly`: see `waiting`."""
    with both(folder, connection) as database:
        database.execute("BEGIN")  # of each file all is read as it was at the first look
        made = database.execute("SELECT made FROM main.counters WHERE connection = ?", (number,)).fetchone()
        left = (_left if quickly else _counted)(database, number).calls
        fates = dict(database.execute("SELECT fate, number FROM sent.counters"))
    return Standing(made[0] if made else 0, left, fates)


def unsettled(folder: Path, connection: str, number: int, after: int = 0) -> bool:
    """Whether there is anything without a receipt, cancels too, behind an ask. As `waiting` says it `quickly`."""
    with both(folder, connection) as database:
        if not any(_left(database, number)):
            return False
        return not after or _any_behind(database, number, after)


def _left(database: sqlite3.Connection, number: int) -> Left:
    calls, cancels, position = _state_of(database, number)
    last, settled = _last(database, None)
    if last <= position:
        return Left(calls, cancels)
    folded = _last(database, position)[1]
    both = calls + cancels - (last - position)
    left = max(calls - (settled - folded), 0)
    return Left(left, max(both - left, 0))


def _counted(database: sqlite3.Connection, number: int) -> Left:
    calls, cancels, position = _state_of(database, number)
    settled, of_calls = database.execute(
        "SELECT count(*), coalesce(sum(c.slot != 0), 0) FROM sent.receipts r CROSS JOIN main.calls c "
        "ON c.connection = ? AND c.backfill IN (0, 1) AND c.ask = r.ask WHERE r.position > ?",
        (number, position),
    ).fetchone()
    return Left(calls - of_calls, cancels - (settled - of_calls))


def _state_of(database: sqlite3.Connection, number: int) -> tuple[int, int, int]:
    """What stands in the log, and up to which position the receipts in this file are folded."""
    row = database.execute("SELECT calls, cancels FROM counters WHERE connection = ?", (number,)).fetchone()
    calls, cancels = row or (0, 0)
    folded = database.execute(
        "SELECT CASE WHEN f.file = (SELECT value FROM sent.meta WHERE key = 'id') THEN f.position ELSE min(f.position, "
        "coalesce((SELECT upto FROM sent.ids i WHERE i.id = f.file ORDER BY i.number DESC LIMIT 1), 0)) END "
        "FROM main.folded f WHERE f.connection = ?",
        (number,),
    ).fetchone()
    return calls, cancels, folded[0] if folded else 0


def _last(database: sqlite3.Connection, upto: int | None) -> tuple[int, int]:
    """The last receipt up to a position, and how many of calls there are up to it."""
    where = "" if upto is None else f"WHERE position <= {upto}"
    row = database.execute(f"SELECT position, calls FROM sent.receipts {where} ORDER BY position DESC LIMIT 1")
    return row.fetchone() or (0, 0)


def _any_behind(database: sqlite3.Connection, number: int, after: int) -> bool:
    """The newest first: they are the likeliest to wait."""
    statement = (
        "SELECT 1 FROM calls WHERE connection = ? AND backfill = ? AND ask > ? "
        "AND NOT EXISTS (SELECT 1 FROM sent.receipts r WHERE r.ask = calls.ask) ORDER BY ask DESC LIMIT 1"
    )
    return any(database.execute(statement, (number, backfill, after)).fetchone() for backfill in (0, 1))


@contextmanager
def both(folder: Path, connection: str) -> Iterator[sqlite3.Connection]:
    database = attached(folder, connection)
    try:
        with errors_of_both(database, folder, connection):
            yield database
    finally:
        database.close()


def attached(folder: Path, connection: str) -> sqlite3.Connection:
    """The state's database to read, with the connection's own as `sent`; where there is none yet, an empty one."""
    state, sent = folder / state_db.NAME, path_of(folder, connection)
    there = sent.exists()
    with sqlite_errors(state):
        database = connect_to_read(state)
    try:
        with sqlite_errors(sent, MEND):
            database.execute("ATTACH ? AS sent", (uri(sent, "ro") if there else ":memory:",))
            if not there:
                for table in (
                    "meta (key, value)",
                    "ids (number, id, upto)",
                    "receipts (position, ask, calls)",
                    "marks (ask, since, maybe, until, job)",
                    "counters (fate, number)",
                ):
                    database.execute(f"CREATE TABLE sent.{table}")
        with sqlite_errors(state):
            database.execute("SELECT 1 FROM main.meta").fetchone()
        with sqlite_errors(sent, MEND):
            database.execute("SELECT 1 FROM sent.meta").fetchone()
    except StoreError:
        database.close()
        raise
    return database


@contextmanager
def errors_of_both(database: sqlite3.Connection, folder: Path, connection: str) -> Iterator[None]:
    """As `sqlite_errors`, naming the one that is damaged."""
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
        path = path_of(folder, connection)
        whole = isinstance(error, sqlite3.ProgrammingError) or _is_whole(database, "sent")
        with sqlite_errors(folder / state_db.NAME) if whole else sqlite_errors(path, MEND):
            raise


def _is_whole(database: sqlite3.Connection, schema: str) -> bool:
    try:
        return bool(database.execute(f"PRAGMA {schema}.quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False
