"""What is done with a request, attempt by attempt, in virtual time."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.logic.steps import TRIES, Around, Bounds, Heard, Step, Steps

BOUNDS = Bounds(600.0, 14_400.0)
QUIET = Around()
NO_ANSWER, BROKEN, BUSY = Heard("transient"), Heard("transient", 500, words="oops"), Heard("throttled", 429)


def steps(units: int = 1, bounds: Bounds = BOUNDS, **more: int) -> Steps:
    return Steps(bounds, Random(1), units, **more)  # type: ignore[arg-type]


def done(steps: Steps, *heard: Heard, around: Around = QUIET) -> list[str]:
    """Step by step; each repeat as soon as it may."""
    found, now = [], 100.0
    for each in heard:
        step = steps.next(each, now, around)
        found.append(step.do)
        now += step.after
    return found


@pytest.mark.parametrize(
    ("units", "heard", "expected"),
    [
        (5, Heard("answered", 200), Step("read")),
        (5, Heard("halve", 400, words="no"), Step("divide", words="no")),
        (5, Heard("halve", 413, words="no"), Step("divide", large=True, words="no")),
        (1, Heard("halve", 400, words="no"), Step("reject", words="no")),
        (1, Heard("halve", 413, words="no"), Step("reject", large=True, words="no")),
        (5, Heard("refused", 404, words="no"), Step("refused", words="no")),
        (5, Heard("credentials", 401, words="no"), Step("refused", words="no")),
        (5, Heard("stop", 403, words="no"), Step("stop", words="no")),
        (5, Heard("throttled", 429, 7.0), Step("throttled", after=7.0)),
    ],
)
def test_what_a_first_answer_leads_to(units: int, heard: Heard, expected: Step) -> None:
    assert expected == steps(units).next(heard, 100.0, QUIET)


def test_credentials_are_renewed_once_before_they_are_refused() -> None:
    refused, bounds = Heard("credentials", 401), BOUNDS._replace(renews=True)
    assert ["renew", "refused"] == done(steps(bounds=bounds), refused, refused)
    assert ["renew", "throttled", "renew"] == done(steps(bounds=bounds), refused, BUSY, refused)


@pytest.mark.parametrize("heard", [Heard("credentials", 401), Heard("refused", 403), Heard("stop", 400)])
def test_what_refuses_new_credentials_stops_the_connection(heard: Heard) -> None:
    assert ["stop"] == done(steps(bounds=BOUNDS._replace(renews=True), renewing=True), heard)


@pytest.mark.parametrize("heard", [BROKEN, NO_ANSWER])
@pytest.mark.parametrize("units", [1, 5])
def test_what_fails_while_others_are_answered_is_divided_or_put_off(units: int, heard: Heard) -> None:
    request = steps(units)
    assert ["repeat"] * (TRIES - 1) == done(request, *[heard] * (TRIES - 1))
    step = request.next(heard, 110.0, Around(answers=1))
    assert ("divide", True, 100.0) == (step.do, step.unanswered, step.since)


@pytest.mark.parametrize(
    ("units", "heard", "expected"),
    [
        (5, BROKEN, "divide"),
        (1, BROKEN, "repeat"),
        (5, NO_ANSWER, "repeat"),
        (5, Heard("transient", 503, 20.0), "repeat"),  # it says how long: it is in trouble itself
    ],
)
def test_where_nobody_is_answered_only_a_batch_that_the_vendor_answers_is_divided(
    units: int, heard: Heard, expected: str
) -> None:
    assert ["repeat", "repeat", expected] == done(steps(units), *[heard] * TRIES)


def test_a_part_of_a_batch_is_divided_sooner() -> None:
    assert ["divide"] == done(steps(5, tries=1), BROKEN)


def test_a_vendor_that_says_how_long_it_is_away_holds_the_connection() -> None:
    step = steps().next(Heard("transient", 503, 20.0), 100.0, QUIET)
    assert ("repeat", 20.0) == (step.do, step.hold)
    assert step.after >= 20.0


def test_trouble_that_was_answered_is_over() -> None:
    request = steps()
    done(request, NO_ANSWER, NO_ANSWER)
    assert 100.0 == request.trouble
    request.next(BUSY, 200.0, QUIET)
    assert None is request.trouble


@pytest.mark.parametrize(
    ("heard", "around"),
    [
        (NO_ANSWER, Around(troubled_since=100.0)),
        (BUSY, Around(throttled_since=100.0)),
    ],
)
def test_a_vendor_that_has_been_away_too_long_stops_the_connection(heard: Heard, around: Around) -> None:
    request = steps()
    assert "stop" != request.next(heard, 699.0, around).do
    assert "stop" == request.next(heard, 701.0, around).do


def test_what_the_vendor_has_no_room_for_is_left_without_a_claim_that_it_is_away() -> None:
    request = steps()
    assert "throttled" == request.next(BUSY, 100.0, QUIET).do
    assert Step("give up", words="the vendor had no room for it within 600 s") == request.next(BUSY, 701.0, QUIET)


heard = st.builds(
    Heard,
    st.sampled_from(["throttled", "transient"]),
    st.sampled_from([0, 429, 500, 503]),
    st.none() | st.floats(0.1, 1000.0),
)


@given(st.lists(heard, min_size=1), st.integers(1, 3), st.floats(1.0, 1000.0), st.integers(0, 1000), st.booleans())
def test_a_request_comes_to_an_end_in_time_and_never_before_its_vendor_lets_it(
    told, units, longest, seed, others
) -> None:  # type: ignore[no-untyped-def]
    bounds = Bounds(longest, longest)
    request, chance, now = Steps(bounds, Random(seed), units), Random(seed), 0.0
    failing: float | None = None
    for n in range(10_000):
        each = told[n % len(told)]
        step = request.next(each, now, Around(answers=n * others))
        failing = None if each.meaning != "transient" else now if failing is None else failing
        assert failing == request.trouble
        if step.do == "repeat":
            assert failing is not None
            assert now + step.after - failing <= longest
        elif step.do != "throttled":
            assert step.do in ("divide", "give up")
            break
        assert step.after >= (each.after or 0.0)
        now += max(step.after, 0.5) * (1 + chance.random())
    assert step.do in ("divide", "give up")
    assert now <= 10 * longest + 4_000
