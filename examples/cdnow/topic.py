"""Event lines into a topic of Kafka, each with its profile as key."""

from collections.abc import Callable

from confluent_kafka import Producer

from pipeline.streaming.kafka import address, write_all
from pipeline.streaming.topics import FOREVER, Wanted, ensure
from transforms.logic.parse import subject_of

PARTITIONS = 4


def writer(place: str) -> Callable[[list[bytes]], object]:
    """What writes lines to `kafka://HOST:PORT/TOPIC`, which is made if it is missing."""
    kafka = address(place)
    ensure(kafka, {kafka.name: Wanted(PARTITIONS, FOREVER)})
    producer: Producer = kafka.producer()

    def write(lines: list[bytes]) -> None:
        write_all(producer, ((kafka.name, (subject_of(line) or "").encode(), line.strip()) for line in lines))

    return write
