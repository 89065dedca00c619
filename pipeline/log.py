"""One connection's log on disk: calls in `state.db`, and `sent/<connection>.db`, written by its one sender alone.

    meta      the file's id: the decider keeps how far it has folded this very file
    marks     calls that may have been sent, and have no receipt
    receipts  what became of calls, in the order of their outcomes
    letters   dead letters of rejected and expired calls
    facts     what the destination remembers, flushes, caps: small JSON values
    counters  receipts by fate

A thread of its own writes: all that waits for it goes in one transaction, and is on the disk when that is done.
"""

import os
import queue
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pipeline import state_db
from pipeline.disk import StoreError, sqlite_errors
from pipeline.state_db import decode_call
from schemas.dead_letters import DeadLetter
from schemas.receipts import Receipt
from transforms.sending.log import Mark, Waiting, Writing, fields_of

RECEIPTS_KEPT = 7 * 86_400  # seconds after they were folded: for people who ask what became of a call
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marks (ask INTEGER PRIMARY KEY, since REAL, maybe INTEGER, until REAL);
CREATE TABLE IF NOT EXISTS receipts (
    position INTEGER PRIMARY KEY AUTOINCREMENT, ask INTEGER, at REAL, receipt BLOB
);
CREATE INDEX IF NOT EXISTS receipts_by_ask ON receipts (ask);
CREATE TABLE IF NOT EXISTS letters (
    number INTEGER PRIMARY KEY, ask INTEGER, at INTEGER, reason TEXT, profile TEXT, letter BLOB
);
CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (fate TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID;
"""
_receipt = msgspec.msgpack.Encoder().encode
_receipt_of = msgspec.msgpack.Decoder(Receipt).decode
_json, _letter_of = msgspec.json.Encoder().encode, msgspec.json.Decoder(DeadLetter).decode


def path_of(folder: Path, connection: str) -> Path:
    return folder / "sent" / f"{connection}.db"


class SqliteLog:
    """The log as its sender has it; see `transforms.sending.log.Log`. Whoever has one holds the connection's lease."""

    def __init__(self, folder: Path, connection: str, number: int) -> None:
        """`number`: of the connection in the registry. Raises StoreError."""
        self._number = number
        self._path = path_of(folder, connection)
        self._state_path = folder / state_db.NAME
        os.umask(0o077)
        with sqlite_errors(self._path):
            self._path.parent.mkdir(exist_ok=True)
            self._writer = _open(self._path)
            self._sent = _open(self._path)
        with sqlite_errors(self._state_path):
            self._state = _read_only(self._state_path)
        self._reading = threading.Lock()
        self._queued: set[int] = set()  # asks whose receipts are on their way to the disk
        self._queue: queue.SimpleQueue[tuple[Writing, Future[None]] | None] = queue.SimpleQueue()
        self._doubt = self._recognise()
        self._thread = threading.Thread(target=self._write_all, name=f"log {connection}", daemon=True)
        self._thread.start()

    def _recognise(self) -> int:
        """Up to which ask calls without a receipt may have been sent, though this file does not say so.

        The file is new, or an older copy was put back: it gets a new id, so that its receipts are all folded again.
        """
        with sqlite_errors(self._path):
            row = self._writer.execute("SELECT value FROM meta WHERE key = 'id'").fetchone()
            (last,) = self._writer.execute("SELECT coalesce(max(position), 0) FROM receipts").fetchone()
            folded = self._state.execute(
                "SELECT file, position FROM folded WHERE connection = ?", (self._number,)
            ).fetchone()
            doubtful = folded is not None and (row is None or row[0] != folded[0] or folded[1] > last)
            if row is None or doubtful:
                doubt = self.newest() if doubtful else 0
                self._writer.executemany(
                    "INSERT OR REPLACE INTO meta VALUES (?, ?)", [("id", os.urandom(16)), ("doubt", doubt)]
                )
            (doubt,) = self._writer.execute("SELECT value FROM meta WHERE key = 'doubt'").fetchone()
        return int(doubt)

    # -- reading

    def read(self, backfill: bool, after: int, most: int, slots: frozenset[int] | None = None) -> list[Waiting]:
        found: list[Waiting] = []
        only = "" if slots is None else f" AND slot IN ({','.join(map(str, sorted(slots)))})"
        with self._reading, sqlite_errors(self._state_path):
            while len(found) < most:
                rows = self._state.execute(
                    f"SELECT ask, call FROM calls WHERE connection = ? AND backfill = ? AND ask > ?{only} "
                    "ORDER BY ask LIMIT ?",
                    (self._number, int(backfill), after, most - len(found)),
                ).fetchall()
                if not rows:
                    break
                first, after = rows[0][0], rows[-1][0]
                settled = self._settled(first, after)
                marks = self._marks(first, after)
                found += [
                    Waiting(decode_call(call), marks.get(ask) or self._unmarked(ask))
                    for ask, call in rows
                    if ask not in settled
                ]
        return found

    def _settled(self, first: int, last: int) -> set[int]:
        rows = self._sent.execute("SELECT ask FROM receipts WHERE ask BETWEEN ? AND ?", (first, last))
        return {ask for (ask,) in rows} | self._queued

    def _marks(self, first: int, last: int) -> dict[int, Mark]:
        rows = self._sent.execute("SELECT ask, since, maybe, until FROM marks WHERE ask BETWEEN ? AND ?", (first, last))
        return {ask: Mark(since, bool(maybe), until) for ask, since, maybe, until in rows}

    def _unmarked(self, ask: int) -> Mark:
        return Mark(maybe=ask <= self._doubt)

    def newest(self) -> int:
        with sqlite_errors(self._state_path):
            rows = [
                self._state.execute(
                    "SELECT max(ask) FROM calls WHERE connection = ? AND backfill = ?", (self._number, backfill)
                ).fetchone()[0]
                for backfill in (0, 1)
            ]
        return max(row or 0 for row in rows)

    def waiting(self) -> int:
        return waiting(self._state_path.parent, self._path.stem, self._number)

    def receipt(self, ask: int) -> Receipt | None:
        with self._reading, sqlite_errors(self._path):
            row = self._sent.execute("SELECT receipt FROM receipts WHERE ask = ?", (ask,)).fetchone()
        return _receipt_of(row[0]) if row else None

    def mark(self, ask: int) -> Mark:
        with self._reading, sqlite_errors(self._path):
            return self._marks(ask, ask).get(ask) or self._unmarked(ask)

    def facts(self) -> dict[str, Any]:
        with self._reading, sqlite_errors(self._path):
            rows = self._sent.execute("SELECT key, value FROM facts").fetchall()
        try:
            return {key: msgspec.json.decode(value) for key, value in rows}
        except msgspec.DecodeError as error:
            raise StoreError(f"{self._path}: a fact in it is no JSON ({error})") from error

    def workspace(self) -> int:
        with self._reading, sqlite_errors(self._state_path):
            row = self._state.execute("SELECT value FROM meta WHERE key = 'workspace_number'").fetchone()
        return int(row[0]) if row else 0

    # -- writing

    def write(self, writing: Writing) -> "Future[None]":
        done: Future[None] = Future()
        self._queued.update(receipt.ask for receipt in writing.receipts)
        self._queue.put((writing, done))
        return done

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()
        for database in (self._sent, self._state):
            database.close()

    def _write_all(self) -> None:
        while True:
            waiting = [self._queue.get()]
            while not self._queue.empty():
                waiting.append(self._queue.get())
            writings = [each for each in waiting if each is not None]
            if writings:
                self._write_together(writings)
            if len(writings) < len(waiting):
                self._prune()
                self._writer.close()
                return

    def _write_together(self, writings: "list[tuple[Writing, Future[None]]]") -> None:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for writing, _ in writings:
                self._apply(writing)
            self._writer.execute("COMMIT")
        except Exception as error:  # whoever waits has to hear of it, whatever it was
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            for _, done in writings:
                done.set_exception(OSError(0, str(error), str(self._path)))
            return
        for writing, done in writings:
            done.set_result(None)
            self._queued.difference_update(receipt.ask for receipt in writing.receipts)

    def _apply(self, writing: Writing) -> None:
        write, now = self._writer, int(time.time())
        if writing.marks:
            write.executemany("DELETE FROM marks WHERE ask = ?", [(ask,) for ask in writing.marks])
            write.executemany(
                "INSERT INTO marks VALUES (?, ?, ?, ?)",
                [(ask, *mark) for ask, mark in writing.marks.items() if mark != Mark()],
            )
        if writing.receipts:
            write.executemany(
                "INSERT INTO receipts (ask, at, receipt) VALUES (?, ?, ?)",
                [(receipt.ask, receipt.at, _receipt(receipt)) for receipt in writing.receipts],
            )
            write.executemany("DELETE FROM marks WHERE ask = ?", [(receipt.ask,) for receipt in writing.receipts])
            write.executemany(
                "INSERT INTO counters VALUES (?, ?) ON CONFLICT (fate) DO UPDATE SET number = number + excluded.number",
                list(fields_of(writing.receipts).items()),
            )
        if writing.dead_letters:
            write.executemany(
                "INSERT INTO letters (ask, at, reason, profile, letter) VALUES (?, ?, ?, ?, ?)",
                [(ask, now, x.reason, x.payload.get("profile_id", ""), _json(x)) for ask, x in writing.dead_letters],
            )
        for key, value in writing.facts.items():
            if value is None:
                write.execute("DELETE FROM facts WHERE key = ?", (key,))
            else:
                write.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, _json(value)))

    def _prune(self) -> None:
        """Forget what was folded long ago. It is no loss if that fails."""
        try:
            row = self._state.execute(
                "SELECT file, position FROM folded WHERE connection = ?", (self._number,)
            ).fetchone()
            mine = self._writer.execute("SELECT value FROM meta WHERE key = 'id'").fetchone()
            if row and mine and row[0] == mine[0]:
                self._writer.execute(
                    "DELETE FROM receipts WHERE position <= ? AND at < ?", (row[1], time.time() - RECEIPTS_KEPT)
                )
            self._writer.execute("DELETE FROM letters WHERE at < ?", (int(time.time() - state_db.LETTERS_KEPT),))
            self._writer.execute("PRAGMA incremental_vacuum(2000)").fetchall()
        except sqlite3.Error:
            return


class Told(NamedTuple):
    position: int
    receipt: Receipt


class Receipts:
    """A connection's receipts and dead letters, as others read them while its sender writes."""

    def __init__(self, folder: Path, connection: str) -> None:
        self._path = path_of(folder, connection)
        self._db = _read_only(self._path) if self._path.exists() else None

    @property
    def file_id(self) -> bytes:
        """b"": nothing was ever sent."""
        row = self.one("SELECT value FROM meta WHERE key = 'id'")
        return bytes(row[0]) if row else b""

    def after(self, position: int, most: int) -> list[Told]:
        """Receipts behind a position, in order."""
        if self._db is None:
            return []
        with sqlite_errors(self._path):
            rows = self._db.execute(
                "SELECT position, receipt FROM receipts WHERE position > ? ORDER BY position LIMIT ?", (position, most)
            ).fetchall()
        return [Told(place, _receipt_of(receipt)) for place, receipt in rows]

    def counters(self) -> dict[str, int]:
        """Receipts so far by fate, without those of cancels."""
        if self._db is None:
            return {}
        with sqlite_errors(self._path):
            return dict(self._db.execute("SELECT fate, number FROM counters"))

    def acknowledged(self) -> bool:
        """Whether the vendor ever took a call."""
        return self.counters().get("delivered", 0) > 0

    def letters(self, after: int = 0, since: float = 0.0) -> Iterator[tuple[int, DeadLetter]]:
        """Dead letters with the number of the call's ask, oldest first."""
        while self._db is not None:
            with sqlite_errors(self._path):
                rows = self._db.execute(
                    "SELECT number, ask, letter FROM letters WHERE number > ? AND at >= ? ORDER BY number LIMIT 500",
                    (after, int(since)),
                ).fetchall()
            if not rows:
                return
            after = rows[-1][0]
            yield from ((ask, _letter_of(letter)) for _, ask, letter in rows)

    def close(self) -> None:
        if self._db is not None:
            self._db.close()

    def one(self, statement: str) -> Any:
        if self._db is None:
            return None
        with sqlite_errors(self._path):
            return self._db.execute(statement).fetchone()


def newest_letter(folder: Path, connection: str) -> int:
    """The number of the newest dead letter of a connection."""
    receipts = Receipts(folder, connection)
    row = receipts.one("SELECT max(number) FROM letters")
    receipts.close()
    return (row[0] if row else 0) or 0


def waiting(folder: Path, connection: str, number: int) -> int:
    """Calls without a receipt; cancels are not counted."""
    state, sent = folder / state_db.NAME, path_of(folder, connection)
    with sqlite_errors(state):
        database = _read_only(state)
        try:
            if not sent.exists():
                sql = "SELECT count(*) FROM calls WHERE connection = ? AND slot != 0"
            else:
                database.execute("ATTACH ? AS sent", (f"file:{sent}?mode=ro",))
                sql = (
                    "SELECT count(*) FROM calls WHERE connection = ? AND slot != 0 "
                    "AND NOT EXISTS (SELECT 1 FROM sent.receipts WHERE receipts.ask = calls.ask)"
                )
            (number_of_calls,) = database.execute(sql, (number,)).fetchone()
        finally:
            database.close()
    return int(number_of_calls)


def unsettled(folder: Path, connection: str, number: int, after: int = 0) -> bool:
    """Whether there is anything without a receipt, cancels too, behind an ask."""
    state, sent = folder / state_db.NAME, path_of(folder, connection)
    with sqlite_errors(state):
        database = _read_only(state)
        try:
            sql = "SELECT 1 FROM calls WHERE connection = ? AND backfill IN (0, 1) AND ask > ?"
            if sent.exists():
                database.execute("ATTACH ? AS sent", (f"file:{sent}?mode=ro",))
                sql += " AND NOT EXISTS (SELECT 1 FROM sent.receipts WHERE receipts.ask = calls.ask)"
            return database.execute(f"{sql} LIMIT 1", (number, after)).fetchone() is not None
        finally:
            database.close()


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, timeout=60.0, check_same_thread=False)
    database.execute("PRAGMA auto_vacuum = INCREMENTAL")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA secure_delete = ON")
    database.executescript(_SCHEMA)
    return database


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=60.0, check_same_thread=False
    )
