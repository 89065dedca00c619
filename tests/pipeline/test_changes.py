"""What a run says ahead of everything: of a state that is another than was meant, of a workspace that changed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sandbox.testing import running_sandbox
from tests.pipeline.conftest import Shop
from tests.pipeline.running import profile, score, subjects, summary_of, vip, workspace

Capture = pytest.CaptureFixture[str]
DAY_1, DAY_2 = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
ANA = (profile("ana", DAY_1), vip("ana", DAY_1), score("ana", DAY_1, 7))


def sent(shop: Shop) -> list[tuple[str, str, Any]]:
    """What was sent since the last time it was asked: host, type, value."""
    found = [(m["type"], m.get("traits") or m.get("properties")) for m in shop.receiver.messages]
    shop.receiver.messages.clear()
    return sorted(found, key=str)


def edit(shop: Shop, old: str, new: str) -> None:
    text = shop.workspace.read_text()
    assert old in text
    shop.workspace.write_text(text.replace(old, new))


class TestState:
    def test_a_mistyped_path_is_an_error_and_no_second_first_sync(self, shop: Shop, capsys: Capture) -> None:
        shop.run(*ANA)
        sent(shop)
        typed = [each.replace(str(shop.state), str(shop.root / "sttae")) for each in shop.arguments(*ANA)]
        assert 1 == shop.main("run", *typed)
        said = capsys.readouterr().err
        assert f"{shop.root}/sttae: there is no state here. Is the path right?" in said
        assert "add --new-state" in said
        assert not (shop.root / "sttae").exists()
        assert [] == sent(shop)

    def test_new_state_for_one_that_was_used_is_an_error(self, shop: Shop, capsys: Capture) -> None:
        shop.run(*ANA)
        sent(shop)
        assert 1 == shop.run(score("ana", DAY_2, 8), more=("--new-state",))
        assert f"{shop.state}: there is a state here already, so leave --new-state out." in capsys.readouterr().err
        assert [] == sent(shop)

    def test_it_belongs_to_one_gateway(self, shop: Shop, capsys: Capture) -> None:
        shop.run(*ANA)
        sent(shop)
        given = shop.arguments(score("ana", DAY_2, 8))
        real = [each for each in given if each not in ("--gateway", shop.receiver.url)]
        assert 3 == shop.main("run", *real)
        expected = (
            f"it belongs to the gateway {shop.receiver.url}, this run is for the vendors themselves (no --gateway)"
        )
        assert expected in capsys.readouterr().err
        assert [] == sent(shop)

    def test_it_belongs_to_one_workspace(self, shop: Shop, capsys: Capture) -> None:
        shop.run(*ANA)
        sent(shop)
        edit(shop, "workspace: shop", "workspace: other")
        assert 3 == shop.run(score("ana", DAY_2, 8))
        assert "it belongs to the workspace 'shop', this run is for the workspace 'other'" in capsys.readouterr().err
        assert [] == sent(shop)

    def test_one_of_version_1_is_named(self, shop: Shop, capsys: Capture) -> None:
        (shop.state / "snapshots").mkdir(parents=True)
        assert 3 == shop.run(*ANA)
        assert "it is of version 1 of profilecast" in capsys.readouterr().err
        assert [] == sent(shop)


ELSEWHERE = ('url: "https://hook.example/in"', 'url: "https://hook.example/other"')


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (*ELSEWHERE, "hook points at another vendor account than before: it begins anew"),
        ("{computation: score, as: identify}", "{computation: score, as: identify, send_as: points}",
         "hook/score is sent as `points` instead of `score`"),
    ],
    ids=["account", "key"],
)  # fmt: skip
class TestGraveChanges:
    def test_nothing_is_done_without_a_word_of_consent(
        self, shop: Shop, capsys: Capture, old: str, new: str, said: str
    ) -> None:
        shop.run(*ANA)
        sent(shop)
        before, runs = subjects(shop.state), len([*(shop.state / "runs").iterdir()])
        edit(shop, old, new)
        assert 3 == shop.run(score("ana", DAY_2, 8))
        errors = capsys.readouterr().err
        assert said in errors
        assert "Nothing was done. If that is meant, add --accept-changes." in errors
        assert [] == sent(shop)
        assert (before, runs) == (subjects(shop.state), len([*(shop.state / "runs").iterdir()]))
        edit(shop, new, old)
        assert 0 == shop.run(score("ana", DAY_2, 8))
        assert [("identify", {"score": 8})] == sent(shop)

    def test_with_consent_it_is_done_and_said(self, shop: Shop, capsys: Capture, old: str, new: str, said: str) -> None:
        shop.run(*ANA)
        sent(shop)
        edit(shop, old, new)
        assert 0 == shop.run(more=("--accept-changes",))
        assert said in capsys.readouterr().out
        told = sent(shop)
        assert {"points": 7} in [value for _, value in told] or 3 == len(told)
        assert 0 == shop.run()
        assert [] == sent(shop)


def test_a_key_that_was_only_renamed_at_the_vendor_is_not_sent_again(shop: Shop) -> None:
    shop.run(*ANA)
    sent(shop)
    edit(shop, "{computation: score, as: identify}",
         "{computation: score, as: identify, send_as: points, send_as_was: score}")  # fmt: skip
    assert 0 == shop.run(score("ana", DAY_2, 8))
    assert [("identify", {"points": 8})] == sent(shop)


def test_who_is_in_an_audience_leaves_it_under_its_old_name(shop: Shop) -> None:
    shop.run(*ANA)
    sent(shop)
    edit(shop, "{computation: vip, as: [identify, track]}", "{computation: vip, as: identify, send_as: whales}")
    assert 0 == shop.run(more=("--accept-changes",))
    assert [("identify", {"vip": False}), ("identify", {"whales": True})] == sent(shop)


@pytest.mark.parametrize("old", ["hook", "other"])
def test_a_renamed_connection_goes_on_under_its_new_name(shop: Shop, capsys: Capture, old: str) -> None:
    workspace(shop.workspace, "hook", "other")
    shop.run(*ANA)
    sent(shop)
    edit(shop, f"- name: {old}\n", f"- name: new\n    was: {old}\n")
    capsys.readouterr()
    assert 0 == shop.run(score("ana", DAY_2, 8))
    assert f"new was {old}: what it was told under that name counts" in capsys.readouterr().out
    assert [("identify", {"score": 8})] * 2 == sent(shop)
    assert 0 == shop.run()
    assert [] == sent(shop)


def test_a_connection_that_is_renamed_without_was_tells_nobody_again_without_consent(
    shop: Shop, capsys: Capture
) -> None:
    shop.run(*ANA)
    sent(shop)
    edit(shop, "- name: hook\n", "- name: new\n")
    assert 3 == shop.run()
    assert "everybody is told again (renamed? write `was: hook` beside its new name)" in capsys.readouterr().err
    assert [] == sent(shop)
    assert 0 == shop.run(more=("--accept-changes",))
    assert 3 == len(sent(shop))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("- name: hook\n", "- name: new\n    was: hook\n"),
        ("{computation: score, as: identify}", "{computation: score, name: points, as: identify}"),
    ],
    ids=["connection", "sync"],
)
def test_calls_that_wait_go_under_the_new_name(shop: Shop, old: str, new: str) -> None:
    shop.receiver.answer = lambda host, message: 503
    shop.run(*ANA, more=("--retry-for", "0s"))
    sent(shop)
    shop.receiver.answer = lambda host, message: 200
    edit(shop, old, new)
    assert 0 == shop.run()
    assert 3 == len(sent(shop))
    assert [] == summary_of(shop.state)["mistakes"]


def test_what_is_removed_is_named_with_what_stays_at_the_vendor(shop: Shop, capsys: Capture) -> None:
    workspace(shop.workspace, "hook", "other")
    shop.run(*ANA)
    sent(shop)
    workspace(shop.workspace, "hook")
    edit(shop, "      - {computation: score, as: identify}\n", "")
    edit(shop, "  - {name: Score, kind: trait}\n", "")
    capsys.readouterr()
    assert 0 == shop.run(vip("ana", DAY_2, False))
    said = capsys.readouterr().out
    assert "other is not in the workspace any more: nothing is sent there; its vendor keeps what it was told" in said
    assert "write `was: other` beside its new name" in said
    assert "hook: score is not synced any more; the vendor keeps `score` as it was told" in said
    assert [("identify", {"vip": False}), ("track", {"audience_key": "vip", "vip": False})] == sent(shop)


class TestAnnounced:
    def test_how_many_calls_go_to_whom_and_about_how_long(self, shop: Shop, capsys: Capture) -> None:
        workspace(shop.workspace, "hook", "other", cap="4/s")
        said: list[str] = []

        def listen(host: str, message: dict[str, Any]) -> int:
            said.append(capsys.readouterr().out)
            return 200

        shop.receiver.answer = listen
        assert 0 == shop.run(*ANA)
        ahead = "3 calls to send, less than a second at its cap of 4/s"
        assert f"  hook: {ahead}\n  other: {ahead}\n" == said[0]  # by the first request

    def test_a_pattern_that_matches_nothing_sends_what_waits(self, shop: Shop, capsys: Capture) -> None:
        shop.receiver.answer = lambda host, message: 503
        shop.run(*ANA, more=("--retry-for", "0s"))
        sent(shop)
        shop.receiver.answer = lambda host, message: 200
        capsys.readouterr()
        pattern: Path = shop.root / "inbox" / "*.jsonl"
        assert 0 == shop.run(files=(pattern,))
        assert f"{pattern}: no file matches yet" in capsys.readouterr().out
        assert 3 == len(sent(shop))


ADS = """\
workspace: shop
computations:
  - {name: Vip, kind: audience}
connections:
  - name: ads
    destination: facebook-custom-audiences
    settings: {ad_account_id: "111", access_token: "${ADS_TOKEN}"}
    syncs: [{computation: vip}]
"""


def test_what_a_vendor_account_was_told_counts_for_no_other(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ADS_TOKEN", "very-secret-token")
    shop.workspace.write_text(ADS)
    recording = tmp_path / "recording.jsonl"
    with running_sandbox(record=recording) as sandbox:
        shop.receiver.url = sandbox.url
        assert 0 == shop.run(profile("ana", DAY_1), vip("ana", DAY_1), more=("--now", DAY_2))
        edit(shop, '"111"', '"222"')
        assert 0 == shop.run(more=("--now", DAY_2, "--accept-changes"))
        edit(shop, '"222"', '"111"')
        assert 0 == shop.run(vip("ana", DAY_2, False), more=("--now", "2026-01-03T00:00:00Z", "--accept-changes"))
    requests = [json.loads(line) for line in recording.read_text().splitlines()]
    found = [re.search(r"/act_(\d+)/", each["url"]) for each in requests]
    # Each account is asked for its own audience ahead of its rows.
    assert ["111", "111", None, "222", "222", None, "111", None] == [each and each[1] for each in found]
    assert ["POST", "POST", "DELETE"] == [each["method"] for each in requests if each["url"].endswith("/users")]
