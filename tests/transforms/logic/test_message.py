"""The messages of calls: the four documented payloads, field by field, and where identifiers travel."""

from typing import Any

import pytest

from schemas.calls import Call, Identifier, message_id
from schemas.workspace import Computation
from transforms.logic.message import message

REVENUE = Computation("Total revenue 180 days", "trait", "total_revenue_180_days", "c1")
SHOPPER = Computation("First time shopper", "audience", "first_time_shopper", "c2")
U123 = Identifier("user_id", "u123")
EMAIL = Identifier("email", "ana@example.com")
AT = 891302400_000000  # 1998-03-31


def said(call: Call, computation: Computation | None, event: str = "") -> dict[str, Any]:
    return message(call, computation, event, "shop", "my-webhook")


def call(kind: Any, identifier: Identifier, computation: Computation, value: Any, **more: Any) -> Call:
    return Call("p1", kind, identifier, computation.key, value, AT, **{"ask": 1, **more})


@pytest.mark.parametrize(
    ("made", "computation", "event", "payload"),
    [
        (
            call("identify", U123, REVENUE, 450.00),
            REVENUE,
            "",
            {"type": "identify", "userId": "u123", "traits": {"total_revenue_180_days": 450.00}},
        ),
        (
            call("track", U123, REVENUE, 450.00),
            REVENUE,
            "Trait Computed",
            {
                "type": "track",
                "event": "Trait Computed",
                "userId": "u123",
                "properties": {"trait_key": "total_revenue_180_days", "total_revenue_180_days": 450.00},
            },
        ),
        (
            call("identify", U123, SHOPPER, True),
            SHOPPER,
            "",
            {"type": "identify", "userId": "u123", "traits": {"first_time_shopper": True}},
        ),
        (
            call("track", U123, SHOPPER, False),
            SHOPPER,
            "Audience Exited",
            {
                "type": "track",
                "userId": "u123",
                "event": "Audience Exited",
                "properties": {"audience_key": "first_time_shopper", "first_time_shopper": False},
            },
        ),
    ],
)
def test_the_payload_is_exactly_the_documented_one(
    made: Call, computation: Computation, event: str, payload: dict[str, Any]
) -> None:
    found = said(made, computation, event)
    beside = {
        "context": {
            "personas": {
                "computation_class": computation.kind,
                "computation_key": computation.key,
                "computation_id": computation.id,
                "namespace": "shop",
            }
        },
        "messageId": message_id("my-webhook", made),
        "timestamp": "1998-03-31T00:00:00.000Z",
    }
    assert payload | beside == found


def test_an_email_address_is_a_trait_in_identify_and_stands_in_the_context_of_track() -> None:
    identify = said(call("identify", EMAIL, SHOPPER, True, traits={"plan": "gold"}), SHOPPER)
    track = said(call("track", EMAIL, SHOPPER, True), SHOPPER, "Audience Entered")
    assert {"plan": "gold", "email": EMAIL.id, "first_time_shopper": True} == identify["traits"]
    assert {"email": EMAIL.id} == track["context"]["traits"]
    assert not {"userId", "anonymousId"} & (identify.keys() | track.keys())


@pytest.mark.parametrize(
    ("identifier", "place"),
    [
        (Identifier("anonymous_id", "a1"), {"anonymousId": "a1"}),
        (Identifier("ios.idfa", "D-1"), {"context": {"device": {"advertisingId": "D-1", "type": "ios"}}}),
        (Identifier("android.idfa", "D-2"), {"context": {"device": {"advertisingId": "D-2", "type": "android"}}}),
        (
            Identifier("loyalty", "7"),
            {"context": {"externalIds": [{"type": "loyalty", "id": "7", "collection": "users"}]}},
        ),
    ],
)
def test_every_identifier_has_its_place(identifier: Identifier, place: dict[str, Any]) -> None:
    found = said(Call("p1", "delete", identifier, "", None, AT, 1), None)
    assert {"type": "delete", "context": {}, **place} == {
        name: value for name, value in found.items() if name not in ("messageId", "timestamp")
    }


def test_the_message_id_stays_over_retries_and_changes_with_what_is_said() -> None:
    made = call("identify", U123, REVENUE, 450)
    others = [
        call("identify", U123, REVENUE, 451),
        call("identify", EMAIL, REVENUE, 450),
        call("track", U123, REVENUE, 450),
        call("identify", U123, SHOPPER, 450),
        call("identify", U123, REVENUE, 450, ask=2),
        Call("p2", "identify", U123, REVENUE.key, 450, AT, 1),
        Call("p1", "identify", U123, REVENUE.key, 450, AT + 1, 1),
    ]
    same = call("identify", U123, REVENUE, 450.0, traits={"plan": "gold"}, not_before=1.0)
    assert message_id("my-webhook", made) == message_id("my-webhook", same)
    assert len({message_id("my-webhook", each) for each in [made, *others]} | {message_id("other", made)}) == 9
