"""The real main: events in; requests, receipts, dead letters and state out, compared with files.

What is compared is in `tests/data/main/<run>/`. A test that fails says where what came out lies, so
that it can be read and, if it is right, put in place.
"""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main
from pipeline.log import Receipts
from pipeline.state_db import StateDb
from sandbox.testing import running_sandbox
from schemas.receipts import Receipt
from schemas.registry import Registry, decode_registry
from schemas.state import Entry, ProfileState, decode_profile
from tests.pipeline.running import dead_letters, summary_of

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
        self._told: dict[str, int] = {}  # receipts that were seen

    def run(self, name: str) -> int:
        events = DATA / f"{name}.jsonl"
        common = ["--workspace", str(DATA / "workspace.yaml"), "--state", str(self.state), "--gateway", self.gateway]
        common += [] if self.state.exists() else ["--new-state"]
        return main(["run", *common, "--events", str(events), "--now", RUNS[name]])

    def requests(self) -> list[Any]:
        """What was recorded since the last time, in an order that does not depend on who was first."""
        lines = self.recording.read_text().splitlines()
        found = [json.loads(_ID.sub('"messageId": "…"', line)) for line in lines[self._read :]]
        self._read = len(lines)
        plain = [{name: each[name] for name in ("destination", "method", "url", "body", "status")} for each in found]
        return sorted(plain, key=json.dumps)

    def receipts(self) -> list[Any]:
        """What became of calls since the last time, by what the vendors' logs say."""
        found = []
        for name in self._registry().connections:
            with closing(Receipts(self.state, name)) as log:
                told = log.after(self._told.get(name, 0), 1000)
            self._told[name] = told[-1].position if told else self._told.get(name, 0)
            found += [{"connection": name, **self._receipt(each.receipt)} for each in told]
        return sorted(found, key=json.dumps)

    def _receipt(self, receipt: Receipt) -> Any:
        said = {"fate": receipt.fate, "reason": receipt.reason, "maybe": receipt.maybe, "epoch": receipt.epoch}
        who = {"profile": receipt.profile_id, "identifier": " ".join(receipt.identifier)}
        return {"slot": self._slot(receipt.slot), **who, "kind": receipt.kind, "value": receipt.value.hex(), **said}

    def _slot(self, number: int) -> str:
        if not number:
            return "all"
        slot = self._registry().slots[number - 1]
        return f"{slot.connection} {slot.form} {slot.key}".strip()

    def dead_letters(self) -> list[Any]:
        letters = dead_letters(self.state)
        for letter in letters:
            letter["source"] = Path(letter.get("source", "")).name
            letter.pop("refused", "")  # a digest: it changes with the settings
            if letter["step"] == "Deliver":
                letter["payload"].pop("ask")  # of the moment
        return sorted(letters, key=json.dumps)

    def profiles(self) -> list[Any]:
        """All profiles as they are kept."""
        with StateDb.use(self.state) as db:
            rows = db.get([*db.names("", 100)])
        return [{"profile": name, **self._plain(decode_profile(packed))} for name, packed in sorted(rows.items())]

    def _plain(self, state: ProfileState) -> dict[str, Any]:
        """A profile as JSON."""
        computations = self._registry().computations
        names = [" ".join(known.identifier) for known in state.ids]
        return {
            "ids": {
                name: [known.first, known.latest, known.removed] for name, known in zip(names, state.ids, strict=True)
            },
            "traits": state.traits,
            "values": {computations[number]: value for number, value in state.values.items()},
            "ledger": {
                f"{self._slot(slot)} {names[place]}": _entry(entry)
                for slot, entries in sorted(state.ledger.items())
                for place, entry in sorted(entries.items())
            },
            "waiting": len(state.waiting),
            "deleted": state.deleted,
        }

    def _registry(self) -> Registry:
        with StateDb.use(self.state) as db:
            return decode_registry(db.registry())


_ID = re.compile(r'"messageId": ?"[0-9a-f]{32}"')  # it says which ask it is, and that is counted from the clock


def _entry(entry: Entry) -> dict[str, Any]:
    told = entry.told.hex() if isinstance(entry.told, bytes) else entry.told
    refused = entry.rest is not None and entry.rest.refused is not None
    return {"told": told, "exposed": entry.exposed, "asked": entry.open is not None, "refused": refused}


@pytest.fixture(scope="module")
def came_out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Both runs, and what came out of them; then the last one once more."""
    root = tmp_path_factory.mktemp("main")
    recording = root / "recording.jsonl"
    with pytest.MonkeyPatch.context() as environment, running_sandbox(record=recording, capped=False) as sandbox:
        environment.setenv("XDG_STATE_HOME", str(root / "home"))
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
    assert 10 < len(files)
    assert [] == [path for path in files for secret in SECRETS.values() if secret.encode() in path.read_bytes()]
