"""Input files: check them before the run, and read their events as raw JSON lines."""

import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Literal

import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError

from pipeline import columnar, files
from pipeline.files import InputError as InputError
from pipeline.files import words_of
from transforms.logic.parse import MAX_LINE_BYTES

Format = Literal["jsonl", "jsonl.gz", "avro", "parquet", "empty"]

RECORDS: frozenset[Format] = frozenset(("avro", "parquet"))  # of which events are counted as records, not as lines
BLOCK = 1 << 20

_EXTENSIONS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".jsonl.gz": "jsonl.gz",
    ".ndjson.gz": "jsonl.gz",
    ".json.gz": "jsonl.gz",
    ".avro": "avro",
    ".parquet": "parquet",
}
_GZIP, _AVRO, _PARQUET, _BOM = b"\x1f\x8b", b"Obj\x01", b"PAR1", b"\xef\xbb\xbf"
# What a file that is no text begins with, in words.
_CONTENTS = {
    _GZIP: "gzip",
    _AVRO: "Avro",
    _PARQUET: "Parquet",
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
_NAMES: dict[Format, str] = {"jsonl": "JSON Lines", "jsonl.gz": "gzip", "avro": "Avro", "parquet": "Parquet"}
_CODECS = "write it with the codec deflate, snappy or zstandard"
_CONVERT = "write JSON Lines (plain or gzip), Avro or Parquet"
_COMPLETE = "write the file again; it may have been cut while it was written or copied"


def check_file(path: str) -> Format:
    """The file's format, by content and extension. Raises InputError; reads no more than the head and the schema."""
    with _opened(path) as handle:
        found = _format(path, handle)
        handle.seek(0)
        if found == "avro" and (codec := columnar.unknown_codec(handle)):
            raise InputError(path, f"it is compressed with the codec {codec!r}, which is not known here", _CODECS)
        if found in ("avro", "parquet"):
            handle.seek(0)
            find = columnar.avro_file_mismatch if found == "avro" else columnar.parquet_file_mismatch
            if mismatch := find(handle):
                advice = "write the columns that `profilecast check --schema avro` or `… parquet` prints"
                raise InputError(path, f"it is no {_NAMES[found]} file of events: {mismatch}", advice)
    return found


def read_blocks(path: str) -> Iterator[tuple[int, list[bytes]]]:
    """Blocks of raw JSON events: the number of the first one, and the events without their line ends.

    Lines count from 1, blank ones included; Avro and Parquet records from 0. Of a line beyond
    MAX_LINE_BYTES only the first MAX_LINE_BYTES + 1 bytes come. Raises InputError, also in the
    middle: a file that turns out to be broken is not used at all.
    """
    kind = check_file(path)
    with _opened(path) as handle:
        match kind:
            case "avro":
                yield from columnar.read_avro(handle)
            case "parquet":
                yield from columnar.read_parquet(handle)
            case "jsonl":
                yield from _split(handle.read)
            case "jsonl.gz":
                with gzip.GzipFile(fileobj=handle) as plain:
                    yield from _split(plain.read)
            case "empty":
                return


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """The file's bytes as they are; whatever reading them raises comes out as an InputError."""
    try:
        with files.opened(path) as handle:
            yield handle
    except InputError:
        raise
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(path, f"it is cut short or damaged ({words_of(error)})", _COMPLETE) from error
    except columnar.Damaged as error:
        raise InputError(path, f"it is cut short or damaged ({error})", _COMPLETE) from error
    except pa.ArrowException as error:
        raise InputError(path, f"it is no readable Parquet file ({words_of(error)})", _COMPLETE) from error
    except (OSError, BeamIOError) as error:
        raise InputError(
            path, f"it cannot be read ({words_of(error)})", "check that it exists and may be read"
        ) from error


# -- the format


def _format(path: str, handle: BinaryIO) -> Format:
    head = handle.read(512)
    if not head:  # the end of a job that had nothing to write, or has not begun to
        return "empty"
    content = next((words for magic, words in _CONTENTS.items() if head.startswith(magic)), "")
    declared = _by_extension(path)
    if declared is None:
        return _by_content(path, handle, head, content)
    fits = not content if declared == "jsonl" else content == _NAMES[declared]
    if not fits:
        found = content or ("plain text" if head.isascii() else "something else")
        wrong = f"its name says {_NAMES[declared]}, its content is {found}"
        raise InputError(path, wrong, "rename it, or write the format that its name says")
    if declared == "jsonl.gz":
        _require_text(path, _unpacked_head(handle))
    return declared


def _by_extension(path: str) -> Format | None:
    name = os.path.basename(path).lower()
    return next((kind for extension, kind in _EXTENSIONS.items() if name.endswith(extension)), None)


def _by_content(path: str, handle: BinaryIO, head: bytes, content: str) -> Format:
    """The format of a file whose name says nothing."""
    match content:
        case "Avro":
            return "avro"
        case "Parquet":
            return "parquet"
        case "gzip":
            head = _unpacked_head(handle)
            _require_text(path, head)
    if (content and content != "gzip") or not head.removeprefix(_BOM).lstrip().startswith(b"{"):
        found = "gzip of something that is no JSON" if content == "gzip" else content or "no JSON, Avro or Parquet"
        raise InputError(path, f"its content is {found}", _CONVERT)
    return "jsonl.gz" if content else "jsonl"


def _unpacked_head(handle: BinaryIO) -> bytes:
    handle.seek(0)
    with gzip.GzipFile(fileobj=handle) as plain:
        return plain.read(512)


def _require_text(path: str, head: bytes) -> None:
    for magic, words in _CONTENTS.items():
        if head.startswith(magic):
            raise InputError(path, f"what is packed inside is {words}, not JSON Lines", _CONVERT)


# -- lines


def _split(read: Callable[[int], bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Lines of a stream, a block at a time; memory holds a block and one line of MAX_LINE_BYTES at most."""
    number = 1
    rest = b""  # of the line that the block before ended in
    skipping = False  # inside a line of which enough was seen
    while block := read(BLOCK):
        if number == 1 and not rest:
            block = block.removeprefix(_BOM)
        if skipping:
            _, end, block = block.partition(b"\n")
            skipping = not end
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        if lines and len(lines[0]) > MAX_LINE_BYTES:
            lines[0] = lines[0][: MAX_LINE_BYTES + 1]
        if len(rest) > MAX_LINE_BYTES:
            lines.append(rest[: MAX_LINE_BYTES + 1])
            rest, skipping = b"", True
        if lines:
            yield number, lines
            number += len(lines)
    if rest:
        yield number, [rest]
