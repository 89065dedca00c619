"""The CDNOW example: the same every time, right by a slow and obvious count, and fit for its workspace."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from examples.cdnow import derive, files
from examples.cdnow.computations import changes
from examples.cdnow.households import stay_of
from examples.cdnow.purchases import FIRST_DAY, LAST_DAY, Order, Purchase, orders, part, read
from pipeline.inputs import read_blocks
from pipeline.workspace import load
from schemas.events import AccountMember, AnyEvent, Audience, Delete, Profile, Trait
from transforms.logic.parse import Parser
from transforms.logic.portion import key_of

WORKSPACE = str(Path(derive.__file__).with_name("workspace.yaml"))
MIDDLE = date(1998, 3, 31)


@pytest.fixture(scope="module")
def purchases() -> list[Purchase]:
    return read()


@pytest.fixture(scope="module")
def some(purchases: list[Purchase]) -> list[Purchase]:
    return part(purchases, 150)


@pytest.fixture(scope="module")
def of_some(some: list[Purchase]) -> list[AnyEvent]:
    return list(derive.events(some))


def by_profile(events: Sequence[AnyEvent]) -> dict[str, list[AnyEvent]]:
    found: dict[str, list[AnyEvent]] = defaultdict(list)
    for event in events:
        if isinstance(event, Profile | Trait | Audience | Delete) and event.profile_id:
            found[event.profile_id].append(event)
    return found


def external_ids(events: Sequence[AnyEvent]) -> Iterator[tuple[str, str]]:
    for event in events:
        if isinstance(event, Profile):
            yield from ((each.type, each.id) for each in event.external_ids)


def test_the_file_is_the_published_one(purchases: list[Purchase]) -> None:
    assert (69_659, 23_570) == (len(purchases), len({purchase.customer for purchase in purchases}))
    assert (FIRST_DAY, LAST_DAY) == (min(p.day for p in purchases), max(p.day for p in purchases))
    assert Purchase("00001", date(1997, 1, 1), 1177) == purchases[0]


# -- the computations, against what they mean


def meaning(bought: Sequence[Order], now: datetime) -> dict[str, Any]:
    """The value of every computation at one moment, from its definition alone; None: no value yet."""
    past = [order for order in bought if order.at <= now]
    recent = [order for order in past if order.at > now - timedelta(days=180)]
    revenue = sum(order.cents for order in recent)
    gaps = [(later.at.date() - earlier.at.date()).days for earlier, later in pairwise(past)]
    return {
        "total_revenue_180_days": revenue / 100 if past else None,
        "last_order_value": past[-1].cents / 100 if past else None,
        "days_between_orders": round(sum(gaps) / len(gaps), 1) if gaps else None,
        "order_completed_last_30_days": any(order.at > now - timedelta(days=30) for order in past),
        "first_time_shopper": len(past) == 1,
        "big_spenders": revenue > 200_00,
    }


def test_at_every_moment_the_values_are_what_they_mean(purchases: list[Purchase]) -> None:
    busiest = max(orders(purchases), key=lambda customer: len(customer[1]))
    for _, bought in [busiest, *orders(part(purchases, 80))]:
        told = sorted(changes(bought), key=lambda change: change[0])
        around = [order.at + timedelta(days=days) for order in bought for days in (0, 30, 180)]
        for moment in (at + timedelta(seconds=s) for at in around for s in (-1, 0, 1)):
            known: dict[str, Any] = dict.fromkeys(meaning(bought, moment))
            known.update({"order_completed_last_30_days": False, "first_time_shopper": False, "big_spenders": False})
            known.update({key: value for at, key, value in told if at <= moment})
            assert meaning(bought, moment) == known


def test_a_window_that_ends_as_the_next_order_comes_has_no_exit() -> None:
    first = datetime(1997, 1, 1, tzinfo=UTC)
    bought = [Order(first, 100), Order(first + timedelta(days=30), 100)]
    stays = [(at, value) for at, key, value in changes(bought) if key == "order_completed_last_30_days"]
    assert [(first, True), (first + timedelta(days=60), False)] == stays


def test_only_changes_are_told(of_some: list[AnyEvent]) -> None:
    last: dict[tuple[str, str], Any] = {}
    for event in of_some:
        if isinstance(event, Trait | Audience):
            value = event.value if isinstance(event, Trait) else event.member
            before = last.get((key_of(event), event.computation), False if isinstance(event, Audience) else None)
            assert value != before
            last[key_of(event), event.computation] = value


def test_big_spenders_are_a_few_per_cent(purchases: list[Purchase]) -> None:
    big: set[str] = set()
    for event in derive.events(part(purchases, 2000), until=MIDDLE):
        if isinstance(event, Audience) and event.computation == "big_spenders":
            (big.add if event.member else big.discard)(event.profile_id)
    assert 0.01 < len(big) / 2000 < 0.05


def test_purchases_of_one_day_are_one_order() -> None:
    day = date(1997, 1, 12)
    ((customer, bought),) = orders([Purchase("00002", day, 1200), Purchase("00002", day, 7700)])
    assert ("00002", [8900]) == (customer, [order.cents for order in bought])
    assert day == bought[0].at.date()


# -- the people


def test_everybody_has_a_user_id_and_most_have_more(purchases: list[Purchase]) -> None:
    people = by_profile(list(derive.events(part(purchases, 2000))))
    having: dict[str, int] = defaultdict(int)
    for events in people.values():
        types = [type for type, _ in external_ids(events)]
        names = {name for event in events if isinstance(event, Profile) for name in event.traits}
        for fact in {*types, *names, f"{types.count('email')} e-mails"}:
            having[fact] += 1
    assert 2000 == len(people) == having["user_id"]
    assert 1500 < having["1 e-mails"] < 1900
    assert 100 < having["2 e-mails"]
    assert 20 < having["3 e-mails"]
    assert 100 < having["anonymous_id"] < 300
    assert 80 < having["ios.idfa"]
    assert 80 < having["android.idfa"]
    assert 1600 < having["first_name"] < 1800
    assert 1400 < having["last_name"] < having["first_name"]


def test_anonymous_people_give_their_address_later(of_some: list[AnyEvent]) -> None:
    seen = 0
    for events in by_profile(of_some).values():
        types = [type for type, _ in external_ids(events)]
        if "anonymous_id" in types:
            seen += 1
            assert "email" not in types or types.index("anonymous_id") < types.index("email")
    assert seen


def test_new_identifiers_turn_up_after_the_first_sync(purchases: list[Purchase]) -> None:
    days = derive.events(part(purchases, 2000), date(1998, 4, 1), date(1998, 4, 14))
    assert {"email", "ios.idfa", "android.idfa"} == {type for type, _ in external_ids(list(days))}


def test_who_is_forgotten_is_not_spoken_of_again(purchases: list[Purchase]) -> None:
    people = by_profile(list(derive.events(part(purchases, 2000))))
    deletions = [(events, event) for events in people.values() for event in events if isinstance(event, Delete)]
    assert deletions
    for events, deletion in deletions:
        assert deletion is events[-1]


# -- households


def test_households_have_members_who_come_and_go(purchases: list[Purchase]) -> None:
    told = [event for event in derive.events(purchases) if isinstance(event, AccountMember)]
    people = {event.profile_id for event in told}
    left = {event.profile_id for event in told if not event.member}
    assert 0.09 < len(people) / 23_570 < 0.11
    assert 0.1 < len(left) / len(people) < 0.3
    assert 800 < len({event.account_id for event in told}) <= 1_000


def test_a_household_is_worth_what_its_members_bought_while_they_were_in_it(purchases: list[Purchase]) -> None:
    events = list(derive.events(purchases))
    name = next(event.account_id for event in events if isinstance(event, AccountMember) and not event.member)
    mine = [event for event in events if event.account_id == name]
    spans = {
        stay.customer: stay
        for customer, bought in orders(purchases)
        if (stay := stay_of(customer, bought[0].at)) and stay.household == name
    }
    gone = {event.profile_id: event.at for event in events if isinstance(event, Delete)}
    expected = sum(
        order.cents
        for customer, bought in orders(purchases)
        if customer in spans
        for order in bought
        if spans[customer].joined <= order.at < (spans[customer].left or datetime.max.replace(tzinfo=UTC))
        and order.at < gone.get(f"cdnow-{customer}", datetime.max.replace(tzinfo=UTC))
    )
    values = [event for event in mine if isinstance(event, Trait)]
    assert expected == round(100 * max(values, key=lambda event: event.at).value)
    member = [(event.at, event.member) for event in mine if isinstance(event, Audience)]
    assert [each[1] for each in sorted(member)] == [True, False] * (len(member) // 2) + [True] * (len(member) % 2)


# -- the files


def test_neighbouring_spans_are_as_good_as_one(some: list[Purchase], of_some: list[AnyEvent]) -> None:
    def line(event: AnyEvent) -> bytes:
        return msgspec.json.encode(event)

    before = derive.events(some, until=MIDDLE)
    after = derive.events(some, since=MIDDLE + timedelta(days=1))
    assert sorted(map(line, of_some)) == sorted([*map(line, before), *map(line, after)])


def test_a_part_is_evenly_spread_and_like_the_whole(purchases: list[Purchase], of_some: list[AnyEvent]) -> None:
    customers = sorted({purchase.customer for purchase in part(purchases, 10)})
    assert [f"{1 + number * 2357:05}" for number in range(10)] == customers
    one = part(purchases, 150)[:1]
    assert list(derive.events([p for p in purchases if p.customer == one[0].customer])) == [
        event for event in of_some if not event.account_id and key_of(event).endswith(one[0].customer)
    ]
    assert purchases == part(purchases, 10**6)


@pytest.mark.parametrize("format", files.FORMATS)
def test_every_format_says_the_same_and_the_same_bytes_each_time(tmp_path: Path, format: str) -> None:
    for folder in ("once", "again", "jsonl"):
        arguments = ["--out", str(tmp_path / folder), "--until", "1997-04-10", "--customers", "30"]
        derive.main([*arguments, "--format", format if folder != "jsonl" else "jsonl"])
    once, again, plain = (sorted((tmp_path / folder).iterdir()) for folder in ("once", "again", "jsonl"))
    assert [
        f"events-1997-01-01--1997-01-31.{format}",
        f"events-1997-02-01--1997-02-28.{format}",
        f"events-1997-03-01--1997-03-31.{format}",
        f"events-1997-04-01--1997-04-10.{format}",
    ] == [path.name for path in once]
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]
    for path, expected in zip(once, plain, strict=True):
        lines = [line for _, block in read_blocks(str(path)) for line in block]
        events = [msgspec.json.decode(line, type=AnyEvent) for line in lines]
        assert [msgspec.json.decode(line, type=AnyEvent) for line in expected.read_bytes().splitlines()] == events
        assert [event.at for event in events] == sorted(event.at for event in events)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--until", "31.3.1998"], "'31.3.1998' is no day such as 1998-03-31"),
        (["--until", "1998-07-01"], "1998-07-01 is not in the data, which goes from 1997-01-01 to 1998-06-30"),
        (["--since", "1998-02-01", "--until", "1998-01-01"], "--since 1998-02-01 is after --until 1998-01-01"),
        (["--customers", "0"], "'0' is no number of customers"),
    ],
)
def test_wrong_arguments_are_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit):
        derive.main(["--out", str(tmp_path), *arguments])
    assert said in capsys.readouterr().err


# -- the workspace


def test_the_workspace_tells_six_destinations_of_every_computation() -> None:
    workspace = load(WORKSPACE, environment={})
    destinations = {connection.destination for connection in workspace.connections}
    assert {"braze", "hubspot", "zendesk", "iterable", "facebook-custom-audiences", "webhook"} == destinations
    synced = {sync.computation for connection in workspace.connections for sync in connection.syncs}
    assert {computation.key for computation in workspace.computations} == synced


def test_the_workspace_knows_every_event(of_some: list[AnyEvent]) -> None:
    computations = load(WORKSPACE, environment={}).computations
    kinds = {computation.key: computation.kind for computation in computations}
    of_accounts = [computation.key for computation in computations if computation.level == "account"]
    parser = Parser(kinds, datetime(1998, 10, 1, tzinfo=UTC), of_accounts)
    assert of_some == [parser.parse(msgspec.json.encode(event)) for event in of_some]
    assert set(kinds) == {event.computation for event in of_some if isinstance(event, Trait | Audience)}
