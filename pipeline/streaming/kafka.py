"""Kafka as it is addressed and talked to: `kafka://HOST:PORT[,HOST:PORT…]/NAME`, and clients for it.

Clients take options of librdkafka (SASL, TLS) from a file of `name=value` lines. A value may be written `${VARIABLE}`:
it is read where a client is made, so that no secret travels in a job.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from msgspec import Struct

from pipeline.disk import SenderError
from pipeline.problems import Ending

_T = TypeVar("_T")
Row = tuple[str, bytes | None, bytes | None]  # what is written: topic, key, value

SCHEME = "kafka://"
LARGEST = 32 * 1024 * 1024  # bytes of a record: an event may have 4 MiB, and what is known of somebody more
WAIT = 30.0  # seconds for the broker's answer
_OPTION = re.compile(r"\s*([a-z][a-z0-9._]*)\s*=\s*(.*?)\s*")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_SECRET = re.compile(r"password|secret|\.key\.pem$|^sasl\.oauthbearer\.config$")
_SOON = (  # what a broker says of a topic, or of offsets, that it does not know yet: it or they are new
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)
_REFUSED = (KafkaError._AUTHENTICATION, KafkaError._SSL)  # what does not pass while the options stay as they are
_FENCED = (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED)
_AROUND = re.compile(r"^\S+://\S+: | \(after \d+ms in state \w+\)$")  # what a client says beside the reason
# What a client reads ahead: by default 64 MB, which its memory keeps, and then nothing for a second.
_AHEAD = {
    "queued.max.messages.kbytes": "8192",
    "queued.min.messages": "20000",
    "fetch.queue.backoff.ms": "10",
}
_OURS = ("bootstrap.servers", "group.id", "transactional.id", "enable.auto.commit", "isolation.level")


class KafkaProblem(Ending):
    """The broker, a topic or an option is not as it should be."""


class NotRead(KafkaProblem):
    """A client reads a partition no more, and says so only once."""

    def __init__(self, topic: str, partition: int, why: str) -> None:
        super().__init__(f"Kafka: {topic}, partition {partition}: {why}")
        self.topic = topic


class WrongAddress(Ending, ValueError):
    """An address or an options file is written wrongly."""

    code = 1


class Record(NamedTuple):
    """One record of a topic."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes | None
    appended: float = 0.0  # see `appended_at`


class Kafka(Struct, frozen=True):
    """A cluster, and the name of a topic or the prefix of several in it. Picklable; it holds no secret."""

    servers: str
    name: str
    options: tuple[tuple[str, str], ...] = ()  # of librdkafka, with references to secrets

    def config(self, **more: Any) -> dict[str, Any]:
        """For a client made here. Raises KafkaProblem where a variable of an option is not set."""
        return {
            "bootstrap.servers": self.servers,
            "client.id": "profilecast",
            **{name: _VARIABLE.sub(_value, text) for name, text in self.options},
            **{name.replace("_", "."): value for name, value in more.items()},
        }

    def topic(self, *names: str) -> str:
        """A topic below the prefix."""
        return ".".join((self.name, *names))

    def consumer(self, hears: Callable[[KafkaError], object] | None = None, **more: Any) -> Consumer:
        """One that commits nothing by itself, and sees only what is committed. `hears`: is told of its troubles."""
        settings: dict[str, Any] = {"group_id": f"{self.name}.reader", "auto_offset_reset": "error"}
        settings |= {"enable_auto_commit": False, "isolation_level": "read_committed"} | more
        told = {"error_cb": hears} if hears else {}
        return Consumer(_AHEAD | self.config(**settings) | told, logger=_silent())

    def producer(self, **more: Any) -> Producer:
        """One that writes each record once, in order."""
        settings: dict[str, Any] = {"enable_idempotence": True, "linger_ms": 5, "compression_type": "lz4"}
        settings |= {"message_max_bytes": LARGEST}
        return Producer(self.config(**(settings | more)), logger=_silent())

    def admin(self) -> AdminClient:
        return AdminClient(self.config(), logger=_silent())


def _silent() -> logging.Logger:
    """What clients say of each broken connection goes nowhere by itself: what matters comes as errors."""
    logger = logging.getLogger("profilecast.kafka")
    logger.setLevel(logging.CRITICAL)
    return logger


def _value(match: "re.Match[str]") -> str:
    value = os.environ.get(match[1], "")
    if not value:
        raise KafkaProblem(f"the options of Kafka need the environment variable {match[1]}, which is not set")
    return value


def address(text: str, options: Mapping[str, str] | None = None) -> Kafka:
    """Read `kafka://HOST:PORT/NAME`. Raises WrongAddress."""
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise WrongAddress(f"{text}: {error}; expected kafka://HOST:PORT/NAME") from error
    name = parts.path.strip("/")
    if parts.scheme != "kafka" or not parts.netloc or not re.fullmatch(r"[A-Za-z0-9._-]{1,200}", name):
        raise WrongAddress(f"{text}: expected kafka://HOST:PORT/NAME, such as kafka://localhost:9092/profiles")
    if "@" in parts.netloc:
        raise WrongAddress("a user and password do not belong into an address: write them into --kafka-options FILE")
    return Kafka(parts.netloc, name, tuple(sorted((options or {}).items())))


def read_options(path: Path) -> dict[str, str]:
    """The options file. Raises WrongAddress."""
    found = {}
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongAddress(f"{path}: it cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _OPTION.fullmatch(line)
        if match is None:
            raise WrongAddress(f"{path}: line {number}: expected name=value, such as security.protocol=SASL_SSL")
        name, value = match.groups()
        if name in _OURS:
            raise WrongAddress(f"{path}: line {number}: {name} is set by profilecast; leave it out")
        if _SECRET.search(name) and not _VARIABLE.fullmatch(value):
            raise WrongAddress(f"{path}: line {number}: write {name} as ${{VARIABLE}}, so that no secret is in a file")
        found[name] = value
    return found


@contextmanager
def kafka_errors() -> Iterator[None]:
    """Raise what a client says as a KafkaProblem."""
    try:
        yield
    except KafkaException as error:
        raise KafkaProblem(f"Kafka: {words(error)}") from error


@contextmanager
def kafka_sender_errors() -> Iterator[None]:
    """The same, for a sender's log: a SenderError."""
    try:
        with kafka_errors():
            yield
    except KafkaProblem as error:
        raise SenderError(str(error)) from error


def words(error: KafkaException) -> str:
    found = error.args[0] if error.args else error
    return str(found.str()) if isinstance(found, KafkaError) else str(found)


def ends(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    """The first offset that is there, and the one behind the last.

    The consumer reads nothing: behind what one that reads has asked the broker, this would wait half a second.
    """
    assert not consumer.assignment()
    place = TopicPartition(topic, partition)
    low, high = _soon(topic, lambda: consumer.get_watermark_offsets(place, timeout=WAIT))
    return low, high


def committed(consumer: Consumer, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """The offsets that the consumer's group is to read next, by topic and partition; negative: none is committed."""
    asked = [TopicPartition(*place) for place in places]
    if not asked:
        return {}
    found = _soon(asked[0].topic, lambda: consumer.committed(asked, timeout=WAIT))
    return {(at.topic, at.partition): at.offset for at in found}


def _soon(topic: str, ask: Callable[[], _T]) -> _T:
    """The broker's answer, when it has one. Raises KafkaProblem."""
    until = time.monotonic() + WAIT
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in _SOON or time.monotonic() > until:
                raise KafkaProblem(f"Kafka: {topic}: {words(error)}") from error
            time.sleep(0.1)


def answers(kafka: Kafka, seconds: float) -> bool:
    """Whether a broker answers within so long. Raises KafkaProblem where the options cannot be used."""
    heard: list[KafkaError] = []
    with kafka_errors(), closing(kafka.consumer(hears=heard.append)) as consumer:
        try:
            consumer.list_topics(kafka.name, timeout=seconds)
        except KafkaException:
            consumer.poll(0.0)  # gives what was heard
            if refused := next((each for each in heard if each.code() in _REFUSED), None):
                raise KafkaProblem(
                    f"{kafka.servers} cannot be used with these options: {_AROUND.sub('', refused.str())}; correct the "
                    "file of --kafka-options, or the variables that it names"
                ) from None
            return False
    return True


def partitions(kafka: Kafka, topic: str) -> int:
    """How many a topic has; 0: there is no such topic.

    A consumer asks: to answer others, a broker makes the topic, unless auto.create.topics.enable is false.
    """
    with closing(kafka.consumer()) as consumer:
        found = topics_of(kafka, consumer, topic).get(topic)
    return 0 if found is None or found.error else len(found.partitions)


def topics_of(kafka: Kafka, client: AdminClient | Consumer, *topic: Any) -> Mapping[str, Any]:
    """All topics, or this one, by name. Raises KafkaProblem."""
    try:
        return client.list_topics(*topic, timeout=WAIT).topics  # type: ignore[misc]
    except KafkaException as error:
        raise KafkaProblem(
            f"Kafka: {kafka.servers} did not answer within {WAIT:.0f} s ({words(error)}); correct the address or "
            "--kafka-options, or look after the brokers"
        ) from error


def read_all(
    kafka: Kafka, topic: str, starts: Mapping[int, int] | None = None, only: Iterable[int] | None = None
) -> Iterator[Record]:
    """Everything that is in a topic now, from these offsets (by partition) or from its beginning.

    `only`: of these partitions. Raises KafkaProblem, also where the brokers give nothing more for a while.
    """
    numbers = range(partitions(kafka, topic)) if only is None else only
    with closing(kafka.consumer()) as consumer, closing(kafka.consumer()) as asks:
        last = {number: ends(asks, topic, number)[1] for number in numbers}
        begins = {number: (starts or {}).get(number, OFFSET_BEGINNING) for number in last}
        consumer.assign([TopicPartition(topic, number, begins[number]) for number in last])
        before, until = dict[int, int](), 0.0
        while True:
            at = {number: position(consumer, topic, number, begins[number], asks) for number in last}
            if all(at[number] >= end for number, end in last.items()):
                return
            if at != before:
                before, until = at, time.monotonic() + WAIT
            elif time.monotonic() > until:
                raise KafkaProblem(f"Kafka: {topic}: nothing more came for {WAIT:.0f} s; look after the brokers")
            for record in consume(consumer, 5_000, 0.2):
                if record.offset < last[record.partition]:
                    yield record


def position(consumer: Consumer, topic: str, partition: int, begin: int, asks: Consumer) -> int:
    """The next offset that is read. Ends of transactions have offsets too, and are never given. `asks`: see `ends`."""
    found = int(consumer.position([TopicPartition(topic, partition)])[0].offset)
    if found < 0:
        low, high = ends(asks, topic, partition)
        return high if low == high else max(begin, -1)
    return found


def consume(consumer: Consumer, most: int, seconds: float) -> list[Record]:
    """Records that are there; if there are none, those that come first within so many seconds.

    Raises KafkaProblem where there is nothing but trouble, and NotRead; then what came with it is given again.
    """
    with kafka_errors():
        messages: list[Any] = consumer.consume(most, 0.0)
        if not messages and seconds and (first := consumer.poll(seconds)):
            messages = [first, *consumer.consume(most - 1, 0.0)]
    found, trouble, lost = [], "", None
    for message in messages:
        if error := message.error():
            trouble = error.str()
            if error.code() == KafkaError._AUTO_OFFSET_RESET:  # what it is to read next is gone
                lost = NotRead(message.topic(), message.partition(), trouble)
            continue
        key, value = message.key() or b"", message.value()
        found.append(Record(message.topic(), message.partition(), message.offset(), key, value, appended_at(message)))
    if lost:
        _unread(consumer, found)
        raise lost
    if trouble and not found:  # what was read with it would be lost
        raise KafkaProblem(f"Kafka: {trouble}")
    return found


def appended_at(message: Message) -> float:
    """When the broker took it, by its own clock, in seconds since 1970; 0.0 where the topic does not keep that."""
    kind, milliseconds = message.timestamp()
    return milliseconds / 1_000 if kind == TIMESTAMP_LOG_APPEND_TIME else 0.0


def _unread(consumer: Consumer, records: list[Record]) -> None:
    """Let these be given again."""
    first: dict[tuple[str, int], int] = {}
    for record in records:
        first.setdefault((record.topic, record.partition), record.offset)
    with kafka_errors():
        for (topic, partition), offset in first.items():
            consumer.seek(TopicPartition(topic, partition, offset))


def transactional(kafka: Kafka, name: str, seconds: float = 60.0, **more: Any) -> Producer:
    """The one producer of this name that can write; from now on no earlier one can. Raises KafkaProblem.

    `seconds`: a transaction that takes longer is ended by the broker.
    """
    producer = kafka.producer(transactional_id=name, transaction_timeout_ms=int(seconds * 1_000), **more)
    with kafka_errors():
        producer.init_transactions(WAIT)
    return producer


def is_fenced(error: KafkaException) -> bool:
    """Whether another producer of that name can write now, and this one cannot."""
    return error.args[0].code() in _FENCED


def unheard(error: KafkaError | None, message: Message) -> None:
    """Nothing is heard of a single record: a transaction fails as a whole."""


def write_all(producer: Producer, records: Iterable[Row]) -> None:
    """Produce (topic, key, value) and wait until all of it is on the broker. Raises KafkaProblem."""
    failed: list[str] = []

    def done(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error.str())

    with kafka_errors():
        for topic, key, value in records:
            produce(producer, topic, key, value, done)
            if failed:
                break
        left = 0 if failed else producer.flush(WAIT)
    if failed or left:
        raise KafkaProblem(f"Kafka: {failed[0] if failed else f'{left} records were not taken within {WAIT:.0f} s'}")


def produce(
    producer: Producer,
    topic: str,
    key: bytes | None,
    value: bytes | None,
    done: Callable[[KafkaError | None, Message], None],
) -> None:
    """Hand a record to the producer, which may have to send some first."""
    while True:
        try:
            producer.produce(topic, value, key, on_delivery=done)
            return
        except BufferError:
            producer.poll(0.1)
