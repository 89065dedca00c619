"""`--full-refresh`: everything that a sync was told is told once more."""

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from pipeline import decider
from pipeline.cli import main
from pipeline.decider import Decider
from pipeline.log import SqliteLog
from sandbox.examples import environment, settings
from sandbox.testing import RunningSandbox, running_sandbox
from tests.pipeline.conftest import Shop
from tests.pipeline.running import Event, profile, score, vip, workspace, write_events
from tests.pipeline.test_changes import sent
from tests.pipeline.test_lists import risk
from tests.pipeline.test_lists import run as run_lists
from transforms.destinations import find
from transforms.destinations.hubspot import HubSpot
from transforms.destinations.mailchimp import Mailchimp
from transforms.sending.log import REMADE, Writing

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


class Tool:
    """A program that keeps a list at a vendor: each has a state directory of its own."""

    def __init__(self, root: Path, slug: str, vendor: RunningSandbox, *keys: str) -> None:
        root.mkdir()
        self._vendor, self._root, self._hours = vendor, root, 0
        kind = find(slug)
        assert kind
        keys = keys or ("vip",)
        connection = {"name": slug, "destination": slug, "settings": settings(kind, [*keys])}
        connection["syncs"] = [{"computation": key, "as": "list"} for key in keys]
        computations = [{"name": key.title(), "kind": "audience"} for key in keys]
        self._workspace = root / "workspace.yaml"
        self._workspace.write_text(
            yaml.safe_dump({"workspace": root.name, "computations": computations, "connections": [connection]})
        )

    def run(self, *events: Event, more: tuple[str, ...] = ()) -> None:
        """Each is hours after the one before, so that its list is due."""
        now = datetime.now(UTC) + timedelta(hours=8 * self._hours)
        self._hours += 1
        state = self._root / "state"
        common = ["--workspace", str(self._workspace), "--state", str(state), "--gateway", self._vendor.url]
        common += ["--now", now.isoformat(), *([] if state.exists() else ["--new-state"])]
        file = write_events(self._root / "events.jsonl", *events)
        assert 0 == main(["run", *common, "--events", str(file), *more])


def person(who: str) -> tuple[Event, Event]:
    return profile(who, DAY_1, f"{who}@x.example"), vip(who, DAY_1)


def listed(vendor: RunningSandbox, slug: str) -> int:
    """How many are in the list."""
    if slug == "hubspot":
        return sum(bool(person["values"].get("list vip")) for told in vendor.told() for person in told["people"])
    (its,) = (each for told in vendor.told() for each in told.get("lists", ()))
    return len(its["members"])


@pytest.mark.parametrize("slug", ["google-ads-remarketing-lists", "hubspot", "mailchimp"])
def test_a_list_has_nobody_else_after_its_refresh_where_its_vendor_can_empty_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slug: str
) -> None:
    kind = find(slug)
    assert kind
    for name, value in environment(kind).items():
        monkeypatch.setenv(name, value)
    # Google works on each request for a minute.
    monkeypatch.setattr("sandbox.vendors.google_ads_remarketing_lists.WORKS", 0.0)
    monkeypatch.setattr("transforms.destinations.google_ads_remarketing_lists.POLL", 0.1)
    monkeypatch.setattr("transforms.destinations.google_ads_remarketing_lists.CLOCKS", 0.0)
    with running_sandbox() as vendor:
        ours, other = Tool(tmp_path / "ours", slug, vendor), Tool(tmp_path / "other", slug, vendor)
        ours.run(*person("ana"), *person("bob"))
        other.run(*person("eve"))
        assert 3 == listed(vendor, slug)
        ours.run(vip("bob", DAY_2, False))
        assert 2 == listed(vendor, slug)
        ours.run(more=("--full-refresh", f"{slug}/vip"))
        assert 1 == listed(vendor, slug)
        other.run(*person("fay"))
        ours.run(*person("gil"))
        assert 3 == listed(vendor, slug)  # it is emptied for a refresh, and for nothing else


def test_what_another_process_made_again_meanwhile_is_asked_anew_in_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(Mailchimp).items():
        monkeypatch.setenv(name, value)
    with running_sandbox() as vendor:
        ours = Tool(tmp_path / "ours", "mailchimp", vendor)
        ours.run(*person("ana"), *person("bob"))
        with closing(SqliteLog(tmp_path / "ours" / "state", "mailchimp", 0)) as log:
            log.write(Writing(facts={f"{REMADE}list/vip": time.time()})).result()
        found, looks = decider.remade, iter([True])  # it is there when this run delivers, and not before
        monkeypatch.setattr(decider, "remade", lambda *given: {} if next(looks, False) else found(*given))
        ours.run(*person("cleo"))
        assert 3 == listed(vendor, "mailchimp")


@pytest.fixture
def hubspot(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningSandbox]:
    for name, value in environment(HubSpot).items():
        monkeypatch.setenv(name, value)
    with running_sandbox() as vendor:
        yield vendor


def test_who_was_told_before_the_list_was_emptied_is_still_deleted_there(
    tmp_path: Path, hubspot: RunningSandbox
) -> None:
    ours = Tool(tmp_path / "ours", "hubspot", hubspot)
    ours.run(*person("ana"), *person("bob"))
    ours.run(vip("bob", DAY_2, False))
    ours.run(more=("--full-refresh", "hubspot/vip"))
    assert 2 == len(hubspot.told()[0]["people"])
    ours.run({"type": "delete", "profile_id": "bob", "at": "2026-01-03T00:00:00Z"})
    assert 1 == len(hubspot.told()[0]["people"])


def test_what_else_waits_goes_in_the_same_run_though_nobody_is_in_the_emptied_list(
    tmp_path: Path, hubspot: RunningSandbox
) -> None:
    ours = Tool(tmp_path / "ours", "hubspot", hubspot, "vip", "risk")
    ours.run(*person("ana"))
    ours.run(vip("ana", DAY_2, False))
    ours.run(risk("ana", DAY_2), more=("--full-refresh", "hubspot/vip"))
    (ana,) = hubspot.told()[0]["people"]
    assert (None, True) == (ana["values"].get("list vip"), bool(ana["values"].get("list risk")))
