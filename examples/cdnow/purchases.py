"""The purchases: who, when, for how much. Real, but for the time of day."""

import gzip
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from examples.cdnow.chance import Chance

FILE = Path(__file__).with_name("CDNOW_master.txt.gz")
FIRST_DAY = date(1997, 1, 1)
LAST_DAY = date(1998, 6, 30)

_OPENS = 8 * 3600  # seconds of the day between which people order
_CLOSES = 22 * 3600


class Purchase(NamedTuple):
    """A line of the file."""

    customer: str  # five digits
    day: date
    cents: int


class Order(NamedTuple):
    """What a customer bought on one day."""

    at: datetime
    cents: int


def read(file: Path = FILE) -> list[Purchase]:
    """All purchases, by customer and day."""
    with gzip.open(file, "rt", encoding="ascii") as text:
        next(text)
        rows = [line.split() for line in text]
    return [Purchase(who, date.fromisoformat(day), round(float(dollars) * 100)) for who, day, _, dollars in rows]


def part(purchases: Iterable[Purchase], customers: int) -> list[Purchase]:
    """The purchases of so many customers, evenly spread over all."""
    by_customer = [list(group) for _, group in groupby(purchases, lambda purchase: purchase.customer)]
    count = min(customers, len(by_customer))
    chosen = (by_customer[number * len(by_customer) // count] for number in range(count))
    return [purchase for group in chosen for purchase in group]


def orders(purchases: Iterable[Purchase]) -> Iterator[tuple[str, list[Order]]]:
    """Each customer's orders, oldest first. What was bought on one day is one order, at a made-up time."""
    for customer, group in groupby(purchases, lambda purchase: purchase.customer):
        chance = Chance(customer)
        days: dict[date, int] = {}
        for purchase in group:
            days[purchase.day] = days.get(purchase.day, 0) + purchase.cents
        yield customer, [Order(_time_of(day, chance), cents) for day, cents in sorted(days.items())]


def _time_of(day: date, chance: Chance) -> datetime:
    seconds = chance.between(_OPENS, _CLOSES, f"order {day}")
    return datetime.combine(day, time(), UTC) + timedelta(seconds=seconds)
