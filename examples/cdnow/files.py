"""Event files in every format that profilecast reads, one for each month. The same events give the same bytes."""

import gzip
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path

import fastavro
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.events import AnyEvent
from schemas.formats import avro_schema, parquet_schema, to_record

_encode = msgspec.json.Encoder().encode


def write(events: Sequence[AnyEvent], folder: Path, format: str, since: date, until: date) -> Iterator[Path]:
    """Write events, oldest first, and yield each file: `events-1998-03-01--1998-03-31.jsonl`."""
    folder.mkdir(parents=True, exist_ok=True)
    for _, group in groupby(events, lambda event: (event.at.year, event.at.month)):
        of_month = list(group)
        first = max(since, of_month[0].at.date().replace(day=1))
        last = min(until, _end_of_month(first))
        path = folder / f"events-{first}--{last}.{format}"
        FORMATS[format](path, map(_encode, of_month))
        yield path


def _end_of_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def _write_jsonl(path: Path, lines: Iterable[bytes]) -> None:
    path.write_bytes(b"".join(line + b"\n" for line in lines))


def _write_jsonl_gz(path: Path, lines: Iterable[bytes]) -> None:
    path.write_bytes(gzip.compress(b"".join(line + b"\n" for line in lines), mtime=0))


def _write_avro(path: Path, lines: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        fastavro.writer(file, avro_schema(), map(to_record, lines), codec="deflate", sync_marker=b"profilecast 0123")


def _write_parquet(path: Path, lines: Iterable[bytes]) -> None:
    pq.write_table(pa.Table.from_pylist(list(map(to_record, lines)), parquet_schema()), path)


FORMATS: dict[str, Callable[[Path, Iterable[bytes]], None]] = {
    "jsonl": _write_jsonl,
    "jsonl.gz": _write_jsonl_gz,
    "avro": _write_avro,
    "parquet": _write_parquet,
}
