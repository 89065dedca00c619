"""Connections that change hands while they are being taken over. Kafka's part in it is faked: it happens in moments."""

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import pytest

from pipeline.disk import StoreError
from pipeline.log import SqliteLog
from pipeline.sent import make
from pipeline.state_db import StateDb
from pipeline.streaming import sending
from pipeline.streaming import stations as module
from pipeline.streaming.kafka import Kafka
from pipeline.streaming.log import Gap, Kept, Settled
from pipeline.streaming.stations import Stations
from pipeline.streaming.topics import LEASES
from schemas.limits import Limit
from transforms.logic.limit import Limiter

GROUP = "account"


class Plan(NamedTuple):
    name: str = "hook"
    number: int = 1


class Writer:
    """Notes what was said in its name."""

    made: "list[Writer]" = []

    def __init__(self, *_: Any) -> None:
        self.said: list[str] = []
        self.dead = False
        self.made.append(self)

    def beat(self) -> None:
        self.said.append("alive")

    def may_begin(self, kept: Kept) -> float:
        self.beat()
        return time.monotonic() + (0.0 if kept.left else 0.6)

    def leave(self) -> None:
        self.said.append("left")

    def settled(self, settled: Settled) -> None:
        self.said.append(f"settled {settled.place} {settled.sent}")


class Others:
    """Leases, mirror and deliveries. `held`: whether the lease is this process's; `ends`: whether deliveries end.

    `read`: is set when the calls of a connection are read.
    """

    def __init__(self) -> None:
        self.held, self.ends = True, True
        self.read, self.trouble = threading.Event(), ""
        self.read.set()
        self.mirrored: list[Any] = []
        self.tried_again: list[str] = []

    def holds(self, _: str) -> bool:
        return self.held

    def add(self, station: Any) -> threading.Event:
        self.mirrored.append(station)
        return self.read

    def remove(self, station: Any) -> None:
        self.mirrored.remove(station)

    def end_one(self, _: str) -> bool:
        return self.ends

    def try_again(self, name: str, _: float) -> None:
        self.tried_again.append(name)

    def step(self) -> None:
        """Nothing is heard."""

    def close(self) -> None:
        """All are given back."""


@pytest.fixture
def others() -> Others:
    return Others()


@pytest.fixture
def stations(tmp_path: Path, others: Others, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stations]:
    monkeypatch.setattr(Writer, "made", [])
    monkeypatch.setattr(module, "Writer", Writer)
    monkeypatch.setattr(module, "Leases", lambda kafka, lost: others)
    monkeypatch.setattr(module, "_TURN", 60.0)
    kept(monkeypatch, left=True)
    made = begun(tmp_path, others)
    yield made
    made.end()


def begun(folder: Path, others: Any, gaps: bool = False) -> Stations:
    return Stations(Kafka("localhost:9092", "shop"), folder, others, others, lambda *_, **__: None, gaps, {})


def kept(monkeypatch: pytest.MonkeyPatch, left: bool) -> None:
    """What Kafka knows of the connection: whether the last sender left in order."""
    monkeypatch.setattr(module, "restore", lambda *_: Kept(settled=Settled(), left=left))


def take(stations: Stations, group: str = GROUP, mates: Sequence[str] = ()) -> Any:
    plan: Any = Plan()
    return stations.station(plan, group, lambda: mates, lambda: False)


def test_who_gives_back_what_an_earlier_sender_may_still_send_for_does_not_say_that_it_left(
    stations: Stations, others: Others, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paused sender, one that waits for its end, and a third one, which would not wait."""
    kept(monkeypatch, left=False)
    threading.Timer(0.2, lambda: setattr(others, "held", False)).start()
    assert take(stations) is None
    assert (Writer.made[0].said, stations._stations, others.mirrored) == (["alive"], {}, [])


def test_who_waited_says_that_it_left(stations: Stations, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(monkeypatch, left=False)
    began = time.monotonic()
    assert take(stations)
    assert time.monotonic() - began >= 0.5
    stations._close("hook", orderly=True)
    assert Writer.made[0].said == ["alive", "left"]


def test_a_lease_that_was_lost_while_the_log_was_read_leaves_nothing_behind(
    stations: Stations, others: Others, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its station would be there, as it was, when the lease comes back."""

    def slow(*_: Any) -> Kept:
        others.held = False
        return Kept()

    monkeypatch.setattr(module, "restore", slow)
    assert take(stations) is None
    assert (stations._stations, others.mirrored) == ({}, [])


@pytest.mark.parametrize("trouble", ["", "the disk is full"])
def test_nothing_is_sent_while_the_folder_may_have_calls_of_an_earlier_time(
    stations: Stations, others: Others, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Another sender had the connection meanwhile, and settled them: they would be told once more."""
    monkeypatch.setattr(module, "_PATIENCE", 0.3)
    others.read.clear()
    others.trouble = trouble
    with pytest.raises(StoreError, match=trouble or "its calls are not read yet, after 0 s"):
        take(stations)
    assert (stations._stations, others.mirrored, others.tried_again) == ({}, [], ["hook"])


@pytest.mark.parametrize("ends", [True, False])
def test_a_successor_waits_for_a_delivery_that_does_not_end(stations: Stations, others: Others, ends: bool) -> None:
    assert take(stations)
    others.ends = ends
    stations._lost({crc32(GROUP.encode()) % LEASES}, orderly=True)
    assert ("left" in Writer.made[0].said) == ends


def test_what_another_connection_of_the_account_counted_is_counted(
    stations: Stations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was the one that sent, and so the one that wrote it down; and it may begin later, or never."""
    now = time.time()
    monkeypatch.setattr(module, "read_kept", lambda kafka, name: Kept(facts={"caps": counted(now, 90)}))
    station = take(stations, mates=["other"])
    assert station
    StateDb.create(tmp_path)
    make(tmp_path, "hook")
    log = SqliteLog(tmp_path, "hook", 1)
    caps = sending._Caps(log, station.others)
    caps.save(counted(now, 30))
    limiter = Limiter([Limit(100, 86_400.0)], 0.0)
    limiter.restore(caps.load(), 0.0, now)
    log.close()
    sent = 0
    while sent < 100 and not limiter.delay(0.0, ""):
        limiter.take(0.0, "")
        sent += 1
    assert sent == 10


def counted(at: float, number: int) -> dict[str, Any]:
    return {"windows": [{"seconds": 86_400.0, "endpoint": "", "unit": "requests", "steps": [[at, number]]}]}


def test_a_connection_that_the_workspace_has_no_more_is_left(stations: Stations, others: Others) -> None:
    """Its topics may be deleted then."""
    assert take(stations)
    stations.step({"hook"})
    assert "hook" in stations._stations
    stations.step(set())
    assert (Writer.made[0].said, stations._stations, others.mirrored) == (["alive", "left"], {}, [])


def test_another_vendor_account_is_another_lease(stations: Stations, others: Others) -> None:
    """The station of the account that the connection had before is not kept from whoever has the new one."""
    assert take(stations)
    others.held = False
    assert take(stations, "another account") is None
    assert (Writer.made[0].said, stations._stations) == (["alive", "left"], {})


def test_a_beat_that_fails_is_tried_again_soon(
    stations: Stations, others: Others, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Writer) -> None:
        raise StoreError("another sender has taken it over")

    monkeypatch.setattr(Writer, "beat", fails)
    with pytest.raises(StoreError):
        take(stations)
    assert ["hook"] == others.tried_again


def test_what_is_gone_is_not_looked_for_every_few_seconds(
    stations: Stations, others: Others, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise Gap(["calls are gone."])

    monkeypatch.setattr(module, "restore", fails)
    with pytest.raises(StoreError, match=r"calls are gone\.\n.*--past-gaps"):
        take(stations)
    assert [] == others.tried_again


def test_a_gap_that_is_gone_past_is_not_there_for_the_next_sender(
    stations: Stations, others: Others, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without news nothing else writes down that all before it is settled."""
    monkeypatch.setattr(module, "restore", lambda *_: Kept(settled=Settled(41, 7)))
    past = begun(tmp_path, others, gaps=True)
    assert take(past)
    past.end()
    assert ["alive", "settled 41 7", "left"] == Writer.made[0].said
