"""Names at vendors: what a connection would mix up is found before anything is sent."""

from typing import Any

import pytest

from schemas.secret import Secret
from schemas.workspace import Computation, Connection, EventNames, Sync, Workspace
from transforms.destinations.contract import Destination
from transforms.destinations.facebook_custom_audiences import FacebookCustomAudiences
from transforms.destinations.hubspot import HubSpot
from transforms.destinations.iterable import Iterable
from transforms.destinations.names import Collision, collisions, cut, in_ascii
from transforms.destinations.zendesk import Zendesk

KEYS = ("VIP", "vip", "a_b", "a.b", "spent")
COMPUTATIONS = tuple(Computation(key, "trait" if key == "spent" else "audience", key, key) for key in KEYS)
HUBSPOT = HubSpot.Settings(access_token=Secret("${TOKEN}"))
ITERABLE = Iterable.Settings(api_key=Secret("${TOKEN}"))
ZENDESK = Zendesk.Settings(subdomain="acme", oauth_token=Secret("${TOKEN}"))
FACEBOOK = FacebookCustomAudiences.Settings(ad_account_id="7", access_token=Secret("${TOKEN}"))


def found(kind: type[Destination], settings: Any, *syncs: Sync) -> list[Collision]:
    connection = Connection(kind.slug, kind.slug, syncs, settings)
    return collisions(kind(Workspace("shop", COMPUTATIONS, (connection,)), connection), syncs)


def test_keys_that_differ_only_in_case_or_signs_are_named() -> None:
    [vips] = found(HubSpot, HUBSPOT, Sync("VIP"), Sync("vip"), Sync("spent"))
    assert Collision("key", "identify", "vip", ("VIP", "vip"), ("VIP", "vip")) == vips
    assert "'VIP' and 'vip' would both be 'vip' there" in vips.words()
    [dots] = found(Iterable, ITERABLE, Sync("a_b"), Sync("a.b"))
    assert ("a_b", "a.b") == dots.keys
    assert [] == found(Iterable, ITERABLE, Sync("VIP"), Sync("vip")), "Iterable tells them apart"


def test_another_name_at_the_vendor_mends_it_and_may_break_it() -> None:
    assert [] == found(HubSpot, HUBSPOT, Sync("VIP"), Sync("vip", send_as="other"))
    [both] = found(HubSpot, HUBSPOT, Sync("spent"), Sync("vip", send_as="spent"))
    assert "the syncs 'spent' and 'vip' both send 'spent'" in both.words()


def test_traits_that_travel_along_are_names_too() -> None:
    [name] = found(HubSpot, HUBSPOT, Sync("vip", enrich=("first_name",)), Sync("spent", send_as="firstname"))
    assert ("first_name", "firstname") == name.keys
    assert [] == found(HubSpot, HUBSPOT, Sync("vip", enrich=("spent",)), Sync("spent"))
    assert [] == found(HubSpot, HUBSPOT, Sync("vip", enrich=("plan",)), Sync("spent", enrich=("plan",)))


def test_two_syncs_of_one_key_have_one_list_but_may_report_one_event() -> None:
    twice = (Sync("vip", forms=("list",)), Sync("vip", name="again", forms=("list",)))
    assert ["vip"] == [each.name for each in found(FacebookCustomAudiences, FACEBOOK, *twice)]
    twice = (Sync("vip", forms=("track",)), Sync("vip", name="again", forms=("track",)))
    assert [] == found(HubSpot, HUBSPOT, *twice)


def test_names_of_events_that_are_one_at_the_vendor_are_named() -> None:
    sync = Sync("vip", forms=("track",), events=EventNames(entered="VIP: in", exited="VIP. in"))
    [events] = found(Zendesk, ZENDESK, sync)
    assert ("event", "vip__in", ("VIP: in", "VIP. in")) == (events.what, events.name, events.keys)
    assert "another of its `events` names" in events.words()


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("Shoe size", "shoe_size"),
        ("größe_1", "gr_e_1_a8366d84"),
        ("高額購入者", "key_23212bc8"),
        ("x" * 21, "xxxxxxxxxxx_c11977be"),
    ],
)
def test_a_name_keeps_what_tells_it_apart(key: str, expected: str) -> None:
    assert expected == in_ascii(key, 20, lower=True)
    assert expected == cut(expected, key, 20)
