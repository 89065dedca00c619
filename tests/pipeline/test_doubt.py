"""Runs before a vendor in trouble: what may have arrived, what is said of it, and what a canary is good for."""

import time
from typing import Any

import pytest

from tests.pipeline.conftest import Shop
from tests.pipeline.running import Event, command, profile, score, summary_of, vip, workspace

Capture = pytest.CaptureFixture[str]
DAY_1, DAY_2, DAY_3 = (f"2026-01-0{day}T00:00:00Z" for day in (1, 2, 3))
AT_ONCE = ("--retry-for", "0s")


def many(number: int) -> list[Event]:
    return [e for n in range(number) for e in (profile(f"p{n}", DAY_1), score(f"p{n}", DAY_1, n))]


def told(shop: Shop, key: str) -> list[Any]:
    """The values that were sent since the last time it was asked."""
    found = [m["traits"][key] for m in shop.receiver.messages if m["type"] == "identify" and key in m["traits"]]
    shop.receiver.messages.clear()
    return found


def silence(shop: Shop) -> None:
    """The vendor takes everything, and its answers are lost."""
    shop.receiver.answer = lambda host, message: 0


def recover(shop: Shop) -> None:
    shop.receiver.answer = lambda host, message: 200


def test_who_leaves_after_a_true_without_an_answer_is_told_false(shop: Shop) -> None:
    silence(shop)
    assert 4 == shop.run(profile("ana", DAY_1), vip("ana", DAY_1), more=AT_ONCE)
    assert {True} == set(told(shop, "vip"))
    recover(shop)
    assert 0 == shop.run(vip("ana", DAY_2, False))
    assert [False] == told(shop, "vip")


def test_a_value_is_told_again_after_another_one_without_an_answer(shop: Shop) -> None:
    shop.run(profile("ana", DAY_1), score("ana", DAY_1, "A"))
    silence(shop)
    shop.run(score("ana", DAY_2, "B"), more=AT_ONCE)
    assert ["A", "B"] == told(shop, "score")[:2]
    recover(shop)
    assert 0 == shop.run(score("ana", DAY_3, "A"))
    assert ["A"] == told(shop, "score")


def test_calls_that_wait_say_why(shop: Shop, capsys: Capture) -> None:
    shop.receiver.answer = lambda host, message: 500 if message["userId"] == "p1" else 200
    assert 4 == shop.run(*many(20), more=("--retry-for", "1s"))
    expected = "1 call waiting for the next run: no useful answer within 1 s: HTTP 500."
    assert expected in " ".join(capsys.readouterr().out.split())


def test_a_canary_that_is_killed_in_its_middle_goes_on(shop: Shop) -> None:
    workspace(shop.workspace, "hook", cap="40/s")
    shop.receiver.answer = lambda host, message: 200 if message["userId"].endswith("0") else 422
    process = command("run", *shop.arguments(*many(400)))
    while len(shop.receiver.messages) < 20:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    workspace(shop.workspace, "hook")
    shop.receiver.messages.clear()
    assert 3 == shop.run()
    hook = summary_of(shop.state)["connections"]["hook"]
    assert "the vendor rejected" in hook["report"]["stopped"]
    assert len(shop.receiver.messages) <= 50


def test_a_clock_that_was_set_back_holds_nothing(shop: Shop) -> None:
    shop.run(*many(2), more=("--now", "2031-01-01T00:00:00Z"))
    assert 0 == shop.run(score("p0", DAY_2, 7))
    *first_run, last = told(shop, "score")
    assert ({0, 1}, 7) == (set(first_run), last)
