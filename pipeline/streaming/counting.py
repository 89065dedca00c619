"""Dead letters of a log, counted by connection and reason. Each look reads what came since the one before."""

from array import array
from bisect import bisect_left
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from threading import Lock

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from pipeline.operator_words import Row, row_of
from pipeline.streaming.kafka import Kafka, NotRead, consume, ends, position
from schemas.dead_letters import DeadLetter

_AT_ONCE = 5_000
_WAIT = 0.2  # seconds


_letter = msgspec.json.Decoder(DeadLetter).decode


@dataclass
class _Alike:
    """Those of one connection and reason."""

    offsets: "array[int]" = field(default_factory=lambda: array("q"))
    newest: bytes = b""


class Counting:
    """`rows` at any time, from any thread. It keeps eight bytes of each dead letter, and the newest of each kind."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka, self._lock = kafka, Lock()
        self._consumer: Consumer | None = None
        self._alike: dict[tuple[str, str], _Alike] = {}  # by the name that the connection had then

    def rows(self, names: Mapping[str, str]) -> list[Row]:
        """Those that Kafka has now, the most frequent first of each connection. Raises KafkaProblem.

        `names`: by every name that a connection ever had, the one that it has now; others are left out.
        """
        with self._lock:
            first = self._read()
            found: dict[tuple[str, str], list[_Alike]] = {}
            for (connection, reason), alike in self._alike.items():
                del alike.offsets[: bisect_left(alike.offsets, first)]
                if alike.offsets and (not connection or connection in names):
                    found.setdefault((names.get(connection, ""), reason), []).append(alike)
        rows = [
            row_of(connection, sum(len(each.offsets) for each in alikes), _letter(_newest(alikes)))
            for (connection, _), alikes in found.items()
        ]
        return sorted(rows, key=lambda row: (row.connection, -row.number))

    def _read(self) -> int:
        """Count what is new; the first offset that is kept."""
        topic = self._kafka.topic("dead")
        if self._consumer is None:
            self._consumer = self._kafka.consumer()
            self._consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        try:
            with closing(self._kafka.consumer()) as asks:
                first, end = ends(asks, topic, 0)
                while position(self._consumer, topic, 0, OFFSET_BEGINNING, asks) < end:
                    for record in consume(self._consumer, _AT_ONCE, _WAIT):
                        with suppress(msgspec.MsgspecError):  # somebody else's
                            self._count(record.offset, record.value or b"")
        except NotRead:  # what was to be read next is gone: from the beginning, once more
            self._consumer.close()
            self._consumer = None
            self._alike.clear()
            return self._read()
        return first

    def _count(self, offset: int, letter: bytes) -> None:
        found = _letter(letter)
        alike = self._alike.setdefault((found.connection, found.reason), _Alike())
        alike.offsets.append(offset)
        alike.newest = letter


def _newest(alikes: list[_Alike]) -> bytes:
    return max(alikes, key=lambda each: each.offsets[-1]).newest
