"""WriteState, WriteOutbox, WriteDeadLetters: a shard's results go to disk; `Written` says how much.

Each file is written whole or not at all under its final name, so a repeated bundle repeats the
same bytes. Nothing of it counts before the commit.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import apache_beam as beam


class Written(NamedTuple):
    """One file of a run."""

    what: str  # `state`, `dead_letters`, or the name of the connection whose outbox it is
    shard: int
    items: int


class WriteShards(beam.PTransform):
    """(shard, number, bytes) → `Written`, through a picklable `write(shard, bytes)`."""

    def __init__(self, what: str, write: Callable[[int, bytes], None]) -> None:
        super().__init__()
        self._fn = _WriteFn(what, write)

    def expand(self, shards: beam.PCollection) -> beam.PCollection:
        return shards | beam.ParDo(self._fn)


class _WriteFn(beam.DoFn):
    def __init__(self, what: str, write: Callable[[int, bytes], None]) -> None:
        self._what, self._write = what, write

    def process(self, element: tuple[int, int, bytes]) -> Iterator[Written]:
        shard, number, packed = element
        self._write(shard, packed)
        yield Written(self._what, shard, number)
