"""The fake Marketo."""

from typing import Any

import pytest

HOST = "https://123-abc-456.mktorest.com"
FORM = {"grant_type": "client_credentials", "client_id": "c-1", "client_secret": "s3cret"}


def grant(gateway: Any) -> Any:
    return gateway.send("POST", f"{HOST}/identity/oauth/token", data=FORM).json()


@pytest.fixture
def ask(gateway: Any) -> Any:
    token = grant(gateway)["access_token"]

    def send(method: str, path: str, body: Any = None, **more: Any) -> Any:
        answer = gateway.send(method, f"{HOST}/{path}", body, headers={"Authorization": f"Bearer {token}"}, **more)
        assert 200 == answer.status_code
        return answer.json() if answer.content.startswith(b"{") else answer.text

    return send


def write(ask: Any, *leads: dict[str, Any], by: str = "email") -> Any:
    return ask("POST", "rest/v1/leads.json", {"action": "createOrUpdate", "lookupField": by, "input": list(leads)})


def codes(answer: Any) -> list[str]:
    if not answer["success"]:
        return [error["code"] for error in answer["errors"]]
    return [
        [*row.get("reasons", []), *row.get("errors", []), {"code": row.get("status")}][0]["code"]
        for row in answer["result"]
    ]


def test_one_token_is_given_out_until_it_ends(gateway: Any, clock: Any, ask: Any) -> None:
    clock.now += 3_000
    first = grant(gateway)
    assert 600 == first["expires_in"]
    clock.now += 601
    assert ["602"] == codes(ask("GET", "rest/v1/leads/describe.json"))
    assert first["access_token"] != grant(gateway)["access_token"]
    answer = gateway.send("GET", f"{HOST}/rest/v1/leads/describe.json", headers={"Authorization": "Bearer x"})
    assert ["601"] == codes(answer.json())
    assert 401 == gateway.send("POST", f"{HOST}/identity/oauth/token", data={"grant_type": "password"}).status_code


def test_a_field_must_be_there_and_takes_its_own_type(sandbox: Any, ask: Any) -> None:
    assert ["1006"] == codes(write(ask, {"email": "a@b.co", "vip": True}))
    field = {"displayName": "vip", "name": "vip", "dataType": "boolean"}
    assert ["created", "1017", "1003"] == codes(
        ask("POST", "rest/v1/leads/schema/fields.json", {"input": [field, field, {**field, "name": "1x"}]})
    )
    assert ["created", "1001", "1002"] == codes(
        write(ask, {"email": "A@b.co", "vip": True}, {"email": "b@b.co", "vip": 1}, {"vip": True})
    )
    assert ["updated", "1003"] == codes(write(ask, {"email": "a@B.co", "vip": False}, {"email": "x@refused.example"}))
    [account] = sandbox.told("marketo", "a@b.co")
    assert [False] == [person["values"]["vip"] for person in account["people"]]


def test_leads_are_looked_up_and_deleted(ask: Any) -> None:
    [made] = write(ask, {"email": "a@b.co"})["result"]
    asked = {"filterType": "email", "filterValues": "A@b.co,b@b.co", "fields": "id,email"}
    assert [made["id"]] == [each["id"] for each in ask("POST", "rest/v1/leads.json?_method=GET", data=asked)["result"]]
    gone = {"input": [{"id": made["id"]}, {"id": 999}]}
    assert ["deleted", "1004"] == codes(ask("POST", "rest/v1/leads/delete.json", gone))


def test_an_activity_needs_a_type_that_is_approved_and_a_lead(sandbox: Any, ask: Any) -> None:
    kind = {
        "apiName": "shop",
        "name": "Shop",
        "triggerName": "Shops",
        "filterName": "Shopped",
        "primaryAttribute": {"apiName": "key"},
    }
    [made] = ask("POST", "rest/v1/activities/external/type.json", kind)["result"]
    ask("POST", "rest/v1/activities/external/type/shop/attributes/create.json", {"attributes": [{"apiName": "event"}]})
    [lead] = write(ask, {"email": "a@b.co"})["result"]
    told = {
        "leadId": lead["id"], "activityTypeId": made["id"], "activityDate": "2026-01-01T00:00:00Z",
        "primaryAttributeValue": "vip", "attributes": [{"apiName": "event", "value": "Entered"}],
    }  # fmt: skip
    assert ["1003"] == codes(ask("POST", "rest/v1/activities/external.json", {"input": [told]}))
    ask("POST", "rest/v1/activities/external/type/shop/approve.json")
    other = {**told, "attributes": [{"apiName": "nope", "value": "x"}]}
    assert ["added", "1004", "1006"] == codes(
        ask("POST", "rest/v1/activities/external.json", {"input": [told, {**told, "leadId": 99}, other]})
    )
    assert ["Entered"] == [each["name"] for each in sandbox.told("marketo", "a@b.co")[0]["events"]]
    for number in range(9):
        ask("POST", "rest/v1/activities/external/type.json", {**kind, "apiName": f"shop{number}"})
    assert ["1027"] == codes(ask("POST", "rest/v1/activities/external/type.json", {**kind, "apiName": "eleventh"}))


def test_the_hundred_and_first_request_in_20_seconds_is_refused(clock: Any, ask: Any) -> None:
    clock.now += 20
    for _ in range(100):
        ask("GET", "rest/v1/leads/describe.json")
    assert ["606"] == codes(ask("GET", "rest/v1/leads/describe.json"))


# -- lists
def make(ask: Any, name: str = "vip", folder: int = 34) -> Any:
    form = {"folder": f'{{"id":{folder},"type":"Folder"}}', "name": name}
    return ask("POST", "rest/asset/v1/staticLists.json", data=form)


def load(ask: Any, listed: Any, text: str) -> Any:
    path = f"bulk/v1/leads.json?format=csv&lookupField=email&listId={listed}"
    return ask("POST", path, files={"file": ("leads.csv", text, "text/csv")})


def test_a_list_is_made_once_in_a_folder_that_is_there(ask: Any) -> None:
    assert 34 == ask("GET", "rest/asset/v1/folder/byName.json?name=Ours")["result"][0]["id"]
    assert "result" not in ask("GET", "rest/asset/v1/folder/byName.json?name=Missing")
    assert ["710"] == codes(make(ask, folder=35))
    [made] = make(ask)["result"]
    assert ["709"] == codes(make(ask))
    assert [made["id"]] == [
        each["id"] for each in ask("GET", "rest/asset/v1/staticList/byName.json?name=vip")["result"]
    ]


def test_an_import_takes_a_while_and_names_the_rows_that_failed(sandbox: Any, clock: Any, ask: Any) -> None:
    listed = make(ask)["result"][0]["id"]
    [job] = load(ask, listed, "email\na@b.co\nx@refused.example\n")["result"]
    assert ["1019"] == codes(load(ask, listed, "email\nb@b.co\n"))
    status = f"bulk/v1/leads/batch/{job['batchId']}"
    assert "Importing" == ask("GET", f"{status}.json")["result"][0]["status"]
    clock.now += 4
    assert [("Complete", 1)] == [
        (each["status"], each["numOfRowsFailed"]) for each in ask("GET", f"{status}.json")["result"]
    ]
    assert ["email,Import Failure Reason", "x@refused.example"] == [
        line.removesuffix(",Invalid value for email: the address is not valid")
        for line in ask("GET", f"{status}/failures.json").splitlines()
    ]
    assert [{"name": "vip", "members": ["a@b.co"]}] == sandbox.told("marketo")[0]["lists"]
    assert ["1013"] == codes(ask("GET", "bulk/v1/leads/batch/99.json"))
    assert ["1013"] == codes(load(ask, 7, "email\nb@b.co\n"))
    assert ["613"] == codes(ask("POST", f"bulk/v1/leads.json?format=csv&listId={listed}"))


def test_ten_imports_wait_at_most(ask: Any) -> None:
    lists = [make(ask, f"list {number}")["result"][0]["id"] for number in range(11)]
    told = [load(ask, listed, "email\nb@b.co\n") for listed in lists]
    assert ["1016"] == codes(told[-1])


def test_who_leaves_is_named_by_id(ask: Any, clock: Any) -> None:
    listed = make(ask)["result"][0]["id"]
    load(ask, listed, "email\na@b.co\n")
    clock.now += 4
    [other] = write(ask, {"email": "b@b.co"})["result"]
    [member] = write(ask, {"email": "a@b.co"})["result"]
    path = f"rest/v1/lists/{listed}/leads.json?id={member['id']}&id={other['id']}&id=99"
    assert ["removed", "1015", "1004"] == codes(ask("DELETE", path))
    ask("POST", f"rest/asset/v1/staticList/{listed}/delete.json")
    assert ["1013"] == codes(ask("DELETE", path))


def companies(ask: Any, *given: dict[str, Any]) -> Any:
    body = {"action": "createOrUpdate", "dedupeBy": "dedupeFields", "input": list(given)}
    return ask("POST", "rest/v1/companies.json", body)


def test_companies_are_made_and_changed_by_their_external_id(sandbox: Any, ask: Any) -> None:
    assert ["created"] == codes(companies(ask, {"externalCompanyId": "acme", "company": "Acme"}))
    assert ["1006"] == codes(companies(ask, {"externalCompanyId": "acme", "vip": True}))
    ask("POST", "admin/company-fields", {"name": "vip", "dataType": "boolean"})
    told = ({"externalCompanyId": "acme", "vip": True}, {"externalCompanyId": "bolt", "vip": "yes"}, {"vip": True})
    assert ["updated", "1001", "1002"] == codes(companies(ask, *told))
    [shown] = sandbox.told("marketo", "acme")
    assert [] == shown["people"]
    assert [("Acme", True)] == [(each["values"]["company"], each["values"]["vip"]) for each in shown["companies"]]
    [described] = ask("GET", "rest/v1/companies/describe.json")["result"]
    assert {"name": "externalCompanyId", "length": 100}.items() <= described["fields"][0].items()
    assert ("vip", "boolean") in [(field["name"], field["dataType"]) for field in described["fields"]]
    assert ["1003"] == codes(companies(ask)) == codes(ask("POST", "admin/company-fields", {"name": "x"}))
