"""The webhook receiver."""

import hmac
import json

import pytest

from sandbox.testing import running_sandbox

URL = "https://hooks.acme.example/in"
IDENTIFY = {"type": "identify", "userId": "u1", "traits": {"vip": True}}
TRACK = {"type": "track", "anonymousId": "a1", "event": "Audience Entered", "properties": {"audience_key": "vip"}}


def test_any_unknown_host_takes_messages(sandbox, gateway):
    by_email = {"type": "identify", "traits": {"email": "a@b.co", "vip": True}, "context": {}}
    for message in (IDENTIFY, TRACK, by_email):
        assert 200 == gateway.send("POST", URL, message).status_code
    assert {"vip": True} == sandbox.told("webhook", "u1")[0]["people"][0]["values"]
    assert ["Audience Entered"] == [event["name"] for event in sandbox.told("webhook", "a1")[0]["events"]]
    assert 1 == len(sandbox.told("webhook", "a@b.co")[0]["people"])


def test_a_delete_message_forgets_the_person(sandbox, gateway):
    gateway.send("POST", URL, IDENTIFY)
    gateway.send("POST", URL, {"type": "delete", "userId": "u1"})
    assert [] == sandbox.told("webhook", "u1")[0]["people"]


@pytest.mark.parametrize(
    "body",
    [
        {"userId": "u1"},
        {**IDENTIFY, "traits": None},
        {"type": "identify", "traits": {}},
        {**TRACK, "event": ""},
        {**IDENTIFY, "userId": "x@refused.example"},
        [IDENTIFY, 7],
    ],
)
def test_what_is_no_message_is_a_400(gateway, body):
    assert 400 == gateway.send("POST", URL, body).status_code


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_message_may_come_by_other_methods_and_to_any_path(sandbox, gateway, method):
    assert 200 == gateway.send(method, f"{URL}/users/u%2F1", IDENTIFY).status_code
    assert {"vip": True} == sandbox.told("webhook", "u1")[0]["people"][0]["values"]


def test_only_messages_in_json_are_understood(gateway):
    assert 405 == gateway.send("GET", URL).status_code
    assert 415 == gateway.send("POST", URL, data="x").status_code


def test_a_signature_is_checked_over_the_exact_bytes(gateway):
    body = json.dumps(IDENTIFY, indent=1).encode()
    good = hmac.new(b"secret", body, "sha1").hexdigest()
    with running_sandbox(credentials={"webhook": {"secret"}}) as signed:
        gateway.url = signed.url
        for signature, status in ((good, 200), ("0" * 40, 401), (None, 401)):
            headers = {"Content-Type": "application/json", "X-Signature": signature}
            assert status == gateway.send("POST", URL, data=body, headers=headers).status_code


def test_an_ill_formed_signature_is_a_401(gateway):
    assert 401 == gateway.send("POST", URL, IDENTIFY, headers={"X-Signature": "sha1=abc"}).status_code
