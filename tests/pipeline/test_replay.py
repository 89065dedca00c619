"""What was refused or expired, and how it is tried once more."""

import re
import time
from typing import Any

import pytest

from pipeline import leases
from pipeline.run import RunOptions, clock
from pipeline.run import run as run_once
from pipeline.summary import Summary
from pipeline.workspace import load
from tests.pipeline.conftest import Shop
from tests.pipeline.running import (
    dead_letters,
    free_port,
    profile,
    receiving,
    score,
    subjects,
    summary_of,
    vip,
    workspace,
)
from transforms.sending.delivery import SenderOptions

Capture = pytest.CaptureFixture[str]
DAY_1, DAY_2, DAY_3 = (f"2026-01-0{day}T00:00:00Z" for day in (1, 2, 3))
ANA = (profile("ana", DAY_1), vip("ana", DAY_1), score("ana", DAY_1, 7))
BOB = (profile("bob", DAY_1), score("bob", DAY_1, 1))


def refuse(host: str, message: dict[str, Any]) -> int:
    return 422


def accept(host: str, message: dict[str, Any]) -> int:
    return 200


def dry_run(shop: Shop, capsys: Capture) -> dict[tuple[str, str], int]:
    """What `replay --dry-run` says: connection, reason, number."""
    capsys.readouterr()
    assert 0 == shop.replay("--dry-run")
    rows = (re.split(r"\s{2,}", line.strip()) for line in capsys.readouterr().out.splitlines()[1:])
    return {(connection, reason): int(number) for connection, reason, number in rows}


def sent(shop: Shop) -> list[tuple[str, Any]]:
    """What was sent since the last time it was asked: kind, value."""
    found = [
        (message["type"], message["properties"]["vip"] if message["type"] == "track" else message.get("traits"))
        for message in shop.receiver.messages
    ]
    shop.receiver.messages.clear()
    return found


class TestCalls:
    def test_refused_calls_go_once_more_and_then_never_again(self, shop: Shop, capsys: Capture) -> None:
        shop.receiver.answer = refuse
        shop.run(*ANA)
        shop.receiver.answer = accept
        assert 0 == shop.run()
        assert 3 == len(sent(shop))
        assert 0 == shop.replay()
        expected = [("identify", {"score": 7}), ("identify", {"vip": True}), ("track", True)]
        assert expected == sorted(sent(shop), key=str)
        capsys.readouterr()
        assert 0 == shop.replay()
        assert [] == sent(shop)
        assert "Nothing was sent" in capsys.readouterr().out

    def test_what_is_refused_again_stays_refused(self, shop: Shop) -> None:
        shop.receiver.answer = refuse
        shop.run(*ANA)
        shop.replay()
        assert 6 == len(sent(shop))
        shop.run()
        assert [] == sent(shop)
        assert 3 == summary_of(shop.state)["connections"]["hook"]["rejected"] + 3

    def test_only_what_is_still_wanted_goes(self, shop: Shop) -> None:
        shop.receiver.answer = refuse
        shop.run(*ANA)
        shop.receiver.answer = accept
        shop.run(vip("ana", DAY_2, False), score("ana", DAY_2, 8))
        sent(shop)
        assert 0 == shop.replay()
        assert [] == sent(shop)  # 8 was told by itself, and who was never told `true` is not told `false`

    def test_a_dry_run_counts_and_sends_nothing(self, shop: Shop, capsys: Capture) -> None:
        shop.receiver.answer = refuse
        shop.run(*ANA, {"type": "what", "profile_id": "x", "at": DAY_1})
        sent(shop)
        before = subjects(shop.state)
        expected = {("(records)", "unknown_event_type"): 1, ("hook", "invalid_value"): 3}
        assert expected == dry_run(shop, capsys)
        assert [] == sent(shop)
        assert before == subjects(shop.state)

    def test_a_dry_run_needs_no_lease(self, shop: Shop, capsys: Capture) -> None:
        shop.receiver.answer = refuse
        shop.run(*ANA)
        with leases.deciding(shop.state):
            assert {("hook", "invalid_value"): 3} == dry_run(shop, capsys)
            assert 4 == shop.replay()
        assert "is deciding; run again when it is done" in capsys.readouterr().err

    def test_a_dry_run_counts_only_what_would_go(self, shop: Shop, capsys: Capture) -> None:
        shop.receiver.answer = refuse
        shop.run(*ANA, *BOB)
        assert {("hook", "invalid_value"): 4} == dry_run(shop, capsys)
        shop.receiver.answer = accept
        shop.run(score("ana", DAY_2, 8))
        assert {("hook", "invalid_value"): 3} == dry_run(shop, capsys)
        shop.replay("--profile", "bob")
        assert {("hook", "invalid_value"): 2} == dry_run(shop, capsys)
        shop.replay()
        assert {} == dry_run(shop, capsys)

    def test_a_dry_run_counts_what_is_still_wanted_as_the_replay_then_sends(self, shop: Shop, capsys: Capture) -> None:
        shop.receiver.answer = refuse
        shop.run(*ANA, *BOB, {"type": "what", "profile_id": "cy", "at": DAY_1})
        shop.run(vip("ana", DAY_2, False))
        shop.receiver.answer = accept
        sent(shop)
        expected = {("(records)", "unknown_event_type"): 1, ("hook", "invalid_value"): 2}
        assert expected == dry_run(shop, capsys)
        assert 0 == shop.replay()
        assert [("identify", {"score": 1}), ("identify", {"score": 7})] == sorted(sent(shop), key=str)
        assert {("(records)", "unknown_event_type"): 1} == dry_run(shop, capsys)

    def test_a_dry_run_counts_what_records_bring_about(self, shop: Shop, capsys: Capture) -> None:
        shop.run(profile("ana", DAY_1), {**score("ana", DAY_1, 7), "computation": "plan"})
        text = shop.workspace.read_text().replace("- {name: Score", "- {name: Plan, kind: trait}\n  - {name: Score")
        shop.workspace.write_text(
            text.replace("- {computation: score", "- {computation: plan}\n      - {computation: score")
        )
        expected = {("(records)", "unknown_computation"): 1, ("hook", "from records"): 1}
        assert expected == dry_run(shop, capsys)
        sent(shop)
        shop.replay()
        assert [("identify", {"plan": 7})] == sent(shop)

    def test_a_dry_run_counts_what_would_go_though_a_run_would_send_it_too(self, shop: Shop, capsys: Capture) -> None:
        shop.receiver.answer = refuse
        shop.run(*BOB)
        text = shop.workspace.read_text()
        shop.workspace.write_text(text.replace('example/in"', 'example/in", headers: {X-Team: crm}'))
        assert {("hook", "invalid_value"): 1} == dry_run(shop, capsys)

    def test_it_can_be_narrowed(self, shop: Shop, capsys: Capture) -> None:
        shop.receiver.answer = lambda host, message: 422 if message["userId"] == "ana" else 409
        shop.run(*ANA, *BOB)
        shop.receiver.answer = accept
        sent(shop)
        for option, value in (("--profile", "cy"), ("--reason", "too_large"), ("--since", "2999-01-01T00:00:00Z")):
            assert 0 == shop.replay(option, value)
        assert "No dead letter to try again." in capsys.readouterr().out
        assert [] == sent(shop)
        assert 0 == shop.replay("--profile", "bob", "--connection", "hook", "--since", "2026-01-01T00:00:00Z")
        assert [("identify", {"score": 1})] == sent(shop)
        assert 0 == shop.replay("--reason", "invalid_value")
        assert 3 == len(sent(shop))

    def test_they_are_those_of_a_connection_though_it_was_renamed_since(self, shop: Shop) -> None:
        shop.receiver.answer = refuse
        shop.run(*ANA)
        shop.receiver.answer = accept
        text = shop.workspace.read_text()
        shop.workspace.write_text(text.replace("  - name: hook\n", "  - name: crm\n    was: hook\n"))
        shop.run()
        sent(shop)
        assert 0 == shop.replay("--connection", "crm")
        assert 3 == len(sent(shop))

    def test_masked_dead_letters_can_be_replayed(self, shop: Shop) -> None:
        shop.receiver.answer = refuse
        shop.run(*ANA, more=("--mask-dead-letters",))
        shop.receiver.answer = accept
        sent(shop)
        assert 0 == shop.replay()
        assert 3 == len(sent(shop))

    def test_a_refused_deletion_is_still_owed(self, shop: Shop) -> None:
        shop.run(*BOB)
        shop.receiver.answer = lambda host, message: 422 if message["type"] == "delete" else 200
        shop.run({"type": "delete", "profile_id": "bob", "at": DAY_2})
        sent(shop)
        shop.run()
        assert [] == sent(shop)
        shop.receiver.answer = accept
        assert 0 == shop.replay()
        assert [("delete", None)] == sent(shop)
        shop.run()
        assert 0 == shop.replay()
        assert [] == sent(shop)

    def test_a_new_setting_tries_what_was_refused(self, shop: Shop) -> None:
        shop.receiver.answer = refuse
        shop.run(*ANA[::2])
        shop.receiver.answer = accept
        sent(shop)
        text = shop.workspace.read_text()
        shop.workspace.write_text(text.replace('example/in"', 'example/in", headers: {X-Team: crm}'))
        assert 0 == shop.run()
        assert [("identify", {"score": 7})] == sent(shop)


class TestRecords:
    def test_a_record_is_read_again_when_the_workspace_knows_its_computation(self, shop: Shop) -> None:
        plan = {"type": "trait", "profile_id": "ana", "at": DAY_1, "computation": "plan", "value": "gold"}
        assert 0 == shop.run(*ANA, plan)
        text = shop.workspace.read_text().replace("- {name: Score", "- {name: Plan, kind: trait}\n  - {name: Score")
        shop.workspace.write_text(text + "      - {computation: plan}\n")
        sent(shop)
        assert 0 == shop.replay()
        assert [("identify", {"plan": "gold"})] == sent(shop)
        assert 0 == shop.replay()
        assert [] == sent(shop)

    def test_a_record_that_is_still_bad_stays_a_dead_letter_with_its_place(self, shop: Shop) -> None:
        shop.run(*ANA, {"type": "what", "profile_id": "x", "at": DAY_1})
        first = dead_letters(shop.state)
        for _ in range(2):
            assert 0 == shop.replay()
            assert first == dead_letters(shop.state)
        assert 1 == summary_of(shop.state)["input"]["read"]

    def test_records_that_were_not_kept_whole_are_named_by_their_source(self, shop: Shop, capsys: Capture) -> None:
        shop.run(*ANA, {"type": "what", "profile_id": "x", "text": "x" * 70_000})
        capsys.readouterr()
        assert 0 == shop.replay()
        printed = capsys.readouterr().out
        assert f"1 record of {shop.root}/events-1.jsonl not kept whole" in printed


class TestUsage:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--connection", "hok"), "--connection hok: did you mean hook?"),
            (("--reason", "unknown"), "unknown_field"),
        ],
    )
    def test_what_does_not_exist_is_named(
        self, shop: Shop, capsys: Capture, options: tuple[str, str], said: str
    ) -> None:
        shop.run(*ANA)
        assert 1 == shop.replay(*options)
        assert said in capsys.readouterr().err

    def test_a_state_that_is_a_file_is_told_so(self, shop: Shop, capsys: Capture) -> None:
        shop.state.touch()
        assert 1 == shop.replay()
        assert f"--state {shop.state}: it is a file; --state needs a folder\n" in capsys.readouterr().err

    def test_a_state_that_does_not_exist_is_named(self, shop: Shop, capsys: Capture) -> None:
        assert 1 == shop.replay()
        assert "there is no such directory" in capsys.readouterr().err
        assert not shop.state.exists()


class TestExpiry:
    """A call without an answer is tried for some hours over all runs."""

    def run(self, shop: Shop, *events: dict[str, Any], give_up_after: float = 3600.0, gateway: str = "") -> Summary:
        arguments = shop.arguments(*events)
        files = arguments[arguments.index("--events") + 1 :] if events else []
        sender = SenderOptions(gateway=gateway or shop.receiver.url, retry_for=0.0, give_up_after=give_up_after)
        new = "--new-state" in arguments
        return run_once(RunOptions(load(str(shop.workspace)), files, shop.state, clock(), sender=sender, new_state=new))

    @pytest.fixture
    def expired(self, shop: Shop) -> Shop:
        """A value and an occurrence that the vendor never answered, one after the other."""
        shop.receiver.answer = lambda host, message: 0
        first = self.run(shop, *ANA[:2])
        assert (2, 0) == (first.connections["hook"].waiting, first.connections["hook"].expired)
        later = [self.run(shop, give_up_after=0.001) for _ in range(4)]
        assert 2 == sum(each.connections["hook"].expired for each in later)
        assert (0, []) == (later[-1].connections["hook"].waiting, later[-1].mistakes)
        shop.receiver.answer = accept
        sent(shop)
        return shop

    def test_the_time_of_the_first_try_is_kept_over_runs(self, shop: Shop) -> None:
        shop.receiver.answer = lambda host, message: 0
        for _ in range(2):
            assert 1 == self.run(shop, *ANA[::2], give_up_after=60.0).connections["hook"].waiting
        time.sleep(0.1)
        assert 1 == self.run(shop, give_up_after=0.1).connections["hook"].expired

    def test_what_expired_is_not_tried_again(self, expired: Shop) -> None:
        self.run(expired)
        assert [] == sent(expired)

    def test_what_expired_is_taken_back_when_the_person_leaves(self, expired: Shop) -> None:
        self.run(expired, vip("ana", DAY_2, False))
        assert [("identify", {"vip": False}), ("track", False)] == sorted(sent(expired))

    def test_what_expired_goes_with_a_replay(self, expired: Shop) -> None:
        assert 0 == expired.replay("--reason", "expired")
        assert [("identify", {"vip": True}), ("track", True)] == sorted(sent(expired), key=str)
        assert 0 == expired.replay("--reason", "expired")
        assert [] == sent(expired)

    def test_what_could_not_be_reached_expires_too_but_was_never_told(self, shop: Shop) -> None:
        port = free_port()
        gateway = f"http://127.0.0.1:{port}"
        self.run(shop, *ANA[:2], gateway=gateway)
        later = [self.run(shop, give_up_after=0.001, gateway=gateway) for _ in range(4)]
        assert (2, []) == (sum(each.connections["hook"].expired for each in later), later[-1].mistakes)
        with receiving(port) as shop.receiver:
            self.run(shop)
            self.run(shop, vip("ana", DAY_2, False))
            assert [] == sent(shop)
            self.run(shop, vip("ana", DAY_3))
            assert [("identify", {"vip": True}), ("track", True)] == sorted(sent(shop), key=str)

    def test_a_new_value_begins_anew(self, shop: Shop) -> None:
        shop.receiver.answer = lambda host, message: 0
        self.run(shop, *ANA[::2])
        assert 1 == self.run(shop, score("ana", DAY_2, 8), give_up_after=0.5).connections["hook"].waiting


def test_who_may_have_been_told_true_ahead_of_a_refusal_is_told_false(shop: Shop) -> None:
    seen = set()

    def lose_the_first_answer(host: str, message: dict[str, Any]) -> int:
        first = message["messageId"] not in seen
        seen.add(message["messageId"])
        return 0 if first else 422

    shop.receiver.answer = lose_the_first_answer
    shop.run(*ANA[:2])
    assert 4 == len(sent(shop))
    assert [2, 2] == [letter["attempts"] for letter in dead_letters(shop.state)]
    shop.receiver.answer = accept
    shop.run()
    assert [] == sent(shop)
    shop.run(vip("ana", DAY_2, False))
    assert [("identify", {"vip": False}), ("track", False)] == sorted(sent(shop))


def test_a_dry_run_leaves_out_connections_that_are_gone(shop: Shop, capsys: Capture) -> None:
    workspace(shop.workspace, "hook", "other")
    shop.receiver.answer = refuse
    shop.run(*ANA)
    workspace(shop.workspace, "hook")
    capsys.readouterr()
    assert 0 == shop.replay("--dry-run")
    assert [["hook", "invalid_value", "3"]] == [line.split() for line in capsys.readouterr().out.splitlines()[1:]]


def test_letters_of_a_connection_that_is_gone_are_left_alone(shop: Shop) -> None:
    workspace(shop.workspace, "hook", "other")
    shop.receiver.answer = refuse
    shop.run(*ANA)
    workspace(shop.workspace, "hook")
    shop.receiver.answer = accept
    sent(shop)
    assert 0 == shop.replay()
    assert 3 == len(sent(shop))
