"""What is done about a vendor in trouble: backoff, breaker, canary; and what is made of its words."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.outcomes import Delivered, Expired, Rejected
from transforms.logic.addresses import inside, literal
from transforms.logic.breaker import OPENS_AT, Breaker
from transforms.logic.canary import Canary
from transforms.logic.estimate import Estimate
from transforms.logic.retry import backoff, outlived


def test_backoff_doubles_up_to_a_minute_and_its_jitter_only_lengthens() -> None:
    waits = [min(backoff(n, None, Random(seed)) for seed in range(200)) for n in range(1, 10)]
    assert [0.5, 1, 2, 4, 8, 16, 32, 60, 60] == [pytest.approx(wait, rel=0.02) for wait in waits]
    assert all(wait >= least for wait, least in zip(waits, [0.5, 1, 2, 4, 8, 16, 32, 60, 60], strict=True))
    assert backoff(10_000, None, Random(1)) <= 90


def test_the_vendors_own_delay_is_never_undercut() -> None:
    assert all(backoff(1, 7.0, Random(seed)) >= 7.0 for seed in range(100))


def test_a_long_delay_is_lengthened_by_half_a_minute_at_most() -> None:
    assert all(3600.0 <= backoff(1, 3600.0, Random(seed)) <= 3630.0 for seed in range(100))


def test_a_call_outlives_its_time_over_all_runs() -> None:
    assert outlived(since=1_000, began=15_000, now=15_400, give_up_after=14_400)
    assert not outlived(since=0, began=15_000, now=15_400, give_up_after=14_400)


def opened(at: float = 100.0) -> Breaker:
    breaker = Breaker()
    for n in range(OPENS_AT):
        breaker.failed(at, sent=float(n))
    return breaker


def test_the_breaker_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker()
    for _ in range(3):
        for _ in range(OPENS_AT - 1):
            breaker.failed(1.0, sent=0.0)
        breaker.answered()
    assert not breaker.open
    assert opened().open


def test_an_open_breaker_lets_one_probe_through_at_a_time() -> None:
    breaker = opened()
    assert 1.0 == breaker.delay(100.0)
    breaker.sending(101.0)
    assert float("inf") == breaker.delay(150.0)
    breaker.failed(151.0, sent=101.0)
    assert 2.0 == breaker.delay(151.0)
    breaker.sending(153.0)
    breaker.answered()
    assert 0.0 == breaker.delay(153.0)


def test_failures_of_what_was_out_when_it_opened_do_not_lengthen_the_pause() -> None:
    breaker = opened()
    for n in range(11):
        breaker.failed(100.1, sent=50.0 + n)
    assert 1.0 == breaker.delay(100.0)


def test_a_probe_that_was_not_sent_makes_way() -> None:
    breaker = opened()
    breaker.sending(101.0)
    breaker.unused(101.0)
    assert 0.0 == breaker.delay(101.0)


@pytest.mark.parametrize(("calls", "size"), [(10, 50), (5_000, 50), (100_000, 1_000)])
def test_a_canary_is_one_percent_and_at_least_fifty(calls: int, size: int) -> None:
    assert size == Canary(calls, 0.5).size


def test_a_canary_judges_by_what_the_vendor_said() -> None:
    canary = Canary(5_000, 0.5)
    assert "" == canary.verdict()
    for _ in range(20):
        canary.settled(Delivered())
        canary.settled(Rejected("invalid_value"))
    assert "" == canary.verdict()
    canary.settled(Rejected("not_found"))
    assert "rejected 21 of the first 41" in canary.verdict()
    assert "invalid_value 20, not_found 1" in canary.verdict()


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.8", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "::1", "fe80::1%eth0", "fd00:ec2::254", "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"],
)  # fmt: skip
def test_addresses_inside(address: str) -> None:
    assert inside(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_of_the_public_internet(address: str) -> None:
    assert not inside(address)


def test_only_a_spelt_out_address_is_one() -> None:
    assert ["10.0.0.1", "::1", None] == [literal(host) for host in ("10.0.0.1", "[::1]", "ten.example")]


def test_the_time_left_takes_batches_and_the_rate_into_account() -> None:
    estimate = Estimate(cap=10.0, start=0.0)
    rate = estimate.rate(5.0, requests=50)
    assert 10.0 == rate
    assert 20.0 == estimate.remaining(5.0, rate, requests=50, settled=5_000, pending=20_000)
    assert 0.0 == estimate.error(25.0)
    assert 0.25 == estimate.error(20.0)


def test_the_rate_is_that_of_the_last_seconds() -> None:
    estimate = Estimate(cap=0.0, start=0.0)
    for second in range(1, 31):
        rate = estimate.rate(float(second), requests=100 * min(second, 15))
    assert 0.0 == rate


OUTCOMES = st.sampled_from([Delivered(), Rejected("invalid_value"), Expired("no answer")])


@given(st.lists(OUTCOMES, max_size=60), st.sampled_from([0.0, 0.1, 0.5, 0.9]))
def test_first_calls_that_passed_would_not_be_judged_otherwise_later(
    outcomes: list[Delivered | Rejected | Expired], most: float
) -> None:
    canary, passed = Canary(0, most), False
    for outcome in outcomes[: canary.size]:
        canary.settled(outcome)
        assert not passed or canary.passed
        passed = canary.passed
    assert not passed or canary.verdict() == ""
