"""kill -9 while the events of a table are folded: the next run makes it good, also where the table changed back."""

import time
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.state_db import StateDb
from schemas.registry import decode_registry
from schemas.state import decode_profile
from tests.pipeline.conftest import Shop
from tests.pipeline.killing import PROCESSES
from tests.pipeline.tables import customer, with_source, write_table
from tests.pipeline.test_tables import everything, snapshots, told

PATIENCE = 60.0  # seconds


def wait_for(path: Path) -> None:
    until = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.002)


@pytest.mark.parametrize("moment", ["begun", "folding"])
def test_a_killed_run_is_made_good(shop: Shop, moment: str) -> None:
    table = shop.root / "customers.parquet"
    with_source(shop, f"    file: {table}\n")
    people = [customer(f"p{n}", score=n, emails=[]) for n in range(4)]
    write_table(table, people)
    assert 0 == shop.run(more=("--now", "2026-01-01T00:00:00Z"))
    assert everything(*people) == told(shop)

    crowd = [customer(f"q{n}", vip=False, score=None, emails=[]) for n in range(3_000 if moment == "folding" else 0)]
    write_table(table, [{**row, "score": 100 + row["score"]} for row in people] + crowd)
    process = PROCESSES.Process(target=main, args=(["run", *shop.common(), "--now", "2026-01-02T00:00:00Z"],))
    process.start()
    wait_for(shop.state / "sources" / "customers" / "000002.parquet")
    if moment == "folding":
        time.sleep(0.3)  # anywhere in the fold or beyond it: the test holds wherever it is
    process.kill()
    process.join()

    write_table(table, [{**people[0], "score": 7}, *people[1:], *crowd])  # but for one, all as at first
    assert 0 == shop.run(more=("--now", "2026-01-03T00:00:00Z"))
    told(shop)
    assert 1 == len(snapshots(shop))  # and no folder of the killed run
    assert 0 == shop.run(more=("--now", "2026-01-04T00:00:00Z"))
    assert set() == told(shop)
    values = known_values(shop)
    assert [7, 1, 2, 3] == [values[f"p{n}"] for n in range(4)]


def known_values(shop: Shop) -> dict[str, object]:
    """The score of everybody, as the state has it."""
    with closing(StateDb.open(shop.state, to_read=True)) as db:
        number = decode_registry(db.registry()).computations.index("score")
        packed = db.get(db.names("\x01", 10_000))
    return {name: decode_profile(state).values[number][1] for name, state in packed.items()}
