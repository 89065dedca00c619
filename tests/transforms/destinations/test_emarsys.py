"""Emarsys: the header that signs."""

import re
from base64 import b64decode
from hashlib import sha1
from typing import Any

import pytest

from schemas.secret import Secret
from transforms.destinations.auth import NO_SESSION
from transforms.destinations.emarsys import Emarsys, Wsse
from transforms.destinations.http import Request


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("EMARSYS_SECRET", "s3cret")
    return Emarsys.Settings(user="acme001", secret=Secret("${EMARSYS_SECRET}"))


def signed(settings: Any, now: float, url: str = "https://api.emarsys.net/api/v2/contact/") -> str:
    return Wsse().headers(Request("PUT", url, json={}), settings, NO_SESSION, now)["x-wsse"]


def test_the_digest_is_of_nonce_time_and_secret(settings: Any) -> None:
    found = re.fullmatch(
        r'UsernameToken Username="acme001", PasswordDigest="(.+)", Nonce="([0-9a-f]{32})", Created="(.+)"',
        signed(settings, 1_395_319_905.0),
    )
    assert found
    assert "2014-03-20T12:51:45Z" == found[3]
    assert sha1(f"{found[2]}{found[3]}s3cret".encode()).hexdigest() == b64decode(found[1]).decode()


def test_no_two_requests_have_a_nonce_in_common(settings: Any) -> None:
    made = {signed(settings, 1.0), signed(settings, 1.5), signed(settings, 1.0, "https://api.emarsys.net/api/v2/event")}
    assert 3 == len({re.findall('Nonce="(.+?)"', each)[0] for each in made})
