"""ExpandIdentifiers: what is known of a shard's profiles → calls per connection, one per identifier."""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from msgspec.json import Encoder

from schemas.packing import frames, pack
from transforms.logic.plan import Plan
from transforms.logic.shard import Detected, expand_shard

_json = Encoder()

STATE, DEAD_LETTERS, COUNTS = "state", "dead_letters", "counts"


def calls_of(connection: str) -> str:
    """The output that carries a connection's calls."""
    return f"calls:{connection}"


class ExpandIdentifiers(beam.PTransform):
    """(shard, `Detected`) → packed (shard, number, bytes) under `state`, `calls:<connection>` and `dead_letters`.

    What was counted comes under `counts`.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan

    def expand(self, shards: beam.PCollection) -> Any:
        outputs = [STATE, DEAD_LETTERS, COUNTS, *(calls_of(c.name) for c in self._plan.connections)]
        return shards | beam.ParDo(_ExpandFn(self._plan)).with_outputs(*outputs)


class _ExpandFn(beam.DoFn):
    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def process(self, element: tuple[int, Detected]) -> Iterator[Any]:
        shard, detected = element
        expanded = expand_shard(detected, self._plan)
        yield beam.pvalue.TaggedOutput(STATE, (shard, len(expanded.state.profiles), pack(expanded.state)))
        for name, calls in expanded.calls.items():
            if calls:
                yield beam.pvalue.TaggedOutput(calls_of(name), (shard, len(calls), frames(calls)))
        if letters := detected.dead_letters:
            lines = b"".join(_json.encode(letter) + b"\n" for letter in letters)
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, (shard, len(letters), lines))
        yield beam.pvalue.TaggedOutput(COUNTS, (detected.counts, expanded.counts))
