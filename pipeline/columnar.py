"""Avro and Parquet files as JSON lines, a block at a time."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

from schemas import formats

ROWS = 8192
CODECS = ("null", "deflate", "snappy", "zstandard", "bzip2", "xz", "lz4")

Blocks = Iterator[tuple[int, list[bytes]]]  # the number of the first record, from 0, and JSON lines


class Damaged(Exception):
    """The bytes are no whole Avro file."""


def unknown_codec(handle: BinaryIO) -> str:
    """The codec of an Avro file, where it is none that can be read. Raises Damaged."""
    with _damage():
        codec = str(fastavro.block_reader(handle).metadata.get("avro.codec", "null"))
    return "" if codec in CODECS else codec


def avro_file_mismatch(handle: BinaryIO) -> str:
    """What of an Avro file's schema does not fit events, in words. Raises Damaged."""
    with _damage():
        schema = _avro_schema(fastavro.block_reader(handle))
    return formats.avro_mismatch(schema)


def parquet_file_mismatch(handle: BinaryIO) -> str:
    """What of a Parquet file's schema does not fit events, in words. Raises pyarrow's errors."""
    return formats.parquet_mismatch(pq.ParquetFile(handle).schema_arrow)


def read_avro(handle: BinaryIO) -> Blocks:
    """Every record of an Avro file. Fields that no event has are ignored. Raises Damaged."""
    number = 0
    for records in _avro_blocks(handle):
        yield number, [formats.to_line(record) for record in records]
        number += len(records)


def _avro_blocks(handle: BinaryIO) -> Iterator[list[formats.Record]]:
    with _damage():
        reader = fastavro.block_reader(handle)
        schema = _avro_schema(reader)
        unit = formats.avro_time_unit(schema)
        # Without logical types `at` stays a number: a time beyond the calendar is one bad record, not a bad file.
        bare = fastavro.parse_schema(_without_logical_types(schema))
        end = handle.tell()
        block: Any
        for block in reader:
            records: list[Any] = [
                fastavro.schemaless_reader(block.bytes_, bare, None, handle_unicode_errors="surrogateescape")
                for _ in range(block.num_records)
            ]
            yield [_known(record, unit) for record in records]
            end = block.offset + block.size
        if end != handle.tell():
            raise EOFError("it ends inside a block")


@contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except OSError:  # the file system's, not the file's
        raise
    except Exception as error:  # damaged bytes make fastavro fail in any way, from KeyError to MemoryError
        raise Damaged(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__) from error


def _avro_schema(reader: Any) -> Any:
    return json.loads(reader.metadata["avro.schema"])


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _without_logical_types(value) for key, value in schema.items() if key != "logicalType"}
    if isinstance(schema, list):
        return [_without_logical_types(each) for each in schema]
    return schema


def _known(record: Any, unit: int) -> formats.Record:
    known = {column.name: record.get(column.name) for column in formats.COLUMNS}
    if known["at"] is not None:
        known["at"] *= unit
    return known


def read_parquet(handle: BinaryIO) -> Blocks:
    """Every row of a Parquet file, streamed: of a row group only the pages at hand are in memory.

    Columns that no event has are not read. Raises pyarrow's errors.
    """
    file = pq.ParquetFile(handle, buffer_size=1 << 20, pre_buffer=False)
    names = [column.name for column in formats.COLUMNS if column.name in file.schema_arrow.names]
    number = 0
    for batch in file.iter_batches(batch_size=ROWS, columns=names):
        columns = [_cells(name, batch.column(name)) for name in names]
        lines = [formats.to_line(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]
        yield number, lines
        number += len(lines)


def _cells(name: str, column: pa.Array) -> list[Any]:
    if name == "at":
        column = column.cast(pa.timestamp("us", tz="UTC"), safe=False).cast(pa.int64())
    try:
        cells: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        return [_cell(scalar) for scalar in column]
    return cells


def _cell(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        return error.object.decode("utf-8", "surrogateescape")
