"""WriteState, WriteOutbox, WriteDeadLetters: a shard's results go to disk; `Written` says how much.

Each file is written whole or not at all under its final name, so a repeated bundle repeats the
same bytes. Nothing of it counts before the commit.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam


class Written(NamedTuple):
    """One file of a run."""

    what: str  # `state`, `dead_letters`, or the name of the connection whose outbox it is
    shard: int
    items: int


class WriteShards(beam.PTransform):
    """(shard, items) → `Written`, through a picklable `write(shard, items)`."""

    def __init__(self, what: str, write: Callable[[int, Any], None], size: Callable[[Any], int] = len) -> None:
        super().__init__()
        self._fn = _WriteFn(what, write, size)

    def expand(self, shards: beam.PCollection) -> beam.PCollection:
        return shards | beam.ParDo(self._fn)


class _WriteFn(beam.DoFn):
    def __init__(self, what: str, write: Callable[[int, Any], None], size: Callable[[Any], int]) -> None:
        self._what, self._write, self._size = what, write, size

    def process(self, element: tuple[int, Any]) -> Iterator[Written]:
        shard, items = element
        self._write(shard, items)
        yield Written(self._what, shard, self._size(items))
