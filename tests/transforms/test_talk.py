"""How long a request that is out is waited for."""

from math import inf

import pytest

from transforms.talk import Talk

SILENCE = 30.0


def sent(at: float, silent_since: float | None) -> Talk:
    talk = Talk(1)
    talk.goes(at)
    talk.silent_since = silent_since
    return talk


def test_a_request_that_waits_for_its_turn_is_not_overdue() -> None:
    assert inf == Talk(1).overdue(1e6, SILENCE)


@pytest.mark.parametrize(
    ("silent_since", "now", "left", "why"),
    [
        (100.0, 110.0, 20.0, ""),  # nothing has come since it was written
        (100.0, 130.0, 0.0, "no answer within 30 s"),
        (150.0, 170.0, 10.0, ""),  # the answer comes in parts
        (390.0, 395.0, 5.0, ""),  # and has been long in coming
        (395.0, 400.0, 0.0, "no whole answer within 300 s"),
        (None, 395.0, 5.0, ""),  # its body is still being written
        (None, 401.0, -1.0, "no whole answer within 300 s"),
    ],
)
def test_a_request_is_broken_off_where_nothing_comes_or_no_end(
    silent_since: float | None, now: float, left: float, why: str
) -> None:
    talk = sent(100.0, silent_since)
    assert (left, why) == (talk.overdue(now, SILENCE), talk.hung_up)
    if why:
        assert inf == talk.overdue(now + 1, SILENCE)  # once


def test_a_repeat_on_a_new_connection_has_all_the_time_again() -> None:
    talk = sent(100.0, 100.0)
    talk.goes(125.0)
    assert 275.0 == talk.overdue(150.0, SILENCE)
