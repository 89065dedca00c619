"""Topics as an unbounded source, in splits that are each resumed at their offsets.

Partitions of the same number are one split, which is one client: events, facts and ticks are mostly of one cluster. An
engine takes a worker's splits one after the other, so there are not many more of them than workers.

Where each partition begins is decided once, when the job is submitted: a job that begins anew before its first
checkpoint begins at the same places.
"""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import apache_beam as beam
import msgspec
from apache_beam.coders import Coder
from apache_beam.io.unbounded_source import (
    CheckpointMark,
    UnboundedReader,
    UnboundedSource,
    _ReadFromUnboundedSourceDoFn,
)
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp
from confluent_kafka import Consumer, KafkaException, TopicPartition

from pipeline.streaming.clients import Part, client_of
from pipeline.streaming.growing import Growing
from pipeline.streaming.kafka import Kafka, KafkaProblem, Record, committed, ends, partitions
from transforms.logic.finals import Finals

MANY = 1 << 16  # clients: as many as there are partitions
EARLIEST, LATEST, COMMITTED = "earliest", "latest", "committed"
# Between looks into a partition that had nothing new there is no pause: the look itself waits.
_POLL = 0.0
_BUNDLE = 5_000  # records
_BUNDLE_SECONDS = 0.5


def parts_of(kafka: Kafka, topic: str, start: str, group: str, gaps: bool = False) -> list[Part]:
    """The partitions of a topic from earliest, latest, committed (by `group`; else earliest), or a time in ms.

    Raises KafkaProblem where there is no such topic, where records behind a committed offset are gone, or where there
    never were so many; with `gaps`, it is begun with those that are there.
    """
    count = partitions(kafka, topic)
    if not count:
        raise KafkaProblem(f"{kafka.servers}: there is no topic {topic}; make it, or correct the address")
    consumer = kafka.consumer(group_id=group)
    try:
        with contextlib.closing(consumer):
            return [Part(kafka, topic, each, _start(consumer, topic, each, start, gaps)) for each in range(count)]
    except KafkaException as error:
        raise KafkaProblem(f"{topic}: {error}") from error


def are_gone(kafka: Kafka, topic: str, group: str) -> bool:
    """Whether the topic had records that are gone, and that nobody committed in this group. Raises KafkaProblem."""
    with contextlib.closing(kafka.consumer(group_id=group)) as consumer:
        found = committed(consumer, [(topic, number) for number in range(partitions(kafka, topic))])
        return any(max(offset, 0) < ends(consumer, *place)[0] for place, offset in found.items())


def _start(consumer: Consumer, topic: str, number: int, start: str, gaps: bool) -> int:
    low, high = ends(consumer, topic, number)
    if start == LATEST:
        return high
    if start == COMMITTED:
        offset = committed(consumer, [(topic, number)])[topic, number]
        if low <= offset <= high:
            return offset
        if offset < 0 or gaps:
            return low
        if offset < low:
            raise KafkaProblem(
                f"{topic}, partition {number}: records from {offset} to {low - 1} are gone and were not read; give the "
                "topic a longer retention, and begin with --start earliest to go on with what is there"
            )
        raise KafkaProblem(
            f"{topic}, partition {number}: it was read up to {offset} and ends at {high}, so it was made anew; "
            "begin with --start earliest"
        )
    if start != EARLIEST:
        found = consumer.offsets_for_times([TopicPartition(topic, number, int(start))], timeout=30)[0].offset
        return int(found) if found >= 0 else high
    return low


class KafkaSource(UnboundedSource):  # type: ignore[misc]
    """Records of partitions as (topic, key, value), by one client.

    Some wait until others are read up to an end, and the engine has these for good.
    """

    growing: Growing | None = None  # a job that goes on from a savepoint may have sources that were made without it

    def __init__(self, parts: Sequence[Part], group: str, first: Sequence[Part] = (), of: str = "") -> None:
        """`group`: in whose name offsets are committed, of what the engine will not ask for again.

        `first`: the parts that are to be read whole before these; `of`: their group.
        """
        self.parts, self.group, self.first, self.of = tuple(parts), group, tuple(first), of

    def split(self, desired_num_splits: int, options: Any = None) -> "list[KafkaSource]":
        return [self]

    def create_reader(self, options: Any, checkpoint_mark: "KafkaMark | None") -> "KafkaReader":
        return KafkaReader(self, checkpoint_mark)

    def get_checkpoint_mark_coder(self) -> Coder:
        return _MarkCoder()

    def default_output_coder(self) -> Coder:
        return _RecordCoder()


def encode_place(source: KafkaSource) -> bytes:
    """A source as it lies in the engine's state: what is to be read, and from where."""
    return _encode((source.parts, source.group, source.first, source.of, source.growing))


def decode_place(encoded: bytes) -> KafkaSource:
    parts, group, first, of, growing = _decode_place(encoded)
    source = KafkaSource(parts, group, first, of)
    source.growing = growing
    return source


class KafkaMark(CheckpointMark):  # type: ignore[misc]
    """The next offset of each part. `ended`: when its bundle did, by this process's clock; 0.0: it is of another."""

    def __init__(self, parts: tuple[Part, ...], group: str, ended: float = 0.0) -> None:
        self.parts, self.group, self.ended = parts, group, ended  # the parts' `start` is the next offset

    def finalize_checkpoint(self) -> None:
        _final(self)


class _MarkCoder(Coder):  # type: ignore[misc]
    def encode(self, mark: KafkaMark) -> bytes:
        return _encode((mark.group, mark.parts))

    def decode(self, encoded: bytes) -> KafkaMark:
        group, parts = _decode_mark(encoded)
        return KafkaMark(parts, group)

    def is_deterministic(self) -> bool:
        return True


class _RecordCoder(Coder):  # type: ignore[misc]
    def encode(self, record: tuple[str, bytes, bytes]) -> bytes:
        return _encode(record)

    def decode(self, encoded: bytes) -> tuple[str, bytes, bytes]:
        return _decode_record(encoded)

    def is_deterministic(self) -> bool:
        return True


_encode = msgspec.msgpack.Encoder().encode
_decode_mark = msgspec.msgpack.Decoder(tuple[str, tuple[Part, ...]]).decode
_decode_place = msgspec.msgpack.Decoder(
    tuple[tuple[Part, ...], str, tuple[Part, ...], str, Growing | None]
).decode
_decode_record = msgspec.msgpack.Decoder(tuple[str, bytes, bytes]).decode


class KafkaReader(UnboundedReader):  # type: ignore[misc]
    """Reads the parts as records come. Times and watermarks have no meaning here: nothing waits for them.

    When it has given all that was there, it says so at once, and the bundle ends: others wait for their turn.
    """

    def __init__(self, source: KafkaSource, mark: KafkaMark | None) -> None:
        self._parts = mark.parts if mark else source.parts
        self._group, self._first, self._of, self._growing = source.group, source.first, source.of, source.growing
        self._next = {(part.topic, part.partition): part.start for part in self._parts}
        self._client = client_of(self._parts)
        self._current: Record | None = None
        self._given = False  # a record, since the last checkpoint

    def start(self) -> bool:
        return self.advance()

    def advance(self) -> bool:
        if self._first and not _are_done(self._first, self._of):
            return False
        self._first = ()
        self._current = self._client.record(self._next, waits=not self._given)
        self._given = self._current is not None
        return self._given

    def get_current(self) -> tuple[str, bytes, bytes]:
        assert self._current
        return self._current.topic, self._current.key, self._current.value or b""

    def get_current_timestamp(self) -> Timestamp:
        return MIN_TIMESTAMP

    def get_watermark(self) -> Timestamp:
        return MIN_TIMESTAMP

    def get_checkpoint_mark(self) -> KafkaMark:
        self._given = False
        self._grow()
        parts = (Part(p.kafka, p.topic, p.partition, self._next[p.topic, p.partition], p.stop) for p in self._parts)
        return KafkaMark(tuple(parts), self._group, time.monotonic())

    def at(self, mark: KafkaMark) -> KafkaSource:
        """What is left to read behind this mark."""
        source = KafkaSource(mark.parts, self._group, self._first, self._of)
        source.growing = self._growing
        return source

    def _grow(self) -> None:
        if self._growing is None or self._first:
            return
        with _committing:
            found = self._growing.parts(self._next, _committer(self._parts[0].kafka, self._group))
        if found:
            self._parts += tuple(found)
            self._next |= {(part.topic, part.partition): part.start for part in found}
            self._client = client_of(self._parts)

    def close(self) -> None:
        """Its client stays, for the next reader of the same parts."""


_committers: dict[tuple[Kafka, str], Consumer] = {}
_committing = threading.Lock()


_TOGETHER = 1.0  # seconds that offsets wait for others: there are new ones with every bundle
_finals: dict[tuple[Any, ...], Finals] = {}  # by the parts of a reader
_waiting: dict[tuple[Kafka, str], dict[tuple[str, int], int]] = {}  # by group; by topic and partition


def _final(mark: KafkaMark) -> None:
    """The engine says so of the mark's bundle: commit in a moment what is sure to be folded now."""
    places = {(part.topic, part.partition): part.start for part in mark.parts}
    kafka = mark.parts[0].kafka
    with _committing:
        reader = _finals.setdefault((kafka, mark.group, *places), Finals())
        if sure := reader.final(places, mark.ended, time.monotonic()):
            if not _waiting:
                timer = threading.Timer(_TOGETHER, _commit_all)
                timer.daemon = True
                timer.start()
            _waiting.setdefault((kafka, mark.group), {}).update(sure)


def _commit_all() -> None:
    """What fails is committed with the next bundle."""
    with _committing:
        found = _waiting.copy()
        _waiting.clear()
        for (kafka, group), offsets in found.items():
            with contextlib.suppress(KafkaException, KafkaProblem):
                places = [TopicPartition(*place, offset) for place, offset in offsets.items()]
                _committer(kafka, group).commit(offsets=places, asynchronous=True)


def _committer(kafka: Kafka, group: str) -> Consumer:
    if (kafka, group) not in _committers:
        _committers[kafka, group] = kafka.consumer(group_id=group)
    return _committers[kafka, group]


_looked: dict[tuple[Part, ...], tuple[bool, float]] = {}
_LOOK = 0.5  # seconds between looks whether the engine has what is read first


def _are_done(parts: tuple[Part, ...], group: str) -> bool:
    """Whether the engine has all of these parts for good: their offsets are committed then."""
    done, looked = _looked.get(parts, (False, 0.0))
    if done or time.monotonic() - looked < _LOOK:
        return done
    with _committing:
        found = committed(_committer(parts[0].kafka, group), [(part.topic, part.partition) for part in parts])
    done = all(found[part.topic, part.partition] >= part.stop for part in parts)
    _looked[parts] = done, time.monotonic()
    return done


def sources(parts: Sequence[Part], group: str, history: Sequence[Part] = (), clients: int = MANY) -> list[KafkaSource]:
    """These parts, divided among so many clients at most: first those with an end, then the history, then the others.

    Those with an end have a group of their own: what an earlier job committed of them says nothing of this one. The
    history is read on for ever; the others wait until it is read up to the end that it has now.
    """
    once = f"{group}.{uuid4().hex}"
    whole, others = ([part for part in parts if (part.stop >= 0) is ends_] for ends_ in (True, False))
    made = [KafkaSource(each, once) for each in _by_client(whole, clients)]
    first, of = _unread(whole), once
    endless = [msgspec.structs.replace(part, stop=-1) for part in history]
    if waiting := _unread(history):
        made += [KafkaSource(each, group, first, of) for each in _by_client(endless, clients)]
        first, of = waiting, group
    else:
        others += endless
    return made + _grown([KafkaSource(each, group, first, of) for each in _by_client(others, clients)])


def _grown(made: list[KafkaSource]) -> list[KafkaSource]:
    """Each looks after new partitions of the topics that these read on the same brokers."""
    for servers in {source.parts[0].kafka.servers for source in made}:
        readers = [source for source in made if source.parts[0].kafka.servers == servers]
        counts = Counter((part.kafka, part.topic) for source in readers for part in source.parts)
        topics = tuple((*topic, count) for topic, count in counts.items())
        for number, source in enumerate(readers):
            source.growing = Growing(topics, number, len(readers))
    return made


def _by_client(parts: Sequence[Part], clients: int) -> list[list[Part]]:
    """The parts of each client."""
    together: dict[tuple[str, int], list[Part]] = {}
    for part in parts:
        together.setdefault((part.kafka.servers, part.partition % clients), []).append(part)
    return [each for _, each in sorted(together.items())]


def _unread(parts: Sequence[Part]) -> list[Part]:
    return [part for part in parts if part.start < part.stop]


class ReadTopics(beam.PTransform):  # type: ignore[misc]
    """Records of these partitions as (topic, key, value).

    What `ReadFromUnboundedSource` does, but with an element for each source: Flink divides what is read among workers
    by element, so that all splits of a single source would be read by one worker.
    """

    def __init__(self, parts: Sequence[Part], group: str, history: Sequence[Part] = (), clients: int = MANY) -> None:
        super().__init__()
        self._sources = sources(parts, group, history, clients)

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        from pipeline.streaming.turns import TakeTurns

        made = [(b"%d" % number, encode_place(source)) for number, source in enumerate(self._sources)]
        clients = root | "Create" >> beam.Create(made, reshuffle=False).with_output_types(tuple[bytes, bytes])
        return clients | "Read" >> TakeTurns()


__all__ = [
    "COMMITTED", "EARLIEST", "LATEST", "MANY", "KafkaProblem", "KafkaSource", "Part", "ReadTopics", "are_gone",
    "parts_of",
]  # fmt: skip
