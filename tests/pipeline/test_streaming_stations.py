"""Connections that change hands while they are being taken over. Kafka's part in it is faked: it happens in moments."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from zlib import crc32

import pytest

from pipeline.disk import StoreError
from pipeline.log import SqliteLog
from pipeline.sent import make
from pipeline.state_db import StateDb
from pipeline.streaming import sending as module
from pipeline.streaming.kafka import Kafka
from pipeline.streaming.log import Gap, Kept, Settled
from pipeline.streaming.sending import Sending, SendOptions
from pipeline.streaming.topics import LEASES
from schemas.limits import Limit
from transforms.logic.limit import Limiter
from transforms.sending.sender import SenderOptions

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
    """Leases, mirror and deliveries. `held`: whether the lease is this process's; `ends`: whether deliveries end."""

    def __init__(self) -> None:
        self.held, self.ends = True, True
        self.mirrored: list[Any] = []
        self.tried_again: list[str] = []

    def holds(self, _: str) -> bool:
        return self.held

    def add(self, station: Any) -> None:
        self.mirrored.append(station)

    def remove(self, station: Any) -> None:
        self.mirrored.remove(station)

    def end_one(self, _: str) -> bool:
        return self.ends

    def try_again(self, name: str, _: float) -> None:
        self.tried_again.append(name)


@pytest.fixture
def others() -> Others:
    return Others()


@pytest.fixture
def sending(tmp_path: Path, others: Others, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sending]:
    monkeypatch.setattr(Writer, "made", [])
    monkeypatch.setattr(module, "Writer", Writer)
    kept(monkeypatch, left=True)
    made = Sending(SendOptions(Kafka("localhost:9092", "shop"), SenderOptions()), lambda *_, **__: None)
    made._folder = tmp_path
    made._leases = made._mirror = made._served = others  # type: ignore[assignment]
    yield made
    for name in list(made._stations):
        made._close(name, orderly=False)


def kept(monkeypatch: pytest.MonkeyPatch, left: bool) -> None:
    """What Kafka knows of the connection: whether the last sender left in order."""
    monkeypatch.setattr(module, "restore", lambda *_: Kept(settled=Settled(), left=left))


def take(sending: Sending) -> Any:
    return sending.station(Plan(), GROUP)  # type: ignore[arg-type]


def test_who_gives_back_what_an_earlier_sender_may_still_send_for_does_not_say_that_it_left(
    sending: Sending, others: Others, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paused sender, one that waits for its end, and a third one, which would not wait."""
    kept(monkeypatch, left=False)
    threading.Timer(0.2, lambda: setattr(others, "held", False)).start()
    assert take(sending) is None
    assert (Writer.made[0].said, sending._stations, others.mirrored) == (["alive"], {}, [])


def test_who_waited_says_that_it_left(sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(monkeypatch, left=False)
    began = time.monotonic()
    assert take(sending)
    assert time.monotonic() - began >= 0.5
    sending._close("hook", orderly=True)
    assert Writer.made[0].said == ["alive", "left"]


def test_a_lease_that_was_lost_while_the_log_was_read_leaves_nothing_behind(
    sending: Sending, others: Others, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its station would be there, as it was, when the lease comes back."""

    def slow(*_: Any) -> Kept:
        others.held = False
        return Kept()

    monkeypatch.setattr(module, "restore", slow)
    assert take(sending) is None
    assert (sending._stations, others.mirrored) == ({}, [])


@pytest.mark.parametrize("ends", [True, False])
def test_a_successor_waits_for_a_delivery_that_does_not_end(sending: Sending, others: Others, ends: bool) -> None:
    assert take(sending)
    others.ends = ends
    sending._lost({crc32(GROUP.encode()) % LEASES}, orderly=True)
    assert ("left" in Writer.made[0].said) == ends


def test_what_another_connection_of_the_account_counted_is_counted(
    sending: Sending, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was the one that sent, and so the one that wrote it down; and it may begin later, or never."""
    now = time.time()
    monkeypatch.setattr(module, "read_kept", lambda kafka, name: Kept(facts={"caps": counted(now, 90)}))
    station = sending.station(Plan(), GROUP, lambda: ["other"])  # type: ignore[arg-type]
    assert station
    StateDb.create(tmp_path)
    make(tmp_path, "hook")
    log = SqliteLog(tmp_path, "hook", 1)
    caps = module._Caps(log, station.others)
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


def test_a_connection_that_the_workspace_has_no_more_is_left(sending: Sending, others: Others) -> None:
    """Its topics may be deleted then."""
    assert take(sending)
    sending._run = SimpleNamespace(workspace=SimpleNamespace(connections=[Plan()]))  # type: ignore[assignment]
    sending._mend()
    assert "hook" in sending._stations
    sending._run.workspace.connections.clear()
    sending._mend()
    assert (Writer.made[0].said, sending._stations, others.mirrored) == (["alive", "left"], {}, [])


def test_another_vendor_account_is_another_lease(sending: Sending, others: Others) -> None:
    """The station of the account that the connection had before is not kept from whoever has the new one."""
    assert take(sending)
    others.held = False
    assert sending.station(Plan(), "another account") is None  # type: ignore[arg-type]
    assert (Writer.made[0].said, sending._stations) == (["alive", "left"], {})


def test_a_beat_that_fails_is_tried_again_soon(
    sending: Sending, others: Others, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Writer) -> None:
        raise StoreError("another sender has taken it over")

    monkeypatch.setattr(Writer, "beat", fails)
    with pytest.raises(StoreError):
        take(sending)
    assert ["hook"] == others.tried_again


def test_what_is_gone_is_not_looked_for_every_few_seconds(
    sending: Sending, others: Others, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise Gap(["calls are gone."])

    monkeypatch.setattr(module, "restore", fails)
    with pytest.raises(StoreError, match=r"calls are gone\.\n.*--past-gaps"):
        take(sending)
    assert [] == others.tried_again


def test_a_gap_that_is_gone_past_is_not_there_for_the_next_sender(
    sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without news nothing else writes down that all before it is settled."""
    monkeypatch.setattr(module, "restore", lambda *_: Kept(settled=Settled(41, 7)))
    sending.options = replace(sending.options, gaps=True)
    assert take(sending)
    assert ["alive", "settled 41 7"] == Writer.made[0].said
