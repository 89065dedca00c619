"""Vendors made slow, failing, flapping, partly rejecting, cut off, silent."""

import pytest
import requests

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


def test_a_slow_vendor_handles_at_once_and_answers_late(sandbox, post):
    sandbox.fault(latency=60)
    with pytest.raises(requests.exceptions.ReadTimeout):
        post(timeout=0.1)
    assert 1 == len(sandbox.told("webhook", "u1")[0]["people"])


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
