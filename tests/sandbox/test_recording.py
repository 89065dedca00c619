"""What `--record` writes."""

import json
import stat
from urllib.parse import quote_plus

import pytest

from sandbox.testing import running_sandbox


@pytest.fixture
def recorded(tmp_path, gateway):
    """Send requests to a sandbox that records; gives the lines."""

    def record(*requests, **options):
        file = tmp_path / "requests.jsonl"
        with running_sandbox(record=file, **options) as running:
            gateway.url = running.url
            for method, url, more in requests:
                gateway.send(method, url, **more)
        assert 0o600 == stat.S_IMODE(file.stat().st_mode)
        return [json.loads(line) for line in file.read_text().splitlines()]

    return record


def test_a_line_is_the_request_as_the_vendor_saw_it(recorded):
    url = "https://api.hubapi.com/crm/v3/objects/contacts/a%40b.co?idProperty=email"
    body = {"properties": {"vip": "true"}}
    sent = ("PATCH", url, {"json": body, "headers": {"Authorization": "Bearer secret"}})
    [line] = recorded(sent, connections={"api.hubapi.com": "crm"})
    assert {"at", "connection", "destination", "method", "url", "headers", "body", "status"} == set(line)
    assert ("PATCH", url, body, 400) == (line["method"], line["url"], line["body"], line["status"])
    assert ("crm", "hubspot") == (line["connection"], line["destination"])
    assert ("application/json", "api.hubapi.com") == (line["headers"]["content-type"], line["headers"]["host"])


def test_the_connection_is_the_slug_where_no_name_is_given(recorded):
    [line] = recorded(("POST", "https://hooks.acme.example/in", {"json": {}}))
    assert ("webhook", "webhook") == (line["connection"], line["destination"])


def test_credentials_are_masked_but_for_their_scheme(recorded):
    facebook = "https://graph.facebook.com/v27.0/1/users"
    lines = recorded(
        ("POST", "https://rest.fra-01.braze.eu/users/track", {"headers": {"Authorization": "Bearer s3cret"}}),
        ("GET", "https://acme.zendesk.com/api/v2/users/me", {"auth": ("a@b.co/token", "s3cret")}),
        ("GET", "https://api.iterable.com/api/lists", {"headers": {"Api-Key": "s3cret"}}),
        ("POST", f"{facebook}?access_token=s3cret&fields=id", {"json": {"access_token": "s3cret"}}),
        ("POST", facebook, {"data": {"access_token": "s3cret", "name": "vip"}}),
        ("POST", "https://hooks.acme.example/in", {"json": {}, "headers": {"X-Signature": "s3cret"}}),
        ("POST", "https://acme.zendesk.com/oauth/tokens", {"json": {"client_secret": "s3cret"}}),
    )
    assert "s3cret" not in json.dumps(lines)
    assert ["Bearer ***", "Basic ***"] == [line["headers"]["authorization"] for line in lines[:2]]
    assert "***" == lines[2]["headers"]["api-key"] == lines[5]["headers"]["x-signature"]
    assert f"{facebook}?access_token=***&fields=id" == lines[3]["url"]
    assert ({"access_token": "***"}, "access_token=***&name=vip") == (lines[3]["body"], lines[4]["body"])


def test_credentials_in_bodies_are_masked_by_their_names(recorded):
    names = ("client_secret", "refresh_token", "auth_token", "api_key", "password", "client_assertion", "assertion")
    fields = {**dict.fromkeys(names, "s3cret"), "client_id": "acme"}
    url = "https://hooks.acme.example/oauth/token"
    as_json, as_form = recorded(
        ("POST", url, {"json": {**fields, "traits": {"token": "of a person"}}}), ("POST", url, {"data": fields})
    )
    assert {**dict.fromkeys(names, "***"), "client_id": "acme", "traits": {"token": "of a person"}} == as_json["body"]
    assert "&".join([*(f"{name}=***" for name in names), "client_id=acme"]) == as_form["body"]


SECRETS = ("k3y/ü+a=b", "two words", 'q"uo\\te', "https://ann:p4ss@hooks.acme.example/T0PSECRET/in?code=c0de", "x")


def test_secrets_of_the_workspace_are_masked_wherever_they_are(recorded):
    key, words, quoted, _, short = SECRETS
    url = f"https://hooks.acme.example/{quote_plus(key)}"
    lines = recorded(
        ("POST", f"{url}/{words}?who={quote_plus(words)}&n=1", {"json": {"a": [{"deep": f"<{key}>", quoted: short}]}}),
        ("POST", url, {"data": {"whom": key, "what": words}}),
        ("POST", url, {"data": f"plain {quoted}", "headers": {"X-Team": words}}),
        ("POST", "https://hooks.acme.example/T0PSECRET/in?code=c0de", {"json": ["ann:p4ss", 7, None]}),
        secrets=SECRETS,
    )
    assert "https://hooks.acme.example/***/***?who=***&n=1" == lines[0]["url"]
    assert {"a": [{"deep": "<***>", "***": short}]} == lines[0]["body"]
    assert "whom=***&what=***" == lines[1]["body"]
    assert ("plain ***", "***") == (lines[2]["body"], lines[2]["headers"]["x-team"])
    assert ("https://hooks.acme.example***?***", ["***", 7, None]) == (lines[3]["url"], lines[3]["body"])


def test_each_request_is_in_the_file_when_it_is_answered(tmp_path, gateway):
    file = tmp_path / "requests.jsonl"
    with running_sandbox(record=file) as running:
        gateway.url = running.url
        for number in (1, 2):
            gateway.send("POST", "https://hooks.acme.example/in", json={"number": number})
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            assert list(range(1, number + 1)) == [line["body"]["number"] for line in lines]


def test_a_body_that_is_not_json_is_kept_as_text(recorded):
    [line] = recorded(("POST", "https://hooks.acme.example/in", {"data": "hello"}))
    assert "hello" == line["body"]
