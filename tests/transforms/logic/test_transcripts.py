"""The transcripts of the rules, without Beam."""

import pytest

from tests.transforms.logic.job import Job
from tests.transforms.logic.transcripts import Case, cases, play

CASES = dict(cases())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_decisions_follow_the_transcript(case: Case) -> None:
    play(case, Job())
