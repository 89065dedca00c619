"""Derive the events that a profile store would have emitted: `python -m examples.cdnow.derive --out DIR`."""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from examples.cdnow import files
from examples.cdnow.computations import changes
from examples.cdnow.households import Stay, household_events, membership, stay_of
from examples.cdnow.people import profile_events, profile_id
from examples.cdnow.purchases import FIRST_DAY, LAST_DAY, Order, Purchase, orders, part, read
from schemas.events import AnyEvent, Audience, Delete, Profile, Trait
from transforms.logic.portion import key_of


def events(purchases: Iterable[Purchase], since: date = FIRST_DAY, until: date = LAST_DAY) -> Iterator[AnyEvent]:
    """The events of these days, both included, customer by customer and oldest first within each; then households.

    They depend on nothing but the purchases: the events of a later day change nothing about those
    of earlier ones, so two neighbouring spans are as good as one.
    """
    start, end = _midnight(since), _midnight(until) + timedelta(days=1)
    return (event for event in _all(purchases) if start <= event.at < end)


def _all(purchases: Iterable[Purchase]) -> Iterator[AnyEvent]:
    households: dict[str, list[tuple[Stay, list[Order]]]] = {}
    for customer, bought in orders(purchases):
        stay = stay_of(customer, bought[0].at)
        if stay:
            households.setdefault(stay.household, []).append((stay, bought))
        yield from _history(customer, bought[0].at, changes(bought), stay)
    for _, members in sorted(households.items()):
        yield from household_events(members)


def _history(
    customer: str, first_order: datetime, changed: Iterable[tuple[datetime, str, bool | float]], stay: Stay | None
) -> Iterator[AnyEvent]:
    """Everything about one customer, oldest first; after a deletion there is nothing."""
    told: list[AnyEvent] = [*profile_events(customer, first_order), *(membership(stay) if stay else ())]
    for at, computation, value in changed:
        if isinstance(value, bool):
            told.append(Audience(profile_id=profile_id(customer), at=at, computation=computation, member=value))
        else:
            told.append(Trait(profile_id=profile_id(customer), at=at, computation=computation, value=value))
    for event in sorted(told, key=lambda event: event.at):
        yield event
        if isinstance(event, Delete):
            return


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    purchases = read()
    if options.customers:
        purchases = part(purchases, options.customers)
    derived = sorted(events(purchases, options.since, options.until), key=lambda event: (event.at, key_of(event)))
    for path in files.write(derived, options.out, options.format, options.since, options.until):
        print(path)
    kinds = Counter(type(event).__struct_config__.tag for event in derived)
    people = len({event.profile_id for event in derived if isinstance(event, Profile)})
    print(
        f"{len(derived):,} events of {people:,} customers: " + ", ".join(f"{n:,} {kind}" for kind, n in kinds.items())
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.cdnow.derive", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the files go, one for each month")
    parser.add_argument("--since", type=_day, default=FIRST_DAY, metavar="DAY", help="first day (default %(default)s)")
    parser.add_argument("--until", type=_day, default=LAST_DAY, metavar="DAY", help="last day (default %(default)s)")
    parser.add_argument("--customers", type=_count, metavar="N", help="only so many, evenly spread (default all)")
    parser.add_argument("--format", choices=files.FORMATS, default="jsonl", help="(default %(default)s)")
    options = parser.parse_args(arguments)
    if options.since > options.until:
        parser.error(f"--since {options.since} is after --until {options.until}")
    return options


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day such as 1998-03-31") from None
    if not FIRST_DAY <= day <= LAST_DAY:
        raise argparse.ArgumentTypeError(f"{day} is not in the data, which goes from {FIRST_DAY} to {LAST_DAY}")
    return day


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of customers")
    return int(text)


if __name__ == "__main__":
    main()
