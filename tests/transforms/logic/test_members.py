"""How audiences grow: counted while folding, and always as many as there are members."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from schemas.workspace import Workspace
from tests.transforms.logic import histories
from tests.transforms.logic.job import Event, Job, hour
from tests.transforms.logic.test_rules import in_runs

VIP = 1  # its number


@given(histories.events, st.integers(1, 4), st.randoms(use_true_random=False))
def test_an_audience_grows_by_who_came_less_who_left(events: list[Event], runs: int, chance: Random) -> None:
    job, size = Job(), 0
    for part in in_runs(events, runs, chance):
        job.run(Workspace("shop", (histories.SCORE, histories.VIP), ()), part, hour(9))
        size += job.portion.members[VIP]
        state = job.profile("ana")
        assert size == (state is not None and VIP in state.values and state.values[VIP][1] is True)
        assert {VIP} >= job.portion.members.keys()
