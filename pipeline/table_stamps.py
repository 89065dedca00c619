"""By what it is known that a table in files has not changed: which files it is in, their sizes and times."""

import os
import time
from glob import glob

from schemas.workspace import Source

_STILL = 1.0  # seconds without a change, until a file is read: what writes it may not have ended

Stamp = tuple[tuple[str, int, int, int], ...]


def stamp_of(source: Source) -> Stamp | None:
    """Another one when the table may have changed. None: it is in a database, which does not say."""
    if source.url:
        return None
    # What a DuckDB file has not taken in yet is beside it.
    paths = glob(source.file, recursive=True) if source.file else [source.duckdb, f"{source.duckdb}.wal"]
    return tuple(each for path in sorted(paths) if (each := _file(path)))


def _file(path: str) -> tuple[str, int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return path, status.st_ino, status.st_size, status.st_mtime_ns


def is_still(stamp: Stamp | None) -> bool:
    """Whether none of the files was written to a moment ago. A clock that is ahead holds nothing up."""
    now = time.time()
    return not stamp or all(abs(now - changed / 1e9) >= _STILL for _, _, _, changed in stamp)
