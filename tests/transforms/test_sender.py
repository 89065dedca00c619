"""The sender end to end: calls in, requests at a real server, outcomes in the journal."""

from dataclasses import replace

from schemas.workspace import Cap
from tests.transforms.delivering import FAST, identify, people, start, track, webhook
from tests.transforms.vendor_server import Answer, vendor


def test_every_call_is_delivered_once() -> None:
    with vendor() as server:
        running = start(people(200), webhook(), replace(FAST, gateway=server.url))
        report = running.report()
    assert (200, 200) == (report.delivered, report.requests)
    assert list(range(200)) == running.journal.delivered()
    assert sorted(running.journal.marked) == list(range(200))
