"""Whose fault is it: the destination's module's, the record's, the connection's, or ours."""

import asyncio
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from sandbox.virtual_time import VirtualLoop, run
from schemas.calls import Call
from schemas.outcomes import Delivered, Expired, Rejected
from schemas.secret import Secret
from schemas.workspace import Cap
from tests.sending.delivering import FAST, delivery_of, failing, finals, identify, people, start, track, until, webhook
from tests.sending.vendor_server import Answer, Seen, VendorServer
from transforms.destinations.contract import (
    Auth,
    Batch,
    Conversation,
    Reply,
    Request,
    Session,
    Verdict,
    all_of,
    by_status,
)
from transforms.destinations.webhook import Webhook
from transforms.sending.pump import Pump
from transforms.sending.sender import Sender


@pytest.fixture
def options(server: VendorServer) -> Any:
    return replace(FAST, gateway=server.url)


class Faulty(Webhook):
    """Fails for person 3, where `where` says."""

    where = "deliver"

    def _fail(self, calls: Sequence[Call], where: str) -> None:
        if where == self.where and any(call.profile_id == "p3" for call in calls):
            raise KeyError("person-3@example.com")

    def unit(self, call: Call) -> Any:
        self._fail([call], "unit")
        return super().unit(call)

    def route(self, call: Call) -> str:
        self._fail([call], "route")
        return super().route(call)

    def check(self, call: Call) -> Rejected | None:
        self._fail([call], "check")
        return super().check(call)

    def batch_of(self, route: str) -> Batch:
        return Batch(10)

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        self._fail(calls, "deliver")
        body: Any = [call.profile_id for call in calls]
        if self.where == "encode" and "p3" in body:
            body = [object()]
        reply = yield Request("POST", "https://faulty.example/in", json=body)
        if self.where == "answer" and "p3" in body:
            reply.json()["results"]["nothing of the kind"]
        return all_of(calls, Delivered())[: -1 if self.where == "count" and "p3" in body else None]


@pytest.mark.parametrize("where", ["deliver", "unit", "route", "check", "encode", "answer", "count"])
def test_a_fault_about_one_call_ends_that_call_alone(
    server: VendorServer, options: Any, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Faulty, "where", where)
    connected = webhook()
    delivery = delivery_of(people(10), connected, options, destination=Faulty(*connected))
    report = asyncio.run(Pump(delivery, {}).run())
    assert ("", 9, {"fault": 1}) == (report.stopped, report.delivered, report.rejected)
    letter = delivery.log.letters[4]  # type: ignore[attr-defined]
    assert "fault" == letter.reason
    assert "Error at " in letter.answer
    assert "person-3" not in letter.answer


@pytest.mark.parametrize("what", ["__init__", "tenant", "limit_group", "batch_of", "classify"])
def test_a_module_that_fails_for_everything_stops_its_connection_alone(
    server: VendorServer, options: Any, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Webhook, *arguments: Any) -> Any:
        raise RuntimeError("person-3@example.com")

    monkeypatch.setattr("transforms.sending.pump.find", lambda slug: Broken if slug == "broken" else Webhook)
    Broken = type("Broken", (Webhook,), {what: fail, "slug": "broken"})
    workspace, connection = webhook("bad")
    from msgspec import structs

    sender = Sender()
    bad = start(people(20), (workspace, structs.replace(connection, destination="broken")), options, sender)
    good = start(people(20), webhook("good"), options, sender)
    assert 20 == good.report().delivered
    report = bad.report(10.0)
    assert "a fault in its destination's module: RuntimeError at " in report.stopped
    assert "person-3" not in report.stopped
    assert report.delivered == 0
    assert report.rejections < 5


# -- refusals


def test_a_404_for_one_record_rejects_that_one(server: VendorServer, options: Any) -> None:
    class Fussy(Webhook):
        def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
            return Verdict("refused", words="not found") if reply.status == 404 else by_status(reply, items)

    server.script = lambda seen: Answer(404) if b"person-3@" in seen.body else Answer()
    connected = webhook()
    delivery = delivery_of(people(30), connected, options, destination=Fussy(*connected))
    report = asyncio.run(Pump(delivery, {}).run())
    assert ("", 29, {"not_found": 1}) == (report.stopped, report.delivered, report.rejected)


@pytest.mark.parametrize("status", [401, 403])
def test_who_is_refused_always_stops_and_nobody_is_rejected(server: VendorServer, options: Any, status: int) -> None:
    server.script = lambda seen: Answer(status, body=b"who are you?")
    report = start(people(300), webhook(batch=5), options).report()
    assert f"(HTTP {status})" in report.stopped
    assert "who are you?" in report.stopped
    assert (0, 300) == (report.rejections, report.pending)
    assert len(server.seen) < 60


def test_a_batch_that_is_refused_whoever_is_in_it_stops_the_connection(server: VendorServer, options: Any) -> None:
    server.script = lambda seen: Answer(400, body=b"the list is full")
    report = start(people(300), webhook(batch=50), options).report()
    assert "the vendor refuses whatever it is told: the list is full" in report.stopped
    assert (0, 300) == (report.rejections, report.pending)


def test_a_key_that_is_refused_whoever_is_told_waits_and_others_go_on(server: VendorServer, options: Any) -> None:
    class ByKey(Webhook):
        def route(self, call: Call) -> str:
            return call.key

    server.script = lambda seen: Answer(400, body=b"no such field") if b'"total_revenue"' in seen.body else Answer()
    connected = webhook(batch=50)
    calls = [identify(n) for n in range(50)] + [identify(100 + n, n, "total_revenue") for n in range(50)]
    delivery = delivery_of(calls, connected, options, destination=ByKey(*connected))
    report = asyncio.run(Pump(delivery, {}).run())
    assert ("", 50, 50, 0) == (report.stopped, report.delivered, report.pending, report.rejections)
    assert {"total_revenue": "no such field"} == report.blocked


def test_a_record_that_the_vendor_always_fails_for_holds_only_itself(server: VendorServer, options: Any) -> None:
    server.script = lambda seen: Answer(500, body=b"oops") if b"person-3@" in seen.body else Answer()
    calls = [failing(call, 1_000.0) if call.profile_id == "p3" else call for call in people(60)]
    delivery, loop = delivery_of(calls, webhook(batch=20), replace(options, retry_for=8.0)), VirtualLoop()
    pump = Pump(delivery, {}, loop.time)
    loop.set_asking(lambda: pump.asking)
    report = run(pump.run(), loop)
    assert (59, 1) == (report.delivered, report.expired)
    assert {3: "oops"} == {n: told.words for n, told in finals(delivery.log).items() if isinstance(told, Expired)}  # type: ignore[arg-type]


# -- answers


@pytest.mark.parametrize("cut", ["reset", "close", "stall", "drip"])
def test_of_an_acknowledgement_the_status_is_enough(server: VendorServer, options: Any, cut: Any) -> None:
    server.script = lambda seen: Answer(200, cut=cut)
    running = start(people(3), webhook(), replace(options, read_timeout=0.1))
    assert (3, 3) == (running.report().delivered, running.report().requests)


@pytest.mark.parametrize(
    "headers", [{"Content-Security-Policy": "a" * 9_000}, {f"X-{n}": "1" for n in range(500)}, {"X-All": "b" * 100_000}]
)
def test_answers_with_a_large_head_are_read(server: VendorServer, options: Any, headers: dict[str, str]) -> None:
    server.script = lambda seen: Answer(headers=headers)
    assert (3, 3) == (start(people(3), webhook(), options).report().delivered, len(server.seen))


def test_a_head_without_end_is_said_to_be_one(server: VendorServer, options: Any) -> None:
    server.script = lambda seen: Answer(headers={"X-All": "b" * 400_000})
    report = start(people(1), webhook(), replace(options, retry_for=0.1)).report()
    assert "its head is longer than any vendor's" in report.stopped + report.trouble


@pytest.mark.parametrize("headers", [{"X-Team": "a\r\nX-Evil: 1"}, {"X Team": "a"}, {"X-Team": "\x00"}])
def test_headers_that_break_the_message_stop_the_connection_with_a_sentence(
    options: Any, headers: dict[str, str], server: VendorServer
) -> None:
    class Unchecked(Webhook):
        def deliver(self, calls: Sequence[Call]) -> Conversation:
            yield Request("POST", self._url, json={}, headers=headers)
            return all_of(calls, Delivered())

    connected = webhook()
    delivery = delivery_of(people(3), connected, options, destination=Unchecked(*connected))
    report = asyncio.run(Pump(delivery, {}).run())
    if report.stopped:
        assert "its settings make a request that cannot be sent" in report.stopped
    assert (set(), True) == (delivery.log.maybe(), b"Evil" not in b"".join(s.body for s in server.seen))  # type: ignore[attr-defined]


def test_credentials_in_the_address_beside_others_are_no_crash(server: VendorServer, options: Any) -> None:
    class Twice(Webhook):
        def deliver(self, calls: Sequence[Call]) -> Conversation:
            yield Request("POST", "http://ann:pw@hook.example/c", json={}, headers={"Authorization": "Bearer x"})
            return all_of(calls, Delivered())

    connected = webhook(url="http://hook.example/c", private_addresses=True)
    delivery = delivery_of(people(3), connected, replace(options, gateway=""), destination=Twice(*connected))
    report = asyncio.run(Pump(delivery, {}).run())
    assert "its settings make a request that cannot be sent" in report.stopped


def test_a_bad_record_in_each_of_all_batches_is_found_though_nothing_more_can_be_sent(
    server: VendorServer, options: Any
) -> None:
    """Five batches, all refused: as many as make a connection's refusal, were they not divided."""

    def answer(seen: Seen) -> Answer:
        bad = any(int(each["traits"]["email"].split("@")[0].split("-")[1]) % 3 == 0 for each in seen.json)
        return Answer(403, {"error": "one of them is not allowed"}) if bad else Answer()

    server.script = answer
    running = start(people(15), webhook(batch=3), options)
    report = running.report()
    assert ("", 10, 5) == (report.stopped, report.delivered, report.rejections)
    assert {n for n in range(15) if n % 3 == 0} == running.rejected().keys()


# -- signatures and secrets


def test_a_signature_is_made_when_its_request_has_its_turn(server: VendorServer, options: Any) -> None:
    class Stamp(Auth):
        def headers(self, request: Request, settings: Any, session: Session, now: float) -> Mapping[str, str]:
            return {"X-Signed-At": f"{time.monotonic()}"}

    class Signed(Webhook):
        auth = Stamp()

    connected = webhook(cap=Cap(2))
    delivery = delivery_of(people(6), connected, options, destination=Signed(*connected))
    asyncio.run(Pump(delivery, {}).run())
    ages = [seen.at - float(seen.headers["x-signed-at"]) for seen in server.seen]
    assert 6 == len(ages)
    assert max(ages) < 0.3, "two a second: the last one waited for two seconds and more"


SECRET = 'very-secret/"value"+1'


@pytest.mark.parametrize(
    "spelt",
    [
        SECRET,
        quote(SECRET, safe=""),
        SECRET.replace('"', '\\"'),
        b64encode(SECRET.encode()).decode(),
        b64encode(b"user:" + SECRET.encode()).decode(),
        b64encode(b"me@acme.io/token:" + SECRET.encode()).decode(),
    ],
)
def test_secrets_are_masked_in_any_spelling(
    server: VendorServer, options: Any, monkeypatch: pytest.MonkeyPatch, spelt: str
) -> None:
    monkeypatch.setenv("HOOK", SECRET)
    server.script = lambda seen: Answer(409, body=f"no: {spelt} is wrong".encode())
    running = start(people(1), webhook(secret_headers={"x-token": Secret("${HOOK}")}), options)
    running.report()
    words = running.log.letters[1].answer
    middle = spelt[6:-6] if spelt.isalnum() or "=" in spelt else spelt
    assert spelt not in words
    assert "***" in words
    assert middle[8:20] not in words


def test_a_request_prints_no_address() -> None:
    assert "token" not in repr(Request("POST", "https://hooks.example/token/abc?key=token"))


# -- the environment's proxies


def test_the_proxy_of_the_environment_is_used(server: VendorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url.replace("http://", "http://ann:secret@"))
    monkeypatch.delenv("no_proxy", raising=False)
    report = start(people(3), webhook(url="http://hooks.partner.invalid/in"), FAST).report()
    assert (3, 3) == (report.delivered, len(server.seen))
    assert "http://hooks.partner.invalid/in".endswith(server.seen[0].target.rpartition("//")[2])
    assert server.seen[0].headers["proxy-authorization"].startswith("Basic ")


def test_a_proxy_is_no_way_inside(server: VendorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    for host in ("10.1.2.3", "localhost.localdomain", "169.254.169.254"):
        report = start(people(1), webhook(url=f"http://{host}/in"), FAST).report()
        if host != "localhost.localdomain" or report.stopped:
            assert "an address inside this machine's network" in report.stopped
    assert [] == [seen for seen in server.seen if "169.254" in seen.target or "10.1.2.3" in seen.target]


def test_no_proxy_is_heeded(server: VendorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "hooks.partner.invalid")
    options = replace(FAST, retry_for=0.1)
    report = start(people(1), webhook(url="http://hooks.partner.invalid/in"), options).report()
    assert "hooks.partner.invalid cannot be found" in report.stopped + report.trouble


# -- the process


def test_a_hundred_and_sixty_connections_start_at_once(server: VendorServer, options: Any) -> None:
    server.holding = True
    sender, patient = Sender(), replace(options, read_timeout=90.0)
    running = [start(people(1), webhook(f"hook-{n}"), patient, sender) for n in range(160)]
    until(lambda: server.busy == 160, 60.0)  # none waits for the answer to another
    server.holding = False
    assert {1} == {each.report().delivered for each in running}
    sender.close()


def test_a_log_that_is_slow_delays_no_other(server: VendorServer, options: Any) -> None:
    sender = Sender()
    slow = start(people(5), webhook("slow"), options, sender, follow=True)
    slow.log.slow = 2.0
    fast = start(people(200), webhook("fast"), options, sender)
    assert 200 == fast.report().delivered
    assert fast.delivery.report.seconds < 2.0
    sender.stop()


def test_a_log_that_cannot_be_written_stops_its_connection(server: VendorServer, options: Any) -> None:
    running = start(people(50), webhook(), options)
    running.log.broken = OSError(28, "No space left on device")
    report = running.future.result(60)
    assert "its log cannot be written: No space left on device" == report.stopped


def test_every_request_has_a_durable_mark_before_it(server: VendorServer, options: Any) -> None:
    unmarked: list[str] = []

    def look(seen: Seen) -> Answer:
        told = seen.json["properties"]["total_revenue"]
        if told not in running.log.marks and told not in running.log.receipts:
            unmarked.append(told)
        return Answer()

    server.script = look
    log_of = [track(n, n + 1, 1) for n in range(300)]  # the value is the ask
    from tests.sending.delivering import placed
    from tests.sending.memory_log import MemoryLog

    log = MemoryLog(placed(log_of))
    log.slow = 0.002
    running = start([], webhook(), options, log=log)
    assert 300 == running.report().delivered
    assert [] == unmarked
    assert log.writings < 300, "several requests share one disk commit"
