"""Sessions with a vendor, over real HTTP: begun once for all, renewed early, signed at the moment of sending."""

import asyncio
import time
from calendar import timegm
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from pipeline.leases import Kept
from schemas.calls import Call
from schemas.workspace import Cap
from tests.sending.delivering import FAST, delivery_of, people, webhook
from tests.sending.memory_log import MemoryCaps
from tests.sending.vendor_server import Answer, Seen, VendorServer
from transforms.destinations.auth import ClientCredentials, JwtBearer, Query, RefreshToken, SigV4
from transforms.destinations.contract import Auth, Conversation, Delivered, Request, all_of
from transforms.destinations.webhook import Webhook
from transforms.sending.pump import Pump

TOKEN_URL = "https://auth.acme.example/token"


class Acme(Webhook):
    """Posts to a path under the base URL that signing in brings."""

    auth: Auth = ClientCredentials(TOKEN_URL, "c1", "very-secret-client", base_url="instance_url")

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        reply = yield Request("POST", "/people", json=[self.message(call) for call in calls])
        return all_of(calls, Delivered() if reply.ok else self._refused(reply))

    def _refused(self, reply: Any) -> Any:
        raise AssertionError(reply.status)


@dataclass
class Vendor:
    """Hands out tokens, and takes the newest ones only."""

    life: float = 3600.0
    delay: float = 0.05  # of a token
    rotating: bool = False
    good: int = 2  # how many of the newest tokens are taken
    tokens: int = 0
    refusals: int = 0
    refresh: str = "r0"

    def __call__(self, seen: Seen) -> Answer:
        if seen.target.endswith("/token"):
            return self._token(parse_qs(seen.body.decode()))
        number = int(seen.headers.get("authorization", "Bearer token-0").removeprefix("Bearer token-"))
        if not self.tokens - self.good < number <= self.tokens:
            self.refusals += 1
            return Answer(401)
        return Answer()

    def _token(self, form: dict[str, list[str]]) -> Answer:
        if self.rotating and form["refresh_token"] != [self.refresh]:
            return Answer(400, {"error": "invalid_grant"}, delay=self.delay)
        self.tokens += 1
        body = {
            "access_token": f"token-{self.tokens}",
            "expires_in": self.life,
            "instance_url": "https://eu.acme.example/",
        }
        if self.rotating:
            self.refresh = f"r{self.tokens}"
            body["refresh_token"] = self.refresh
        return Answer(200, body, delay=self.delay)


def deliver(server: VendorServer, vendor: Vendor, kind: type[Webhook], number: int, tokens: Any = None) -> Any:
    server.script = vendor
    connected = webhook()
    options = replace(FAST, gateway=server.url, read_timeout=5.0)
    delivery = delivery_of(people(number), connected, options, destination=kind(*connected), tokens=tokens)
    return asyncio.run(Pump(delivery, {}).run())


def test_two_hundred_conversations_at_once_sign_in_once(server: VendorServer) -> None:
    vendor = Vendor(delay=0.3)

    class Slow(Acme):
        concurrency = 200

    report = deliver(server, vendor, Slow, 200)
    assert ("", 200) == (report.stopped, report.delivered)
    assert (1, 0) == (vendor.tokens, vendor.refusals)
    assert {"auth.acme.example/token", "eu.acme.example/people"} == {seen.target for seen in server.seen}


def test_a_session_that_is_refused_is_renewed_once_for_all(server: VendorServer) -> None:
    vendor = Vendor(delay=0.2, good=1)
    ended: list[int] = []

    def script(seen: Seen) -> Answer:
        if len(server.seen) == 60 and not ended:
            ended.append(vendor.tokens)
            vendor.good = 0
        answer = vendor(seen)
        if vendor.tokens > len(ended):
            vendor.good = 1
        return answer

    server.script = script
    connected = webhook()
    delivery = delivery_of(
        people(300), connected, replace(FAST, gateway=server.url, read_timeout=5.0), destination=Acme(*connected)
    )
    report = asyncio.run(Pump(delivery, {}).run())
    assert ("", 300, 2) == (report.stopped, report.delivered, vendor.tokens)
    assert vendor.refusals >= 1


def test_a_session_is_renewed_before_it_ends_and_nobody_is_refused(server: VendorServer) -> None:
    """It lasts a second; a tenth of it before its end there is a new one."""
    vendor = Vendor(life=1.0, delay=0.01)
    connected = webhook()

    class Paced(Acme):
        concurrency = 1

    server.script = lambda seen: replace_delay(vendor(seen))
    delivery = delivery_of(
        people(12), connected, replace(FAST, gateway=server.url, read_timeout=5.0), destination=Paced(*connected)
    )
    report = asyncio.run(Pump(delivery, {}).run())
    assert ("", 12, 0) == (report.stopped, report.delivered, vendor.refusals)
    assert vendor.tokens in (2, 3)


def replace_delay(answer: Answer) -> Answer:
    return replace(answer, delay=max(answer.delay, 0.15))


class Rotating(Acme):
    auth = RefreshToken(TOKEN_URL, "r0", "c1", "very-secret-client", base_url="instance_url")


def test_a_refresh_token_that_takes_the_place_of_another_is_kept_for_later_runs(
    server: VendorServer, tmp_path: Path
) -> None:
    vendor, path = Vendor(rotating=True), tmp_path / "tokens" / "acme.json"
    for number in (1, 2, 3):
        report = deliver(server, vendor, Rotating, 5, Kept(path, ""))
        assert ("", 5, number) == (report.stopped, report.delivered, vendor.tokens)
    assert 0o600 == path.stat().st_mode & 0o777


def test_a_new_token_in_the_settings_counts_more_than_one_that_was_kept(
    server: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFRESH", "r0")

    class OfSettings(Acme):
        auth = RefreshToken(TOKEN_URL, "{secret_url}", "c1", "very-secret-client", base_url="instance_url")

    vendor, tokens = Vendor(rotating=True), MemoryCaps()
    server.script = vendor

    def run() -> Any:
        connected = webhook(url="", secret_url="${REFRESH}")
        options = replace(FAST, gateway=server.url, read_timeout=5.0)
        delivery = delivery_of(people(2), connected, options, destination=OfSettings(*connected), tokens=tokens)
        return asyncio.run(Pump(delivery, {}).run())

    assert 2 == run().delivered
    vendor.refresh = "given-again"
    assert run().stopped, "the vendor takes neither of the old ones"
    monkeypatch.setenv("REFRESH", "given-again")
    assert 2 == run().delivered


def test_a_sign_in_that_is_refused_stops_with_the_names_of_the_variables_and_no_secret(
    server: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "very-secret-refresh")
    vendor = Vendor(rotating=True, refresh="other")

    class OfSettings(Acme):
        auth = RefreshToken(TOKEN_URL, "{secret_url}", "c1", "c2")

    server.script = lambda seen: replace(vendor(seen), body=b"no such token: very-secret-refresh")
    connected = webhook(url="", secret_url="${KEY}")
    options = replace(FAST, gateway=server.url, read_timeout=5.0)
    delivery = delivery_of(people(5), connected, options, destination=OfSettings(*connected))
    report = asyncio.run(Pump(delivery, {}).run())
    assert "does not renew the credentials (HTTP 400); check ${KEY}" in report.stopped
    assert "very-secret" not in report.stopped
    assert 5 == report.pending


def test_a_private_key_that_is_none_stops_and_asks_nobody(
    server: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "very-secret-and-no-key")

    class OfSettings(Acme):
        auth = JwtBearer(TOKEN_URL, "{secret_url}")

    connected = webhook(url="", secret_url="${KEY}")
    delivery = delivery_of(people(2), connected, replace(FAST, gateway=server.url), destination=OfSettings(*connected))
    report = asyncio.run(Pump(delivery, {}).run())
    said = "its credentials could not be renewed: secret_url in its settings is no private key in PEM, for RS256"
    assert (said, []) == (report.stopped, server.seen)


def test_a_sign_in_without_a_token_is_tried_again_and_then_stops(server: VendorServer) -> None:
    server.script = lambda seen: Answer(200, {"token": "of another form"})
    connected = webhook()
    options = replace(FAST, gateway=server.url, retry_for=0.3)
    delivery = delivery_of(people(5), connected, options, destination=Acme(*connected))
    report = asyncio.run(Pump(delivery, {}).run())
    assert report.stopped.startswith("its credentials could not be renewed")
    assert len(server.seen) < 10


def test_a_signature_is_less_than_a_second_old_when_it_leaves_however_long_its_turn_takes(
    server: VendorServer,
) -> None:
    """At two a second, the last one waits for several seconds. Amazon's signature names its second."""

    class Signed(Acme):
        auth = SigV4("execute-api", "eu-west-1", "AKIDEXAMPLE", "very-secret-key")

        def deliver(self, calls: Sequence[Call]) -> Conversation:
            yield Request("POST", "https://acme.example/people?b=2&a=1", json=[call.key for call in calls])
            return all_of(calls, Delivered())

    ages = []

    def script(seen: Seen) -> Answer:
        stamp = time.strptime(seen.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
        ages.append(time.time() - timegm(stamp))
        return Answer()

    server.script = script
    connected = webhook(cap=Cap(2))
    delivery = delivery_of(people(6), connected, replace(FAST, gateway=server.url), destination=Signed(*connected))
    assert 6 == asyncio.run(Pump(delivery, {}).run()).delivered
    assert max(ages) < 2.0, "the second that it names has begun, and it left within the next"


def test_what_is_no_header_is_put_into_the_request(server: VendorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    class Asked(Acme):
        auth = Query({"api_key": "se cret"})

        def deliver(self, calls: Sequence[Call]) -> Conversation:
            yield Request("POST", "https://acme.example/in", form={"a": "1 2"}, params={"p": "q"})
            return all_of(calls, Delivered())

    report = deliver(server, Vendor(), Asked, 1)
    assert 1 == report.delivered
    [seen] = server.seen
    assert "acme.example/in?p=q&api_key=se+cret" == seen.target
    assert (b"a=1+2", "application/x-www-form-urlencoded") == (seen.body, seen.headers["content-type"])
