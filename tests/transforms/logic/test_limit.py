"""The limiter: any caps in virtual time, and the simulations of tests/data/limits."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.limits import Limit
from tests.transforms.logic.limits import Simulation, Window_, figures, files, peak, simulate
from transforms.logic.limit import WAY, Limiter

windows = st.builds(Window_, st.integers(1, 300).map(float), st.sampled_from([0.5, 1.0, 2.0, 3.0, 10.0, 60.0, 100.0]))
pauses = st.lists(st.tuples(st.floats(0.0, 5.0), st.floats(0.01, 5.0)), min_size=1, max_size=6)


def backlog(lengths: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Times of work, each after a pause."""
    found, at = [], 0.0
    for pause, work in lengths:
        found.append((at + pause, at + pause + work))
        at += pause + work
    return found


@settings(max_examples=60)
@given(st.lists(windows, min_size=1, max_size=3), pauses, st.floats(0.0, 0.2), st.randoms(use_true_random=False))
def test_no_sliding_window_at_the_server_holds_more_than_its_cap(limits, lengths, late, chance) -> None:  # type: ignore[no-untyped-def]
    work = backlog(lengths)
    simulation = Simulation("", limits, work[-1][1], {}, work, late=late)
    sent = simulate(simulation, chance.randrange(1000)).sent[:5_000]
    arrived = sorted(at + chance.random() * WAY for at in sent)
    for limit in limits:
        assert limit.requests >= peak(arrived, limit.seconds)


@settings(max_examples=60)
@given(windows, st.lists(st.tuples(st.booleans(), st.floats(0.01, 3.0)), min_size=2, max_size=12))
def test_processes_that_take_turns_keep_the_cap_together(limit: Window_, turns: list[tuple[bool, float]]) -> None:
    """As a lease goes from one to the other and back."""
    processes = [Limiter([Limit(limit.requests, limit.seconds)], 0.0) for _ in range(2)]
    now, sent, memory = 0.0, list[float](), dict[str, Any]()
    for number, share in turns:
        limiter, end = processes[number], now + share * min(limit.seconds, 3.0)
        limiter.begin(now)
        limiter.restore(memory, now, now)
        while (ready := now + limiter.delay(now, "")) < end:
            now = ready
            limiter.take(now, "")
            sent.append(now)
        memory, now = limiter.save(end, end, ahead=False), end
    assert limit.requests >= peak(sent, limit.seconds)


@settings(max_examples=40)
@given(windows, st.randoms(use_true_random=False))
def test_a_backlog_uses_the_cap(limit, chance) -> None:  # type: ignore[no-untyped-def]
    seconds = min(20.0, 3_000 / limit.requests) * limit.seconds + 3 * limit.seconds / limit.requests
    simulation = Simulation("", [limit], seconds, {}, late=0.003 * min(1.0, limit.seconds))
    sent = simulate(simulation, chance.randrange(1000)).sent
    if limit.seconds == 100.0:  # counted: bursts, then room as it comes
        whole = int(seconds // limit.seconds)
        assert len(sent) >= 0.98 * whole * limit.requests - limit.requests
    elif limit.seconds >= 1.0:
        assert (len(sent) - 1) / (sent[-1] - sent[0]) * limit.seconds / limit.requests >= 0.98


def test_what_is_over_of_a_day_hides_nothing_of_the_day_that_another_connection_used() -> None:
    day = 86_400.0

    def another_run(now: float, *memories: dict[str, Any]) -> Limiter:
        limiter = Limiter([Limit(500, day)], now)
        for each in memories:
            limiter.restore(each, now, now)
        return limiter

    first = another_run(0.0)
    for _ in range(500):
        first.take(0.0, "")
    full = first.save(0.0, 0.0, ahead=False)
    second = another_run(2 * day, full, full)
    idle = second.save(2 * day, 2 * day, ahead=False)
    for _ in range(450):
        second.take(2 * day, "")
    busy = second.save(2 * day, 2 * day, ahead=False)
    for memories in ((busy, idle), (idle, busy), (busy, full)):
        third = another_run(2 * day + 100, *memories)
        for _ in range(50):
            assert 0.0 == third.delay(2 * day + 100, "")
            third.take(2 * day + 100, "")
        assert third.delay(2 * day + 100, "") > 0.9 * day


def test_a_long_window_does_not_slow_what_a_short_one_allows() -> None:
    assert 10.0 == Limiter([Limit(10), Limit(100_000, 86_400.0), Limit(1, endpoint="bulk")], 0.0).rate
    assert 0.0 == Limiter([Limit(100_000, 86_400.0)], 0.0).rate


SIMULATIONS = dict(files())


@pytest.mark.parametrize("name", SIMULATIONS)
def test_simulation(name: str) -> None:
    simulation = SIMULATIONS[name]
    found = figures(simulation, simulate(simulation))
    expected = {what: f"{low} to {high}" for what, (low, high) in simulation.expect.items()}
    actual = {
        what: expected[what] if low <= found[what] <= high else str(found[what])
        for what, (low, high) in simulation.expect.items()
    }
    assert expected == actual, simulation.intent


def test_each_endpoint_class_has_its_own_window() -> None:
    limiter = Limiter([Limit(100), Limit(1, 10.0, "bulk")], 0.0)
    limiter.take(20.0, "bulk")
    assert limiter.delay(20.1, "bulk") > 9.0
    assert limiter.delay(20.1, "single") == 0.0
    assert (0.1, 100, 100) == (limiter.rate_of("bulk"), limiter.rate_of("single"), limiter.rate)


def test_a_class_that_is_counted_apart_waits_for_its_own_limit_alone() -> None:
    limiter = Limiter([Limit(10, besides=("events",)), Limit(1_000, endpoint="events"), Limit(1, 60.0)], 0.0)
    now = 100.0
    limiter.take(now, "events")
    assert limiter.delay(now, "") > 50  # the workspace's cap counts everything
    limiter = Limiter([Limit(10, besides=("events",)), Limit(1_000, endpoint="events")], 0.0)
    sent = {"": 0, "events": 0}
    while now < 110.0:
        for endpoint in sent:
            while limiter.delay(now, endpoint) == 0.0:
                limiter.take(now, endpoint)
                sent[endpoint] += 1
        now += 0.01
    assert 95 <= sent[""] <= 110
    assert sent["events"] > 9_000


def test_connections_that_share_a_credential_share_the_strictest_limits() -> None:
    limiter = Limiter([Limit(100)], 0.0)
    limiter.join([Limit(100), Limit(5)], 0.0)
    assert limiter.rate == 5
    assert limiter.keeps(100, 1.0)
    assert not limiter.keeps(100, 40.0)


def test_answers_to_requests_that_were_out_before_the_hold_do_not_lower_the_rate() -> None:
    limiter = Limiter([Limit(100)], 0.0)
    limiter.throttled(10.0, 1.0, sent=9.9)
    for n in range(16):
        limiter.throttled(10.1 + n * 0.2, None, sent=9.95)
    assert limiter.learned.share(20.0) == 1.0
    limiter.throttled(11.5, 1.0, sent=11.2)
    assert limiter.learned.share(11.6) == pytest.approx(0.7)
    assert [why for _, _, why in limiter.learned.curve] == ["429 again"]


def test_a_hold_of_hours_is_kept_for_the_next_run() -> None:
    limiter = Limiter([Limit(100)], 0.0)
    limiter.throttled(10.0, 7200.0, sent=10.0)
    later = Limiter([Limit(100)], 5.0)
    later.restore(limiter.save(10.0, 1_000_000.0, ahead=False), 5.0, 1_003_600.0)
    assert later.delay(5.0, "") == pytest.approx(3600.0)


def test_a_long_window_is_saved_before_more_is_sent_than_was_foreseen() -> None:
    limiter = Limiter([Limit(1000, 86400.0)], 0.0)
    saved, known = 0, 0
    for n in range(200):
        limiter.take(float(n), "")
        if limiter.unsaved:
            saved += 1
            known = sum(number for _, number in limiter.save(float(n), float(n), ahead=True)["windows"][0]["steps"])
        assert known >= n + 1
    assert 18 <= saved <= 20


def test_a_request_that_left_late_counts_from_when_it_left() -> None:
    limiter = Limiter([Limit(3)], now=0.0)
    sent = []
    now = 5.0
    for late in (0.3, 0.0, 0.0, 0.0, 0.0):  # the first one was held up between its token and its first byte
        now += limiter.delay(now, "")
        limiter.take(now, "")
        limiter.leaves(now, now + late, "")
        sent.append(now + late)
        now += late
    assert 3 == peak(sent, 1.0)


def test_a_window_of_objects_begins_full_for_an_earlier_run_may_have_used_it() -> None:
    limiter = Limiter([Limit(300, 10.0, unit="objects")], 100.0)
    assert 10.0 <= limiter.delay(100.0, "", 1) <= 10.0 + 2 * WAY
    assert 0.0 == limiter.delay(110.1, "", 300)


def test_a_hold_without_an_end_is_none() -> None:
    limiter = Limiter([Limit(100)], 0.0)
    limiter.restore({"held_until": None}, 5.0, 1_000_000.0)
    assert 0.0 == limiter.delay(5.0, "")
