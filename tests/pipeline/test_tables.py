"""Tables as input: what changed in one is told, and a wrong one is stopped before anything is sent."""

import json
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.state_db import StateDb
from tests.pipeline.conftest import Shop
from tests.pipeline.running import profile, summary_of, vip
from tests.pipeline.tables import customer, with_source, write_database, write_table

Capture = pytest.CaptureFixture[str]
ANA, BEN, EVE = customer("ana"), customer("ben", vip=False, score=2), customer("eve", score=3, emails=[])


@pytest.fixture
def table(shop: Shop) -> Path:
    """Where a test writes its table."""
    path = shop.root / "customers.parquet"
    with_source(shop, f"    file: {path}\n")
    return path


def told(shop: Shop) -> set[tuple[str, str, Any]]:
    """What the vendor heard since the last time in identify calls: who, key, value."""
    found = set()
    for message in shop.receiver.messages:
        if message["type"] == "identify":
            who = message.get("userId") or message["traits"]["email"]
            found |= {(who, key, value) for key, value in message["traits"].items() if key in ("vip", "score")}
    shop.receiver.messages.clear()
    return found


def everything(*rows: dict[str, Any]) -> set[tuple[str, str, Any]]:
    """What is told first of these rows."""
    return {
        (who, key, row[key])
        for row in rows
        for who in (row["id"], *row["emails"])
        for key in ("vip", "score")
        if row[key] is not None and row[key] is not False
    }


def run(shop: Shop, *rows: dict[str, Any], day: int = 1, more: tuple[str, ...] = (), code: int = 0) -> None:
    """A run after the table became these rows."""
    if rows:
        write_table(shop.root / "customers.parquet", rows)
    assert code == shop.run(more=("--now", f"2026-01-{day:02}T00:00:00Z", *more))


def snapshots(shop: Shop) -> list[str]:
    folder = shop.state / "sources"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# -- what changed


def test_only_changed_rows_become_events(shop: Shop, table: Path) -> None:
    run(shop, ANA, BEN, EVE)
    assert everything(ANA, BEN, EVE) == told(shop)
    run(shop, ANA, BEN, EVE, day=2)
    assert set() == told(shop)
    assert 0 == summary_of(shop.state)["input"].get("read", 0)
    run(shop, ANA, {**BEN, "vip": True}, EVE, day=3)
    assert {("ben", "vip", True), ("ben@x.example", "vip", True)} == told(shop)
    assert 1 == summary_of(shop.state)["input"]["read"]
    assert ["customers/000003.parquet"] == snapshots(shop)


def test_a_row_that_is_gone_leaves_and_one_that_is_back_enters(shop: Shop, table: Path) -> None:
    run(shop, ANA, BEN)
    told(shop)
    run(shop, BEN, day=2, more=("--accept-changes",))
    assert {(who, *said) for who in ("ana", "ana@x.example") for said in (("vip", False), ("score", None))} == told(
        shop
    )
    run(shop, {**ANA, "emails": ["new@x.example"]}, BEN, day=3)
    assert {(who, *said) for who in ("ana", "new@x.example") for said in (("vip", True), ("score", 1))} == told(shop)


def test_rows_that_are_gone_may_be_kept(shop: Shop, table: Path) -> None:
    with_source(shop, f"    file: {table}\n", "    on_missing: keep\n    max_lost: 100%\n")
    run(shop, ANA, BEN)
    told(shop)
    run(shop, BEN, day=2)
    run(shop, ANA, BEN, day=3)
    assert set() == told(shop)


def test_people_whose_rows_are_gone_may_be_forgotten(shop: Shop, table: Path) -> None:
    with_source(shop, f"    file: {table}\n", "    on_missing: forget\n    max_lost: 100%\n")
    run(shop, ANA, BEN)
    run(shop, BEN, day=2)
    shop.receiver.messages.clear()
    run(shop, ANA, BEN, day=3)
    assert everything(ANA) == told(shop)


def test_of_who_was_deleted_nothing_is_kept_when_the_row_is_gone(shop: Shop, table: Path) -> None:
    with_source(shop, f"    file: {table}\n", "    max_lost: 100%\n")
    run(shop, ANA, BEN)
    deletion = {"type": "delete", "profile_id": "ana", "at": "2026-01-02T00:00:00Z"}
    assert 0 == shop.run(deletion, more=("--now", "2026-01-02T00:00:00Z"))
    assert 2 == kept(shop)  # as the table has it
    told(shop)
    run(shop, BEN, EVE, day=3)
    assert everything(EVE) == told(shop)
    assert 2 == kept(shop)
    with closing(StateDb.open(shop.state, to_read=True)) as db:
        assert ["ben", "eve"] == db.names("\x01", 10)  # to leave what one is not in makes nobody known again
    run(shop, EVE, day=4)
    assert 2 == kept(shop)  # of Ben, who was not deleted, what his row said last
    told(shop)
    run(shop, ANA, BEN, EVE, day=5)
    assert everything(ANA, BEN) == told(shop)


def test_who_is_deleted_is_not_known_again_while_a_vendor_has_not_heard_of_it(shop: Shop, table: Path) -> None:
    with_source(shop, f"    file: {table}\n", "    max_lost: 100%\n")
    run(shop, ANA, BEN)
    deletion = {"type": "delete", "profile_id": "ana", "at": "2026-01-02T00:00:00Z"}
    shop.receiver.answer = lambda host, message: 503
    assert 4 == shop.run(deletion, more=("--now", "2026-01-02T00:00:00Z", "--retry-for", "1s"))
    shop.receiver.answer = lambda host, message: 200
    run(shop, BEN, day=3)
    with closing(StateDb.open(shop.state, to_read=True)) as db:
        assert ["ben"] == db.names("\x01", 10)
    run(shop, BEN, day=4)
    assert 1 == kept(shop)


def kept(shop: Shop) -> int:
    """How many rows the snapshot has."""
    (path,) = snapshots(shop)
    return int(pq.read_metadata(shop.state / "sources" / path).num_rows)


def test_nobody_may_have_an_address(shop: Shop, table: Path) -> None:
    run(shop, EVE, {**BEN, "emails": None})
    assert everything(EVE, {**BEN, "emails": []}) == told(shop)


def test_an_address_that_is_dropped_leaves(shop: Shop, table: Path) -> None:
    run(shop, {**ANA, "emails": ["a@x.example", "b@x.example"]})
    told(shop)
    run(shop, {**ANA, "emails": ["b@x.example"]}, day=2)
    assert {("a@x.example", "vip", False)} == told(shop)


def test_tables_and_event_files_are_read_by_one_run(shop: Shop, table: Path) -> None:
    write_table(table, [ANA])
    at = "2026-01-01T00:00:00Z"
    now = ("--now", "2026-01-01T00:00:00Z")
    assert 0 == shop.run(profile("eve", at), vip("eve", at), more=now)
    assert {*everything(ANA), ("eve", "vip", True)} == told(shop)


def test_the_time_of_a_row_is_its_own_where_it_may_be(shop: Shop, table: Path) -> None:
    with_source(shop, f"    file: {table}\n    at: changed\n")
    times = [datetime(2025, 12, 1, tzinfo=UTC), datetime(2025, 11, 1, tzinfo=UTC)]
    run(shop, {**ANA, "changed": times[0]}, {**BEN, "changed": None})
    first = {message["userId"]: message["timestamp"] for message in shop.receiver.messages if "userId" in message}
    assert {"ana": "2025-12-01T00:00:00.000Z", "ben": "2026-01-01T00:00:00.000Z"} == first
    told(shop)
    run(shop, {**ANA, "score": 5, "changed": times[1]}, {**BEN, "changed": None}, day=2)
    assert {("ana", "score", 5), ("ana@x.example", "score", 5)} == told(shop)


def test_a_column_that_is_mapped_later_is_told_of_everybody(shop: Shop, table: Path) -> None:
    mapping = "    key: id\n    identifiers: {user_id: id}\n    audiences: {vip: vip}\n"
    with_source(shop, f"    file: {table}\n", mapping=mapping)
    run(shop, ANA, BEN)
    assert {("ana", "vip", True)} == told(shop)
    with_source(shop, f"    file: {table}\n")
    run(shop, ANA, BEN, day=2)
    assert everything(ANA, BEN) - {("ana", "vip", True)} == told(shop)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_files_of_other_forms(shop: Shop, form: str) -> None:
    with_source(shop, f"    file: {shop.root}/*.{form}\n")
    rows = [customer(f"00{n}", emails=f"{n}@x.example" if form == "csv" else None) for n in range(2)]
    for n, row in enumerate(rows):
        write_table(shop.root / f"{n}.{form}", [row])
    run(shop)
    whole = [
        {**row, "emails": [f"{n}@x.example" if form == "csv" else f"00{n}@x.example"]} for n, row in enumerate(rows)
    ]
    assert everything(*whole) == told(shop)


def test_a_duckdb_file(shop: Shop) -> None:
    write_table(shop.root / "warehouse.duckdb", [ANA, BEN])
    with_source(shop, f"    duckdb: {shop.root}/warehouse.duckdb\n    query: SELECT * FROM customers;\n")
    run(shop)
    assert everything(ANA, BEN) == told(shop)


def test_a_database_behind_a_secret_url(shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    with_source(shop, "    url: ${WAREHOUSE_URL}\n    query: \"SELECT *, ':x' AS y FROM customers\"\n")
    path = shop.root / "warehouse.sqlite"
    monkeypatch.setenv("WAREHOUSE_URL", f"sqlite:///{path}")
    rows = [customer(n, vip=n % 2, score=None if n < 15_000 else n / 2) for n in range(20_000)]
    write_database(path, [*rows[:3], *rows[-3:]])
    run(shop)
    few = [{**row, "id": str(row["id"])} for row in (*rows[:3], *rows[-3:])]
    assert everything(*({**row, "vip": bool(row["vip"])} for row in few)) == told(shop)
    path.unlink()
    run(shop, code=3)
    said = capsys.readouterr()
    assert "source customers: the database cannot be read (no such table: customers)" in said.err
    assert str(path) not in said.err + said.out


def test_a_password_is_in_no_message(shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    with_source(shop, "    url: ${WAREHOUSE_URL}\n    query: SELECT 1\n")
    urls = ("postgres://me:hunter%402@db.example/x", "mysql://me:hunter@2/x", "hunter@2", "sqlite:////no/hunter@2/x")
    for driver, url in zip((True, True, False, False), urls, strict=True):
        monkeypatch.setenv("WAREHOUSE_URL", url)
        run(shop, code=3)
        said = capsys.readouterr()
        assert "source customers: the database cannot be read" in said.err
        assert ("install that driver" in said.err) is driver
        assert "hunter" not in said.err + said.out


# -- wrong tables

MANY = [customer(f"p{n}") for n in range(10)]
NOTHING = pa.Table.from_pylist([ANA]).schema


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"id": "ana"}], "there are no columns emails, score, plan, vip; it has id"),
        ([{**ANA, "mail": 1, "emails": "x"} | {"Vip": True}], None),
        ([{name: value for name, value in ANA.items() if name != "vip"} | {"vips": 1}], "did you mean vips?"),
        ([ANA, ANA, BEN], "the key id is not unique: 1 of its values are in more than one row"),
        ([ANA, {**BEN, "id": None}], "the key id is null or empty in 1 row"),
        ([ANA, {**BEN, "id": "  "}], "the key id is null or empty in 1 row"),
        ([{**ANA, "id": None}], "the key id is null or empty in 1 row"),
        ([{**ANA, "id": True}], "the column id holds true or false; an identifier is text or a whole number"),
        ([{**ANA, "id": 1.5}], "the column id has numbers that are not whole (1 row)"),
        ([{**ANA, "vip": "yes"}], "the column vip holds text; an audience's column has true or false, or 1 and 0"),
        ([{**ANA, "vip": 7}], "the column vip has numbers besides 0 and 1 (1 row)"),
        ([{**ANA, "emails": [1.5]}], "a list of identifiers has text or whole numbers"),
        ([{**ANA, "plan": b"x"}], "the column plan holds BLOB; no event can say that"),
        ([{**ANA, "score": Decimal(2**63)}], "a value in it cannot be read as the type that its column has"),
        ([{**ANA, "plan": "x" * 5_000_000}], "what a row says is longer than 4,194,304 bytes"),
    ],
)
def test_a_wrong_table_is_stopped(
    shop: Shop, table: Path, capsys: Capture, rows: list[dict[str, Any]], words: str | None
) -> None:
    schema = pa.schema([("id", pa.string())]) if rows[0]["id"] is None and len(rows) == 1 else None
    if schema:
        schema = NOTHING
    write_table(table, rows, schema)
    if words is None:  # columns that nobody asked for are nothing to it
        run(shop)
        return
    run(shop, code=3)
    said = capsys.readouterr().err
    assert words in " ".join(said.split())
    assert said.startswith("source customers")
    assert "x.example" not in said
    assert [] == shop.receiver.messages
    assert [] == snapshots(shop)


def test_a_table_without_rows_is_stopped(shop: Shop, table: Path, capsys: Capture) -> None:
    write_table(table, [], NOTHING)
    run(shop, code=3)
    assert "source customers: the table has no rows" in capsys.readouterr().err


def test_a_table_that_lost_rows_needs_consent(shop: Shop, table: Path, capsys: Capture) -> None:
    run(shop, *MANY)
    told(shop)
    for rows in (MANY[3:], []):
        write_table(table, rows, None if rows else NOTHING)
        run(shop, day=2, code=3)
        lost = 10 - len(rows)
        words = f"source customers: {lost} of 10 rows are gone, {lost / 10:.1%} of them; max_lost is 20%"
        assert words in capsys.readouterr().err
        assert set() == told(shop)
        assert ["customers/000001.parquet"] == snapshots(shop)
    run(shop, *MANY[2:], day=3)
    assert ("p0", "vip", False) in told(shop)
    run(shop, MANY[9], day=4, more=("--accept-changes",))
    assert ("p8", "vip", False) in told(shop)


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [(1, "one", "held whole numbers, and now text"), ("1", 1, "held text, and now whole numbers"), (1, 1.5, "")],
)
def test_a_type_that_changed_needs_consent(
    shop: Shop, table: Path, capsys: Capture, before: Any, now: Any, words: str
) -> None:
    run(shop, {**ANA, "score": before}, BEN | {"score": None})
    told(shop)
    run(shop, {**ANA, "score": None}, BEN | {"score": None}, day=2)
    told(shop)
    run(shop, {**ANA, "score": now}, BEN | {"score": None}, day=3, code=3 if words else 0)
    said = capsys.readouterr().err
    if words:
        assert f"source customers: the trait score {words}" in said
        assert set() == told(shop)
        run(shop, day=4, more=("--accept-changes",))
    assert {("ana", "score", now), ("ana@x.example", "score", now)} == told(shop)


def test_a_file_that_is_no_table_is_stopped(shop: Shop, table: Path, capsys: Capture) -> None:
    run(shop, code=3)
    assert "there is no such file" in capsys.readouterr().err
    table.write_bytes(b"nonsense")
    run(shop, code=3)
    assert f"source customers, {table}: " in " ".join(capsys.readouterr().err.split("\n"))
    (shop.root / "two.csv").write_text("id,vip,score,plan,emails\nana,true,1,gold\n")
    assert set() == told(shop)


def test_a_damaged_snapshot_is_told(shop: Shop, table: Path, capsys: Capture) -> None:
    run(shop, ANA, BEN)
    (shop.state / "sources" / "customers" / "000001.parquet").write_bytes(b"PAR1")
    run(shop, ANA, BEN, day=2, code=3)
    assert "000001.parquet: it is damaged" in capsys.readouterr().err


def test_a_lost_snapshot_means_that_the_whole_table_is_read_anew(shop: Shop, table: Path) -> None:
    run(shop, ANA, BEN)
    told(shop)
    (shop.state / "sources" / "customers" / "000001.parquet").unlink()
    run(shop, {**ANA, "vip": False}, BEN, day=2)
    assert {("ana", "vip", False), ("ana@x.example", "vip", False)} == told(shop)


def test_a_clock_that_went_back_loses_nothing(shop: Shop, table: Path, capsys: Capture) -> None:
    run(shop, ANA, BEN, day=2)
    told(shop)
    run(shop, {**ANA, "score": 9}, BEN, more=("--now", "2026-01-01T12:00:00Z"))
    assert {("ana", "score", 9), ("ana@x.example", "score", 9)} == told(shop)
    assert 3 == shop.run(more=("--now", "2025-06-01T00:00:00Z"))
    assert "correct the clock" in capsys.readouterr().err


# -- beside a run


def test_a_plan_reads_tables_and_moves_nothing(shop: Shop, table: Path, capsys: Capture) -> None:
    run(shop, *MANY)
    before, folder = snapshots(shop), [*shop.root.rglob("*")]
    write_table(table, MANY[5:])
    planned = shop.root / "plan.json"
    common = ["--workspace", str(shop.workspace), "--state", str(shop.state), "--now", "2026-01-02T00:00:00Z"]
    assert 0 == shop.main("plan", *common, "--out", str(planned))
    plan = json.loads(planned.read_text())
    assert ["source customers: 5 of 10 rows are gone, 50.0% of them; max_lost is 20%"] == plan["consent"]
    assert {("leave", 5, 10)} == {
        (row["what"], row["people"], row["identifiers"]) for row in plan["rows"] if row["form"] == "track"
    }
    assert before == snapshots(shop)
    assert {planned} == {*shop.root.rglob("*")} - {*folder}


def test_replay_reads_no_table(shop: Shop, table: Path) -> None:
    run(shop, ANA)
    told(shop)
    write_table(table, [ANA, BEN])
    assert 0 == shop.replay()
    assert set() == told(shop)


def test_a_streaming_job_refuses_tables_in_words(shop: Shop, table: Path, capsys: Capture) -> None:
    assert 1 == shop.main("publish", "--workspace", str(shop.workspace), "--log", "kafka://localhost:1/x")
    assert "a streaming job reads no tables" in capsys.readouterr().err
