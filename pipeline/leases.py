"""Leases: who may decide in a state directory, and who may deliver to a vendor account. Held by file locks.

    <state>/deciding                     one decider in a directory
    <state>/sent/<connection>.lock       one sender for a connection's log
    <user's state>/profilecast/caps/…    one process for a vendor account (`limit_group`), over all directories

The lock of a process that died is free.
"""

import fcntl
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, TextIO

import msgspec

from pipeline.disk import SenderError, StoreError, make_folder, private, replace, sender_errors, writing
from pipeline.problems import Ending


class Busy(Ending):
    """Another process has the lease; the text says which."""

    code = 4


class _Lock:
    """An exclusive lock on a file, which says whose it is."""

    def __init__(self, path: Path) -> None:
        """Raises Busy and StoreError."""
        with writing(path):
            make_folder(path.parent)
            file = os.fdopen(private(path, os.O_RDWR | os.O_CREAT), "r+")
        self._file: TextIO = file
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = file.read().strip() or "another process"
            file.close()
            raise Busy(owner) from error
        except OSError as error:
            file.close()
            raise StoreError(f"{path}: it cannot be locked ({error}); use a disk that has locks") from error
        owner = f"process {os.getpid()} on {socket.gethostname()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z"
        with suppress(OSError):  # a full disk: it is held all the same
            file.truncate(0)
            os.write(file.fileno(), owner.encode())

    def release(self) -> None:
        with suppress(OSError):
            self._file.truncate(0)
        self._file.close()


@contextmanager
def deciding(folder: Path) -> Iterator[None]:
    """Decide in a state directory while the block lasts. Raises Busy."""
    try:
        lock = _Lock(folder / "deciding")
    except Busy as busy:
        raise Busy(f"{folder}: {busy} is deciding; run again when it is done") from busy
    try:
        yield
    finally:
        lock.release()


class Kept:
    """A small file that only its owner reads: what is kept of a vendor account's caps, or a new refresh token."""

    def __init__(self, path: Path, lost: str) -> None:
        """`lost`: what it means to remove the file."""
        self._path, self._lost = path, lost

    def load(self) -> dict[str, Any]:
        """Raises SenderError, as `save`."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, Any])
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SenderError(
                f"{self._path}: cannot be read: {error.strerror or error}; set its permissions"
            ) from error
        except msgspec.MsgspecError as error:
            raise SenderError(f"{self._path}: it is damaged ({error}); remove it: {self._lost}") from error

    def save(self, kept: dict[str, Any]) -> None:
        if kept or self._path.exists():
            with sender_errors():
                replace(self._path, msgspec.json.encode(kept))


class Lease:
    """The right to deliver a connection."""

    def __init__(self, locks: "list[_Lock | _Shared]", caps: Kept, tokens: Kept) -> None:
        self._locks, self.caps, self.tokens = locks, caps, tokens

    def owned(self) -> bool:
        """Whether the right is still there: nobody can take a lock away."""
        return True

    def release(self) -> None:
        for lock in reversed(self._locks):
            lock.release()


def delivering(folder: Path, connection: str, group: str) -> Lease:
    """The lease of a connection whose vendor account is `group`. Raises Busy."""
    own = _Lock(_own(folder, connection))
    try:
        shared = _Shared.of((_caps() / f"{_hashed(group)}.json").with_suffix(".lock"))
    except BaseException:
        own.release()
        raise
    tokens = kept_tokens(folder, group)
    return Lease([own, shared], kept_caps(group), tokens)


def kept_caps(group: str) -> Kept:
    """Where what long windows of a vendor account counted is kept."""
    return Kept(_caps() / f"{_hashed(group)}.json", "what was sent today is then not counted again")


def kept_tokens(folder: Path, group: str) -> Kept:
    """Where a new refresh token of a vendor account is kept, below a folder."""
    return Kept(folder / "tokens" / f"{_hashed(group)}.json", "the refresh token of the settings is taken then")


def _hashed(group: str) -> str:
    return blake2b(group.encode(), digest_size=16).hexdigest()


@contextmanager
def log_lease(folder: Path, connection: str) -> Iterator[None]:
    """Nobody delivers the connection while the block lasts. Raises Busy."""
    try:
        lock = _Lock(_own(folder, connection))
    except Busy as busy:
        raise Busy(f"{connection}: {busy} delivers it; run again when it is done") from busy
    try:
        yield
    finally:
        lock.release()


def _own(folder: Path, connection: str) -> Path:
    return folder / "sent" / f"{connection}.lock"


def _caps() -> Path:
    home = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(home):  # https://specifications.freedesktop.org/basedir-spec: others are to be ignored
        try:
            home = str(Path.home() / ".local" / "state")
        except RuntimeError as error:
            raise StoreError("there is no home folder, where caps are kept: set XDG_STATE_HOME to a folder") from error
    return Path(home) / "profilecast" / "caps"


def of_user() -> Path:
    """The folder of what belongs to no state directory."""
    return _caps().parent


class _Shared:
    """A lock that connections of one process share: they share the limiter too."""

    _held: "dict[Path, _Shared]" = {}
    _guard = threading.Lock()

    def __init__(self, path: Path) -> None:
        self._path, self._lock, self._users = path, _Lock(path), 0

    @classmethod
    def of(cls, path: Path) -> "_Shared":
        with cls._guard:
            shared = cls._held.get(path) or cls(path)
            cls._held[path] = shared
            shared._users += 1
            return shared

    def release(self) -> None:
        with self._guard:
            self._users -= 1
            if not self._users:
                del self._held[self._path]
                self._lock.release()
