"""Clients that read partitions: one of a process for the same parts, whoever reads them."""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from msgspec import Struct

from pipeline.streaming import ticks
from pipeline.streaming.kafka import Kafka, Record, consume

_AT_ONCE = 2_000  # records of one read
# Seconds for the first record of a turn. An engine reads the parts of one worker one after the other, so while any of
# them has news, none waits long for its own.
_WAIT, _WAIT_BESIDE_NEWS = 0.1, 0.02
_NEWS = 1.0  # seconds that a record is news
_TICKS = 1_000  # when more wait to be read, no others are fetched until half of it is left


class Part(Struct, frozen=True):
    """A partition of a topic, and where to begin."""

    kafka: Kafka
    topic: str
    partition: int
    start: int  # offset
    stop: int = -1  # offset behind the last record that is read; -1: there is none


Places = dict[tuple[str, int], int]  # the offset that is read next, by topic and partition


class Client:
    """What reads these parts in this process.

    Engines make readers all the time, several for the same parts, and keep the old ones: a connection of each of them
    to the brokers would cost more than what is read.
    """

    news = 0.0  # when one of this process read something last

    def __init__(self, parts: Sequence[Part]) -> None:
        self._kafka = parts[0].kafka
        self._ticking = {(part.topic, part.partition) for part in parts if part.topic == part.kafka.topic("ticks")}
        self._holds = False  # no ticks are fetched
        self._stops = {(part.topic, part.partition): part.stop for part in parts if part.stop >= 0}
        self._lock = threading.Lock()
        self._consumer: Consumer | None = None
        self._used = 0.0
        self._places: Places = {}
        self._records: Iterator[Record] = iter(())
        self._ticks = deque[Record]()  # they wait until they may be read

    def record(self, places: Places, waits: bool) -> Record | None:
        """The next one for a reader that is at these places, which move on; None: there is none now.

        `waits`: for a moment, where there is none.
        """
        with self._lock:
            if places is not self._places:
                self._go_to(places)
            try:
                record = next(self._records, None) or self._tick()
                if record is None:
                    self._records = iter(self._read(waits))
                    record = next(self._records, None) or self._tick()
            except BaseException:
                self._places = {}  # what was fetched is fetched again
                raise
            if record is not None:
                places[record.topic, record.partition] = record.offset + 1
            return record

    def _go_to(self, places: Places) -> None:
        """Go on for another reader: mostly where the last one ended."""
        if places != self._places:
            # Little is fetched ahead, and little of each partition at once: no event waits behind all receipts.
            fetch: dict[str, Any] = {"queued_min_messages": 500, "max_partition_fetch_bytes": 65_536}
            self._consumer = self._consumer or self._kafka.consumer(**fetch)
            self._records, self._ticks = iter(()), deque()
            self._hold()
            self._consumer.assign([TopicPartition(*place, offset) for place, offset in places.items()])
        self._places = places

    def _read(self, waits: bool) -> list[Record]:
        """What is there now. A part that ends is not read on."""
        assert self._consumer
        self._used = time.monotonic()
        wait = _WAIT if self._used > Client.news + _NEWS else _WAIT_BESIDE_NEWS
        records = consume(self._consumer, _AT_ONCE, wait if waits else 0.0)
        if records:
            Client.news = time.monotonic()
        if self._stops and not records:
            for at in self._consumer.position([TopicPartition(*place) for place in self._stops]):
                if at.offset >= self._stops[at.topic, at.partition]:
                    self._places[at.topic, at.partition] = self._stops[at.topic, at.partition]
        found = [record for record in records if record.offset < self._stops.get(record[:2], record.offset + 1)]
        self._ticks.extend(record for record in found if record[:2] in self._ticking)
        self._hold()
        return [record for record in found if record[:2] not in self._ticking]

    def _tick(self) -> Record | None:
        """One of those that wait, if it may be read now: after what else was fetched, and before there is more."""
        if not (self._ticks and ticks.may_read()):
            return None
        record = self._ticks.popleft()
        if probe := ticks.read(record.key):
            self._records = iter([record._replace(key=probe[0], value=probe[1])])
        self._hold()
        return record

    def _hold(self) -> None:
        """Fetch no more ticks, or go on."""
        holds = len(self._ticks) > (_TICKS / 2 if self._holds else _TICKS)
        if holds is not self._holds:
            assert self._consumer
            places = [TopicPartition(*place) for place in self._ticking]
            (self._consumer.pause if holds else self._consumer.resume)(places)
            self._holds = holds

    def rest(self) -> None:
        """Close the connections if nobody reads: the parts are read by another process, or no more."""
        with self._lock:
            if self._consumer and self._used < time.monotonic() - _UNUSED:
                self._consumer.close()
                self._consumer, self._places, self._holds = None, {}, False
                self._records, self._ticks = iter(()), deque()


_clients: dict[tuple[Any, ...], Client] = {}
_opening = threading.Lock()
_UNUSED = 60.0  # seconds


def client_of(parts: Sequence[Part]) -> Client:
    """The one of this process for these parts."""
    name = (parts[0].kafka, *((part.topic, part.partition, part.stop) for part in parts))
    with _opening:
        if name not in _clients:
            for other in _clients.values():
                other.rest()
            _clients[name] = Client(parts)
        return _clients[name]
