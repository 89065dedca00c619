"""Alerts: one message when a trouble has lasted, one when it is over, and none in between."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.logic.alerts import CALM, REFUSED, Alerts, News, Seen

AFTER = 600.0
WELL, STOPPED, LATE = Seen(), Seen("stopped", waiting=3), Seen(oldest=AFTER + 1, waiting=3)


def told(*looks: tuple[float, Seen], after: float = AFTER) -> list[tuple[float, str, bool]]:
    """When what was told: kind, and whether it is over."""
    alerts = Alerts(after)
    return [(at, news.kind, news.over) for at, seen in looks for news in alerts.look({"hook": seen}, at)]


def test_a_trouble_is_told_once_when_it_has_lasted() -> None:
    looks = [(float(at), STOPPED) for at in range(0, 5_000, 100)]
    assert [(600.0, "stopped", False)] == told((0.0, WELL), *looks)


def test_a_trouble_that_passes_is_told_to_nobody() -> None:
    assert [] == told((0, STOPPED), (599, STOPPED), (600, WELL), (700, WELL), (1300, STOPPED), (1800, STOPPED))


def test_it_is_over_when_calls_are_delivered_again_and_no_sign_has_come_for_a_while() -> None:
    went = Seen(waiting=2, delivered=1)
    begin = [(0.0, STOPPED), (600.0, STOPPED)]
    assert [(600, "stopped", False)] == told(*begin, (600 + CALM - 1, went))
    assert [(600, "stopped", False), (600 + CALM, "stopped", True)] == told(*begin, (610, went), (600 + CALM, went))


def test_while_it_is_tried_again_it_is_not_over() -> None:
    trying = Seen(waiting=3)
    looks = [(0.0, STOPPED), *((float(at), trying) for at in range(10, 900, 10)), (900.0, STOPPED), (2000.0, trying)]
    assert [(900, "stopped", False)] == told(*looks)


def test_it_is_over_when_nothing_waits_any_more() -> None:
    assert [(600, "late", False), (700, "late", True)] == told((0, WELL), (300, LATE), (600, LATE), (700, WELL))


def test_what_waited_before_the_first_look_has_its_time() -> None:
    old = Seen(oldest=100_000, waiting=3)
    assert [] == told((0, old), (30, old), (60, WELL))
    assert [(600, "late", False)] == told((0, old), (600, old))


def test_refused_calls_count_while_none_is_delivered() -> None:
    refused = [(float(at), Seen(failed=at // 100, delivered=7)) for at in range(0, 2000, 100)]
    assert [(100.0 * REFUSED + AFTER, "refusing", False)] == told((0, Seen(delivered=7)), *refused)
    mixed = [(float(at), Seen(failed=at // 100, delivered=at // 300)) for at in range(0, 9000, 100)]
    assert [] == told(*mixed)


def test_failures_of_before_are_not_held_against_it() -> None:
    assert [] == told(
        (0, Seen(failed=900)), (1000, Seen(failed=900)), (2000, Seen(failed=904)), (9000, Seen(failed=904))
    )


def test_a_connection_that_is_gone_is_over() -> None:
    alerts = Alerts(AFTER)
    for at in (0.0, 600.0):
        last = alerts.look({"hook": STOPPED, "other": WELL}, at)
    assert [News("hook", False, "stopped", 0.0, 3)] == last
    assert [News("hook", True, "stopped", 0.0, 0)] == alerts.look({"other": WELL}, 601.0)
    assert [] == alerts.look({"hook": WELL, "other": WELL}, 602.0)


def test_a_backup_that_counts_less_does_not_confuse_it() -> None:
    assert [] == told(
        (0, Seen(delivered=100, failed=50)), (700, Seen(delivered=3, failed=0)), (1400, Seen(delivered=4))
    )


# -- a slow model, which remembers everything
SEEN = st.builds(
    Seen,
    st.sampled_from(["", "", "stopped", "blocked"]),
    st.sampled_from([0.0, 0.0, 50.0, AFTER + 1, 5 * AFTER]),
    st.integers(0, 2),
    st.integers(0, 3),
    st.integers(0, 9),
)
LOOKS = st.lists(st.tuples(st.sampled_from([1.0, 30.0, CALM, 200.0, AFTER, 3 * AFTER]), SEEN), max_size=30)


def timed(steps: list[tuple[float, Seen]]) -> list[tuple[float, Seen]]:
    """Looks at their times, with counters that only grow."""
    found, at, delivered, failed = [], 0.0, 0, 0
    for delay, seen in steps:
        at, delivered, failed = at + delay, delivered + seen.delivered, failed + seen.failed
        found.append((at, seen._replace(delivered=delivered, failed=failed)))
    return found


def signs(looks: list[tuple[float, Seen]]) -> list[bool]:
    """Whether each look shows a trouble."""
    found = []
    for n, (_, seen) in enumerate(looks):
        base = next(earlier for _, earlier in looks[: n + 1] if earlier.delivered == seen.delivered)
        found.append(bool(seen.kind) or seen.oldest > AFTER or seen.failed - base.failed >= REFUSED)
    return found


def spells(looks: list[tuple[float, Seen]]) -> list[tuple[int, int | None]]:
    """First and last look of each trouble: the first with a sign, and the one with which it is over."""
    found: list[tuple[int, int | None]] = []
    shows, begun, last = signs(looks), -1, -1
    for n, (at, seen) in enumerate(looks):
        went_on = seen.delivered > looks[last][1].delivered or not seen.waiting
        if shows[n]:
            begun, last = (n if begun < 0 else begun), n
        elif begun >= 0 and at - looks[last][0] >= CALM and went_on:
            found.append((begun, n))
            begun = -1
    return [*found, (begun, None)] if begun >= 0 else found


@settings(max_examples=150)
@given(LOOKS)
def test_it_tells_what_a_slow_model_tells(steps: list[tuple[float, Seen]]) -> None:
    looks, expected = timed(steps), []
    shows = signs(looks)
    for first, last in spells(looks):
        during, since = range(first, len(looks) if last is None else last), looks[first][0]
        for n in during:
            if shows[n]:
                at, seen = looks[n]
                since = min(since, max(at - seen.oldest, looks[0][0]) if _late(seen) else at)
                if at - since >= AFTER:
                    expected.append((at, False))
                    if last is not None:
                        expected.append((looks[last][0], True))
                    break
    assert expected == [(at, over) for at, _, over in told(*looks)]


def _late(seen: Seen) -> bool:
    return not seen.kind and seen.oldest > AFTER


@settings(max_examples=100)
@given(LOOKS)
def test_never_two_of_one_kind_in_a_row(steps: list[tuple[float, Seen]]) -> None:
    overs = [over for _, _, over in told(*timed(steps))]
    assert [n % 2 == 1 for n in range(len(overs))] == overs


@pytest.mark.parametrize("after", [1.0, 86_400.0])
def test_each_has_a_patience_of_its_own(after: float) -> None:
    looks = [(float(at), STOPPED) for at in (0, 1, 86_399, 86_400)]
    assert [(after, "stopped", False)] == told(*looks, after=after)
