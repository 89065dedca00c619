"""How files come onto the disk, whole or not at all, and what is said when they cannot."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pipeline.problems import Ending

# What to do about a file of the state that cannot be used.
RESTORE = (
    "put it back from a backup, or begin anew in another folder with --new-state, which tells everybody everything "
    "once more"
)


PRIVATE, PRIVATE_FOLDER = 0o600, 0o700
_ROOM = "make room or set its permissions, then run again"
_REFUSED = (
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
)  # fmt: skip


class StoreError(Ending):
    """The state directory cannot be used; the text says why and what to do."""


class SenderError(StoreError, OSError):
    """The same, raised to the sender, which knows no StoreError."""


@contextmanager
def sender_errors() -> Iterator[None]:
    try:
        yield
    except SenderError:
        raise
    except StoreError as error:
        raise SenderError(str(error)) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the disk refuses comes out as a StoreError that names the file."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(unwritable(path, error)) from error


@contextmanager
def sqlite_errors(path: Path, mend: str = RESTORE) -> Iterator[None]:
    """What a database refuses, and what in it makes no sense, comes out as a StoreError that names the file.

    `mend`: what to do where it is damaged.
    """
    try:
        yield
    except (StoreError, sqlite3.ProgrammingError, sqlite3.InterfaceError):  # the last: wrongly used, not damaged
        raise
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF  # the rest is detail
        if code == sqlite3.SQLITE_FULL:  # it is said of a page beyond the end of a damaged file too
            raise StoreError(f"{path}: the disk refuses it ({error}); {_ROOM}; if there is room, {mend}") from error
        if code in _REFUSED:
            raise StoreError(f"{path}: the disk refuses it ({error}); {_ROOM}") from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreError(f"{path}: another process has written to it for a minute; run again") from error
        raise StoreError(f"{path}: it is damaged ({error}); {mend}") from error
    except msgspec.MsgspecError as error:
        raise StoreError(f"{path}: it is damaged ({error}); {mend}") from error
    except OSError as error:
        raise StoreError(unwritable(path, error)) from error


def unwritable(path: Path, error: OSError) -> str:
    return f"{path}: cannot be written: {error.strerror or error}; {_ROOM}"


def make_folder(path: Path) -> None:
    """Make a folder and those above it, which only their owner can read. Raises OSError."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def private(path: str | Path, flags: int) -> int:
    """An opener for `open`: only its owner can read the file."""
    return os.open(path, flags, PRIVATE)


def replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises StoreError."""
    temporary = path.with_name(path.name + ".new")
    with writing(path):
        make_folder(path.parent)
        with open(temporary, "wb", opener=private) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk."""
    with writing(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
