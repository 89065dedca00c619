"""The graph of a bounded run: the first pipeline decides, the second delivers what is in the logs.

ReadEvents ─ GroupByShard ─ FoldShards ─ Decided        Connections ─ Deliver ─ reports
     └ errors ──────────────────┘
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from pipeline.decider import Decided, Decider
from pipeline.inputs import InputError, read_blocks
from transforms.deliver import Deliver, Deliverer
from transforms.fold import FoldShards
from transforms.logic.portion import known_of
from transforms.read import ReadEvents

SHARD = 8 << 20  # bytes of events in a shard, about; a shard is in memory as a whole
_MOST = 512  # shards


@dataclass(frozen=True)
class Input:
    """The event files of a run."""

    files: list[tuple[str, bool]]  # whether they hold records (Avro, Parquet) or lines
    size: int  # bytes, as if nothing were compressed

    @property
    def shards(self) -> int:
        return max(1, min(_MOST, self.size // SHARD))


def decide(root: beam.Pipeline, events: Input, decider: Decider, told: Any) -> None:
    """Fold all events; `told`, picklable, is called once with the sum of what was counted."""
    known = known_of(decider.plan)
    reading = ReadEvents(read_blocks, InputError, events.shards, known)
    read = root | "Files" >> beam.Create(events.files) | "ReadEvents" >> reading
    # Whole shards, so that Beam's cost per element disappears behind the work. The side input is the barrier: where
    # a file is unreadable, nothing is folded.
    folded = (read.packs | "GroupByShard" >> beam.GroupByKey(), read.errors) | "FoldShards" >> FoldShards(
        decider.plan, decider
    )
    errors = read.errors | "Errors" >> beam.Map(lambda error: Decided(errors=[error]))
    (
        (folded, errors)
        | "Counts" >> beam.Flatten()
        | "Decided" >> beam.CombineGlobally(_Sum())
        | "TellDecided" >> beam.Map(told)
    )


def deliver(root: beam.Pipeline, connections: Iterable[str], deliverer: Deliverer, told: Any) -> None:
    """Deliver what waits in the connections' logs; `told`, picklable, hears each report."""
    root | "Connections" >> beam.Create(connections) | "Deliver" >> Deliver(deliverer) | "Reports" >> beam.Map(told)


class _Sum(beam.CombineFn):
    def create_accumulator(self) -> Decided:
        return Decided()

    def add_input(self, sum_so_far: Decided, each: Decided) -> Decided:
        sum_so_far.add(each)
        return sum_so_far

    def merge_accumulators(self, sums: Iterable[Decided]) -> Decided:
        total = Decided()
        for each in sums:
            total.add(each)
        return total

    def extract_output(self, total: Decided) -> Decided:
        return total
