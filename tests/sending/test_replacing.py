"""A list is emptied once for each full refresh, and nothing is sent until somebody has decided anew."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from schemas.calls import Call
from tests.sending.delivering import FAST, Delivering, identify, start, until, webhook
from tests.sending.vendor_server import Answer, VendorServer
from transforms.destinations.contract import Conversation, Delivered, Emptying, Reply, Request, Verdict
from transforms.destinations.webhook import Webhook
from transforms.sending.log import Mark, Waiting

ASKED = {"vip": time.time() - 60.0}
CONNECTED = webhook()


class Emptied(Webhook):
    """One that empties its list by one request."""

    def empty(self, key: str, now: float) -> Emptying:
        reply = yield Request("DELETE", f"https://lists.example/{key}")
        if reply.status == 404:
            return False
        return reply.ok or f"HTTP {reply.status}"

    def classify(self, request: Request, reply: Reply, calls: int) -> Verdict:
        if reply.status == 404:
            return Verdict("answered")
        return super().classify(request, reply, calls)

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        yield Request("POST", "https://lists.example/vip", json=[call.ask for call in calls])
        return [Delivered()] * len(calls)


def refreshing(server: VendorServer, facts: dict[str, Any] | None = None, **more: Any) -> Delivering:
    given: dict[str, Any] = {"refreshed": ASKED, "destination": Emptied(*CONNECTED)} | more
    calls = given.pop("calls", [identify(0)])
    return start(calls, CONNECTED, replace(FAST, gateway=server.url), facts=facts, **given)


def methods(server: VendorServer) -> list[str]:
    return [seen.method for seen in server.seen]


def test_the_list_is_emptied_and_nothing_else_is_sent(server: VendorServer) -> None:
    running = refreshing(server)
    report = running.report()
    assert (["DELETE"], True, 1) == (methods(server), report.handed_over, report.pending)
    ((place, at),) = report.remade.items()
    assert "list/vip" == place
    assert time.time() - 60 < at <= time.time()
    assert at == running.log.kept["remade:list/vip"]

    again = refreshing(server, running.log.kept).report()  # by the plan that knows nothing of it
    assert (["DELETE"], report.remade, True) == (methods(server), again.remade, again.handed_over)
    report = refreshing(server, running.log.kept, remade=report.remade).report()  # by the next one
    assert (["DELETE", "POST"], False, 1) == (methods(server), report.handed_over, report.delivered)


def test_a_refresh_that_was_asked_ahead_of_the_clock_empties_it_once(server: VendorServer) -> None:
    """`--now` may be later than it is."""
    later = {"vip": time.time() + 86_400}
    first = refreshing(server, refreshed=later)
    remade = first.report().remade
    refreshing(server, first.log.kept, refreshed=later, remade=remade).report()
    assert ["DELETE", "POST"] == methods(server)


def test_credentials_that_are_refused_stop_the_connection_and_the_refresh_is_still_to_come(
    server: VendorServer,
) -> None:
    server.script = lambda seen: Answer(401, body=b"")
    running = refreshing(server)
    report = running.report()
    assert (True, {}, {}) == ("refuses the credentials" in report.stopped, report.remade, report.notes)
    server.script = lambda seen: Answer()
    assert ["list/vip"] == [*refreshing(server, running.log.kept).report().remade]


@pytest.mark.parametrize("status", [400, 403])
def test_where_the_vendor_refuses_everything_is_told_once_more_as_it_is(server: VendorServer, status: int) -> None:
    server.script = lambda seen: Answer(status, body=b"") if seen.method == "DELETE" else Answer()
    running = refreshing(server)
    report = running.report()
    assert (1, False, {}) == (report.delivered, report.handed_over, report.remade)
    assert any("was not emptied ahead of its refresh" in words for words in report.notes)
    refreshing(server, running.log.kept).report()
    assert 1 == methods(server).count("DELETE"), "it is asked once"


def test_a_refresh_of_long_ago_empties_nothing(server: VendorServer) -> None:
    """The log may be an older copy, or a new one: everybody was told meanwhile."""
    report = refreshing(server, refreshed={"vip": time.time() - 2 * 86_400}).report()
    assert (["POST"], 1) == (methods(server), report.delivered)


def test_a_list_that_is_not_there_is_nothing_to_empty(server: VendorServer) -> None:
    server.script = lambda seen: Answer(404 if seen.method == "DELETE" else 200)
    report = refreshing(server).report()
    assert (1, {}, {}) == (report.delivered, report.remade, report.notes)


def test_a_vendor_without_such_a_request_is_told_everything_once_more(server: VendorServer) -> None:
    report = refreshing(server, destination=Webhook(*CONNECTED)).report()
    assert (["POST"], 1) == (methods(server), report.delivered)


@pytest.mark.parametrize(
    ("mark", "facts"), [(Mark(maybe=True), {}), (Mark(), {"may_land": time.time() + 600.0})], ids=["marked", "given up"]
)
def test_it_is_not_emptied_while_somebody_may_still_come_into_it(
    server: VendorServer, mark: Mark, facts: dict[str, Any]
) -> None:
    report = refreshing(server, facts, calls=[Waiting(identify(0), mark)]).report()
    assert "DELETE" not in methods(server)
    assert any("may still arrive" in words for words in report.notes)


def test_a_vendor_that_is_down_stops_the_connection_and_the_next_delivery_empties_it(server: VendorServer) -> None:
    server.script = lambda seen: Answer(503)
    options = replace(FAST, gateway=server.url, retry_for=0.5)
    running = start([identify(0)], CONNECTED, options, refreshed=ASKED, destination=Emptied(*CONNECTED))
    report = running.report()
    assert "no useful answer" in report.stopped or "could not be emptied" in report.stopped
    server.script = lambda seen: Answer()
    server.seen.clear()
    assert ["list/vip"] == [*refreshing(server, running.log.kept).report().remade]
    assert ["DELETE"] == methods(server)


def test_a_sender_that_is_stopped_meanwhile_ends(server: VendorServer) -> None:
    server.script = lambda seen: Answer(503)
    running = refreshing(server)
    until(lambda: bool(server.seen))
    running.sender.stop()
    report = running.report(within=5.0)
    assert (1, "", {}) == (report.pending, report.stopped, report.remade)
