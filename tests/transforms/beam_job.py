"""The job of `tests/transforms/logic/job.py` with its decisions made by the Beam transforms."""

import pickle
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from msgspec.msgpack import Decoder

from schemas.calls import Call
from schemas.coders import register
from schemas.packing import pack, read_frames, unpack
from schemas.state import ShardState
from tests.transforms.logic.job import Event, Job, lines_of
from transforms.detect import DetectChanges
from transforms.expand import COUNTS, STATE, ExpandIdentifiers, calls_of
from transforms.logic.plan import Plan
from transforms.logic.shard import Expanded, Past, Settlement
from transforms.write import WriteShards

SHARD = 7


@dataclass(frozen=True)
class Before:
    """What the run before left. Picklable."""

    state: ShardState
    settled: list[Settlement]

    def previous_state(self, shard: int) -> ShardState:
        return self.state

    def settlements(self, shard: int, past: Past) -> list[Settlement]:
        return self.settled


@dataclass
class BeamJob(Job):
    """Decides in a pipeline; what it writes goes to a folder and is read back."""

    folder: Path = field(kw_only=True)

    def decide(self, plan: Plan, events: Sequence[Event], everyone: bool) -> Expanded:
        register()
        for left in self.folder.iterdir():
            left.unlink()
        names = [connection.name for connection in plan.connections]
        packs = [(SHARD, pack(lines_of(events))), (SHARD, pack(Past()))]
        with beam.Pipeline(runner=FnApiRunner()) as root:
            expanded = (
                root
                | beam.Create(packs).with_output_types(tuple[int, bytes])
                | beam.GroupByKey()
                | DetectChanges(plan, everyone, Before(self.state, self.settlements))
                | ExpandIdentifiers(plan)
            )
            expanded[STATE] | STATE >> WriteShards(STATE, partial(write, self.folder / STATE))
            for name in names:
                expanded[calls_of(name)] | name >> WriteShards(name, partial(write, self.folder / name))
            expanded[COUNTS] | COUNTS >> beam.Map(partial(write_pickled, self.folder / COUNTS))
        _, counts = pickle.loads((self.folder / COUNTS).read_bytes())
        state = unpack((self.folder / STATE).read_bytes(), Decoder(ShardState))
        return Expanded(state, {name: self._calls(name) for name in names}, counts)

    def _calls(self, connection: str) -> list[Call]:
        path = self.folder / connection
        if not path.exists():
            return []
        with path.open("rb") as file:
            return [call for calls in read_frames(file, Decoder(list[Call])) for call in calls]


def write(path: Path, shard: int, packed: bytes) -> None:
    """The one shard that there is."""
    assert shard == SHARD
    path.write_bytes(packed)


def write_pickled(path: Path, counts: tuple[Counter[str], Any]) -> None:
    path.write_bytes(pickle.dumps(counts))
