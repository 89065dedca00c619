"""A connection by OAuth, whose token ends while it delivers."""

from dataclasses import replace

import pytest

from sandbox.testing import running_sandbox
from sandbox.workspace import accounts
from schemas.workspace import Cap
from tests.sandbox.conftest import Clock
from tests.sending.delivering import FAST, connect, people, start, until


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def connected(monkeypatch):
    """A connection by OAuth."""
    monkeypatch.setenv("REFRESH", "r1")
    monkeypatch.setenv("CLIENT", "cs")
    settings = {"refresh_token": "${REFRESH}", "client_id": "c1", "client_secret": "${CLIENT}", "upsert": True}
    return connect("hubspot", settings, cap=Cap(20), cap_raised_by_vendor=True)


@pytest.mark.parametrize(("fault", "life"), [({}, 1800), ({"expire": 60}, 60)])
def test_the_sender_goes_on_when_its_token_expires(connected, clock, fault, life):
    _, secrets = accounts(connected[0])
    with running_sandbox(clock=clock, credentials=secrets, capped=False) as running:
        running.fault(destination="hubspot", **fault)
        sending = start(people(2000), connected, replace(FAST, gateway=running.url))
        until(lambda: len(sending.final) >= 200)
        clock.now += life
        report = sending.report()
        [account] = running.told("hubspot")
    assert ("", 2000) == (report.stopped, report.delivered)
    assert 1 <= report.statuses["401"]
    assert 2000 == len([person for person in account["people"] if person["told"]])
