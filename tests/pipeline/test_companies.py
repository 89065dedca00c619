"""Accounts at vendors that have companies: whole runs against the fakes, over HTTP."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import requests

from pipeline.cli import main
from sandbox.testing import RunningSandbox, running_sandbox
from tests.pipeline.conftest import Shop
from tests.pipeline.running import Event, profile, summary_of, write_events

CONNECTIONS = {
    "hubspot": '{access_token: "${HUBSPOT_TOKEN}"}',
    "zendesk": '{subdomain: acme, oauth_token: "${ZENDESK_TOKEN}"}',
    "intercom": '{access_token: "${INTERCOM_TOKEN}"}',
    "salesforce": '{domain: acme.my.salesforce.com, client_id: c, client_secret: "${SALESFORCE_SECRET}"}',
    "marketo": '{account_id: 123-ABC-456, client_id: c, client_secret: "${MARKETO_SECRET}"}',
}
# What each has of an account, by its own names: its name, whether it is at risk, and its seats.
HELD = {
    "hubspot": ("name", "at_risk", "seats", "true", "12"),
    "zendesk": ("name", "at_risk", "seats", True, 12),
    "intercom": ("name", "at_risk", "seats", True, 12),
    "salesforce": ("Name", "at_risk__c", "seats__c", True, 12),
    "marketo": ("company", "at_risk", "seats", True, 12),
}
WORKSPACE = """\
workspace: shop
computations:
  - {name: At risk, kind: audience, level: account}
  - {name: Seats, kind: trait, level: account}
connections:
"""
CONNECTION = """\
  - name: %s
    destination: %s
    settings: %s
    syncs: [%s]
"""
GROUPS = "{computation: at_risk, as: group, enrich: [name]}, {computation: seats, as: group}"
MEMBERS = "{computation: seats, as: [group, member], enrich: [name]}"


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningSandbox]:
    for name in ("HUBSPOT_TOKEN", "ZENDESK_TOKEN", "INTERCOM_TOKEN", "SALESFORCE_SECRET", "MARKETO_SECRET"):
        monkeypatch.setenv(name, f"very-secret-{name.lower()}")
    with running_sandbox() as sandbox:
        yield sandbox


def fact(kind: str, account: str, at: str, **more: Any) -> Event:
    return {"type": kind, "account_id": account, "at": at, **more}


def at_risk(account: str, at: str, member: bool = True) -> Event:
    return fact("audience", account, at, computation="at_risk", member=member)


def seats(account: str, at: str, value: Any) -> Event:
    return fact("trait", account, at, computation="seats", value=value)


def run(
    shop: Shop, vendor: RunningSandbox, slugs: Iterable[str], syncs: str, now: str, *events: Event
) -> set[tuple[int, int]]:
    """How many calls were delivered and rejected: one pair, where it is the same of all connections."""
    connections = [CONNECTION % (slug, slug, CONNECTIONS[slug], syncs) for slug in slugs]
    shop.workspace.write_text(WORKSPACE + "".join(connections))
    path = write_events(shop.root / "events.jsonl", *events)
    common = ["--workspace", str(shop.workspace), "--state", str(shop.state), "--gateway", vendor.url]
    common += [] if shop.state.exists() else ["--new-state"]
    assert 0 == main(["run", *common, "--now", now, "--events", str(path)])
    return {(each["delivered"], each["rejected"]) for each in summary_of(shop.state)["connections"].values()}


def make_fields_of_marketo(vendor: RunningSandbox) -> None:
    """What a person does by hand in Marketo's own pages."""
    host = f"{vendor.url}/123-ABC-456.mktorest.com"
    form = {"grant_type": "client_credentials", "client_id": "c", "client_secret": "very-secret-marketo_secret"}
    token = requests.post(f"{host}/identity/oauth/token", data=form, timeout=60).json()["access_token"]
    for name, kind in (("at_risk", "boolean"), ("seats", "float")):
        field = {"name": name, "dataType": kind}
        headers = {"Authorization": f"Bearer {token}"}
        requests.post(f"{host}/admin/company-fields", json=field, headers=headers, timeout=60).raise_for_status()


def companies(vendor: RunningSandbox, slug: str, account: str) -> list[dict[str, Any]]:
    told = vendor.told(slug, account)
    assert [] == [person for each in told for person in each["people"]], "an account is no person"
    return [company["values"] for each in told for company in each["companies"]]


def test_accounts_become_companies_and_are_told_what_changes(shop: Shop, vendor: RunningSandbox) -> None:
    make_fields_of_marketo(vendor)
    first = [
        fact("account", "acme", "2026-01-01T00:00:00Z", traits={"name": "Acme"}),
        at_risk("acme", "2026-01-01T00:00:00Z"),
        seats("acme", "2026-01-01T00:00:00Z", 12),
        fact("account", "bolt", "2026-01-01T00:00:00Z", traits={"name": "Bolt"}),
        seats("bolt", "2026-01-01T00:00:00Z", 3),
    ]
    assert {(3, 0)} == run(shop, vendor, CONNECTIONS, GROUPS, "2026-01-02T00:00:00Z", *first)
    for slug, (name, risk, number, true, twelve) in HELD.items():
        [acme] = companies(vendor, slug, "acme")
        assert ("Acme", true, twelve) == (acme[name], acme[risk], acme[number])
    left = at_risk("acme", "2026-01-02T00:00:00Z", member=False)
    assert {(1, 0)} == run(shop, vendor, CONNECTIONS, GROUPS, "2026-01-03T00:00:00Z", left)
    for slug, (_, risk, number, true, twelve) in HELD.items():
        [acme] = companies(vendor, slug, "acme")
        assert ("false" if true == "true" else False, twelve) == (acme[risk], acme[number])
        assert 1 == len(companies(vendor, slug, "bolt"))


# Who is told, and how the fake says that somebody belongs to `acme`.
BELONGS = {"hubspot": "company acme", "zendesk": "organization acme", "intercom": "company acme"}


def joins(who: str, account: str, at: str, member: bool = True) -> Event:
    return fact("account_member", account, at, profile_id=who, member=member)


def known(who: str, at: str) -> Event:
    """By the address alone."""
    return {**profile(who, at), "external_ids": [{"type": "email", "id": f"{who}@example.com"}]}


def test_people_join_and_leave_the_companies_of_their_accounts(shop: Shop, vendor: RunningSandbox) -> None:
    def belongs(who: str) -> list[bool]:
        people = [
            (slug, person)
            for slug in BELONGS
            for told in vendor.told(slug, f"{who}@example.com")
            for person in told["people"]
        ]
        return [BELONGS[slug] in person["values"] for slug, person in people]

    def told(day: int, *events: Event) -> set[tuple[int, int]]:
        return run(shop, vendor, BELONGS, MEMBERS, f"2026-01-0{day}T00:00:00Z", *events)

    at = [f"2026-01-0{day}T00:00:00Z" for day in range(1, 6)]
    people = [known(who, at[0]) for who in ("ana", "bob")]
    assert {(2, 0)} == told(2, *people, joins("ana", "acme", at[0]), joins("bob", "acme", at[0]))
    assert [True] * 6 == belongs("ana") + belongs("bob"), "companies are made by whoever comes first"
    assert {(2, 0)} == told(3, seats("acme", at[1], 7), joins("ana", "acme", at[1], member=False))
    assert ([False] * 3, [True] * 3) == (belongs("ana"), belongs("bob"))
    assert {(1, 0)} == told(4, joins("ana", "acme", at[2]), joins("ana", "bolt", at[2], member=False))
    assert [True] * 6 == belongs("ana") + belongs("bob")
    for slug in BELONGS:
        [acme] = [company for each in vendor.told(slug, "acme") for company in each["companies"]]
        assert 7 == int(acme["values"]["seats"])
