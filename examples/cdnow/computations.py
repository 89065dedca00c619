"""What a profile store computes of a customer's orders, through time: values and when they change.

A window of so many days holds the orders of exactly that time up to now: an order leaves it to
the second.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from examples.cdnow.purchases import Order

REVENUE_WINDOW = timedelta(days=180)
RECENT = timedelta(days=30)
BIG_SPENDER_CENTS = 200_00  # more than this within REVENUE_WINDOW: one customer in forty, most of the time

Change = tuple[datetime, str, bool | float]  # from when on, the computation, its value


def changes(orders: Sequence[Order]) -> Iterator[Change]:
    """Every change of every computation, for one customer's orders (oldest first). Unordered."""
    yield from _of_revenue(orders)
    yield from _of_orders(orders)
    yield from _of_recent_order(orders)


def _of_revenue(orders: Sequence[Order]) -> Iterator[Change]:
    moves = [(order.at, order.cents) for order in orders]
    moves += [(order.at + REVENUE_WINDOW, -order.cents) for order in orders]
    by_moment: dict[datetime, int] = {}
    for at, cents in sorted(moves):
        by_moment[at] = by_moment.get(at, 0) + cents
    revenue, known, big = 0, None, False
    for at, cents in by_moment.items():
        revenue += cents
        if revenue != known:
            known = revenue
            yield at, "total_revenue_180_days", revenue / 100
        if (revenue > BIG_SPENDER_CENTS) != big:
            big = not big
            yield at, "big_spenders", big


def _of_orders(orders: Sequence[Order]) -> Iterator[Change]:
    last_value = mean_gap = None
    for count, order in enumerate(orders, 1):
        if order.cents != last_value:
            last_value = order.cents
            yield order.at, "last_order_value", order.cents / 100
        if count > 1:
            days = (order.at.date() - orders[0].at.date()).days
            gap = round(days / (count - 1), 1)
            if gap != mean_gap:
                mean_gap = gap
                yield order.at, "days_between_orders", gap
        if count <= 2:
            yield order.at, "first_time_shopper", count == 1


def _of_recent_order(orders: Sequence[Order]) -> Iterator[Change]:
    inside_until: datetime | None = None
    for order in orders:
        if inside_until is None or order.at > inside_until:
            if inside_until:
                yield inside_until, "order_completed_last_30_days", False
            yield order.at, "order_completed_last_30_days", True
        inside_until = order.at + RECENT
    if inside_until:
        yield inside_until, "order_completed_last_30_days", False
