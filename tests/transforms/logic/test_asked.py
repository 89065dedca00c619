"""Asked and told: what the fold promises to the log and the sender, sentence by sentence (docs/decisions/0007)."""

from typing import Any

import pytest

from schemas.calls import NOBODY, Identifier, message_id
from schemas.canonical import digest
from tests.transforms.logic.job import hour
from tests.transforms.logic.play import ANA, SCORE, U1, VIP, Play, asked
from tests.transforms.logic.transcripts import Syncs, event_of, workspace_of
from transforms.logic.portion import tombstone

# -- numbers


def test_numbers_of_asks_grow_and_a_repeated_ask_is_another_message() -> None:
    play = Play(SCORE)
    [first] = play.run(ANA, {"at": 0, "score": 10})
    play.settle("expired maybe")
    [second] = play.run({"at": 1, "score": 10})
    assert first.ask < second.ask
    assert message_id("mailer", first) != message_id("mailer", second)


def test_a_call_that_waits_is_the_same_message_in_the_next_run() -> None:
    play = Play(SCORE)
    first = play.run(ANA, {"at": 0, "score": 10})
    play.settle("maybe")
    assert first == play.run()


def test_a_state_put_back_from_a_backup_gives_no_number_twice() -> None:
    play = Play(SCORE)
    play.run(ANA, {"at": 0, "score": 10})
    play.settle("delivered")
    states, number, folded = dict(play.job.states), play.job.asked, dict(play.job.folded)
    play.run({"at": 1, "score": 11})
    play.settle("delivered")
    play.job.states, play.job.asked, play.job.folded = states, number, folded
    play.run({"at": 2, "score": 12})  # the log refuses a number that it has
    numbers = [call.ask for call in play.written]
    assert sorted(set(numbers)) == numbers


def test_receipts_that_a_backup_does_not_know_of_are_believed_by_their_content() -> None:
    play = Play(SCORE)
    play.run(ANA, {"at": 0, "score": 10})
    before = dict(play.job.states)
    play.settle("delivered")
    play.run({"at": 1, "score": 11})
    play.settle("delivered")
    play.job.states, play.job.folded = before, {}  # another file: all receipts are folded again
    assert [] == play.run({"at": 1, "score": 11})
    assert digest(11) == play.entry(2).told


def test_a_receipt_of_an_identifier_that_a_backup_does_not_know_keeps_the_exit_owed() -> None:
    play = Play(VIP)
    play.run(ANA, {"at": 0, "vip": True})
    play.settle("delivered")
    play.job.states, play.job.folded = {}, {}
    assert [] == play.run({"at": 1, "ids": ["u2"]})
    assert [("identify", False)] == asked(play.run({"at": 1, "vip": False}))


# -- what is compared


def test_what_is_asked_is_compared_with_its_traits_and_what_is_told_by_its_value_alone() -> None:
    play = Play({"mailer": {"score": {"enrich": ["plan"]}}})
    [first] = play.run(ANA, {"at": 0, "score": 10})
    [second] = play.run({"at": 1, "traits": {"plan": "gold"}})
    assert (first.ask, {"plan": "gold"}) == (second.replaces, second.traits)
    play.settle("delivered")
    assert [] == play.run({"at": 2, "traits": {"plan": "free"}})


def test_a_value_is_asked_once_however_long_it_waits() -> None:
    play = Play(SCORE)
    [call] = play.run(ANA, {"at": 0, "score": 10})
    for number in range(1, 4):
        assert [call] == play.run({"at": number, "score": 10.0})
    assert [call] == play.written


# -- what a call replaces, and what the vendor holds


@pytest.mark.parametrize(("syncs", "event", "nothing"), [(VIP, {"vip": True}, False), (SCORE, {"score": 10}, None)])
def test_of_who_was_never_told_the_vendor_holds_false_or_null(syncs: Syncs, event: Any, nothing: Any) -> None:
    [call] = Play(syncs).run(ANA, {"at": 0, **event})
    assert (0, digest(nothing)) == (call.replaces, call.before)


def test_a_call_says_which_unsettled_one_it_replaces_and_what_was_told_before() -> None:
    play = Play(SCORE)
    play.run(ANA, {"at": 0, "score": 10})
    play.settle("delivered")
    [first] = play.run({"at": 1, "score": 11})
    [second] = play.run({"at": 2, "score": 12})
    assert (first.ask, digest(10)) == (second.replaces, second.before)
    assert (0, digest(10)) == (first.replaces, first.before)


def test_what_the_vendor_holds_is_unknown_after_a_maybe_and_while_a_stray_may_land() -> None:
    play = Play(SCORE)
    play.run(ANA, {"at": 0, "score": 10})
    play.settle("expired maybe")
    [call] = play.run({"at": 1, "score": 11})
    assert call.before is None
    play.settle("maybe")
    play.run({"at": 2, "score": 12}, hours=0.01)
    play.settle("delivered")
    [again] = [call for call in play.run(hours=0.2) if call.value == 12]
    assert again.before is None


def test_who_entered_and_left_before_anything_was_sent_costs_no_request() -> None:
    play = Play(VIP)
    play.run(ANA, {"at": 0, "vip": True})
    assert [] == play.run({"at": 1, "vip": False})
    assert ["superseded", "superseded"] == play.fates


def test_a_value_that_came_back_before_anything_was_sent_costs_no_request() -> None:
    play = Play(SCORE)
    play.run(ANA, {"at": 0, "score": 10})
    play.settle("delivered")
    play.run({"at": 1, "score": 11})
    assert [] == play.run({"at": 2, "score": 10})
    assert digest(10) == play.entry(2).told


def test_superseded_writes_nothing_told_and_wakes_the_fold() -> None:
    play = Play(SCORE)
    play.run(ANA, {"at": 0, "score": 10})
    made = play.run(syncs={"mailer": {"score": {"as": ["identify", "track"]}}})  # another epoch
    [again] = [call for call in made if call.kind == "identify"]
    assert "superseded" == play.fates[0]
    assert ("identify", 10, 2) == (again.kind, again.value, again.epoch)
    assert play.entry(2).told is None


def test_folding_goes_on_until_nothing_is_asked() -> None:
    play = Play(VIP)
    play.run(ANA, {"at": 0, "vip": True})
    play.run({"at": 1, "vip": False}, syncs={"mailer": {"vip": {"send_as": "gold"}}})
    job = play.job
    assert all(len(log.receipts) == job.folded[number] for number, log in job.logs.items())


# -- cancels


def cancels(play: Play) -> list[tuple[Identifier, int]]:
    return [(call.identifier, call.slot) for call in play.written if call.kind == "cancel"]


def test_withdrawn_consent_takes_back_what_waits() -> None:
    play = Play({"mailer": {"score": {"where": {"consent": True}}}})
    play.run(ANA, {"at": 0, "score": 10}, {"at": 0, "traits": {"consent": True}})
    assert [] == play.run({"at": 1, "traits": {"consent": False}})
    assert [(U1, 2)] == cancels(play)


def test_a_removed_identifier_takes_back_what_waits_for_it() -> None:
    play = Play(SCORE)
    play.run(ANA, {"at": 0, "score": 10})
    assert [] == play.run({"at": 1, "removed": ["u1"]})
    assert [(U1, 2)] == cancels(play)


def test_another_strategy_takes_back_what_waits() -> None:
    play = Play(VIP)
    play.run(ANA, {"at": 0, "vip": True})
    assert [] == play.run(syncs={"mailer": {"vip": {"identifiers": {"user_id": "none"}}}})
    assert [(U1, 2)] == cancels(play)


def test_a_cancel_is_asked_once() -> None:
    play = Play(SCORE)
    play.run(ANA, {"at": 0, "score": 10})
    job = play.job
    job.decide(workspace_of(SCORE), [event_of({"at": 1, "removed": ["u1"]})], hour(2))
    job.decide(workspace_of(SCORE), [event_of({"at": 2, "removed": ["u1"]})], hour(3))
    assert [(U1, 2)] == cancels(play)


def test_a_removed_sync_takes_back_what_waits_and_comes_back_in_another_epoch() -> None:
    play = Play(SCORE)
    [first] = play.run(ANA, {"at": 0, "score": 10})
    assert [] == play.run(syncs={"mailer": {}})
    assert ["superseded"] == play.fates
    [again] = play.run(syncs=SCORE)
    assert (first.epoch + 1, 10) == (again.epoch, again.value)


def test_a_deletion_takes_back_everything_and_what_is_newer_is_told_behind_it() -> None:
    play = Play({"mailer": {"score": {}, "vip": {"as": ["track"]}}})
    play.run(ANA, {"at": 0, "score": 10}, {"at": 0, "vip": True})
    play.settle("delivered", "pending")
    made = play.run({"at": 2, "delete": True}, {"at": 3, "ids": ["u1"]}, {"at": 3, "score": 10})
    assert [("delete", None), ("identify", 10)] == asked(made)
    assert [(NOBODY, 0)] == cancels(play)
    assert (0, digest(None)) == (made[1].replaces, made[1].before)


def test_a_second_deletion_takes_the_place_of_the_first() -> None:
    play = Play(SCORE)
    play.run(ANA, {"at": 0, "score": 10})
    play.settle("delivered")
    play.run({"at": 1, "delete": True})
    made = play.run({"at": 2, "delete": True})
    assert [("delete", None)] == asked(made)
    play.settle("delivered")
    assert [] == play.run()
    assert [tombstone("ana")] == list(play.job.states)


# -- epochs


@pytest.mark.parametrize(
    "changed",
    [
        {"mailer": {"connection": {"account": "other"}, "score": {}}},
        {"mailer": {"score": {"send_as": "points"}}},
        {"mailer": {"score": {"as": ["identify", "track"]}}},
    ],
    ids=["tenant", "name", "form"],
)
def test_the_epoch_is_raised_with(changed: Syncs) -> None:
    play = Play(SCORE)
    play.run(ANA)
    play.run(syncs=changed)
    calls = play.run({"at": 1, "score": 10})
    assert {2} == {call.epoch for call in calls}


def test_the_epoch_stays_with_other_settings() -> None:
    play = Play(SCORE)
    play.run(ANA)
    [call] = play.run({"at": 1, "score": 10}, syncs={"mailer": {"score": {"enrich": ["plan"]}}})
    assert 1 == call.epoch
