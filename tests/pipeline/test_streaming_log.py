"""What a sender of a streaming job keeps, where a broker cannot be made to fail so: the clients of Kafka are fakes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import msgspec
import pytest

from pipeline.disk import SenderError
from pipeline.log import SqliteLog
from pipeline.sent import make
from pipeline.state_db import StateDb
from pipeline.streaming import log as streaming_log
from pipeline.streaming.kafka import Kafka, Record
from pipeline.streaming.log import KafkaLog, Settled, Writer, restore
from pipeline.streaming.places import Places
from schemas.calls import Identifier
from schemas.receipts import Receipt
from transforms.sending.log import Mark, Writing

LOG = Kafka("localhost:9092", "shop")
HOOK, NUMBER = "hook", 1


class Client:
    """A producer that takes everything, and remembers it."""

    def __init__(self) -> None:
        self.written: list[tuple[str, bytes, bytes | None]] = []

    def init_transactions(self, _: float) -> None:
        pass

    def begin_transaction(self) -> None:
        pass

    def produce(self, topic: str, value: bytes | None, key: bytes, *_: object, **__: object) -> None:
        self.written.append((topic, key, value))

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
    restore(LOG, folder, HOOK, NUMBER)
    log = SqliteLog(folder, HOOK, NUMBER)
    assert [3, 4, 5, 6] == [ask for ask in range(1, 10) if log.receipt(ask)]
    assert (Mark(), Mark(since=1.0, maybe=True)) == (log.mark(5), log.mark(9))
    log.close()
    assert max(sizes) == 2
