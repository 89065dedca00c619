"""Killed at any moment: a portion is whole or absent, a mark whose future was done is there, receipts are in order."""

import os
import time
from pathlib import Path
from random import Random

import pytest

from pipeline.log import SqliteLog
from pipeline.sent import Receipts, waiting
from pipeline.state_db import StateDb
from tests.pipeline.stores import (
    HOOK,
    NUMBER,
    append,
    asks_in,
    call,
    cancel,
    delivered,
    fold,
    opened_log,
    process,
)
from transforms.sending.log import Mark, Writing

KILLS = 6
PORTION = 40  # calls and subjects


def say(file: int, number: int) -> None:
    os.write(file, b"%d\n" % number)


def said(path: Path) -> list[int]:
    """Whole lines only."""
    return [int(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []


def decide(folder: Path, told: Path) -> None:
    """Portion after portion: each of its subjects, its calls and a number."""
    out = os.open(told, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    with StateDb.use(folder) as db:
        while True:
            number = db.subjects() // PORTION
            with db.portion() as portion:
                asks = portion.asks()
                portion.put({f"{number:06}-{each:02}": b"x" * 500 for each in range(PORTION)})
                portion.append(NUMBER, [call(next(asks), slot=number + 1) for _ in range(PORTION)])
            say(out, number)


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_portion_is_whole_or_absent(tmp_path: Path, seed: int) -> None:
    folder, told, random = tmp_path / "state", tmp_path / "told", Random(seed)
    with StateDb.use(folder, make=True):
        pass
    for _ in range(2):
        with process(decide, folder, told):
            begun = len(said(told))
            until = time.monotonic() + 20
            while len(said(told)) == begun and time.monotonic() < until:
                time.sleep(0.001)
            time.sleep(random.random() * 0.05)
    with StateDb.use(folder) as db:
        done = said(told)
        states = [name.partition("-")[0] for name in db.names("", 1_000_000)]
        slots = [slot for (slot,) in db.rows("SELECT slot FROM calls")]
        assert {PORTION} == {states.count(number) for number in states} == {slots.count(slot) for slot in slots}
        assert {f"{number:06}" for number in done} <= {*states}
        assert {int(number) + 1 for number in states} == {*slots}
        assert len(slots) == db.made(NUMBER) == waiting(folder, HOOK, NUMBER) == waiting(folder, HOOK, NUMBER, True)
        assert [("ok",)] == db.rows("PRAGMA integrity_check")


def deliver(folder: Path, told: Path) -> None:
    """Call after call: a mark, then its receipt, some of them at once; what is durable is told."""
    out = os.open(told, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    log = SqliteLog(folder, HOOK, NUMBER)
    calls = [each.call for each in log.read(False, 0, 1_000_000)]
    random = Random(os.getpid())
    while calls:
        batch, calls = calls[:7], calls[7:]
        marked = [log.write(Writing(marks={each.ask: Mark(maybe=True)})) for each in batch]
        for each, done in zip(batch, marked, strict=True):
            done.result()
            say(out, each.ask)
        random.shuffle(batch)
        settled = [log.write(Writing(receipts=[delivered(each)])) for each in batch]
        for each, done in zip(batch, settled, strict=True):
            done.result()
            say(out, -each.ask)


@pytest.mark.parametrize("seed", range(KILLS))
def test_what_was_said_to_be_durable_is_there(tmp_path: Path, seed: int) -> None:
    folder, told, random = tmp_path / "state", tmp_path / "told", Random(seed)
    number = 3_000
    with StateDb.use(folder, make=True) as db:
        append(db, [cancel(ask) if ask % 50 == 0 else call(ask) for ask in range(1, number + 1)])
        for _ in range(3):
            with process(deliver, folder, told):
                begun = len(said(told))
                until = time.monotonic() + 20
                while len(said(told)) == begun and time.monotonic() < until:
                    time.sleep(0.001)
                time.sleep(random.random() * 0.05)
            check(db, folder, said(told), number)
            fold(db, most=random.randrange(1, 500))
            assert waiting(folder, HOOK, NUMBER) == waiting(folder, HOOK, NUMBER, quickly=True)


def check(db: StateDb, folder: Path, done: list[int], number: int) -> None:
    order = [-ask for ask in done if ask < 0]
    receipts = Receipts(folder, HOOK)
    told = receipts.after(0, 1_000_000)
    settled = [each.receipt.ask for each in told]
    receipts.close()
    assert order == [ask for ask in settled if ask in {*order}], "receipts are in the order in which they were written"
    assert [*range(1, len(told) + 1)] == [each.position for each in told]
    assert len(settled) == len({*settled})
    with opened_log(folder) as log:
        maybe = {each.call.ask for each in log.read(False, 0, 1_000_000) if each.mark.maybe}
        assert {ask for ask in done if ask > 0} - {*settled} <= maybe
        assert len(maybe) <= 3 * 7, "what was taken up, and no more"
        assert sorted({*range(1, number + 1)} - {*settled}) == asks_in(log)
