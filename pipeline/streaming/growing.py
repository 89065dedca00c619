"""Partitions that a topic gets while a job reads it: its readers divide them by their numbers."""

import time
from collections.abc import Container
from contextlib import suppress

from confluent_kafka import Consumer, KafkaException
from msgspec import Struct

from pipeline.streaming.clients import Part
from pipeline.streaming.kafka import Kafka, KafkaProblem, ends

_LOOK = 30.0  # seconds between looks, in each process
_WAIT = 1.0  # seconds for an answer: nothing is read meanwhile
_counts: dict[tuple[Kafka, str], tuple[int, float]] = {}  # partitions that a topic has, and when to look again


class Growing(Struct, frozen=True):
    """What one reader looks after, the `number`th of `readers`: each takes every so-many-th new partition."""

    topics: tuple[tuple[Kafka, str, int], ...]  # with the partitions that each had when the job was submitted
    number: int
    readers: int

    def parts(self, read: Container[tuple[str, int]], asks: Consumer) -> list[Part]:
        """Those that this reader does not read yet, from their beginning. `asks`: see `ends`."""
        found = []
        for kafka, topic, had in self.topics:
            for number in range(had, _count(kafka, topic, asks)):
                if number % self.readers == self.number and (topic, number) not in read:
                    with suppress(KafkaProblem):  # it is looked for again
                        found.append(Part(kafka, topic, number, ends(asks, topic, number)[0]))
        return found


def _count(kafka: Kafka, topic: str, asks: Consumer) -> int:
    count, again = _counts.get((kafka, topic), (0, 0.0))
    if time.monotonic() >= again:
        with suppress(KafkaException):  # where the brokers are away, who reads says so
            count = len(asks.list_topics(topic, timeout=_WAIT).topics[topic].partitions)
        _counts[kafka, topic] = count, time.monotonic() + _LOOK
    return count
