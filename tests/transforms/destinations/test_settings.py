"""What settings say: which account they lead to, and what they must not do to a request."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from schemas.calls import Call, Identifier
from schemas.workspace import Connection, Workspace
from transforms.destinations import catalogue
from transforms.destinations.auth import NO_SESSION
from transforms.destinations.contract import Destination
from transforms.destinations.safety import breaks_path
from transforms.destinations.transcripts import secret

KEYS = {"KEY": "one", "SAME": "one", "OTHER": "another", "URL": "https://ann:p%40w@hooks.example/in", "LINE": "one\n"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


def made(slug: str, name: str = "it", **settings: Any) -> Destination:
    kind = catalogue()[slug]
    connection = Connection(name, slug, (), msgspec.convert(settings, kind.Settings, dec_hook=secret))
    return kind(Workspace("shop", (), ()), connection)


BRAZE = {"endpoint": "https://rest.iad-01.braze.com", "api_key": "${KEY}"}
ZENDESK = {"subdomain": "acme", "email": "a@acme.example", "api_token": "${KEY}"}
FACEBOOK = {"ad_account_id": "7", "access_token": "${KEY}"}
HOOK = {"url": "https://hooks.example/in"}


@pytest.mark.parametrize(
    ("slug", "settings", "change"),
    [
        ("braze", BRAZE, {"endpoint": "https://REST.iad-01.braze.com/", "objects": 50}),
        ("hubspot", {"access_token": "${KEY}"}, {"upsert": True}),
        ("zendesk", ZENDESK, {"api_token": "${OTHER}", "email": "b@acme.example", "bulk": True}),
        ("iterable", {"api_key": "${KEY}"}, {"project": "hybrid"}),
        ("facebook-custom-audiences", FACEBOOK, {"ad_account_id": "act_7", "access_token": "${OTHER}"}),
        ("webhook", HOOK, {"shared_secret": "${KEY}", "headers": {"X-A": "b"}}),
    ],
)
def test_settings_that_lead_to_one_account_are_one_tenant(slug: str, settings: Any, change: Any) -> None:
    assert made(slug, **settings).tenant() == made(slug, "renamed", **settings | change).tenant()


@pytest.mark.parametrize(
    ("slug", "settings", "change"),
    [
        ("braze", BRAZE, {"endpoint": "https://rest.fra-01.braze.eu"}),
        ("braze", BRAZE, {"api_key": "${OTHER}"}),
        ("braze", BRAZE, {"alias_label": "cookie"}),
        ("hubspot", {"access_token": "${KEY}"}, {"access_token": "${OTHER}"}),
        ("zendesk", ZENDESK, {"subdomain": "acme2"}),
        ("iterable", {"api_key": "${KEY}"}, {"api_key": "${OTHER}"}),
        ("iterable", {"api_key": "${KEY}"}, {"data_centre": "eu"}),
        ("facebook-custom-audiences", FACEBOOK, {"ad_account_id": "8"}),
        ("webhook", HOOK, {"url": "https://hooks.example/in?team=b"}),
    ],
)
def test_settings_that_lead_elsewhere_are_another_tenant(slug: str, settings: Any, change: Any) -> None:
    assert made(slug, **settings).tenant() != made(slug, **settings | change).tenant()


@pytest.mark.parametrize("slug", ["braze", "hubspot", "iterable"])
def test_a_key_that_was_renewed_leads_to_the_same_account(slug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = BRAZE if slug == "braze" else {"access_token" if slug == "hubspot" else "api_key": "${KEY}"}
    before = made(slug, **settings).tenant()
    monkeypatch.setenv("KEY", "renewed")
    assert before == made(slug, **settings).tenant()


def test_no_part_of_a_secret_url_is_in_the_tenant() -> None:
    assert "hooks" not in made("webhook", secret_url="${URL}").tenant()
    assert "hooks.example" in made("webhook", **HOOK).tenant()


def test_connections_that_a_vendor_counts_together_share_a_limit_group() -> None:
    assert made("braze", **BRAZE).limit_group() == made("braze", "b", **BRAZE).limit_group()
    other = ZENDESK | {"api_token": "${OTHER}"}
    assert made("zendesk", **ZENDESK).limit_group() == made("zendesk", "b", **other).limit_group()
    assert made("braze", **BRAZE).limit_group() != made("braze", **BRAZE | {"api_key": "${OTHER}"}).limit_group()


# -- what breaks a message
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"headers": {"Content-Length": "3"}}, "Content-Length"),
        ({"headers": {"transfer-encoding": "chunked"}}, "transfer-encoding"),
        ({"secret_headers": {"Expect": "${KEY}"}}, "Expect"),
        ({"headers": {"Host": "other.example"}}, "Host"),
        ({"headers": {"Connection": "close"}}, "Connection"),
        ({"headers": {"Content-Encoding": "gzip"}}, "Content-Encoding"),
        ({"headers": {"X-Team": "a\r\nX-Evil: 1"}}, "X-Team"),
        ({"headers": {"X-Team": "a\0"}}, "X-Team"),
        ({"headers": {"X-Team\n": "a"}}, "X-Team"),
        ({"headers": {"X Team": "a"}}, "X Team"),
        ({"headers": {"": "a"}}, "''"),
        ({"headers": {"X-Team": "a", "x-team": "b"}}, "twice"),
        ({"headers": {"X-Team": "a"}, "secret_headers": {"X-TEAM": "${KEY}"}}, "twice"),
        ({"headers": {"X-Signature": "a"}, "shared_secret": "${KEY}"}, "X-Signature"),
        ({"headers": {"Authorization": "a"}}, "secret_headers"),
        ({"url": "https://ann:pw@hooks.example/in"}, "user or password"),
        ({"url": "https:///in"}, "no host"),
        ({"url": "https://hooks.example:http/in"}, "URL"),
        ({"url": "https://hooks.example/in put"}, "blank"),
        ({"url": "https://hooks.example/{email"}, "brace"),
        ({"url": "https://hooks.example/{}"}, "brace"),
        ({"url": "https://hooks.example/{{email}}"}, "brace"),
        ({"url": "https://{user_id}.example/in"}, "host"),
        ({"url": "https://hooks.example/{email}/{user_id}"}, "email and user_id"),
        ({"url": "https://hooks.example/{email}", "batch": 2}, "batch"),
        ({"method": "CONNECT"}, "method"),
        ({"method": "put"}, "method"),
    ],
)
def test_a_setting_that_breaks_the_message_is_refused_by_name(settings: Any, words: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=words):
        made("webhook", **HOOK | settings)


def test_the_method_changes_no_tenant() -> None:
    assert made("webhook", **HOOK).tenant() == made("webhook", **HOOK, method="PUT").tenant()


def test_a_url_may_name_its_identifier_twice() -> None:
    named = made("webhook", url="https://hooks.example/{email}?whom={email}")
    assert ("email",) == named.understands()
    assert ("*",) == made("webhook", url="https://hooks.example/{identifier}").understands()


def test_headers_that_break_nothing_are_taken() -> None:
    made("webhook", **HOOK, headers={"X-Team": "a\tb ü", "Content-Type": "application/json; charset=utf-8"})


def test_a_user_in_a_secret_url_becomes_a_header_unless_there_is_one() -> None:
    webhook = made("webhook", secret_url="${URL}")
    assert {"authorization": "Basic YW5uOnBAdw=="} == _signed(webhook)
    assert "https://hooks.example/in" == _request(webhook).url
    webhook = made("webhook", secret_url="${URL}", secret_headers={"Authorization": "${KEY}"})
    assert {"authorization": "one"} == _signed(webhook)


def _signed(webhook: Destination) -> Mapping[str, str]:
    return webhook.auth.headers(_request(webhook), webhook.settings, NO_SESSION, 0.0)


def _request(webhook: Destination) -> Any:
    call = Call("p1", "delete", Identifier("user_id", "u1"), "", None, 0, 1)
    return next(webhook.forget([call]))


@pytest.mark.parametrize("name", [".", "..", "", "a/../b", "a/./b", "/a", "a/", "a//b", r"..\a", "a\nb", "a\0"])
def test_names_that_break_a_path(name: str) -> None:
    assert breaks_path(name)


@pytest.mark.parametrize("name", ["a", "...", "a.b", "a/b", "..a", "%2e%2e", "ü", " "])
def test_names_that_can_be_quoted_into_a_path(name: str) -> None:
    assert not breaks_path(name)
