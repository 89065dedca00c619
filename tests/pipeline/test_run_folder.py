"""The folders of runs: how they are named, who may read them, and when they go."""

import stat
from datetime import UTC, datetime
from pathlib import Path

from pipeline.run_folder import RunFolder
from pipeline.state_db import LETTERS_KEPT, RUNS_KEPT
from schemas.dead_letters import DeadLetter

NOW = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
LETTER = DeadLetter(step="Parse", reason="broken_json", payload="ana@x.example")


def test_runs_of_one_second_have_names_of_their_own_in_order(tmp_path: Path) -> None:
    names = [RunFolder.make(tmp_path).name for _ in range(5)]
    assert 5 == len({*names})
    assert sorted(names) == names


def test_what_is_written_is_for_the_eyes_of_its_owner(tmp_path: Path) -> None:
    run = RunFolder.make(tmp_path / "state")
    assert 1 == run.write_dead_letters([LETTER])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "state", *tmp_path.rglob("*")]}
    assert {"state": 0o700, "runs": 0o700, run.name: 0o700, "dead_letters.jsonl": 0o600} == modes


def test_without_dead_letters_there_is_no_file(tmp_path: Path) -> None:
    run = RunFolder.make(tmp_path)
    assert (0, []) == (run.write_dead_letters([]), [*run.path.iterdir()])


def made(state: Path, times: list[float]) -> list[str]:
    names = [datetime.fromtimestamp(time, UTC).strftime("%Y%m%dT%H%M%SZ") for time in times]
    for name in names:
        (state / "runs" / name / "reports").mkdir(parents=True)
        (state / "runs" / name / "summary.json").write_text("{}")
    return names


def left(state: Path) -> list[str]:
    return sorted(path.name for path in (state / "runs").iterdir())


def test_no_more_than_a_number_of_runs_is_kept(tmp_path: Path) -> None:
    names = made(tmp_path, [NOW - 60 * number for number in range(RUNS_KEPT + 3)])
    RunFolder.prune(tmp_path, NOW)
    assert sorted(names[:RUNS_KEPT]) == left(tmp_path)


def test_runs_go_with_the_dead_letters_of_their_time(tmp_path: Path) -> None:
    names = made(tmp_path, [NOW, NOW - LETTERS_KEPT + 60, NOW - LETTERS_KEPT - 60, NOW - 2 * LETTERS_KEPT])
    RunFolder.prune(tmp_path, NOW)
    assert sorted(names[:2]) == left(tmp_path)


def test_what_somebody_else_keeps_there_stays(tmp_path: Path) -> None:
    (tmp_path / "runs" / "20010101-mine").mkdir(parents=True)
    (tmp_path / "runs" / "notes.txt").write_text("")
    RunFolder.prune(tmp_path, NOW)
    assert ["20010101-mine", "notes.txt"] == left(tmp_path)


def test_a_state_without_runs_has_none_to_lose(tmp_path: Path) -> None:
    RunFolder.prune(tmp_path, NOW)
    assert [] == [*tmp_path.iterdir()]
