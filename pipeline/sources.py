"""Sources: the tables of a workspace become events, and are remembered once these are decided.

with reading(...) as tables:    every table read and checked; nothing has changed yet
    tables.begin()              the new snapshots are in their places
    …                           `tables.files` are folded, as any event files
    tables.commit(db)           from now on the state knows of them
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pipeline import snapshots
from pipeline.disk import make_folder, private, sync_folder, writing
from pipeline.forgotten import Forgotten, forgotten_in
from pipeline.input_errors import InputError
from pipeline.snapshots import Snapshot
from pipeline.state_db import StateDb
from pipeline.tables import place_of, read, require_readers, words, working
from schemas.workspace import Source, Workspace
from transforms.logic.parse import MAX_LINE_BYTES
from transforms.logic.rows import Span, events_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FOLDER = "sources"  # in the state directory
_META = "sources"
_READING = "reading-"
_DAY = 86_400 * 1_000_000  # microseconds
_encode_lines = msgspec.json.Encoder().encode_lines


class _Taken(NamedTuple):
    """A table that was read."""

    source: Source
    number: int
    snapshot: Snapshot


class Tables:
    """The tables of one run, or of a plan: it does without `begin` and `commit`."""

    def __init__(self, folder: Path, taken: Sequence[_Taken]) -> None:
        self._folder, self._taken = folder, taken
        self.files: list[str] = []  # event files
        self.notes: list[str] = []
        self.changed = 0  # rows that are new, changed or gone
        self.consent: list[str] = []  # what needs a word of consent

    def begin(self) -> None:
        """Put the new snapshots into their places. Called before an event of them is folded."""
        for taken in self._taken:
            path = _path(self._folder, taken.source.name, taken.number)
            with writing(path):
                make_folder(path.parent)
                with taken.snapshot.path.open("rb") as file:
                    os.fsync(file.fileno())
                taken.snapshot.path.rename(path)
            sync_folder(path.parent)

    def drop(self) -> None:
        """Nothing of them was folded."""
        for taken in self._taken:
            _path(self._folder, taken.source.name, taken.number).unlink(missing_ok=True)

    def commit(self, db: StateDb) -> None:
        """Every event of them is in the state."""
        if not self._taken:
            return
        numbers = numbers_of(db) | {taken.source.name: taken.number for taken in self._taken}
        with db.transaction() as database:
            database.execute(f"INSERT OR REPLACE INTO meta VALUES ('{_META}', ?)", (msgspec.json.encode(numbers),))
        for taken in self._taken:
            for number, path in _found(self._folder, taken.source.name):
                if number < taken.number:
                    path.unlink(missing_ok=True)


@contextmanager
def reading(
    workspace: Workspace, sources: Sequence[Source], state: Path, db: StateDb, now: int, scratch: Path | None = None
) -> Iterator[Tables]:
    """Read every table, check it, and write the events of what is new in it. Raises InputError and StoreError.

    `scratch`: where a plan writes, in place of the state directory.
    """
    if not sources:
        yield Tables(state / FOLDER, ())
        return
    if scratch is None:
        scratch = state / FOLDER
        remove_left(scratch)
    beside = make_scratch(scratch)
    try:
        yield read_all(sources, computed_of(workspace), state, numbers_of(db), now, beside)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def make_scratch(folder: Path) -> Path:
    """A folder of its own for what is read. Raises StoreError."""
    with writing(folder):
        make_folder(folder)
        return Path(mkdtemp(prefix=_READING, dir=folder))


def remove_left(folder: Path) -> None:
    """Remove what a killed process left of what it read."""
    for left in folder.glob(f"{_READING}*"):
        shutil.rmtree(left, ignore_errors=True)


def computed_of(workspace: Workspace) -> frozenset[str]:
    """The traits that are no plain ones."""
    return frozenset(each.key for each in workspace.computations)


def read_all(
    sources: Sequence[Source],
    computed: frozenset[str],
    state: Path,
    numbers: Mapping[str, int],
    now: int,
    scratch: Path,
) -> Tables:
    """Read the tables, and write into `scratch`. `numbers`: what `numbers_of` the state says.

    Raises WrongPattern, InputError and StoreError.
    """
    require_readers(sources)
    folder = state / FOLDER
    taken: list[_Taken] = []
    tables = Tables(folder, taken)
    with working(scratch) as duck, forgotten_in(state) as forgotten:
        for source in sources:
            known = [each for each in _found(folder, source.name) if each[0] >= numbers.get(source.name, 0)]
            chain = [snapshots.open_snapshot(path) for _, path in known]
            after = max(now, chain[-1].about.at + 1) if chain else now
            if after > now + _DAY:
                wrong = "the table was read at a later time than this one, by more than a day"
                raise InputError(place_of(source), wrong, "correct the clock, or --now")
            new, doubts = _take(source, chain[-1] if chain else None, duck, scratch, after, forgotten)
            tables.consent += doubts
            number = max([numbers.get(source.name, 0), *(each for each, _ in known)]) + 1
            taken.append(_Taken(source, number, new))
            whole = numbers.get(source.name, 0) not in dict(known)
            _write(source, [*([None] if whole else []), *chain, new], computed, duck, scratch, tables, forgotten)
    return tables


def _take(
    source: Source, before: Snapshot | None, duck: "DuckDBPyConnection", scratch: Path, now: int, forgotten: Forgotten
) -> tuple[Snapshot, list[str]]:
    raw = read(source, duck, scratch)
    staged = snapshots.stage(source, raw, duck, scratch / f"{source.name}.staged.parquet", now)
    with words(place_of(source)):
        doubts = snapshots.doubts(source, before, staged, duck)
        path = scratch / f"{source.name}.parquet"
        return snapshots.follow(source, before, staged, duck, path, forgotten), doubts


def _write(
    source: Source,
    chain: Sequence[Snapshot | None],
    computed: frozenset[str],
    duck: "DuckDBPyConnection",
    scratch: Path,
    tables: Tables,
    forgotten: Forgotten,
) -> None:
    """Write the events that lead from each snapshot to the next; note how many rows they are of."""
    path = scratch / f"{source.name}.jsonl"
    changed = 0
    with writing(path), words(place_of(source)), open(path, "wb", opener=private) as file:
        for before, after in pairwise(chain):
            assert after
            span = Span(before.about.at if before else 0, after.about.at)
            for key, was, row in snapshots.differences(before, after, duck):
                if row.gone and forgotten.has(key):  # their deletion has said it all
                    continue
                changed += 1
                lines = _encode_lines([*events_of(key, was, row, span, computed, source.on_missing)])
                if len(lines) > MAX_LINE_BYTES:
                    _require_short(source, lines)
                file.write(lines)
    tables.files.append(str(path))
    tables.changed += changed
    rows = "1 row is" if changed == 1 else f"{changed:,} rows are"
    tables.notes.append(f"{place_of(source)}: {rows} new, changed or gone")


def _require_short(source: Source, lines: bytes) -> None:
    if any(len(line) > MAX_LINE_BYTES for line in lines.split(b"\n")):
        wrong = f"what a row says is longer than {MAX_LINE_BYTES:,} bytes"
        raise InputError(place_of(source), wrong, "leave the longest column out")


def numbers_of(db: StateDb) -> dict[str, int]:
    """By source, the snapshot that the state was decided with."""
    packed = db.meta(_META)
    return msgspec.json.decode(packed, type=dict[str, int]) if isinstance(packed, bytes) else {}


def _path(folder: Path, name: str, number: int) -> Path:
    return folder / name / f"{number:06}.parquet"


def _found(folder: Path, name: str) -> list[tuple[int, Path]]:
    """The snapshots of a source, the oldest first."""
    paths = sorted((folder / name).glob("[0-9]*.parquet"))
    return [(int(path.stem), path) for path in paths]
