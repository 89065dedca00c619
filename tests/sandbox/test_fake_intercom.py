"""The fake Intercom."""

from typing import Any

import pytest

API = "https://api.intercom.io"


@pytest.fixture
def ask(gateway: Any) -> Any:
    headers = {"authorization": "Bearer token", "intercom-version": "2.16"}
    return lambda method, path, json=None: gateway.send(method, API + path, json, headers=headers)


def contact(**more: Any) -> dict[str, Any]:
    return {"role": "user", **more}


def test_another_version_is_refused(gateway: Any) -> None:
    answer = gateway.send("GET", f"{API}/data_attributes", headers={"authorization": "Bearer token"})
    assert 400 == answer.status_code


def test_a_contact_is_made_once_and_the_conflict_names_it(ask: Any) -> None:
    made = ask("POST", "/contacts", contact(external_id="u1", email="a@b.co")).json()["id"]
    for again in ({"external_id": "u1"}, {"email": "a@b.co"}):
        answer = ask("POST", "/contacts", contact(**again))
        assert 409 == answer.status_code
        assert answer.json()["errors"][0]["message"].endswith(f"id={made}")
    assert made == ask("GET", "/contacts/find_by_external_id/u1").json()["id"]
    query = {"query": {"field": "email", "operator": "=", "value": "a@b.co"}}
    assert [made] == [each["id"] for each in ask("POST", "/contacts/search", query).json()["data"]]


def test_attributes_must_be_there_and_keep_their_type(sandbox: Any, ask: Any) -> None:
    told = contact(email="a@b.co", custom_attributes={"vip": True})
    assert "does not exist" in ask("POST", "/contacts", told).json()["errors"][0]["message"]
    attribute = {"name": "vip", "model": "contact", "data_type": "boolean"}
    assert [200, 400] == [ask("POST", "/data_attributes", attribute).status_code for _ in range(2)]
    assert 200 == ask("POST", "/contacts", told).status_code
    wrong = contact(email="b@b.co", custom_attributes={"vip": "yes"})
    assert 400 == ask("POST", "/contacts", wrong).status_code
    [account] = sandbox.told("intercom", "a@b.co")
    assert [{"vip": True}] == [person["values"] for person in account["people"]]


def test_a_deleted_contact_is_not_found(ask: Any) -> None:
    made = ask("POST", "/contacts", contact(external_id="u1")).json()["id"]
    assert [200, 404] == [ask("DELETE", f"/contacts/{made}").status_code for _ in range(2)]
    assert 404 == ask("PUT", f"/contacts/{made}", {"name": "Ana"}).status_code
    assert 404 == ask("GET", "/contacts/find_by_external_id/u1").status_code
