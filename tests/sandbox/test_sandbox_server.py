"""The sandbox around its vendors: finding them, credentials, caps, counting, control."""

import pytest
import requests

from sandbox.testing import running_sandbox
from sandbox.vendor import Cap
from sandbox.vendors import all_vendors, serving

TRACK = "https://rest.fra-01.braze.eu/users/track"
BODY = {"attributes": [{"external_id": "u1", "vip": True}]}


def track(gateway, key="key"):
    return gateway.send("POST", TRACK, BODY, headers={"Authorization": f"Bearer {key}"})


def test_vendors_are_found_by_host():
    hosts = {
        "braze": "rest.iad-01.braze.com",
        "facebook-custom-audiences": "graph.facebook.com",
        "hubspot": "api.hubapi.com",
        "iterable": "api.eu.iterable.com",
        "webhook": "anything.example",
        "zendesk": "acme.zendesk.com",
    }
    assert hosts == {slug: host for slug, host in hosts.items() if serving(host).slug == slug}
    assert {"webhook"} == {vendor.slug for vendor in all_vendors().values() if not vendor.hosts}


def test_a_path_without_a_host_is_explained(gateway):
    for path in ("/", "/not a host/x"):
        answer = requests.get(gateway.url + path, timeout=60)
        assert 404 == answer.status_code
        assert "/<vendor host>/<path>" in answer.json()["error"]


def test_an_unknown_endpoint_is_a_404_in_the_vendors_shape(gateway):
    answer = gateway.send("GET", "https://acme.zendesk.com/api/v2/nothing", auth=("a@b.co/token", "t"))
    assert (404, "InvalidEndpoint") == (answer.status_code, answer.json()["error"])


def test_only_the_given_credentials_are_accepted(gateway):
    with running_sandbox(credentials={"braze": {"good"}}) as running:
        gateway.url = running.url
        assert [201, 401] == [track(gateway, key).status_code for key in ("good", "bad")]
        assert 1 == sum(account["told"]["people"] for account in running.stats())


def test_accounts_of_one_vendor_share_nothing(sandbox, gateway):
    for key in ("one", "two"):
        track(gateway, key)
    assert [1, 1] == [account["requests"] for account in sandbox.stats("braze")]
    assert 2 == len(sandbox.told("braze", "u1"))


@pytest.mark.parametrize(
    ("options", "statuses"), [({"caps": {"braze": Cap(2)}}, {"201": 2, "429": 3}), ({"capped": False}, {"201": 5})]
)
def test_caps_can_be_changed_and_left_away(gateway, clock, options, statuses):
    with running_sandbox(clock=clock, **options) as running:
        gateway.url = running.url
        for _ in range(5):
            track(gateway)
        [account] = running.stats()
        assert statuses == account["statuses"]
        assert statuses.get("429", 0) == account["throttled"]


def test_peaks_are_the_busiest_sliding_windows(sandbox, gateway, clock):
    for pause in (0, 0.5, 0.4, 0.5, 8, 2):
        clock.now += pause
        track(gateway)
    assert {"1s": 3, "10s": 5, "60s": 6} == sandbox.stats()[0]["peaks"]


def test_stats_hold_no_identifiers_and_no_credentials(sandbox, gateway):
    track(gateway, "secret-key")
    assert "secret-key" not in str(sandbox.stats())
    assert "u1" not in str(sandbox.stats())


def test_faults_end_and_what_was_told_stays(sandbox, gateway):
    assert 201 == track(gateway).status_code
    url = f"{sandbox.url}/_sandbox/faults"
    for ended, statuses in (({"destination": "braze"}, [500, 503]), ({}, [500, 201])):
        sandbox.fault(destination="*", status=503)
        sandbox.fault(destination="braze", status=500)
        found = [track(gateway).status_code]
        requests.delete(url, params=ended, timeout=60)
        assert statuses == [*found, track(gateway).status_code]
    assert [] == requests.get(url, timeout=60).json()
    assert 1 == len(sandbox.told("braze", "u1"))
    wrong = requests.delete(url, params={"destination": "brase"}, timeout=60)
    assert (400, True) == (wrong.status_code, "braze" in wrong.json()["error"])


def test_reset_forgets_what_was_told_and_the_faults(sandbox, gateway):
    sandbox.fault(destination="braze", status=500)
    assert 500 == track(gateway).status_code
    sandbox.reset()
    assert [] == sandbox.stats()
    assert 201 == track(gateway).status_code
