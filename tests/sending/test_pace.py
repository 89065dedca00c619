"""The sender's pace and batches: as many requests as the cap allows, each as full as can be."""

import gc
import re
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.receiver import peak, receiver
from schemas.calls import Call, Identifier
from schemas.workspace import Cap
from tests.sending.delivering import (
    FAST,
    connect,
    identify,
    people,
    start,
    track,
    webhook,
)
from tests.sending.vendor_server import Answer, Seen, VendorServer
from transforms.destinations.braze import Braze
from transforms.destinations.contract import Batch, Limit
from transforms.destinations.iterable import Iterable
from transforms.destinations.webhook import Webhook
from transforms.logic.caps import effective_limits
from transforms.logic.inflight import FEWEST
from transforms.sending.sender import Sender
from transforms.sending.wire import TimedRequest

pytestmark = pytest.mark.alone


def test_every_call_is_delivered_once(server: VendorServer) -> None:
    running = start(people(200), webhook(), replace(FAST, gateway=server.url))
    report = running.report()
    assert (200, 200) == (report.delivered, report.requests)
    assert list(range(200)) == running.delivered()
    assert list(range(200)) == sorted(running.marked)


def test_batches_are_filled_and_no_key_is_twice_in_one(server: VendorServer) -> None:
    calls = [call for n in range(100) for call in (identify(n), identify(n, 5, "total_revenue"), track(n, 5, 1))]
    report = start(calls, webhook(batch=100), replace(FAST, gateway=server.url)).report()
    assert 300 == report.delivered
    assert len(server.seen) <= 4


@pytest.mark.parametrize(("cap", "requests"), [(5, 12), (30, 70), (150, 350)])
def test_the_cap_is_kept_and_used_while_a_backlog_waits(
    cap: int, requests: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving: list[float] = []

    async def write(self: TimedRequest, *arguments: Any) -> None:
        leaving.append(time.monotonic())
        await write_bytes(self, *arguments)

    write_bytes = TimedRequest.write_bytes
    monkeypatch.setattr(TimedRequest, "write_bytes", write)
    with receiver() as there:  # in a process of its own: in this one it would hear of requests when the sender rests
        running = start(people(requests), webhook(cap=Cap(cap), url=there.url, private_addresses=True), FAST)
        assert requests == running.report().delivered
        seen = there.figures()
    assert peak(leaving) <= cap
    assert seen["peak"] <= cap * 1.05, "on a busy machine some come in late, and meet later ones"
    edge = 0.1  # seconds by which the very last one may be late
    assert seen["seconds"] <= (requests - 1) / cap / 0.98 + edge


def test_a_cap_per_minute_does_not_take_the_place_of_the_cap_per_second() -> None:
    _, connection = connect("braze", {"endpoint": "https://x", "api_key": "${KEY}"}, cap=Cap(6000, 60.0))
    limits = effective_limits(Braze.limits, connection)
    assert [(6000, 60.0), (100, 1.0)] == [(limit.requests, limit.seconds) for limit in limits if not limit.endpoint]
    _, raised = connect(
        "braze", {"endpoint": "https://x", "api_key": "${KEY}"}, cap=Cap(200), cap_raised_by_vendor=True
    )
    assert [(200, 1.0)] == [
        (each.requests, each.seconds) for each in effective_limits(Braze.limits, raised) if not each.endpoint
    ]


def test_connections_of_one_receiver_share_its_cap(server: VendorServer) -> None:
    sender, options = Sender(), replace(FAST, gateway=server.url)
    running = [start(people(15), webhook("hook", Cap(20)), options, sender) for _ in range(2)]
    assert [15, 15] == [each.report().delivered for each in running]
    assert server.peak() <= 22, "on a busy machine some come in late"


def test_a_process_that_sends_again_after_another_one_leaves_it_its_second(server: VendorServer) -> None:
    hook, options = webhook(cap=Cap(2)), replace(FAST, gateway=server.url)
    one, another = Sender(), Sender()
    for sender in (one, another, one, another, one):
        assert 2 == start(people(2), hook, options, sender).report().delivered
    assert 2 >= server.peak(0.9), "a request may come later than it left"


def test_a_day_of_an_earlier_run_counts(server: VendorServer) -> None:
    options, hook = replace(FAST, gateway=server.url), webhook(cap=Cap(30, 86400.0))
    first = start(people(20), hook, options)
    assert 20 == first.report().delivered
    second = start(people(20), hook, options, caps=first.caps)
    assert 10 == second.report().delivered
    waits = r"its cap or the vendor makes it wait 24 h, until 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ; "
    assert re.match(waits, second.delivery.report.stopped)
    assert set() == second.maybe()


def take_its_time(server: VendorServer, seconds: float = 0.5) -> list[int]:
    """What it is busy with, at each request."""
    busy: list[int] = []

    def answer(seen: Seen) -> Answer:
        busy.append(server.busy)
        return Answer(delay=seconds)

    server.script = answer
    return busy


PATIENT = replace(FAST, read_timeout=5.0)


def test_as_many_requests_are_under_way_as_the_cap_needs(server: VendorServer) -> None:
    busy = take_its_time(server)
    running = start(people(120), webhook(cap=Cap(80)), replace(PATIENT, gateway=server.url))
    assert 120 == running.report().delivered
    assert 35 <= max(busy), "half a second of 80/s"
    assert server.peak() <= 84, "on a busy machine some come in late"


def test_without_a_cap_the_first_requests_do_not_wait_for_each_other(server: VendorServer) -> None:
    busy = take_its_time(server, 0.25)
    assert 40 == start(people(40), webhook(), replace(PATIENT, gateway=server.url)).report().delivered
    assert list(range(1, FEWEST + 1)) == busy[:FEWEST]
    assert FEWEST == max(busy)


def test_so_many_calls_are_read_ahead_that_every_conversation_has_a_full_batch(server: VendorServer) -> None:
    busy = take_its_time(server, 1.0)
    hook = webhook(cap=Cap(20), batch=1000)
    assert 12_000 == start(people(12_000), hook, replace(PATIENT, gateway=server.url)).report().delivered
    assert 12 == len(server.seen)
    assert 7 <= max(busy), "of a second at 20/s: a body of 1,000 takes its time to make, too"


def test_requests_leave_nothing_to_the_garbage_collector(server: VendorServer) -> None:
    """Once it has something to do, it stops all requests for a tenth of a second: more than a pace can catch up."""
    gc.collect()
    gc.disable()
    try:
        running = start(people(1_000), webhook(), replace(FAST, gateway=server.url))
        assert 1_000 == running.report().delivered
        assert gc.collect() < 200
    finally:
        gc.enable()


def test_endpoint_classes_are_used_side_by_side(server: VendorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITERABLE", "very-secret-key")
    monkeypatch.setattr(Iterable, "batch", Batch(50))
    classes = (Limit(10, 1.0, "users/bulkUpdate"), Limit(20, 1.0, "events/trackBulk"))
    monkeypatch.setattr(Iterable, "limits", (Limit(30), *classes))
    server.script = lambda seen: Answer(200, {"successCount": 50, "failCount": 0})
    calls = [identify(n) for n in range(1_000)] + [track(1_000 + n, 1, n) for n in range(1_000)]
    connected = connect("iterable", {"api_key": "${ITERABLE}"})
    assert 2_000 == start(calls, connected, replace(FAST, gateway=server.url)).report().delivered
    went = [seen.target.rpartition("/")[2] for seen in server.seen]
    assert 20 == went.count("bulkUpdate") == went.count("trackBulk")
    assert went[-5:] == ["bulkUpdate"] * 5, "20 of 20/s, beside 20 of 10/s"


def test_a_batch_is_not_formed_long_before_it_can_go(server: VendorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITERABLE", "very-secret-key")
    monkeypatch.setattr(Iterable, "batch", Batch(50))
    server.script = lambda seen: Answer(200, {"successCount": len(seen.json.get("users", "1")), "failCount": 0})
    addresses = [(n, address) for n in range(400) for address in ("a", "b")[: 2 if n % 5 < 2 else 1]]
    calls = [
        Call(f"customer-{n}", "identify", Identifier("email", f"{address}{n}@x.io"), "big_spenders", True, n, 0)
        for n, address in addresses
    ]
    report = start(calls, connect("iterable", {"api_key": "${ITERABLE}"}), replace(FAST, gateway=server.url)).report()
    assert 560 == report.delivered
    assert len(server.seen) <= 14, (
        "12 full ones: what is left over from one fills up those that wait for the 5 per second"
    )


def test_a_route_has_no_more_requests_under_way_than_its_batch_says(server: VendorServer) -> None:
    class Routed(Webhook):
        def batch_of(self, route: str) -> Batch:
            return Batch(1, at_once=2 if route == "identify" else 0)

        def route(self, call: Call) -> str:
            return call.kind

    busy: dict[str, int] = {"identify": 0, "track": 0}
    most = dict(busy)

    def answer(seen: Seen) -> Answer:
        kind = seen.json["type"]
        busy[kind] += 1
        most[kind] = max(most[kind], busy[kind])
        threading.Timer(0.1, lambda: busy.update({kind: busy[kind] - 1})).start()
        return Answer(delay=0.12)

    server.script = answer
    connected = webhook()
    calls = [*people(30), *(track(100 + n, 1, n) for n in range(30))]
    options = replace(PATIENT, gateway=server.url)
    assert 60 == start(calls, connected, options, destination=Routed(*connected)).report().delivered
    assert 2 == most["identify"]
    assert most["track"] > 4


def test_the_accounts_own_limit_is_the_pace_once_an_answer_tells_it(
    server: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZENDESK", "very-secret-token")
    quota = {"X-Rate-Limit": "600", "X-Rate-Limit-Remaining": "599"}
    server.script = lambda seen: Answer(202, {"status": "received"}, headers=quota)
    connected = connect("zendesk", {"subdomain": "acme", "oauth_token": "${ZENDESK}"})
    calls = [track(n, 1, n, traits={"name": "Ann"}) for n in range(30)]
    assert 30 == start(calls, connected, replace(FAST, gateway=server.url)).report().delivered
    assert server.peak() <= 20, "10/s, and what left before the first answer; the cap is 50/s"
    assert server.seen[-1].at - server.seen[0].at >= 2.0
