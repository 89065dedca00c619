"""Files of the state directory that are put back from older copies: in the end the vendor has what is wanted.

Short random histories over the real fold, log and sender. What is put back: the file of what was sent (or nothing in
its place) under a newer state, or an older state under a newer file, whose events are then given again.
"""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pipeline.decider import Decider, enter_workspace, write_registry
from pipeline.delivering import Deliveries, counts_of
from pipeline.log import SqliteLog
from pipeline.run import RunOptions
from pipeline.state_db import StateDb
from pipeline.vendors import destinations, vendors
from pipeline.workspace import load
from tests.pipeline import running
from tests.pipeline.running import Event, Receiver, profile, score
from transforms.logic.detect import micros
from transforms.logic.portion import Lines, parse_lines
from transforms.sending.sender import SenderOptions, shared_sender

PEOPLE, VALUES = ("ann", "bob"), ("red", "green", "blue")
SENT, STATE = "sent", "state.db"


class Place:
    """One state directory, its vendor, and everything that ever happened."""

    def __init__(self, root: Path, receiver: Receiver) -> None:
        self.root, self.receiver, self.state = root, receiver, root / "state"
        self.workspace = load(str(running.workspace(root / "workspace.yaml", "hook")))
        self.events: list[Event] = []
        self.wanted: dict[str, Any] = {}
        self._days, self._scheduled = count(1), 0
        StateDb.create(self.state)
        self._open()
        self.happens(*(profile(who, "2025-12-31T00:00:00Z") for who in PEOPLE))

    def _open(self) -> None:
        now = datetime(2026, 6, 1, tzinfo=UTC)
        with StateDb.use(self.state) as db:
            plan, registry, _ = enter_workspace(db, self.workspace, vendors(destinations(self.workspace)), micros(now))
            write_registry(db, registry)
        options = SenderOptions(gateway=self.receiver.url)
        run = RunOptions(self.workspace, [], self.state, now, sender=options)
        self.decider, self._deliveries = Decider(self.state, plan, registry, "test"), Deliveries(run, plan, registry)
        self.decider.tick()

    def happens(self, *events: Event) -> None:
        self.events += events
        self.fold(events)

    def scores(self, who: str, value: Any) -> None:
        self.wanted[who] = value
        day = next(self._days)
        self.happens(score(who, f"2026-{1 + day // 28:02}-{1 + day % 28:02}T00:00:00Z", value))

    def fold(self, events: tuple[Event, ...] | list[Event]) -> None:
        lines = [json.dumps(event).encode() for event in events]
        self.decider.fold_parsed(parse_lines([Lines("test", [*range(len(lines))], lines)], self.decider.plan))

    def deliver(self) -> None:
        shared_sender().reset()
        report = self._deliveries.start("hook").result(60)
        assert "" == report.stopped
        self._scheduled = report.scheduled

    def fold_receipts(self) -> int:
        return self.decider.fold_receipts().asked

    def finish(self) -> None:
        """Until nothing more is asked."""
        for _ in range(5):
            self.fold_receipts()
            self.deliver()
            if not self.fold_receipts():
                return
        raise AssertionError("it never ends")

    def waiting(self) -> int:
        """Calls that wait, but for those that are asked again when an attempt that had no answer can land no more."""
        return counts_of(self.state, "hook", 0).waiting - self._scheduled

    # -- copies, made and put back while nobody works

    def copy(self, name: str) -> None:
        self.decider.close()
        shutil.copytree(self.state, self.root / name)

    def put_back(self, what: str, name: str) -> None:
        self.decider.close()
        self.remove(what)
        source = self.root / name / what
        if source.is_dir():
            shutil.copytree(source, self.state / what)
        else:
            shutil.copy(source, self.state / what)
        if what == STATE:
            self._open()

    def put_back_in_place(self, name: str) -> None:
        """The whole directory, written over what is there, with its times: `cp -a`."""
        self.decider.close()
        for path in [*self.state.rglob("*")]:
            if path.is_file() and not (self.root / name / path.relative_to(self.state)).exists():
                path.unlink()
        shutil.copytree(self.root / name, self.state, dirs_exist_ok=True)
        self._open()

    def remove(self, what: str) -> None:
        self.decider.close()
        path = self.state / what
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    # -- the vendor

    def told(self) -> dict[str, Any]:
        """What it has, by its last message of each; or will have, when what is dated has its time."""
        told = {each["userId"]: each["traits"]["score"] for each in self.receiver.messages if "score" in each["traits"]}
        log = SqliteLog(self.state, "hook", 0)
        dated = [waiting.call for backfill in (False, True) for waiting in log.read(backfill, 0, 100)]
        log.close()
        return told | {call.profile_id: call.value for call in sorted(dated, key=lambda call: call.ask)}

    def message_ids_of_two_values(self) -> list[str]:
        """A number that was given twice makes one."""
        values: dict[str, set[Any]] = {}
        for each in self.receiver.messages:
            values.setdefault(each["messageId"], set()).add((each["userId"], each["traits"].get("score")))
        return [name for name, found in values.items() if len(found) > 1]


@pytest.fixture
def place(tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user"))
    place = Place(tmp_path, receiver)
    yield place
    place.decider.close()


def test_what_an_older_file_knows_is_not_written_over_what_the_state_knows(place: Place) -> None:
    place.scores("ann", "red")
    place.finish()
    place.copy("copy")
    place.scores("ann", "green")
    place.finish()
    place.put_back(SENT, "copy")
    place.scores("bob", "blue")  # so that a sender opens the file
    place.deliver()
    place.fold_receipts()
    place.scores("ann", "red")  # and nothing was sent to the vendor in between that it could be netted against
    place.finish()
    assert place.wanted == place.told()


@pytest.mark.parametrize("seed", range(12))
def test_an_older_file_of_what_was_sent_under_a_newer_state(place: Place, seed: int) -> None:
    random = Random(seed)
    copies = live(place, random, 6)
    if random.random() < 0.3:
        place.remove(SENT)
    else:
        place.put_back(SENT, random.choice(copies))
    live(place, random, 5, "later")
    place.finish()
    assert place.wanted == place.told()
    assert [] == place.message_ids_of_two_values()
    assert 0 == place.waiting()


@pytest.mark.parametrize("seed", range(12))
def test_an_older_state_under_a_newer_file_of_what_was_sent(place: Place, seed: int) -> None:
    random = Random(seed)
    copies = live(place, random, 6)
    place.put_back(STATE, random.choice(copies))
    if random.random() < 0.5:  # or somebody gives them again later
        place.fold(place.events)
    live(place, random, 5, "later")
    place.fold(place.events)
    place.finish()
    assert place.wanted == place.told()
    assert [] == place.message_ids_of_two_values()
    assert 0 == place.waiting()


@pytest.mark.parametrize("seed", range(12))
def test_an_older_state_and_an_older_file_of_what_was_sent(place: Place, seed: int) -> None:
    """Of one moment, or of two. No value comes back: that it went in between, neither of them can know."""
    random = Random(seed)
    copies = live(place, random, 7, fresh=True)
    name = random.choice(copies)
    if seed % 3 == 0:
        place.put_back_in_place(name)
    else:
        place.put_back(SENT, name if seed % 3 == 1 else random.choice(copies))
        place.put_back(STATE, name)
    if random.random() < 0.5:
        place.fold(place.events)
    live(place, random, 5, "later", fresh=True)
    place.fold(place.events)
    place.finish()
    assert place.wanted == place.told()
    assert [] == place.message_ids_of_two_values()
    assert 0 == place.waiting()


@pytest.mark.parametrize("seed", range(12))
def test_a_file_that_is_put_back_again_and_again(place: Place, seed: int) -> None:
    random = Random(seed)
    copies = live(place, random, 5)
    for number in range(3):
        place.put_back(SENT, random.choice(copies))
        copies += live(place, random, 4, str(number))
    place.finish()
    assert place.wanted == place.told()
    assert 0 == place.waiting()


def live(place: Place, random: Random, steps: int, name: str = "copy", fresh: bool = False) -> list[str]:
    """Some steps of life, with a copy before each; their names."""
    copies = []
    for step in range(steps):
        copies.append(f"{name}-{step}")
        place.copy(copies[-1])
        match random.choice(("score", "score", "score", "deliver", "deliver", "receipts")):
            case "score":
                value = f"value {len(place.events)}" if fresh else random.choice(VALUES)
                place.scores(random.choice(PEOPLE), value)
            case "deliver":
                place.deliver()
            case "receipts":
                place.fold_receipts()
    return copies
