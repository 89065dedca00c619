"""The transcripts of the rules, through the Beam steps: whole shards in bounded jobs, fact by fact in keyed state."""

from contextlib import suppress
from pathlib import Path

import pytest

from tests.transforms.beam_job import BoundedJob, Recorded, made_by_stateful_step, numbered
from tests.transforms.logic.transcripts import Case, cases, play

CASES = dict(cases())
SOME = dict(list(CASES.items())[::3])  # the step only loops over what all are played with purely


@pytest.mark.parametrize("case", SOME.values(), ids=SOME.keys())
def test_the_bounded_pipeline_follows_the_transcript(case: Case, tmp_path: Path) -> None:
    play(case, BoundedJob(folder=tmp_path))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_stateful_step_makes_the_calls_that_the_fold_makes(case: Case, tmp_path: Path) -> None:
    job = Recorded()
    with suppress(AssertionError):  # fact by fact it may ask for more in between, and take it back
        play(case, job)
    if len(job.plans) > 1:
        pytest.skip("the workspace changes, and a running step has one plan")
    assert job.first
    facts, calls = numbered(job)
    assert calls == sorted(map(repr, made_by_stateful_step(job.first, facts, tmp_path)))
