"""The transcripts of the rules, through the Beam transforms."""

from pathlib import Path

import pytest

from tests.transforms.beam_job import BeamJob
from tests.transforms.logic.transcripts import Case, cases, play

CASES = dict(cases())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_pipeline_follows_the_transcript(case: Case, tmp_path: Path) -> None:
    play(case, BeamJob(folder=tmp_path))
