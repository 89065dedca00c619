"""The fake SendGrid."""

from typing import Any

import pytest

API = "https://api.sendgrid.com/v3/marketing"


@pytest.fixture
def ask(gateway: Any) -> Any:
    def send(method: str, path: str, body: Any = None) -> Any:
        return gateway.send(method, f"{API}/{path}", body, headers={"Authorization": "Bearer SG.key"})

    return send


def put(ask: Any, *contacts: dict[str, Any], lists: tuple[str, ...] = ()) -> Any:
    return ask("PUT", "contacts", {"list_ids": list(lists), "contacts": list(contacts)})


def results(ask: Any, answer: Any) -> Any:
    assert 202 == answer.status_code
    return ask("GET", f"contacts/imports/{answer.json()['job_id']}").json()


def test_a_contact_is_kept_by_its_address_in_lower_case_and_fields_by_their_ids(sandbox: Any, ask: Any) -> None:
    field = ask("POST", "field_definitions", {"name": "vip", "field_type": "Text"}).json()["id"]
    job = results(ask, put(ask, {"email": "Ana@b.co", "first_name": "Ana", "custom_fields": {field: "true"}}))
    assert "completed" == job["status"]
    [account] = sandbox.told("sendgrid", "ana@b.co")
    assert [{"first_name": "Ana", "vip": "true"}] == [person["values"] for person in account["people"]]


def test_an_address_that_is_not_valid_refuses_all(sandbox: Any, ask: Any) -> None:
    answer = put(ask, {"email": "a@b.co"}, {"email": "x@refused.example"})
    assert 400 == answer.status_code
    assert [("contacts[1].email", "email 'x@refused.example' is not valid")] == [
        (error["field"], error["message"]) for error in answer.json()["errors"]
    ]
    assert [] == sandbox.told("sendgrid", "a@b.co")[0]["people"]


def test_fields_of_other_types_and_missing_identifiers_are_errors_of_the_job(ask: Any) -> None:
    field = ask("POST", "field_definitions", {"name": "ltv", "field_type": "Number"}).json()["id"]
    job = results(ask, put(ask, {"email": "a@b.co", "custom_fields": {field: "x"}}, {"email": "b@b.co"}))
    assert ("errored", 1) == (job["status"], job["results"]["errored_count"])
    assert "failed" == results(ask, put(ask, {"email": "a@b.co", "custom_fields": {"nope": "x"}}))["status"]
    results(ask, put(ask, {"email": "c@b.co", "external_id": "u1"}))
    assert "failed" == results(ask, put(ask, {"email": "c@b.co"}))["status"]
    assert 404 == ask("GET", "contacts/imports/nope").status_code


@pytest.mark.parametrize("body", [{"name": "1x", "field_type": "Text"}, {"name": "x", "field_type": "Boolean"}])
def test_a_field_that_cannot_be_is_refused(ask: Any, body: dict[str, str]) -> None:
    assert 400 == ask("POST", "field_definitions", body).status_code


def test_a_field_is_made_once(ask: Any) -> None:
    assert 200 == ask("POST", "field_definitions", {"name": "vip", "field_type": "Text"}).status_code
    assert 400 == ask("POST", "field_definitions", {"name": "VIP", "field_type": "Text"}).status_code


def test_contacts_join_and_leave_a_list_by_their_ids(sandbox: Any, ask: Any) -> None:
    made = ask("POST", "lists", {"name": "vip"}).json()["id"]
    assert [made] == [each["id"] for each in ask("GET", "lists").json()["result"]]
    put(ask, {"email": "a@b.co"}, {"email": "b@b.co"}, lists=(made,))
    body = {"identifiers": ["a@b.co", "z@b.co"]}
    found = ask("POST", "contacts/search/identifiers/email", body).json()["result"]
    assert "error" in found["z@b.co"]
    assert 202 == ask("DELETE", f"lists/{made}/contacts?contact_ids={found['a@b.co']['contact']['id']}").status_code
    [account] = sandbox.told("sendgrid")
    assert [{"name": "vip", "members": [{"email": "b@b.co"}]}] == account["lists"]
    assert 404 == ask("POST", "contacts/search/identifiers/email", {"identifiers": ["z@b.co"]}).status_code
    assert 204 == ask("DELETE", f"lists/{made}").status_code
    assert 404 == put(ask, {"email": "a@b.co"}, lists=(made,)).status_code
