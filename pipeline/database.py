"""SQLite files as the state directory has them: how they are made and opened."""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from pipeline.disk import private

opener = sqlite3.connect  # a test has a disk of its own that loses its power
WAIT = 60.0  # seconds for another process's transaction


def make_database(path: Path, schema: str, meta: Mapping[str, object]) -> None:
    """Make a new database file, on the disk when this returns. A file that was there is replaced."""
    path.unlink(missing_ok=True)
    remove_beside(path)
    descriptor = private(path, os.O_CREAT | os.O_RDWR)  # what SQLite puts beside it gets the same mode
    try:
        with closing(opener(path, isolation_level=None)) as database:
            database.execute("PRAGMA synchronous = OFF")  # once for all, below
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before there is a table
            database.executescript(schema)
            database.executemany("INSERT INTO meta VALUES (?, ?)", list(meta.items()))
            database.execute("PRAGMA journal_mode = WAL")  # it stays so
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def connect(path: Path) -> sqlite3.Connection:
    """Open a database file to read and write, on any thread. A file that is not there is an error."""
    database = opener(uri(path, "rw"), uri=True, isolation_level=None, timeout=WAIT, check_same_thread=False)
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA secure_delete = ON")
    return database


def connect_to_read(path: Path) -> sqlite3.Connection:
    return opener(uri(path, "ro"), uri=True, isolation_level=None, timeout=WAIT, check_same_thread=False)


def give_back(database: sqlite3.Connection) -> None:
    """Give some of the file's free space back to the disk."""
    database.executescript("PRAGMA incremental_vacuum(2000)")  # `execute` would free one page of the 2,000


def stamp(path: Path) -> tuple[int, int] | None:
    """Another one after every transaction, as good as always; None: not known. Cheap, where thousands look often."""
    try:
        beside = os.stat(f"{path}-wal")
    except OSError:
        return None
    return beside.st_mtime_ns, beside.st_size


def uri(path: Path, mode: str) -> str:
    return f"file:{quote(str(path))}?mode={mode}"


def remove_beside(path: Path) -> None:
    """Remove what SQLite left beside a file that is gone: it would take it for a part of the next one."""
    for ending in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
