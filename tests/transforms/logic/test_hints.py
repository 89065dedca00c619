"""How long a vendor asks to wait, whichever way it is told; and what is made of it when requests are too many."""

from datetime import UTC, datetime
from email.utils import format_datetime
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.limits import Limit
from transforms.destinations.contract import Reply, Verdict, bounded, retry_after
from transforms.logic.hints import LONGEST, plausible, wait
from transforms.logic.limit import Limiter
from transforms.logic.quota import allowed, exhausted

NOW = 1_767_225_600.0
DATE = "Thu, 01 Jan 2026 00:00:00 GMT"  # the same


def date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("7", 7.0), (" 7 ", 7.0), ("0.5", 0.5), ("0", None), ("-1", None), ("inf", None), ("nan", None), ("1e400", None),
     ("", None), ("soon", None), ("21600", 21_600.0), ("21601", None), ("86400", None), ("99999999999999", None),
     ("1767225602", 2.0), ("1767225600", None), ("1767225602000", 2.0), ("1767225602.5", 2.5), ("1767312000", None),
     ("Thu, 01 Jan 2026 00:01:00 GMT", 60.0), ("Thu, 01 Jan 2026 00:00:00 GMT", None),
     ("Wed, 31 Dec 2025 23:59:00 GMT", None), ("Thu, 01 Jan 2126 00:00:00 GMT", None), ("2026-01-01T00:00:09Z", 9.0),
     ("Thu, 99 Jan 2026 00:01:00 GMT", None)],
)  # fmt: skip
def test_how_long_a_vendor_wants_us_to_wait(value: str, expected: float | None) -> None:
    assert expected == retry_after(Reply(503, {"retry-after": value, "date": DATE}))


@pytest.mark.parametrize(("headers", "now", "expected"), [({}, None, None), ({}, NOW, 5.0), ({"date": DATE}, 0.0, 5.0)])
def test_a_moment_is_read_against_the_replys_date_or_else_the_clock(
    headers: dict[str, str], now: float | None, expected: float | None
) -> None:
    assert expected == wait(NOW + 5, headers, now)
    assert expected == wait(date(NOW + 5), headers, now)


@given(st.text() | st.floats() | st.integers(), st.text())
def test_whatever_a_vendor_says_a_wait_is_of_hours_at_most(told, date) -> None:  # type: ignore[no-untyped-def]
    found = wait(told, {"date": date}, NOW)
    assert found is None or 0.0 < found <= LONGEST


@given(st.integers(1, int(LONGEST)), st.floats(0.0, 4e9))
def test_a_wait_is_the_same_told_as_seconds_as_a_moment_or_as_a_date(seconds, now) -> None:  # type: ignore[no-untyped-def]
    now = float(int(now)) + 1e9
    for told in (str(seconds), str(now + seconds), str((now + seconds) * 1000), date(now + seconds)):
        assert seconds == pytest.approx(wait(told, {"date": date(now)}) or 0.0)


def test_a_delay_that_a_destination_gives_is_plausible_or_none() -> None:
    given_ = [None, 3.0, 0.0, -1.0, 1.8e12, inf, nan]
    expected = [None, 3.0, None, None, None, None, None]
    assert expected == [bounded(Verdict("throttled", after)).after for after in given_]
    assert expected == [plausible(after) for after in given_]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"x-ratelimit-remaining": "1", "x-ratelimit-reset": "5"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "5", "x-ratelimit-limit": "100"}, (100.0, 5.0)),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1767225630", "date": DATE}, (0.0, 30.0)),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1767225630000", "date": DATE}, (0.0, 30.0)),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1767225630"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "0"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "80000"}, None),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "7"}, (0.0, 7.0)),
        ({"x-rate-limit": "700", "x-rate-limit-remaining": "0", "ratelimit-reset": "41"}, (700.0, 41.0)),
        ({"x-rate-limit": "700", "x-rate-limit-remaining": "0"}, None),
        ({"x-rate-limit": "700", "x-rate-limit-remaining": "699", "ratelimit-reset": "41"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "soon"}, None),
    ],
)
def test_a_quota_is_exhausted(headers: dict[str, str], expected: tuple[float, float] | None) -> None:
    assert expected == exhausted(headers)


@pytest.mark.parametrize(
    ("header", "expected"),
    [("700", 700.0), (" 700 ", 700.0), ("", 0.0), ("0", 0.0), ("-1", 0.0), ("nan", 0.0), ("inf", 0.0), ("many", 0.0)],
)
def test_a_header_tells_how_much_there_is(header: str, expected: float) -> None:
    assert expected == allowed({"x-rate-limit": header}, "x-rate-limit")
    assert 0.0 == allowed({}, "x-rate-limit")


# -- the account's own limit


def sent_in(limiter: Limiter, begin: float, end: float) -> int:
    now, requests = begin, 0
    while (now := now + limiter.delay(now, "")) < end:
        limiter.take(now, "")
        requests += 1
    return requests


def test_what_the_vendor_tells_of_the_account_is_the_pace() -> None:
    limiter = Limiter((Limit(50),), 0.0)
    assert 480 <= sent_in(limiter, 0.0, 10.0) <= 500
    limiter.pace(10.0, 600, 60.0)
    assert 10.0 == limiter.rate
    assert 570 <= sent_in(limiter, 10.0, 70.0) <= 600
    limiter.pace(70.0, 600, 60.0)  # told with every answer
    assert 9 <= sent_in(limiter, 70.0, 71.0) <= 11
    limiter.pace(71.0, 6000, 60.0)
    assert 50.0 == limiter.rate
    assert 480 <= sent_in(limiter, 71.0, 81.0) <= 500


def test_a_quota_of_the_account_that_others_have_used_up_holds() -> None:
    limiter = Limiter((Limit(50),), 0.0)
    limiter.pace(0.0, 600, 60.0)
    limiter.join((Limit(20),), 0.0)
    assert 10.0 == limiter.rate
    assert not limiter.keeps(600.0, 41.0)
    assert limiter.keeps(50.0, 1.0)


# -- too many requests


def asked_in(seconds: float, at_once: int, after: float | None, limiter: Limiter, answer: float = 0.02) -> int:
    """How many requests go to a vendor that takes none, of so many calls that wait; each goes again when it may."""
    now, requests = 0.0, 0
    waiting, out = at_once, list[tuple[float, float]]()  # when it is answered, when it was sent
    while now < seconds:
        delay = limiter.delay(now, "") if waiting else inf
        if delay <= 0.0:
            limiter.take(now, "")
            waiting, requests = waiting - 1, requests + 1
            out.append((now + answer, now))
            now += 0.001
        else:
            now = min(now + delay, *(at for at, _ in out), seconds)
            for at, sent in [each for each in out if each[0] <= now]:
                out.remove((at, sent))
                limiter.throttled(now, after, sent)
                waiting += 1
    return requests


@pytest.mark.parametrize("at_once", [1, 2, 3, 16])
def test_a_vendor_that_takes_nothing_and_gives_no_hint_is_asked_less_and_less(at_once: int) -> None:
    assert asked_in(3.0, at_once, None, Limiter((), 0.0)) <= at_once + 3
    assert asked_in(120.0, at_once, None, Limiter((), 0.0)) <= at_once + 8


@given(st.floats(0.001, 0.4), st.integers(1, 20), st.floats(0.001, 2.0))
def test_a_tiny_hint_makes_no_hot_loop(after, at_once, answer) -> None:  # type: ignore[no-untyped-def]
    assert asked_in(10.0, at_once, after, Limiter((), 0.0), answer) <= at_once + 15


def test_what_the_vendor_said_is_kept_for_the_next_run_and_the_own_backoff_is_not() -> None:
    limiter = Limiter((), 0.0)
    for n in range(8):
        limiter.throttled(100.0 * n, None, sent=100.0 * n)
    assert limiter.delay(700.0, "") == pytest.approx(60.0)
    assert {} == limiter.save(700.0, NOW, ahead=False)
    limiter.throttled(701.0, 20.0, sent=700.9)
    assert {"held_until": NOW + 20} == limiter.save(701.0, NOW, ahead=False)
    limiter.hold(702.0, 3600.0)
    assert {"held_until": NOW + 3600} == limiter.save(702.0, NOW, ahead=False)


def test_a_hold_of_an_earlier_run_that_is_not_plausible_is_none() -> None:
    limiter = Limiter((), 0.0)
    limiter.restore({"held_until": NOW + 86_400}, 0.0, NOW)
    assert 0.0 == limiter.delay(0.0, "")


def test_when_the_vendor_takes_a_request_the_others_go_too() -> None:
    limiter = Limiter((), 0.0)
    limiter.throttled(0.0, None, sent=0.0)
    limiter.take(0.5, "")
    assert 0.5 == limiter.delay(0.5, "")
    limiter.accepted()
    assert 0.0 == limiter.delay(0.5, "")
