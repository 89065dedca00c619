"""What a receiver checks before it believes a message."""

import pytest

from schemas.secret import Secret
from schemas.workspace import Connection, Workspace
from transforms.destinations.auth import NO_SESSION
from transforms.destinations.contract import Request
from transforms.destinations.webhook import Webhook


def test_signature_is_made_of_the_bytes_that_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "secret-HOOK_SECRET")
    settings = Webhook.Settings(url="https://hooks.acme.example/in", shared_secret=Secret("${HOOK_SECRET}"))
    webhook = Webhook(Workspace("acme-shop", (), ()), Connection("webhook", "webhook", (), settings))
    request = Request("POST", settings.url, json={"type": "delete", "userId": "ü1"})
    # printf %s '{"type":"delete","userId":"ü1"}' | openssl dgst -sha1 -hmac secret-HOOK_SECRET
    signed = webhook.auth.headers(request, settings, NO_SESSION, 0.0)
    assert {"x-signature": "420e996fefdf556d73e72d0deaace1ae87cccc45"} == signed
