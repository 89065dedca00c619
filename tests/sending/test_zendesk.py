"""The real sender before the fake Zendesk: tokens that end, names that stay, jobs, one user who changes too often."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests
from msgspec import structs

from sandbox.testing import RunningSandbox, running_sandbox
from schemas.calls import Call, Identifier
from schemas.report import Report
from tests.sending.delivering import FAST, connect, start

API = "acme.zendesk.com/api/v2"
AGENT = ("admin@acme.example/token", "token")
CLIENT = {"subdomain": "acme", "client_id": "profilecast", "client_secret": "${ZENDESK}"}


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningSandbox]:
    monkeypatch.setenv("ZENDESK", "very-secret")
    with running_sandbox() as running:
        yield running


def told(number: int, value: Any = True, kind: str = "user_id", key: str = "big_spenders", at: int = 1) -> Call:
    identifier = Identifier(kind, f"u{number}" if kind == "user_id" else f"u{number}@example.com")
    traits = {"name": f"customer-{number}"}
    return Call(f"p{number}", "identify", identifier, key, value, at, 0, computation=key, sync=key, traits=traits)


def deliver(sandbox: RunningSandbox, calls: list[Call], **settings: Any) -> Report:
    options = replace(FAST, gateway=sandbox.url, read_timeout=5.0, retry_for=60.0)
    return start(calls, connect("zendesk", CLIENT | settings), options).report()


def ask(sandbox: RunningSandbox, method: str, path: str, json: Any = None) -> Any:
    return requests.request(method, f"{sandbox.url}/{API}{path}", json=json, auth=AGENT, timeout=60)


def people(sandbox: RunningSandbox) -> dict[str, dict[str, Any]]:
    [account] = sandbox.told("zendesk")
    return {p["identifiers"].get("external_id", p["identifiers"].get("email")): p["values"] for p in account["people"]}


@pytest.mark.parametrize("bulk", [False, True])
def test_who_is_known_keeps_the_name_and_who_is_new_gets_one(sandbox: RunningSandbox, bulk: bool) -> None:
    for n in range(10):
        user = {"name": f"Ann {n}", "external_id": f"U{n}", "email": f"u{n}@example.com"}
        ask(sandbox, "POST", "/users/create_or_update", {"user": user})
    calls = [told(n) for n in range(0, 20, 2)] + [told(n, kind="email") for n in range(40, 50)]
    report = deliver(sandbox, calls, bulk=bulk)
    assert (20, {}) == (report.delivered, report.rejected)
    found = people(sandbox)
    assert [f"Ann {n}" for n in range(10)] == [found[f"U{n}"]["name"] for n in range(10)]
    assert {"name": "customer-12", "big_spenders": True} == found["u12"]
    assert {"name": "customer-44", "big_spenders": True} == found["u44@example.com"]
    assert {"name": "Ann 4", "big_spenders": True} == found["U4"]
    again = deliver(sandbox, [structs.replace(call, value=False, at=2) for call in calls], bulk=bulk)
    assert 20 == again.delivered
    assert again.requests <= 8, "a token, the fields, two questions, a job and its status"
    assert {False} == {values["big_spenders"] for values in people(sandbox).values() if "big_spenders" in values}


def test_of_a_job_only_the_bad_one_is_rejected(sandbox: RunningSandbox) -> None:
    calls = [*(told(n, kind="email") for n in range(30)), told(99, kind="email")]
    calls[-1] = structs.replace(calls[-1], identifier=Identifier("email", "nobody@refused.example"))
    report = deliver(sandbox, calls, bulk=True)
    assert (30, {"invalid_identifier": 1}) == (report.delivered, report.rejected)
    assert {f"u{n}@example.com" for n in range(30)} == people(sandbox).keys()


def test_a_token_that_has_ended_is_renewed(sandbox: RunningSandbox) -> None:
    sandbox.fault(destination="zendesk", expire=0.5)
    report = deliver(sandbox, [told(n) for n in range(60)])
    assert 60 == report.delivered
    assert report.statuses["401"] >= 1
    assert 60 == len(people(sandbox))


def test_one_user_who_was_changed_too_often_waits_alone(sandbox: RunningSandbox) -> None:
    assert 1 == deliver(sandbox, [told(0)]).delivered
    number = ask(sandbox, "GET", "/users/show_many?external_ids=u0").json()["users"][0]["id"]
    assert {200} == {ask(sandbox, "PUT", f"/users/{number}", {"user": {}}).status_code for _ in range(5)}
    options = replace(FAST, gateway=sandbox.url, read_timeout=5.0, retry_for=3.0, give_up_after=3.0)
    running = start([told(0, False, at=2), *(told(n) for n in range(10, 13))], connect("zendesk", CLIENT), options)
    assert 3 == running.report().delivered
    assert True is people(sandbox)["u0"]["big_spenders"]


def test_a_field_that_was_deleted_is_missed_before_anybody_is_written(sandbox: RunningSandbox) -> None:
    assert 20 == deliver(sandbox, [told(n) for n in range(20)], bulk=True).delivered
    [field] = ask(sandbox, "GET", "/user_fields").json()["user_fields"]
    assert 204 == ask(sandbox, "DELETE", f"/user_fields/{field['id']}").status_code
    calls = [told(n, False, at=2) for n in range(20)] + [told(n, 4.5, key="total_revenue") for n in range(20)]
    report = deliver(sandbox, calls, bulk=True)
    assert (20, {}) == (report.delivered, report.rejected)
    assert ["big_spenders"] == list(report.blocked)
    assert {4.5} == {values["total_revenue"] for values in people(sandbox).values()}
