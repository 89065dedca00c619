"""The power goes at any write: what was said to be durable is there, a portion is whole or absent, order is kept."""

import sqlite3
from copy import deepcopy
from pathlib import Path
from random import Random

import pytest

from pipeline import database
from pipeline.sent import make, path_of, waiting
from pipeline.state_db import NAME, StateDb
from tests.pipeline.power import Disk, Opener
from tests.pipeline.stores import HOOK, NUMBER, append, call, cancel, delivered, fold, opened_log
from transforms.sending.log import Mark, Writing

PORTION = 30
CUTS = 25  # in a test


class Said:
    """What was said to be durable."""

    def __init__(self) -> None:
        self.portions: list[int] = []
        self.marks: set[int] = set()
        self.receipts: list[int] = []

    def now(self) -> "Said":
        return deepcopy(self)


class Cuts:
    """Cuts the power at some of the writes; the machine beside it goes on."""

    def __init__(self, disk: Disk, random: Random, into: Path, said: Said) -> None:
        self._disk, self._random, self._into, self._said = disk, random, into, said
        self.found: list[tuple[Path, Said]] = []

    def at_write(self) -> None:
        if len(self.found) < CUTS and self._random.random() < 0.03:
            folder = self._into / str(len(self.found))
            self._disk.cut_power(folder)
            self.found.append((folder, self._said.now()))


@pytest.mark.parametrize("seed", range(6))
def test_the_power_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    folder, said = tmp_path / "state", Said()
    StateDb.create(folder)
    make(folder, HOOK)
    disk = Disk(folder, Random(seed))
    cuts = Cuts(disk, Random(seed), tmp_path / "cut", said)
    disk.at_write = cuts.at_write
    with monkeypatch.context() as patched:
        patched.setattr(database, "opener", Opener(disk))
        use(folder, Random(seed), said)
    assert CUTS == len(cuts.found)
    assert [] == [mistake for found, told in cuts.found for mistake in mistakes(found, told)]


def use(folder: Path, random: Random, said: Said) -> None:
    """Some portions, some deliveries, some receipts folded; large enough for the files to be written through."""
    number = 0
    with StateDb.use(folder) as db:
        for _ in range(12):
            asks = range(number * PORTION + 1, (number + 1) * PORTION + 1)
            append(db, [cancel(ask) if ask % 7 == 0 else call(ask, traits={"x": "y" * 1_500}) for ask in asks])
            said.portions.append(number)
            number += 1
            with opened_log(folder) as log:
                waiting = [each.call for each in log.read(False, 0, random.randrange(20, 60))]
                for start in range(0, len(waiting), 8):
                    batch = waiting[start : start + 8]
                    log.write(Writing(marks={each.ask: Mark(maybe=True) for each in batch})).result()
                    said.marks |= {each.ask for each in batch}
                    settled = random.sample(batch, random.randrange(len(batch) + 1))
                    facts = {"big": "z" * random.randrange(20_000)}
                    log.write(Writing(receipts=[delivered(each) for each in settled], facts=facts)).result()
                    said.receipts += [each.ask for each in settled]
            fold(db, most=random.randrange(1, 40))


def mistakes(found: Path, said: Said) -> list[str]:
    """Of the files as they are found."""
    with sqlite3.connect(found / NAME) as state, sqlite3.connect(path_of(found, HOOK)) as sent:
        asks = {ask for (ask,) in state.execute("SELECT ask FROM calls")}
        receipts = [ask for (ask,) in sent.execute("SELECT ask FROM receipts ORDER BY position")]
        marks = {ask for (ask,) in sent.execute("SELECT ask FROM marks")}
        checks = [*state.execute("PRAGMA integrity_check"), *sent.execute("PRAGMA integrity_check")]
    state.close()
    sent.close()
    freed = {*receipts}
    known = asks | freed
    held = {
        "the files are whole": checks == [("ok",)] * 2,
        "portions are whole": not len(known) % PORTION and known == {*range(1, len(known) + 1)},
        "portions that were said are there": len(known) >= PORTION * len(said.portions),
        "marks that were said are there": said.marks <= marks | freed,
        "receipts that were said are there, in order": receipts[: len(said.receipts)] == said.receipts,
    }
    with StateDb.use(found) as db:
        fold(db)
        held["what waits is known"] = waiting(found, HOOK, NUMBER) == waiting(found, HOOK, NUMBER, quickly=True)
    return [f"{found.name}: not true: {words}" for words, true in held.items() if not true]
