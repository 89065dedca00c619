"""ReadEvents: files → packed raw events by shard of profile ids."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from zlib import crc32

import apache_beam as beam

from schemas.packing import pack
from transforms.counting import CountingFn
from transforms.logic.parse import subject_of
from transforms.logic.portion import Lines
from transforms.logic.segment import Known, events_of

_LINES = 2_000  # a pack: enough that Beam's cost per element disappears behind the work
_BYTES = 1_000_000

Blocks = Callable[[str], Iterator[tuple[int, list[bytes]]]]


class ReadEvents(beam.PTransform):
    """(path, whether it has records) → (shard, packed `Lines`); unreadable files, as text, under `errors`.

    `read_blocks` yields blocks of raw events of a file and raises `error` where it cannot. `shards`: how many; all
    events of a profile are in one. `known`: what messages in Segment's format are understood with.
    """

    def __init__(self, read_blocks: Blocks, error: type[Exception], shards: int, known: Known) -> None:
        super().__init__()
        self._fn = _ReadFn(read_blocks, error, shards, known)

    def expand(self, paths: beam.PCollection) -> Any:
        read = beam.ParDo(self._fn).with_output_types(tuple[int, bytes])
        read.label = "Read"  # metrics are found by it
        return paths | read.with_outputs("errors", main="packs")


class _ReadFn(CountingFn):
    COUNTS = ("files", "packs", "unreadable_files")

    def __init__(self, read_blocks: Blocks, error: type[Exception], shards: int, known: Known) -> None:
        self._read_blocks, self._error, self._shards, self._known = read_blocks, error, shards, known

    def process(self, element: tuple[str, bool]) -> Iterator[Any]:
        path, records = element
        try:
            for pack_ in packs(path, self._read_blocks(path), records, self._shards, self._known):
                self.count("packs")
                yield pack_
            self.count("files")
        except self._error as error:
            self.count("unreadable_files")
            yield beam.pvalue.TaggedOutput("errors", str(error))


def shard_of(profile_id: str, shards: int) -> int:
    return crc32(profile_id.encode()) % shards


def packs(
    path: str, blocks: Iterable[tuple[int, list[bytes]]], records: bool, shards: int, known: Known
) -> Iterator[tuple[int, bytes]]:
    """Raw events, joined by shard. What has no profile id goes to shard 0, to be explained there."""
    buffers = [Lines(path, [], [], records) for _ in range(shards)]
    sizes = [0] * shards
    for number, profile_id, line in _routed(blocks, known):
        shard = shard_of(profile_id, shards) if profile_id else 0
        buffer = buffers[shard]
        buffer.numbers.append(number)
        buffer.lines.append(line)
        sizes[shard] += len(line)
        if len(buffer.lines) >= _LINES or sizes[shard] >= _BYTES:
            yield shard, pack(buffer)
            buffers[shard], sizes[shard] = Lines(path, [], [], records), 0
    for shard, buffer in enumerate(buffers):
        if buffer.lines:
            yield shard, pack(buffer)


def _routed(blocks: Iterable[tuple[int, list[bytes]]], known: Known) -> Iterator[tuple[int, str | None, bytes]]:
    """The number of a line, whom it is about, and itself; in place of a message the events that it says."""
    for first, lines in blocks:
        for number, line in enumerate(lines, first):
            subject = subject_of(line)
            if subject is None and (said := events_of(line, known)):
                yield from ((number, subject_of(each), each) for each in said)
            else:
                yield number, subject, line
