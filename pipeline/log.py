"""One connection's log on disk: calls in `state.db`, and `sent/<connection>.db`, written by its one sender alone.

A thread of its own writes: all that waits for it goes in one transaction, and is on the disk when that is done.
"""

import os
import queue
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from typing import Any

import msgspec

from pipeline import state_db
from pipeline.database import connect, give_back, stamp
from pipeline.disk import SenderError, StoreError, sender_errors, sqlite_errors
from pipeline.sent import (
    ATTEMPTS,
    MEND,
    Receipts,
    Told,
    attached,
    errors_of_both,
    make,
    newest_letter,
    path_of,
    receipt_of_bytes,
    rename,
    unsettled,
    waiting,
)
from pipeline.state_db import decode_call
from pipeline.traces import Trace
from schemas.receipts import Receipt
from transforms.sending.log import Attempt, Mark, Waiting, Writing, fields_of

RECEIPTS_KEPT = 7 * 86_400  # seconds after they were folded: for people who ask what became of a call
ATTEMPTS_KEPT = 3  # of a call: the last ones that came to nothing, as long as a receipt is
_PRUNE = 3_600.0  # seconds between looks for what is to be forgotten
_FORGET = 50_000  # receipts at once
_REST = 10.0  # seconds until more are forgotten, where there are more
_UNMARKED, _MAYBE = Mark(), Mark(maybe=True)
_IDS_KEPT = 100  # of files put back, one after another, that no decider has seen
_receipt, _json = msgspec.msgpack.Encoder().encode, msgspec.json.Encoder().encode

# In place of the table, in a directory of before.
_NONE_REPLACED = "(SELECT NULL AS connection, NULL AS ask, NULL AS by, NULL AS goes WHERE 0)"


class SqliteLog:
    """The log as its sender has it; see `transforms.sending.log.Log`. Whoever has one holds the connection's lease.

    Every method raises SenderError where the disk or what is on it refuses.
    """

    def __init__(self, folder: Path, connection: str, number: int) -> None:
        """`number`: of the connection in the registry."""
        self._number, self._folder, self._connection = number, folder, connection
        self._path, self._state_path = path_of(folder, connection), folder / state_db.NAME
        self._reading = threading.Lock()
        self._queued: set[int] = set()  # asks whose receipts are on their way to the disk
        self._queue: queue.SimpleQueue[tuple[Writing, Future[None]] | None] = queue.SimpleQueue()
        self._failure: SenderError | None = None
        self._trace = Trace(self._path)
        with sender_errors():
            make(folder, connection)
            sure = self._trace.sure()
            self._reader = attached(folder, connection)
        try:
            with sender_errors(), sqlite_errors(self._state_path):
                self._replaced = self._table_of_replaced()
            with sender_errors(), sqlite_errors(self._path, MEND):
                self._writer = connect(self._path)
                self._writer.execute(ATTEMPTS)
                self._doubt = self._recognise(sure)
                self._settled_calls = self._last_count()
                self._trace.leave()
        except StoreError:
            self._reader.close()
            raise
        self._pruned = -inf
        self._thread = threading.Thread(target=self._write_all, name=f"log {connection}", daemon=True)
        self._thread.start()

    def _table_of_replaced(self) -> str:
        known = self._reader.execute("SELECT 1 FROM main.sqlite_master WHERE name = 'replaced'").fetchone()
        return "main.replaced" if known else _NONE_REPLACED

    def _recognise(self, sure: bool) -> int:
        """Up to which ask calls without a receipt may have been sent, though this file does not say so.

        Another copy of this file was put back, or of the state, which waits for receipts that are forgotten: the file
        gets a new id, for what is written now is not what was written here before.
        """
        known = dict(self._writer.execute("SELECT key, value FROM meta"))
        file, doubt, pruned = known.get("id"), known.get("doubt", 0), known.get("pruned", 0)
        last = self._last_position()
        folded = self._folded()
        if sure and file and (folded is None or (folded[0] == file and pruned <= folded[1] <= last)):
            return int(doubt)
        doubt = max(doubt, self.newest())
        self._writer.execute("BEGIN IMMEDIATE")
        self._writer.execute("INSERT INTO ids (id, upto) VALUES (?, ?)", (file, last))
        self._writer.execute("DELETE FROM ids WHERE number <= (SELECT max(number) FROM ids) - ?", (_IDS_KEPT,))
        self._writer.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)", [("id", os.urandom(16)), ("doubt", doubt)]
        )
        self._writer.execute("COMMIT")
        return int(doubt)

    def _last_position(self) -> int:
        """The position of the last receipt that there ever was, though it may be forgotten."""
        row = self._writer.execute("SELECT seq FROM sqlite_sequence WHERE name = 'receipts'").fetchone()
        return int(row[0]) if row else 0

    def _folded(self) -> tuple[bytes, int] | None:
        """Which file's receipts the state has, and up to which position."""
        with self._read():
            row = self._reader.execute(
                "SELECT file, position FROM main.folded WHERE connection = ?", (self._number,)
            ).fetchone()
        return row and (row[0], row[1])

    def _last_count(self) -> int:
        """How many receipts of calls there are, as the last one says."""
        row = self._writer.execute("SELECT calls FROM receipts ORDER BY position DESC LIMIT 1").fetchone()
        return int(row[0]) if row else 0

    # -- reading

    def read(self, backfill: bool, after: int, most: int) -> list[Waiting]:
        statement = (
            "SELECT c.ask, c.call, p.goes <= c.backfill, EXISTS (SELECT 1 FROM sent.receipts r WHERE r.ask = p.by) "
            f"FROM main.calls c LEFT JOIN {self._replaced} p ON p.connection = c.connection AND p.ask = c.ask "
            "WHERE c.connection = ? AND c.backfill = ? AND c.ask > ? "
            "AND NOT EXISTS (SELECT 1 FROM sent.receipts r WHERE r.ask = c.ask) ORDER BY c.ask LIMIT ?"
        )
        found: list[Waiting] = []
        with self._read():
            while len(found) < most:
                queued = self._queued.copy()  # first: what leaves it meanwhile is found in the file
                wanted = most - len(found)
                rows = self._reader.execute(statement, (self._number, backfill, after, wanted)).fetchall()
                if rows:
                    marks = self._marks(rows[0][0], rows[-1][0])
                    with sqlite_errors(self._state_path):
                        found += [
                            Waiting(
                                decode_call(call), marks.get(ask) or self._unmarked(ask), bool(replaced), bool(late)
                            )
                            for ask, call, replaced, late in rows
                            if ask not in queued
                        ]
                    after = rows[-1][0]
                if len(rows) < wanted:
                    break
        return found

    def _marks(self, first: int, last: int) -> dict[int, Mark]:
        """They are few."""
        rows = self._reader.execute(
            "SELECT ask, since, maybe, until, job FROM sent.marks WHERE ask BETWEEN ? AND ?", (first, last)
        )
        return {
            ask: Mark(since, bool(maybe) or ask <= self._doubt, until, job) for ask, since, maybe, until, job in rows
        }

    def _unmarked(self, ask: int) -> Mark:
        return _MAYBE if ask <= self._doubt else _UNMARKED

    def newest(self) -> int:
        statement = "SELECT max(ask) FROM calls WHERE connection = ? AND backfill = ?"
        with self._read():
            return max(self._reader.execute(statement, (self._number, each)).fetchone()[0] or 0 for each in (0, 1))

    def stamp(self) -> object:
        return stamp(self._state_path)

    def waiting(self) -> int:
        with sender_errors():
            return waiting(self._folder, self._connection, self._number, quickly=True)

    def receipt(self, ask: int) -> Receipt | None:
        with self._read(), sqlite_errors(self._path, MEND):
            row = self._reader.execute(
                "SELECT receipt FROM sent.receipts WHERE ask = ? ORDER BY position DESC LIMIT 1", (ask,)
            ).fetchone()
            return receipt_of_bytes(row[0]) if row else None

    def doubtful(self) -> bool:
        with self._read(), sqlite_errors(self._path, MEND):
            found = self._reader.execute("SELECT 1 FROM sent.marks WHERE maybe LIMIT 1").fetchone()
            return bool(found) or self._doubt > 0

    def facts(self) -> dict[str, Any]:
        with self._read(), sqlite_errors(self._path, MEND):
            rows = self._reader.execute("SELECT key, value FROM sent.facts").fetchall()
            return {key: msgspec.json.decode(value) for key, value in rows}

    def workspace(self) -> int:
        with self._read():
            row = self._reader.execute("SELECT value FROM main.meta WHERE key = 'workspace_number'").fetchone()
        return int(row[0]) if row else 0

    @contextmanager
    def _read(self) -> Iterator[None]:
        with sender_errors(), self._reading, errors_of_both(self._reader, self._folder, self._connection):
            yield

    # -- writing

    def write(self, writing: Writing) -> "Future[None]":
        done: Future[None] = Future()
        self._queued.update(receipt.ask for receipt in writing.receipts)
        self._queue.put((writing, done))
        return done

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()
        with sender_errors(), sqlite_errors(self._path, MEND):
            self._reader.close()
            self._writer.close()
            with suppress(OSError):  # it costs a doubt; and what it could say was said of what was written
                self._trace.leave()

    def _write_all(self) -> None:
        ends = False
        while not ends:
            waiting = [self._queue.get()]
            while not self._queue.empty():
                waiting.append(self._queue.get())
            writings = [each for each in waiting if each is not None]
            ends = len(writings) < len(waiting)
            if writings:
                self._write_together(writings)
            if not self._failure and (ends or time.monotonic() - self._pruned > _PRUNE):
                self._prune()

    def _write_together(self, writings: "list[tuple[Writing, Future[None]]]") -> None:
        """All or nothing. What could not be written is followed by nothing: receipts have an order."""
        if not self._failure:
            try:
                with sender_errors(), sqlite_errors(self._path, MEND):
                    self._transaction([writing for writing, _ in writings])
            except Exception as error:  # whoever waits has to hear of it, whatever it was
                self._failure = error if isinstance(error, SenderError) else SenderError(f"{self._path}: {error!r}")
        for writing, done in writings:
            self._queued.difference_update([receipt.ask for receipt in writing.receipts])
            if self._failure:
                done.set_exception(self._failure)
            else:
                done.set_result(None)

    def _transaction(self, writings: list[Writing]) -> None:
        self._writer.execute("BEGIN IMMEDIATE")
        settled = self._settled_calls
        try:
            for writing in writings:
                self._apply(writing)
            self._writer.execute("COMMIT")
        except BaseException:
            self._settled_calls = settled
            if self._writer.in_transaction:  # a full disk may have rolled it back already
                self._writer.execute("ROLLBACK")
            raise
        self._trace.leave()

    def _apply(self, writing: Writing) -> None:
        write, now = self._writer, int(time.time())
        if writing.marks:
            self._apply_marks(writing.marks)
        if writing.receipts:
            self._apply_receipts(writing.receipts)
        if writing.dead_letters:
            write.executemany(
                "INSERT INTO letters (ask, at, reason, profile, letter) VALUES (?, ?, ?, ?, ?)",
                [(ask, now, x.reason, x.payload.get("profile_id", ""), _json(x)) for ask, x in writing.dead_letters],
            )
        if writing.failed:
            self._apply_failed(writing.failed)
        for key, value in writing.facts.items():
            if value is None:
                write.execute("DELETE FROM facts WHERE key = ?", (key,))
            else:
                write.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, _json(value)))

    def _apply_marks(self, marks: dict[int, Mark]) -> None:
        kept = [(ask, *mark) for ask, mark in marks.items() if mark != Mark()]
        if len(kept) < len(marks):
            self._writer.executemany(
                "DELETE FROM marks WHERE ask = ?", [(ask,) for ask in marks if marks[ask] == Mark()]
            )
        self._writer.executemany("INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?, ?)", kept)

    def _apply_failed(self, failed: list[tuple[int, Attempt]]) -> None:
        rows = [(ask, *attempt) for ask, attempt in failed]
        self._writer.executemany("INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?)", rows)
        oldest = f"SELECT at FROM attempts WHERE ask = ?1 ORDER BY at DESC LIMIT 1 OFFSET {ATTEMPTS_KEPT - 1}"
        asks = [(ask,) for ask in dict(failed)]
        self._writer.executemany(f"DELETE FROM attempts WHERE ask = ?1 AND at < ({oldest})", asks)

    def _apply_receipts(self, receipts: list[Receipt]) -> None:
        rows = []
        for receipt in receipts:
            self._settled_calls += receipt.kind != "cancel"
            rows.append((receipt.ask, receipt.at, self._settled_calls, _receipt(receipt)))
        self._writer.executemany("INSERT INTO receipts (ask, at, calls, receipt) VALUES (?, ?, ?, ?)", rows)
        self._writer.executemany("DELETE FROM marks WHERE ask = ?", [(receipt.ask,) for receipt in receipts])
        self._writer.executemany(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT (fate) DO UPDATE SET number = number + excluded.number",
            list(fields_of(receipts).items()),
        )

    def _prune(self) -> None:
        """Forget what was folded long ago. It is no loss if that fails."""
        self._pruned = time.monotonic()
        try:
            folded = self._folded()
            if self._forget(folded[1] if folded else 0, time.time()):
                self._pruned += _REST - _PRUNE
        except (sqlite3.Error, StoreError):
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")

    def _forget(self, folded: int, now: float) -> bool:
        """Forget receipts, from the oldest on: of a slot, no later one may go before an earlier one.

        The last that is folded is kept: others count from it. Whether there may be more to forget.
        """
        self._writer.execute("BEGIN IMMEDIATE")
        row = self._writer.execute(
            "SELECT position FROM receipts WHERE at >= ? OR position >= ? ORDER BY position LIMIT 1",
            (now - RECEIPTS_KEPT, folded),
        ).fetchone()
        (first,) = self._writer.execute("SELECT coalesce(min(position), 0) FROM receipts").fetchone()
        upto = min(row[0] if row else 0, first + _FORGET)
        if self._writer.execute("DELETE FROM receipts WHERE position < ?", (upto,)).rowcount:
            self._writer.execute("INSERT OR REPLACE INTO meta VALUES ('pruned', ?)", (upto - 1,))
        self._writer.execute("DELETE FROM letters WHERE at < ?", (int(now - state_db.LETTERS_KEPT),))
        self._writer.execute("DELETE FROM attempts WHERE at < ?", (now - RECEIPTS_KEPT,))
        self._writer.execute("COMMIT")
        give_back(self._writer)
        return bool(upto == first + _FORGET)


__all__ = ["Receipts", "SqliteLog", "Told", "newest_letter", "path_of", "rename", "unsettled", "waiting"]
