"""The fake Eloqua."""

from typing import Any

import pytest

POD = "https://secure.p03.eloqua.com"
BULK, REST = f"{POD}/api/bulk/2.0", f"{POD}/api/REST/1.0"


@pytest.fixture
def ask(gateway: Any) -> Any:
    return lambda method, url, json=None, **more: gateway.send(method, url, json, auth=("Acme\\sync", "pass"), **more)


def imported(ask: Any, *members: Any, fields: Any = (), **more: Any) -> str:
    columns = {name: f"{{{{Contact.Field({name})}}}}" for name in ("C_EmailAddress", *fields)}
    body = {"fields": columns, "identifierFieldName": "C_EmailAddress", "isSyncTriggeredOnImport": True, **more}
    uri = ask("POST", f"{BULK}/contacts/imports", body).json()["uri"]
    found: str = ask("POST", f"{BULK}{uri}/data", list(members)).json()["uri"]
    return found


def test_who_does_not_name_the_company_is_refused(gateway: Any, ask: Any) -> None:
    assert 401 == gateway.send("GET", "https://login.eloqua.com/id", auth=("sync", "pass")).status_code
    assert POD == ask("GET", "https://login.eloqua.com/id").json()["urls"]["base"]


def test_a_sync_ends_after_a_while_and_names_the_rows_that_it_did_not_take(sandbox: Any, ask: Any, clock: Any) -> None:
    sync = imported(ask, {"C_EmailAddress": "Ana@b.co"}, {"C_EmailAddress": "x@refused.example"})
    assert "active" == ask("GET", BULK + sync).json()["status"]
    clock.now += 2
    assert "warning" == ask("GET", BULK + sync).json()["status"]
    [reject] = ask("GET", f"{BULK}{sync}/rejects").json()["items"]
    assert ("ELQ-00002", "x@refused.example") == (reject["statusCode"], reject["fieldValues"]["C_EmailAddress"])
    assert [1] == [len(account["people"]) for account in sandbox.told("eloqua", "ana@b.co") if account["people"]]


def test_a_field_is_made_once_and_must_be_there_for_an_import(ask: Any, clock: Any) -> None:
    columns = {"C_EmailAddress": "{{Contact.Field(C_EmailAddress)}}", "C_ltv1": "{{Contact.Field(C_ltv1)}}"}
    body = {"fields": columns, "identifierFieldName": "C_EmailAddress"}
    assert 400 == ask("POST", f"{BULK}/contacts/imports", body).status_code
    made = [ask("POST", f"{REST}/assets/contact/field", {"name": "ltv", "dataType": "numeric"}) for _ in range(2)]
    assert [201, 400] == [answer.status_code for answer in made]
    assert "C_ltv1" == made[0].json()["internalName"]
    assert 201 == ask("POST", f"{BULK}/contacts/imports", body).status_code
    sync = imported(ask, {"C_EmailAddress": "a@b.co", "C_ltv1": "much"}, fields=["C_ltv1"])
    clock.now += 2
    assert "warning" == ask("GET", BULK + sync).json()["status"]


def test_people_join_and_leave_a_list_by_actions(sandbox: Any, ask: Any, clock: Any) -> None:
    listed = ask("POST", f"{REST}/assets/contact/list", {"name": "vips"}).json()["id"]
    action = {"destination": f"{{{{ContactList[{listed}]}}}}"}
    rows = [{"C_EmailAddress": f"{name}@b.co"} for name in ("ana", "bob")]
    imported(ask, *rows, syncActions=[{"action": "add", **action}])
    imported(ask, rows[0], syncActions=[{"action": "remove", **action}])
    lists = [account["lists"] for account in sandbox.told("eloqua") if account["lists"]]
    assert [[{"name": "vips", "members": ["bob@b.co"]}]] == lists
    found = ask("GET", f"{REST}/assets/contact/lists", params={"search": "name='vips'"}).json()["elements"]
    assert [listed] == [each["id"] for each in found]


def test_a_deleted_contact_is_off_its_lists(sandbox: Any, ask: Any) -> None:
    listed = ask("POST", f"{REST}/assets/contact/list", {"name": "vips"}).json()["id"]
    action = {"action": "add", "destination": f"{{{{ContactList[{listed}]}}}}"}
    imported(ask, {"C_EmailAddress": "ana@b.co"}, syncActions=[action])
    found = ask("GET", f"{REST}/data/contacts", params={"search": "emailAddress='ana@b.co'"}).json()["elements"]
    assert [200, 404] == [ask("DELETE", f"{REST}/data/contact/{found[0]['id']}").status_code for _ in range(2)]
    lists = [account["lists"] for account in sandbox.told("eloqua") if account["lists"]]
    assert [[{"name": "vips", "members": []}]] == lists
