"""Clients take turns by a timer, each from the place that it left; and say when what they read is final."""

import os
from typing import Any

import pytest
from msgspec.structs import replace

from pipeline.streaming import turns
from pipeline.streaming.kafka import Kafka, Record
from pipeline.streaming.source import Part, Reading, decode_reading, encode_reading

LOG = Kafka("localhost:9092", "shop")
READING = Reading((Part(LOG, "shop.facts", 0, 5),), "job")


class Reader:
    """Of a topic in which each record is its offset. `upto`: what is there now."""

    upto = 0
    made: list[int] = []  # where readers began

    def __init__(self, reading: Reading) -> None:
        self._reading, self._at = reading, reading.parts[0].start
        Reader.made.append(self._at)

    def record(self) -> Record | None:
        if self._at >= Reader.upto:
            return None
        self._at += 1
        return Record("shop.facts", 0, self._at - 1, b"key", b"%d" % (self._at - 1))

    def reading(self) -> Reading:
        return replace(self._reading, parts=(replace(self._reading.parts[0], start=self._at),))


class Cell:
    def __init__(self, held: bytes = b"") -> None:
        self.held, self.writes = held, 0

    def read(self) -> bytes:
        return self.held

    def write(self, held: bytes) -> None:
        self.held, self.writes = held, self.writes + 1


class Timer:
    def __init__(self) -> None:
        self.times: list[float] = []

    def set(self, at: Any) -> None:
        self.times.append(float(at))


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "Reader", Reader)
    Reader.upto, Reader.made = 0, []


def made() -> turns._TurnFn:
    fn = turns._TurnFn(lambda: 7.0)
    fn.setup()
    return fn


def turn(fn: turns._TurnFn, cell: Cell, timer: Timer) -> tuple[list[int], int]:
    """What is read in a turn, and the next offset that the place says."""
    *records, place = fn.read(b"0", cell, timer)
    assert place.tag == "places"
    assert place.value[0] == os.getpid()
    assert place.value[2] == cell.held
    return [int(value) for _, _, value in records], decode_reading(cell.held).parts[0].start


def test_a_client_goes_on_where_it_ended_and_asks_for_another_turn() -> None:
    fn, cell, timer = made(), Cell(), Timer()
    fn.process((b"0", encode_reading(READING)), cell, timer)
    for upto, expected in ((8, [5, 6, 7]), (8, []), (10, [8, 9])):
        Reader.upto = upto
        assert (expected, upto) == turn(fn, cell, timer)
    assert [7.0] * 4 == timer.times
    assert 3 == cell.writes, "a turn in which nothing was read leaves the place as it is"
    assert [5] == Reader.made


def test_a_place_that_this_process_did_not_leave_is_gone_to() -> None:
    """The job went back to a checkpoint, or another process read on."""
    fn, cell, timer = made(), Cell(encode_reading(READING)), Timer()
    Reader.upto = 20
    turn(fn, cell, timer)
    cell.held = encode_reading(replace(READING, parts=(replace(READING.parts[0], start=12),)))
    assert ([*range(12, 20)], 20) == turn(fn, cell, timer)
    assert [5, 12] == Reader.made


def test_a_turn_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_RECORDS", 3)
    fn, cell, timer = made(), Cell(encode_reading(READING)), Timer()
    Reader.upto = 12
    assert [([5, 6, 7], 8), ([8, 9, 10], 11), ([11], 12)] == [turn(fn, cell, timer) for _ in range(3)]


@pytest.mark.parametrize(("process", "ended"), [(os.getpid(), 3.0), (0, 0.0)])
def test_what_was_read_is_final_when_the_engine_says_so(
    process: int, ended: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[Reading, float]] = []
    monkeypatch.setattr(turns, "final", lambda *what: said.append(what))

    class Bundle:
        def register(self, callback: Any) -> None:
            self.final = callback

    bundle = Bundle()
    turns._FinalFn().process((process, 3.0, encode_reading(READING)), bundle)
    assert not said
    bundle.final()
    assert [(READING, ended)] == said
