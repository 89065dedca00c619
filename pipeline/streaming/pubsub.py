"""Events from Pub/Sub, which Dataflow reads: `pubsub://projects/PROJECT/subscriptions/NAME`.

A message is an event, as a record of a topic is. Pub/Sub keeps the place of a subscription itself: `--start` says
nothing of it.
"""

import re
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.io import ReadFromPubSub

from pipeline.streaming.kafka import WrongAddress

SCHEME = "pubsub://"
RUNNERS = ("DataflowRunner", "TestDataflowRunner")
_SUBSCRIPTION = re.compile(r"projects/[a-z][a-z0-9.:-]*/subscriptions/[A-Za-z][\w.~+%-]*")


def subscription(text: str, runner: str) -> str:
    """Read `pubsub://projects/PROJECT/subscriptions/NAME`. Raises WrongAddress, also for an engine that cannot."""
    name = text.removeprefix(SCHEME)
    if not _SUBSCRIPTION.fullmatch(name):
        raise WrongAddress(f"{text}: expected pubsub://projects/PROJECT/subscriptions/NAME")
    if runner not in RUNNERS:
        raise WrongAddress(
            f"{text}: {runner} does not read Pub/Sub, only Dataflow does; add --runner DataflowRunner, or let the "
            "events come from Kafka"
        )
    return name


class ReadSubscriptions(beam.PTransform):  # type: ignore[misc]
    """Messages as (topic, key, value), like the records of `ReadTopics`; they have no topic of ours, and no key."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = names

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        read = [root | name >> ReadFromPubSub(subscription=name) for name in self._names]
        return read | beam.Flatten() | "Record" >> beam.Map(_record).with_output_types(tuple[str, bytes, bytes])


def _record(message: bytes) -> tuple[str, bytes, bytes]:
    return "", b"", message
