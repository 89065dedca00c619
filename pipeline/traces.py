"""Whether a file is as its last writer left it, or another copy of it was put back since.

A copy from a backup looks in itself like the file that it was. What nobody can put back is the time at which the
system last changed the file; it stands in `<file>.trace`, beside it. Doubt costs little: see `pipeline.log`.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from pipeline.disk import private

_SIZE = 128  # bytes: written over in one go


class _Left(Struct, array_like=True):
    """The file as it was left."""

    inode: int
    changed: int  # nanoseconds: its ctime
    beside: bool  # something of it lay in the file beside it, and it is to be there still


class Trace:
    """How one SQLite file was left; its one writer keeps this up to date."""

    def __init__(self, path: Path) -> None:
        self._of, self._path = path, path.with_name(f"{path.name}.trace")
        self._beside = path.with_name(f"{path.name}-wal")
        self._known: _Left | None = None

    def sure(self) -> bool:
        """Whether the file is as it was left."""
        try:
            left = msgspec.json.decode(self._path.read_bytes(), type=_Left)
            now = self._now()
        except (OSError, msgspec.MsgspecError):
            return False
        return (left.inode, left.changed) == (now.inode, now.changed) and now.beside >= left.beside

    def leave(self) -> None:
        """Note the file as it is now. Raises OSError where it is another file than before."""
        now = self._now()
        if self._known is not None and self._known.inode != now.inode:
            raise OSError(errno.ESTALE, "it was replaced while it was written", str(self._of))
        if now != self._known:
            with suppress(OSError):  # it costs a doubt
                self._write(now)
            self._known = now

    def _write(self, now: _Left) -> None:
        descriptor = private(self._path, os.O_CREAT | os.O_WRONLY)
        try:
            os.pwrite(descriptor, msgspec.json.encode(now).ljust(_SIZE), 0)
        finally:
            os.close(descriptor)

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)

    def _now(self) -> _Left:
        status = os.stat(self._of)
        try:
            beside = os.stat(self._beside).st_size > 0
        except FileNotFoundError:
            beside = False
        return _Left(status.st_ino, status.st_ctime_ns, beside)
