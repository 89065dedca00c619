"""Every request of the transcripts against the vendor's own description, and that a wrong one is seen.

The play of all destinations, `tests/sandbox/test_every_destination.py`, asks the same of what it sends.
"""

import json
import os
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from msgspec import UNSET
from msgspec import json as msgspec_json
from msgspec.structs import replace

from tests.transforms.destinations.descriptions import (
    EXCEPTIONS,
    Judged,
    Travelling,
    descriptions,
    judged,
    shown_headers,
    unexplained,
    vendor_of,
)
from tests.transforms.destinations.driver import cases
from transforms.destinations import catalogue
from transforms.destinations.transcripts import Send, connect, play, variables


class Told(NamedTuple):
    """A request of a transcript."""

    slug: str
    case: str
    request: Travelling
    found: Judged


@cache
def told() -> list[Told]:
    """All requests to a vendor that is described."""
    return [each for slug in catalogue() if vendor_of(slug) for each in _of(slug)]


def _of(slug: str) -> Iterator[Told]:
    for _, case in cases(slug):
        # What a transcript names of the headers is filled in: here all that a description speaks of.
        talk = [
            replace(step, send=replace(step.send, headers=dict.fromkeys(shown_headers(), ""))) for step in case.talk
        ]
        with patch.dict(os.environ, variables(case.settings)):
            shown = replace(case, talk=talk)
            sent = play(connect(catalogue()[slug], shown), shown).sent
        for each in map(_travelling, sent):
            found = judged(slug, each)
            assert found
            yield Told(slug, case.case, each, found)


def _travelling(sent: Send) -> Travelling:
    headers = {name: value for name, value in sent.headers.items() if value != "(none)"}
    if sent.json is not UNSET:
        return Travelling(sent.method, sent.url, headers, msgspec_json.encode(sent.json))
    return Travelling(sent.method, sent.url, headers, None if sent.content is UNSET else sent.content.encode())


@pytest.mark.parametrize("vendor", descriptions())
def test_transcripts_ask_what_the_vendor_describes(vendor: str) -> None:
    mine = [each for each in told() if vendor_of(each.slug) == vendor]
    assert mine
    assert [] == [(each.slug, each.case, fault) for each in mine for fault in each.found.unexplained()]


def test_every_exception_is_needed() -> None:
    faults = [fault for each in told() for fault in each.found.faults]
    assert [] == [pattern for pattern in EXCEPTIONS if not any(re.match(pattern, fault) for fault in faults)]


def test_nothing_is_kept_that_nobody_asks_for() -> None:
    asked = {each.found.operation for each in told()}
    kept = {f"{vendor} {each.name}" for vendor, its in descriptions().items() for each in its.operations}
    assert asked == kept


# -- a wrong request is seen: one of each vendor with one value that is wrong
GONE = object()
WRONG: dict[str, tuple[str, tuple[str | int, ...], Any]] = {
    "amplitude": ("POST /2/httpapi", ("events", 0, "event_type"), GONE),
    "braze": ("POST /users/track", ("events", 0, "name"), GONE),
    "customerio": ("POST /api/v2/batch", ("batch", 0, "type"), "people"),
    "hubspot": ("POST /crm/v3/objects/contacts/batch/create", ("inputs", 0, "properties", "big_spenders"), True),
    "intercom": ("POST /events", ("metadata", "big_spenders"), True),
    "iterable": ("POST /api/lists/subscribe", ("listId",), "7"),
    "klaviyo": ("POST /api/profile-bulk-import-jobs", ("data", "type"), "profiles"),
    "mailchimp": ("POST /lists/{list_id}/members/{subscriber_hash}/events", ("name",), "x"),
    "mixpanel": ("POST /import", (0, "properties", "$insert_id"), GONE),
    "onesignal": ("POST /apps/{app_id}/custom_events", ("events", 0, "name"), GONE),
    "sendgrid": ("PUT /v3/marketing/contacts", ("contacts", 0, "email"), 7),
    "zendesk": ("POST /api/v2/users/create_or_update", ("user", "name"), GONE),
}


def test_each_vendor_has_a_wrong_request() -> None:
    assert set(descriptions()) == set(WRONG)


@pytest.mark.parametrize("vendor", WRONG)
def test_a_wrong_value_is_seen(vendor: str) -> None:
    operation, path, value = WRONG[vendor]
    right = _first(vendor, operation, path)
    assert [] == unexplained(vendor, right)
    wrong = right._replace(body=json.dumps(_changed(json.loads(right.body or b""), path, value)).encode())
    [fault] = unexplained(vendor, wrong)
    assert fault.startswith(f"{operation}: body")


@pytest.mark.parametrize("vendor", WRONG)
def test_another_method_path_host_and_type_are_seen(vendor: str) -> None:
    operation, path, _ = WRONG[vendor]
    right = _first(vendor, operation, path)
    url = right.url.partition("?")[0]
    for wrong in (
        right._replace(method="PATCH"),
        right._replace(url=f"{url}/of/nobody"),
        right._replace(url="https://vendor.example/"),
        right._replace(headers={**right.headers, "content-type": "text/csv"}),
        right._replace(body=None),
    ):
        assert unexplained(vendor, wrong), wrong


@pytest.mark.parametrize("vendor", [each for each, its in descriptions().items() if its.meta["auth"]])
def test_a_request_without_credentials_is_seen(vendor: str) -> None:
    operation, path, _ = WRONG[vendor]
    right = _first(vendor, operation, path)
    unsigned = {name: text for name, text in right.headers.items() if name not in ("authorization", "api-key")}
    [fault] = unexplained(vendor, right._replace(headers=unsigned))
    assert ": no header " in fault


def test_a_body_that_is_no_object_is_seen_at_every_operation() -> None:
    with_body = {each.found.operation: each for each in told() if (each.request.body or b"")[:1] in (b"{", b"[")}
    assert len(with_body) > 40
    passed = [
        operation
        for operation, each in with_body.items()
        if not unexplained(each.slug, each.request._replace(body=b'"x"'))
    ]
    assert [] == passed


def test_too_many_and_too_large_are_seen() -> None:
    right = _first("braze", "POST /users/track", ("attributes", 0))
    body = json.loads(right.body or b"")
    many = {**body, "attributes": body["attributes"][:1] * 76}
    assert ["POST /users/track: body: 76 items, at most 75"] == unexplained("braze", _with(right, many))
    large = {**body, "attributes": [{**body["attributes"][0], "note": "x" * 4_200_000}]}
    [fault] = unexplained("braze", _with(right, large))
    assert "bytes" in fault


def test_a_parameter_that_is_required_or_of_a_kind_is_seen() -> None:
    revision = _first("klaviyo", "POST /api/profile-bulk-import-jobs")
    without = {name: value for name, value in revision.headers.items() if name != "revision"}
    [fault] = unexplained("klaviyo", revision._replace(headers=without))
    assert fault.endswith("header revision is missing")
    profile = _first("zendesk", "GET /api/v2/user_profiles")
    [fault] = unexplained("zendesk", profile._replace(url=f"{profile.url.partition('?')[0]}?identifier=email"))
    assert "query identifier" in fault
    job = _first("zendesk", "DELETE /api/v2/users/{user_id}")
    [fault] = unexplained("zendesk", job._replace(url=f"{job.url}x"))
    assert "path user_id" in fault


def test_a_part_of_a_form_is_seen() -> None:
    right = _first("amplitude", "POST /identify")
    assert [] == unexplained("amplitude", right)
    [fault] = unexplained("amplitude", right._replace(body=b"api_key=k&identification=[7]"))
    assert "body identification" in fault


def _first(vendor: str, operation: str, path: tuple[str | int, ...] = ()) -> Travelling:
    """The first request of the transcripts that asks for the operation, and has a value at this place of its body."""
    for each in told():
        if each.found.operation == f"{vendor} {operation}" and _has(each.request, path):
            return each.request
    raise AssertionError(f"no transcript has {vendor} {operation} with {path}")


def _has(request: Travelling, path: tuple[str | int, ...]) -> bool:
    if not path:
        return True
    value = json.loads(request.body or b"null")
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _changed(value: Any, path: tuple[str | int, ...], to: Any) -> Any:
    first, *rest = path
    if rest:
        value[first] = _changed(value[first], tuple(rest), to)
    elif to is GONE:
        del value[first]
    else:
        value[first] = to
    return value


def _with(request: Travelling, body: Any) -> Travelling:
    return request._replace(body=json.dumps(body).encode())
