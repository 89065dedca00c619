"""Snapshots: what a table said when it was read, kept as Parquet, and what differs from one to the next.

    <state>/sources/<name>/<number>.parquet

The state says which number its events were decided of. What has a higher number was begun and not ended: a crash came
between. Its events are told again, before those of the next one; they change nothing the second time.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from pipeline.disk import RESTORE, StoreError
from pipeline.forgotten import Forgotten
from pipeline.input_errors import InputError
from pipeline.table_columns import AUDIENCE, ID, TRAIT, Columns, Kept, changed_kinds, require
from pipeline.tables import Raw, name, place_of, text, words
from schemas.workspace import Source
from transforms.logic.rows import Row

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ABOUT = "profilecast"  # the key of what a snapshot says of itself
_BATCH = 10_000  # rows
_OWN = ("gone", "at", "account")


class About(Struct):
    """What a snapshot says of itself."""

    at: int  # when the table was read: microseconds since 1970
    kinds: dict[str, str]  # what the columns of traits hold


class Snapshot(NamedTuple):
    path: Path
    about: About
    columns: tuple[str, ...]

    @property
    def relation(self) -> str:
        return f"read_parquet({text(str(self.path))})"


class Changed(NamedTuple):
    """A person of whom two snapshots say different things."""

    key: str
    before: Row | None
    after: Row


def open_snapshot(path: Path) -> Snapshot:
    """Raises StoreError where it is damaged."""
    try:
        schema = pq.read_schema(path)
        about = msgspec.json.decode((schema.metadata or {})[_ABOUT.encode()], type=About)
    except (pa.ArrowException, OSError, KeyError, msgspec.MsgspecError) as error:
        mend = f"remove it, and the whole table is told anew; or {RESTORE}"
        raise StoreError(f"{path}: it is damaged ({type(error).__name__}); {mend}") from error
    return Snapshot(path, about, tuple(schema.names))


# -- a table becomes a snapshot


def stage(source: Source, raw: Raw, duck: "DuckDBPyConnection", path: Path, now: int) -> Snapshot:
    """Write what the table says now. Raises InputError where it is no table that can be used."""
    require(source, raw)
    place = place_of(source)
    with words(place):
        filled = _filled(raw, duck)
        rows = filled.pop("")
    columns = Columns(source, raw, filled)
    with words(place):
        for sql, wrong, advice in columns.checks:
            if bad := _number(duck, f"SELECT count(*) FROM {raw.relation} WHERE {sql}"):
                raise InputError(place, f"{wrong} ({_rows(bad)})", advice)
        given = ", ".join(f"{column.sql} AS {name(column.name)}" for column in columns.kept)
        _copy(duck, f"SELECT {given} FROM {raw.relation}", path, About(now, _kinds(columns.kept)))
        staged = open_snapshot(path)
        if rows:
            _check_keys(source, staged, duck)
    return staged


def _filled(raw: Raw, duck: "DuckDBPyConnection") -> dict[str, int]:
    """How many values of each column are not null; under "" the number of rows."""
    counts = ", ".join(["count(*)", *(f"count({name(column)})" for column in raw.types)])
    (found,) = duck.execute(f"SELECT {counts} FROM {raw.relation}").fetchall()
    return dict(zip(["", *raw.types], found, strict=True))


def _check_keys(source: Source, staged: Snapshot, duck: "DuckDBPyConnection") -> None:
    place = place_of(source)
    empty = _number(duck, f"SELECT count(*) FROM {staged.relation} WHERE key IS NULL OR trim(key) = ''")
    if empty:
        wrong = f"the key {source.key} is null or empty in {_rows(empty)}"
        raise InputError(place, wrong, "each row needs a key; leave the others out, with a query")
    twice = _number(duck, f"SELECT count(*) FROM (SELECT key FROM {staged.relation} GROUP BY key HAVING count(*) > 1)")
    if twice:
        wrong = f"the key {source.key} is not unique: {twice:,} of its values are in more than one row"
        raise InputError(place, wrong, "one person is one row; join the others to it, with a query")


def _kinds(columns: Sequence[Kept]) -> dict[str, str]:
    return {column.name: column.kind for column in columns if column.kind}


def _copy(duck: "DuckDBPyConnection", query: str, path: Path, about: About) -> None:
    said = text(msgspec.json.encode(about).decode())
    duck.execute(
        f"COPY ({query}) TO {text(str(path))} (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{_ABOUT}: {said}}})"
    ).fetchall()
    path.chmod(0o600)


def _number(duck: "DuckDBPyConnection", query: str) -> int:
    ((found,),) = duck.execute(query).fetchall()
    return int(found)


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number:,} rows"


# -- two snapshots


def doubts(source: Source, before: Snapshot | None, staged: Snapshot, duck: "DuckDBPyConnection") -> list[str]:
    """Why the table may be another one than is meant, in words: what needs consent."""
    place = place_of(source)
    if before is None:
        if not _number(duck, f"SELECT count(*) FROM {staged.relation}"):
            raise InputError(place, "the table has no rows", "see what should have filled it")
        return []
    kept = [Kept(column, "", kind) for column, kind in staged.about.kinds.items()]
    found = [f"{place}: {change}" for change in changed_kinds(before.about.kinds, kept)]
    were = _number(duck, f"SELECT count(*) FROM {before.relation} WHERE NOT gone")
    lost = _number(
        duck,
        f"SELECT count(*) FROM {before.relation} o ANTI JOIN {staged.relation} n USING (key) WHERE NOT gone",
    )
    if lost > source.max_lost * were:
        share = f"max_lost is {source.max_lost * 100:g}%"
        found.append(f"{place}: {lost:,} of {were:,} rows are gone, {lost / were:.1%} of them; {share}")
    return found


def follow(
    source: Source,
    before: Snapshot | None,
    staged: Snapshot,
    duck: "DuckDBPyConnection",
    path: Path,
    forgotten: Forgotten,
) -> Snapshot:
    """The next snapshot: what the table says, and of rows that are gone what they said last.

    So an address that was dropped meanwhile is known when its row comes back. `forget` keeps nothing, and of those who
    were deleted nothing is kept.
    """
    if before is None or source.on_missing == "forget":
        staged.path.rename(path)
        return staged._replace(path=path)
    kinds = {column: kind for column, kind in before.about.kinds.items() if column in staged.columns}
    about = About(staged.about.at, kinds | staged.about.kinds)
    if not _find_gone(before, staged, duck, forgotten) and about == staged.about:  # it need not be written once more
        staged.path.rename(path)
        return staged._replace(path=path)
    there = set(before.columns)
    given = ", ".join(
        "TRUE AS gone" if column == "gone" else name(column) if column in there else f"NULL AS {name(column)}"
        for column in staged.columns
    )
    kept = f"SELECT {given} FROM {before.relation} SEMI JOIN gone USING (key)"
    _copy(duck, f"SELECT * FROM {staged.relation} UNION ALL BY NAME {kept}", path, about)
    staged.path.unlink()
    return open_snapshot(path)


def _find_gone(before: Snapshot, staged: Snapshot, duck: "DuckDBPyConnection", forgotten: Forgotten) -> int:
    """Put the keys that are not in the table any more, and are to be kept, into `gone`; how many these are."""
    missing = f"SELECT key FROM {before.relation} ANTI JOIN {staged.relation} n USING (key)"
    duck.execute(f"CREATE OR REPLACE TEMP TABLE gone AS {missing}")
    deleted = [key for batch in _batches(duck, "FROM gone") for key in forgotten.among(batch.column(0).to_pylist())]
    if deleted:
        duck.execute("DELETE FROM gone WHERE key IN (SELECT unnest(?))", [deleted])
    return _number(duck, "SELECT count(*) FROM gone")


def differences(before: Snapshot | None, after: Snapshot, duck: "DuckDBPyConnection") -> Iterator[Changed]:
    """Every person of whom they say different things, in no order. A row's own time alone is no difference."""
    said = [column for column in after.columns if column != "key"]
    if before is None:
        now = _RowOf(said, 1)
        for batch in _batches(duck, f"SELECT key, {_given('n', said)} FROM {after.relation} n"):
            yield from (Changed(row[0], None, now(row)) for row in _tuples(batch))
        return
    known = [column for column in said if column in before.columns]
    unlike = [f"n.{name(c)} IS DISTINCT FROM o.{name(c)}" for c in known if c != "at"]
    unlike += ["n.key IS NULL", "o.key IS NULL"]
    unlike += ["TRUE"] if len(known) < len(said) else []
    query = (
        f"SELECT coalesce(n.key, o.key), o.key IS NOT NULL, n.key IS NOT NULL, {_given('o', known)}, "
        f"{_given('n', said)} FROM {after.relation} n FULL JOIN {before.relation} o ON n.key = o.key "
        f"WHERE {' OR '.join(unlike)}"
    )
    was, now = _RowOf(known, 3), _RowOf(said, 3 + len(known))
    for batch in _batches(duck, query):
        for row in _tuples(batch):
            yield Changed(row[0], was(row) if row[1] else None, now(row) if row[2] else Row(gone=True))


def _given(table: str, columns: Sequence[str]) -> str:
    return ", ".join(f"{table}.{name(column)} AS {name(f'{table} {column}')}" for column in columns)


def _batches(duck: "DuckDBPyConnection", query: str) -> Iterator[pa.RecordBatch]:
    reader: Iterator[pa.RecordBatch] = duck.sql(query).to_arrow_reader(_BATCH)
    yield from reader


def _tuples(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)


class _RowOf:
    """Makes a Row of a tuple that has these columns, from a place on. It is called for every row of a first table."""

    def __init__(self, columns: Sequence[str], first: int) -> None:
        places = {column: place for place, column in enumerate(columns, first)}
        self._own = [places.get(column) for column in _OWN]
        self._ids, self._values, self._audiences = (
            [(column.removeprefix(kind), place) for column, place in places.items() if column.startswith(kind)]
            for kind in (ID, TRAIT, AUDIENCE)
        )

    def __call__(self, row: Sequence[Any]) -> Row:
        gone, at, account = (None if place is None else row[place] for place in self._own)
        return Row(
            bool(gone),
            at,
            {kind: tuple(row[place] or ()) for kind, place in self._ids},
            {trait: row[place] for trait, place in self._values},
            {audience: row[place] is True for audience, place in self._audiences},
            account,
        )
