"""The fake Pub/Sub: who signs in with which key, and what it publishes."""

from base64 import b64encode
from json import dumps
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sandbox.testing import running_sandbox
from transforms.destinations.transcripts import variables

KEY = variables("${PRIVATE_KEY}")["PRIVATE_KEY"]
TOKENS = "https://oauth2.googleapis.com/token"
PUBLISH = "https://pubsub.googleapis.com/v1/projects/acme-data/topics/changes:publish"


def signed_in(gateway: Any, now: float, **change: Any) -> Any:
    claims = {
        "iss": "sender@acme.example", "scope": "https://www.googleapis.com/auth/pubsub", "aud": TOKENS,
        "iat": int(now), "exp": int(now) + 300,
    } | change  # fmt: skip
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": jwt.encode(claims, KEY.replace("\\n", "\n"), "RS256"),
    }
    return gateway.send("POST", TOKENS, data=form)


def published(gateway: Any, token: str, messages: Any, url: str = PUBLISH) -> Any:
    return gateway.send("POST", url, {"messages": messages}, headers={"Authorization": f"Bearer {token}"})


def data(message: Any) -> dict[str, str]:
    return {"data": b64encode(dumps(message).encode()).decode()}


MESSAGE = data({"type": "track", "userId": "u1", "event": "In"})


@pytest.mark.parametrize("known", [{KEY}, set()])
def test_who_signed_in_publishes(gateway: Any, known: set[str]) -> None:
    with running_sandbox(credentials={"oauth2.googleapis.com": known}) as running:
        gateway.url = running.url
        answer = signed_in(gateway, running.sandbox.now())
        told = published(gateway, answer.json()["access_token"], [MESSAGE, MESSAGE])
        assert {"messageIds": ["1", "2"]} == told.json()
        [account] = [each for each in running.told("google-cloud-pubsub", "u1") if each["events"]]
        assert ["In", "In"] == [each["name"] for each in account["events"]]


def test_another_key_is_refused(gateway: Any) -> None:
    key = generate_private_key(65537, 2048)
    other = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with running_sandbox(credentials={"oauth2.googleapis.com": {other}}) as running:
        gateway.url = running.url
        assert 401 == signed_in(gateway, running.sandbox.now()).status_code


@pytest.mark.parametrize("change", [{"aud": "https://other.example"}, {"scope": "email"}, {"exp": 0}, {"iat": 0}])
def test_an_assertion_is_dated_and_for_google(gateway: Any, change: dict[str, Any]) -> None:
    with running_sandbox() as running:
        gateway.url = running.url
        assert 400 == signed_in(gateway, running.sandbox.now(), **change).status_code


def test_a_token_ends(sandbox: Any, gateway: Any, clock: Any) -> None:
    token = signed_in(gateway, sandbox.sandbox.now()).json()["access_token"]
    assert 200 == published(gateway, token, [MESSAGE]).status_code
    clock.now += 3_600
    assert 401 == published(gateway, token, [MESSAGE]).status_code
    assert 401 == published(gateway, "made-up", [MESSAGE]).status_code


@pytest.mark.parametrize(("messages", "url", "status"), [
    ([], PUBLISH, 400), ([MESSAGE] * 1_001, PUBLISH, 400), ([{}], PUBLISH, 400), ([MESSAGE, 7], PUBLISH, 400),
    ([MESSAGE], PUBLISH.replace("changes", "x"), 400), ([MESSAGE], PUBLISH.replace(":publish", ""), 404),
    ([data("x" * 8_000_000)], PUBLISH, 400),
])  # fmt: skip
def test_messages_that_are_not_as_they_should_be_are_refused(
    sandbox: Any, gateway: Any, messages: Any, url: str, status: int
) -> None:
    token = signed_in(gateway, sandbox.sandbox.now()).json()["access_token"]
    assert status == published(gateway, token, messages, url).status_code
    assert [] == [each for account in sandbox.told("google-cloud-pubsub") for each in account["events"]]
