"""ExpandIdentifiers: what is known of a shard's profiles → calls per connection, one per identifier."""

from collections.abc import Iterator

import apache_beam as beam

from schemas.dead_letters import DeadLetter
from transforms.logic.plan import Plan
from transforms.logic.shard import Detected, expand_shard

STATE, DEAD_LETTERS, COUNTS = "state", "dead_letters", "counts"


def calls_of(connection: str) -> str:
    """The output that carries a connection's calls."""
    return f"calls:{connection}"


class ExpandIdentifiers(beam.PTransform):
    """(shard, `Detected`) → under `state`, `calls:<connection>`, `dead_letters` and `counts`, per shard."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan

    def expand(self, shards: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        outputs = [STATE, DEAD_LETTERS, COUNTS, *(calls_of(c.name) for c in self._plan.connections)]
        return shards | beam.ParDo(_ExpandFn(self._plan)).with_outputs(*outputs)


class _ExpandFn(beam.DoFn):
    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def process(self, element: tuple[int, Detected]) -> Iterator[beam.pvalue.TaggedOutput]:
        shard, detected = element
        expanded = expand_shard(detected, self._plan)
        yield beam.pvalue.TaggedOutput(STATE, (shard, expanded.state))
        for name, calls in expanded.calls.items():
            if calls:
                yield beam.pvalue.TaggedOutput(calls_of(name), (shard, calls))
        if detected.dead_letters:
            letters: list[DeadLetter] = detected.dead_letters
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, (shard, letters))
        yield beam.pvalue.TaggedOutput(COUNTS, (detected.counts, expanded.counts))
