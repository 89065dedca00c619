"""Records that may wait, in a job of which the time is counted and not waited for."""

from collections import deque
from collections.abc import Callable
from statistics import quantiles
from typing import NamedTuple

import pytest

from transforms.logic.background import Background

TURN = 0.01  # seconds
LOOK = 0.05  # between looks of a reader
BUNDLE = 0.2


class Item(NamedTuple):
    since: float
    waits: bool = False  # it may
    process: int = 0
    probe: int | None = None  # goes behind it


class Job:
    """Folds `capacity` a second, in order, and what is folded is known so many seconds later, at a bundle's end.

    `live` come each second that may not wait; each process may read as many as it likes of those that may.
    """

    def __init__(
        self, capacity: Callable[[float], float], live: float, takes: float, processes: int = 1, probes: bool = True
    ) -> None:
        """Without `probes`, none comes back."""
        self._capacity, self._live, self.takes, self._probes = capacity, live, takes, probes
        self._processes = [Background() for _ in range(processes)]
        self._waiting = deque[Item]()
        self._folded = deque[tuple[float, Item]]()
        self.now, self.through, self.waits = 0.0, 0, list[float]()

    def run(self, records: int, seconds: float = 600.0) -> float:
        """Until so many that may wait are through; how long it took."""
        began, live, folds, looks, bundle = self.now, 0.0, 0.0, self.now, self.now
        left = [records // len(self._processes)] * len(self._processes)
        goal = self.through + sum(left)
        while self.through < goal and self.now < began + seconds:
            self.now += TURN
            live += self._live * TURN
            for _ in range(int(live)):
                self._waiting.append(Item(self.now))
            live -= int(live)
            if self.now >= looks:
                looks += LOOK
                self._look(left)
            folds = min(folds + self._capacity(self.now) * TURN, max(1.0, self._capacity(self.now) * BUNDLE))
            while self._waiting and folds >= 1.0:
                folds -= 1.0
                self._folded.append((self.now + self.takes, self._waiting.popleft()))
            if self.now >= bundle:
                bundle += BUNDLE
                self._end_bundle()
        return self.now - began

    def _look(self, left: list[int]) -> None:
        for number, background in enumerate(self._processes):
            while left[number] and background.may_read(self.now):
                self._waiting.append(Item(self.now, True, number, background.read(self.now)))
                left[number] -= 1

    def _end_bundle(self) -> None:
        while self._folded and self._folded[0][0] <= self.now:
            _, item = self._folded.popleft()
            self.through += item.waits
            if not item.waits:
                self.waits.append(self.now - item.since)
            elif item.probe and self._probes:
                self._processes[item.process].came_through(item.probe, item.since, self.now)

    def lose(self) -> int:
        """All that is under way; how many of it may wait."""
        lost = [*self._waiting, *(item for _, item in self._folded)]
        self._waiting.clear()
        self._folded.clear()
        return sum(item.waits for item in lost)

    @property
    def p95(self) -> float:
        return quantiles(self.waits, n=20)[18]


def steady(number: float) -> Callable[[float], float]:
    return lambda now: number


# Capacity, those that may not wait, seconds that a record takes, those that may, processes.
CASES = [
    (300, 20, 0.1, 10_000, 1),
    (300, 20, 2.0, 10_000, 1),
    (1_000, 100, 0.05, 30_000, 1),
    (4_000, 1_000, 0.5, 90_000, 1),
    (100, 50, 0.1, 3_000, 1),
    (3_000, 500, 0.5, 75_000, 8),
    (4_800, 480, 0.5, 100_000, 48),
]


@pytest.mark.parametrize(("capacity", "live", "takes", "records", "processes"), CASES)
def test_who_may_not_wait_is_hardly_held_up_and_the_job_is_never_idle(
    capacity: float, live: float, takes: float, records: int, processes: int
) -> None:
    job = Job(steady(capacity), live, takes, processes)
    took = job.run(records)
    begins = 4 * (takes + 1)  # seconds until it is known how many the job takes
    assert took < records / (capacity - live) * 1.1 + begins
    assert job.p95 < 2 * takes + BUNDLE + 2.0


def test_it_is_the_readers_that_see_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Background, "may_read", lambda self, now: True)
    job = Job(steady(300), 20, 0.1)
    job.run(20_000)
    assert job.p95 > 60


def test_a_job_that_becomes_slower_is_given_less() -> None:
    job = Job(lambda now: 1_000 if now < 30 else 200, 50, 0.1)
    job.run(30_000)
    job.waits.clear()
    job.run(5_000)
    assert job.p95 < 2.5


def test_a_job_that_is_full_still_takes_some() -> None:
    job = Job(steady(300), 290, 0.1)
    assert job.run(1_000) < 120
    assert job.p95 < 4


def test_a_job_that_stands_still_is_given_little_and_goes_on() -> None:
    job = Job(lambda now: 0 if 30 < now < 60 else 1_000, 50, 0.1)
    job.run(30_000)
    assert 60 < job.now < 75


def test_what_is_lost_is_not_waited_for() -> None:
    job = Job(steady(500), 20, 0.1)
    job.run(5_000)
    job.run(10_000, seconds=5.0)
    assert job.lose() > 100
    assert job.run(10_000) < 40


@pytest.mark.parametrize("takes", [0.9, 1.5, 3.0])
def test_a_job_in_which_all_takes_longer_by_itself_is_given_no_less(takes: float) -> None:
    """Its bundles are fuller by day."""
    job = Job(steady(1_000), 100, 0.05)
    job.run(20_000)
    job.takes = takes
    job.run(20_000)
    assert job.run(30_000) < 2 * 30_000 / 900


def test_a_job_in_which_nothing_is_ever_heard_is_given_more_and_more() -> None:
    assert Job(steady(1_000), 100, 0.05, probes=False).run(10_000) < 70
