"""How files come onto the disk, whole or not at all, and what is said when they cannot."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

# What to do about a file of the state that cannot be used.
RESTORE = "put it back from a backup, or begin anew in another folder with --new-state, which tells everybody everything again"


class StoreError(Exception):
    """The state directory cannot be used; the text says why and what to do."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the disk refuses comes out as a StoreError that names the file."""
    try:
        yield
    except OSError as error:
        raise StoreError(unwritable(path, error)) from error


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """What a database refuses comes out as a StoreError that names the file."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        words = str(error)
        if "full" in words or "readonly" in words or "unable to open" in words or "disk I/O" in words:
            raise StoreError(f"{path}: cannot be written: {words}; make room or set its permissions, then run again") from error
        if "locked" in words:
            raise StoreError(f"{path}: another process has written to it for a minute; run again") from error
        raise StoreError(f"{path}: it is damaged ({words}); {RESTORE}") from error
    except OSError as error:
        raise StoreError(unwritable(path, error)) from error


def unwritable(path: Path, error: OSError) -> str:
    return f"{path}: cannot be written: {error.strerror or error}; make room or set its permissions, then run again"


def replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises StoreError."""
    temporary = path.with_name(path.name + ".new")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def sync_folder(path: Path) -> None:
    """The names in a folder are on the disk too."""
    with writing(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Appended:
    """A file that only grows, and is brought to the disk behind its writer's back.

    What is written survives the end of the process at once, and a power cut when it is at most
    `SECONDS` or `ITEMS` old: a thread of its own does the waiting for the disk.
    """

    SECONDS = 1.0
    ITEMS = 500

    def __init__(self, path: Path) -> None:
        self._file = FileIO(path, "ab")
        self._unsynced = 0
        self._hurry = threading.Event()
        self._closing = False
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._follow, name=f"disk {path.name}", daemon=True)
        self._thread.start()

    @property
    def empty(self) -> bool:
        return self._file.tell() == 0

    def write(self, content: bytes, items: int) -> None:
        """Append. Raises OSError, also for what the disk refused of earlier writes."""
        if self._error:
            raise self._error
        rest = memoryview(content)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._unsynced += items
        if self._unsynced >= self.ITEMS:
            self._hurry.set()

    def close(self) -> None:
        """Everything is on the disk. Raises OSError."""
        self._closing = True
        self._hurry.set()
        self._thread.join()
        self._file.close()
        if self._error:
            raise self._error

    def _follow(self) -> None:
        while not self._closing:
            self._hurry.wait(self.SECONDS)
            self._hurry.clear()
            if self._unsynced:
                self._unsynced = 0
                self._sync()
        self._sync()

    def _sync(self) -> None:
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            self._error = error
