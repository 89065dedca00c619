"""kill -9 at any moment: nothing is lost, only what was in flight is sent twice, and every cap is kept."""

import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from signal import SIGKILL
from typing import Any, NamedTuple

import pytest

from tests.pipeline.killing import BRAZE, CAPS, DAYS, FACEBOOK, FORGOTTEN, HOOK, LATENCY, Shop, open_shop
from tests.pipeline.running import summary_of

pytestmark = pytest.mark.alone

PAIRS = 4
SHOPS = 6  # each with a kill on both days: each phase twice
PHASES = ("decides", "commits", HOOK, BRAZE, FACEBOOK, "folds")  # what the killed run is at; or whom it is telling


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
            before = shop.newest()
            phase = PHASES[(2 * number + day) % len(PHASES)]
            kill_run(shop, day, phase, random.random(), expected.requests)
            in_flight, answered = shop.in_flight(), shop.told(before=time.time() - 20 * LATENCY)
            assert Counter() == in_flight & answered
            maybe += in_flight
            preparations = shop.preparations()

            # Within the list's interval; what was committed goes without its events too.
            with_events = shop.newest() == before or random.random() < 0.5
            finish(shop.start(day, minute=10, with_events=with_events))
            assert [] == summary_of(shop.state)["mistakes"]
            assert dict.fromkeys(CAPS, 0) == shop.waiting()
            # A deletion waits until nothing that was cut off may land behind it.
            deletion = {part for part in expected.told if FORGOTTEN in part and "delet" in part.lower()}
            assert expected.told - deletion == set(shop.told()) - deletion
            assert without_the_forgotten(expected.known) == without_the_forgotten(shop.known())
            assert Counter() == shop.told() - Counter(expected.told) - maybe
            # Once the audience was filled, which one it is has been written down.
            assert all(preparations) or sum(preparations) == sum(shop.preparations())
            assert {} == shop.above_their_caps()


@pytest.mark.parametrize("number", range(PAIRS))
def test_either_of_two_processes_may_be_killed(undisturbed: list[Day], tmp_path: Path, number: int) -> None:
    """One delivers the first day, the other decides the second one and waits, or goes on, or both."""
    random = Random(number)
    with open_shop(tmp_path) as shop:
        processes = [shop.start(0)]
        while processes[0].is_alive() and shop.requests().total() < 1 + 20 * random.random():
            time.sleep(0.005)
        processes.append(shop.start(1))
        newest = shop.newest()
        while processes[1].is_alive() and shop.newest() == newest:
            time.sleep(0.005)
        time.sleep(random.random())
        victim = processes.pop(number % 2)
        victim.kill()
        victim.join()
        processes[0].join(60)
        assert processes[0].exitcode in (0, 4)  # 4: the other left calls for whom this one was done already
        for day in range(len(DAYS)):
            finish(shop.start(day, minute=10))
            assert [] == summary_of(shop.state)["mistakes"]
        assert dict.fromkeys(CAPS, 0) == shop.waiting()
        assert without_falsehood(undisturbed[-1].known) == without_falsehood(shop.known())
        assert {} == shop.above_their_caps()


def finish(process: BaseProcess) -> None:
    process.join(60)
    assert 0 == process.exitcode


def kill_run(shop: Shop, day: int, phase: str, moment: float, requests: Counter[str]) -> None:
    """At a moment of a phase, from 0 to below 1; `requests` are as many as the day's run would make."""
    newest, made = shop.newest(), shop.requests()
    process = shop.start(day)

    def reached() -> bool:
        match phase:
            case "decides":
                return shop.decides(process)
            case "commits":
                return shop.newest() > newest
            case "folds":
                return (shop.requests() - made).total() >= requests.total()
            case _:
                return (shop.requests() - made)[phase] > int(moment * requests[phase])

    while process.is_alive() and not reached():
        time.sleep(0.005)
    time.sleep(moment * LATENCY / 2 if phase in CAPS else moment * 3 * LATENCY)
    process.kill()
    process.join()
    assert -SIGKILL == process.exitcode or phase == "folds"


def without_the_forgotten(known: dict[str, Any]) -> dict[str, Any]:
    return {
        vendor: {
            "people": {who: values for who, values in each["people"].items() if FORGOTTEN not in who},
            "events": {event for event in each["events"] if FORGOTTEN not in event},
            "lists": [[member for member in members if FORGOTTEN not in member] for members in each["lists"]],
        }
        for vendor, each in known.items()
    }


def without_falsehood(known: dict[str, Any]) -> dict[str, Any]:
    """Who was to be told `true` and then `false` while both waited is told neither."""
    found = without_the_forgotten(known)
    for each in found.values():
        people = {
            who: {key: value for key, value in told.items() if value is not False}
            for who, told in each["people"].items()
        }
        each["people"] = {who: told for who, told in people.items() if not names_only(who, told)}
    return found


def names_only(who: str, told: dict[str, Any]) -> bool:
    """A vendor may keep the identifier among the traits."""
    return all(isinstance(value, str) and value in who for value in told.values())
