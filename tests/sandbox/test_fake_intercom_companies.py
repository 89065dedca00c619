"""The fake Intercom's companies."""

from typing import Any

import pytest

API = "https://api.intercom.io"


@pytest.fixture
def ask(gateway: Any) -> Any:
    headers = {"authorization": "Bearer token", "intercom-version": "2.16"}
    return lambda method, path, json=None: gateway.send(method, API + path, json, headers=headers)


def words(answer: Any) -> str:
    assert 400 == answer.status_code
    return str(answer.json()["errors"][0]["message"])


def test_a_company_is_made_and_changed_by_the_id_of_its_owner(sandbox: Any, ask: Any) -> None:
    ask("POST", "/data_attributes", {"name": "vip", "model": "company", "data_type": "boolean"})
    made = ask("POST", "/companies", {"company_id": "acme", "name": "Acme", "size": 12})
    known = ask("POST", "/companies", {"company_id": "acme", "custom_attributes": {"vip": True}})
    assert (200, 200) == (made.status_code, known.status_code)
    assert made.json()["id"] == known.json()["id"] == ask("GET", "/companies?company_id=acme").json()["id"]
    [told] = sandbox.told("intercom", "acme")
    assert [{"name": "Acme", "size": 12, "vip": True}] == [each["values"] for each in told["companies"]]
    assert [] == told["people"]


def test_values_fit_their_attributes(ask: Any) -> None:
    assert "size must be" in words(ask("POST", "/companies", {"company_id": "acme", "size": "large"}))
    assert "does not exist" in words(ask("POST", "/companies", {"company_id": "acme", "custom_attributes": {"x": 1}}))
    assert "company_id" in words(ask("POST", "/companies", {"name": "Acme"}))
    assert "company_id" in words(ask("POST", "/companies", {"company_id": "a@refused.example"}))
    assert 404 == ask("GET", "/companies?company_id=acme").status_code


def test_a_name_is_an_attribute_of_people_or_of_companies(ask: Any) -> None:
    of_people = {"name": "vip", "model": "contact", "data_type": "boolean"}
    assert 200 == ask("POST", "/data_attributes", of_people).status_code
    assert "in your people data" in words(ask("POST", "/data_attributes", {**of_people, "model": "company"}))
    ask("POST", "/data_attributes", {"name": "tier", "model": "company", "data_type": "string"})
    listed = ask("GET", "/data_attributes?model=company").json()["data"]
    assert [{"name": "tier", "data_type": "string", "model": "company"}] == listed
    assert ["vip"] == [each["name"] for each in ask("GET", "/data_attributes?model=contact").json()["data"]]


def test_a_contact_is_attached_and_detached(sandbox: Any, ask: Any) -> None:
    contact = ask("POST", "/contacts", {"role": "user", "external_id": "u1"}).json()["id"]
    acme = ask("POST", "/companies", {"company_id": "acme"}).json()["id"]
    path = f"/contacts/{contact}/companies"
    assert [200, 200] == [ask("POST", path, {"id": acme}).status_code for _ in range(2)]
    [told] = sandbox.told("intercom", "u1")
    assert told["people"][0]["values"]["company acme"]
    assert [200, 404] == [ask("DELETE", f"{path}/{acme}").status_code for _ in range(2)]
    assert 404 == ask("POST", path, {"id": "acme"}).status_code
    assert 404 == ask("POST", "/contacts/7/companies", {"id": acme}).status_code
