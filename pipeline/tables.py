"""Where a table is: a file, a DuckDB file, a database. Its rows, for DuckDB to read."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from glob import glob
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.input_errors import InputError, WrongPattern, one_line
from pipeline.source_reader import form_of
from schemas.secret import Secret
from schemas.workspace import Source

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MEMORY = "1GB"  # for DuckDB; what does not fit goes to the disk
_ROWS = 10_000  # of a database at a time
_EXTRA = "install it: pip install 'profilecast[tables]'"
_QUERY = "correct the query, or what it reads"
_QUOTED = re.compile(r"""(["'])(.*?)\1""")
_DRIVER = "begin the URL as SQLAlchemy has it, postgresql+psycopg:// for example, and install that driver"
# What DuckDB says of values that it could not read has these values in it: they are people's.
_OF_VALUES = ("ConversionException", "InvalidInputException", "OutOfRangeException")


class Raw(NamedTuple):
    """A table as it was found."""

    relation: str  # SQL, to stand behind FROM
    types: dict[str, str]  # of DuckDB, by column


def require_readers(sources: Sequence[Source]) -> None:
    """Raise WrongPattern where what reads these is not installed."""
    if sources and not find_spec("duckdb"):
        raise WrongPattern("sources", "DuckDB, which reads tables, is not installed", _EXTRA)
    for source in sources:
        if source.url and not find_spec("sqlalchemy"):
            raise WrongPattern(place_of(source), "SQLAlchemy, which reads databases, is not installed", _EXTRA)


@contextmanager
def working(scratch: Path) -> Iterator["DuckDBPyConnection"]:
    """DuckDB, with its temporary files in a folder."""
    import duckdb

    duck = duckdb.connect()
    try:
        duck.execute(f"SET temp_directory = {text(str(scratch))}")
        duck.execute(f"SET memory_limit = '{_MEMORY}'")
        duck.execute("SET preserve_insertion_order = false")
        duck.execute("SET TimeZone = 'UTC'")
        duck.execute("SET enable_progress_bar = false")
        yield duck
    finally:
        duck.close()


def read(source: Source, duck: "DuckDBPyConnection", scratch: Path) -> Raw:
    """The table. What is copied out of a database stands in `scratch`. Raises InputError."""
    if source.file:
        return _file(source, duck)
    if source.duckdb:
        return _duckdb(source, duck, scratch)
    return _database(source, duck, scratch)


def name(column: str) -> str:
    """A column's name in SQL."""
    return '"' + column.replace('"', '""') + '"'


def text(value: str) -> str:
    """A text in SQL."""
    return "'" + value.replace("'", "''") + "'"


@contextmanager
def words(place: str, advice: str = _QUERY) -> Iterator[None]:
    """What DuckDB raises comes out as an InputError, without values of the table."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        if type(error).__name__ in _OF_VALUES or isinstance(error, duckdb.DataError):
            wrong = "a value in it cannot be read as the type that its column has"
            raise InputError(place, wrong, "correct the values, or give the column another type") from None
        raise InputError(place, str(error).splitlines()[0][:300], advice) from None


def place_of(source: Source) -> str:
    """How errors name it."""
    return f"source {source.name}"


# -- files


def _file(source: Source, duck: "DuckDBPyConnection") -> Raw:
    place = f"{place_of(source)}, {source.file}"
    files = sorted(path for path in glob(source.file, recursive=True) if Path(path).is_file())
    if not files:
        raise InputError(place, "there is no such file", "correct the path, or write the file")
    names = f"[{', '.join(map(text, files))}]"
    form = form_of(source.file)
    relation = {
        "parquet": f"read_parquet({names}, union_by_name = true)",
        "csv": f"read_csv({names}, union_by_name = true, sample_size = -1)",
        "json": f"read_json({names}, union_by_name = true, sample_size = -1, maximum_depth = 4)",
    }[form]
    with words(place, "write the file again, in the format that its name says"):
        types = _types(duck, relation)
        if form == "csv" and (ids := [column for column in _texts(source) if column in types]):
            # As numbers they would lose their zeros at the front, and a phone number its plus.
            kept = ", ".join(f"{text(column)}: 'VARCHAR'" for column in ids)
            relation = f"{relation[:-1]}, types = {{{kept}}})"
            types |= dict.fromkeys(ids, "VARCHAR")
    return Raw(relation, types)


def _texts(source: Source) -> list[str]:
    """The columns that hold identifiers."""
    columns = [source.key, *(each for columns in source.identifiers.values() for each in columns), source.account]
    return [*dict.fromkeys(column for column in columns if column)]


def _types(duck: "DuckDBPyConnection", relation: str) -> dict[str, str]:
    rows = duck.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    return {row[0]: row[1] for row in rows}


# -- a DuckDB file


def _duckdb(source: Source, duck: "DuckDBPyConnection", scratch: Path) -> Raw:
    import duckdb

    place = f"{place_of(source)}, {source.duckdb}"
    if not Path(source.duckdb).is_file():
        raise InputError(place, "there is no such file", "correct the path")
    copy = scratch / f"{source.name}.raw.parquet"
    with words(place):
        other = duckdb.connect(source.duckdb, read_only=True)
        try:
            other.execute(f"SET memory_limit = '{_MEMORY}'")
            other.execute(f"COPY ({_bare(source.query)}) TO {text(str(copy))} (FORMAT parquet)")
        finally:
            other.close()
        relation = f"read_parquet({text(str(copy))})"
        return Raw(relation, _types(duck, relation))


def _bare(query: str) -> str:
    return query.strip().rstrip(";")


# -- a database, through SQLAlchemy


def _database(source: Source, duck: "DuckDBPyConnection", scratch: Path) -> Raw:
    assert source.url
    copies = scratch / f"{source.name}.raw"
    copies.mkdir()
    columns: list[str] = []
    objects: set[str] = set()
    for number, (columns, rows) in enumerate(_rows(source, source.url)):  # the last columns are those
        table = _table(source, columns, rows, objects)
        if table.num_columns:
            pq.write_table(table, copies / f"{number:06}.parquet")
    return _copied(source, duck, copies, columns, objects)


def _copied(source: Source, duck: "DuckDBPyConnection", copies: Path, columns: Sequence[str], objects: set[str]) -> Raw:
    """What was copied, with the columns of which every value is null."""
    if not any(copies.iterdir()):
        nothing = ", ".join(f"NULL AS {name(column)}" for column in columns)
        return Raw(f"(SELECT {nothing} WHERE false)", dict.fromkeys(columns, "NULL"))
    stored = f"read_parquet({text(str(copies / '*.parquet'))}, union_by_name = true)"
    with words(place_of(source)):
        there = _types(duck, stored)
        given = ", ".join(_column(column, there, objects) for column in columns)
        relation = f"(SELECT {given} FROM {stored})"
        return Raw(relation, _types(duck, relation))


def _column(column: str, there: dict[str, str], objects: set[str]) -> str:
    if column not in there:
        return f"NULL AS {name(column)}"
    return f"CAST({name(column)} AS JSON) AS {name(column)}" if column in objects else name(column)


def _rows(source: Source, url: Secret) -> Iterator[tuple[list[str], Sequence[Sequence[Any]]]]:
    """Columns, and rows of them, a part at a time; at least once."""
    from sqlalchemy import create_engine
    from sqlalchemy import text as statement
    from sqlalchemy.exc import DataError, NoSuchModuleError, SQLAlchemyError
    from sqlalchemy.pool import NullPool

    secret = url.reveal()
    try:
        engine = create_engine(secret, poolclass=NullPool)  # whatever happens, nothing stays open
        with engine.connect().execution_options(stream_results=True, yield_per=_ROWS) as connection:
            result = connection.execute(statement(_bare(source.query).replace(":", "\\:")))
            columns = [*result.keys()]
            yield columns, []
            for part in result.partitions():
                yield columns, part
    except DataError:
        raise InputError(place_of(source), "the database cannot read a value of its own", _QUERY) from None
    except (SQLAlchemyError, ImportError, ValueError) as error:
        said = _said(getattr(error, "orig", None) or error, source, url, secret)
        advice = _DRIVER if isinstance(error, NoSuchModuleError | ImportError) else _QUERY
        raise InputError(place_of(source), f"the database cannot be read ({said})", advice) from None


def _said(error: BaseException, source: Source, url: Secret, secret: str) -> str:
    """What the database said, without its URL and the parts of it that are secret.

    What it quotes may be a person's, if it is no word of the query.
    """
    from urllib.parse import unquote, urlsplit

    said = _QUOTED.sub(lambda found: found[0] if found[2] in source.query else "'…'", one_line(error))
    try:
        password = urlsplit(secret).password or ""
    except ValueError:
        password = ""
    for part in (secret, password, unquote(password)):
        said = said.replace(part, str(url)) if part else said
    return said


def _table(source: Source, columns: Sequence[str], rows: Sequence[Sequence[Any]], objects: set[str]) -> pa.Table:
    """The rows, without columns that hold only null. `objects` gets the names of columns that hold JSON."""
    made = {}
    for place, column in enumerate(columns):
        values = [_plain(row[place]) for row in rows]
        try:
            if any(map(_has_objects, values)) or column in objects:
                objects.add(column)
                values = [None if value is None else json.dumps(value, default=str) for value in values]
            if all(value is None for value in values):
                continue
            made[column] = pa.array(values)
            if pa.types.is_duration(made[column].type):
                raise ValueError(column)  # DuckDB reads it as a number
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            wrong = f"the column {column} has values of more than one type, or of a type that is not known"
            raise InputError(place_of(source), wrong, "give it one type in the query, with CAST") from None
    return pa.table(made)


def _has_objects(value: Any) -> bool:
    """Arrow would give each object the fields of all others."""
    return type(value) is dict or (type(value) is list and any(map(_has_objects, value)))


def _plain(value: Any) -> Any:
    """What Arrow and DuckDB know: a number that is none is null there too."""
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    return str(value) if isinstance(value, UUID) else value
