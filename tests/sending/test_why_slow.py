"""What keeps a connection from its cap is said while it lasts, and not afterwards."""

from dataclasses import replace

import pytest

from schemas.limits import Limit
from schemas.report import Report
from schemas.workspace import Cap
from tests.sending.delivering import FAST, Delivering, people, start, until, webhook
from tests.sending.vendor_server import Answer, VendorServer
from transforms.logic.breaker import Breaker
from transforms.logic.limit import Limiter
from transforms.sending import why_slow
from transforms.sending.why_slow import silent, silent_since, slow

NOON = 1_769_860_800.0  # 2026-01-31T12:00:00Z
NEVER = float("-inf")


def test_a_silence_is_said_with_its_reason_until_the_vendor_answers() -> None:
    breaker = Breaker()
    assert 0.0 == silent_since(breaker, 100.0, NOON)
    for now in (100.0, 101.0):
        breaker.failed(now, now)
    assert 0.0 == silent_since(breaker, 104.0, NOON)  # it may be over at once
    assert NOON == silent_since(breaker, 160.0, NOON + 60)
    found = silent(NOON, "connection refused by hook.example")
    assert "no useful answer since 2026-01-31T12:00:00Z: connection refused by hook.example" == found
    breaker.answered()
    assert 0.0 == silent_since(breaker, 161.0, NOON + 61)
    assert "" == silent(0.0, "HTTP 503")


def test_429s_are_said_while_they_make_it_slower() -> None:
    limiter = Limiter((Limit(10, 1.0),), 0.0)
    assert "" == slow(limiter, NEVER, 0.0, NOON)
    for now in (1.0, 5.0):
        limiter.throttled(now, None, now)
    assert "answers 429" in slow(limiter, NEVER, 6.0, NOON)
    assert "" == slow(limiter, NEVER, 60.0, NOON)  # the rate has climbed again


def test_a_wait_that_the_vendor_asks_for_is_said_with_its_end() -> None:
    limiter = Limiter((Limit(10, 1.0),), 0.0)
    limiter.hold(1.0, 601.0)
    assert "the vendor takes nothing before 2026-01-31T12:10:00Z" == slow(limiter, NEVER, 2.0, NOON)
    assert "" == slow(limiter, NEVER, 600.0, NOON)


def test_a_cap_that_is_used_up_is_said_with_its_end() -> None:
    limiter = Limiter((Limit(10, 3600.0),), 0.0)
    assert "its cap is used up until 2026-01-31T12:30:00Z" == slow(limiter, 1_800.0, 0.0, NOON)
    assert "" == slow(limiter, 1_800.0, 1_790.0, NOON)


def seen(running: Delivering) -> Report:
    (report,) = running.sender.reports()
    return report


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(503, b"Ann Example is not here"), ": HTTP 503 (Service Unavailable)"),
        (Answer(529), ": HTTP 529"),
        (Answer(cut="hang"), "within 0.3 s"),
    ],
)
def test_who_watches_sees_why_nothing_goes(
    server: VendorServer, monkeypatch: pytest.MonkeyPatch, answer: Answer, words: str
) -> None:
    monkeypatch.setattr(why_slow, "_SILENT", 0.0)
    server.script = lambda seen: answer
    running = start(people(30), webhook(), replace(FAST, gateway=server.url, retry_for=60.0))
    until(lambda: words in seen(running).silent)
    assert "Ann" not in seen(running).silent
    server.script = lambda seen: Answer()
    report = running.report()
    assert (30, "") == (report.delivered, report.silent)


def test_who_watches_sees_that_a_long_cap_is_used_up(server: VendorServer) -> None:
    running = start(people(30), webhook(cap=Cap(10, 90.0)), replace(FAST, gateway=server.url, retry_for=300.0))
    until(lambda: "its cap is used up until" in seen(running).slow)
    running.sender.stop()
    assert "its cap is used up until" in running.report().slow
