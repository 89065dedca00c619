"""Versions of the workspace, as they are published to a running job: what to decide with, and since when.

One topic has them all, whole, in order; the last one counts. The fold and the senders read it; `publish` writes it.
A version holds the workspace's text and no secret: senders have those in their environment. Between them are
numbers of jobs: two would tell everybody everything twice, so the one with the greatest number decides.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from threading import Lock
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from msgspec import Struct
from msgspec.structs import replace

from pipeline.streaming.kafka import (
    WAIT,
    Kafka,
    KafkaProblem,
    Row,
    consume,
    ends,
    kafka_errors,
    position,
    produce,
    read_all,
    transactional,
    unheard,
    write_all,
)
from pipeline.streaming.naming import named_after, named_by_themselves
from pipeline.vendors import made
from pipeline.workspace import load_text
from schemas.registry import Registry, decode_registry, encode_registry
from schemas.workspace import Workspace
from transforms.logic.detect import micros
from transforms.logic.plan import Plan, make_plan, refreshed
from transforms.logic.registry import Notice, Vendor, enter

_LOOK = 1.0  # seconds between looks for a newer version
_HEARD = 2 * _LOOK  # until an older job has heard that it does not decide any more
_JOB = b"job"  # the key of a number of a job
_SHORT, _LONG = 60.0, 900.0  # seconds of a transaction: of a version, and of all that a log begins with (Kafka's most)


class Version(Struct, array_like=True):
    """What one publication said."""

    number: int
    text: str  # the workspace file
    environment: dict[str, str]  # values of variables in settings that are no secrets
    registry: bytes
    vendors: dict[str, Vendor]
    digest: bytes  # of the plan: another one than before means that every profile is looked at anew
    ticked: bool = False  # every profile that was known has been given to the fold
    left: str = ""  # why nobody decides or sends with this log any more: its state was moved elsewhere
    topics: dict[str, str] = {}  # see `first_names`; empty: nothing was ever renamed

    def workspace(self) -> Workspace:
        """Raises KafkaProblem where the log was left."""
        if self.left:
            raise KafkaProblem(self.left)
        return load_text(self.text, f"version {self.number}", environment=self.environment)

    def first_names(self) -> dict[str, str]:
        """By every name that a connection ever had, the first one, which its topics have."""
        return self.topics or named_by_themselves(decode_registry(self.registry))

    def names_now(self) -> dict[str, str]:
        """By every name that a connection ever had, the one that it has now."""
        named = self.first_names()
        now = {named[name]: name for name in decode_registry(self.registry).connections}
        return {name: now[of] for name, of in named.items() if of in now}

    def plan(self, now: datetime) -> Plan:
        return make_plan(self.workspace(), self.vendors, decode_registry(self.registry), micros(now))


_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Version).decode
_decode_job = msgspec.msgpack.Decoder(int).decode


def topic_of(kafka: Kafka) -> str:
    return kafka.topic("workspace")


def newest(kafka: Kafka) -> Version | None:
    """The version that counts now; None: nothing was ever published. Raises KafkaProblem."""
    last = None
    for record in read_all(kafka, topic_of(kafka)):
        if record.key != _JOB:
            last = record.value
    return None if last is None else _decode(last)


def of_job(kafka: Kafka) -> Version:
    """The version that counts now. Raises KafkaProblem, also where no job has this log."""
    version = newest(kafka)
    if version is None:
        raise KafkaProblem(f"{kafka.name}: no job has this --log; correct the address")
    return version


class Following:
    """Follows the versions. The workers of a process share one, `following`; each thread of a sender has its own."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka, self._lock = kafka, Lock()
        self._consumer: Consumer | None = None
        self._asks: Consumer | None = None  # see `ends`
        self._looked: float | None = None  # when it looked last
        self._named: tuple[int, dict[str, str]] = (0, {})
        self.version: Version | None = None
        self.job = 0  # that decides; 0: none did yet
        self.sure = 0.0  # when there was no newer version than this one, or than one that it knew later
        self._claiming = Lock()

    def look(self, anyway: bool = False) -> Version | None:
        """The newest version. It is looked for once a second; with `anyway`, now. Raises KafkaProblem."""
        with self._lock:
            if self._looked is None:
                self._read_up()
            elif anyway or time.monotonic() - self._looked >= _LOOK:
                self._read(0.0 if self.version else 1.0)
            else:
                return self.version
            self._looked = time.monotonic()
            return self.version

    def at_least(self, number: int) -> Version:
        """The newest version, which has to be this one at least. Raises KafkaProblem."""
        until = time.monotonic() + WAIT
        while (version := self.look(anyway=True)) is None or version.number < number:
            if time.monotonic() > until:
                raise KafkaProblem(f"{topic_of(self._kafka)}: version {number} of the workspace is not there")
        return version

    def up_to_now(self) -> Version | None:
        """The newest version that there is at this moment: whatever was decided before, it was not with a newer one.

        Raises KafkaProblem.
        """
        with self._lock:
            self._read_up()
            return self.version

    def claim(self, job: int) -> None:
        """Let the job with this number decide, and no older one. 0: it has no number.

        Raises KafkaProblem where a newer one decides.
        """
        if not job:
            return
        self.look()
        with self._claiming:
            if self.job < job:
                self.up_to_now()
            if self.job < job:
                write_all(self._kafka.producer(), [(topic_of(self._kafka), _JOB, _encode(job))])
                if self.job:
                    time.sleep(_HEARD)
                self.job = max(self.job, job)  # a still newer one may have begun meanwhile
        if self.job > job:
            since = datetime.fromtimestamp(self.job / 1_000, UTC)
            raise KafkaProblem(
                f"{self._kafka.name}: another job on this --log was submitted at {since:%Y-%m-%d %H:%M:%S} UTC, and "
                "decides since; this one writes nothing more. Cancel it at its engine"
            )

    def first_name(self, connection: str) -> str:
        """The first name of a connection, which its topics have. Raises KafkaProblem.

        A connection that is not known was asked to be told something by a worker that has a newer version.
        """
        self._know(self.look())
        if connection not in self._named[1]:
            self._know(self.up_to_now())
        return self._named[1].get(connection, connection)

    def _know(self, version: Version | None) -> None:
        if version and version.number != self._named[0]:
            self._named = version.number, version.first_names()

    def _reader(self) -> Consumer:
        if self._consumer is None:
            self._consumer = self._kafka.consumer()
            self._consumer.assign([TopicPartition(topic_of(self._kafka), 0, OFFSET_BEGINNING)])
        return self._consumer

    def _read_up(self) -> None:
        consumer, topic, began = self._reader(), topic_of(self._kafka), time.monotonic()
        self._asks = self._asks or self._kafka.consumer()
        end = ends(self._asks, topic, 0)[1]
        while position(consumer, topic, 0, OFFSET_BEGINNING, self._asks) < end:
            if time.monotonic() > began + WAIT:
                raise KafkaProblem(f"{topic}: it cannot be read up to its end")
            self._read(0.05)
        self.sure = began

    def _read(self, seconds: float) -> None:
        while records := consume(self._reader(), 100, seconds):
            for record in records:
                if record.key == _JOB:
                    self.job = max(self.job, _decode_job(record.value or b""))
                else:
                    self.version = _decode(record.value or b"")
            seconds = 0.0


_following: dict[Kafka, Following] = {}
_guard = Lock()


def following(kafka: Kafka) -> Following:
    """This process's reading of a log's versions."""
    found = _following.get(kafka)  # asked for with every fact
    if found is None:
        with _guard:
            found = _following.setdefault(kafka, Following(kafka))
    return found


class Overtaken(KafkaProblem):
    """Somebody else published meanwhile."""


class Publication(NamedTuple):
    """A version that may be published, and what changes by it."""

    version: Version
    workspace: Workspace
    before: Version | None  # the one that it follows
    known: Registry  # of that one, or what a new log begins with
    notices: list[Notice]
    changed: bool  # there is something to publish
    looks: bool  # every profile is to be looked at anew
    refresh: list[int]  # slots in which everything that was told is told once more then


def prepare(
    kafka: Kafka,
    text: str,
    path: str,
    now: datetime,
    remade: Mapping[str, float] | None = None,
    refresh: Iterable[str] = (),
    begun: Registry | None = None,
    environment: Mapping[str, str] = os.environ,
    after: int | None = None,
    again: bool = False,
) -> Publication:
    """The next version with this workspace. Raises WorkspaceError and KafkaProblem; nothing is written.

    `begun`: what a new log begins with, from a state directory. `environment`: variables of settings. `after`: the
    version whose workspace this is; where there is a newer one, it must not be lost, and Overtaken is raised. `again`:
    everybody is looked at anew in any case.
    """
    seen = _Seen(environment)
    workspace = load_text(text, path, environment=seen)
    before = newest(kafka)
    if before and before.left:
        raise KafkaProblem(before.left)
    if after is not None and (before is None or before.number != after):
        raise _overtaken(kafka)
    known = decode_registry(before.registry) if before else begun or Registry()
    vendors = made(workspace).vendors
    registry, notices = enter(known, workspace, vendors, micros(now), remade, refresh)
    plan = make_plan(workspace, vendors, registry, micros(now))
    digest = plan.digest()
    same = before is not None and (before.text, before.environment, before.vendors) == (text, seen.used, vendors)
    changed = not same or registry != known or again
    registry.number = (before.number if before else 0) + changed
    looked = (before.digest if before.ticked else b"") if before else known.digest
    looks = bool(before or begun) and (again or looked != digest or bool(registry.refreshing))
    named = named_after(before.first_names() if before else {}, known, workspace)
    version = Version(
        registry.number, text, seen.used, encode_registry(registry), vendors, digest, ticked=not looks, topics=named
    )
    return Publication(version, workspace, before, known, notices, changed, looks, refreshed(plan, registry))


def _overtaken(kafka: Kafka) -> Overtaken:
    return Overtaken(f"{kafka.name}: another version was published meanwhile; see what it says, then publish again")


def looked_at(version: Version) -> Version:
    """The version, when every profile has been given to the fold."""
    registry = decode_registry(version.registry)
    registry.refreshing = []
    return replace(version, registry=encode_registry(registry), ticked=True)


def next_job(kafka: Kafka, now: float) -> int:
    """The number of a job that is submitted now: above those of all that decided. Raises KafkaProblem."""
    return max(int(now * 1_000), number_of_job(kafka) + 1)


def number_of_job(kafka: Kafka) -> int:
    """The greatest of all that decided; 0: none did yet. Raises KafkaProblem."""
    reading = following(kafka)
    reading.up_to_now()
    return reading.job


def publisher(kafka: Kafka, before: Version | None, much: bool = False) -> Producer:
    """A producer that may publish what follows this version; no earlier one can publish any more.

    `much`: more than the version, in one transaction. Raises KafkaProblem, and Overtaken where there is a newer one.
    """
    producer = transactional(kafka, f"{kafka.name}.publisher", _LONG if much else _SHORT)
    if newest(kafka) != before:
        raise _overtaken(kafka)
    return producer


def write(kafka: Kafka, producer: Producer, version: Version, records: Iterable[Row] = ()) -> None:
    """Make it the newest one. Raises KafkaProblem, also where somebody else may publish meanwhile.

    `records` go before it, and all of it is there or nothing.
    """
    with kafka_errors():
        producer.begin_transaction()
        try:
            for record in records:
                produce(producer, *record, unheard)
            produce(producer, topic_of(kafka), b"version", _encode(version), unheard)
            while producer.flush(1.0):
                pass  # each is taken, or fails by itself when the transaction's time is up
            producer.commit_transaction(WAIT)  # it fails if any of them did
        except BaseException:
            with suppress(KafkaException):  # whoever fenced this one has ended it
                producer.abort_transaction(WAIT)
            raise


class _Seen(Mapping[str, str]):
    """The environment; it remembers what was asked for and is there."""

    def __init__(self, of: Mapping[str, str]) -> None:
        self._of = of
        self.used: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        value = self._of[name]
        self.used[name] = value
        return value

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self._of else default

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)
