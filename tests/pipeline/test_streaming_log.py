"""What a sender of a streaming job keeps, where a broker cannot be made to fail so: the clients of Kafka are fakes."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME

from pipeline.disk import SenderError
from pipeline.log import SqliteLog
from pipeline.sent import make
from pipeline.state_db import StateDb
from pipeline.streaming import log as streaming_log
from pipeline.streaming.kafka import Kafka, Record
from pipeline.streaming.log import SESSION, KafkaLog, Kept, Settled, Writer, restore
from pipeline.streaming.places import Places
from schemas.calls import Identifier
from schemas.receipts import Receipt
from tests.pipeline.stores import marks_in
from transforms.sending.log import Mark, Writing

LOG = Kafka("localhost:9092", "shop")
HOOK, NUMBER = "hook", 1


class Message:
    """A record that the broker took."""

    def __init__(self, appended: float) -> None:
        self._appended = appended

    def timestamp(self) -> tuple[int, int]:
        kind = TIMESTAMP_LOG_APPEND_TIME if self._appended else TIMESTAMP_CREATE_TIME
        return kind, int((self._appended or 77.0) * 1_000)


class Client:
    """A producer that takes everything, and remembers it. `clock`: the broker's; 0: the topic does not keep it."""

    def __init__(self) -> None:
        self.written: list[tuple[str, bytes, bytes | None]] = []
        self.clock = 0.0

    def init_transactions(self, _: float) -> None:
        pass

    def begin_transaction(self) -> None:
        pass

    def produce(self, topic: str, value: bytes | None, key: bytes, on_delivery: Callable[..., None]) -> None:
        self.written.append((topic, key, value))
        on_delivery(None, Message(self.clock))

    def commit_transaction(self, _: float) -> None:
        pass


@pytest.fixture
def writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Writer, Client]]:
    client = Client()
    monkeypatch.setattr(Kafka, "producer", lambda self, **_: client)
    places = Places(tmp_path / "places")
    yield Writer(LOG, HOOK, places), client
    places.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    StateDb.create(tmp_path)
    return tmp_path


def receipt(ask: int) -> Receipt:
    return Receipt("u1", "identify", Identifier("user_id", "u1"), 1, ask, 0, b"", "delivered", 1.0)


def topics(monkeypatch: pytest.MonkeyPatch, **records: Sequence[tuple[bytes, bytes]]) -> None:
    """These are the records of the connection's topics, by what begins their names."""

    def read(_: Kafka, topic: str, starts: dict[int, int] | None = None) -> Iterator[Record]:
        found = records.get(topic.split(".")[1], [])
        return (Record(topic, 0, offset, *each) for offset, each in enumerate(found) if offset >= (starts or {0: 0})[0])

    monkeypatch.setattr(streaming_log, "read_all", read)
    monkeypatch.setattr(streaming_log, "begin", lambda kafka, name, settled, gaps: settled)


def test_what_the_folder_refuses_behind_kafka_is_looked_at_anew(folder: Path, writer: tuple[Writer, Client]) -> None:
    """Else the next delivery would take a call for unsent that Kafka knows as delivered."""
    written, client = writer
    make(folder, HOOK)
    log = KafkaLog(folder, HOOK, NUMBER, written)
    log._writer.execute("CREATE TRIGGER full BEFORE INSERT ON receipts BEGIN SELECT RAISE(FAIL, 'full'); END")
    written.beat()
    assert written.owned()
    with pytest.raises(SenderError):
        log.write(Writing(receipts=[receipt(1)])).result()
    assert "shop.sent.hook" in {topic for topic, _, _ in client.written}
    assert (written.dead, written.owned()) == (True, False)
    log.close()


def test_who_left_neither_writes_nor_sends(writer: tuple[Writer, Client]) -> None:
    """The successor did not wait: a write of a delivery that did not end in time would give it the right back."""
    left, client = writer
    left.beat()
    left.leave()
    last = list(client.written)
    with pytest.raises(SenderError, match="does not write its log any more"):
        left.commit([Writing(marks={1: Mark(since=1.0)})])
    assert (client.written, left.owned()) == (last, False)


@pytest.mark.parametrize(
    ("kept", "clock", "expected"),
    [
        (Kept(left=True, appended=990.0), 1_000.0, 0.0),
        (Kept(left=False), 0.0, SESSION),  # a topic of before
        (Kept(left=False), 1_000.0, SESSION),
        (Kept(left=False, appended=997.0), 1_000.0, SESSION - 3.0 + 1.0),  # brokers' clocks may be apart by a second
        (Kept(left=False, appended=989.0), 1_000.0, 0.0),
        (Kept(left=False, appended=2_000.0), 1_000.0, SESSION),
    ],
)
def test_a_successor_waits_until_the_sender_before_it_sends_nothing_more(
    writer: tuple[Writer, Client], kept: Kept, clock: float, expected: float
) -> None:
    written, client = writer
    client.clock = clock
    waits = written.may_begin(kept) - time.monotonic()
    assert max(0.0, waits) == pytest.approx(expected, abs=0.5)
    assert [b"alive"] == [value for _, key, value in client.written if key == b"owner"]


def test_restored_receipts_come_in_portions_and_take_their_marks_away(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming_log, "_PORTION", 2)
    sizes: list[int] = []
    write = SqliteLog.write

    def counted(log: SqliteLog, writing: Writing) -> "Future[None]":
        sizes.append(len(writing.receipts))
        return write(log, writing)

    monkeypatch.setattr(SqliteLog, "write", counted)
    pack = msgspec.msgpack.encode
    marks = [(b"mark:" + ask.to_bytes(8), pack(Mark(since=1.0, maybe=True))) for ask in (5, 9)]
    sent = [(b"", pack(receipt(ask))) for ask in (1, 2, 3, 4, 5, 6)]
    topics(monkeypatch, kept=[*marks, (b"settled", pack(Settled(3, 1)))], sent=sent)
    restore(LOG, folder, HOOK, NUMBER, False, HOOK)
    log = SqliteLog(folder, HOOK, NUMBER)
    assert [3, 4, 5, 6] == [ask for ask in range(1, 10) if log.receipt(ask)]
    assert {9: Mark(since=1.0, maybe=True)} == marks_in(folder)
    log.close()
    assert max(sizes) == 2
