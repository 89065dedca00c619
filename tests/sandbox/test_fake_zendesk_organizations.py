"""The fake Zendesk's organizations."""

import pytest

API = "https://acme.zendesk.com/api/v2"
WRITE = "/organizations/create_or_update"
CHECKBOX = {"key": "vip", "title": "VIP", "type": "checkbox", "active": True, "description": ""}


@pytest.fixture
def send(gateway, clock):
    def send(method, path, body=None):
        clock.now += 0.1
        return gateway.send(method, API + path, body, headers={"Authorization": "Bearer token"})

    send("POST", "/organization_fields", {"organization_field": CHECKBOX})
    return send


def write(send, **organization):
    return send("POST", WRITE, {"organization": organization})


def error(answer):
    [(field, [wrong])] = answer.json()["details"].items()
    return answer.status_code, field, wrong["error"]


def test_an_organization_is_found_by_its_external_id_without_case(sandbox, send):
    made = write(send, external_id="Acme", name="Acme")
    known = write(send, external_id="acme", organization_fields={"vip": True})
    assert (201, 200) == (made.status_code, known.status_code)
    assert made.json()["organization"]["id"] == known.json()["organization"]["id"]
    [told] = sandbox.told("zendesk", "acme")
    assert [{"name": "Acme", "vip": True}] == [each["values"] for each in told["companies"]]
    assert [] == told["people"]


def test_a_new_one_needs_a_name_that_no_other_has(send):
    assert (422, "name", "BlankValue") == error(write(send, external_id="acme"))
    write(send, external_id="acme", name="Acme")
    assert (422, "name", "DuplicateValue") == error(write(send, external_id="bolt", name="ACME"))
    assert 200 == write(send, external_id="acme", name="Acme").status_code


def test_a_field_that_is_not_there_is_dropped_without_a_word(send):
    shown = write(send, external_id="acme", name="Acme", organization_fields={"mrr": 10, "vip": False})
    assert {"vip": False} == shown.json()["organization"]["organization_fields"]
    assert (422, "vip", "InvalidValue") == error(write(send, external_id="acme", organization_fields={"vip": "yes"}))


def test_fields_of_organizations_are_not_those_of_users(send):
    assert ["vip"] == [each["key"] for each in send("GET", "/organization_fields").json()["organization_fields"]]
    assert [] == send("GET", "/user_fields").json()["user_fields"]
    assert (422, "key", "DuplicateValue") == error(
        send("POST", "/organization_fields", {"organization_field": CHECKBOX})
    )


def test_a_refused_account_is_refused(send):
    assert (422, "external_id", "InvalidValue") == error(write(send, external_id="a@refused.example", name="Acme"))
    assert 400 == send("POST", WRITE, {}).status_code


def test_an_organization_is_searched_and_shown(send):
    number = write(send, external_id="acme", name="Acme").json()["organization"]["id"]
    assert [number] == [o["id"] for o in send("GET", "/organizations/search?external_id=ACME").json()["organizations"]]
    assert "Acme" == send("GET", f"/organizations/{number}").json()["organization"]["name"]
    assert 404 == send("GET", "/organizations/1").status_code


def test_a_user_joins_once_and_leaves_once(sandbox, send):
    organization = write(send, external_id="acme", name="Acme").json()["organization"]["id"]
    user = send("POST", "/users/create_or_update", {"user": {"name": "Ana", "email": "a@b.co"}}).json()["user"]["id"]
    ids = {"organization_membership": {"user_id": user, "organization_id": organization}}
    joined = [send("POST", "/organization_memberships", ids) for _ in range(2)]
    assert [201, 422] == [answer.status_code for answer in joined]
    [told] = sandbox.told("zendesk", "a@b.co")
    assert told["people"][0]["values"]["organization acme"]
    path = f"/users/{user}/organizations/{organization}"
    assert [204, 404] == [send("DELETE", path).status_code for _ in range(2)]
    wrong = {"organization_membership": {"user_id": str(user), "organization_id": organization}}
    assert 400 == send("POST", "/organization_memberships", wrong).status_code
    unknown = {"organization_membership": {"user_id": user, "organization_id": 1}}
    assert 404 == send("POST", "/organization_memberships", unknown).status_code
