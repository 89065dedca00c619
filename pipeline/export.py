"""Export: receipts, waiting calls and the ledger of a state directory, as rows for other tools."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from msgspec.json import encode

from pipeline.disk import private, writing
from pipeline.sent import Receipts
from pipeline.state_db import StateDb, decode_call
from schemas.registry import Registry, decode_registry
from schemas.state import Entry, decode_profile

Row = tuple[Any, ...]
_AT_ONCE = 20_000  # rows in memory
_TIME = pa.timestamp("us", tz="UTC")
_WHO = [("connection", pa.string()), ("profile_id", pa.string())]
_WHAT = [
    ("sync", pa.string()),
    ("form", pa.string()),
    ("key", pa.string()),
    ("identifier_type", pa.string()),
    ("identifier", pa.string()),
]
SCHEMAS = {
    "receipts": pa.schema(
        [
            *_WHO, *_WHAT, ("kind", pa.string()), ("asked_at", _TIME), ("ask", pa.int64()), ("settled_at", _TIME),
            ("outcome", pa.string()), ("reason", pa.string()), ("may_have_arrived", pa.bool_()),
        ]
    ),
    "calls": pa.schema(
        [
            *_WHO, *_WHAT, ("kind", pa.string()), ("asked_at", _TIME), ("ask", pa.int64()), ("value", pa.string()),
            ("since", _TIME), ("backfill", pa.bool_()),
        ]
    ),
    "ledger": pa.schema(
        [
            *_WHO, *_WHAT, ("told", pa.string()), ("may_know", pa.bool_()), ("asked", pa.string()),
            ("refused", pa.bool_()),
        ]
    ),
}  # fmt: skip


def export(db: StateDb, what: str, path: Path, form: str) -> int:
    """Write the rows into a file that only its owner can read; how many. Raises StoreError."""
    registry = decode_registry(packed) if (packed := db.registry()) else Registry()
    rows, schema = _ROWS[what](db, registry), SCHEMAS[what]
    number, beside = 0, path.with_name(f"{path.name}.new")
    with writing(path):
        with open(beside, "wb", opener=private) as file, _writer(file, schema, form) as writer:
            while part := list(islice(rows, _AT_ONCE)):
                writer.write_table(_table(part, schema))
                number += len(part)
        os.replace(beside, path)
    return number


def _writer(file: Any, schema: pa.Schema, form: str) -> Any:
    return pa.csv.CSVWriter(file, schema) if form == "csv" else pa.parquet.ParquetWriter(file, schema)


def _table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)], schema=schema)


def _receipts(db: StateDb, registry: Registry) -> Iterator[Row]:
    """Those that are kept: 7 days. A cancel's is not a call's."""
    for connection in registry.connections:
        position = 0
        with closing(Receipts(db.folder, connection)) as log:
            while found := log.after(position, _AT_ONCE):
                position = found[-1].position
                for each in (told.receipt for told in found):
                    if each.kind != "cancel":
                        yield (
                            connection, each.profile_id, *_what(registry, each.slot), *each.identifier, each.kind,
                            each.ask, each.ask, round(each.at * 1_000_000), each.fate, each.reason, each.maybe,
                        )  # fmt: skip


def _calls(db: StateDb, registry: Registry) -> Iterator[Row]:
    """Calls whose receipt is not folded yet."""
    for number, connection in enumerate(registry.connections):
        for backfill in (0, 1):
            after = -1
            while found := db.rows(
                "SELECT ask, call FROM calls WHERE connection = ? AND backfill = ? AND ask > ? ORDER BY ask LIMIT ?",
                number, backfill, after, _AT_ONCE,
            ):  # fmt: skip
                after = found[-1][0]
                for each in (decode_call(packed) for _, packed in found):
                    if each.kind != "cancel":
                        yield (
                            connection, each.profile_id, *_what(registry, each.slot), *each.identifier, each.kind,
                            each.ask, each.ask, encode(each.value).decode(), each.at, each.backfill,
                        )  # fmt: skip


def _ledger(db: StateDb, registry: Registry) -> Iterator[Row]:
    """What every connection was told of everybody. A value stands there itself only if it is short."""
    after = "\x01"  # behind those that were deleted
    while names := db.names(after, 5_000):
        after = names[-1]
        for name, packed in sorted(db.get(names).items()):
            state = decode_profile(packed)
            for slot, entries in state.ledger.items():
                connection = registry.slots[slot - 1].connection
                for place, entry in entries.items():
                    yield (connection, name, *_what(registry, slot), *state.ids[place].identifier, *_entry(entry))


def _entry(entry: Entry) -> Row:
    refused = bool(entry.rest and entry.rest.refused)
    return _text(entry.told), entry.exposed, _text(entry.open.asked) if entry.open else None, refused


def _text(kept: bytes | bool | None) -> str | None:
    """A value, or its digest in hexadecimal."""
    if not isinstance(kept, bytes):
        return None if kept is None else str(kept).lower()
    return kept.decode() if len(kept) < 16 else kept.hex()


def _what(registry: Registry, slot: int) -> Row:
    """Sync, form and key of a slot."""
    key = registry.slots[slot - 1]
    return key.sync, key.form, key.key


_ROWS: dict[str, Callable[[StateDb, Registry], Iterator[Row]]] = {
    "receipts": _receipts,
    "calls": _calls,
    "ledger": _ledger,
}
