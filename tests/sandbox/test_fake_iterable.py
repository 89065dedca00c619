"""The fake Iterable."""

import pytest

API = "https://api.iterable.com/api"
KEY = {"Api-Key": "key"}


@pytest.fixture
def post(gateway):
    return lambda path, body: gateway.send("POST", f"{API}/{path}", body, headers=KEY)


def people(sandbox, identifier):
    [account] = sandbox.told("iterable", identifier)
    return [person["values"] for person in account["people"]]


def test_a_profile_is_kept_by_its_email_in_lower_case(sandbox, post):
    answer = post("users/update", {"email": "Ann@B.co", "userId": "u1", "dataFields": {"vip": True}})
    assert (200, "Success") == (answer.status_code, answer.json()["code"])
    assert [{"vip": True}] == people(sandbox, "ann@b.co") == people(sandbox, "u1")


def test_a_user_id_alone_makes_a_profile_only_if_preferred(sandbox, post):
    assert "UnknownUserIdError" == post("users/update", {"userId": "u1", "dataFields": {"vip": True}}).json()["code"]
    assert 200 == post("users/update", {"userId": "u1", "preferUserId": True, "dataFields": {"vip": True}}).status_code
    assert [{"vip": True}] == people(sandbox, "u1")


def test_bulk_failures_are_listed_by_identifier_and_the_others_are_taken(sandbox, post):
    users = [
        {"email": "a@b.co", "dataFields": {"vip": True}},
        {"email": "b@refused.example", "dataFields": {"vip": True}},
        {"userId": "u9", "dataFields": {"vip": True}},
    ]
    answer = post("users/bulkUpdate", {"users": users}).json()
    assert (1, 2) == (answer["successCount"], answer["failCount"])
    assert ["b@refused.example"] == answer["invalidEmails"] == answer["failedUpdates"]["invalidEmails"]
    assert ["u9"] == answer["failedUpdates"]["notFoundUserIds"]
    assert [{"vip": True}] == people(sandbox, "a@b.co")


def test_a_value_of_another_type_refuses_the_whole_request(sandbox, post):
    post("users/update", {"email": "a@b.co", "dataFields": {"vip": True}})
    users = [{"email": "c@b.co", "dataFields": {"ltv": 4}}, {"email": "d@b.co", "dataFields": {"vip": "yes"}}]
    answer = post("users/bulkUpdate", {"users": users})
    assert (400, "RequestFieldsTypesMismatched") == (answer.status_code, answer.json()["code"])
    assert {"vip"} == set(answer.json()["params"]["validationErrors"])
    assert "boolean" == answer.json()["params"]["validationErrors"]["vip"]["expectedType"]
    assert [] == people(sandbox, "c@b.co")


@pytest.mark.parametrize("path", ["events/track", "events/trackBulk"])
def test_an_event_with_a_known_id_replaces_the_stored_one(sandbox, post, path):
    for number in (1, 2):
        event = {"email": "a@b.co", "eventName": "e", "id": "m1", "createdAt": 1, "dataFields": {"n": number}}
        assert 200 == post(path, event if path == "events/track" else {"events": [event]}).status_code
    [account] = sandbox.told("iterable", "a@b.co")
    assert [({"n": 2}, 1)] == [(event["properties"], event["repeats"]) for event in account["events"]]
    assert [] == account["people"]


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("users/update", {"dataFields": {}}, "BadParams"),
        ("users/update", {"email": "nobody"}, "InvalidEmailAddressError"),
        ("users/bulkUpdate", {"users": []}, "BadParams"),
        ("users/bulkUpdate", {"users": [{"email": "a@b.co"}] * 1001}, "BatchTooLarge"),
        ("events/track", {"email": "a@b.co"}, "BadParams"),
        ("events/track", {"email": "a@b.co", "eventName": "e", "createdAt": "now"}, "BadParams"),
        ("events/trackBulk", {"events": [{"email": "a@b.co", "eventName": "e", "id": "x" * 513}]}, "BadParams"),
    ],
)
def test_ill_formed_bodies_are_refused_with_a_code(post, path, body, code):
    answer = post(path, body)
    assert (400, code) == (answer.status_code, answer.json()["code"])


def test_a_profile_can_be_deleted_once(sandbox, gateway, post):
    post("users/update", {"email": "a@b.co", "dataFields": {}})
    answers = [gateway.send("DELETE", f"{API}/users/a%40b.co", headers=KEY).json()["code"] for _ in range(2)]
    assert ["Success", "UnknownEmailError"] == answers
    assert [] == people(sandbox, "a@b.co")


@pytest.mark.parametrize(("path", "cap"), [("users/bulkUpdate", 5), ("events/trackBulk", 10)])
def test_bulk_endpoints_have_caps_of_their_own(clock, post, path, cap):
    assert {400} == {post(path, {}).status_code for _ in range(cap)}
    answer = post(path, {})
    assert (429, "RateLimitExceeded") == (answer.status_code, answer.json()["code"])
    assert 400 == post("users/update", {}).status_code
    clock.now += 1
    assert 400 == post(path, {}).status_code


def test_without_a_key_the_answer_is_401(gateway):
    answer = gateway.send("GET", f"{API}/lists")
    assert (401, "BadApiKey") == (answer.status_code, answer.json()["code"])
    assert 200 == gateway.send("GET", f"{API}/lists", headers=KEY).status_code
