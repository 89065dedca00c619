"""The fake HubSpot."""

import pytest

from sandbox.testing import running_sandbox
from sandbox.workspace import accounts
from schemas.secret import Secret
from schemas.workspace import Computation, Connection, Sync, Workspace
from transforms.destinations.hubspot import HubSpot

API = "https://api.hubapi.com"
CONTACTS = "/crm/v3/objects/contacts"
TOKEN = {"Authorization": "Bearer token"}
CHECKBOX = {
    "name": "vip",
    "label": "VIP",
    "groupName": "contactinformation",
    "type": "enumeration",
    "fieldType": "booleancheckbox",
    "options": [{"label": v.title(), "value": v, "displayOrder": 1, "hidden": False} for v in ("true", "false")],
}


@pytest.fixture
def send(gateway, clock):
    """Requests that are a tenth of a second apart, as the cap wants them."""

    def send(method, path, body=None):
        clock.now += 0.1
        return gateway.send(method, API + path, body, headers=TOKEN)

    send("POST", "/crm/v3/properties/contacts", CHECKBOX)
    return send


def create(send, email, **properties):
    return send("POST", CONTACTS, {"properties": {"email": email, **properties}}).json()["id"]


def vip(sandbox, email):
    [account] = sandbox.told("hubspot", email)
    return account["people"][0]["values"].get("vip")


def test_a_contact_is_patched_created_and_patched(sandbox, send):
    patch = ("PATCH", f"{CONTACTS}/a%40b.co?idProperty=email", {"properties": {"vip": "false"}})
    assert (404, "OBJECT_NOT_FOUND") == ((answer := send(*patch)).status_code, answer.json()["category"])
    assert 201 == send("POST", CONTACTS, {"properties": {"email": "A@b.co", "vip": "true"}}).status_code
    assert "true" == vip(sandbox, "a@b.co")
    assert 200 == send(*patch).status_code
    assert "false" == vip(sandbox, "a@b.co")


def test_creating_a_known_contact_is_a_conflict(send):
    number = create(send, "a@b.co")
    answer = send("POST", CONTACTS, {"properties": {"email": "a@b.co"}})
    assert (409, "CONFLICT") == (answer.status_code, answer.json()["category"])
    assert number in answer.json()["message"]


def test_an_unknown_property_refuses_the_whole_batch(sandbox, send):
    number = create(send, "a@b.co")
    inputs = [{"id": number, "properties": {"vip": "true"}, "objectWriteTraceId": "1"}]
    inputs.append({"id": "7", "properties": {"nothing": "1"}, "objectWriteTraceId": "2"})
    answer = send("POST", f"{CONTACTS}/batch/update", {"inputs": inputs})
    assert 400 == answer.status_code
    assert '"error": "PROPERTY_DOESNT_EXIST", "name": "nothing"' in answer.json()["message"]
    assert vip(sandbox, "a@b.co") is None


def test_a_batch_read_says_which_are_missing(send):
    number = create(send, "a@b.co", vip="true")
    ids = [{"id": "a@b.co"}, {"id": "c@b.co"}]
    body = {"idProperty": "email", "properties": ["vip"], "inputs": ids}
    answer = send("POST", f"{CONTACTS}/batch/read", body)
    assert 207 == answer.status_code
    assert [(number, "true")] == [(r["id"], r["properties"]["vip"]) for r in answer.json()["results"]]
    [error] = answer.json()["errors"]
    assert ("OBJECT_NOT_FOUND", ["c@b.co"]) == (error["category"], error["context"]["ids"])
    assert 200 == send("POST", f"{CONTACTS}/batch/read", {**body, "inputs": ids[:1]}).status_code


def test_a_contact_is_found_by_its_other_emails(send):
    number = create(send, "a@b.co", hs_additional_emails="c@b.co;d@b.co")
    assert number == send("GET", f"{CONTACTS}/d%40b.co?idProperty=email").json()["id"]


def test_duplicate_ids_in_a_batch_are_refused(send):
    number = create(send, "a@b.co")
    inputs = [{"id": number, "properties": {"vip": value}} for value in ("true", "false")]
    answer = send("POST", f"{CONTACTS}/batch/update", {"inputs": inputs})
    assert (400, "VALIDATION_ERROR") == (answer.status_code, answer.json()["category"])
    assert "Duplicate IDs" in answer.json()["message"]


def test_with_trace_ids_the_errors_of_a_batch_are_told_apart(sandbox, send):
    emails = ("a@b.co", "b@refused.example", "a@b.co")
    inputs = [
        {"properties": {"email": email, "vip": "true"}, "objectWriteTraceId": str(i)} for i, email in enumerate(emails)
    ]
    answer = send("POST", f"{CONTACTS}/batch/create", {"inputs": inputs})
    assert (207, 2) == (answer.status_code, answer.json()["numErrors"])
    assert [["1"], ["2"]] == [error["context"]["objectWriteTraceId"] for error in answer.json()["errors"]]
    assert "INVALID_EMAIL" in answer.json()["errors"][0]["message"]
    assert ["0"] == [result["objectWriteTraceId"] for result in answer.json()["results"]]
    assert "true" == vip(sandbox, "a@b.co")


def test_without_trace_ids_one_error_refuses_all(sandbox, send):
    inputs = [{"properties": {"email": email}} for email in ("a@b.co", "b@refused.example")]
    assert 400 == send("POST", f"{CONTACTS}/batch/create", {"inputs": inputs}).status_code
    assert 0 == sandbox.stats("hubspot")[0]["told"]["people"]


def test_an_upsert_says_what_is_new(send):
    create(send, "a@b.co")
    inputs = [{"id": email, "idProperty": "email", "properties": {"vip": "true"}} for email in ("a@b.co", "c@b.co")]
    answer = send("POST", "/crm/objects/2026-03/contacts/batch/upsert", {"inputs": inputs})
    assert [False, True] == [result["new"] for result in answer.json()["results"]]


@pytest.mark.parametrize("value", ["perhaps", "1"])
def test_a_value_that_is_no_option_is_refused(send, value):
    answer = send("POST", CONTACTS, {"properties": {"email": "a@b.co", "vip": value}})
    assert (400, "VALIDATION_ERROR") == (answer.status_code, answer.json()["category"])


def test_a_property_is_made_once_and_listed(send):
    answer = send("POST", "/crm/v3/properties/contacts", CHECKBOX)
    assert (409, "OBJECT_ALREADY_EXISTS") == (answer.status_code, answer.json()["category"])
    listed = send("GET", "/crm/properties/2026-03/contacts").json()["results"]
    assert "vip" in {declared["name"] for declared in listed}


def test_more_than_100_inputs_are_refused(send):
    inputs = [{"id": str(number)} for number in range(101)]
    assert 400 == send("POST", f"{CONTACTS}/batch/read", {"inputs": inputs}).status_code


def test_events_need_a_definition_and_are_dropped_when_repeated(sandbox, send):
    definition = {
        "label": "Audience Entered",
        "name": "audience_entered",
        "includeDefaultProperties": True,
        "propertyDefinitions": [{"name": "audience_key", "label": "key", "type": "string"}],
    }
    event = {"eventName": "pe1_x", "email": "a@b.co", "properties": {"audience_key": "vip"}, "uuid": "m1"}
    assert 400 == send("POST", "/events/v3/send", event).status_code
    name = send("POST", "/events/v3/event-definitions", definition).json()["fullyQualifiedName"]
    assert 204 == send("POST", "/events/v3/send", {**event, "eventName": name}).status_code
    assert 204 == send("POST", "/events/v3/send/batch", {"inputs": [{**event, "eventName": name}]}).status_code
    [account] = sandbox.told("hubspot", "a@b.co")
    assert [(name, 1)] == [(kept["name"], kept["repeats"]) for kept in account["events"]]
    assert 400 == send("POST", "/events/v3/send", {**event, "eventName": name, "properties": {"other": 1}}).status_code


def test_a_forgotten_contact_is_gone(sandbox, send):
    create(send, "a@b.co")
    forget = {"idProperty": "email", "objectId": "a@b.co"}
    assert [204, 204] == [send("POST", f"{CONTACTS}/gdpr-delete", forget).status_code for _ in range(2)]
    assert [] == sandbox.told("hubspot", "a@b.co")[0]["people"]


def test_the_cap_is_100_in_any_ten_seconds_for_each_token(gateway, clock):
    def read(token):
        headers = {"Authorization": f"Bearer {token}"}
        return gateway.send("GET", f"{API}/crm/v3/properties/contacts", headers=headers)

    assert {200} == {read("one").status_code for _ in range(100)}
    clock.now += 9.9
    answer = read("one")
    assert (429, "RATE_LIMIT") == (answer.status_code, answer.json()["errorType"])
    assert "TEN_SECONDLY_ROLLING" == answer.json()["policyName"]
    assert ("0", "10000") == tuple(
        answer.headers[f"X-HubSpot-RateLimit-{name}"] for name in ("Remaining", "Interval-Milliseconds")
    )
    assert 200 == read("another").status_code
    clock.now += 0.2
    assert 200 == read("one").status_code


def test_without_a_token_the_answer_is_401(gateway):
    answer = gateway.send("GET", f"{API}/crm/v3/properties/contacts")
    assert (401, "INVALID_AUTHENTICATION") == (answer.status_code, answer.json()["category"])


# -- OAuth
GRANT = {"grant_type": "refresh_token", "client_id": "c1", "client_secret": "cs", "refresh_token": "r1"}


@pytest.fixture
def grant(gateway):
    """Ask for an access token; a field that is None is left out."""

    def grant(**form):
        sent = {name: value for name, value in {**GRANT, **form}.items() if value is not None}
        return gateway.send("POST", f"{API}/oauth/2026-03/token", data=sent)

    return grant


def read(gateway, token):
    answer = gateway.send("GET", f"{API}/crm/v3/properties/contacts", headers={"Authorization": f"Bearer {token}"})
    return answer.status_code, answer.json().get("category")


def test_a_granted_token_is_good_for_half_an_hour(gateway, grant, clock):
    first = grant().json()
    assert ("bearer", 1800, "r1") == (first["token_type"], first["expires_in"], first["refresh_token"])
    clock.now += 1799
    assert (200, None) == read(gateway, first["access_token"])
    second = grant().json()["access_token"]
    clock.now += 1
    assert (401, "EXPIRED_AUTHENTICATION") == read(gateway, first["access_token"])
    assert (200, None) == read(gateway, second)


def test_tokens_of_one_refresh_token_are_of_one_account(sandbox, gateway, grant):
    for refresh, email in (("r1", "a@b.co"), ("r1", "c@b.co"), ("r2", "d@b.co")):
        headers = {"Authorization": f"Bearer {grant(refresh_token=refresh).json()['access_token']}"}
        gateway.send("POST", f"{API}{CONTACTS}", {"properties": {"email": email}}, headers=headers)
    told = [[person["identifiers"]["email"] for person in account["people"]] for account in sandbox.told("hubspot")]
    assert [["a@b.co", "c@b.co"], ["d@b.co"]] == told


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"grant_type": "authorization_code"}, "BAD_GRANT_TYPE"),
        ({"client_id": None}, "BAD_CLIENT_ID"),
        ({"client_secret": ""}, "BAD_CLIENT_SECRET"),
        ({"refresh_token": None}, "BAD_REFRESH_TOKEN"),
    ],
)
def test_a_grant_needs_a_client_and_a_refresh_token(grant, form, status):
    answer = grant(**form)
    assert (400, status) == (answer.status_code, answer.json()["status"])


def test_a_grant_is_asked_for_by_a_form(gateway):
    assert 400 == gateway.send("POST", f"{API}/oauth/2026-03/token", GRANT).status_code


def test_a_token_that_nobody_granted_is_refused(gateway, grant):
    head, _, number = grant().json()["access_token"].rpartition("-")
    assert (401, "EXPIRED_AUTHENTICATION") == read(gateway, f"{head}-{int(number) + 1}")


def test_a_fault_expires_access_tokens_and_no_refresh_token(sandbox, gateway, grant, clock):
    sandbox.fault(destination="hubspot", expire=2)
    for _ in range(2):
        token = grant().json()["access_token"]
        assert (200, None) == read(gateway, token)
        clock.now += 2
        assert (401, "INVALID_AUTHENTICATION") == read(gateway, token)


@pytest.fixture
def connected(monkeypatch):
    """A connection by OAuth."""
    monkeypatch.setenv("REFRESH", "r1")
    monkeypatch.setenv("CLIENT", "cs")
    secrets = {"refresh_token": Secret("${REFRESH}"), "client_secret": Secret("${CLIENT}")}
    settings = HubSpot.Settings(client_id="c1", upsert=True, **secrets)
    connection = Connection("hubspot", "hubspot", (Sync("vip", forms=("identify",)),), settings)
    return Workspace("shop", (Computation("VIP", "audience", "vip", "c1"),), (connection,))


def test_a_workspace_tells_which_refresh_token_is_right(connected, gateway, grant):
    _, secrets = accounts(connected)
    with running_sandbox(credentials=secrets) as running:
        gateway.url = running.url
        assert (200, None) == read(gateway, grant().json()["access_token"])
        assert 401 == grant(refresh_token="r2").status_code
        assert 401 == read(gateway, "r1")[0], "a refresh token is no access token"


def test_a_list_has_a_name_of_its_own_and_contacts_by_record(sandbox, gateway):
    lists = f"{API}/crm/v3/lists"
    assert 404 == gateway.send("GET", f"{lists}/object-type-id/0-1/name/vip", headers=TOKEN).status_code
    made = {"name": "vip", "objectTypeId": "0-1", "processingType": "MANUAL"}
    number = gateway.send("POST", lists, made, headers=TOKEN).json()["list"]["listId"]
    again = gateway.send("POST", lists, {**made, "name": "VIP"}, headers=TOKEN)
    assert (400, "ILS.DUPLICATE_LIST_NAMES") == (again.status_code, again.json()["subCategory"])
    contact = {"properties": {"email": "a@b.co"}}
    record = gateway.send("POST", f"{API}/crm/v3/objects/contacts", contact, headers=TOKEN).json()["id"]
    change = {"recordIdsToAdd": [record, "9999"], "recordIdsToRemove": []}
    answer = gateway.send("PUT", f"{lists}/{number}/memberships/add-and-remove", change, headers=TOKEN)
    assert ["9999"] == answer.json()["recordIdsMissing"]
    [account] = sandbox.told("hubspot", "a@b.co")
    assert [True] == [person["values"]["list vip"] for person in account["people"]]
    gateway.send("DELETE", f"{lists}/{number}", headers=TOKEN)
    gone = gateway.send("PUT", f"{lists}/{number}/memberships/add-and-remove", change, headers=TOKEN)
    assert 404 == gone.status_code
