"""`profilecast export`: every receipt, call and entry is one row, in either format."""

import stat
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet
import pytest

from tests.pipeline.conftest import Shop
from tests.pipeline.running import profile, score, vip

DAY_1 = "2026-01-01T00:00:00Z"
ANA = (
    profile("ana", DAY_1, "ana@x.example"),
    vip("ana", DAY_1),
    score("ana", DAY_1, "a long value, of which a digest"),
)


def exported(shop: Shop, what: str, form: str) -> list[dict[str, Any]]:
    path = shop.root / f"{what}.{form}"
    assert 0 == shop.main("export", what, "--state", str(shop.state), "--out", str(path))
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    table = pyarrow.csv.read_csv(path) if form == "csv" else pyarrow.parquet.read_table(path)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_what_was_told_is_in_receipts_and_ledger(shop: Shop, form: str) -> None:
    shop.run(*ANA)
    receipts, ledger = exported(shop, "receipts", form), exported(shop, "ledger", form)
    assert len(shop.receiver.messages) == len(receipts) == len(ledger)
    assert {("hook", "ana", "delivered")} == {(r["connection"], r["profile_id"], r["outcome"]) for r in receipts}
    assert {("vip", "identify"), ("vip", "track"), ("score", "identify")} == {(r["sync"], r["form"]) for r in ledger}
    told = {row["told"] for row in ledger if row["sync"] == "score"}
    assert 32 == len(told.pop())
    assert [] == exported(shop, "calls", "parquet")


def test_what_waits_is_in_calls(shop: Shop) -> None:
    shop.receiver.answer = lambda host, message: 401
    shop.run(*ANA)
    rows = exported(shop, "calls", "parquet")
    assert {("ana", "vip", "true"), ("ana", "score", '"a long value, of which a digest"')} == {
        (row["profile_id"], row["sync"], row["value"]) for row in rows
    }
    assert 6 == len(rows)


def test_the_format_has_to_be_said(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.run(*ANA)
    assert 1 == shop.main("export", "calls", "--state", str(shop.state), "--out", "calls.txt")
    assert "say --format parquet or --format csv" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_named(shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop.run(*ANA)
    path = tmp_path / "nowhere" / "calls.csv"
    assert 3 == shop.main("export", "calls", "--state", str(shop.state), "--out", str(path))
    assert str(path) in capsys.readouterr().err
