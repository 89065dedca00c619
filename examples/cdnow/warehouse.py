"""The customers of the example as a table of a DuckDB file: `python -m examples.cdnow.warehouse --out FILE`."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from examples.cdnow.derive import events
from examples.cdnow.purchases import LAST_DAY, part, read
from schemas.events import AnyEvent, Audience, Delete, Profile, Trait

_SCHEMA = pa.schema(
    [
        ("customer_id", pa.string()),
        ("emails", pa.list_(pa.string())),
        ("first_name", pa.string()),
        ("revenue_180_days", pa.float64()),
        ("last_order_value", pa.float64()),
        ("is_big_spender", pa.bool_()),
        ("ordered_recently", pa.bool_()),
        ("updated_at", pa.timestamp("us", tz="UTC")),
    ]
)
_COLUMNS = {
    "total_revenue_180_days": "revenue_180_days",
    "last_order_value": "last_order_value",
    "big_spenders": "is_big_spender",
    "order_completed_last_30_days": "ordered_recently",
}

Line = dict[str, object]


def customers(told: Iterable[AnyEvent]) -> Iterator[Line]:
    """One row for each customer, as the events leave it. Who wants to be forgotten has none."""
    rows: dict[str, Line] = {}
    for event in sorted(told, key=lambda event: event.at):
        if isinstance(event, Delete):
            rows.pop(event.profile_id, None)
        elif isinstance(event, Profile | Trait | Audience) and event.profile_id:
            _learn(rows.setdefault(event.profile_id, _new(event.profile_id)), event)
    return iter(rows.values())


def _new(customer: str) -> Line:
    return {"customer_id": customer, "emails": [], "is_big_spender": False, "ordered_recently": False}


def _learn(row: Line, event: Profile | Trait | Audience) -> None:
    row["updated_at"] = event.at
    if isinstance(event, Profile):
        emails = row["emails"]
        assert isinstance(emails, list)
        emails += [each.id for each in event.external_ids if each.type == "email"]
        row |= {name: value for name, value in event.traits.items() if name == "first_name"}
    elif column := _COLUMNS.get(event.computation):
        row[column] = event.value if isinstance(event, Trait) else event.member


def write(rows: Iterable[Line], path: Path) -> int:
    """Write the table `customers` anew; the number of its rows."""
    table = pa.Table.from_pylist([*rows], _SCHEMA)
    with duckdb.connect(str(path)) as duck:
        duck.register("given", table)
        duck.execute("CREATE OR REPLACE TABLE customers AS SELECT * FROM given ORDER BY customer_id")
    return int(table.num_rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.cdnow.warehouse", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the DuckDB file")
    parser.add_argument(
        "--until", type=date.fromisoformat, default=LAST_DAY, metavar="DAY", help="last day (default %(default)s)"
    )
    parser.add_argument("--customers", type=int, metavar="N", help="only so many, evenly spread (default all)")
    options = parser.parse_args(arguments)
    purchases = read()
    if options.customers:
        purchases = part(purchases, options.customers)
    end = datetime.combine(options.until, time(), UTC) + timedelta(days=1)
    rows = customers(event for event in events(purchases) if event.at < end)
    print(f"{options.out}: {write(rows, options.out):,} customers, as of the end of {options.until}")


if __name__ == "__main__":
    main()
