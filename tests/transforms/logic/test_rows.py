"""Rows of a table, before and after: whatever the snapshots were, what the last one says is known in the end."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import decode, encode

from transforms.logic.rows import OnMissing, Row, Span, events_of

COMPUTED = frozenset({"score"})
Event = dict[str, Any]
Table = Mapping[str, Row]  # by key


def told(before: Row | None, after: Row, missing: OnMissing = "leave") -> list[Event]:
    return decode(encode([*events_of("ana", before, after, Span(10, 20), COMPUTED, missing)]))


def at(micros: int) -> str:
    return "1970-01-01T00:00:00" + (f".{micros:06}Z" if micros else "Z")


FULL = Row(False, 15, {"email": ("a", "b")}, {"score": "1", "plan": '"gold"'}, {"vip": False}, "acme")


def test_a_new_row_says_everything() -> None:
    ids = [{"type": "email", "id": "a"}, {"type": "email", "id": "b"}]
    common = {"profile_id": "ana", "at": at(15)}
    assert [
        {"type": "profile", **common, "external_ids": ids, "traits": {"plan": "gold"}},
        {"type": "trait", **common, "computation": "score", "value": 1},
        {"type": "audience", **common, "computation": "vip", "member": False},
        {"type": "account_member", "account_id": "acme", **common, "member": True},
    ] == told(None, FULL)


def test_a_changed_row_says_what_changed() -> None:
    common = {"profile_id": "ana", "at": at(20)}
    after = Row(False, None, {"email": ("b",)}, {"score": None, "plan": '"gold"'}, {"vip": False}, "other")
    gone = [{"type": "email", "id": "a"}]
    assert [
        {"type": "profile", **common, "external_ids": [], "removed_ids": gone},
        {"type": "trait", **common, "computation": "score", "value": None},
        {"type": "account_member", "account_id": "acme", **common, "member": False},
        {"type": "account_member", "account_id": "other", **common, "member": True},
    ] == told(FULL, after)


@pytest.mark.parametrize(("own", "expected"), [(None, 20), (5, 11), (10, 11), (15, 15), (20, 20), (99, 20), (-5, 11)])
def test_a_rows_own_time_is_held_between_the_two_readings(own: int | None, expected: int) -> None:
    (event,) = told(Row(values={"score": "1"}), Row(at=own, values={"score": "2"}))
    assert at(expected) == event["at"]


def test_a_rows_own_time_alone_is_no_news() -> None:
    assert [] == told(FULL, FULL._replace(at=17))


@pytest.mark.parametrize(
    ("missing", "types"),
    [("leave", ["trait", "audience", "account_member"]), ("keep", []), ("forget", ["delete"])],
)
def test_a_row_that_is_gone(missing: OnMissing, types: list[str]) -> None:
    events = told(FULL, FULL._replace(gone=True), missing=missing)
    assert types == [event["type"] for event in events]
    assert {at(20)} >= {event["at"] for event in events}
    assert [] == told(FULL._replace(gone=True), FULL._replace(gone=True), missing=missing)


# -- any sequence of snapshots

ROWS = st.builds(
    Row,
    gone=st.just(False),
    at=st.none() | st.integers(-50, 50),
    ids=st.fixed_dictionaries({"email": st.lists(st.sampled_from("abc"), max_size=3).map(tuple)}),
    values=st.fixed_dictionaries({"score": st.sampled_from([None, "1", "2"]), "plan": st.sampled_from([None, '"x"'])}),
    audiences=st.fixed_dictionaries({"vip": st.booleans()}),
    account=st.sampled_from([None, "acme", "other"]),
)
TABLES = st.dictionaries(st.sampled_from(["ana", "ben"]), ROWS)


def follow(before: Table, now: Table, missing: OnMissing) -> Table:
    """The next snapshot: with `leave` and `keep`, rows that are gone stay with a mark."""
    left = {} if missing == "forget" else {key: row._replace(gone=True) for key, row in before.items()}
    return {**left, **now}


def events(before: Table, after: Table, span: Span, missing: OnMissing) -> list[Event]:
    found: list[Event] = []
    for key in before.keys() | after.keys():
        now = after.get(key, Row(gone=True))
        found += decode(encode([*events_of(key, before.get(key), now, span, COMPUTED, missing)]))
    return found


def known(events: Iterable[Event]) -> dict[tuple[str, ...], Any]:
    """The slow model: of each fact the value with the latest time, without null, false, and what was forgotten."""
    facts: dict[tuple[str, ...], tuple[str, Any]] = {}
    deleted: dict[str, str] = {}

    def learn(moment: str, value: Any, *fact: str) -> None:
        if fact in facts and facts[fact][0] == moment:
            assert facts[fact][1] == value, "two values of one time"
        if fact not in facts or facts[fact][0] < moment:
            facts[fact] = (moment, value)

    for event in events:
        who, moment = event["profile_id"], event["at"].replace("00:00:00Z", "00:00:00.000000Z")
        match event["type"]:
            case "delete":
                deleted[who] = max(deleted.get(who, ""), moment)
            case "profile":
                for each in event.get("external_ids", ()):
                    learn(moment, True, who, "id", each["id"])
                for each in event.get("removed_ids", ()):
                    learn(moment, False, who, "id", each["id"])
                for name, value in event.get("traits", {}).items():
                    learn(moment, value, who, "plain", name)
            case "account_member":
                learn(moment, event["member"], who, "account", event["account_id"])
            case kind:
                learn(
                    moment, event["member"] if kind == "audience" else event["value"], who, kind, event["computation"]
                )
    live = {fact: value for fact, (moment, value) in facts.items() if moment > deleted.get(fact[0], "")}
    return {fact: value for fact, value in live.items() if value not in (None, False)}


def wanted(facts: Mapping[tuple[str, ...], Any], of: Iterable[str], missing: OnMissing) -> dict[tuple[str, ...], Any]:
    """What tools are to know. Of people whose row is gone, ids and plain traits say nothing by themselves."""
    rows = set(of)
    return {
        fact: value
        for fact, value in facts.items()
        if fact[0] in rows or (missing != "keep" and fact[1] not in ("id", "plain")) or missing == "forget"
    }


@given(st.lists(TABLES, min_size=1, max_size=6), st.sampled_from(["leave", "keep", "forget"]), st.randoms())
def test_any_sequence_of_snapshots_ends_as_the_last_one_alone(
    tables: Sequence[Table], missing: OnMissing, random: Any
) -> None:
    """In whatever order the events come, and though some come twice."""
    all_events: list[Event] = []
    before: Table = {}
    for number, table in enumerate(tables):
        after = follow(before, table, missing)
        span = Span((number) * 10 if number else 0, (number + 1) * 10)
        all_events += events(before, after, span, missing)
        before = after
    random.shuffle(all_events)
    alone = events({}, tables[-1], Span(0, len(tables) * 10), missing)
    expected = wanted(known(alone), tables[-1], missing)
    assert expected == wanted(known([*all_events, *all_events[:5]]), tables[-1], missing)


@given(TABLES, TABLES, TABLES, st.sampled_from(["leave", "keep", "forget"]))
def test_a_run_that_was_killed_is_made_good(first: Table, killed: Table, now: Table, missing: OnMissing) -> None:
    """The next run tells once more what the killed one told, in part or whole, and then what is new."""
    second = follow(first, killed, missing)
    third = follow(second, now, missing)
    begun = events(first, second, Span(10, 20), missing)
    chain = [*events({}, first, Span(0, 10), missing), *begun[::2], *begun]
    chain += events(second, third, Span(20, 30), missing)
    alone = known(events({}, now, Span(0, 30), missing))
    assert wanted(alone, now, missing) == wanted(known(chain), now, missing)
