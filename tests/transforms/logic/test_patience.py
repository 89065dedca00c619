"""How long a request that is out is waited for."""

from math import inf

import pytest

from transforms.logic.patience import Patience

SILENCE = 30.0


def test_a_request_that_waits_for_its_turn_is_never_given_up() -> None:
    assert inf == Patience().ends(SILENCE)


@pytest.mark.parametrize(
    ("heard", "ends", "why"),
    [
        ([100.0], 130.0, "no answer within 30 s"),  # it is written, and that is all
        ([100.0, 120.0, 149.0], 179.0, "no answer within 30 s"),  # the answer comes in parts
        ([100.0, 399.0], 400.0, "no whole answer within 300 s"),  # without end
        ([], 400.0, "no whole answer within 300 s"),  # the vendor does not read it to its end
    ],
)
def test_a_request_is_given_up_where_nothing_comes_or_no_end(heard: list[float], ends: float, why: str) -> None:
    patience = Patience()
    patience.leaves(100.0)
    for at in heard:
        patience.hears(at)
    assert (ends, why) == (patience.ends(SILENCE), patience.why(SILENCE))


def test_a_repeat_on_another_connection_has_all_the_time_again() -> None:
    patience = Patience()
    patience.leaves(100.0)
    patience.hears(100.0)
    patience.waits()
    assert inf == patience.ends(SILENCE)
    patience.leaves(500.0)
    assert 800.0 == patience.ends(SILENCE)
