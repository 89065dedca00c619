"""A connection's log in Kafka, as its one sender has it.

    calls.NAME ─ Mirror ─► a folder of this process ─ SqliteLog ─► sender
    sent.NAME, kept.NAME, facts, dead ◄─ one transaction for each write ─┘

What counts is in Kafka; the folder, which is made anew at every start, is only how it is read: by class, by slot, from
the middle. A call's ask is its place in the topic there, since numbers of asks may be given twice by different workers.

A write goes to Kafka first, in a transaction of a producer of which there is one for each connection: whoever takes a
connection over makes the same producer, and from then on no other can write. A sender that could not write for
`SESSION` seconds sends nothing more, so its successor waits until then, unless the log says that it was left in order.
"""

import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.log import SqliteLog
from pipeline.sent import make
from pipeline.streaming.kafka import (
    WAIT,
    Kafka,
    KafkaProblem,
    Row,
    appended_at,
    ends,
    is_fenced,
    kafka_sender_errors,
    produce,
    read_all,
    transactional,
)
from pipeline.streaming.places import Places, place_of
from schemas.facts import ReceiptFact
from schemas.receipts import Receipt
from transforms.keyed import addressed
from transforms.sending.log import Mark, Writing

SESSION = 10.0  # seconds without a write after which a sender sends nothing more, and another one may begin
_PORTION = 5_000  # receipts that are restored at once
_NEWEST = 10_000  # records in which it is first looked how far all is settled
_PAST_GAPS = (
    "Some people may have to wait for their next change until they are told. Give these topics retention.ms=-1; then "
    "start the senders once with `profilecast send --past-gaps`, which goes on with what is there."
)
_BEAT = 2.0  # seconds between writes that say that the sender lives
_DRIFT = 1.0  # seconds that brokers' clocks may be apart
_MARK, _FACT, _OWNER, _SETTLED = b"mark:", b"fact:", b"owner", b"settled"
CAPS = "caps"  # the fact that holds what long windows counted
PAUSED = "paused"  # the fact that says since when an operator has paused the connection
_place = struct.Struct(">Q")
_receipt = msgspec.msgpack.Decoder(Receipt).decode
_packed, _json = msgspec.msgpack.Encoder().encode, msgspec.json.Encoder().encode


class Settled(msgspec.Struct, array_like=True):
    """How far a connection is done."""

    place: int = 1  # of a call: each below it has an outcome
    sent: int = 0  # offset in sent.NAME: from here on are the receipts of the other calls


class Gap(KafkaProblem):
    """Calls or receipts are gone that were not settled; a sentence for each topic."""

    def __init__(self, sentences: Iterable[str]) -> None:
        super().__init__("\n".join([*sentences, _PAST_GAPS]))


class Kept(msgspec.Struct):
    """What is kept of a connection besides calls and receipts."""

    marks: dict[int, Mark] = {}
    facts: dict[str, Any] = {}
    settled: Settled = msgspec.field(default_factory=Settled)
    left: bool = True  # the last sender left in order
    appended: float = 0.0  # when it wrote last, see `appended_at`


def read_kept(kafka: Kafka, first_name: str) -> Kept:
    found: dict[bytes, bytes] = {}
    kept = Kept()
    for record in read_all(kafka, kafka.topic("kept", first_name)):
        kept.appended = record.appended
        if record.value is None:  # of most calls that were ever sent, until the topic is compacted
            found.pop(record.key, None)
        else:
            found[record.key] = record.value
    for key, value in found.items():
        if key.startswith(_MARK):
            kept.marks[_place.unpack(key[len(_MARK) :])[0]] = msgspec.msgpack.decode(value, type=Mark)
        elif key.startswith(_FACT):
            kept.facts[key[len(_FACT) :].decode()] = msgspec.json.decode(value)
        elif key == _SETTLED:
            kept.settled = msgspec.msgpack.decode(value, type=Settled)
        elif key == _OWNER:
            kept.left = value == b"left"
    return kept


def take_over(kafka: Kafka, name: str) -> Producer:
    """The only one that can write the connection's log from now on. Raises KafkaProblem."""
    return transactional(kafka, f"{kafka.name}.sender.{name}", SESSION, linger_ms=0)


class Writer:
    """Writes a connection's log. Only the newest Writer of a connection can."""

    def __init__(self, kafka: Kafka, name: str, places: Places) -> None:
        """`name`: the one in its topics. Raises KafkaProblem."""
        self._kafka, self._name, self._places = kafka, name, places
        self._until = 0.0
        self._writing = Lock()
        # A write failed, so that nobody knows what is written; or it was left. Another Writer has to look.
        self.dead = False
        self._appended = 0.0  # when the broker took the newest record
        self._producer = take_over(kafka, name)
        self._began = time.monotonic()

    def owned(self) -> bool:
        """Whether no other sender can have begun: nothing may be sent if not."""
        return not self.dead and time.monotonic() < self._until

    def may_begin(self, kept: Kept) -> float:
        """The monotonic moment from which this sender may send: until then the one before it may. Raises SenderError.

        It could send for `SESSION` seconds since it wrote last. By the broker's clock that is known to the moment,
        where the topic has that clock; else it may have been when this one took over.
        """
        self.beat()
        now = time.monotonic()
        if kept.left:
            return now
        if not (kept.appended and self._appended):
            return self._began + SESSION
        return min(self._began, now + _DRIFT + kept.appended - self._appended) + SESSION

    def commit(self, writings: Iterable[Writing]) -> None:
        """Write all of it or nothing. Raises SenderError."""
        self._write([record for writing in writings for record in self._records(writing)])

    def beat(self) -> None:
        """Say that the sender lives, if it has not done so by a write."""
        if self._until - time.monotonic() < SESSION - _BEAT:
            self._write([(self._topic("kept"), _OWNER, b"alive")])

    def settled(self, settled: Settled) -> None:
        self._write([(self._topic("kept"), _SETTLED, _packed(settled))])

    def paused(self, since: str) -> None:
        """Since when an operator has paused the connection; "": it goes on. Raises SenderError."""
        self._write([(self._topic("kept"), *fact_record(PAUSED, since or None))])

    def leave(self) -> None:
        """The successor need not wait. So nothing can be written any more, and nothing sent."""
        self._write([(self._topic("kept"), _OWNER, b"left")], last=True)

    def _topic(self, kind: str) -> str:
        return self._kafka.topic(kind, self._name)

    def _write(self, records: list[Row], last: bool = False) -> None:
        if not records:
            return
        with self._writing, kafka_sender_errors():
            if self.dead:
                raise KafkaProblem(f"{self._name}: this process does not write its log any more")
            self.dead = last
            began = time.monotonic()
            try:
                self._producer.begin_transaction()
                for topic, key, value in records:
                    produce(self._producer, topic, key, value, self._heard)
                self._producer.commit_transaction(WAIT)  # it fails if any of them did
            except KafkaException as error:
                self.dead = True
                raise self._lost(error) from error
            self._until = began + SESSION

    def _heard(self, error: KafkaError | None, message: Message) -> None:
        """Of errors a transaction hears as a whole."""
        if error is None:
            self._appended = appended_at(message)

    def _lost(self, error: KafkaException) -> Exception:
        if is_fenced(error):
            return KafkaProblem(f"{self._name}: another sender has taken it over")
        return error

    def _records(self, writing: Writing) -> Iterator[Row]:
        kept = self._topic("kept")
        for place, mark in writing.marks.items():
            yield kept, *mark_record(place, mark)
        for receipt in writing.receipts:
            yield self._topic("sent"), _place.pack(receipt.ask), _packed(receipt)
            yield kept, _MARK + _place.pack(receipt.ask), None
            yield (
                self._kafka.topic("facts"),
                *addressed(receipt.profile_id, ReceiptFact(self._places.as_asked(receipt))),
            )
        for place, letter in writing.dead_letters:
            yield self._kafka.topic("dead"), f"{self._name}:{place}".encode(), _json(letter)
        for key, value in writing.facts.items():
            yield kept, *fact_record(key, value)


def mark_record(place: int, mark: Mark) -> tuple[bytes, bytes | None]:
    """A mark as it is kept: key, value."""
    return _MARK + _place.pack(place), None if mark == Mark() else _packed(mark)


def fact_record(key: str, value: Any) -> tuple[bytes, bytes | None]:
    """A small fact as it is kept: key, value."""
    return _FACT + key.encode(), None if value is None else _json(value)


class KafkaLog(SqliteLog):
    """See `transforms.sending.log.Log`. Closing it does not leave the connection."""

    def __init__(self, folder: Path, connection: str, number: int, writer: Writer) -> None:
        self._kafka_writer = writer
        super().__init__(folder, connection, number)

    def _transaction(self, writings: list[Writing]) -> None:
        self._kafka_writer.commit(writings)
        try:
            super()._transaction(writings)
        except BaseException:  # the folder does not know what Kafka knows: it has to be made anew
            self._kafka_writer.dead = True
            raise


def restore(kafka: Kafka, folder: Path, name: str, number: int, gaps: bool, first_name: str) -> Kept:
    """Make the connection's file anew with what Kafka knows of it. Raises KafkaProblem."""
    kept = read_kept(kafka, first_name)
    kept.settled = begin(kafka, first_name, kept.settled, gaps)
    _forget(folder, name)
    make(folder, name)
    log = SqliteLog(folder, name, number)
    try:
        log.write(Writing(marks=kept.marks, facts=kept.facts)).result()
        for receipts in receipts_of(kafka, first_name, kept.settled):  # each takes the mark of its call away
            log.write(Writing(receipts=receipts)).result()
    finally:
        log.close()
    return kept


def receipts_of(kafka: Kafka, name: str, settled: Settled) -> Iterator[list[Receipt]]:
    """Receipts of calls that the topic still has: a call that waits for months holds millions behind it."""
    portion: list[Receipt] = []
    for record in read_all(kafka, kafka.topic("sent", name), {0: settled.sent}):
        receipt = _receipt(record.value or b"")
        if receipt.ask >= settled.place:
            portion.append(receipt)
        if len(portion) >= _PORTION:
            yield portion
            portion = []
    yield portion


def begin(kafka: Kafka, name: str, settled: Settled, gaps: bool) -> Settled:
    """Where to begin to read; with `gaps`, behind what is gone. Raises KafkaProblem, and Gap where something is."""
    first = _first(kafka, name)
    gone = _gone(kafka, name, first, settled)
    if gone and not gaps:
        raise Gap(gone)
    return Settled(max(settled.place, first.place), max(settled.sent, first.sent))


def refuse_gaps(kafka: Kafka, first_names: Mapping[str, str]) -> None:
    """Raises Gap, for all of these connections at once, and KafkaProblem.

    Others may be sending for them: these write down what is settled, and then free it.
    """
    found = []
    for connection, name in first_names.items():
        first = _first(kafka, name)  # before it is read what is settled
        if first != Settled():
            found += [f"{connection}: {each}" for each in _gone(kafka, name, first, _settled(kafka, name))]
    if found:
        raise Gap(found)


def _first(kafka: Kafka, name: str) -> Settled:
    """What the topics of calls and receipts begin with."""
    with closing(kafka.consumer()) as consumer:
        calls, sent = (ends(consumer, kafka.topic(kind, name), 0)[0] for kind in ("calls", "sent"))
    return Settled(place_of(calls), sent)


def _gone(kafka: Kafka, name: str, first: Settled, settled: Settled) -> list[str]:
    """A sentence for each topic that begins behind what is settled."""
    places = (
        ("calls that were not settled", "calls", settled.place - 1, first.place - 1),
        ("receipts of calls that were not settled", "sent", settled.sent, first.sent),
    )
    return [
        f"{what} are gone from {kafka.topic(kind, name)} (offsets {wanted} to {begin - 1})."
        for what, kind, wanted, begin in places
        if begin > wanted
    ]


def _settled(kafka: Kafka, name: str) -> Settled:
    """How far all is settled. It is looked for from the end: the topic may have millions of marks."""
    topic = kafka.topic("kept", name)
    with closing(kafka.consumer()) as consumer:
        low, high = ends(consumer, topic, 0)
    begin, many = high, _NEWEST
    while begin > low:
        begin, many = max(low, high - many), many * 8
        found = [each.value or b"" for each in read_all(kafka, topic, {0: begin}) if each.key == _SETTLED]
        if found:
            return msgspec.msgpack.decode(found[-1], type=Settled)
    return Settled()


def _forget(folder: Path, name: str) -> None:
    for path in (folder / "sent").glob(f"{name}.db*"):
        path.unlink()
