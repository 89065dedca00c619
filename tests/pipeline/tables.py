"""For tests of sources: a shop that reads a table of customers, as a file that a test writes anew."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tests.pipeline.conftest import Shop

Line = dict[str, Any]

MAPPING = """\
    key: id
    identifiers: {user_id: id, email: emails}
    traits: {score: score, plan: plan}
    audiences: {vip: vip}
"""


def with_source(shop: Shop, place: str, more: str = "", mapping: str = MAPPING) -> None:
    """Give the shop's workspace a source: where it is, and which column says what."""
    text = shop.workspace.read_text().partition("sources:")[0]
    shop.workspace.write_text(f"{text}sources:\n  - name: customers\n{place}{mapping}{more}")


def customer(id: Any, vip: Any = True, score: Any = 1, plan: Any = "gold", emails: Any = None, **more: Any) -> Line:
    found = [f"{id}@x.example"] if emails is None else emails
    return {"id": id, "vip": vip, "score": score, "plan": plan, "emails": found, **more}


def write_table(path: Path, rows: Iterable[Line], schema: pa.Schema | None = None) -> Path:
    table = pa.Table.from_pylist([*rows], schema)
    match path.suffix:
        case ".parquet":
            pq.write_table(table, path)
        case ".duckdb":
            with closing(duckdb.connect(str(path))) as duck:
                duck.register("given", table)
                duck.execute("CREATE OR REPLACE TABLE customers AS SELECT * FROM given")
        case ".csv" | ".json":
            with closing(duckdb.connect()) as duck:
                duck.register("given", table)
                duck.execute(f"COPY given TO '{path}' (FORMAT {path.suffix[1:]})")
    return path


def write_database(path: Path, rows: Iterable[Line]) -> Path:
    """SQLite: no lists, no truth values, no times."""
    rows = [*rows]
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TABLE IF EXISTS customers")
        database.execute("CREATE TABLE customers (id, vip, score, plan, emails)")
        database.executemany(
            "INSERT INTO customers VALUES (?, ?, ?, ?, ?)",
            [(row["id"], row["vip"], row["score"], row["plan"], (row["emails"] or [None])[0]) for row in rows],
        )
    return path
