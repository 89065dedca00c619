"""Fault injection: a vendor in every kind of trouble. Nothing is lost, the cap is kept, others are unaffected."""

import asyncio
import gzip
import re
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from itertools import pairwise
from random import Random

import pytest

from schemas.calls import Call
from schemas.outcomes import Expired
from schemas.workspace import Cap
from tests.sending.delivering import (
    FAST,
    Delivering,
    braze,
    connect,
    delivery_of,
    failing,
    identify,
    people,
    start,
    track,
    until,
    webhook,
)
from tests.sending.vendor_server import Answer, Script, Seen, VendorServer, vendor
from transforms.sending.pump import Pump
from transforms.sending.sender import Sender

CAP = 200
OCCURRENCES = [track(n, value, value) for n in range(30) for value in range(4)]  # four of each person, in order


def values(server: VendorServer) -> dict[str, list[int]]:
    """What the vendor took, per person, in its order; what it took twice in a row, once."""
    found: dict[str, list[int]] = defaultdict(list)
    for seen in server.taken:
        told = found[seen.json["context"]["traits"]["email"]]
        value = seen.json["properties"]["total_revenue"]
        if told[-1:] != [value]:
            told.append(value)
    return found


def square_wave(answer: Answer) -> Script:
    """Bad for a while, good for a while, and so on."""
    began = time.monotonic()
    return lambda seen: answer if (seen.at - began) % 0.4 < 0.1 else Answer()


def first(number: int, answer: Answer) -> Script:
    return lambda seen: answer if seen.number < number else Answer()


def for_a_while(seconds: float, answer: Answer) -> Script:
    end = time.monotonic() + seconds
    return lambda seen: answer if seen.at < end else Answer()


def some(share: float, *answers: Answer) -> Script:
    chance = Random(1)
    return lambda seen: chance.choice(answers) if chance.random() < share else Answer()


FAULTS: dict[str, Callable[[], Script]] = {
    "square wave of 429": lambda: square_wave(Answer(429, headers={"Retry-After": "0.1"})),
    "429 without a delay": lambda: first(1, Answer(429)),
    "burst of 5xx": lambda: for_a_while(0.3, Answer(503)),
    "5xx and 408 now and then": lambda: some(0.1, Answer(500), Answer(502), Answer(408)),
    "resets in the middle of a body": lambda: some(0.1, Answer(cut="reset")),
    "truncated bodies": lambda: some(0.1, Answer(cut="close")),
    "slow answers": lambda: some(0.3, Answer(delay=0.1)),
    "hung connections": lambda: first(3, Answer(cut="hang")),
    "everything at once": lambda: some(
        0.2, Answer(429, headers={"Retry-After": "0.05"}), Answer(500), Answer(cut="reset"), Answer(cut="close")
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost_and_order_and_cap_are_kept(fault: str, server: VendorServer) -> None:
    server.script = FAULTS[fault]()
    running = start(OCCURRENCES, webhook(cap=Cap(CAP)), replace(FAST, gateway=server.url, retry_for=20.0))
    report = running.report()
    assert ("", len(OCCURRENCES), 0) == (report.stopped, report.delivered, report.pending)
    assert {f"person-{n}@example.com": [0, 1, 2, 3] for n in range(30)} == values(server)
    assert server.peak() <= CAP
    assert report.requests == len(server.seen)


def test_a_429_is_no_failure(server: VendorServer) -> None:
    server.script = lambda seen: Answer(429, headers={"Retry-After": "0.02"}) if seen.number in (0, 20) else Answer()
    report = start(people(30), webhook(), replace(FAST, gateway=server.url)).report()
    assert 30 == report.delivered
    assert "none" not in report.statuses
    assert report.curve, "the rate has come down"


@pytest.mark.parametrize(
    ("status", "headers"), [(429, {"Retry-After": "0.3"}), (503, {"Retry-After": "0.3"}), (200, {})]
)
def test_a_delay_holds_the_whole_connection(server: VendorServer, status: int, headers: dict[str, str]) -> None:
    spent = {"X-RateLimit-Limit": "77", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "0.3"}
    server.script = lambda seen: Answer(status, headers=headers or spent) if seen.number == 20 else Answer()
    start(people(400), webhook(cap=Cap(CAP)), replace(FAST, gateway=server.url)).report()
    gaps = [after.at - before.at for before, after in zip(server.seen, server.seen[1:], strict=False)]
    assert 1 == sum(gap >= 0.28 for gap in gaps)


def test_a_delay_given_as_a_date_is_read_by_the_clock_of_the_server(server: VendorServer) -> None:
    hours_off = time.time() - 3 * 3600
    answer = Answer(
        429,
        headers={"Date": formatdate(hours_off, usegmt=True), "Retry-After": formatdate(hours_off + 1, usegmt=True)},
    )
    server.script = first(1, answer)
    report = start(people(20), webhook(), replace(FAST, gateway=server.url)).report()
    assert 20 == report.delivered
    assert 0.9 <= server.seen[-1].at - server.seen[0].at <= 2.5


def test_a_body_that_is_no_json_is_no_answer(server: VendorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAZE", "very-secret-key")
    pages = [
        Answer(200, body=b"<html>a proxy</html>"),
        Answer(200, body=b'{"mess'),
        Answer(201, {"message": "success"}),
    ]
    server.script = lambda seen: pages[min(seen.number, 2)]
    report = start(people(75), braze(), replace(FAST, gateway=server.url)).report()
    assert (75, 3) == (report.delivered, report.requests)


def test_a_vendor_in_trouble_is_asked_by_one_request_at_a_time(server: VendorServer) -> None:
    at_once: list[int] = []
    bad = for_a_while(0.5, Answer(503, delay=0.05))

    def fail(seen: Seen) -> Answer:
        at_once.append(server.busy)
        return bad(seen)

    server.script = fail
    running = start(people(200), webhook(), replace(FAST, gateway=server.url, retry_for=20.0))
    until(lambda: bool(server.taken))
    probes = at_once[16 : len(server.seen) - len(server.taken)]
    assert len(probes) <= 2
    assert all(number == 1 for number in probes)
    assert 200 == running.report().delivered


# -- answers about single calls


def hubspot(**settings: object) -> object:
    return connect("hubspot", {"upsert": True, **settings})


def contacts(seen: Seen, answer: Callable[[list[dict[str, object]]], Answer]) -> Answer:
    """HubSpot: everything is there already; the upserts are the test's."""
    if "/properties/" in seen.target:
        fields = [{"name": name, "type": "string"} for name in ("big_spenders", "total_revenue")]
        return Answer(200, {"results": fields})
    return answer(seen.json["inputs"])


def test_results_in_any_order_and_more_than_once_reach_their_calls(
    server: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUBSPOT", "very-secret-token")

    def shuffled(inputs: list[dict[str, object]]) -> Answer:
        done = [{"id": f"7{n}", "objectWriteTraceId": each["objectWriteTraceId"]} for n, each in enumerate(inputs)]
        error = {"category": "VALIDATION_ERROR", "message": "INVALID_EMAIL", "context": {}}
        bad = [{**error, "context": {"objectWriteTraceId": [inputs[5]["objectWriteTraceId"]]}}]
        results = [each for n, each in enumerate(done) if n != 5][::-1]
        return Answer(207, {"results": results + results[:3], "errors": bad + bad})

    server.script = lambda seen: contacts(seen, shuffled)
    running = start(people(20), hubspot(access_token="${HUBSPOT}"), replace(FAST, gateway=server.url))  # type: ignore[arg-type]
    assert 19 == running.report().delivered
    assert [5] == list(running.rejected())


def test_a_person_whom_the_vendor_cannot_take_now_keeps_only_their_own_lane(
    server: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUBSPOT", "very-secret-token")
    busy = "person-0@example.com"
    refusals = 0

    def upsert(inputs: list[dict[str, object]]) -> Answer:
        nonlocal refusals
        done, errors = [], []
        for each in inputs:
            if each["id"] == busy and refusals < 2:
                refusals += 1
                context = {"objectWriteTraceId": [each["objectWriteTraceId"]]}
                errors.append({"category": "RATE_LIMITS", "message": "too many for this one", "context": context})
            else:
                done.append({"id": "7", "objectWriteTraceId": each["objectWriteTraceId"]})
        return Answer(207 if errors else 200, {"results": done, "errors": errors})

    server.script = lambda seen: contacts(seen, upsert)
    calls = [identify(0, 1, "total_revenue"), *people(150)]
    running = start(calls, hubspot(access_token="${HUBSPOT}"), replace(FAST, gateway=server.url))  # type: ignore[arg-type]
    until(lambda: len(running.final) >= 149)
    assert {0, 1} == set(range(151)) - running.final.keys()
    assert 151 == running.report().delivered
    assert 2 == refusals


def test_a_token_that_expires_under_way_is_renewed_once_for_all(
    server: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFRESH", "very-secret-refresh")
    monkeypatch.setenv("CLIENT", "very-secret-client")
    given: list[str] = []

    def answer(seen: Seen) -> Answer:
        if seen.target.endswith("/oauth/2026-03/token"):
            given.append(f"token-{len(given)}")
            return Answer(200, {"access_token": given[-1]}, delay=0.05)
        valid = given[-1] if seen.number < 3 else "token-1"
        if seen.headers.get("authorization") != f"Bearer {valid}":
            return Answer(401, {"status": "error", "category": "EXPIRED_AUTHENTICATION"}, delay=0.05)
        return contacts(
            seen,
            lambda inputs: Answer(200, {"results": [{"id": "7", **i} for i in inputs]}, delay=0.02),  # type: ignore[dict-item]
        )

    server.script = answer
    settings = {"upsert": True, "refresh_token": "${REFRESH}", "client_id": "c", "client_secret": "${CLIENT}"}
    connected = connect("hubspot", settings, cap=Cap(8))  # so that some wait for their turn
    running = start(people(1000), connected, replace(FAST, gateway=server.url))
    report = running.report()
    assert ("", 1000) == (report.stopped, report.delivered)
    assert ["token-0", "token-1"] == given
    stale = [seen.number for seen in server.seen if seen.headers.get("authorization") == "Bearer token-0"]
    assert [1, 2, 3] == stale  # the first refusal is news to those that wait for their turn


OAUTH = {"refresh_token": "${REFRESH}", "client_id": "c", "client_secret": "${CLIENT}"}


def test_credentials_that_cannot_be_renewed_stop_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFRESH", "very-secret-refresh")
    monkeypatch.setenv("CLIENT", "very-secret-client")
    tokens: list[Answer] = [Answer(json={"access_token": "first"})]

    def answer(seen: Seen) -> Answer:
        if "oauth" in seen.target:
            return tokens.pop() if tokens else Answer(503)
        if "properties" in seen.target:
            return Answer(json={"results": [{"name": "big_spenders"}]})
        return Answer(401)

    with vendor(answer) as server:
        running = start(people(1_000), connect("hubspot", OAUTH), replace(FAST, gateway=server.url, retry_for=1.0))
        report = running.report(5.0)  # ten batches
    assert report.stopped.startswith("its credentials could not be renewed: no useful answer within 1 s")
    assert (1_000, set()) == (report.pending, running.maybe())


# -- nobody there


def test_a_name_that_cannot_be_found_loses_nothing() -> None:
    running = start(people(30), connect("webhook", {"url": "https://nowhere.invalid/in"}), replace(FAST, retry_for=0.2))
    report = running.report()
    assert "no useful answer within 0 s: nowhere.invalid cannot be found;" in report.stopped
    assert (30, 0, set()) == (report.pending, report.requests, running.maybe())


def test_a_name_server_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hang = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **more: hang.wait(20.0))
    options = replace(FAST, connect_timeout=0.2, retry_for=0.5)
    try:
        report = start(people(30), connect("webhook", {"url": "https://vendor.example/in"}), options).report(
            within=10.0
        )
    finally:
        hang.set()
    assert "no connection to vendor.example within 0.2 s;" in report.stopped
    assert 30 == report.pending


def test_a_refused_connection_loses_nothing(server: VendorServer) -> None:
    running = start(people(30), webhook(), replace(FAST, gateway="http://127.0.0.1:9", retry_for=0.2))
    report = running.report()
    assert "connection refused by 127.0.0.1;" in report.stopped
    assert (30, 0, set()) == (report.pending, report.requests, running.maybe())


def test_what_could_not_be_reached_keeps_the_time_and_expires_like_everything_else(server: VendorServer) -> None:
    began = time.time()
    calls = [identify(0), failing(identify(1), began - 3_600)]
    options = replace(FAST, gateway="http://127.0.0.1:9", retry_for=0.1, give_up_after=1_800.0)
    running = start(calls, webhook(), options)
    running.report()
    assert {1: Expired("connection refused by 127.0.0.1", maybe=False)} == running.final
    assert [1] == list(running.log.marks)
    assert 0 <= running.log.marks[1].since - began < 1


def test_a_vendor_that_cannot_be_reached_is_tried_less_and_less() -> None:
    running = start(people(300), webhook(), replace(FAST, gateway="http://127.0.0.1:9", retry_for=1.8))
    assert running.report().statuses["unreachable"] <= 16 + 2


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_an_answer_without_end_is_not_kept(server: VendorServer, packed: bool) -> None:
    body, headers = bytes(2**26), {"Content-Type": "application/json"}
    if packed:
        body, headers = gzip.compress(body), {**headers, "Content-Encoding": "gzip"}
    server.script = lambda seen: Answer(500, body=body, headers=headers)
    running = start(
        [failing(identify(1), 1_000.0)], webhook(), replace(FAST, gateway=server.url, retry_for=0.1, read_timeout=30.0)
    )
    running.report()
    assert {0: Expired("127.0.0.1 answers with more than 16 MB", attempts=1)} == running.final


@pytest.mark.parametrize(
    "headers",
    [
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2.2"},
        {"Retry-After": formatdate(time.time() + 3600, usegmt=True), "Date": "today"},
    ],
    ids=["the reset of a quota", "a date beside an odd one"],
)
def test_what_a_429_says_in_other_words_is_kept_to(server: VendorServer, headers: dict[str, str]) -> None:
    server.script = first(1, Answer(429, headers=headers))
    running = start(people(1), webhook(), replace(FAST, gateway=server.url, retry_for=3.0))
    report = running.report()
    if report.delivered:
        assert server.seen[1].at - server.seen[0].at >= 2.2
    else:
        assert "makes it wait" in report.stopped


def test_a_quota_of_the_same_number_and_a_longer_time_is_not_the_cap(server: VendorServer) -> None:
    spent = {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "3.4"}
    server.script = lambda seen: Answer(headers=spent if seen.number == 3 else {})
    start(people(60), webhook(cap=Cap(100)), replace(FAST, gateway=server.url)).report()
    times = [seen.at for seen in server.seen]
    assert max(later - earlier for earlier, later in pairwise(times)) >= 3.2


def test_the_wait_for_the_cap_is_not_held_against_a_429(server: VendorServer) -> None:
    server.script = lambda seen: Answer(429, headers={"Retry-After": "0.1"}) if seen.number == 4 else Answer()
    running = start(people(6), webhook(cap=Cap(2)), replace(FAST, gateway=server.url, retry_for=0.9))
    assert (6, 7) == (running.report().delivered, len(server.seen))


def test_who_was_put_off_is_tried_again_though_others_of_the_batch_are_left(
    server: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUBSPOT", "very-secret-token")
    asked = Counter[int]()

    def answer(seen: Seen) -> Answer:
        numbers = {int(number) for number in re.findall(rb"person-(\d+)@", seen.body)}
        asked.update(numbers)
        if len(numbers) > 3:
            return Answer(400)
        if 3 in numbers:
            return Answer(503)
        results = [{"id": str(n), "properties": {"email": f"person-{n}@example.com"}} for n in numbers]
        if asked[0] < 3 and 0 in numbers:
            results = [each for each in results if each["id"] != "0"]
        return Answer(200, {"results": results})

    server.script = lambda seen: contacts(seen, lambda inputs: answer(seen))
    running = start(people(6), hubspot(access_token="${HUBSPOT}"), replace(FAST, gateway=server.url, retry_for=3.0))  # type: ignore[arg-type]
    running.report()
    assert {0, 1, 2} <= set(running.delivered())


def test_a_long_hold_is_written_down_at_once(server: VendorServer) -> None:
    server.script = lambda seen: Answer(429, headers={"Retry-After": "3600"})
    running = start(people(1), webhook(), replace(FAST, gateway=server.url))
    running.report()
    assert 2 == len(running.caps.saves), "with the answer, and at the end"
    assert 3_500 < running.caps.saves[0]["held_until"] - time.time() <= 3_600


class CountsWaits(Pump):
    waits = 0

    async def _wait(self) -> None:
        self.waits += 1
        await super()._wait()


def test_a_lane_that_is_due_while_nothing_may_go_keeps_nobody_busy(
    server: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUBSPOT", "very-secret-token")
    asked = 0

    def upsert(inputs: list[dict[str, object]]) -> Answer:
        nonlocal asked
        asked += 1
        if 2 <= asked <= 4:
            return Answer(429, headers={"Retry-After": "1.5"})
        error = {"category": "RATE_LIMITS", "message": "busy", "context": {}}
        errors = [{**error, "context": {"objectWriteTraceId": [inputs[0]["objectWriteTraceId"]]}}] if asked == 1 else []
        return Answer(207, {"results": [{"id": "7", **each} for each in inputs[len(errors) :]], "errors": errors})

    server.script = lambda seen: contacts(seen, upsert)
    connected = hubspot(access_token="${HUBSPOT}")
    delivery = delivery_of(people(600), connected, replace(FAST, gateway=server.url))  # type: ignore[arg-type]
    pump = CountsWaits(delivery, {})
    assert 600 == asyncio.run(pump.run()).delivered
    assert 0 < pump.waits < 150


# -- the others


@pytest.mark.parametrize(
    "trouble", [Answer(cut="hang"), Answer(503), Answer(429), Answer(cut="reset"), Answer(delay=0.2)]
)
def test_other_connections_are_unaffected(server: VendorServer, trouble: Answer) -> None:
    server.script = lambda seen: trouble if "bad" in seen.target else Answer()
    sender, options = Sender(), replace(FAST, gateway=server.url)
    bad = start(people(2_000), webhook("bad"), options, sender)
    good = start(people(60), webhook("good", Cap(100)), options, sender)
    assert 60 == good.report().delivered
    assert good.delivery.report.seconds < 2  # 0.6 alone on the machine; the bad one takes longer than the test
    sender.stop()
    assert bad.report(within=3).pending > 0


def test_memory_stays_bounded_while_the_vendor_is_slow(server: VendorServer) -> None:
    server.script = lambda seen: Answer(delay=0.05)
    running = start(people(50_000), webhook(), replace(FAST, gateway=server.url))
    until(lambda: len(server.seen) > 50)
    assert running.log.read_so_far <= 4_000
    running.sender.stop()
    running.report()


def test_delivery_and_state_survive_a_connection_that_the_vendor_closes_between_requests(server: VendorServer) -> None:
    server.script = lambda seen: Answer(headers={"Connection": "close"})
    running: Delivering = start(people(100), webhook(cap=Cap(CAP)), replace(FAST, gateway=server.url))
    assert 100 == running.report().delivered
    assert server.peak() <= CAP
    calls: list[Call] = list(running.log.calls.values())
    assert 100 == len(calls)
