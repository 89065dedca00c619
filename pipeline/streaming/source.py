"""What clients read of topics, and from where.

Partitions of the same number have one client: events, facts and ticks are mostly of one cluster. Those of a worker
take turns, so there are not many more of them than workers.

Where each partition begins is decided once, when the job is submitted: a job that begins anew before its first
checkpoint begins at the same places.
"""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import uuid4

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition
from msgspec import Struct
from msgspec.structs import replace

from pipeline.streaming.clients import Part, Places, client_of
from pipeline.streaming.growing import Growing
from pipeline.streaming.kafka import WAIT, Kafka, KafkaProblem, Record, committed, ends, kafka_errors, partitions
from transforms.logic.finals import Finals

MANY = 1 << 16  # clients: as many as there are partitions
EARLIEST, LATEST, COMMITTED = "earliest", "latest", "committed"


def parts_of(
    kafka: Kafka,
    topic: str,
    start: str,
    group: str,
    gaps: bool = False,
    whole: bool = False,
    was_read: bool = False,
) -> list[Part]:
    """The partitions of a topic from earliest, latest, committed (by `group`; else earliest), or a time in ms.

    Raises KafkaProblem where there is no such topic, where records that come after a committed offset are gone, or
    where there never were so many; with `gaps`, it is begun with those that are there. `was_read`: a job has read it,
    so an offset was committed, even if Kafka has forgotten it. `whole`: up to where it ends now.
    """
    count = partitions(kafka, topic)
    if not count:
        raise KafkaProblem(f"{kafka.servers}: there is no topic {topic}; make it, or correct the address")
    with kafka_errors(), contextlib.closing(kafka.consumer(group_id=group)) as consumer:
        found = []
        for number in range(count):
            there = ends(consumer, topic, number)
            begin = _start(consumer, topic, number, there, start, gaps, was_read)
            found.append(Part(kafka, topic, number, begin, there[1] if whole else -1))
        return found


def are_gone(kafka: Kafka, topic: str, group: str) -> bool:
    """Whether the topic had records that are gone, and that nobody committed in this group. Raises KafkaProblem."""
    with contextlib.closing(kafka.consumer(group_id=group)) as consumer:
        found = committed(consumer, [(topic, number) for number in range(partitions(kafka, topic))])
        return any(max(offset, 0) < ends(consumer, *place)[0] for place, offset in found.items())


def _start(
    consumer: Consumer, topic: str, number: int, there: tuple[int, int], start: str, gaps: bool, was_read: bool
) -> int:
    """The first offset that is read, of a partition with these `ends`."""
    low, high = there
    if start == LATEST:
        return high
    if start == COMMITTED:
        offset = committed(consumer, [(topic, number)])[topic, number]
        if low <= offset <= high:
            return offset
        if gaps or (offset < 0 and not (was_read and low)):
            return low
        if offset < 0:
            raise KafkaProblem(
                f"{topic}, partition {number}: Kafka does not know any more how far it was read, and records before "
                f"{low} are gone; begin with --bootstrap --start earliest to go on with what is there"
            )
        if offset < low:
            raise KafkaProblem(
                f"{topic}, partition {number}: records from {offset} to {low - 1} are gone and were not read; give the "
                "topic a longer retention, and begin with --bootstrap --start earliest to go on with what is there"
            )
        raise KafkaProblem(
            f"{topic}, partition {number}: it was read up to {offset} and ends at {high}, so it was made anew; "
            "begin with --bootstrap --start earliest"
        )
    if start != EARLIEST:
        found = consumer.offsets_for_times([TopicPartition(topic, number, int(start))], timeout=WAIT)[0].offset
        return int(found) if found >= 0 else high
    return low


class Reading(Struct, frozen=True, array_like=True):
    """What one client reads, and from where: the place that an engine keeps.

    Some wait until others are read up to an end, and the engine has these for good.
    """

    parts: tuple[Part, ...]  # their `start` is the next offset
    group: str  # in whose name offsets are committed, of what the engine will not ask for again
    first: tuple[Part, ...] = ()  # that are to be read whole before these
    of: str = ""  # their group
    growing: Growing | None = None


encode_reading = msgspec.msgpack.Encoder().encode
decode_reading = msgspec.msgpack.Decoder(Reading).decode


def _places(parts: Iterable[Part]) -> Places:
    return {(part.topic, part.partition): part.start for part in parts}


class Reader:
    """Reads the parts as records come. When it has given all that was there, it says so: others wait for their turn."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._next = _places(reading.parts)
        self._client = client_of(reading.parts)
        self._given = False  # a record, since the last place

    def record(self) -> Record | None:
        """The next one; None: there is none now. Where nothing was given yet, it waits for a moment."""
        if self._reading.first:
            if not _are_done(self._reading.first, self._reading.of):
                return None
            self._reading = replace(self._reading, first=())
        found = self._client.record(self._next, waits=not self._given)
        self._given = found is not None
        return found

    def reading(self) -> Reading:
        """What is left, with partitions that are new."""
        self._given = False
        parts = tuple(replace(part, start=self._next[part.topic, part.partition]) for part in self._reading.parts)
        self._reading = replace(self._reading, parts=parts)
        self._grow()
        return self._reading

    def rest(self) -> float | None:
        """Seconds until it may read on; None: it has nothing more to read, and the engine has all of it for good."""
        if self._reading.first:
            return _LOOK
        if all(0 <= part.stop <= part.start for part in self._reading.parts):
            return None if _are_done(self._reading.parts, self._reading.group) else _LOOK
        return 0.0

    def _grow(self) -> None:
        growing, group = self._reading.growing, self._reading.group
        if growing is None or self._reading.first:
            return
        with _committing:
            found = growing.parts(self._next, _committer(self._reading.parts[0].kafka, group))
        if found:
            self._reading = replace(self._reading, parts=(*self._reading.parts, *found))
            self._next |= _places(found)
            self._client = client_of(self._reading.parts)


_committers: dict[tuple[Kafka, str], Consumer] = {}
_committing = threading.Lock()


_TOGETHER = 1.0  # seconds that offsets wait for others: there are new ones with every turn
_finals: dict[tuple[Any, ...], Finals] = {}  # by the parts of a reader
_waiting: dict[tuple[Kafka, str], dict[tuple[str, int], int]] = {}  # by group; by topic and partition


def final(reading: Reading, ended: float) -> None:
    """The engine has for good what was read before this: commit in a moment what is sure to be folded now.

    `ended`: when the turn did, by this process's monotonic clock; 0.0: it is of another process.
    """
    places = _places(reading.parts)
    kafka = reading.parts[0].kafka
    with _committing:
        finals = _finals.setdefault((kafka, reading.group, *places), Finals())
        if sure := finals.final(places, ended, time.monotonic()):
            if not _waiting:
                timer = threading.Timer(_TOGETHER, _commit_all)
                timer.daemon = True
                timer.start()
            _waiting.setdefault((kafka, reading.group), {}).update(sure)


def _commit_all() -> None:
    """What fails is committed with the next turn."""
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
        found = committed(_committer(parts[0].kafka, group), list(_places(parts)))
    done = all(found[part.topic, part.partition] >= part.stop for part in parts)
    _looked[parts] = done, time.monotonic()
    return done


def readings(parts: Sequence[Part], group: str, history: Sequence[Part] = (), clients: int = MANY) -> list[Reading]:
    """These parts, divided among so many clients at most: first those with an end, then the history, then the others.

    Those with an end have a group of their own: what an earlier job committed of them says nothing of this one. The
    history is read on for ever; the others wait until it is read up to the end that it has now.
    """
    once = f"{group}.{uuid4().hex}"
    whole, others = ([part for part in parts if (part.stop >= 0) is ends_] for ends_ in (True, False))
    made = [Reading(tuple(each), once) for each in _by_client(whole, clients)]
    first, of = _unread(whole), once
    endless = [replace(part, stop=-1) for part in history]
    if waiting := _unread(history):
        made += [Reading(tuple(each), group, tuple(first), of) for each in _by_client(endless, clients)]
        first, of = waiting, group
    else:
        others += endless
    return made + _grown([Reading(tuple(each), group, tuple(first), of) for each in _by_client(others, clients)])


def _grown(made: list[Reading]) -> list[Reading]:
    """Each looks after new partitions of the topics that these read on the same brokers."""
    found = []
    for servers in {reading.parts[0].kafka.servers: None for reading in made}:
        readers = [reading for reading in made if reading.parts[0].kafka.servers == servers]
        counts = Counter((part.kafka, part.topic) for reading in readers for part in reading.parts)
        topics = tuple((*topic, count) for topic, count in counts.items())
        for number, reading in enumerate(readers):
            found.append(replace(reading, growing=Growing(topics, number, len(readers))))
    return found


def _by_client(parts: Sequence[Part], clients: int) -> list[list[Part]]:
    """The parts of each client."""
    together: dict[tuple[str, int], list[Part]] = {}
    for part in parts:
        together.setdefault((part.kafka.servers, part.partition % clients), []).append(part)
    return [each for _, each in sorted(together.items())]


def _unread(parts: Sequence[Part]) -> list[Part]:
    return [part for part in parts if part.start < part.stop]
