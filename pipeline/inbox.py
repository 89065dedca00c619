"""The inbox: event files of a state directory, into which a service writes what is sent to it.

What `Inbox.write` has written is on the disk when it returns. A file that is written is locked, so that it is not
removed; one that is done is removed when it is folded and an hour old.
"""

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pipeline.disk import make_folder, private, sync_folder

NAME = "inbox"
KEPT = 3600.0  # seconds after its last line that a folded file is kept
_ROTATE_BYTES = 64 << 20
_ROTATE_SECONDS = 600.0

IsFolded = Callable[[Path, os.stat_result], bool]  # all of a file, as it is


def pattern(state: Path) -> str:
    """What `--events` of a service would be for its inbox."""
    return str(state.resolve() / NAME / "*.jsonl")


class Inbox:
    """Writes event files, one after the other. Not for several threads at once."""

    def __init__(self, state: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._clock = state / NAME, clock
        self._file = -1
        self._path = Path()
        self._size = 0
        self._until = 0.0  # when another file is begun
        self._number = 0

    def write(self, lines: bytes) -> None:
        """Whole lines. If it raises OSError or StoreError, none of them counts."""
        if self._file < 0:
            self._begin()
        try:
            _write_all(self._file, lines)
            os.fsync(self._file)
        except OSError:
            self._abandon()
            raise
        self._size += len(lines)
        if self._size >= _ROTATE_BYTES or self._clock() >= self._until:
            self.close()

    def close(self) -> None:
        """End the file; the next `write` begins another one."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _begin(self) -> None:
        make_folder(self._folder)
        self._number += 1
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        self._path = self._folder / f"{now}-{os.getpid()}-{self._number}.jsonl"
        file = private(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
            sync_folder(self._folder)
        except BaseException:
            os.close(file)
            self._path.unlink(missing_ok=True)
            raise
        self._file, self._size, self._until = file, 0, self._clock() + _ROTATE_SECONDS

    def _abandon(self) -> None:
        """Nothing more goes into this file: half a line is at its end, perhaps."""
        with suppress(OSError):
            os.ftruncate(self._file, self._size)
        if not self._size:
            self._path.unlink(missing_ok=True)
        self.close()


def _write_all(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def remove_folded(state: Path, is_folded: IsFolded, now: float) -> None:
    """Remove files of the inbox that are folded and old, and that nobody writes to."""
    for path in sorted((state / NAME).glob("*.jsonl")):
        with suppress(OSError), path.open("rb") as file:  # BlockingIOError: it is being written
            if now - os.fstat(file.fileno()).st_mtime < KEPT:
                continue
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_folded(path, os.fstat(file.fileno())):
                path.unlink()


__all__ = ["KEPT", "Inbox", "pattern", "remove_folded"]
