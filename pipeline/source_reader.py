"""The `sources` of a workspace file: tables, and which column says what."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import UNSET

from pipeline.computation_reader import Computations
from pipeline.problems import Problem, WorkspaceError
from pipeline.yaml_reader import Firsts, Reader, Spot, nfc
from schemas.workspace import UNITS, Source, Workspace
from schemas.workspace_schema import CONNECTION_NAME, DURATION, SHARE
from transforms.logic.keys import meant_type

ENDINGS = {"parquet": "parquet", "csv": "csv", "tsv": "csv", "json": "json", "jsonl": "json", "ndjson": "json"}
_SOONEST, _LATEST = 1.0, 30 * 86_400.0  # seconds
_PLACES = ("file", "duckdb", "url")
_SAYS = ("identifiers", "traits", "audiences", "account")


def form_of(file: str) -> str:
    """`parquet`, `csv` or `json`, by the name of a file; "" where that says nothing."""
    match = re.search(r"\.([a-z]+)(?:\.gz)?$", file.lower())
    return ENDINGS.get(match[1], "") if match else ""


def without_sources(workspace: Workspace, file: str, command: str) -> Workspace:
    """The workspace, for a command that reads no tables. Raises WorkspaceError where it has any."""
    if not workspace.sources:
        return workspace
    message = f"{command} reads no tables; leave them out of this file, and read them with `profilecast run` or `serve`"
    raise WorkspaceError(file, [Problem(file, None, "sources", None, message)])


def with_readers(workspace: Workspace, file: str) -> Workspace:
    """The workspace, if what reads its tables is installed. Raises WorkspaceError."""
    from pipeline.input_errors import WrongPattern
    from pipeline.tables import require_readers

    try:
        require_readers(workspace.sources)
    except WrongPattern as error:
        raise WorkspaceError(file, [Problem(file, None, "sources", None, f"{error.wrong}; {error.advice}")]) from None
    return workspace


def read_sources(reader: Reader, computations: Computations, items: Iterable[Spot]) -> tuple[Source, ...]:
    """Those without a mistake."""
    first, reading = Firsts(reader.note), _Reading(reader, computations)
    found = []
    for item in items:
        before = len(reader.problems)
        values, spots = reader.record(item, Source, reading.fields)
        name = values.get("name", UNSET)
        if name is not UNSET and not re.fullmatch(CONNECTION_NAME, name):
            better = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
            reader.note(
                spots["name"], "should have only a-z, 0-9 and `-`, and not begin with `-`", name, suggestion=better
            )
        first.of("name", name, spots.get("name", item))
        reading.check(item, spots)
        if len(reader.problems) == before:
            found.append(Source(**values))
    return tuple(found)


class _Reading:
    def __init__(self, reader: Reader, computations: Computations) -> None:
        self.reader, self.note, self.computations = reader, reader.note, computations
        self.fields = {
            "file": self._file,
            "identifiers": self._identifiers,
            "traits": self._traits,
            "audiences": self._audiences,
            "max_lost": self._share,
            "every": self._every,
        }

    def check(self, item: Spot, spots: Mapping[str, Spot]) -> None:
        """What keys of a source say together."""
        places = [name for name in _PLACES if name in spots]
        if not places:
            self.note(item, "needs one of `file`, `duckdb` and `url`: where the table is")
        for name in places[1:]:
            self.note(spots[name].at_key(), f"stands beside `{places[0]}`; a source has one place, so leave one out")
        if places == ["file"] and "query" in spots:
            self.note(spots["query"].at_key(), "goes with `duckdb` or `url`; a file is read as a whole")
        if places and "file" not in spots and "query" not in spots:
            self.note(item, f"needs a `query` beside `{places[0]}`, like `SELECT * FROM customers`")
        if not any(name in spots for name in _SAYS):
            self.note(item, f"says nothing of a person; it needs one of {', '.join(f'`{name}`' for name in _SAYS)}")

    def _file(self, spot: Spot) -> Any:
        path = self.reader.value(spot, str)
        if path is UNSET:
            return UNSET
        if "://" in path:
            return self.note(
                spot, "is no file of this machine; copy it here, or read it with a query of `duckdb`", path
            )
        if not form_of(path):
            return self.note(spot, f"should end in one of {', '.join(f'.{each}' for each in ENDINGS)}", path)
        return path

    def _identifiers(self, spot: Spot) -> Any:
        found: dict[str, Any] = {}
        for written, at in (self.reader.mapping(spot) or {}).items():
            kind = nfc(written)
            if meant := meant_type(kind):
                self.note(at.at_key(), "is not how this type is written", kind, suggestion=meant)
            elif not kind.strip():
                self.note(at.at_key(), "is empty; expected a type of identifier, like email")
            found[kind] = self.reader.value(at, tuple[str, ...])
            if found[kind] == ():
                self.note(at, "is an empty list; expected a column")
        return UNSET if UNSET in found.values() else found

    def _traits(self, spot: Spot) -> Any:
        found: dict[str, Any] = {}
        first = Firsts(self.note)
        for written, at in (self.reader.mapping(spot) or {}).items():
            key = self.computations.key_or_trait(nfc(written))
            if self.computations.kinds.get(key) == "audience":
                self.note(at.at_key(), "is an audience; write it under `audiences`", written)
            elif self._of_people(at, key) and first.of("trait", key, at.at_key()):
                found[key] = self.reader.value(at, str)
        return UNSET if UNSET in found.values() else found

    def _audiences(self, spot: Spot) -> Any:
        found: dict[str, Any] = {}
        first = Firsts(self.note)
        for written, at in (self.reader.mapping(spot) or {}).items():
            key = self.computations.key(at.at_key())
            if key is UNSET:
                continue
            if self.computations.kinds[key] == "trait":
                self.note(at.at_key(), "is a trait; write it under `traits`", written)
            elif self._of_people(at, key) and first.of("audience", key, at.at_key()):
                found[key] = self.reader.value(at, str)
        return UNSET if UNSET in found.values() else found

    def _of_people(self, at: Spot, key: str) -> bool:
        if key in self.computations.of_accounts:
            self.note(at.at_key(), "is of accounts; a source says something of people only", key)
        return key not in self.computations.of_accounts

    def _share(self, spot: Spot) -> Any:
        match = re.fullmatch(SHARE, spot.text.strip())
        if match and float(match[1]) <= 100:
            return float(match[1]) / 100
        return self.note(spot, "should be a share from 0% to 100%, like 20%", spot.text)

    def _every(self, spot: Spot) -> Any:
        match = re.fullmatch(DURATION, spot.text.strip())
        seconds = float(match[1]) * UNITS[match[2]] if match else 0.0
        if _SOONEST <= seconds <= _LATEST:
            return seconds
        return self.note(spot, "should be a time from 1s to 30d, like 15m", spot.text)
