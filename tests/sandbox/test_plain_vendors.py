"""Fake vendors that are declared, over real HTTP: by two that are."""

from typing import Any

import pytest

VERO = "https://api.getvero.com/api/v2"
KLAVIYO = "https://a.klaviyo.com/api"
KEY = {"Authorization": "Klaviyo-API-Key key", "revision": "2026-07-15"}


def vero(gateway: Any, path: str, body: Any) -> Any:
    return gateway.send("POST", f"{VERO}/{path}", body)


def test_a_user_and_an_event_are_kept(sandbox: Any, gateway: Any) -> None:
    user = {"auth_token": "key", "id": "u1", "email": "a@b.co", "data": {"vip": True}}
    event = {"auth_token": "key", "identity": {"id": "u1"}, "event_name": "Entered", "data": {"n": 1}}
    assert [200, 200] == [
        vero(gateway, "users/track", user).status_code,
        vero(gateway, "events/track", event).status_code,
    ]
    [account] = sandbox.told("vero", "a@b.co")
    assert [{"vip": True}] == [person["values"] for person in account["people"]]
    [account] = sandbox.told("vero", "u1")
    assert [("Entered", {"n": 1})] == [(each["name"], each["properties"]) for each in account["events"]]


@pytest.mark.parametrize(
    ("path", "change", "status"),
    [
        ("users/track", {"auth_token": ""}, 401),
        ("users/track", {"id": None}, 400),
        ("users/track", {"id": 7}, 400),
        ("users/track", {"id": "x@refused.example"}, 400),
        ("users/track", {"data": "text"}, 400),
        ("users/other", {}, 404),
        ("events/track", {"identity": {"id": "u1"}}, 400),
    ],
)
def test_what_is_not_as_it_should_be_is_refused(
    sandbox: Any, gateway: Any, path: str, change: dict[str, Any], status: int
) -> None:
    user = {"auth_token": "key", "id": "u1", "data": {"vip": True}}
    assert status == vero(gateway, path, user | change).status_code
    assert not any(account["people"] for account in sandbox.told("vero"))


def profiles(*attributes: dict[str, Any]) -> dict[str, Any]:
    data = [{"type": "profile", "attributes": {**each, "properties": {"vip": True}}} for each in attributes]
    return {"data": {"type": "profile-bulk-import-job", "attributes": {"profiles": {"data": data}}}}


def test_a_job_takes_the_good_profiles_and_names_the_others(sandbox: Any, gateway: Any) -> None:
    sent = profiles({"email": "a@b.co"}, {"email": "b@refused.example"})
    answer = gateway.send("POST", f"{KLAVIYO}/profile-bulk-import-jobs", sent, headers=KEY)
    assert 202 == answer.status_code
    job = f"{KLAVIYO}/profile-bulk-import-jobs/{answer.json()['data']['id']}"
    assert {"status": "complete", "failed_count": 1} == gateway.send("GET", job, headers=KEY).json()["data"][
        "attributes"
    ]
    [error] = gateway.send("GET", f"{job}/import-errors", headers=KEY).json()["data"]
    assert "b@refused.example" == error["attributes"]["original_payload"]["email"]
    [account] = sandbox.told("klaviyo")
    assert [{"vip": True}] == [person["values"] for person in account["people"]]


@pytest.mark.parametrize("wrong", [{}, {"revision": "2024-10-15"}])
def test_another_revision_is_refused(sandbox: Any, gateway: Any, wrong: dict[str, str]) -> None:
    headers = {"Authorization": KEY["Authorization"], **wrong}
    path = f"{KLAVIYO}/profile-bulk-import-jobs"
    assert 400 == gateway.send("POST", path, profiles({"email": "a@b.co"}), headers=headers).status_code


def test_a_job_that_nobody_began_is_not_there(sandbox: Any, gateway: Any) -> None:
    assert 404 == gateway.send("GET", f"{KLAVIYO}/profile-bulk-import-jobs/job-9", headers=KEY).status_code


def test_an_import_names_the_event_that_it_does_not_take(sandbox: Any, gateway: Any) -> None:
    events = [
        {"event": "Entered", "properties": {"distinct_id": who, "time": 1, "$insert_id": who}}
        for who in ("u1", "u2@refused.example")
    ]
    answer = gateway.send(
        "POST", "https://api.mixpanel.com/import?strict=1", events, headers={"Authorization": "Basic a2V5Og=="}
    )
    assert (400, ["u2@refused.example"]) == (
        answer.status_code,
        [row["insert_id"] for row in answer.json()["failed_records"]],
    )
    [account] = sandbox.told("mixpanel", "u1")
    assert ["Entered"] == [each["name"] for each in account["events"]]


def test_fields_in_a_path_pairs_and_a_body_that_is_a_list(sandbox: Any, gateway: Any) -> None:
    url, headers = "https://go.urbanairship.com/api", {"Authorization": "Bearer key"}
    headers["accept"] = "application/vnd.urbanairship+json; version=3"
    told = {"attributes": [{"action": "set", "key": "vip", "value": "true"}]}
    assert 200 == gateway.send("POST", f"{url}/named_users/u%2F1/attributes", told, headers=headers).status_code
    [account] = sandbox.told("airship", "u/1")
    assert [{"vip": "true"}] == [person["values"] for person in account["people"]]
    assert 400 == gateway.send("POST", f"{url}/named_users/u1/attributes", {"a": 1}, headers=headers).status_code
    event = {"user": {"named_user_id": "u1"}, "occurred": "now", "body": {"name": "a", "properties": {"n": 1}}}
    assert 200 == gateway.send("POST", f"{url}/custom-events", [event, event], headers=headers).status_code
    assert 400 == gateway.send("POST", f"{url}/custom-events", [event] * 101, headers=headers).status_code
