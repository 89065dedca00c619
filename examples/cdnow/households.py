"""Households: accounts of the example, made up; what is computed of them is of their members' real orders."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from examples.cdnow.chance import Chance
from examples.cdnow.people import forgotten_at, later, profile_id
from examples.cdnow.purchases import Order
from schemas.events import Account, AccountMember, AnyEvent, Audience, Trait

IN_ONE = 0.10  # shares of all customers
AT_FIRST = 0.50  # of those: with their first order
LEAVES = 0.20  # of those
HOUSEHOLDS = 1_000
ACTIVE = timedelta(days=90)


class Stay(NamedTuple):
    """When a customer belonged to a household."""

    household: str
    customer: str
    joined: datetime
    left: datetime | None


def stay_of(customer: str, first_order: datetime) -> Stay | None:
    """Nine customers in ten are in no household."""
    chance = Chance(customer)
    if not chance.happens(IN_ONE, "household"):
        return None
    at_first = chance.happens(AT_FIRST, "household at first")
    joined = first_order if at_first else later(chance, first_order, "household at")
    left = later(chance, joined, "household left at") if chance.happens(LEAVES, "household left") else None
    return Stay(f"household-{chance.number('which household') % HOUSEHOLDS:03}", customer, joined, left)


def membership(stay: Stay) -> Iterator[AccountMember]:
    """That somebody joined, and left."""
    for at, member in ((stay.joined, True), (stay.left, False)):
        if at:
            who = profile_id(stay.customer)
            yield AccountMember(account_id=stay.household, profile_id=who, at=at, member=member)


def household_events(members: Sequence[tuple[Stay, Sequence[Order]]]) -> Iterator[AnyEvent]:
    """What becomes known of one household, by the orders of its members."""
    name, first = members[0][0].household, min(stay.joined for stay, _ in members)
    yield Account(account_id=name, at=first, traits={"name": name.replace("-", " ").capitalize()})
    bought = sorted(order for stay, orders in members for order in _while_there(stay, orders))
    yield from _revenue(name, bought)
    yield from _activity(name, [order.at for order in bought])


def _while_there(stay: Stay, orders: Sequence[Order]) -> Iterator[Order]:
    ends = [at for at in (stay.left, forgotten_at(stay.customer, orders[0].at)) if at]
    return (order for order in orders if stay.joined <= order.at and all(order.at < at for at in ends))


def _revenue(name: str, bought: Iterable[Order]) -> Iterator[AnyEvent]:
    cents = 0
    for order in bought:
        if order.cents:
            cents += order.cents
            yield Trait(account_id=name, at=order.at, computation="household_revenue", value=cents / 100)


def _activity(name: str, times: Sequence[datetime]) -> Iterator[AnyEvent]:
    """In with an order, out when there was none for so long."""
    for number, at in enumerate(times):
        if number == 0 or at > times[number - 1] + ACTIVE:
            yield Audience(account_id=name, at=at, computation="active_households", member=True)
        if number + 1 == len(times) or times[number + 1] > at + ACTIVE:
            yield Audience(account_id=name, at=at + ACTIVE, computation="active_households", member=False)
