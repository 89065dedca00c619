"""kill -9 at any moment: nothing is lost, only what was in flight is sent twice, and every cap is kept."""

import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from signal import SIGKILL
from typing import Any, NamedTuple

import pytest
from transforms.logic.shard import SHARDS

from tests.pipeline.killing import BRAZE, CAPS, DAYS, FACEBOOK, HOOK, LATENCY, Shop, open_shop
from tests.pipeline.running import summary_of

SHOPS = 13  # each with a kill on both days
PHASES = ("decides", "commits", HOOK, BRAZE, FACEBOOK)  # what the killed run is at; or whom it is telling


class Day(NamedTuple):
    """A day without a kill: what the vendors were told until its end and know then, and its requests."""

    told: set[str]
    known: dict[str, Any]
    requests: Counter[str]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Day]:
    days = []
    with open_shop(tmp_path_factory.mktemp("undisturbed")) as shop:
        for day in range(len(DAYS)):
            before = shop.requests()
            finish(shop.start(day))
            days.append(Day(set(shop.told()), shop.known(), shop.requests() - before))
    return days


@pytest.mark.parametrize("number", range(SHOPS))
def test_a_run_killed_at_any_moment_is_made_good_by_the_next(
    undisturbed: list[Day], tmp_path: Path, number: int
) -> None:
    random, maybe = Random(number), Counter[str]()
    with open_shop(tmp_path) as shop:
        for day, expected in enumerate(undisturbed):
            before = shop.committed()
            phase = PHASES[(2 * number + day) % len(PHASES)]
            moment = (number // len(PHASES) + random.random()) / 3  # three shops, a third of the phase each
            kill_run(shop, day, phase, moment, expected.requests)
            in_flight, answered = shop.in_flight(), shop.told(before=time.time() - 5 * LATENCY)
            assert Counter() == in_flight & answered
            maybe += in_flight
            preparations = shop.preparations()

            # Within the list's interval; what was committed goes without its events too.
            with_events = shop.committed() == before or random.random() < 0.5
            finish(shop.start(day, minute=10, with_events=with_events))
            assert [] == summary_of(shop.state)["mistakes"]
            assert dict.fromkeys(CAPS, 0) == shop.pending()
            assert expected.told == set(shop.told())
            assert expected.known == shop.known()
            assert Counter() == shop.told() - Counter(expected.told) - maybe
            # Once the audience was filled, which one it is has been written down.
            assert all(preparations) or sum(preparations) == sum(shop.preparations())
            assert {} == shop.above_their_caps()


def finish(process: BaseProcess) -> None:
    process.join(60)
    assert 0 == process.exitcode


def kill_run(shop: Shop, day: int, phase: str, moment: float, requests: Counter[str]) -> None:
    """At a moment of a phase, from 0 to below 1; `requests` are as many as the day's run would make."""
    first, last = {"decides": (0, SHARDS), "commits": (SHARDS + 1, SHARDS + 2)}.get(phase, (1, requests[phase]))
    goal = reached(shop, phase) + first + int(moment * (last - first + 1))
    process = shop.start(day)
    while process.is_alive() and reached(shop, phase) < goal:
        time.sleep(0.005)
    if phase in CAPS:
        time.sleep(moment * LATENCY / 2)
    process.kill()
    process.join()
    assert -SIGKILL == process.exitcode
    assert phase not in CAPS or phase in {name for name, _, _ in shop.unfinished()}


def reached(shop: Shop, phase: str) -> int:
    return shop.requests()[phase] if phase in CAPS else shop.steps()
