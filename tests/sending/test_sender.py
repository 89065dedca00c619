"""The sender end to end: calls in, requests at a real server, outcomes in the journal."""

import asyncio
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from itertools import pairwise
from random import Random

import pytest
import trustme

from schemas.outcomes import Expired, Rejected
from schemas.report import Report
from schemas.workspace import Cap
from tests.sending.delivering import (
    FAST,
    Delivering,
    braze,
    connect,
    delivery_of,
    errors_of,
    failing,
    finals,
    identify,
    people,
    placed,
    start,
    track,
    until,
    webhook,
)
from tests.sending.memory_log import MemoryLog
from tests.sending.vendor_server import Answer, Seen, VendorServer, vendor
from transforms.destinations.contract import Batch
from transforms.sending.log import Waiting
from transforms.sending.pump import Pump
from transforms.sending.sender import Sender

# -- who asks


def test_every_request_says_which_version_sends_it(server: VendorServer) -> None:
    start(people(2), webhook(), replace(FAST, gateway=server.url)).report()
    assert [f"profilecast/{version('profilecast')}"] * 2 == [seen.headers["user-agent"] for seen in server.seen]


def test_a_name_of_the_users_own_goes_before_it(server: VendorServer) -> None:
    start(people(1), webhook(headers={"User-Agent": "shop/1"}), replace(FAST, gateway=server.url)).report()
    assert ["shop/1"] == [seen.headers["user-agent"] for seen in server.seen]


# -- one bad call in a batch


@pytest.mark.parametrize("bad", [0, 1, 31, 32, 37, 63])
def test_a_batch_refused_as_a_whole_is_halved_until_the_bad_call_is_found(server: VendorServer, bad: int) -> None:
    def refuse(seen: Seen) -> Answer:
        return Answer(400, body=b"something is wrong") if f"person-{bad}@".encode() in seen.body else Answer()

    server.script = refuse
    running = start(people(64), webhook(batch=64), replace(FAST, gateway=server.url))
    report = running.report()
    assert {bad: "refused"} == running.rejected()
    assert 63 == report.delivered
    assert len(server.seen) <= 1 + 6 + 2  # log₂ n, the bad one, and the rest together


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_all_bad_calls_of_a_batch_are_found_and_no_other(server: VendorServer, share: float) -> None:
    chance = Random(share)
    bad = {n for n in range(200) if chance.random() < share}

    def refuse(seen: Seen) -> Answer:
        return Answer(400) if bad & {int(number) for number in re.findall(rb"person-(\d+)@", seen.body)} else Answer()

    server.script = refuse
    running = start(people(200), webhook(batch=64), replace(FAST, gateway=server.url))
    running.report()
    assert dict.fromkeys(bad, "refused") == running.rejected()
    assert sorted(set(range(200)) - bad) == running.delivered()
    assert len(server.seen) <= 2 * 200 + 4 * 6


def test_a_batch_that_is_too_large_is_only_split(server: VendorServer) -> None:
    server.script = lambda seen: Answer(413 if len(seen.body) > 20_000 else 200)
    running = start(people(64), webhook(batch=64), replace(FAST, gateway=server.url))
    assert 64 == running.report().delivered
    assert len(server.seen) <= 1 + 2 + 4


def test_no_body_is_larger_than_the_vendor_takes(server: VendorServer) -> None:
    calls = [identify(n, "x" * 720, "total_revenue") for n in range(1_500)]
    running = start(calls, webhook(batch=1_000), replace(FAST, gateway=server.url))
    assert 1_500 == running.report().delivered
    assert max(len(seen.body) for seen in server.seen) <= Batch().bytes


def test_per_item_rejections_leave_the_others(server: VendorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAZE", "very-secret-key")
    server.script = lambda seen: Answer(201, {"message": "success", "errors": errors_of(seen, {3, 70})})
    running = start(people(75), braze(), replace(FAST, gateway=server.url))
    assert 73 == running.report().delivered
    assert {3: "invalid_identifier", 70: "invalid_identifier"} == running.rejected()


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([], Rejected("refused", "no", attempts=1)),
        ([Answer(503, cut="reset")], Rejected("refused", "no", maybe=True, attempts=2)),
        (
            [Answer(429, headers={"Retry-After": "0.01"}), Answer(503)],
            Rejected("refused", "no", maybe=True, attempts=3),
        ),
        ([Answer(429, headers={"Retry-After": "0.01"})], Rejected("refused", "no", attempts=2)),
    ],
)
def test_a_rejection_tells_of_the_attempts_before_it(
    server: VendorServer, before: list[Answer], expected: Rejected
) -> None:
    server.script = lambda seen: [*before, Answer(400, body=b"no")][min(seen.number, len(before))]
    running = start(people(1), webhook(), replace(FAST, gateway=server.url))
    running.report()
    assert {0: expected} == running.final


def test_a_bad_value_keeps_no_other_of_its_person_from_being_told(
    server: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAZE", "very-secret-key")

    def answer(seen: Seen) -> Answer:
        bad = [n for n, each in enumerate(seen.json["attributes"]) if each.get("total_revenue") == "bad"]
        wrong = {"type": "total_revenue is no number", "input_array": "attributes"}
        return Answer(201, {"message": "success", "errors": [{**wrong, "index": n} for n in bad]})

    server.script = answer
    calls = [identify(0), identify(0, "bad", "total_revenue"), identify(0, True, "vip"), identify(1)]
    running = start(calls, braze(), replace(FAST, gateway=server.url))
    report = running.report()
    assert [0, 2, 3] == running.delivered()
    assert {1: "invalid_value"} == running.rejected()
    assert (4, {"invalid_value": 1}) == (report.requests, report.rejected)
    assert running.final[1] == Rejected("invalid_value", "total_revenue is no number", attempts=2)


def test_the_halves_of_a_batch_keep_its_attempts(server: VendorServer) -> None:
    server.script = lambda seen: Answer(503, cut="reset") if seen.number == 0 else Answer(400, body=b"no")
    running = start(people(2), webhook(batch=2), replace(FAST, gateway=server.url))
    running.report()
    expected = Rejected("refused", "no", maybe=True, attempts=3)
    assert {0: expected, 1: expected} == running.final


def test_the_second_half_does_not_overtake_what_was_left_of_the_first(server: VendorServer) -> None:
    server.script = lambda seen: Answer(503 if seen.number else 400)
    options = replace(FAST, gateway=server.url, retry_for=0.1)
    running = start([identify(0), identify(0, 5, "total_revenue")], webhook(batch=2), options)
    assert 2 == running.report().pending
    assert [0, 1, 0] == running.marked


@pytest.mark.parametrize("good", [0, 450])
def test_calls_refused_by_our_own_rules_had_no_attempts_and_others_get_their_turn_between_them(
    server: VendorServer, monkeypatch: pytest.MonkeyPatch, good: int
) -> None:
    monkeypatch.setenv("BRAZE", "very-secret-key")
    server.script = lambda seen: Answer(201, {"message": "success"})
    calls = [identify(n, "fine" if n < good else "x" * 300, "total_revenue") for n in range(good + 20_000)]
    delivery = delivery_of(calls, braze(), replace(FAST, gateway=server.url))

    async def run() -> list[int]:
        running = asyncio.create_task(Pump(delivery, {}).run())
        seen = [0]
        while not running.done():
            await asyncio.sleep(0)
            seen.append(delivery.report.settled)
        return seen

    seen = asyncio.run(run())
    assert len(calls) == seen[-1]
    assert max(after - before for before, after in pairwise(seen)) <= 1_000 + good, "a chunk at a time"
    assert {(False, 0)} == {
        (told.maybe, told.attempts) for told in finals(delivery.log).values() if isinstance(told, Rejected)
    }


# -- the first calls of a first sync


def refused_by(seen: Seen, share: float) -> Answer:
    number = len(seen.json["attributes"])
    return Answer(201, {"message": "success", "errors": errors_of(seen, set(range(int(number * share))))})


@pytest.mark.parametrize(("share", "stops"), [(0.6, True), (0.4, False)])
def test_a_first_sync_that_is_mostly_rejected_stops_early(
    server: VendorServer, monkeypatch: pytest.MonkeyPatch, share: float, stops: bool
) -> None:
    monkeypatch.setenv("BRAZE", "very-secret-key")
    server.script = lambda seen: refused_by(seen, share)
    running = start(people(10_000), braze(), replace(FAST, gateway=server.url), first_sync=True)
    report = running.report()
    assert stops == bool(report.stopped)
    if stops:
        assert 9_900 == report.pending
        assert "rejected 60 of the first 100 calls" in report.stopped or "of the first 100" in report.stopped
        assert "invalid_identifier" in report.stopped
        assert "--max-reject-rate" in report.stopped
        assert report.stopped.endswith("; those that were rejected go with profilecast replay")
        assert report.samples
        assert running.log.kept["canary"], (
            "the next run goes on with the first calls only, though some were acknowledged"
        )
    else:
        assert 0 == report.pending


@pytest.mark.parametrize(("good", "longest"), [(300, 1.0), (30, 0.0)], ids=["some batches", "less than a batch"])
def test_what_is_ready_does_not_wait_for_calls_refused_by_our_own_rules_to_be_read(
    server: VendorServer, monkeypatch: pytest.MonkeyPatch, good: int, longest: float
) -> None:
    monkeypatch.setenv("BRAZE", "very-secret-key")
    monkeypatch.setattr("transforms.sending.pump._LONGEST_READ", longest)
    read = []

    def take(seen: Seen) -> Answer:
        read.append(delivery.log.read_so_far)
        return Answer(201, {"message": "success"})

    server.script = take
    calls = [identify(n, "fine" if n < good else "x" * 300, "total_revenue") for n in range(100_000)]
    delivery = delivery_of(calls, braze(), replace(FAST, gateway=server.url))
    assert good == asyncio.run(Pump(delivery, {}).run()).delivered
    assert read[0] < 100_000


def test_a_first_sync_does_not_wait_for_one_call_that_is_tried_again_and_again(server: VendorServer) -> None:
    server.script = lambda seen: Answer(503) if b"person-3@" in seen.body else Answer()
    options = replace(FAST, gateway=server.url, retry_for=3_600.0)
    running = start(people(300), webhook(), options, first_sync=True)
    until(lambda: running.delivery.report.delivered == 299)
    running.sender.stop()
    assert ("", 1) == ((report := running.report()).stopped, report.pending)


def test_calls_refused_by_our_own_rules_do_not_stop_a_first_sync(
    server: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAZE", "very-secret-key")
    server.script = lambda seen: Answer(201, {"message": "success"})
    calls = [identify(n, "x" * 300 if n % 10 else "fine", "total_revenue") for n in range(2_000)]
    report = start(calls, braze(), replace(FAST, gateway=server.url), first_sync=True).report()
    assert ("", 200, 1_800) == (report.stopped, report.delivered, report.rejections)


# -- stopping


def test_a_stop_lets_what_is_in_flight_end_and_leaves_the_rest(server: VendorServer) -> None:
    server.script = lambda seen: Answer(delay=0.1)
    running = start(people(500), webhook(), replace(FAST, gateway=server.url))
    until(lambda: len(server.seen) > 20)
    running.sender.stop()
    report = running.report(within=2)
    assert report.delivered == len(server.seen)
    assert report.pending == 500 - report.delivered
    assert set() == running.maybe()


def test_a_process_that_ends_in_the_middle_of_a_delivery_ends_quietly(server: VendorServer) -> None:
    server.script = lambda seen: Answer(delay=30.0)
    script = f"""
from tests.sending.delivering import FAST, people, start, until, webhook
from transforms.sending.sender import shared_sender
running = start(people(3), webhook(url="{server.url}", private_addresses=True), FAST, shared_sender())
until(lambda: len(running.maybe()) == 3)
raise SystemExit(7)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (7, "", "") == (ended.returncode, ended.stdout, ended.stderr)


def test_a_stop_while_the_log_is_read_is_heard() -> None:
    class Slow(MemoryLog):
        def read(self, backfill: bool, after: int, most: int) -> list[Waiting]:
            time.sleep(0.1)
            stop()
            return super().read(backfill, after, most)

    async def run() -> Report:
        nonlocal stop
        loop = asyncio.get_running_loop()
        stop = lambda: loop.call_soon_threadsafe(pump.stop)  # noqa: E731
        return await asyncio.wait_for(pump.run(), 5.0)

    stop: Callable[[], object] = lambda: None  # noqa: E731
    delivery = delivery_of([], webhook(), replace(FAST, read_timeout=30.0), log=Slow(placed(people(30))))
    pump = Pump(delivery, {})
    report = asyncio.run(run())
    assert ("", 30) == (report.stopped, report.pending)


def test_a_stop_does_not_wait_for_a_vendor_that_hangs(server: VendorServer) -> None:
    server.script = lambda seen: Answer(cut="hang")
    running = start(people(50), webhook(), replace(FAST, gateway=server.url, read_timeout=30.0, finish_within=0.2))
    until(lambda: len(server.seen) >= 16)
    running.sender.stop()
    assert 50 == running.report(within=2).pending
    assert set(range(16)) == running.maybe()


# -- giving up


def test_a_call_that_fails_for_hours_expires_and_a_fresh_one_waits(server: VendorServer) -> None:
    server.script = lambda seen: Answer(503, body=b"out of order")
    old = failing(identify(1), 1_000.0)
    running = start([identify(0), old], webhook(), replace(FAST, gateway=server.url, retry_for=0.1))
    report = running.report()
    assert {1: Expired("out of order", attempts=1)} == running.final
    assert (1, 1) == (report.expired, report.pending)
    assert {0} == running.maybe()


def test_what_follows_a_call_that_was_given_up_waits_with_it(server: VendorServer) -> None:
    def fail_for_one(seen: Seen) -> Answer:
        return Answer(503 if b'"total_revenue":1}' in seen.body or b'"total_revenue":1,' in seen.body else 200)

    server.script = fail_for_one
    calls = [track(0, 1, 1), track(0, 2, 2), *[track(n, 7, 1) for n in range(1, 300)]]
    running = start(calls, webhook(cap=Cap(200)), replace(FAST, gateway=server.url, retry_for=0.6))
    report = running.report()
    assert (299, 2) == (report.delivered, report.pending)
    assert not any(b'"total_revenue":2' in seen.body for seen in server.seen)


def test_a_vendor_that_stays_away_stops_the_connection_within_the_time_to_retry(server: VendorServer) -> None:
    server.script = lambda seen: Answer(503)
    running = start(people(1_000), webhook(), replace(FAST, gateway=server.url, retry_for=0.5))
    assert "no useful answer within 0 s: HTTP 503: {};" in running.report(within=5).stopped
    assert 1_000 == running.delivery.report.pending


# -- credentials and words


def test_a_refusal_of_the_credentials_stops_the_connection_alone(
    server: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAZE", "very-secret-key")

    def refuse(seen: Seen) -> Answer:
        return Answer(401, {"message": "key very-secret-key is wrong"}) if "braze" in seen.target else Answer()

    server.script = refuse
    sender, options = Sender(), replace(FAST, gateway=server.url)
    refused, fine = start(people(100), braze(), options, sender), start(people(100), webhook(), options, sender)
    assert 100 == fine.report().delivered
    stopped = refused.report().stopped
    assert "${BRAZE}" in stopped
    assert "very-secret-key" not in stopped
    assert 100 == refused.delivery.report.pending
    assert set() == refused.maybe()


@pytest.mark.parametrize(
    ("secret", "said", "kept"),
    [
        ("very-secret-value", "invery-secret-valuee", "in***e"),
        ("abc", "abc is no abcd", "*** is no abcd"),  # a short one is a part of many words
    ],
)
def test_secrets_are_masked_in_the_words_of_rejections(
    server: VendorServer, monkeypatch: pytest.MonkeyPatch, secret: str, said: str, kept: str
) -> None:
    monkeypatch.setenv("HOOK", secret)
    server.script = lambda seen: Answer(409, body=said.encode())
    from schemas.secret import Secret

    running = start(
        people(1), webhook(secret_headers={"x-token": Secret("${HOOK}")}), replace(FAST, gateway=server.url)
    )
    running.report()
    assert [Rejected("conflict", kept, attempts=1)] == list(running.final.values())


# -- where requests go


def test_who_cannot_prove_to_be_the_vendor_is_told_nothing() -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(tls)
    with vendor(tls=tls) as stranger:
        url = stranger.url.replace("http://127.0.0.1", "https://localhost")
        report = start(people(3), webhook(url=url, private_addresses=True), FAST).report()
    assert "the certificate of localhost cannot be trusted; nothing was sent" == report.stopped
    assert (3, []) == (report.pending, stranger.seen)


def test_a_redirect_rejects_nothing(server: VendorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAZE", "very-secret-key")
    server.script = lambda seen: Answer(307, headers={"Location": f"{server.url}/elsewhere"})
    report = start(people(3), braze(), replace(FAST, gateway=server.url)).report()
    assert "rest.braze.example redirects (HTTP 307); check its address" == report.stopped
    assert (3, 1) == (report.pending, len(server.seen))


def test_every_reason_has_a_sample(server: VendorServer) -> None:
    server.script = lambda seen: Answer(413 if b"person-19@" in seen.body else 422, body=f"no {seen.number}".encode())
    report = start(people(20), webhook(), replace(FAST, gateway=server.url)).report()
    assert {"invalid_value": 19, "too_large": 1} == report.rejected
    assert {"invalid_value", "too_large"} == {sample.reason for sample in report.samples}


def test_redirects_are_not_followed(server: VendorServer) -> None:
    server.script = lambda seen: Answer(302, headers={"Location": f"{server.url}/elsewhere"})
    running = start(people(1), webhook(), replace(FAST, gateway=server.url))
    assert "redirects (HTTP 302); check its address" in running.report().stopped
    assert 1 == len(server.seen)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]", "10.1.2.3"]
)
def test_nothing_is_sent_to_addresses_inside(host: str) -> None:
    running = start(people(3), connect("webhook", {"url": f"http://{host}:9/in"}), FAST)
    told = "is an address inside this machine's network, and nothing is sent there unless its settings say"
    assert f"{told} private_addresses: true" in running.report().stopped
    assert (0, 3) == (running.delivery.report.requests, running.delivery.report.pending)


def test_addresses_inside_may_be_allowed(server: VendorServer) -> None:
    running = start(people(3), connect("webhook", {"url": f"{server.url}/in", "private_addresses": True}), FAST)
    assert 3 == running.report().delivered


def test_with_a_gateway_only_spelt_out_addresses_are_refused(server: VendorServer) -> None:
    options = replace(FAST, gateway=server.url)
    assert 3 == start(people(3), connect("webhook", {"url": "http://intranet.local/in"}), options).report().delivered
    refused: Delivering = start(people(3), connect("webhook", {"url": "http://169.254.169.254/in"}), options)
    assert "inside" in refused.report().stopped


def test_of_a_delivery_that_is_over_its_requests_count_though_its_report_is_let_go(server: VendorServer) -> None:
    running = start(people(5), webhook(), replace(FAST, gateway=server.url))
    running.report()
    until(lambda: running.delivery.report.connection in running.sender.tallies())
    assert 1 == len(running.sender.reports())
    running.sender.forget("hook")
    assert ([], 5) == (running.sender.reports(), running.sender.tallies()["hook"].requests)
