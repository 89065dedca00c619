"""What the steps of our Beam graphs count, for `docs/beam_metrics.txt`: boards and alerts find it by these names."""

from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path

import apache_beam as beam

from pipeline.decider import Decider
from pipeline.graph import Input, decide, deliver
from pipeline.streaming.clients import Part
from pipeline.streaming.graph import build
from pipeline.streaming.kafka import Kafka
from schemas.registry import Registry
from schemas.report import Report
from schemas.workspace import Workspace
from transforms.counting import CountingFn
from transforms.logic.detect import micros
from transforms.logic.plan import make_plan

PAGE = Path(__file__).resolve().parents[1] / "docs" / "beam_metrics.txt"
_HEAD = """\
# Counters of Beam's steps, in the namespace `profilecast`: boards and alerts find them by step and name.
# Written by `make docs`.
"""


def page() -> str:
    """The text of the page: a line for each step that counts."""
    streaming, bounded = (list(_lines(pipeline)) for pipeline in (_streaming(), _bounded()))
    return "\n".join([f"{_HEAD}\n# the streaming job", *streaming, "\n# a run", *bounded, ""])


def counts_of(pipeline: beam.Pipeline) -> dict[str, tuple[str, ...]]:
    """What each step declares, by its full name; of steps that only pass on, nothing."""
    visitor = _Counting()
    pipeline.visit(visitor)
    return visitor.found


def _lines(pipeline: beam.Pipeline) -> Iterator[str]:
    for step, names in counts_of(pipeline).items():
        yield f"{step}  {', '.join(names)}"


class _Counting(beam.pipeline.PipelineVisitor):  # type: ignore[misc]
    def __init__(self) -> None:
        self.found: dict[str, tuple[str, ...]] = {}

    def visit_transform(self, node: beam.pipeline.AppliedPTransform) -> None:
        fn = getattr(node.transform, "fn", None)
        if isinstance(fn, CountingFn):
            self.found[node.full_label] = fn.COUNTS


def _streaming() -> beam.Pipeline:
    pipeline, log = beam.Pipeline(), Kafka("localhost:9092", "job")
    build(pipeline, log, [Part(log, "events", 0, 0)], "group")
    return pipeline


def _bounded() -> beam.Pipeline:
    pipeline = beam.Pipeline()
    plan = make_plan(Workspace("shop", (), ()), {}, Registry(), micros(datetime(2026, 1, 1, tzinfo=UTC)))
    decide(pipeline, Input([("events.jsonl", False)], 1), Decider(Path("state"), plan, Registry(), "run"), print)
    deliver(pipeline, ["hook"], _Nobody(), print)
    return pipeline


class _Nobody:
    """The graph is looked at, and not run."""

    def start(self, connection: str) -> "Future[Report]":
        raise NotImplementedError
