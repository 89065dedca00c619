"""Records of a few keys: only the partitions are read on which these fall. And where a time begins in a topic."""

from collections.abc import Collection, Iterable
from contextlib import closing
from zlib import crc32

from confluent_kafka import TopicPartition

from pipeline.streaming.kafka import WAIT, Kafka, ends, kafka_errors, partitions, read_all


def partitions_of(kafka: Kafka, topic: str, keys: Iterable[bytes]) -> list[int]:
    """The partitions on which records with these keys are.

    Every client of a log is librdkafka's, which takes CRC32 of the key; all partitions where an option of Kafka says
    otherwise.
    """
    count = partitions(kafka, topic)
    if count == 0 or "partitioner" in dict(kafka.options):
        return list(range(count))
    return sorted({crc32(key) % count for key in keys})


def newest(kafka: Kafka, topic: str, keys: Collection[str]) -> dict[str, bytes]:
    """The newest value of each of these keys, where there is one and it is not empty. Raises KafkaProblem."""
    wanted, found = {key.encode() for key in keys}, dict[str, bytes]()
    for record in read_all(kafka, topic, only=partitions_of(kafka, topic, wanted)):
        if record.key in wanted:
            found[record.key.decode()] = record.value or b""
    return {key: value for key, value in found.items() if value}


def offsets_since(kafka: Kafka, topic: str, since: float, numbers: Iterable[int]) -> dict[int, int]:
    """By partition, the offset of the first record that was written then (seconds since 1970) or later."""
    wanted = [TopicPartition(topic, number, int(since * 1_000)) for number in numbers]
    with closing(kafka.consumer()) as consumer, kafka_errors():
        found = consumer.offsets_for_times(wanted, timeout=WAIT) if wanted else []
        return {
            each.partition: each.offset if each.offset >= 0 else ends(consumer, topic, each.partition)[1]
            for each in found
        }
