"""kill -9 at any moment: nothing is lost, and only what was in flight is sent twice."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pipeline.outbox import Outbox
from pipeline.store import StateStore
from schemas.calls import message_id
from tests.pipeline.running import Event, Receiver, command, profile, receiving, score, summary_of, vip, workspace
from tests.pipeline.running import write_events as write
from transforms.logic.ledger import Fate

KILLS = 25
PEOPLE = 12
LONGEST = 2.6  # seconds of an undisturbed run: starting, deciding, sending
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


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    root = tmp_path_factory.mktemp("undisturbed")
    slow = workspace(root / "slow.yaml", "hook", cap="35/s")
    workspace(root / "fast.yaml", "hook")
    assert slow.exists()
    write(root / "1.jsonl", *day_1())
    write(root / "2.jsonl", *day_2())
    with receiving() as receiver:
        assert 0 == run(root, root / "state", receiver, "fast.yaml", "1.jsonl")
        days, messages = [Vendor.of(receiver)], list(receiver.messages)
        shutil.copytree(root / "state", root / "after-day-1")
        assert 0 == run(root, root / "state", receiver, "fast.yaml", "2.jsonl")
        days.append(Vendor.of(receiver))
    return Undisturbed(root, messages, days)


def arguments(root: Path, state: Path, receiver: Receiver, workspace_file: str, *events: str) -> list[str]:
    given = ["--events", *(str(root / name) for name in events)] if events else []
    return ["run", "--workspace", str(root / workspace_file), "--state", str(state), "--gateway", receiver.url, *given]


def run(root: Path, state: Path, receiver: Receiver, workspace_file: str, *events: str) -> int:
    process = command(*arguments(root, state, receiver, workspace_file, *events))
    process.communicate(timeout=60)
    return process.returncode


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


def kill_once(number: int, at: Undisturbed, place: Path) -> str:
    """One kill and what follows; where the vendor ends up differently, what differs."""
    random = Random(number)
    second_day = number % 2 == 1
    events = "2.jsonl" if second_day else "1.jsonl"
    state = place / "state"
    with receiving() as receiver:
        if second_day:
            shutil.copytree(at.root / "after-day-1", state)
            receiver.messages += at.messages
        process = command(*arguments(at.root, state, receiver, "slow.yaml", events))
        time.sleep(0.1)
        try:
            process.wait(LONGEST * number / KILLS + random.random() * LONGEST / KILLS)
        except Exception:
            process.kill()
        process.communicate()
        maybe = in_flight(state)
        if number % 3 == 0:  # the next run does not have the events: it delivers what was committed
            run(at.root, state, receiver, "fast.yaml")
        if run(at.root, state, receiver, "fast.yaml", events):
            return f"kill {number}: the run after it did not finish"
        if mistakes := summary_of(state)["mistakes"]:
            return f"kill {number}: {mistakes}"
        ids = receiver.message_ids()
        twice = {one for one in ids if ids.count(one) > 1}
        if not twice <= maybe or len(ids) - len(set(ids)) > len(maybe):
            return f"kill {number}: {len(twice - maybe)} calls were sent twice without having been in flight"
        if Vendor.of(receiver) != at.days[second_day]:
            return f"kill {number}: the vendor knows {Vendor.of(receiver)}, not {at.days[second_day]}"
    return ""


def test_a_run_killed_at_any_moment_is_made_good_by_the_next(undisturbed: Undisturbed, tmp_path: Path) -> None:
    places = [tmp_path / str(number) for number in range(KILLS)]
    for place in places:
        place.mkdir()
    with ThreadPoolExecutor(3) as pool:
        faults = list(pool.map(kill_once, range(KILLS), [undisturbed] * KILLS, places))
    assert [] == [fault for fault in faults if fault]
