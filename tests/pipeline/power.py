"""A disk that loses its power: what was not synced is lost, in part, in any order. SQLite runs on it through apsw.

Each file is what was synced, and what was written since. The database sees both. When the power goes, of each file a
random choice of the writes since its last sync is on the disk, and of the last of them perhaps only a part.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import apsw

Write = tuple[int, bytes | None]


class Disk:
    """The files of one folder."""

    def __init__(self, root: Path, random: Random) -> None:
        self.root, self.random = root, random
        self.at_write: Callable[[], None] = lambda: None
        self._unsynced: dict[str, list[Write]] = {}
        self._synced: dict[str, bytearray] = {}

    def opened(self, path: str) -> None:
        if path not in self._synced:
            self._synced[path] = bytearray(Path(path).read_bytes()) if Path(path).exists() else bytearray()

    def write(self, path: str, place: int, content: bytes | None) -> None:
        """No `content`: the file is cut at the place."""
        self._unsynced.setdefault(path, []).append((place, content))
        self.at_write()

    def sync(self, path: str) -> None:
        for place, content in self._unsynced.pop(path, []):
            _apply(self._synced[path], place, content)

    def removed(self, path: str) -> None:
        """A name that goes is gone at once: the worst for what leans on it."""
        self._unsynced.pop(path, None)
        self._synced.pop(path, None)

    def cut_power(self, into: Path) -> None:
        """The files as they are found afterwards, in another folder."""
        for path, synced in self._synced.items():
            content = bytearray(synced)
            for place, written in self._survivors(self._unsynced.get(path, [])):
                _apply(content, place, written)
            target = into / Path(path).relative_to(self.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    def _survivors(self, writes: list[Write]) -> list[Write]:
        share = self.random.choice([0.0, 0.3, 0.7, 1.0])
        left = [write for write in writes if self.random.random() < share]
        self.random.shuffle(left)
        place, content = left[-1] if left else (0, None)
        if content:  # torn, between sectors
            left[-1] = place, content[: 512 * self.random.randrange(len(content) // 512 + 1)]
        return left


def _apply(content: bytearray, place: int, written: bytes | None) -> None:
    if written is None:
        del content[place:]
        return
    if len(content) < place:
        content.extend(bytes(place - len(content)))
    content[place : place + len(written)] = written


class _Drive(apsw.VFS):
    """SQLite's way to the disk."""

    def __init__(self, disk: Disk, name: str) -> None:
        self._disk = disk
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> "_Opened":
        return _Opened(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        if Path(filename).exists():
            super().xDelete(filename, syncdir)
        self._disk.removed(filename)


class _Opened(apsw.VFSFile):
    """A file. It is written at once too, for SQLite reads what it wrote."""

    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        disk.opened(self._path)
        super().__init__("", name, flags)

    def xWrite(self, data: Any, offset: int) -> None:
        super().xWrite(data, offset)
        self._disk.write(self._path, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._disk.write(self._path, newsize, None)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._disk.sync(self._path)


class _Rows:
    """As a cursor of `sqlite3` has them."""

    def __init__(self, rows: list[Any], changed: int) -> None:
        self._rows, self.rowcount = rows, changed

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def fetchall(self) -> list[Any]:
        return self._rows

    def fetchone(self) -> Any:
        return self._rows[0] if self._rows else None


class _Connection:
    """As much of a connection of `sqlite3` as we use."""

    def __init__(self, uri: str, drive: str) -> None:
        mode = apsw.SQLITE_OPEN_READONLY if uri.endswith("mode=ro") else apsw.SQLITE_OPEN_READWRITE
        self._db = apsw.Connection(uri, flags=mode | apsw.SQLITE_OPEN_URI, vfs=drive)

    def execute(self, statement: str, values: Any = ()) -> _Rows:
        before = self._db.total_changes()
        rows = [*self._db.execute(statement, tuple(values))]
        return _Rows(rows, self._db.total_changes() - before)

    def executemany(self, statement: str, rows: Any) -> _Rows:
        before = self._db.total_changes()
        self._db.executemany(statement, [tuple(row) for row in rows])
        return _Rows([], self._db.total_changes() - before)

    def executescript(self, statements: str) -> None:
        self._db.execute(statements).fetchall()

    @property
    def in_transaction(self) -> bool:
        return self._db.in_transaction

    def close(self) -> None:
        with suppress(apsw.IOError):  # SQLite tries for a lock that it may not have, and does not mind; apsw does
            self._db.close()


class Opener:
    """Stands for `sqlite3.connect`: everything that is opened lies on the disk."""

    def __init__(self, disk: Disk) -> None:
        self._name = f"drive-{id(self)}"
        self._drive = _Drive(disk, self._name)

    def __call__(self, where: str, **more: Any) -> _Connection:
        return _Connection(where, self._name)
