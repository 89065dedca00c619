"""`state.db`: subjects and calls, written by the decider alone, both in one transaction.

meta      what the directory is: format, workspace, gateway, registry; the next ask; how many profiles are known;
          where its state was moved to
subjects  what is known of each profile, each account and its members, packed (`schemas.state`)
calls     what connections are to be told and have no folded receipt for, by connection, class and ask
replaced  of a call that had no outcome when a newer one took its place: which one that is
counters  by connection: calls made since the directory was made, and what stands in `calls` now
folded    how far each connection's receipts are folded, and of which file; there before its first call
letters   dead letters of records that were no events
audiences how many members an audience had at the end of a day (since 1970), for days on which that changed
files     how far the files that are watched were read
persons, new_persons    who has an identifier: see `pipeline.identifiers`
"""

import os
import sqlite3
import time
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
from msgspec.json import Decoder as JsonDecoder
from msgspec.json import Encoder as JsonEncoder
from msgspec.msgpack import Decoder, Encoder

from pipeline import identifiers
from pipeline.database import connect, connect_to_read, give_back, make_database, remove_beside
from pipeline.disk import StoreError, make_folder, sqlite_errors, sync_folder
from pipeline.identifiers import Named
from pipeline.problems import Ending
from schemas.calls import Call, Identifier
from schemas.dead_letters import DeadLetter
from schemas.state import FORMAT, OLDEST, decode_profile
from transforms.logic.alike import alike

NAME = "state.db"
LETTERS_KEPT = 90 * 86_400  # seconds: for `replay`
RUNS_KEPT = 1_000  # folders in `runs`, and none older than LETTERS_KEPT

# Which call takes the place of one that had no outcome when it was made, and when that one `goes`: 0 live, 1 backfill,
# 2 not before a time of its own.
_REPLACED = """
CREATE TABLE IF NOT EXISTS replaced (
    connection INTEGER, ask INTEGER, by INTEGER NOT NULL, goes INTEGER NOT NULL, PRIMARY KEY (connection, ask)
) WITHOUT ROWID;
"""
_SCHEMA = (
    """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE subjects (id TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE calls (
    connection INTEGER, backfill INTEGER, ask INTEGER, slot INTEGER NOT NULL, call BLOB NOT NULL,
    PRIMARY KEY (connection, backfill, ask)
) WITHOUT ROWID;
CREATE TABLE counters (
    connection INTEGER PRIMARY KEY, made INTEGER NOT NULL, calls INTEGER NOT NULL, cancels INTEGER NOT NULL
);
CREATE TABLE folded (connection INTEGER PRIMARY KEY, file BLOB NOT NULL, position INTEGER NOT NULL);
CREATE TABLE letters (number INTEGER PRIMARY KEY, run TEXT, at INTEGER, reason TEXT, profile TEXT, letter BLOB);
CREATE TABLE audiences (computation INTEGER, day INTEGER, size INTEGER, PRIMARY KEY (computation, day)) WITHOUT ROWID;
CREATE TABLE files (path TEXT PRIMARY KEY, known BLOB NOT NULL) WITHOUT ROWID;
"""
    + _REPLACED
    + identifiers.SCHEMA
)
encode_call = Encoder().encode
decode_call = Decoder(Call).decode
_letter, _letter_of = JsonEncoder().encode, JsonDecoder(DeadLetter).decode
_LIVE = "\x01"  # before it are the keys of those that were deleted
LAST = chr(0x10FFFF)  # behind every key
_VARIABLES = 500  # in one statement


class StateExists(Ending):
    """A new state is asked for where one was used already."""

    code = 1


class NoState(Ending):
    """There is no state directory where one was expected; the text says how to make one."""

    code = 1


class StateDb:
    """One state directory's `state.db`, as the decider has it; others may read it at the same time."""

    def __init__(self, folder: Path, database: sqlite3.Connection) -> None:
        self.folder, self._db = folder, database

    # -- opening

    @classmethod
    @contextmanager
    def use(cls, folder: Path, make: bool = False) -> Iterator["StateDb"]:
        """Open it while the block lasts; `make` it where there is none. Raises NoState, StateExists and StoreError."""
        if make and not (folder / NAME).exists():
            cls._refuse_other(folder)
            cls.create(folder)
        db = cls.open(folder)
        try:
            if make and db.registry():
                raise StateExists(
                    f"{folder}: there is a state here already, so leave --new-state out. In a command that runs every "
                    "day, it would make a lost state a second first sync"
                )
            yield db
        finally:
            db.close()

    @classmethod
    def create(cls, folder: Path) -> None:
        """A new directory, empty."""
        for path in (folder, *folder.parents):
            if path.exists() and not path.is_dir():
                raise StoreError(f"{path}: it is a file; --state needs a folder")
        path, beside = folder / NAME, folder / f"{NAME}.new"
        with sqlite_errors(path):
            make_folder(folder)
            make_folder(folder / "sent")
            make_database(beside, _SCHEMA, {"format": FORMAT, "id": os.urandom(16), "next_ask": 1, "subjects": 0})
            remove_beside(path)
            os.rename(beside, path)
            sync_folder(folder)

    @classmethod
    def open(cls, folder: Path, to_read: bool = False) -> "StateDb":
        """`to_read` only: it works beside whoever writes. Raises NoState and StoreError."""
        path = folder / NAME
        if not path.exists():
            cls._refuse_other(folder)
            raise NoState(
                f"{folder}: there is no state here. Is the path right? To begin anew, which tells everybody everything "
                "once, add --new-state"
            )
        with sqlite_errors(path):
            database = connect_to_read(path) if to_read else connect(path)
            database.execute("PRAGMA cache_size = -65536")
        db = cls(folder, database)
        try:
            written = db.meta("format")
            if not isinstance(written, int) or not OLDEST <= written <= FORMAT:
                raise StoreError(
                    f"{path}: another version of profilecast wrote it (format {written}, this one reads {OLDEST} to "
                    f"{FORMAT}); use that version, or begin anew in another folder with --new-state"
                )
            if not to_read and (moved := db.meta("moved")):
                raise StoreError(
                    f"{folder}: its state was moved to {moved}, where it is known what was told since. Go on there, or "
                    "take it back with `profilecast export state`"
                )
            if not to_read:
                with sqlite_errors(path):
                    database.execute(_REPLACED)  # a directory of before has none
                    if written < FORMAT:  # an older version could not read what is written from now on
                        database.execute("UPDATE meta SET value = ? WHERE key = 'format'", (FORMAT,))
        except StoreError:
            db.close()
            raise
        return db

    @staticmethod
    def _refuse_other(folder: Path) -> None:
        if (folder / "current").exists() or (folder / "snapshots").exists():
            raise StoreError(
                f"{folder}: it is of version 1 of profilecast, which kept its state in another form. Finish what waits "
                "there with that version, or begin anew: another folder and --new-state, which tells everybody "
                "everything once"
            )

    def close(self) -> None:
        self._db.close()

    # -- what the directory is

    def meta(self, key: str) -> object:
        rows = self.rows("SELECT value FROM meta WHERE key = ?", key)
        return rows[0][0] if rows else None

    def bind(self, workspace: str, gateway: str) -> None:
        """A state belongs to a workspace and a gateway: the first run with it says which. Raises StoreError."""
        bound = {"workspace": workspace, "gateway": gateway}
        if any(self.meta(what) is None for what in bound):
            with self.transaction() as database:  # two first runs at once: the second sees what the first one said
                database.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", list(bound.items()))
        for what, given in bound.items():
            known = self.meta(what)
            if known != given:
                raise StoreError(
                    f"{self.folder}: it belongs to {_named(what, str(known))}, this run is for {_named(what, given)}; "
                    "give each its own --state (--new-state makes one)"
                )

    @staticmethod
    def move(folder: Path, where: str) -> None:
        """Note that the state was moved there: nobody decides here any more. "": it was not after all."""
        with sqlite_errors(folder / NAME), closing(connect(folder / NAME)) as database:
            if where:
                database.execute("INSERT OR REPLACE INTO meta VALUES ('moved', ?)", (where,))
            else:
                database.execute("DELETE FROM meta WHERE key = 'moved'")

    def registry(self) -> bytes:
        """As `schemas.registry` packs it; b"" where nothing was decided yet."""
        packed = self.meta("registry")
        return packed if isinstance(packed, bytes) else b""

    # -- subjects

    def subjects(self) -> int:
        """Profiles that are known; deleted ones are not counted."""
        return int(self.rows("SELECT value FROM meta WHERE key = 'subjects'")[0][0])

    def get(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Packed states by id, of those that there are."""
        found: dict[str, bytes] = {}
        ordered = sorted(ids)
        for start in range(0, len(ordered), _VARIABLES):
            part = ordered[start : start + _VARIABLES]
            marks = ",".join("?" * len(part))
            found.update(self.rows(f"SELECT id, state FROM subjects WHERE id IN ({marks})", *part))
        return found

    def having(self, identifier: Identifier) -> list[str]:
        """Ids of the profiles that have, or had, an identifier in any spelling, as far as anything is known of that."""
        with sqlite_errors(self.folder / NAME):
            found = identifiers.find(self._db, identifier)
        states = self.get(found)
        its = alike(identifier)
        known = {name: decode_profile(states[name]).ids for name in found if name in states}
        return [name for name, ids in known.items() if any(alike(each.identifier) == its for each in ids)]

    def audiences(self) -> list[tuple[int, int, int]]:
        """The computation's number, the day (since 1970) and how many members it had at its end; the last day last."""
        return self.rows("SELECT computation, day, size FROM audiences ORDER BY computation, day")

    def names(self, after: str, most: int, last: str = LAST) -> list[str]:
        """Keys behind one and before another, in order."""
        rows = self.rows("SELECT id FROM subjects WHERE id > ? AND id < ? ORDER BY id LIMIT ?", after, last, most)
        return [name for (name,) in rows]

    # -- logs

    def made(self, connection: int) -> int:
        """Calls made so far, cancels not counted."""
        rows = self.rows("SELECT made FROM counters WHERE connection = ?", connection)
        return int(rows[0][0]) if rows else 0

    def folded(self, connection: int) -> tuple[bytes, int] | None:
        """Of which file receipts are folded, and up to which position."""
        rows = self.rows("SELECT file, position FROM folded WHERE connection = ?", connection)
        return (bytes(rows[0][0]), int(rows[0][1])) if rows else None

    # -- files that are watched

    def files(self) -> dict[str, bytes]:
        """How far each was read, packed."""
        return dict(self.rows("SELECT path, known FROM files"))

    def remember_files(self, known: Mapping[str, bytes], gone: Iterable[str] = ()) -> None:
        with self.transaction() as database:
            database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?)", list(known.items()))
            database.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in gone])

    # -- dead letters

    def letters(self, run: str = "", since: float = 0.0) -> Iterator[DeadLetter]:
        """Of records, oldest first: of one run, or of all since a time."""
        after = 0
        while rows := self.rows(
            "SELECT number, letter FROM letters WHERE number > ? AND at >= ? AND (? = '' OR run = ?) ORDER BY number "
            "LIMIT 500",
            after, int(since), run, run,
        ):  # fmt: skip
            after = rows[-1][0]
            for _, letter in rows:
                with sqlite_errors(self.folder / NAME):
                    found = _letter_of(letter)
                yield found

    def lowest(self, connection: int) -> int:
        """The smallest ask of the calls that are there; 0: there is none."""
        rows = self.rows(
            "SELECT min(ask) FROM calls WHERE connection = ? AND backfill = 0 UNION ALL "
            "SELECT min(ask) FROM calls WHERE connection = ? AND backfill = 1", connection, connection,
        )  # fmt: skip
        return min((row[0] for row in rows if row[0] is not None), default=0)

    def replayed(self) -> set[tuple[int, int]]:
        """Deletions that were tried once more, by slot and ask: of a forgotten person the state knows nothing else."""
        packed = self.meta("replayed")
        if not isinstance(packed, bytes):
            return set()
        with sqlite_errors(self.folder / NAME):
            return {(slot, ask) for slot, ask in msgspec.json.decode(packed, type=list[tuple[int, int]])}

    def remember_replayed(self, deletions: Iterable[tuple[int, int]]) -> None:
        oldest = (time.time() - LETTERS_KEPT) * 1_000_000  # asks are of the clock
        kept = sorted(each for each in self.replayed().union(deletions) if each[1] > oldest)
        with self.transaction() as database:
            database.execute("INSERT OR REPLACE INTO meta VALUES ('replayed', ?)", (msgspec.json.encode(kept),))

    def rows(self, statement: str, *values: object) -> list[Any]:
        with sqlite_errors(self.folder / NAME):
            return self._db.execute(statement, values).fetchall()

    # -- writing

    @contextmanager
    def portion(self) -> Iterator["Portion"]:
        """One transaction: all that the block writes, or nothing."""
        with self.transaction() as database:
            yield Portion(database)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with sqlite_errors(self.folder / NAME):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk may have rolled it back already
                    self._db.execute("ROLLBACK")
                raise

    def prune(self, now: float) -> None:
        """Forget dead letters that are too old, and give some freed space back to the disk."""
        with sqlite_errors(self.folder / NAME):
            self._db.execute("DELETE FROM letters WHERE at < ?", (int(now - LETTERS_KEPT),))
            give_back(self._db)


class Portion:
    """What one transaction writes."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def asks(self) -> Iterator[int]:
        """Numbers for asks. They grow, and are never given twice: they are not below the clock's microseconds, so that
        a state that is put back from a backup goes on behind what it gave since.
        """
        (last,) = self._db.execute("SELECT value FROM meta WHERE key = 'next_ask'").fetchone()
        return count(max(int(last), int(time.time() * 1_000_000)))

    def put(self, states: Mapping[str, bytes]) -> None:
        rows = sorted(states.items())
        first = bisect_left(rows, (_LIVE, b""))
        new = self._put(rows[first:])
        self._put(rows[:first])
        self._count(new)

    def _put(self, rows: Sequence[tuple[str, bytes]]) -> int:
        """How many of them are new: a count of all would read the whole file."""
        new = self._db.executemany("INSERT OR IGNORE INTO subjects VALUES (?, ?)", rows).rowcount
        if new < len(rows):
            changed = [(state, name, state) for name, state in rows]
            self._db.executemany("UPDATE subjects SET state = ? WHERE id = ? AND state IS NOT ?", changed)
        return max(new, 0)

    def drop(self, ids: Iterable[str]) -> None:
        which = "DELETE FROM subjects WHERE id = ?"
        names = sorted(ids)
        first = bisect_left(names, _LIVE)
        gone = self._db.executemany(which, [(name,) for name in names[first:]]).rowcount
        self._db.executemany(which, [(name,) for name in names[:first]])
        self._count(-max(gone, 0))

    def name(self, named: Sequence[Named], unnamed: Sequence[Named]) -> None:
        """Note who has an identifier, and who has it no more."""
        identifiers.write(self._db, named, unnamed)

    def persons(self, wanted: Collection[Identifier]) -> dict[Identifier, list[str]]:
        """Profiles that may have each of these."""
        return identifiers.find_all(self._db, wanted)

    def _count(self, more: int) -> None:
        if more:
            self._db.execute("UPDATE meta SET value = value + ? WHERE key = 'subjects'", (more,))

    def append(self, connection: int, calls: Sequence[Call]) -> None:
        """Hand calls to a connection's log."""
        if not calls:
            return
        self._db.executemany(
            "INSERT INTO calls VALUES (?, ?, ?, ?, ?)",
            [(connection, call.backfill, call.ask, _slot(call), encode_call(call)) for call in calls],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO replaced SELECT connection, ask, ?, ? FROM calls "
            "WHERE connection = ? AND backfill IN (0, 1) AND ask = ?",
            [
                (call.ask, 2 if call.not_before else int(call.backfill), connection, call.replaces)
                for call in calls
                if call.replaces
            ],
        )
        cancels = sum(call.kind == "cancel" for call in calls)
        made = len(calls) - cancels
        self._db.execute(
            "INSERT INTO counters VALUES (?, ?, ?, ?) ON CONFLICT (connection) DO UPDATE "
            "SET made = made + excluded.made, calls = calls + excluded.calls, cancels = cancels + excluded.cancels",
            (connection, made, made, cancels),
        )
        newest = max(call.ask for call in calls)
        self._db.execute("UPDATE meta SET value = max(value, ?) WHERE key = 'next_ask'", (newest + 1,))

    def free(self, connection: int, asks: Iterable[int]) -> None:
        """Remove calls whose receipts are folded."""
        rows = [(connection, ask) for ask in asks]
        which = "DELETE FROM calls WHERE connection = ? AND backfill IN (0, 1) AND ask = ?"
        calls = self._db.executemany(f"{which} AND slot != 0", rows).rowcount
        cancels = self._db.executemany(which, rows).rowcount if calls < len(rows) else 0
        self._db.executemany("DELETE FROM replaced WHERE connection = ? AND ask = ?", rows)
        self._db.execute(
            "UPDATE counters SET calls = calls - ?, cancels = cancels - ? WHERE connection = ?",
            (max(calls, 0), max(cancels, 0), connection),
        )

    def clear(self, connection: int) -> None:
        """Remove everything of a connection's log."""
        for table in ("calls", "counters", "folded", "replaced"):
            self._db.execute(f"DELETE FROM {table} WHERE connection = ?", (connection,))

    def count_members(self, more: Mapping[int, int]) -> None:
        """Note by how many members audiences grew today."""
        today = int(time.time() // 86_400)
        for computation, number in more.items():
            if number:
                self._db.execute(
                    "INSERT OR REPLACE INTO audiences VALUES (?1, ?2, ?3 + coalesce((SELECT size FROM audiences "
                    "WHERE computation = ?1 ORDER BY day DESC LIMIT 1), 0))",
                    (computation, today, number),
                )

    def folded(self, connection: int, file: bytes, position: int) -> None:
        """Note up to where the receipts of this file are folded."""
        self._db.execute("INSERT OR REPLACE INTO folded VALUES (?, ?, ?)", (connection, file, position))

    def knows_file(self, connection: int) -> bool:
        """Whether it was ever said which file the connection's receipts come in."""
        return bool(self._db.execute("SELECT 1 FROM folded WHERE connection = ?", (connection,)).fetchone())

    def registry(self, packed: bytes, number: int) -> None:
        """`number` of the workspace: senders of a smaller one hand over."""
        self._db.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)", [("registry", packed), ("workspace_number", number)]
        )

    def letters(self, run: str, letters: Sequence[DeadLetter]) -> None:
        at = int(time.time())
        self._db.executemany(
            "INSERT INTO letters (run, at, reason, profile, letter) VALUES (?, ?, ?, '', ?)",
            [(run, at, letter.reason, _letter(letter)) for letter in letters],
        )


def _slot(call: Call) -> int:
    """The slot that a call is filed under. Cancels have none: they are read whatever else waits."""
    return 0 if call.kind == "cancel" else call.slot


def _named(what: str, value: str) -> str:
    if what == "workspace":
        return f"the workspace {value!r}"
    return gateway_named(value)


def gateway_named(gateway: str) -> str:
    return f"the gateway {gateway}" if gateway else "the vendors themselves (no --gateway)"
