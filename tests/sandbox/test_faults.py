"""Vendors made slow, failing, flapping, partly rejecting, cut off, silent, garbled."""

from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import requests

from sandbox.faults import Fault
from sandbox.testing import running_sandbox
from sandbox.vendor import Cap

URL = "https://hooks.acme.example/in"


@pytest.fixture
def post(gateway):
    return lambda user="u1", **more: gateway.send(
        "POST", URL, {"type": "identify", "userId": user, "traits": {}}, **more
    )


def test_a_failing_vendor_answers_in_its_shape_and_handles_nothing(sandbox, gateway):
    sandbox.fault(destination="hubspot", status=503, retry_after=7)
    answer = gateway.send("GET", "https://api.hubapi.com/x", headers={"Authorization": "Bearer t"})
    assert (503, "error", "7") == (answer.status_code, answer.json()["status"], answer.headers["Retry-After"])
    sandbox.fault(destination="hubspot")
    assert 404 == gateway.send("GET", "https://api.hubapi.com/x", headers={"Authorization": "Bearer t"}).status_code


def test_a_fault_may_be_the_vendors_own_401_or_429(sandbox, gateway):
    for status, error in ((401, "Couldn't authenticate you"), (429, "APIRateLimitExceeded")):
        sandbox.fault(destination="zendesk", status=status)
        answer = gateway.send("GET", "https://acme.zendesk.com/api/v2/users/me", auth=("a@b.co/token", "t"))
        assert (status, error) == (answer.status_code, answer.json()["error"])


def test_the_share_that_fails_is_the_same_in_every_run(sandbox, post):
    def statuses():
        sandbox.reset()
        sandbox.fault(status=500, share=0.3, seed=7)
        return [post().status_code for _ in range(60)]

    first = statuses()
    assert first == statuses()
    assert 8 <= first.count(500) <= 28


def test_a_flapping_vendor_fails_in_the_first_half_of_each_period(sandbox, clock, post):
    sandbox.fault(status=500, flap_every=4)
    seen = []
    for _ in range(8):
        seen.append(post().status_code)
        clock.now += 1
    assert [500, 500, 200, 200, 500, 500, 200, 200] == seen


def test_refused_identifiers_are_a_share_and_stay_refused(sandbox, post):
    sandbox.fault(destination="webhook", refuse=0.5)
    first = [post(f"u{number}").status_code for number in range(40)]
    assert first == [post(f"u{number}").status_code for number in range(40)]
    assert 10 <= first.count(400) <= 30


def test_a_fault_of_one_destination_stands_before_that_of_all(sandbox, post):
    sandbox.fault(status=500)
    sandbox.fault(destination="webhook")
    assert 200 == post().status_code


def test_a_reset_connection_was_handled(sandbox, post):
    sandbox.fault(reset=1)
    with pytest.raises(requests.exceptions.RequestException):
        post()
    assert 1 == len(sandbox.told("webhook", "u1")[0]["people"])


def test_a_request_that_hangs_was_not_handled_and_does_not_hold_up_the_end(sandbox, post):
    sandbox.fault(hang=1)
    with pytest.raises(requests.exceptions.ReadTimeout):
        post(timeout=0.1)
    assert {"0": 1} == sandbox.stats("webhook")[0]["statuses"]
    assert [] == sandbox.told("webhook", "u1")[0]["people"]


def test_a_page_that_is_no_json_stands_for_an_answer_to_what_was_handled(sandbox, post):
    sandbox.fault(garbage=1)
    answer = post()
    assert (200, "text/html") == (answer.status_code, answer.headers["Content-Type"])
    with pytest.raises(requests.exceptions.JSONDecodeError):
        answer.json()
    assert 1 == len(sandbox.told("webhook", "u1")[0]["people"])


def test_half_of_an_answer_is_whole_as_http_goes(sandbox, post):
    sandbox.fault(truncate=1)
    answer = post()
    assert (200, b'{"recei') == (answer.status_code, answer.content)
    assert "7" == answer.headers["Content-Length"]
    assert 1 == len(sandbox.told("webhook", "u1")[0]["people"])


@pytest.mark.parametrize("fault", [{"garbage": 1}, {"truncate": 1}, {"shuffle": 1}])
def test_an_answer_without_a_body_has_nothing_to_garble(sandbox, gateway, fault):
    sandbox.fault(**fault)
    url = "https://api.hubapi.com/crm/v3/objects/contacts/7"
    answer = gateway.send("DELETE", url, headers={"Authorization": "Bearer t"})
    assert (204, b"") == (answer.status_code, answer.content)


def test_the_share_that_is_garbled_leaves_the_others_whole(sandbox, post):
    sandbox.fault(truncate=0.3)
    whole = [post().content == b'{"received":1}' for _ in range(60)]
    assert 30 <= sum(whole) <= 54


def upsert(gateway, emails):
    inputs = [
        {"id": email, "idProperty": "email", "objectWriteTraceId": email, "properties": {"firstname": "Ann"}}
        for email in emails
    ]
    url = "https://api.hubapi.com/crm/v3/objects/contacts/batch/upsert"
    return gateway.send("POST", url, {"inputs": inputs}, headers={"Authorization": "Bearer t"}).json()


def test_results_come_in_another_order_and_one_of_them_twice(sandbox, gateway):
    sandbox.fault(destination="hubspot", shuffle=1)
    emails = ["a@acme.example", "b@refused.example", "c@acme.example", "d@refused.example"]
    answer = upsert(gateway, emails)
    done = [result["objectWriteTraceId"] for result in answer["results"]]
    errors = [error["context"]["objectWriteTraceId"][0] for error in answer["errors"]]
    assert ["c@acme.example", "a@acme.example", "a@acme.example"] == done
    assert ["d@refused.example", "b@refused.example", "b@refused.example"] == errors


def test_a_slow_vendor_handles_at_once_and_answers_late(sandbox, post):
    sandbox.fault(latency=60)
    with pytest.raises(requests.exceptions.ReadTimeout):
        post(timeout=0.1)
    assert 1 == len(sandbox.told("webhook", "u1")[0]["people"])


def show(gateway, token):
    headers = {"Authorization": f"Bearer {token}"}
    return gateway.send("GET", "https://api.hubapi.com/crm/v3/properties/contacts", headers=headers)


def test_every_credential_expires_so_long_after_it_was_first_seen(sandbox, clock, gateway):
    sandbox.fault(destination="hubspot", expire=10)
    seen = []
    for token, pause in (("one", 0), ("one", 9.9), ("two", 0.1), ("one", 0), ("two", 9.9), ("two", 0.1)):
        clock.now += pause
        seen.append(show(gateway, token).status_code)
    assert [200, 200, 200, 401, 200, 401] == seen


def test_an_expired_credential_is_refused_in_the_vendors_shape_and_nothing_is_handled(sandbox, clock, gateway):
    sandbox.fault(destination="hubspot", expire=10)
    show(gateway, "t")
    clock.now += 10
    assert "INVALID_AUTHENTICATION" == upsert(gateway, ["a@acme.example"])["category"]
    assert [] == sandbox.told("hubspot")[0]["people"]
    sandbox.fault(destination="hubspot", expire=10)
    assert 200 == show(gateway, "t").status_code, "a fault that is set anew counts anew"


@pytest.mark.parametrize("skew", [0, -3 * 3600, 3 * 3600])
def test_a_delay_given_as_a_date_is_by_the_vendors_own_clock(sandbox, gateway, skew):
    sandbox.fault(destination="hubspot", status=429, retry_after=7, dated=True, skew=skew)
    headers = show(gateway, "t").headers
    until, now = (parsedate_to_datetime(headers[name]) for name in ("Retry-After", "Date"))
    assert 6 <= (until - now).total_seconds() <= 8
    assert abs(now.timestamp() - sandbox.sandbox.now() - skew) < 60


def test_a_clock_that_is_off_is_off_in_all_that_the_vendor_says(clock, gateway):
    with running_sandbox(clock=clock, caps={"braze": Cap(1)}) as running:
        gateway.url = running.url
        running.fault(destination="braze", skew=-7200)
        body = {"attributes": [{"external_id": "u1", "vip": True}]}
        url = "https://rest.fra-01.braze.eu/users/track"
        answers = [gateway.send("POST", url, body, headers={"Authorization": "Bearer t"}) for _ in range(2)]
        [person] = running.told("braze", "u1")[0]["people"]
        off = running.sandbox.now() - 7200
    assert [201, 429] == [answer.status_code for answer in answers]
    for answer in answers:
        now = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        assert 0 < int(answer.headers["X-RateLimit-Reset"]) - now <= 2
        assert abs(now - off) <= 1
    assert abs(person["told"][0]["at"] - off) < 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [({"destination": "nobody"}, "no such destination"), ({"share": 2}, "share"), ({"sahre": 1}, "sahre")],
)
def test_a_fault_that_is_none_is_refused_with_the_reason(sandbox, fault, words):
    with pytest.raises(ValueError, match=words):
        sandbox.fault(**fault)


def test_requests_over_the_cap_are_throttled_also_while_a_vendor_fails(clock, gateway):
    with running_sandbox(clock=clock, caps={"hubspot": Cap(1)}) as running:
        gateway.url = running.url
        running.fault(status=500)
        send = ("GET", "https://api.hubapi.com/x")
        assert [500, 429] == [gateway.send(*send, headers={"Authorization": "Bearer t"}).status_code for _ in range(2)]


def test_every_field_of_a_fault_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
    section = text.partition("## The sandbox")[2].partition("\n## ")[0]
    assert [] == [name for name in Fault.__struct_fields__ if f"`{name}`" not in section and f'"{name}"' not in section]
