"""A snapshot of a table with 1 % of its rows changed: to event lines, and DuckDB doing the same diff alone.

    python -m benchmarks.tables [--rows 5000000]

A row: a key, two addresses in a list, a number, a text, a truth value. Each is measured in a process of its own. Its
CPU, of all cores, is with Python's start.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from benchmarks.machine import facts, peak_memory
from pipeline.sources import reading
from pipeline.state_db import StateDb
from schemas.workspace import Computation, Source, Workspace
from transforms.logic.detect import micros

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COMPUTATIONS = (Computation("Vip", "audience", "vip", "vip"), Computation("Score", "trait", "score", "score"))
WORKSPACE = Workspace("benchmark", COMPUTATIONS, ())


def write_table(path: Path, rows: int, changed: bool) -> None:
    """A Parquet file; `changed`: of every hundredth row the number is another one."""
    score = "i + CASE WHEN i % 100 = 0 THEN 1 ELSE 0 END" if changed else "i"
    query = (
        f"SELECT 'customer-' || i AS id, ['c' || i || '@example.com', 'd' || i || '@example.com'] AS emails, "
        f"{score} AS score, 'plan ' || i % 7 AS plan, i % 3 = 0 AS vip FROM range({rows}) t(i)"
    )
    with duckdb.connect() as duck:
        duck.execute("SET memory_limit = '1GB'")
        duck.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")


def ours(folder: Path, table: str) -> str:
    """Read the table, and write the events of what is new in it, as a run does."""
    source = Source(
        name="customers",
        key="id",
        file=str(folder / f"{table}.parquet"),
        identifiers={"email": ("emails",)},
        traits={"score": "score", "plan": "plan"},
        audiences={"vip": "vip"},
    )
    began = time.perf_counter()
    with (
        closing(StateDb.open(folder / "state")) as db,
        reading(WORKSPACE, (source,), folder / "state", db, micros(NOW)) as tables,
    ):
        lines = int(subprocess.run(["wc", "-l", *tables.files], capture_output=True, check=True).stdout.split()[0])
        tables.begin()
        tables.commit(db)
    seconds = time.perf_counter() - began
    return f"ours, {table}: {_used(seconds)}, {lines:,} events"


def alone(folder: Path) -> str:
    """The same comparison of the two files, and nothing else."""
    columns = ("emails", "score", "plan", "vip")
    unlike = " OR ".join(f"n.{column} IS DISTINCT FROM o.{column}" for column in columns)
    query = (
        f"SELECT count(*) FROM (SELECT n.*, o.* FROM '{folder}/second.parquet' n FULL JOIN '{folder}/first.parquet' o "
        f"ON n.id = o.id WHERE {unlike} OR n.id IS NULL OR o.id IS NULL)"
    )
    began = time.perf_counter()
    with duckdb.connect() as duck:
        duck.execute("SET memory_limit = '1GB'")
        duck.execute(f"SET temp_directory = '{folder}'")
        ((changed,),) = duck.execute(query).fetchall()
    seconds = time.perf_counter() - began
    return f"DuckDB alone: {_used(seconds)}, {changed:,} rows differ"


def _used(seconds: float) -> str:
    return f"{seconds:.1f} s, {time.process_time():.1f} s of CPU, peak {peak_memory():.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--part", choices=("first", "second", "alone"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(alone(options.folder) if options.part == "alone" else ours(options.folder, options.part))
        return
    print(facts(), f"DuckDB {duckdb.__version__}", sep=", ")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        StateDb.create(folder / "state")
        for table in ("first", "second"):
            write_table(folder / f"{table}.parquet", options.rows, changed=table == "second")
        for part in ("first", "second", "alone"):
            command = [sys.executable, "-m", "benchmarks.tables", "--part", part, "--folder", name]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
