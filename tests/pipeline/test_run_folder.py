"""Folders of runs: how they are named, and when they go."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.run_folder import RunFolder, forget_runs
from pipeline.state_db import LETTERS_KEPT, RUNS_KEPT

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def add(runs: Path, ago: timedelta, ending: str = "") -> str:
    """A run that was then; its folder's name."""
    name = f"{NOW - ago:%Y%m%dT%H%M%SZ}{ending}"
    (runs / name / "reports").mkdir(parents=True)
    (runs / name / "summary.json").write_text("{}")
    return name


def left(runs: Path) -> list[str]:
    forget_runs(runs.parent, NOW.timestamp())
    return sorted(path.name for path in runs.iterdir())


def test_runs_of_one_second_have_names_of_their_own(tmp_path: Path) -> None:
    names = [RunFolder.make(tmp_path).name for _ in range(5)]
    assert sorted(set(names)) == names


def test_a_run_goes_when_it_is_too_old(runs: Path) -> None:
    kept = timedelta(seconds=LETTERS_KEPT)
    add(runs, kept + timedelta(hours=1))
    add(runs, kept + timedelta(seconds=1), "-01")
    young = [add(runs, kept - timedelta(hours=1)), add(runs, timedelta(hours=1))]
    assert young == left(runs)


def test_of_many_runs_the_newest_stay(runs: Path) -> None:
    names = [add(runs, timedelta(minutes=minutes)) for minutes in range(RUNS_KEPT + 20, 0, -1)]
    assert names[20:] == left(runs)


def test_the_newest_stays_however_old_it_is(runs: Path) -> None:
    assert [add(runs, timedelta(days=1000))] == left(runs)


def test_what_is_no_run_stays(runs: Path) -> None:
    add(runs, timedelta(days=1000))
    (runs / "20200101").mkdir()
    (runs / "notes.txt").write_text("mine")
    newest = add(runs, timedelta(days=999))
    assert ["20200101", newest, "notes.txt"] == left(runs)
