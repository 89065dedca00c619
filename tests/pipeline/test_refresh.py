"""`--full-refresh`: everything that a sync was told is told once more."""

import pytest

from pipeline.decider import Decider
from sandbox.testing import running_sandbox
from tests.pipeline.conftest import Shop
from tests.pipeline.running import profile, score, vip, workspace
from tests.pipeline.test_changes import sent
from tests.pipeline.test_lists import risk
from tests.pipeline.test_lists import run as run_lists

DAY_1, DAY_2 = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def told(shop: Shop) -> Shop:
    """Ana is in, bob left, both have a score; another connection knows the same."""
    workspace(shop.workspace, "hook", "other")
    people = [
        profile("ana", DAY_1),
        profile("bob", DAY_1),
        vip("ana", DAY_1),
        vip("bob", DAY_1),
        score("ana", DAY_1, 7),
    ]
    assert 0 == shop.run(*people)
    assert 0 == shop.run(vip("bob", DAY_2, False))
    sent(shop)
    return shop


def test_those_who_are_in_and_those_who_left_are_told_once_more(told: Shop, capsys: Capture) -> None:
    assert 0 == told.run(more=("--full-refresh", "hook/vip"))
    assert "hook/vip: everything that was told is told once more" in capsys.readouterr().out
    assert [("identify", {"vip": False}), ("identify", {"vip": True})] == sent(told)
    assert 0 == told.run()
    assert [] == sent(told)


def test_it_is_begun_again_after_a_crash(told: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(Decider, "ticks", crash)
        assert 3 == told.run(more=("--full-refresh", "hook/score"))
    assert [] == sent(told)
    assert 0 == told.run()
    assert [("identify", {"score": 7})] == sent(told)


def crash(*_: object) -> None:
    raise OSError("the disk is gone")


def test_a_plan_says_so_and_does_nothing(told: Shop, capsys: Capture) -> None:
    given = [each for each in told.common() if each not in ("--gateway", told.receiver.url)]
    assert 0 == told.main("plan", *given, "--full-refresh", "hook/vip")
    printed = capsys.readouterr().out
    assert "refresh" in printed
    assert 0 == told.run()
    assert [] == sent(told)


def test_a_sync_that_is_not_there_is_said(told: Shop, capsys: Capture) -> None:
    assert 1 == told.run(more=("--full-refresh", "hook/vips"))
    assert (
        "--full-refresh hook/vips: the workspace has no such sync; it has hook/score, hook/vip, other/score, other/vip"
        in capsys.readouterr().err
    )


def test_everybody_is_uploaded_to_a_list_again_and_who_left_is_removed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADS_TOKEN", "very-secret-token")
    with running_sandbox() as vendor:
        people = [
            profile("ana", DAY_1),
            profile("bob", DAY_1),
            vip("ana", DAY_1),
            vip("bob", DAY_1),
            risk("ana", DAY_1),
        ]
        run_lists(shop, vendor, "2026-01-02T00:00:00Z", *people)
        run_lists(shop, vendor, "2026-01-03T00:00:00Z", vip("bob", DAY_2, False))
        (before,) = vendor.stats()
        again = run_lists(shop, vendor, "2026-01-04T00:00:00Z", more=("--full-refresh", "ads/vip"))
        assert 2 == again["delivered"]
        assert 2 == vendor.stats()[0]["requests"] - before["requests"]
        members = {each["name"]: len(each["members"]) + len(each["unmatched"]) for each in vendor.told()[0]["lists"]}
        assert {"vip": 1, "risk": 1} == members
