"""Leaving a log: nobody decides or sends with it any more, so that its state can go on elsewhere.

A version of the workspace says so. Workers and senders look for one once a second, and stop; whoever starts later is
told at once. A job cannot be shut out of its topics, so it is asked first whether it is there.
"""

import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime

from confluent_kafka import KafkaError, Message, Producer
from msgspec.structs import replace

from pipeline.streaming import versions
from pipeline.streaming.kafka import WAIT, Kafka, KafkaProblem, committed, kafka_errors, partitions
from pipeline.streaming.log import SESSION, read_kept, take_over
from schemas.facts import EventFact
from transforms.keyed import addressed

ANSWER = 45.0  # seconds: an engine of ours makes a checkpoint every 10, and the second one commits what it read
_LATE = 5.0  # seconds until workers have heard of a version, and have written what they folded before


class Left:
    """A log that was left; `version` is what it was decided with."""

    def __init__(self, kafka: Kafka, producer: Producer, version: versions.Version, number: int) -> None:
        self.kafka, self.version = kafka, version
        self._producer, self._number = producer, number

    def for_good(self) -> None:
        """The state is complete elsewhere: it is not given out a second time."""
        words = (
            f"{self.kafka.name}: its state was exported into a state directory at {datetime.now(UTC):%Y-%m-%d %H:%M}Z; "
            "go on there with `run` or `serve`, or begin a job with it over another PREFIX: --bootstrap DIR"
        )
        versions.write(self.kafka, self._producer, replace(self.version, number=self._number + 1, left=words))


def leave(kafka: Kafka, say: Callable[..., None], answer: float = ANSWER) -> Left:
    """Leave a log whose job and senders were stopped. Raises KafkaProblem: then they may go on.

    For so many seconds an `answer` of the job is waited for. A log that was left by an export which did not end can be
    left again.
    """
    version, words = versions.newest(kafka), _leaving(kafka)
    if version is None:
        raise KafkaProblem(f"{kafka.name}: no workspace was ever published there; correct --log")
    if version.left not in ("", words):
        raise KafkaProblem(version.left)
    if number := _senders(kafka):
        raise KafkaProblem(f"{kafka.name}: senders still run ({number}); cancel the job, then stop them (SIGTERM)")
    say("asking", f"whether the job still runs: {answer:.0f} s")
    if not version.left and _answers(kafka, answer):
        raise KafkaProblem(
            f"{kafka.name}: the job still runs; cancel it at its engine, let the senders end what waits if that is "
            "wanted, stop them, and repeat this"
        )
    producer, number = versions.publisher(kafka, version), version.number + 1
    versions.write(kafka, producer, replace(version, number=number, left=words))
    say("left", "nobody decides or sends with this log any more")
    time.sleep(max([_LATE, *(_shut_out(kafka, name) for name in {*version.first_names().values()})]))
    return Left(kafka, producer, replace(version, left=""), number)


def _leaving(kafka: Kafka) -> str:
    return (
        f"{kafka.name}: its state is being exported into a state directory, and nobody decides or sends with it any "
        "more; if that export did not end, repeat it: profilecast export state"
    )


def _senders(kafka: Kafka) -> int:
    """How many there are."""
    group, admin = f"{kafka.name}.senders", kafka.admin()  # its answers do not come any more when it is gone
    with kafka_errors():
        found = admin.describe_consumer_groups([group], request_timeout=WAIT)[group].result(WAIT)
    return len(found.members)


def _answers(kafka: Kafka, seconds: float) -> bool:
    """Whether a job reads a blank event that is written now, and its engine commits that."""
    topic, offsets = kafka.topic("facts"), list[int]()

    def written(error: KafkaError | None, message: Message) -> None:
        if error is None:
            offsets.append(message.offset() or 0)

    key, blank = addressed("", EventFact(b" "))
    producer = kafka.producer()
    with kafka_errors():
        producer.produce(topic, blank, key, partition=0, on_delivery=written)
        producer.flush(WAIT)
    if not offsets:
        raise KafkaProblem(f"Kafka: {topic}: a record was not taken within {WAIT:.0f} s")
    until = time.monotonic() + seconds
    with closing(kafka.consumer(group_id=f"{kafka.name}.job")) as consumer:
        while time.monotonic() < until:
            if committed(consumer, [(topic, 0)])[topic, 0] > offsets[0]:
                return True
            time.sleep(0.5)
    return False


def _shut_out(kafka: Kafka, first_name: str) -> float:
    """Let no sender write the connection's log any more; for how many seconds one may still send."""
    if not partitions(kafka, kafka.topic("kept", first_name)):
        return 0.0
    take_over(kafka, first_name)
    return 0.0 if read_kept(kafka, first_name).left else SESSION
