"""The folder of one run, `runs/<run>/` in the state directory: for people, and for what its steps tell each other."""

import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from pipeline.decider import Decided
from pipeline.disk import PRIVATE_FOLDER, make_folder, private, replace, writing
from pipeline.state_db import LETTERS_KEPT, RUNS_KEPT
from schemas.dead_letters import DeadLetter
from schemas.report import Report

_STAMP = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(r"(\d{8}T\d{6}Z)(-\d\d)?")  # nothing else in `runs` is ours


class RunFolder:
    """The folder of one run. Picklable."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def make(cls, state: Path) -> "RunFolder":
        """A new one; names are in order of time."""
        stamp = datetime.now(UTC).strftime(_STAMP)
        for number in range(100):
            path = state / "runs" / (f"{stamp}-{number:02}" if number else stamp)
            with writing(path):
                make_folder(path.parent)
                try:
                    path.mkdir(mode=PRIVATE_FOLDER)
                except FileExistsError:
                    continue
            return cls(path)
        raise AssertionError("a hundred runs in one second")

    @property
    def name(self) -> str:
        return self.path.name

    def write_decided(self, decided: Decided) -> None:
        replace(self.path / "decided.json", msgspec.json.encode(decided))

    def decided(self) -> Decided:
        path = self.path / "decided.json"
        return msgspec.json.decode(path.read_bytes(), type=Decided) if path.exists() else Decided()

    def write_report(self, report: Report) -> None:
        replace(self.path / "reports" / f"{report.connection}.json", msgspec.json.encode(report))

    def reports(self) -> dict[str, Report]:
        """What the sender said, by connection."""
        paths = (self.path / "reports").glob("*.json")
        return {path.stem: msgspec.json.decode(path.read_bytes(), type=Report) for path in paths}

    def write_dead_letters(self, letters: Iterable[DeadLetter]) -> int:
        """`dead_letters.jsonl`, for people; their number. Without any there is no file."""
        path, number = self.path / "dead_letters.jsonl", 0
        with writing(path):
            with open(path, "wb", opener=private) as file:
                for letter in letters:
                    file.write(msgspec.json.encode(letter) + b"\n")
                    number += 1
            if not number:
                path.unlink()
        return number


def forget_runs(state: Path, now: float) -> None:
    """Remove the folders of runs that are too old, or too many. It is no loss if that fails."""
    runs = state / "runs"
    with suppress(OSError):
        names = sorted(path.name for path in runs.iterdir() if _NAME.fullmatch(path.name))
        oldest = datetime.fromtimestamp(now - LETTERS_KEPT, UTC).strftime(_STAMP)
        too_many = max(len(names) - RUNS_KEPT, 0)
        for place, name in enumerate(names[:-1]):
            if place < too_many or name < oldest:
                shutil.rmtree(runs / name, ignore_errors=True)
