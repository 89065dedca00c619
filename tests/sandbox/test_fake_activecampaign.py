"""The fake ActiveCampaign over real HTTP."""

from typing import Any

API = "https://acme.api-us1.com/api/3"
KEY = {"Api-Token": "key"}


def test_fields_are_kept_and_told_in_pages(sandbox: Any, gateway: Any) -> None:
    for title in ("one", "two"):
        made = gateway.send("POST", f"{API}/fields", {"field": {"title": title}}, headers=KEY)
        assert 201 == made.status_code
    page = gateway.send("GET", f"{API}/fields?limit=1&offset=1", headers=KEY).json()
    assert [{"title": "two", "id": "2"}] == page["fields"]
    assert 400 == gateway.send("POST", f"{API}/fields", {"title": "one"}, headers=KEY).status_code


def test_contacts(sandbox: Any, gateway: Any) -> None:
    contact = {"email": "a@b.co", "fieldValues": [{"field": "1", "value": "7"}]}
    assert 200 == gateway.send("POST", f"{API}/contact/sync", {"contact": contact}, headers=KEY).status_code
    assert 401 == gateway.send("POST", f"{API}/contact/sync", {"contact": contact}).status_code
    account = next(each for each in sandbox.told("activecampaign", "a@b.co") if each["people"])
    assert [{"1": "7"}] == [person["values"] for person in account["people"]]
