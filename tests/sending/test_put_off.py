"""A lane whose call was put off does not go on while others of its calls are still in the batch."""

from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from schemas.calls import Call, Identifier
from tests.sending.delivering import FAST, connect, start, track
from tests.sending.vendor_server import Answer, Seen, vendor

ZENDESK = {"subdomain": "acme", "email": "a@acme.io", "api_token": "${ZENDESK}", "bulk": True}
FIELDS = [{"key": key, "type": "text"} for key in ("big_spenders", "total_revenue")]


def told(profile: str, name: str, key: str, value: str, at: int = 1) -> Call:
    return Call(profile, "identify", Identifier("email", f"{name}@x.io"), key, value, at, 0, traits={"name": name})


def test_a_later_value_does_not_overtake_one_that_was_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZENDESK", "very-secret-token")
    calls = [
        told("p", "d", "big_spenders", "old"),
        told("p", "a", "big_spenders", "a1"),
        told("p", "a", "total_revenue", "a2"),
        told("q", "c", "big_spenders", "c1"),
        told("q", "c", "total_revenue", "c2"),
        told("p", "d", "big_spenders", "new", 2),
        *(named(track(n, 1, 1)) for n in range(4)),
    ]
    jobs: list[tuple[float, float, list[dict[str, Any]]]] = []

    def answer(seen: Seen) -> Answer:
        if "user_fields" in seen.target:
            return Answer(json={"user_fields": FIELDS, "meta": {}})
        if "events" in seen.target:
            return Answer(201, {"ok": True}, delay=1.0)
        if "search" in seen.target:
            return Answer(json={"users": []})
        users = seen.json.get("users") or [seen.json["user"]]
        told = [user["user_fields"] for user in users]
        lasts = 1.5 if jobs and {"big_spenders": "old"} in told else 1.6 if {"big_spenders": "c1"} in told else 0.0
        rows = [{"email": user["email"], "status": "Created"} for user in users]
        if first := not jobs:  # of d nothing is said
            rows = [{"email": f"{name}@x.io", "error": "InvalidValue"} for name in ("a", "c")]
        jobs.append((seen.at, seen.at + lasts, told))
        if "user" in seen.json:
            return Answer(json={"user": {"id": 1}}, delay=lasts)
        job = {"id": "j", "status": "killed" if first else "completed", "results": rows}
        return Answer(json={"job_status": job}, delay=lasts)

    with vendor(answer) as server:
        options = replace(FAST, gateway=server.url, read_timeout=5.0, retry_for=20.0)
        assert 10 == start(calls, connect("zendesk", ZENDESK), options).report().delivered
    old = max(ended for _, ended, users in jobs if {"big_spenders": "old"} in users)
    new = next(began for began, _, users in jobs if {"big_spenders": "new"} in users)
    assert old <= new


def named(call: Call) -> Call:
    return structs.replace(call, traits={"name": "z"})
