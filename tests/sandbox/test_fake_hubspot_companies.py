"""The fake HubSpot's companies."""

import pytest

API = "https://api.hubapi.com"
UPSERT = "/crm/v3/objects/companies/batch/upsert"
ACCOUNT = {
    "name": "account_id",
    "label": "account_id",
    "groupName": "companyinformation",
    "type": "string",
    "fieldType": "text",
}


@pytest.fixture
def send(gateway, clock):
    def send(method, path, body=None):
        clock.now += 0.1
        return gateway.send(method, API + path, body, headers={"Authorization": "Bearer token"})

    send("POST", "/crm/v3/properties/companies", {**ACCOUNT, "hasUniqueValue": True})
    return send


def company(id, by="account_id", trace=None, **properties):
    return {"id": id, "idProperty": by, "properties": properties, **({"objectWriteTraceId": trace} if trace else {})}


def companies(sandbox, account=None):
    [told] = sandbox.told("hubspot", account)
    return [each["values"] for each in told["companies"]]


def test_a_company_is_made_and_found_again_by_a_unique_property(sandbox, send):
    for name, new in (("Acme", True), ("Acme Inc", False)):
        answer = send("POST", UPSERT, {"inputs": [company("acme", name=name)]})
        assert (200, [new]) == (answer.status_code, [each["new"] for each in answer.json()["results"]])
    [told] = companies(sandbox, "acme")
    assert ("Acme Inc", "acme") == (told["name"], told["account_id"])


def test_companies_are_no_contacts(sandbox, send):
    send("POST", UPSERT, {"inputs": [company("acme")]})
    assert 0 == sandbox.stats("hubspot")[0]["told"]["people"]
    names = {each["name"] for each in send("GET", "/crm/v3/properties/contacts").json()["results"]}
    assert "account_id" not in names
    assert {"name", "domain", "account_id"} <= {
        each["name"] for each in send("GET", "/crm/v3/properties/companies").json()["results"]
    }


def test_an_upsert_needs_a_property_with_unique_values(sandbox, send):
    send("POST", "/crm/v3/properties/companies", {**ACCOUNT, "name": "tier"})
    for by, words in (("tier", "not a unique property"), ("nothing", "PROPERTY_DOESNT_EXIST"), (None, "idProperty")):
        answer = send("POST", UPSERT, {"inputs": [company("acme", by)]})
        assert (400, True) == (answer.status_code, words in answer.json()["message"])
    assert [] == companies(sandbox)


def test_with_trace_ids_the_errors_are_told_apart_and_without_one_refuses_all(sandbox, send):
    inputs = [company("acme", trace="1"), company("bad@refused.example", trace="2")]
    answer = send("POST", UPSERT, {"inputs": inputs})
    assert 207 == answer.status_code
    assert [["2"]] == [each["context"]["objectWriteTraceId"] for each in answer.json()["errors"]]
    assert 1 == len(companies(sandbox))
    untraced = [company("bolt"), company("bad@refused.example")]
    assert 400 == send("POST", UPSERT, {"inputs": untraced}).status_code
    assert 1 == len(companies(sandbox))


def test_an_id_stands_once_in_a_batch(send):
    assert 400 == send("POST", UPSERT, {"inputs": [company("acme"), company("ACME")]}).status_code


def test_a_company_is_read_and_changed_by_its_property(send):
    assert 404 == send("GET", "/crm/v3/objects/companies/acme?idProperty=account_id").status_code
    made = send("POST", "/crm/v3/objects/companies", {"properties": {"account_id": "acme", "name": "Acme"}}).json()[
        "id"
    ]
    changed = send("PATCH", f"/crm/v3/objects/companies/{made}", {"properties": {"name": "Acme Inc"}})
    assert "Acme Inc" == changed.json()["properties"]["name"]
    assert made == send("GET", "/crm/v3/objects/companies/acme?idProperty=account_id").json()["id"]
    taken = send("POST", "/crm/v3/objects/companies", {"properties": {"account_id": "acme"}})
    assert (409, "CONFLICT") == (taken.status_code, taken.json()["category"])


def test_a_contact_is_associated_with_a_company_and_no_more(sandbox, send):
    def told():
        [account] = sandbox.told("hubspot", "a@b.co")
        return [name for name in account["people"][0]["values"] if name.startswith("company")]

    contact = send("POST", "/crm/v3/objects/contacts", {"properties": {"email": "a@b.co"}}).json()["id"]
    acme = send("POST", UPSERT, {"inputs": [company("acme")]}).json()["results"][0]["id"]
    batch = "/crm/v4/associations/contacts/companies/batch"
    pairs = [{"from": {"id": contact}, "to": {"id": acme}}, {"from": {"id": contact}, "to": {"id": "7"}}]
    answer = send("POST", f"{batch}/associate/default", {"inputs": pairs})
    assert (207, ["7"]) == (answer.status_code, answer.json()["errors"][0]["context"]["toObjectId"])
    assert ["company acme"] == told()
    gone = {"inputs": [{"from": {"id": contact}, "to": [{"id": acme}, {"id": "7"}]}]}
    assert [204, 204] == [send("POST", f"{batch}/archive", gone).status_code for _ in range(2)]
    assert [] == told()
    assert 400 == send("POST", f"{batch}/associate/default", {"inputs": [{"from": contact, "to": acme}]}).status_code
    ids = {"idProperty": "account_id", "properties": ["account_id"], "inputs": [{"id": "acme"}, {"id": "bolt"}]}
    read = send("POST", "/crm/v3/objects/companies/batch/read", ids)
    assert (207, [acme]) == (read.status_code, [each["id"] for each in read.json()["results"]])
