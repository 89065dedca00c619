"""Topics in memory, for what reads a log: their records, and clients that give them as those of a broker do."""

from collections.abc import Iterable
from zlib import crc32

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError, TopicPartition

from pipeline.streaming.kafka import Kafka

PARTITIONS = {"state": 3, "facts": 3}  # of the topics that have several, by the last part of their names


class Message:
    def __init__(self, topic: str, partition: int, offset: int, key: bytes, value: bytes | None) -> None:
        self._all = topic, partition, offset, key, value

    def error(self) -> KafkaError | None:
        return None

    def topic(self) -> str:
        return self._all[0]

    def partition(self) -> int:
        return self._all[1]

    def offset(self) -> int:
        return self._all[2]

    def key(self) -> bytes:
        return self._all[3]

    def value(self) -> bytes | None:
        return self._all[4]

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_CREATE_TIME, 0


class Freed(Message):
    """What a client gives in place of a record that is gone."""

    def error(self) -> KafkaError:
        return KafkaError(KafkaError._AUTO_OFFSET_RESET)


class Topics:
    """Of one log. `put` writes; `read` has the names of the topics that were read, with their partitions.

    `freed`: names of topics whose next read finds that what is to be read is gone; once for each.
    `begins`: the first offset that is there, of topics that do not begin with 0.
    """

    def __init__(self) -> None:
        self.freed: list[str] = []
        self.begins: dict[str, int] = {}
        self._partitions: dict[str, list[list[Message]]] = {}
        self.read: set[tuple[str, int]] = set()

    def put(self, topic: str, key: bytes, value: bytes | None) -> None:
        parts = self.parts(topic)
        number = crc32(key) % len(parts)
        parts[number].append(Message(topic, number, len(parts[number]), key, value))

    def parts(self, topic: str) -> list[list[Message]]:
        count = PARTITIONS.get(topic.rpartition(".")[2], 1)
        return self._partitions.setdefault(topic, [[] for _ in range(count)])

    # -- as an admin's client

    def list_topics(self, topic: str, timeout: float) -> "Topics":
        return self

    @property
    def topics(self) -> "Topics":
        return self

    def get(self, topic: str) -> "Described":
        return Described(self.parts(topic))


def in_memory(monkeypatch: pytest.MonkeyPatch) -> Topics:
    """Topics that every log has from now on."""
    topics = Topics()
    monkeypatch.setattr(Kafka, "consumer", lambda log, **_: Client(topics))
    monkeypatch.setattr(Kafka, "admin", lambda log: topics)
    return topics


class Described:
    error = None

    def __init__(self, partitions: list[list[Message]]) -> None:
        self.partitions = partitions


class Client:
    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._next: dict[tuple[str, int], int] = {}

    def assign(self, parts: Iterable[TopicPartition]) -> None:
        self._next = {(part.topic, part.partition): max(part.offset, 0) for part in parts}
        self._topics.read |= self._next.keys()

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(*place) for place in self._next]

    def list_topics(self, topic: str, timeout: float) -> Topics:
        return self._topics

    def get_watermark_offsets(self, part: TopicPartition, timeout: float) -> tuple[int, int]:
        return self._topics.begins.get(part.topic, 0), len(self._topics.parts(part.topic)[part.partition])

    def offsets_for_times(self, parts: Iterable[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [TopicPartition(part.topic, part.partition, 0) for part in parts]

    def position(self, parts: Iterable[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(each.topic, each.partition, self._next[each.topic, each.partition]) for each in parts]

    def consume(self, most: int, timeout: float) -> list[Message]:
        found: list[Message] = []
        for (topic, number), begin in self._next.items():
            if topic in self._topics.freed:
                self._topics.freed.remove(topic)
                return [Freed(topic, number, begin, b"", None)]
            messages = self._topics.parts(topic)[number][begin : begin + most - len(found)]
            self._next[topic, number] += len(messages)
            found += messages
        return found

    def poll(self, timeout: float) -> None:
        """Nothing more comes."""

    def close(self) -> None:
        pass
