"""The mirror, when Kafka and its records are not as they should be: the clients of Kafka are fakes."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from pipeline.disk import StoreError
from pipeline.log import SqliteLog
from pipeline.sent import make
from pipeline.state_db import StateDb
from pipeline.streaming import mirror as module
from pipeline.streaming import versions
from pipeline.streaming.kafka import Kafka, NotRead, Record
from pipeline.streaming.log import Settled
from pipeline.streaming.mirror import Mirror, Station
from pipeline.streaming.places import Places
from schemas.calls import Call, Identifier
from tests.pipeline.stores import delivered
from transforms.sending.log import Writing

LOG = Kafka("localhost:9092", "shop")


class Registry(NamedTuple):
    """What the mirror takes of a version."""

    number: int
    registry: bytes = b""


class Topics:
    """Records that come one read after another; an exception in place of them is raised."""

    def __init__(self) -> None:
        self.reads: list[Any] = []
        self.version = Registry(1)

    def consume(self, *_: Any) -> list[Record]:
        if not self.reads:
            time.sleep(0.01)
            return []
        found = self.reads.pop(0)
        if isinstance(found, Exception):
            raise found
        self.version = Registry(self.version.number + 1)  # these were decided with a newer one
        return list(found)


class Client:
    """Of no broker."""

    def incremental_assign(self, _: Any) -> None: ...
    def incremental_unassign(self, _: Any) -> None: ...
    def close(self) -> None: ...


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> Topics:
    made = Topics()
    monkeypatch.setattr(module, "consume", made.consume)
    monkeypatch.setattr(module, "_FIRST", 0.01)
    monkeypatch.setattr(Kafka, "consumer", lambda self, **_: Client())
    monkeypatch.setattr(Kafka, "admin", lambda self: None)
    monkeypatch.setattr(versions.Following, "up_to_now", lambda self: made.version)
    monkeypatch.setattr(Mirror, "_look_after", lambda self, db: None)
    return made


@pytest.fixture
def mirror(tmp_path: Path, topics: Topics) -> Iterator[Mirror]:
    StateDb.create(tmp_path)
    made = Mirror(LOG, tmp_path)
    yield made
    made.close()


def call(ask: int) -> bytes:
    made = Call("u1", "identify", Identifier("user_id", "u1"), "score", 1, 1, ask)
    return msgspec.msgpack.encode(made)


def record(name: str, offset: int, value: bytes | None = None) -> Record:
    return Record(f"shop.calls.{name}", 0, offset, b"u1", call(1_000 + offset) if value is None else value)


def station(folder: Path, name: str, number: int, places: Any = None) -> Station:
    return Station(name, name, number, None, places or Places(folder / f"{name}.places"), Settled())  # type: ignore[arg-type]


def asks(folder: Path, number: int) -> list[int]:
    db = StateDb.open(folder)
    try:
        return [ask for (ask,) in db.rows("SELECT ask FROM calls WHERE connection = ? ORDER BY ask", number)]
    finally:
        db.close()


def until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("error", [TimeoutError(), RuntimeError("anything"), ValueError()], ids=repr)
def test_no_error_ends_the_thread(tmp_path: Path, mirror: Mirror, topics: Topics, error: Exception) -> None:
    """Else nobody would be told anything any more, and nobody would hear of that."""
    made = station(tmp_path, "hook", 1)
    mirror.add(made)
    topics.reads += [error, [record("hook", 0)]]
    until(lambda: asks(tmp_path, 1) == [1])
    until(lambda: mirror.trouble == "")
    made.places.close()


def test_a_record_that_is_no_call_holds_its_own_connection_only(tmp_path: Path, mirror: Mirror, topics: Topics) -> None:
    hook, other = station(tmp_path, "hook", 1), station(tmp_path, "other", 2)
    mirror.add(hook)
    mirror.add(other)
    topics.reads += [
        [record("hook", 0), record("hook", 1, b"\xc1"), record("hook", 2), record("other", 0)],
        [record("hook", 3), record("other", 1)],
    ]
    until(lambda: asks(tmp_path, 2) == [1, 2])
    assert asks(tmp_path, 1) == [1]
    until(lambda: "shop.calls.hook: the record at 1 is no call" in mirror.trouble)
    hook.places.close()
    other.places.close()


def test_what_was_settled_before_a_takeover_does_not_wait(tmp_path: Path, mirror: Mirror, topics: Topics) -> None:
    """Receipts are there before the calls are copied: when they are forgotten, nobody may be told again."""
    make(tmp_path, "hook")
    log = SqliteLog(tmp_path, "hook", 1)
    log.write(Writing(receipts=[delivered(msgspec.msgpack.decode(call(ask), type=Call)) for ask in (1, 2, 4)])).result()
    log.close()
    hook = station(tmp_path, "hook", 1)
    mirror.add(hook)
    topics.reads += [
        [record("hook", offset) for offset in range(3)],
        [record("hook", offset) for offset in range(3, 6)],
    ]
    until(lambda: hook.next == 7)
    assert [3, 5, 6] == asks(tmp_path, 1)
    hook.places.close()


def test_a_topic_that_is_not_read_any_more_stays_a_trouble(tmp_path: Path, mirror: Mirror, topics: Topics) -> None:
    hook, other = station(tmp_path, "hook", 1), station(tmp_path, "other", 2)
    mirror.add(hook)
    mirror.add(other)
    topics.reads += [NotRead("shop.calls.hook", 0, "it is out of range"), [record("other", 0)]]
    until(lambda: asks(tmp_path, 2) == [1])
    time.sleep(0.1)
    assert "shop.calls.hook, partition 0: it is out of range" in mirror.trouble
    hook.places.close()
    other.places.close()


class Looking:
    """Places; they note which version of the workspace senders know when calls come."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.known: list[Any] = []

    def enter(self, calls: list[tuple[int, Call]]) -> list[Call]:
        db = StateDb.open(self._folder)
        self.known.append(db.meta("workspace_number"))
        db.close()
        return [msgspec.structs.replace(each, ask=place) for place, each in calls]


def test_senders_hear_of_a_version_before_calls_that_were_decided_with_it(
    tmp_path: Path, mirror: Mirror, topics: Topics
) -> None:
    """A sender of an older workspace takes calls back whose slots it does not know."""
    places = Looking(tmp_path)
    mirror.add(station(tmp_path, "hook", 1, places))
    topics.reads += [[record("hook", 0)], [record("hook", 1)]]
    until(lambda: asks(tmp_path, 1) == [1, 2])
    assert places.known == [2, 3]


def test_a_connection_that_is_taken_back_begins_with_an_empty_log(
    tmp_path: Path, mirror: Mirror, topics: Topics
) -> None:
    first = station(tmp_path, "hook", 1)
    mirror.add(first)
    topics.reads.append([record("hook", 0), record("hook", 1)])
    until(lambda: asks(tmp_path, 1) == [1, 2])
    mirror.remove(first)
    assert asks(tmp_path, 1) == []
    first.places.close()
    again = station(tmp_path, "hook", 1)
    mirror.add(again)
    topics.reads.append([record("hook", 1), record("hook", 2)])
    until(lambda: asks(tmp_path, 1) == [2, 3])
    again.places.close()


def test_a_connection_that_is_given_up_before_it_was_read_does_not_come_back(
    tmp_path: Path, mirror: Mirror, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is ordered for it is done in its order, when the folder can be written again."""
    before = StateDb.portion
    full = ["the disk is full"]

    def portion(db: StateDb) -> Any:
        if full:
            raise StoreError(full[0])
        return before(db)

    monkeypatch.setattr(StateDb, "portion", portion)
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    hook, other = station(tmp_path, "hook", 1), station(tmp_path, "other", 2)
    read = mirror.add(hook)
    until(lambda: mirror.trouble == "the disk is full")
    assert not read.is_set()
    mirror.remove(hook)
    hook.places.close()
    full.clear()
    assert mirror.add(other).wait(10)
    topics.reads.append([record("hook", 0), record("other", 0)])
    until(lambda: asks(tmp_path, 2) == [1])
    assert ([], "") == (asks(tmp_path, 1), mirror.trouble)
    other.places.close()


def test_what_cannot_be_done_for_one_connection_is_done_for_another(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Mirror._do

    def do(self: Mirror, db: StateDb, what: str, station: Station) -> None:
        if station.name == "hook":
            raise StoreError("its receipts cannot be read")
        before(self, db, what, station)

    monkeypatch.setattr(Mirror, "_do", do)
    hook, other = station(tmp_path, "hook", 1), station(tmp_path, "other", 2)
    mirror.add(hook)
    assert mirror.add(other).wait(10)
    until(lambda: mirror.trouble == "its receipts cannot be read")
    hook.places.close()
    other.places.close()
