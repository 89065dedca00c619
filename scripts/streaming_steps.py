"""Names of the streaming job's steps, for `docs/streaming_steps.txt`: an engine finds the job's state by them."""

from hashlib import sha256
from pathlib import Path

import apache_beam as beam
from apache_beam.portability.api import beam_runner_api_pb2

from pipeline.streaming.clients import Part
from pipeline.streaming.graph import build
from pipeline.streaming.kafka import Kafka

PAGE = Path(__file__).resolve().parents[1] / "docs" / "streaming_steps.txt"
_HEAD = """\
# Steps of the streaming job, in their order, with their state cells. An engine finds a job's state by these names: a
# job in which one of them changed begins without its state. See "Upgrades" in docs/streaming.md.
# Written by `make docs`. A decision in docs/decisions has this file's digest: a change needs a new decision.
"""


def digest() -> str:
    """Of the page, as a decision has it: the first 8 letters that `sha256sum` gives."""
    return sha256(PAGE.read_bytes()).hexdigest()[:8]


def page() -> str:
    """The text of the page: a line for each step."""
    return _HEAD + "".join(f"{name}\n" for name in names())


def names() -> list[str]:
    """Full names of the steps, as an engine has them; of one with state, its cells too."""
    log = Kafka("localhost:9092", "job")
    pipeline = beam.Pipeline()
    build(pipeline, log, [Part(log, "events", 0, 0)], "group")
    visitor = _Leaves()
    pipeline.visit(visitor)
    cells = _cells(pipeline)
    return [f"{name}  state: {', '.join(cells[name])}" if name in cells else name for name in visitor.names]


class _Leaves(beam.pipeline.PipelineVisitor):  # type: ignore[misc]
    def __init__(self) -> None:
        self.names: list[str] = []

    def visit_transform(self, node: beam.pipeline.AppliedPTransform) -> None:
        self.names.append(node.full_label)


def _cells(pipeline: beam.Pipeline) -> dict[str, list[str]]:
    """State cells by the name of their step."""
    found = {}
    for transform in pipeline.to_runner_api().components.transforms.values():
        if transform.spec.urn == "beam:transform:pardo:v1":
            payload = beam_runner_api_pb2.ParDoPayload.FromString(transform.spec.payload)
            if payload.state_specs:
                found[transform.unique_name] = sorted(payload.state_specs)
    return found
