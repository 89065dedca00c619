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
    assert [] == answer["failedUpdates"]["notFoundUserIds"]  # "for subscribe/unsubscribe only"
    assert [{"vip": True}] == people(sandbox, "a@b.co")


@pytest.fixture
def made(post):
    return post("lists", {"name": "vip"}).json()["listId"]


def members(sandbox):
    [account] = sandbox.told("iterable")
    return {each["name"]: each["members"] for each in account["lists"]}


def test_a_list_is_shown_and_two_may_have_one_name(gateway, post, made):
    again = post("lists", {"name": "vip"}).json()["listId"]
    shown = gateway.send("GET", f"{API}/lists", headers=KEY).json()["lists"]
    assert [(made, "vip", "Standard"), (again, "vip", "Standard")] == [
        (each["id"], each["name"], each["listType"]) for each in shown
    ]
    assert "BadParams" == post("lists", {}).json()["code"]


def test_people_join_and_leave_a_list(sandbox, post, made):
    people = [{"email": "A@b.co"}, {"email": "b@b.co"}, {"userId": "u9"}, {"email": "c@refused.example"}]
    joined = post("lists/subscribe", {"listId": made, "subscribers": people}).json()
    assert (2, 2, ["u9"]) == (joined["successCount"], joined["failCount"], joined["failedUpdates"]["notFoundUserIds"])
    assert {"vip": [{"email": "a@b.co"}, {"email": "b@b.co"}]} == members(sandbox)
    left = post("lists/unsubscribe", {"listId": made, "subscribers": [{"email": "a@b.co"}, {"email": "x@b.co"}]}).json()
    assert (1, ["x@b.co"]) == (left["successCount"], left["failedUpdates"]["notFoundEmails"])
    assert {"vip": [{"email": "b@b.co"}]} == members(sandbox)


def test_who_is_deleted_is_on_no_list(sandbox, gateway, post, made):
    post("lists/subscribe", {"listId": made, "subscribers": [{"email": "a@b.co"}]})
    gateway.send("DELETE", f"{API}/users/a%40b.co", headers=KEY)
    assert {"vip": []} == members(sandbox)


def test_a_list_that_is_not_there_is_told_by_the_message(gateway, post, made):
    assert 200 == gateway.send("DELETE", f"{API}/lists/{made}", headers=KEY).status_code
    answer = post("lists/subscribe", {"listId": made, "subscribers": [{"email": "a@b.co"}]})
    assert (400, "BadParams") == (answer.status_code, answer.json()["code"])
    assert f"error.lists.invalidListId({made})" == answer.json()["msg"]


def test_messages_are_never_ended_with_a_list(post, made):
    body = {"listId": made, "subscribers": [{"email": "a@b.co"}], "channelUnsubscribe": True}
    assert 400 == post("lists/unsubscribe", body).status_code


def test_nothing_is_taken_about_who_was_forgotten(sandbox, post):
    post("users/update", {"email": "a@b.co", "dataFields": {"userId": "u1"}})
    assert [200, 200] == [post("users/forget", {"email": "a@b.co"}).status_code for _ in range(2)]
    assert [] == people(sandbox, "a@b.co")
    answer = post("users/bulkUpdate", {"users": [{"email": "a@b.co"}, {"userId": "u1"}]}).json()["failedUpdates"]
    assert (["a@b.co"], ["u1"]) == (answer["forgottenEmails"], answer["forgottenUserIds"])
    assert "ForgottenUserError" == post("users/update", {"email": "a@b.co"}).json()["code"]
    assert "BadParams" == post("users/forget", {"userId": "u1"}).json()["code"]  # keyed by e-mail


def test_keys_of_one_project_share_its_people_and_caps(gateway, post, sandbox):
    for key in ("acme.one", "acme.two"):
        for _ in range(3):
            answer = gateway.send("POST", f"{API}/users/bulkUpdate", {}, headers={"Api-Key": key})
    assert 429 == answer.status_code
    assert 1 == len(sandbox.told("iterable"))


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


@pytest.mark.parametrize(("path", "cap"), [("users/bulkUpdate", 5), ("events/trackBulk", 10), ("users/forget", 3)])
def test_some_endpoints_have_caps_of_their_own(clock, post, path, cap):
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
