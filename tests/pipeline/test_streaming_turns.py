"""Clients take turns by a timer, each from the place that it left; and say when what they read is final."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pipeline.streaming import source, turns
from pipeline.streaming.clients import Part
from pipeline.streaming.growing import Growing
from pipeline.streaming.kafka import Kafka, Record
from pipeline.streaming.source import Reading, decode_reading, encode_reading
from pipeline.streaming.ticks import ME

LOG = Kafka("localhost:9092", "shop")
READING = Reading((Part(LOG, "shop.facts", 0, 5),), "job")
STATE = Part(Kafka("localhost:9092", "shop", (("sasl.password", "${PASSWORD}"),)), "shop.state", 3, 0, 7)
STORED = Reading(READING.parts, "job", (STATE,), "job.1a2b", Growing(((LOG, "shop.facts", 8),), 1, 3))


class Reader:
    """Of a topic in which each record is its offset. `upto`: what is there now."""

    upto = 0
    rests: float | None = 0.0

    def __init__(self, reading: Reading) -> None:
        self._reading, self._at = reading, reading.parts[0].start

    def record(self) -> Record | None:
        if self._at >= Reader.upto:
            return None
        self._at += 1
        return Record("shop.facts", 0, self._at - 1, b"key", b"%d" % (self._at - 1))

    def rest(self) -> float | None:
        return Reader.rests

    def reading(self) -> Reading:
        return replace(self._reading, parts=(replace(self._reading.parts[0], start=self._at),))


class Cell:
    def __init__(self, held: bytes | None = None) -> None:
        self.held, self.writes = held, 0

    def read(self) -> bytes | None:
        return self.held

    def write(self, held: bytes) -> None:
        self.held, self.writes = held, self.writes + 1


class Bundle:
    def __init__(self) -> None:
        self.callbacks: list[Callable[[], None]] = []

    def register(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)


class Timer:
    def __init__(self) -> None:
        self.times: list[float] = []

    def set(self, at: Any) -> None:
        self.times.append(float(at))


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "Reader", Reader)
    Reader.upto, Reader.rests = 0, 0.0


def made() -> turns._TurnFn:
    return turns._TurnFn(lambda: 7.0)


def turn(fn: turns._TurnFn, cell: Cell, timer: Timer) -> tuple[list[int], int]:
    """What is read in a turn, and the next offset that the place says."""
    *records, place = fn.read(cell, timer)
    assert place.tag == "places"
    assert place.value[0] == ME
    assert place.value[2] == cell.held
    return [int(value) for _, _, value in records], decode_reading(cell.held or b"").parts[0].start


def test_a_client_goes_on_where_it_ended_and_asks_for_another_turn() -> None:
    fn, cell, timer, bundle = made(), Cell(), Timer(), Bundle()
    fn.process((b"0", encode_reading(READING)), cell, timer, bundle)
    assert bundle.callbacks, "Prism asks this step whether any of those behind it has something to finalize"
    for upto, expected in ((8, [5, 6, 7]), (8, []), (10, [8, 9])):
        Reader.upto = upto
        assert (expected, upto) == turn(fn, cell, timer)
    assert [7.0] * 4 == timer.times
    assert 3 == cell.writes, "a turn in which nothing was read leaves the place as it is"


def test_a_client_that_comes_once_more_goes_on_from_its_place() -> None:
    """It has to be given a turn then: its timer may be what is missing."""
    fn, timer = made(), Timer()
    cell = Cell(encode_reading(replace(READING, parts=(replace(READING.parts[0], start=12),))))
    fn.process((b"0", encode_reading(READING)), cell, timer, Bundle())
    Reader.upto = 15
    assert ([12, 13, 14], 15) == turn(fn, cell, timer)
    assert [7.0, 7.0] == timer.times


@pytest.mark.parametrize(("rests", "times"), [(0.5, [7.5]), (None, [])])
def test_a_client_that_waits_has_its_turn_later_and_one_that_is_done_none(
    rests: float | None, times: list[float]
) -> None:
    Reader.rests, timer = rests, Timer()
    turn(made(), Cell(encode_reading(READING)), timer)
    assert times == timer.times


def test_a_turn_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_RECORDS", 3)
    fn, cell, timer = made(), Cell(encode_reading(READING)), Timer()
    Reader.upto = 12
    assert [([5, 6, 7], 8), ([8, 9, 10], 11), ([11], 12)] == [turn(fn, cell, timer) for _ in range(3)]


@pytest.mark.parametrize(("process", "ended"), [(ME, 3.0), ("another", 0.0)], ids=["ours", "another"])
def test_what_was_read_is_final_when_the_engine_says_so(
    process: str, ended: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[Reading, float]] = []
    monkeypatch.setattr(turns, "final", lambda *what: said.append(what))
    bundle = Bundle()
    turns._FinalFn().process((process, 3.0, encode_reading(READING)), bundle)
    assert not said
    for callback in bundle.callbacks:
        callback()
    assert [(READING, ended)] == said


def rest(monkeypatch: pytest.MonkeyPatch, committed: int, **fields: object) -> float | None:
    """Of a reader, where the engine has what is before this offset for good."""
    monkeypatch.setattr(source, "_looked", {})
    monkeypatch.setattr(source, "_committer", lambda *_: None)
    monkeypatch.setattr(source, "committed", lambda _, places: dict.fromkeys(places, committed))
    return source.Reader(replace(READING, **fields)).rest()


def test_who_has_read_all_it_was_to_read_needs_no_turn_once_the_engine_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    part = READING.parts[0]
    at_end, before_end = replace(part, start=9, stop=9), replace(part, start=8, stop=9)
    assert rest(monkeypatch, 9, parts=(at_end,)) is None
    assert 0.5 == rest(monkeypatch, 8, parts=(at_end,))
    assert 0.0 == rest(monkeypatch, 9, parts=(at_end, before_end))
    assert 0.0 == rest(monkeypatch, 9)
    assert 0.5 == rest(monkeypatch, 9, first=(at_end,)), "others are read first"


def test_a_place_is_read_as_ever() -> None:
    """A job that goes on from a savepoint gets what another version left in its cells."""
    assert STORED == decode_reading((Path(__file__).parents[1] / "data" / "stored" / "place.bin").read_bytes())
