"""The tables of a service, without the service: what is due, what is folded again, what a lost process leaves."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.state_db import StateDb
from pipeline.table_feed import Served, TableFeed
from pipeline.table_stamps import is_still, stamp_of
from schemas.secret import Secret
from schemas.workspace import Source
from tests.pipeline.serving import until
from tests.pipeline.tables import Line, customer, write_database, write_table
from transforms.logic.portion import Lines

LONG_AGO = 1_700_000_000.0


class World:
    """A feed of tables in a folder, and its state."""

    def __init__(self, root: Path) -> None:
        self.root = root
        StateDb.create(root / "state")
        self.db = StateDb.open(root / "state")
        self.feed = TableFeed(root / "state", accepted=False)

    def serve(self, *sources: Source) -> None:
        self.feed.take_over(Served(sources, frozenset(("vip", "score"))))

    def table(self, name: str, *rows: Line, at: float = LONG_AGO) -> Source:
        path = write_table(self.root / f"{name}.csv", rows)
        os.utime(path, (at, at))
        return Source(name, "id", file=str(path), traits={"score": "score"}, audiences={"vip": "vip"}, every=3600.0)

    def next(self) -> Lines:
        """What is to be folded next."""

        def looked() -> Lines | None:
            self.feed.look(self.db)
            return self.feed.take()

        found: Lines = until(looked)
        return found

    def fold(self) -> int:
        """Fold the next table; how many events."""
        events = 0
        while (lines := self.next()).lines:
            events += len(lines.lines)
            self.feed.took(self.db)
        self.feed.took(self.db)
        return events

    def left(self) -> list[str]:
        return [path.name for path in (self.root / "state" / "sources").glob("reading-*")]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    with closing(world.db):
        yield world
    world.feed.end()
    assert [] == world.left()


def test_each_source_has_its_turn_and_what_is_unchanged_is_not_read(world: World) -> None:
    one, two = world.table("one", customer("ana")), world.table("two", customer("ben"), customer("eve"))
    world.serve(one, two)
    assert [2, 4] == sorted([world.fold(), world.fold()])
    world.feed.look(world.db)
    assert world.feed.take() is None
    assert [(1, False), (2, False)] == [(each.changes, each.reading) for each in world.feed.standings().values()]
    assert not any(each.trouble for each in world.feed.standings().values())


def test_what_could_not_be_folded_is_taken_again(world: World) -> None:
    world.serve(world.table("one", customer("ana")))
    assert world.next() is world.next()
    world.feed.took(world.db)
    assert [] == world.next().lines
    world.db.close()  # a disk that cannot be used
    with pytest.raises(Exception, match="closed"):
        world.feed.took(world.db)
    world.db = StateDb.open(world.root / "state")
    assert [] == world.next().lines
    world.feed.took(world.db)
    assert world.feed.standings()["one"].read_at


def test_a_process_that_is_killed_is_trouble_in_words(world: World) -> None:
    source = world.table("one", customer("ana"))
    world.serve(source)
    world.feed.look(world.db)
    assert world.feed._current
    os.kill(world.feed._current.reading._process.pid, signal.SIGKILL)
    until(lambda: world.feed.look(world.db) or world.feed.standings()["one"].trouble)
    assert (
        "source one: the process that read it was killed by signal 9; see the log, and that it has 2 GB of memory"
        == world.feed.standings()["one"].trouble
    )
    assert [] == world.left()
    world.serve(source)  # a reload: what is in trouble is tried at once
    assert 2 == world.fold()
    assert "" == world.feed.standings()["one"].trouble


def test_a_database_out_of_reach_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    database = world.root / "warehouse" / "customers.db"
    monkeypatch.setenv("WAREHOUSE_URL", f"sqlite:///{database}")
    url, query = Secret("${WAREHOUSE_URL}"), "SELECT * FROM customers"
    source = Source("one", "id", url=url, query=query, traits={"score": "score"}, every=0.01)
    world.serve(source)
    until(lambda: world.feed.look(world.db) or world.feed.standings()["one"].trouble)
    assert "the database cannot be read (unable to open database file)" in world.feed.standings()["one"].trouble
    database.parent.mkdir()
    write_database(database, [customer("ana")])
    assert 1 == world.fold()
    assert "" == world.feed.standings()["one"].trouble


def test_what_a_killed_service_left_is_removed(world: World) -> None:
    left = world.root / "state" / "sources" / "reading-abc"
    left.mkdir(parents=True)
    world.serve()
    assert not left.exists()


def test_a_source_that_changes_while_it_is_read_is_read_anew(world: World) -> None:
    source = world.table("one", customer("ana"), customer("ben"))
    world.serve(source)
    world.next()
    other = Source("one", "id", file=source.file, traits={"score": "score"}, every=3600.0)
    world.serve(other)
    assert [] == world.left()
    assert 4 == world.fold()  # what was begun is told first, and it had the audience
    world.serve()
    assert {} == world.feed.standings()


def test_a_disk_that_is_full_is_trouble_of_the_source(world: World) -> None:
    (world.root / "state" / "sources").write_text("no folder can be made here")
    world.serve(world.table("one", customer("ana")))
    world.feed.look(world.db)
    assert "cannot be written" in world.feed.standings()["one"].trouble
    (world.root / "state" / "sources").unlink()


def test_a_file_that_is_written_to_is_waited_for(world: World) -> None:
    source = world.table("one", customer("ana"), at=time.time())
    assert is_still(stamp_of(source)) is False
    world.table("one", customer("ana"))
    assert is_still(stamp_of(source)) is True
    world.table("one", customer("ana"), at=time.time() + 3600.0)  # of a clock that is ahead
    assert is_still(stamp_of(source)) is True


def test_a_stamp_says_when_a_table_may_have_changed(world: World) -> None:
    source = world.table("one", customer("ana"))
    first = stamp_of(source)
    assert first == stamp_of(source)
    world.table("one", customer("ana"), at=LONG_AGO + 0.001)
    assert first != stamp_of(source)
    warehouse = Source("two", "id", duckdb=str(world.root / "two.duckdb"), query="SELECT 1")
    write_table(Path(warehouse.duckdb), [customer("ana")])
    before = stamp_of(warehouse)
    Path(f"{warehouse.duckdb}.wal").write_text("what is not taken in yet")
    assert before != stamp_of(warehouse)
    assert stamp_of(Source("three", "id", url=Secret("${WAREHOUSE_URL}"), query="SELECT 1")) is None
