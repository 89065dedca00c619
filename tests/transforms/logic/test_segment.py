"""Messages in Segment's wire format: which events they say, and what is wrong with those that say none."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.calls import Call, Identifier
from schemas.workspace import Computation
from transforms.logic.message import message
from transforms.logic.parse import BadRecord, Parser
from transforms.logic.segment import MESSAGES, Known, events_of, fault_of

KINDS = {"score": "trait", "Score": "trait", "vip": "audience", "seats": "trait", "big": "audience"}
OF_ACCOUNTS = frozenset(("seats", "big"))
KNOWN = Known(KINDS, OF_ACCOUNTS)
AT = "2026-01-05T09:00:00.000Z"
NOW = datetime(2026, 1, 6, tzinfo=UTC)
Event = dict[str, Any]


def personas(kind: str, key: str) -> Event:
    """As Engage writes it."""
    of = {"computation_class": kind, "computation_key": key, "computation_id": "aud_1"}
    return {"personas": {**of, "namespace": "spa_1", "space_id": "spa_1"}}


def said(known: Known = KNOWN, /, **fields: Any) -> list[Event]:
    """The events of a message, without their time, which is checked here."""
    line = json.dumps({"timestamp": AT, "messageId": "m1", **fields}).encode()
    events = [json.loads(each) for each in events_of(line, known)]
    assert {AT} >= {event.pop("at") for event in events}
    return events


def ids(*pairs: tuple[str, Any]) -> list[Event]:
    return [{"type": kind, "id": value} for kind, value in pairs]


def known(who: str, *pairs: tuple[str, Any], **traits: Any) -> Event:
    return {"type": "profile", "profile_id": who, "external_ids": ids(*pairs), "traits": traits}


U1 = known("u1", ("user_id", "u1"))


@pytest.mark.parametrize("member", [True, False])
def test_an_audience_as_identify(member: bool) -> None:
    found = said(type="identify", userId="u1", traits={"vip": member}, context=personas("audience", "vip"))
    assert [U1, {"type": "audience", "profile_id": "u1", "computation": "vip", "member": member}] == found


@pytest.mark.parametrize(("event", "member"), [("Audience Entered", True), ("Audience Exited", False), ("Mine", True)])
@pytest.mark.parametrize("context", [personas("audience", "vip"), {}])
def test_an_audience_as_track(event: str, member: bool, context: Event) -> None:
    properties = {"audience_key": "vip", "vip": member}
    found = said(type="track", event=event, userId="u1", properties=properties, context=context)
    assert [U1, {"type": "audience", "profile_id": "u1", "computation": "vip", "member": member}] == found


@pytest.mark.parametrize("kind", ["audience", "journey_step"])
def test_a_journey_whose_value_has_another_name_is_known_by_its_event(kind: str) -> None:
    properties = {"audience_key": "vip", "recent_buyer": True}
    context = personas(kind, "vip")
    found = said(type="track", event="Audience Exited", userId="u1", properties=properties, context=context)
    assert {"type": "audience", "profile_id": "u1", "computation": "vip", "member": False} == found[1]


@pytest.mark.parametrize("kind", ["trait", "computed_trait", "sql_trait"])
def test_a_computed_trait_as_identify_and_as_track(kind: str) -> None:
    event = {"type": "trait", "profile_id": "u1", "computation": "score", "value": [1, {"a": None}]}
    of, value = {"userId": "u1", "context": personas(kind, "score")}, event["value"]
    assert [U1, event] == said(type="identify", traits={"score": value}, **of)
    assert [U1, event] == said(
        type="track", event="Trait Computed", properties={"trait_key": "score", "score": value}, **of
    )


def test_what_else_an_identify_says_are_plain_traits() -> None:
    traits = {"plan": "gold", "email": "ana@x.example", "score": 1}
    context = {"traits": {"plan": "old", "city": "Graz"}} | personas("trait", "score")
    assert (
        known("u1", ("user_id", "u1"), ("email", "ana@x.example"), plan="gold", city="Graz")
        == said(type="identify", userId="u1", traits=traits, context=context)[0]
    )


def test_traits_that_the_workspace_knows_are_computed_where_no_computation_is_named() -> None:
    found = said(type="identify", userId="u1", traits={"score": 7, "vip": True, "plan": "gold", "seats": 1})
    assert [
        known("u1", ("user_id", "u1"), plan="gold", seats=1),
        {"type": "trait", "profile_id": "u1", "computation": "score", "value": 7},
        {"type": "audience", "profile_id": "u1", "computation": "vip", "member": True},
    ] == found


def test_rudderstack_has_the_traits_of_identify_in_its_context() -> None:
    context = {"traits": {"email": "ana@x.example", "score": 2}}
    assert [
        known("u1", ("user_id", "u1"), ("email", "ana@x.example")),
        {"type": "trait", "profile_id": "u1", "computation": "score", "value": 2},
    ] == said(type="identify", userId="u1", context=context)


def test_an_account_its_traits_and_its_member() -> None:
    found = said(type="group", groupId="acme", userId="u1", traits={"name": "Acme", "seats": 5, "score": 1})
    assert [
        {"type": "account", "account_id": "acme", "traits": {"name": "Acme", "score": 1}},
        {"type": "trait", "account_id": "acme", "computation": "seats", "value": 5},
        U1,
        {"type": "account_member", "account_id": "acme", "profile_id": "u1", "member": True},
    ] == found


def test_a_computation_of_accounts_as_group_and_as_track() -> None:
    event = {"type": "audience", "account_id": "acme", "computation": "big", "member": True}
    context = personas("audience", "big")
    assert event in said(type="group", groupId="acme", traits={"big": True}, context=context)
    properties = {"audience_key": "big", "big": True}
    track = {"type": "track", "event": "Audience Entered", "userId": "u1", "properties": properties}
    assert event in said(**track, context={**context, "groupId": "acme"})


# -- identifiers
def test_every_identifier_is_taken_and_the_first_names_the_person() -> None:
    context = {
        "device": {"type": "iOS", "advertisingId": "d1"},
        "externalIds": [
            {"id": "s1", "type": "shop_id", "collection": "users", "encoding": "none"},
            {"id": "ana@x.example", "type": "email", "collection": "users", "encoding": "none"},
            {"id": "acme", "type": "crm_account", "collection": "accounts", "encoding": "none"},
            {"id": "0a", "type": "email", "collection": "users", "encoding": "sha256"},
        ],
        "externalId": [{"id": "h1", "type": "HS-contacts", "identifierType": "hs_id"}],
    }
    traits = {"email": "ana@x.example", "phone": "+431"}
    [found] = said(type="identify", anonymousId="a1", traits=traits, context=context)
    assert "anonymous_id:a1" == found["profile_id"]
    assert ids(
        ("anonymous_id", "a1"), ("email", "ana@x.example"), ("phone", "+431"), ("ios.idfa", "d1"), ("shop_id", "s1"),
        ("hs_id", "h1"),
    ) == found["external_ids"]  # fmt: skip


def test_numbers_are_identifiers_as_text_is() -> None:
    for number in (42, 42.0, "42"):
        assert [known("42", ("user_id", "42"))] == said(type="identify", userId=number)
    assert "7" == said(type="group", groupId=7.0)[0]["account_id"]


@pytest.mark.parametrize("off", [{"adTrackingEnabled": False}, {"type": "tv"}, {"advertisingId": ""}])
def test_a_device_that_may_not_be_tracked_or_has_no_id_is_none(off: Event) -> None:
    device = {"type": "android", "advertisingId": "d1", **off}
    assert [U1] == said(type="identify", userId="u1", context={"device": device})


def test_an_address_of_a_track_may_be_among_its_properties() -> None:
    properties = {"trait_key": "score", "score": 1, "email": "ana@x.example"}
    assert "email:ana@x.example" == said(type="track", properties=properties)[0]["profile_id"]


# -- times
@pytest.mark.parametrize("name", ["timestamp", "originalTimestamp", "sentAt", "receivedAt"])
def test_the_first_time_that_there_is(name: str) -> None:
    message = {"type": "identify", "userId": "u1", "sentAt": None, name: "2026-01-05T09:00:00.123456789Z"}
    parsed = Parser(KINDS, NOW).parse(events_of(json.dumps(message).encode(), KNOWN)[0])
    assert not isinstance(parsed, BadRecord)
    assert parsed
    assert datetime(2026, 1, 5, 9, 0, 0, 123457, UTC) >= parsed.at >= datetime(2026, 1, 5, 9, 0, 0, 123456, UTC)


# -- what is not understood
BAD: list[tuple[Event, str, str]] = [
    ({"type": "page", "userId": "u1"}, "unknown_message", "$.type"),
    ({"type": "alias", "userId": "u1", "previousId": "a"}, "unknown_message", "$.type"),
    ({"type": "identify", "traits": {"score": 1}}, "missing_field", "$.userId"),
    ({"type": "identify", "userId": "", "anonymousId": None}, "missing_field", "$.userId"),
    ({"type": "identify", "userId": {"a": 1}}, "wrong_type", "$.userId"),
    ({"type": "identify", "userId": True}, "wrong_type", "$.userId"),
    ({"type": "identify", "userId": 1.5}, "wrong_type", "$.userId"),
    ({"type": "identify", "userId": 2**64}, "wrong_type", "$.userId"),
    ({"type": "identify", "userId": "\0account:acme"}, "wrong_type", "$.userId"),
    ({"type": "group", "groupId": ["acme"]}, "wrong_type", "$.groupId"),
    ({"type": "identify", "userId": "u1", "traits": [1]}, "wrong_type", "$.traits"),
    ({"type": "identify", "userId": "u1", "context": {"traits": 3}}, "wrong_type", "$.context.traits"),
    ({"type": "identify", "userId": "u1", "context": "x"}, "wrong_type", "$.context"),
    ({"type": "identify", "userId": "u1", "context": {"device": 1}}, "wrong_type", "$.context.device"),
    ({"type": "identify", "userId": "u1", "context": {"externalIds": {"a": 1}}}, "wrong_type", "$.context.externalIds"),
    ({"type": "identify", "userId": "u1", "context": {"externalIds": [{"id": 1}]}}, "missing_field",
     "$.context.externalIds[0].type"),
    ({"type": "identify", "userId": "u1", "timestamp": None}, "missing_field", "$.timestamp"),
    ({"type": "identify", "userId": "u1", "context": personas("audience", "vip")}, "unknown_message", "$.traits"),
    ({"type": "track", "userId": "u1", "event": "Order Completed", "properties": {"score": 1}}, "unknown_message",
     "$.event"),
    ({"type": "track", "userId": "u1", "event": "x", "properties": {"trait_key": "score"}}, "unknown_message",
     "$.properties"),
    ({"type": "group", "userId": "u1", "traits": {"seats": 1}}, "missing_field", "$.groupId"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "reason", "field"), BAD)
def test_what_is_not_understood_says_why(fields: Event, reason: str, field: str) -> None:
    message = {"timestamp": AT, **fields}
    line = json.dumps(message).encode()
    assert [] == events_of(line, KNOWN)
    bad = Parser(KINDS, NOW).parse(line)
    assert isinstance(bad, BadRecord)
    assert (reason, field) == (bad.reason, bad.field)
    assert bad.expected
    assert bad.advice


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"null", b'{"type": 3}', b'{"type": "delete"}', b"\xff", b'"x"'])
def test_what_is_no_message_says_no_events(line: bytes) -> None:
    assert [] == events_of(line, KNOWN)


PLAIN = st.sampled_from([None, True, False, 3, -1, 0.5, "", "u1", "vip", "score", "x@y.z", AT])
NAMES = st.sampled_from(["type", "id", "vip", "traits"])
LISTS = st.lists(PLAIN | st.dictionaries(NAMES, PLAIN, max_size=2), max_size=2)
JSON = PLAIN | LISTS | st.dictionaries(NAMES, PLAIN | LISTS, max_size=2)
FIELDS = st.sampled_from(["userId", "anonymousId", "traits", "properties", "timestamp", "event", "groupId", "sentAt"])
CONTEXTS = st.dictionaries(
    st.sampled_from(["personas", "traits", "device", "externalIds", "externalId", "groupId"]), JSON, max_size=3
)


@given(st.sampled_from(sorted(MESSAGES)), st.dictionaries(FIELDS, JSON), CONTEXTS | JSON)
def test_whatever_comes_is_events_or_a_fault(kind: str, fields: Event, context: Any) -> None:
    message = {**fields, "type": kind, "context": context}
    events = events_of(json.dumps(message).encode(), KNOWN)
    assert bool(events) == (fault_of(message) is None)
    for event in events:
        Parser(KINDS, NOW, OF_ACCOUNTS).parse(event)  # is an event or a bad record, and raises nothing


# -- what profilecast itself sends
IDENTIFIERS = [
    Identifier("user_id", "u1"), Identifier("email", "ana@x.example"), Identifier("phone", "+431"),
    Identifier("anonymous_id", "a1"), Identifier("ios.idfa", "d1"), Identifier("android.idfa", "d1"),
    Identifier("shop_id", "s1"),
]  # fmt: skip
AT_MICROS = int(datetime(2026, 1, 5, 9, tzinfo=UTC).timestamp() * 1_000_000)


@pytest.mark.parametrize("kind", ["identify", "track"])
@pytest.mark.parametrize("identifier", IDENTIFIERS)
@pytest.mark.parametrize(("key", "value"), [("vip", True), ("vip", False), ("score", 4.5), ("score", None)])
def test_what_a_webhook_of_ours_is_told_comes_back_as_it_was(
    kind: Any, identifier: Identifier, key: str, value: Any
) -> None:
    computation = Computation(key, "audience" if key == "vip" else "trait", key, id="c0ffee")
    call = Call("p", kind, identifier, key, value, AT_MICROS, 1)
    line = json.dumps(message(call, computation, "Audience Entered", "shop", "hook")).encode()
    of, event = [json.loads(each) for each in events_of(line, Known({}))]
    assert ids((identifier.type, identifier.id)) == of["external_ids"]
    assert (key, value) == (event["computation"], event["member" if key == "vip" else "value"])
    assert AT == event["at"]
