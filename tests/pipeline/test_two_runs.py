"""Several processes at once: one decides while another delivers, nobody waits for a slow connection of others."""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pipeline import leases
from tests.pipeline.conftest import Shop
from tests.pipeline.killing import JITTER, PROCESSES, profilecast
from tests.pipeline.running import Event, profile, score, summary_of, workspace

Capture = pytest.CaptureFixture[str]
DAY_1, DAY_2 = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
PEOPLE = [f"p{n:02}" for n in range(16)]


class Street:
    """A shop with a fast and a slow connection, runs of it, and when who was told what."""

    def __init__(self, shop: Shop, home: Path) -> None:
        self.shop, self._home = shop, home
        self.told: list[tuple[float, str, str, Any]] = []  # when, host, person, value of `score`
        shop.receiver.answer = self._answer
        self.open()

    def _answer(self, host: str, message: dict[str, Any]) -> int:
        self.told.append((time.monotonic(), host.partition(".")[0], message["userId"], message.get("traits")))
        return 200

    def open(self, cap: str = "2/s") -> None:
        workspace(self.shop.workspace, "fast", "slow", cap=cap)
        text = self.shop.workspace.read_text()
        self.shop.workspace.write_text(text.replace(f"    cap: {cap}\n", "", 1))

    def start(self, *events: Event, more: tuple[str, ...] = (), of: Shop | None = None) -> BaseProcess:
        arguments = ["run", *(of or self.shop).arguments(*events), *more]
        process = PROCESSES.Process(
            target=profilecast, args=(arguments, self.shop.root / "printed.txt", self._home), daemon=True
        )
        process.start()
        return process

    def to(self, host: str) -> list[tuple[float, str, Any]]:
        return [(at, who, told) for at, where, who, told in self.told if where == host]

    def wait(self, host: str, number: int) -> None:
        until = time.monotonic() + 20
        while len(self.to(host)) < number:
            assert time.monotonic() < until, self.printed
            time.sleep(0.01)

    @property
    def printed(self) -> str:
        return (self.shop.root / "printed.txt").read_text()

    def summaries(self) -> Iterator[dict[str, Any]]:
        for run in sorted((self.shop.state / "runs").iterdir()):
            yield summary_of(self.shop.state, run.name)


@pytest.fixture
def street(shop: Shop, state_home: Path) -> Street:
    return Street(shop, state_home)


def everybody(at: str = DAY_1) -> list[Event]:
    return [event for n, who in enumerate(PEOPLE) for event in (profile(who, DAY_1), score(who, at, n))]


def finished(*processes: BaseProcess) -> list[int | None]:
    for process in processes:
        process.join(90)
    return [process.exitcode for process in processes]


def test_a_slow_connection_keeps_nobodys_news(street: Street) -> None:
    first = street.start(*everybody())
    street.wait("slow", 2)
    second = street.start(profile("ana", DAY_2), score("ana", DAY_2, 7), score("p15", DAY_2, "new"))
    street.wait("fast", len(PEOPLE) + 2)
    assert len(street.to("slow")) < len(PEOPLE)  # it is far from done
    assert [0, 0] == finished(first, second)
    assert {"score": 7} in [told for _, _, told in street.to("slow")]
    # Each call went once; of the value that was replaced while it waited, only the new one.
    assert len(PEOPLE) + 1 == len(street.to("slow"))
    assert [{"score": "new"}] == [told for _, who, told in street.to("slow") if who == "p15"]
    assert [[], []] == [each["mistakes"] for each in street.summaries()]
    assert 0 == street.shop.run()
    assert len(PEOPLE) + 1 == len(street.to("slow"))


def test_who_comes_while_another_decides_is_told_to_come_again(shop: Shop, capsys: Capture) -> None:
    shop.run(*everybody())
    capsys.readouterr()
    with leases.deciding(shop.state):
        assert 4 == shop.run(score("p01", DAY_2, 8))
    assert "is deciding; run again when it is done" in capsys.readouterr().err
    assert 0 == shop.run(score("p01", DAY_2, 8))


def test_a_changed_workspace_reaches_a_process_that_delivers(street: Street) -> None:
    first = street.start(*everybody())
    street.wait("slow", 2)
    text = street.shop.workspace.read_text()
    street.shop.workspace.write_text(
        text.replace("{computation: score, as: identify}", "{computation: score, as: identify, send_as: points}")
    )
    changed = street.start(more=("--accept-changes",))
    assert [4, 0] == finished(first, changed)
    keys = Counter(key for _, _, told in street.to("slow") for key in told)
    assert keys["score"] < len(PEOPLE) - 4  # the rest is told under the new name only
    assert len(PEOPLE) == keys["points"]
    assert "slow: the rest is another run's, which has a newer workspace." in street.printed
    assert [[], []] == [each["mistakes"] for each in street.summaries()]


def test_no_call_is_left_to_nobody(street: Street) -> None:
    """Runs that begin while others end."""
    street.open(cap="50/s")
    random, processes = Random(3), [street.start(*everybody())]
    street.wait("fast", 1)  # the state is there
    given = 0
    for day in range(3, 9):
        time.sleep(random.random())
        at = f"2026-01-{day:02}T00:00:00Z"
        processes.append(street.start(*(score(who, at, day) for who in PEOPLE)))
        given = day
    codes = finished(*processes)
    assert set(codes) <= {0, 4}
    if codes[-1]:  # it came while another one decided: nothing of it was taken
        assert [0] == finished(street.start(*(score(who, f"2026-01-{given:02}T00:00:00Z", given) for who in PEOPLE)))
    for host in ("fast", "slow"):
        last = {who: told for _, who, told in street.to(host)}
        assert {who: {"score": given} for who in PEOPLE} == last
    assert [0] == finished(street.start())
    assert 0 == sum(each["waiting"] for each in summary_of(street.shop.state)["connections"].values())
    assert [] == [mistake for each in street.summaries() for mistake in each["mistakes"]]


def test_two_state_directories_keep_one_cap_where_they_reach_one_account(street: Street, tmp_path: Path) -> None:
    cap = 8
    workspace(street.shop.workspace, "hook", cap=f"{cap}/s")
    other = Shop(tmp_path / "other", street.shop.receiver)
    other.workspace = street.shop.workspace
    assert [0, 0] == finished(street.start(*everybody()), street.start(*everybody(), of=other))
    at = [moment for moment, *_ in street.told]
    assert 2 * len(PEOPLE) == len(at)
    assert max(bisect_left(at, first + 1 - JITTER) - n for n, first in enumerate(at)) <= cap
