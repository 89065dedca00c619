"""Traffic: nothing is lost, and it stays small."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from transforms.logic.traffic import Traffic


@given(st.lists(st.tuples(st.floats(0, 1e6), st.booleans(), st.one_of(st.none(), st.floats(0, 100))), max_size=300))
def test_every_attempt_is_counted_in_at_most_240_rows(attempts: list[tuple[float, bool, float | None]]) -> None:
    traffic = Traffic(100.0)
    for seconds, throttled, took in sorted(attempts, key=lambda each: each[0]):
        traffic.add(100.0 + seconds, throttled, took)
    rows = traffic.rows()
    assert len(rows) <= 240
    assert len(attempts) == sum(row[2] for row in rows)
    assert sum(each[1] for each in attempts) == sum(row[3] for row in rows)
    assert sum(each[2] is not None for each in attempts) == sum(traffic.answers.values())
    for (one, width, *_), (two, *_) in pairwise(rows):
        assert one + width == two


def test_a_row_says_from_when_it_is() -> None:
    traffic = Traffic(5.0)
    traffic.add(5.5, False, 0.1)
    traffic.add(7.2, True, None)
    assert [(0.0, 1.0, 1, 0), (1.0, 1.0, 0, 0), (2.0, 1.0, 1, 1)] == traffic.rows()
    assert {"0.1": 1} == traffic.answers
