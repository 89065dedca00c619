"""The real main: events in; requests, receipts, dead letters and state out, compared with files.

What is compared is in `tests/data/main/<run>/`. A test that fails says where what came out lies, so
that it can be read and, if it is right, put in place.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pipeline.journal import described, fates
from pipeline.store import Manifest, Run, StateStore
from transforms.logic.shard import SHARDS

from pipeline.cli import main
from sandbox.testing import running_sandbox
from schemas.state import ProfileState, decode_profile
from tests.pipeline.running import summary_of
from transforms.logic.ledger import Fate

DATA = Path(__file__).parents[1] / "data" / "main"
RUNS = {"first": "1998-01-04T00:00:00Z", "later": "1998-01-06T00:00:00Z"}
SECRETS = {
    "BRAZE_API_KEY": "braze-s3cret",
    "FACEBOOK_ACCESS_TOKEN": "fb-s3cret",
    "WEBHOOK_SHARED_SECRET": "hook-s3cret",
}
PARTS = ("requests", "receipts", "dead_letters", "state")


class Job:
    """Runs of the golden workspace against a sandbox that records."""

    def __init__(self, root: Path, gateway: str, recording: Path) -> None:
        self.root, self.gateway, self.recording = root, gateway, recording
        self.state = root / "state"
        self._read = 0

    def run(self, name: str) -> int:
        events = DATA / f"{name}.jsonl"
        common = ["--workspace", str(DATA / "workspace.yaml"), "--state", str(self.state), "--gateway", self.gateway]
        return main(["run", *common, "--events", str(events), "--now", RUNS[name]])

    def requests(self) -> list[Any]:
        """What was recorded since the last time, in an order that does not depend on who was first."""
        lines = self.recording.read_text().splitlines()
        found = [json.loads(line) for line in lines[self._read :]]
        self._read = len(lines)
        plain = [{name: each[name] for name in ("destination", "method", "url", "body", "status")} for each in found]
        return sorted(plain, key=json.dumps)

    def receipts(self) -> list[Any]:
        """The journals joined with the outboxes: every call and its fate."""
        run, manifest = self._last()
        return [receipt for name, done in manifest.connections.items() for receipt in _receipts(run, name, done.calls)]

    def dead_letters(self) -> list[Any]:
        path = self._last()[0].folder / "dead_letters.jsonl"
        letters = [json.loads(line) for line in path.read_text().splitlines()]
        for letter in letters:
            letter["source"] = Path(letter.get("source", "")).name
            letter.pop("refused", "")  # a digest: it changes with the settings
        return sorted(letters, key=json.dumps)

    def profiles(self) -> list[Any]:
        """All profiles as they are kept."""
        run = Run(self.state, "next", self._last()[1])
        shards = [run.previous_state(shard).profiles for shard in range(SHARDS)]
        return [
            {"profile": name.lstrip("\x00"), **_plain(decode_profile(packed))}
            for shard in shards
            for name, packed in sorted(shard.items())
        ]

    def _last(self) -> tuple[Run, Manifest]:
        manifest = StateStore(self.state).current()
        assert manifest
        return Run(self.state, manifest.run, None), manifest


def _receipts(run: Run, connection: str, sizes: list[int]) -> Iterator[Any]:
    found = fates(run.journal_path(connection), run.name, connection, sizes).fates
    for chunk in run.outbox(connection, sizes).read():
        for item in chunk:
            fate = Fate(found[item.ref >> 32][item.ref & 0xFFFFFFFF])
            yield {"connection": connection, "fate": fate.name.lower(), "call": described(item)}


def _plain(state: ProfileState) -> dict[str, Any]:
    """A profile as JSON; of its ledger, how often who was told what."""
    return {
        "ids": {" ".join(identifier): times for identifier, times in state.ids.items()},
        "traits": state.traits,
        "values": state.values,
        "ledger": {
            f"{connection} {' '.join(slot)} {' '.join(identifier)}": entry.count
            for connection, slots in state.ledger.items()
            for slot, entries in slots.items()
            for identifier, entry in entries.items()
        },
        "waiting": len(state.waiting),
        "deleted": state.deleted,
    }


@pytest.fixture(scope="module")
def came_out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Both runs, and what came out of them; then the last one once more."""
    root = tmp_path_factory.mktemp("main")
    recording = root / "recording.jsonl"
    with pytest.MonkeyPatch.context() as environment, running_sandbox(record=recording, capped=False) as sandbox:
        for name, value in SECRETS.items():
            environment.setenv(name, value)
        job = Job(root, sandbox.url, recording)
        for name in RUNS:
            assert 0 == job.run(name)
            parts = (job.requests(), job.receipts(), job.dead_letters(), job.profiles())
            (root / name).mkdir()
            for part, lines in zip(PARTS, parts, strict=True):
                text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
                (root / name / f"{part}.jsonl").write_text(text)
        assert 0 == job.run("later")
        yield root


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("part", PARTS)
def test_what_comes_out_is_as_it_was(came_out: Path, name: str, part: str) -> None:
    actual, expected = came_out / name / f"{part}.jsonl", DATA / name / f"{part}.jsonl"
    assert expected.read_text() == actual.read_text(), f"diff {expected} {actual}"


def test_a_repeated_run_makes_no_request(came_out: Path) -> None:
    found = summary_of(came_out / "state")
    assert [0, 0, 0] == [each["report"]["requests"] for each in found["connections"].values()]
    assert [] == found["mistakes"]


def test_no_secret_is_in_what_a_run_leaves(came_out: Path) -> None:
    files = [path for path in came_out.rglob("*") if path.is_file()]
    assert 100 < len(files)
    assert [] == [path for path in files for secret in SECRETS.values() if secret.encode() in path.read_bytes()]
