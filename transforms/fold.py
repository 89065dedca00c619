"""Fold whole shards of events over a store: for bounded input. Steps that wire and do not decide.

`transforms/keyed.py` folds unbounded input. Both fold alike.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import apache_beam as beam
from msgspec.msgpack import Decoder

from schemas.packing import unpack
from transforms.counting import CountingFn
from transforms.logic.plan import Plan
from transforms.logic.portion import Lines, parse_lines

_lines = Decoder(Lines)


class Store(Protocol):
    """Where a bounded job folds to; see `pipeline.decider.Decider`. Picklable."""

    def fold_parsed(self, parsed: Any) -> Any:
        """Fold the events of a shard and commit; what was counted."""


class FoldShards(beam.PTransform):
    """(shard, packed `Lines`) → what was counted, for bounded input.

    `errors` are unreadable files: if there is one, nothing is folded.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        super().__init__()
        self._fn = _FoldShardFn(plan, store)

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection:
        shards, errors = inputs
        return shards | "Fold" >> beam.ParDo(self._fn, beam.pvalue.AsList(errors))


class _FoldShardFn(CountingFn):
    COUNTS = ("records", "dead_letters")

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan, self._store = plan, store

    def process(self, element: tuple[int, Iterable[bytes]], errors: list[str]) -> Iterator[Any]:
        if not errors:
            _, packs = element
            parsed = parse_lines((unpack(pack, _lines) for pack in packs), self._plan)
            self.count("records", parsed.counts["read"])
            self.count("dead_letters", len(parsed.dead_letters))
            yield self._store.fold_parsed(parsed)
