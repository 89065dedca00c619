"""The fake Braze."""

from collections.abc import Callable
from typing import Any

import pytest
import requests

TRACK = "https://rest.fra-01.braze.eu/users/track"
IDENTIFY = "https://rest.fra-01.braze.eu/users/identify"
DELETE = "https://rest.fra-01.braze.eu/users/delete"
KEY = {"Authorization": "Bearer key"}


@pytest.fixture
def track(gateway) -> Callable[..., requests.Response]:
    def send(**arrays: Any) -> requests.Response:
        return gateway.send("POST", TRACK, arrays, headers=KEY)

    return send


def person(sandbox, identifier):
    [account] = sandbox.told("braze", identifier)
    return account["people"][0]["values"] if account["people"] else None


def test_attributes_are_kept_and_null_removes_one(sandbox, track):
    answer = track(attributes=[{"external_id": "u1", "email": "a@b.co", "vip": True, "ltv": 1.5}])
    assert (201, {"message": "success", "attributes_processed": 1}) == (answer.status_code, answer.json())
    track(attributes=[{"external_id": "u1", "ltv": None}])
    assert {"vip": True, "email": "a@b.co"} == person(sandbox, "u1")
    assert {"vip": True, "email": "a@b.co"} == person(sandbox, "a@b.co")


def test_every_write_is_told_in_its_order(sandbox, track):
    for value in (1, 3, 2):
        track(attributes=[{"external_id": "u1", "ltv": value}])
    [account] = sandbox.told("braze", "u1")
    assert [1, 3, 2] == [write["values"]["ltv"] for write in account["people"][0]["told"]]


def test_items_fail_one_by_one_by_array_and_index(sandbox, track):
    answer = track(
        attributes=[{"vip": True}, {"external_id": "u1", "vip": True}, {"email": "x@refused.example"}],
        events=[{"external_id": "u1", "name": "Audience Entered"}],
    )
    assert 201 == answer.status_code
    assert [("attributes", 0), ("attributes", 2), ("events", 0)] == [
        (error["input_array"], error["index"]) for error in answer.json()["errors"]
    ]
    assert (
        "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required" == answer.json()["errors"][0]["type"]
    )
    assert {"vip": True} == person(sandbox, "u1")


def test_a_request_of_which_nothing_is_valid_is_a_400_with_errors(track):
    answer = track(attributes=[{"vip": True}])
    assert (400, 1) == (answer.status_code, len(answer.json()["errors"]))
    assert 400 == track().status_code


def test_an_unknown_alias_is_ignored_unless_it_may_be_made(sandbox, track):
    alias = {"alias_name": "anon-1", "alias_label": "web"}
    assert 201 == track(attributes=[{"user_alias": alias, "vip": True}]).status_code
    assert person(sandbox, "web:anon-1") is None
    track(attributes=[{"user_alias": alias, "vip": True, "_update_existing_only": False}])
    assert {"vip": True} == person(sandbox, "web:anon-1")


def test_more_than_75_objects_are_refused(track):
    people = [{"external_id": f"u{i}", "vip": True} for i in range(75)]
    assert 201 == track(attributes=people).status_code
    events = [{"external_id": "u1", "name": "e", "time": "2024-05-01T10:00:00Z"}]
    assert 400 == track(attributes=people, events=events).status_code


def test_a_repeated_event_counts_twice(sandbox, track):
    for _ in range(2):
        track(events=[{"external_id": "u1", "name": "e", "time": "2024-05-01T10:00:00Z", "properties": {"a": 1}}])
    assert 2 == sandbox.stats("braze")[0]["told"]["events"]


def test_a_deleted_user_is_gone(sandbox, gateway, track):
    track(attributes=[{"external_id": "u1", "vip": True}])
    answer = gateway.send("POST", DELETE, {"external_ids": ["u1", "u2"]}, headers=KEY)
    assert {"deleted": 1, "message": "success"} == answer.json()
    assert person(sandbox, "u1") is None


def test_a_user_made_anew_within_five_minutes_goes_with_the_deletion(sandbox, clock, gateway, track):
    anew = {"external_id": "u1", "vip": True}
    track(attributes=[anew])
    gateway.send("POST", DELETE, {"external_ids": ["u1"]}, headers=KEY)
    clock.now += 299
    assert 201 == track(attributes=[anew]).status_code
    assert person(sandbox, "u1") is None
    clock.now += 1
    track(attributes=[anew])
    assert {"vip": True} == person(sandbox, "u1")


@pytest.mark.parametrize(("kind", "value"), [("email", "ana@example.com"), ("phone", "+14155550100")])
def test_a_user_is_deleted_by_address_or_number_with_a_priority(sandbox, gateway, track, kind, value):
    many = {"email": "email_addresses", "phone": "phone_numbers"}[kind]
    track(attributes=[{kind: value, "vip": True}])
    assert 400 == gateway.send("POST", DELETE, {many: [{kind: value}]}, headers=KEY).status_code
    whom = {kind: value.upper(), "prioritization": ["unidentified", "most_recently_updated"]}
    assert 1 == gateway.send("POST", DELETE, {many: [whom]}, headers=KEY).json()["deleted"]
    assert person(sandbox, value) is None


def test_the_cap_is_100_in_any_second_and_the_answer_says_how_long_to_wait(clock, track):
    body = {"attributes": [{"external_id": "u1", "vip": True}]}
    assert {201} == {track(**body).status_code for _ in range(100)}
    answer = track(**body)
    assert 429 == answer.status_code
    assert ("1", "0") == tuple(answer.headers[f"X-RateLimit-{name}"] for name in ("Retry-After", "Remaining"))
    clock.now += 0.75
    assert 429 == track(**body).status_code
    clock.now += 0.25
    assert "99" == track(**body).headers["X-RateLimit-Remaining"]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "key"}, {"Authorization": "Basic key"}])
def test_without_a_bearer_key_the_answer_is_401(gateway, headers):
    assert 401 == gateway.send("POST", TRACK, {}, headers=headers).status_code


def test_more_than_4_mb_are_a_413(gateway):
    assert 413 == gateway.send("POST", TRACK, data=b" " * (4 * 1024 * 1024 + 1), headers=KEY).status_code


def test_a_deletion_takes_no_least_recently_updated_and_one_kind_of_profile(gateway):
    for wrong in (["least_recently_updated"], ["identified", "unidentified"], []):
        whom = {"email": "a@b.co", "prioritization": wrong}
        assert 400 == gateway.send("POST", DELETE, {"email_addresses": [whom]}, headers=KEY).status_code


ALIAS = {"alias_name": "anon-1", "alias_label": "web"}


@pytest.fixture
def identify(gateway) -> Callable[..., requests.Response]:
    def send(**arrays: Any) -> requests.Response:
        return gateway.send("POST", IDENTIFY, arrays, headers=KEY)

    return send


def alias_told(track, alias=ALIAS, **values: Any) -> None:
    track(attributes=[{"user_alias": alias, "_update_existing_only": False, **values}])


def test_an_alias_becomes_part_of_a_user_whose_own_values_stay(sandbox, track, identify):
    alias_told(track, vip=True, ltv=1)
    track(attributes=[{"external_id": "u1", "ltv": 5}])
    answer = identify(aliases_to_identify=[{"external_id": "u1", "user_alias": ALIAS}], merge_behavior="merge")
    assert (201, {"aliases_processed": 1, "message": "success"}) == (answer.status_code, answer.json())
    assert {"vip": True, "ltv": 5} == person(sandbox, "u1") == person(sandbox, "web:anon-1")
    assert 1 == sandbox.stats("braze")[0]["told"]["people"]


def test_an_alias_without_such_a_user_is_identified(sandbox, track, identify):
    alias_told(track, vip=True)
    identify(aliases_to_identify=[{"external_id": "u1", "user_alias": ALIAS}])
    assert {"vip": True} == person(sandbox, "u1")


def test_a_user_has_one_alias_of_a_label(sandbox, track, identify):
    other = {**ALIAS, "alias_name": "anon-2"}
    for alias in (ALIAS, other):
        alias_told(track, alias, **{alias["alias_name"]: True})
        identify(aliases_to_identify=[{"external_id": "u1", "user_alias": alias}])
    assert {"anon-1": True} == person(sandbox, "u1")
    assert {"anon-2": True} == person(sandbox, "web:anon-2")


def test_an_alias_that_is_not_there_changes_nothing(sandbox, identify):
    assert 201 == identify(aliases_to_identify=[{"external_id": "u1", "user_alias": ALIAS}]).status_code
    assert person(sandbox, "u1") is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"aliases_to_identify": []},
        {"aliases_to_identify": [{"user_alias": ALIAS}]},
        {"aliases_to_identify": [{"external_id": "u1", "user_alias": {"alias_name": "a"}}]},
        {"aliases_to_identify": [{"external_id": "u1", "user_alias": ALIAS}] * 51},
        {"emails_to_identify": [{"external_id": "u1", "email": "a@b.co"}]},
    ],
)
def test_what_cannot_be_identified_is_refused(identify, body):
    assert 400 == identify(**body).status_code


def test_an_array_of_more_than_25_elements_is_cut_without_a_word(sandbox, track):
    assert 201 == track(attributes=[{"external_id": "u1", "seen": list(range(26))}]).status_code
    assert list(range(25)) == person(sandbox, "u1")["seen"]


def test_properties_with_arrays_have_at_most_100_kb(track):
    event = {"external_id": "u1", "name": "e", "time": "2024-05-01T10:00:00Z"}
    answer = track(events=[{**event, "properties": {"seen": ["0123456789"] * 10_000}}])
    assert (400, "'properties' may have at most 100000 bytes") == (
        answer.status_code,
        answer.json()["errors"][0]["type"],
    )
