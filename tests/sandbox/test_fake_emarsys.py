"""The fake Emarsys over real HTTP."""

from base64 import b64encode
from hashlib import sha1
from typing import Any

import pytest

from sandbox.vendor import Request
from sandbox.vendors.emarsys import Emarsys

API = "https://api.emarsys.net/api/v2"


def wsse(secret: str = "s3cret") -> dict[str, str]:
    digest = b64encode(sha1(f"abc2026{secret}".encode()).hexdigest().encode()).decode()
    value = f'UsernameToken Username="u", PasswordDigest="{digest}", Nonce="abc", Created="2026"'
    return {"X-WSSE": value}


def put(gateway: Any, *emails: str) -> Any:
    told = {"key_id": "3", "contacts": [{"3": email, "11": "Lima"} for email in emails]}
    return gateway.send("PUT", f"{API}/contact/?create_if_not_exists=1", told, headers=wsse())


def test_contacts_that_are_refused_are_named_and_the_others_taken(sandbox: Any, gateway: Any) -> None:
    errors = put(gateway, "a@b.co", "b@refused.example").json()["data"]["errors"]
    assert ["b@refused.example"] == [*errors]
    [account] = sandbox.told("emarsys")
    assert [{"11": "Lima"}] == [person["values"] for person in account["people"]]


def test_a_list_takes_contacts_that_are_there(gateway: Any) -> None:
    put(gateway, "a@b.co")
    told = {"key_id": "3", "external_ids": ["a@b.co", "c@d.co"]}
    answer = gateway.send("POST", f"{API}/contactlist/55/add", told, headers=wsse())
    assert {"c@d.co": {"2008": "No contact found with the external id."}} == answer.json()["data"]["errors"]
    assert 400 == gateway.send("POST", f"{API}/contactlist/55/add", {"key_id": "3"}, headers=wsse()).status_code


@pytest.mark.parametrize(("headers", "known", "expected"), [
    (wsse(), {"s3cret"}, True), (wsse(), {"other"}, False), (wsse(), set(), True), ({}, set(), False),
])  # fmt: skip
def test_the_digest_must_be_of_the_secret(headers: dict[str, str], known: set[str], expected: bool) -> None:
    lower = {name.lower(): value for name, value in headers.items()}
    request = Request("PUT", "api.emarsys.net", "/api/v2/contact/", lower, b"", 0.0)
    assert expected == Emarsys.authorized(request, known)
