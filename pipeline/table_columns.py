"""The columns of a table as its source maps them: what each has to hold, and how a snapshot keeps it.

A snapshot has `key`, `gone`, `at`, `account`, and a column for each thing that is said: `id:email` (a list of texts),
`trait:plan` (JSON text), `audience:vip` (true or false).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pipeline.input_errors import InputError
from pipeline.problems import closest
from pipeline.tables import Raw, name, place_of
from schemas.workspace import Source

ID, TRAIT, AUDIENCE = "id:", "trait:", "audience:"
_WHOLE = {f"{unsigned}{size}INT" for unsigned in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE")}
_WHOLE |= {"INTEGER", "UINTEGER"}
_QUERY = "correct the source, or the table"


class Kept(NamedTuple):
    """A column of a snapshot."""

    name: str
    sql: str
    kind: str = ""  # of a trait: what its column holds; "" where every value is null


def kind_of(type_: str) -> str:
    """What a column of this type of DuckDB holds, in words; "" where no event can say it."""
    if type_.endswith("]"):
        return "a list"
    bare = re.split(r"[( ]", type_)[0]
    if bare in ("VARCHAR", "UUID", "ENUM"):
        return "text"
    if bare in _WHOLE or re.fullmatch(r"DECIMAL\(\d+,0\)", type_):
        return "whole numbers"
    if bare in ("FLOAT", "DOUBLE", "DECIMAL"):
        return "numbers"
    if bare == "BOOLEAN":
        return "true or false"
    if bare == "DATE" or bare.startswith("TIMESTAMP"):
        return "times"
    return "objects" if bare in ("STRUCT", "MAP", "JSON") else ""


def columns_of(source: Source) -> list[str]:
    """Those that the source names, each once."""
    named = [source.key, *(each for columns in source.identifiers.values() for each in columns)]
    named += [*source.traits.values(), *source.audiences.values(), source.at, source.account]
    return [*dict.fromkeys(column for column in named if column)]


def require(source: Source, raw: Raw) -> None:
    """Raise InputError where a column is not there."""
    missing = [column for column in columns_of(source) if column not in raw.types]
    if not missing:
        return
    meant = closest(missing[0], raw.types)
    there = f"it has {', '.join(raw.types)}" + (f"; did you mean {meant}?" if meant else "")
    names = ", ".join(missing)
    wrong = f"there is no column {names}" if len(missing) == 1 else f"there are no columns {names}"
    raise InputError(place_of(source), wrong, there)


class Columns:
    """How the columns of a table are kept. Raises InputError where one holds something else than its use needs."""

    def __init__(self, source: Source, raw: Raw, filled: Mapping[str, int]) -> None:
        """`filled`: by column, how many values are not null."""
        self._source, self._raw = source, raw
        self._kinds = {
            column: kind_of(raw.types[column]) if filled[column] else "nothing" for column in columns_of(source)
        }
        self.checks: list[tuple[str, str, str]] = []  # SQL of what must not be, and words: what, and what to do
        self.kept = [*self._all()]

    def _all(self) -> Iterator[Kept]:
        source = self._source
        yield Kept("key", self._identifier(source.key))
        yield Kept("gone", "FALSE")
        yield Kept("at", self._time(source.at) if source.at else "CAST(NULL AS BIGINT)")
        account = self._identifier(source.account) if source.account else "CAST(NULL AS VARCHAR)"
        yield Kept("account", f"CASE WHEN trim({account}) != '' THEN {account} END")
        for kind, columns in source.identifiers.items():
            parts = " || ".join(self._identifiers(column) for column in columns)
            yield Kept(ID + kind, f"[x for x in {parts} if trim(x) != '']")
        for trait, column in source.traits.items():
            kind = self._kinds[column]
            yield Kept(TRAIT + trait, self._json(column), "" if kind == "nothing" else kind)
        for audience, column in source.audiences.items():
            yield Kept(AUDIENCE + audience, self._member(column))

    def _identifier(self, column: str) -> str:
        match self._kinds[column]:
            case "nothing":
                return "CAST(NULL AS VARCHAR)"
            case "text":
                return f"CAST({name(column)} AS VARCHAR)"
            case "whole numbers":
                return f"CAST(CAST({name(column)} AS HUGEINT) AS VARCHAR)"
            case "numbers":  # whole numbers with a gap among them are written as doubles by common tools
                self._check(
                    f"NOT isfinite(CAST({name(column)} AS DOUBLE)) OR {name(column)} != floor({name(column)})",
                    f"the column {column} has numbers that are not whole",
                    "an identifier is text or a whole number",
                )
                return f"CAST(CAST({name(column)} AS BIGINT) AS VARCHAR)"
        raise self._wrong(column, "an identifier is text or a whole number")

    def _identifiers(self, column: str) -> str:
        """A list, however many the column holds."""
        if self._kinds[column] != "a list":
            return f"[{self._identifier(column)}]"
        each = self._raw.types[column].removesuffix("[]")
        if each.strip('"') != "NULL" and kind_of(each) not in ("text", "whole numbers"):
            raise self._wrong(column, "a list of identifiers has text or whole numbers")
        return f"coalesce([CAST(x AS VARCHAR) for x in {name(column)}], [])"

    def _json(self, column: str) -> str:
        quoted, type_ = name(column), self._raw.types[column]
        match self._kinds[column]:
            case "nothing":
                return "CAST(NULL AS VARCHAR)"
            case "whole numbers":
                value = f"CAST({quoted} AS BIGINT)"
            case "numbers":
                value = f"CASE WHEN isfinite(CAST({quoted} AS DOUBLE)) THEN CAST({quoted} AS DOUBLE) END"
            case "text":
                value = f"CAST({quoted} AS VARCHAR)"
            case "times" if type_ == "DATE":
                value = f"CAST({quoted} AS VARCHAR)"
            case "times":
                moment = f"strftime(CAST({quoted} AS TIMESTAMP), '%Y-%m-%dT%H:%M:%S.%fZ')"
                value = f"replace({moment}, '.000000Z', 'Z')"
            case "":
                raise self._wrong(column, "no event can say that; CAST it to text in a query, or leave it out")
            case _:
                value = quoted
        return f"CAST(to_json({value}) AS VARCHAR)"

    def _member(self, column: str) -> str:
        quoted = name(column)
        match self._kinds[column]:
            case "nothing":
                return "FALSE"
            case "true or false":
                return f"coalesce({quoted}, FALSE)"
            case "whole numbers":  # databases without truth values have 0 and 1
                advice = "write true or false, or 1 and 0"
                self._check(f"{quoted} NOT IN (0, 1)", f"the column {column} has numbers besides 0 and 1", advice)
                return f"coalesce({quoted} = 1, FALSE)"
        raise self._wrong(column, "an audience's column has true or false, or 1 and 0")

    def _time(self, column: str) -> str:
        quoted = name(column)
        match self._kinds[column]:
            case "nothing":
                return "CAST(NULL AS BIGINT)"
            case "times":
                return f"epoch_us(CAST({quoted} AS TIMESTAMP))"
            case "text":  # SQLite has no times
                moment = f"TRY_CAST({quoted} AS TIMESTAMPTZ)"
                self._check(
                    f"{quoted} IS NOT NULL AND {moment} IS NULL",
                    f"the column {column} has text that is no time",
                    "write times such as 1998-03-31T12:00:00Z",
                )
                return f"epoch_us({moment})"
        raise self._wrong(column, "`at` needs times")

    def _check(self, sql: str, wrong: str, advice: str) -> None:
        self.checks.append((sql, wrong, advice))

    def _wrong(self, column: str, expected: str) -> InputError:
        found = self._kinds[column] or self._raw.types[column]
        return InputError(place_of(self._source), f"the column {column} holds {found}; {expected}", _QUERY)


def changed_kinds(before: Mapping[str, str], now: Sequence[Kept]) -> list[str]:
    """What traits held before and hold now, in words, where that is something else."""
    found = []
    for column in now:
        was = before.get(column.name, "")
        alike = {was, column.kind} == {"numbers", "whole numbers"}
        if was and column.kind and was != column.kind and not alike:
            found.append(f"the trait {column.name.removeprefix(TRAIT)} held {was}, and now {column.kind}")
    return found
