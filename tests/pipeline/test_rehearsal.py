"""`profilecast plan --rehearse`: the sandbox says what it thinks of a run that nobody has made, and nothing is left."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sandbox.testing import running_sandbox
from tests.pipeline.conftest import Shop
from tests.pipeline.running import Event, profile, score, summary_of, vip, write_events
from tests.pipeline.test_plan import ANA, contents, events, plan

Capture = pytest.CaptureFixture[str]
DAY_1, DAY_2 = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
MANY = """\
workspace: shop
computations:
  - {name: Vip, kind: audience}
  - {name: Score, kind: trait}
connections:
  - name: braze
    destination: braze
    settings: {endpoint: "https://rest.iad-01.braze.com", api_key: "${REHEARSED_KEY}"}
    syncs: [{computation: vip, as: [identify, track]}, {computation: score, as: identify}]
  - name: lists
    destination: facebook-custom-audiences
    settings: {ad_account_id: "1234", access_token: "${REHEARSED_TOO}"}
    syncs: [{computation: vip}]
"""


def rehearsed(shop: Shop, *more: str) -> dict[str, Any]:
    """By connection, as the plan's file has it."""
    path = shop.root / "plan.json"
    plan(shop, "--out", str(path), *more)
    found: dict[str, Any] = json.loads(path.read_text())["rehearsed"]
    return found


def crowd(number: int, host: str = "x.example") -> list[Event]:
    """So many people who are in, with a score."""
    found = []
    for n in range(number):
        who = f"p{n:03}"
        found += [profile(who, DAY_1, f"{who}@{host}"), vip(who, DAY_1), score(who, DAY_1, n)]
    return found


def test_nothing_is_sent_and_nothing_changes(shop: Shop, state_home: Path) -> None:
    shop.run(*ANA)
    sent, before, kept = len(shop.receiver.messages), contents(shop.state), contents(state_home)
    found = rehearsed(shop, "--rehearse", "--events", events(shop, score("ana", DAY_2, 8)))
    assert (2, 2) == (found["hook"]["calls"], found["hook"]["delivered"])
    assert (before, kept) == (contents(shop.state), contents(state_home))
    assert sent == len(shop.receiver.messages)


def test_a_first_run_is_rehearsed_without_a_state_and_then_held_to_its_plan(shop: Shop, capsys: Capture) -> None:
    given = ("--new-state", "--events", events(shop, *ANA))
    found = rehearsed(shop, "--rehearse", *given)
    assert not shop.state.exists()
    assert {"calls": 6, "delivered": 6, "requests": 6, "people": 1}.items() <= found["hook"].items()
    told = capsys.readouterr().out
    assert "hook: all is well: 6 calls" in told
    assert 0 == shop.run(*ANA, more=("--plan", str(shop.root / "plan.json")))
    assert 6 == len(shop.receiver.messages)


def test_secrets_need_no_value_and_have_none_afterwards(
    shop: Shop, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REHEARSED_TOO", "")
    shop.workspace.write_text(MANY)
    found = rehearsed(shop, "--rehearse", "--new-state", "--events", events(shop, *ANA))
    assert {"braze": [6, 6], "lists": [2, 2]} == {
        name: [each["calls"], each["delivered"]] for name, each in found.items()
    }
    assert "made-up one stands for it: REHEARSED_KEY, REHEARSED_TOO." in capsys.readouterr().out
    assert (None, "") == (os.environ.get("REHEARSED_KEY"), os.environ["REHEARSED_TOO"])


def test_what_waits_is_rehearsed_with_what_is_new_and_a_newer_value_takes_its_place(shop: Shop) -> None:
    shop.receiver.answer = lambda host, message: 503
    shop.run(*ANA, more=("--retry-for", "0s"))
    waits = summary_of(shop.state)["connections"]["hook"]["waiting"]
    assert 6 == waits
    found = rehearsed(shop, "--rehearse", "--events", events(shop, score("ana", DAY_2, 8)))["hook"]
    assert (8, 8) == (found["calls"], found["all_calls"])
    assert 8 == found["delivered"] + found["superseded"]
    assert 0 == found["waiting"]


def test_faults_are_of_the_sandbox_and_what_is_refused_is_shown_without_people(shop: Shop, capsys: Capture) -> None:
    given = ("--new-state", "--events", events(shop, *crowd(20)))
    found = rehearsed(shop, *given, "--rehearse", "--fault", "refuse=0.3", "--fault", "destination=braze,status=500")
    hook = found["hook"]
    assert hook["calls"] == hook["delivered"] + hook["rejected"]["refused"]
    assert 0 < hook["rejected"]["refused"] < hook["calls"]
    told = capsys.readouterr().out
    assert "hook: not everything went well: 120 calls" in told
    assert "rejected, refused, " in told
    assert "@x.example" not in told
    assert "p00" not in told


def test_a_vendor_that_refuses_everybody_stops_the_first_sync_as_in_a_run(shop: Shop, capsys: Capture) -> None:
    found = rehearsed(shop, "--new-state", "--events", events(shop, *crowd(40)), "--rehearse", "--fault", "refuse=1")
    assert "of the first" in found["hook"]["stopped"]
    assert found["hook"]["waiting"] > 0
    assert "it stopped: " in capsys.readouterr().out


def test_of_many_people_some_are_rehearsed_and_that_is_said(shop: Shop, capsys: Capture) -> None:
    given = ("--new-state", "--events", events(shop, *crowd(30)))
    found = rehearsed(shop, *given, "--rehearse", "5")["hook"]
    assert (5, 30, 180) == (found["people"], found["calls"], found["all_calls"])
    assert "30 calls of 180, those of 5 people" in capsys.readouterr().out


def test_a_sample_has_calls_of_every_kind(shop: Shop) -> None:
    shop.run(*crowd(10))
    news = [*(score(f"p{n:03}", DAY_2, -1) for n in range(9)), vip("p009", DAY_2, False)]
    found = rehearsed(shop, "--events", events(shop, *news), "--rehearse", "2")["hook"]
    changed, left = 2, 4  # calls: each has two identifiers, and who left is told by an event too
    assert (2, changed + left, 9 * changed + left) == (found["people"], found["calls"], found["all_calls"])


def test_a_run_against_the_sandbox_comes_to_the_same(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REHEARSED_KEY", "a-key")
    monkeypatch.setenv("REHEARSED_TOO", "another-key")
    shop.workspace.write_text(MANY)
    path = events(shop, *crowd(30), *(profile(f"p{n:03}", DAY_2, f"p{n}@refused.example") for n in range(7)))
    found = rehearsed(shop, "--new-state", "--events", path, "--rehearse")
    with running_sandbox() as sandbox:
        shop.receiver.url = sandbox.url
        shop.run(files=(Path(path),))
    reports = {name: each["report"] for name, each in summary_of(shop.state)["connections"].items()}
    for name, each in found.items():
        same = ("delivered", "rejected", "superseded", "calls", "requests", "stopped")
        assert {what: reports[name][what] for what in same} == {what: each[what] for what in same}, name


def test_what_goes_with_a_later_flush_of_its_list_waits_in_a_rehearsal_too(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("REHEARSED_KEY", "a-key")
    monkeypatch.setenv("REHEARSED_TOO", "another-key")
    shop.workspace.write_text(MANY)
    with running_sandbox() as sandbox:
        shop.receiver.url = sandbox.url
        shop.run(*ANA)
    found = rehearsed(shop, "--rehearse", "--events", events(shop, vip("ana", DAY_2, False)))["lists"]
    assert (2, 0, 2, 2) == (found["calls"], found["requests"], found["waiting"], found["scheduled"])
    assert f"2 wait until {found['scheduled_until']}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--fault", "status=503"), "it goes with --rehearse"),
        (("--rehearse", "--fault", "status=often"), "Expected `int`, got `str`"),
        (("--rehearse", "--fault", "sttaus=503"), "the fields are destination, latency, status"),
        (("--rehearse", "--fault", "destination=braez"), "the sandbox has no braez"),
        (("--rehearse", "--diff", "other.yaml"), "it goes without"),
        (("--rehearse", "0"), "expected how many people"),
    ],
)
def test_wrong_usage_is_said(shop: Shop, capsys: Capture, given: tuple[str, ...], words: str) -> None:
    try:
        code = shop.main("plan", "--workspace", str(shop.workspace), "--state", str(shop.state), *given)
    except SystemExit as ended:
        code = int(str(ended.code))
    assert 1 == code
    assert words in capsys.readouterr().err


def test_a_paused_connection_is_told_nothing(shop: Shop) -> None:
    shop.run(*ANA)
    (shop.state / "paused.json").write_text('{"hook": "2026-01-01T00:00:00Z"}')
    found = rehearsed(shop, "--rehearse", "--events", str(write_events(shop.root / "e", score("ana", DAY_2, 8))))
    assert "it is paused since 2026-01-01T00:00:00Z" in found["hook"]["stopped"]
    assert 0 == found["hook"]["requests"]
