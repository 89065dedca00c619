"""kill -9 at any moment: nothing is lost, and only what was in flight is sent twice."""

import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pipeline.cli import main
from pipeline.outbox import Outbox
from pipeline.store import StateStore
from schemas.calls import message_id
from tests.pipeline.running import (
    Event,
    Receiver,
    command,
    profile,
    receiving,
    score,
    summary_of,
    vip,
    workspace,
    write_events,
)
from transforms.logic.ledger import Fate

KILLS = 25
PHASES = ("start", "decide", "send", "send")  # in turn: while it starts, decides and commits, sends
PEOPLE = 12
DAY_1, DAY_2 = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def day_1() -> list[Event]:
    everybody = [f"p{n}" for n in range(PEOPLE)]
    return [
        *(profile(who, DAY_1, f"{who}@example.com") for who in everybody),
        *(vip(who, DAY_1) for who in everybody[::2]),
        *(score(who, DAY_1, n) for n, who in enumerate(everybody)),
    ]


def day_2() -> list[Event]:
    """People leave and enter, scores change, one gets another address, one is forgotten."""
    everybody = [f"p{n}" for n in range(PEOPLE)]
    return [
        *(vip(who, DAY_2, n % 3 == 0) for n, who in enumerate(everybody)),
        *(score(who, DAY_2, n + 100) for n, who in enumerate(everybody) if n % 4),
        profile("p1", DAY_2, "second@example.com"),
        {"type": "delete", "profile_id": "p5", "at": DAY_2},
    ]


@dataclass
class Vendor:
    """What the vendor knows after some runs."""

    told: dict[Any, Any]
    occurrences: set[Any]
    forgotten: set[str]

    @classmethod
    def of(cls, receiver: Receiver) -> "Vendor":
        forgotten = {str(m.get("userId") or m["context"]["traits"]) for m in receiver.messages if m["type"] == "delete"}
        return cls(receiver.told(), set(receiver.occurrences()), forgotten)


@dataclass
class Undisturbed:
    """A first day, delivered; and what the vendor knows after each day."""

    root: Path
    messages: list[Any]
    days: list[Vendor]

    def arguments(self, state: Path, receiver: Receiver, file: str, *events: str) -> list[str]:
        """Of `profilecast` with one of the workspace files `slow` and `fast`."""
        common = ["--workspace", str(self.root / f"{file}.yaml"), "--state", str(state), "--gateway", receiver.url]
        return ["run", *common, *(["--events", *(str(self.root / name) for name in events)] if events else [])]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    found = Undisturbed(tmp_path_factory.mktemp("undisturbed"), [], [])
    root = found.root
    workspace(root / "slow.yaml", "hook", cap="35/s")
    workspace(root / "fast.yaml", "hook")
    write_events(root / "1.jsonl", *day_1())
    write_events(root / "2.jsonl", *day_2())
    with receiving() as receiver:
        assert 0 == main(found.arguments(root / "state", receiver, "fast", "1.jsonl"))
        found.messages.extend(receiver.messages)
        found.days.append(Vendor.of(receiver))
        shutil.copytree(root / "state", root / "after-day-1")
        assert 0 == main(found.arguments(root / "state", receiver, "fast", "2.jsonl"))
        found.days.append(Vendor.of(receiver))
    return found


@pytest.mark.parametrize("number", range(KILLS))
def test_a_run_killed_at_any_moment_is_made_good_by_the_next(
    undisturbed: Undisturbed, receiver: Receiver, tmp_path: Path, number: int
) -> None:
    day, phase, random = number % 2, PHASES[number // 2 % 4], Random(number)
    state, events = tmp_path / "state", f"{day + 1}.jsonl"
    if day:
        shutil.copytree(undisturbed.root / "after-day-1", state)
        receiver.messages += undisturbed.messages
    before = committed(state)
    process = command(*undisturbed.arguments(state, receiver, "slow", events))
    wait_until(phase, random, process, state, receiver)
    process.kill()
    process.communicate()
    assert phase != "send" or committed(state) != before
    maybe = in_flight(state)

    if number % 3 == 0:  # the next run does not have the events: it delivers what was committed
        assert 0 == main(undisturbed.arguments(state, receiver, "fast"))
    assert 0 == main(undisturbed.arguments(state, receiver, "fast", events))
    assert [] == summary_of(state)["mistakes"]
    assert undisturbed.days[day] == Vendor.of(receiver)
    ids = receiver.message_ids()
    assert {one for one in ids if ids.count(one) > 1} <= maybe
    assert len(ids) - len(set(ids)) <= len(maybe)


def wait_until(phase: str, random: Random, process: subprocess.Popen[str], state: Path, receiver: Receiver) -> None:
    """A random moment of a phase."""
    runs, sent = count(state), len(receiver.messages) + random.randint(1, 30)
    while process.poll() is None:
        if phase == "start" or (len(receiver.messages) >= sent if phase == "send" else count(state) > runs):
            break
        time.sleep(0.005)
    with suppress(subprocess.TimeoutExpired):
        process.wait(random.random() * {"start": 1.0, "decide": 0.3, "send": 0.1}[phase])


def count(state: Path) -> int:
    return len(list(state.glob("snapshots/*")))


def committed(state: Path) -> str:
    pointer = state / "current"
    return pointer.read_text() if pointer.exists() else ""


def in_flight(state: Path) -> set[str]:
    """The message ids of what was sent and has no outcome, by the journal of the last committed run."""
    store = StateStore(state)
    manifest = store.current()
    if manifest is None:
        return set()
    fates = store.fates(manifest)["hook"].fates
    outbox = Outbox(state / "outbox" / "hook" / manifest.run, manifest.connections["hook"].calls)
    return {
        message_id("hook", item.call)
        for chunk in outbox.read()
        for item in chunk
        if fates[item.ref >> 32][item.ref & 0xFFFFFFFF] == Fate.MAYBE
    }
