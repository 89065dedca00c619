"""The fake Salesforce Marketing Cloud."""

from typing import Any

import pytest

AUTH = "https://acme1.auth.marketingcloudapis.com/v2/token"
REST = "https://acme1.rest.marketingcloudapis.com"
CLIENT = {"grant_type": "client_credentials", "client_id": "c-1", "client_secret": "s3cret"}
KEY = {"name": "Contact Key", "type": "Text", "length": 20, "isPrimaryKey": True, "isNullable": False}
EMAIL = {"name": "Email", "type": "EmailAddress"}
VIP = {"name": "vip", "type": "Boolean"}


@pytest.fixture
def ask(gateway: Any) -> Any:
    token = gateway.send("POST", AUTH, CLIENT).json()["access_token"]

    def send(method: str, path: str, body: Any = None) -> Any:
        return gateway.send(method, REST + path, body, headers={"Authorization": f"Bearer {token}"})

    return send


@pytest.fixture
def extension(ask: Any) -> str:
    body = {
        "name": "people",
        "isSendable": True,
        "sendableCustomObjectField": "Contact Key",
        "fields": [KEY, EMAIL, VIP],
    }
    return str(ask("POST", "/data/v1/customobjects", body).json()["id"])


def rowset(*people: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"keys": {"Contact Key": key}, "values": values} for key, values in people]


def test_a_token_ends_after_18_minutes(gateway: Any, clock: Any, ask: Any) -> None:
    assert 200 == ask("GET", "/data/v1/customobjects?$search=x").status_code
    clock.now += 1_080
    assert 401 == ask("GET", "/data/v1/customobjects?$search=x").status_code
    assert 400 == gateway.send("POST", AUTH, {**CLIENT, "grant_type": "password"}).status_code


def test_a_data_extension_is_made_once_with_one_key(ask: Any, extension: str) -> None:
    found = ask("GET", "/data/v1/customobjects?$search=EOP").json()["items"]
    assert [("people", extension)] == [(each["name"], each["id"]) for each in found]
    for body in (
        {"name": "People", "fields": [KEY]},
        {"name": "other", "fields": [EMAIL]},
        {"name": "other", "fields": [KEY, {"name": "x", "type": "Blob"}]},
        {"name": "other", "fields": [KEY], "isSendable": True, "sendableCustomObjectField": "nope"},
    ):
        assert 400 == ask("POST", "/data/v1/customobjects", body).status_code
    assert 400 == ask("GET", "/data/v1/customobjects").status_code


def test_a_new_column_is_there_some_seconds_later(ask: Any, clock: Any, extension: str) -> None:
    path = f"/data/v1/customobjects/{extension}/fields"
    added = ask(
        "POST", f"/data/v1/customobjectsasync/{extension}/fields", {"fields": [{"name": "n", "type": "Decimal"}]}
    )
    assert 202 == added.status_code
    assert "n" not in [each["name"] for each in ask("GET", path).json()["fields"]]
    clock.now += 3
    assert "n" in [each["name"] for each in ask("GET", path).json()["fields"]]
    assert 404 == ask("GET", "/data/v1/customobjects/de-9/fields").status_code


def test_rows_before_the_bad_one_are_saved_and_it_is_not_named(sandbox: Any, ask: Any, extension: str) -> None:
    path = f"/hub/v1/dataevents/{extension}/rowset"
    answer = ask("POST", path, rowset(("u1", {"vip": True}), ("u2", {"vip": "yes"}), ("u3", {"vip": True})))
    assert (400, 10006) == (answer.status_code, answer.json()["errorcode"])
    told = [person for account in sandbox.told("salesforce-marketing-cloud") for person in account["people"]]
    assert ["u1"] == [person["identifiers"]["Contact Key"] for person in told]
    assert 200 == ask("POST", path, rowset(("u1", {"vip": False}))).status_code
    for values in ({"vip": None}, {"nope": 1}, {"Email": "nobody"}, {"Email": "x@refused.example"}):
        assert 400 == ask("POST", path, rowset(("u1", values))).status_code
    assert 400 == ask("POST", path, rowset(*[("u1", {"vip": True})] * 51)).status_code
    assert 404 == ask("POST", "/hub/v1/dataevents/de-9/rowset", rowset(("u1", {}))).status_code


def test_a_job_has_no_status_at_first_and_tells_rows_in_their_order(ask: Any, clock: Any, extension: str) -> None:
    rows = [{"Contact Key": key, "vip": True} for key in ("u1", "u2@refused.example", "deadlock-1")]
    path = f"/data/v1/async/dataextensions/{extension}/rows"
    job = ask("PUT", path, {"items": rows}).json()["requestId"]
    assert "status" not in ask("GET", f"/data/v1/async/{job}/status").json()
    clock.now += 2
    assert "Executing" == ask("GET", f"/data/v1/async/{job}/status").json()["status"]["requestStatus"]
    clock.now += 2
    now = ask("GET", f"/data/v1/async/{job}/status").json()["status"]
    assert ("Complete", "Has Errors") == (now["requestStatus"], now["resultStatus"])
    pages = [ask("GET", f"/data/v1/async/{job}/results?$page={page}&$pageSize=2").json()["items"] for page in (1, 2)]
    assert [["OK", "Error"], ["Error"]] == [[each["status"] for each in page] for page in pages]
    assert pages[1][0]["message"].endswith("Rerun the transaction.")
    again = ask("PUT", path, {"items": rows[2:]}).json()["requestId"]
    assert ["OK"] == [each["status"] for each in ask("GET", f"/data/v1/async/{again}/results").json()["items"]]
    assert 404 == ask("GET", "/data/v1/async/nope/status").status_code


def test_an_event_needs_a_definition(sandbox: Any, ask: Any) -> None:
    event = {"ContactKey": "u1", "EventDefinitionKey": "APIEvent-1", "Data": {"plan": "pro"}}
    assert 201 == ask("POST", "/interaction/v1/events", event).status_code
    for wrong in ({"EventDefinitionKey": "Missing-1"}, {"ContactKey": ""}, {"Data": "x"}):
        assert 400 == ask("POST", "/interaction/v1/events", event | wrong).status_code
    told = [each for account in sandbox.told("salesforce-marketing-cloud", "u1") for each in account["events"]]
    assert [("APIEvent-1", {"plan": "pro"})] == [(each["name"], each["properties"]) for each in told]
