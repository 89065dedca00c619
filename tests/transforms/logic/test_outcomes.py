"""Outcomes: what receipts mean for what is asked next; occurrences, and what goes first (docs/decisions/0007)."""

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.calls import Call
from schemas.canonical import digest
from schemas.receipts import Receipt, receipt_of
from schemas.state import Entry, Known, Open, ProfileState, Rest, decode_profile
from tests.transforms.logic.job import hour
from tests.transforms.logic.plain_sender import LANDING
from tests.transforms.logic.play import ANA, SCORE, TRACK, U1, VIP, Play, asked
from tests.transforms.logic.transcripts import event_of, workspace_of
from transforms.logic.fold import Facts
from transforms.logic.ledger import Retry, settle
from transforms.logic.portion import tombstone

# -- receipts


def test_maybe_is_untold_for_equality_and_told_for_exits() -> None:
    play = Play(VIP)
    play.run(ANA, {"at": 0, "vip": True})
    play.settle("rejected maybe")
    play.run()
    assert (None, True) == (play.entry(2).told, play.entry(2).exposed)
    assert [("identify", False)] == asked(play.run({"at": 1, "vip": False}))


def test_a_receipt_of_an_older_ask_counts_too() -> None:
    play = Play(SCORE)
    [first] = play.run(ANA, {"at": 0, "score": 10})
    job = play.job
    job.log("mailer").records[first.ask].flying = True
    assert [10, 11] == [call.value for call in play.run({"at": 1, "score": 11})]
    job.log("mailer").records[first.ask].flying = False
    job.due = job.due[:1]
    play.settle("delivered")
    play.run()
    assert (digest(10), True) == (play.entry(2).told, play.entry(2).open is not None)


def test_what_lands_behind_something_newer_is_made_good() -> None:
    """1 is under way when its process is killed; 2 and 3 take its place; 3 is delivered, and then 1 is."""
    play = Play(SCORE)
    [one] = play.run(ANA, {"at": 0, "score": 5})
    play.job.log("mailer").records[one.ask].flying = True
    play.run({"at": 1, "score": 6}, {"at": 2, "score": 7})
    newest = play.written[-1]
    calls = [told(play, receipt_of(newest, "delivered", 2.0)), told(play, receipt_of(one, "delivered", 3.0))]
    assert [[], [("identify", 7)]] == calls


def told(play: Play, receipt: Receipt) -> list[tuple[str, Any]]:
    """What is asked after this receipt alone."""
    portion = play.job.fold({"ana": Facts(receipts=[receipt])})
    return [(call.kind, call.value) for calls in portion.calls.values() for call in calls]


def test_receipts_never_revive_who_was_deleted() -> None:
    play = Play({"desk": {"score": {}}})
    play.run(ANA, {"at": 0, "score": 10}, {"at": 0, "traits": {"name": "Ana"}})
    play.settle("delivered")
    play.job.run(workspace_of(play.syncs), [event_of({"at": 1, "delete": True})], hour(2))
    assert [tombstone("ana")] == list(play.job.states)
    state = decode_profile(play.job.states[tombstone("ana")])
    assert ([], {}, {}) == (state.ids, state.values, state.ledger)


def test_a_value_that_an_older_one_may_overwrite_is_asked_again_after_that_time() -> None:
    play = Play(SCORE)
    play.run(ANA, {"at": 0, "score": 10})
    play.settle("maybe")
    play.run({"at": 1, "score": 11}, hours=0.01)
    gave_up = hour(play.hour - 0.01).timestamp()
    play.settle("delivered")
    assert [] == play.run(hours=0.01)
    again = play.written[-1]
    assert (11, gave_up + LANDING) == (again.value, again.not_before)
    assert [again] == play.run(hours=0.2)
    play.settle("delivered")
    assert [] == play.run()


def test_a_value_that_came_back_goes_at_once_where_another_one_may_be_on_its_way() -> None:
    """It waited until the stray could land no more, and the vendor had the other one for so long."""
    play = Play({"mailer": {"score": {"enrich": ["plan"]}}})
    play.run(ANA, {"at": 0, "score": 10})
    play.settle("maybe")
    play.run({"at": 1, "score": 11}, hours=0.01)
    play.settle("delivered")
    play.run({"at": 2, "score": 12}, hours=0.01)
    play.run({"at": 3, "score": 11}, hours=0.01)
    play.run({"at": 4, "traits": {"plan": "gold"}}, hours=0.01)
    assert [(12, 0.0), (11, 0.0), (11, 0.0)] == [(call.value, call.not_before) for call in play.written[-3:]]


def test_a_value_under_which_an_older_one_may_land_is_not_told_though_it_is_not_the_newest_ask() -> None:
    play = Play(SCORE)
    play.run()
    plan = play.job.plan
    assert plan
    state = ProfileState(ids=[Known("user_id", "u1", 0, 0)], ledger={2: {0: Entry(open=Open(3, digest(11)))}})
    call = Call("ana", "identify", U1, "score", 10, 0, 1, 2)
    settle(state, receipt_of(call, "superseded", 100.0, maybe=True, unsure_until=400.0), plan)
    settle(state, receipt_of(replace(call, ask=2, value=11), "delivered", 101.0), plan)
    settle(state, receipt_of(replace(call, ask=3, value=11), "superseded", 101.0), plan)
    assert Entry(None, True, None, Rest(stray=400.0, said=digest(11), last=101.0)) == state.ledger[2][0]


def test_what_lands_late_from_before_a_deletion_is_overwritten_where_a_vendor_cannot_forget() -> None:
    play = Play({"desk": {"score": {"computation": "score"}}})
    name = {"at": 0, "traits": {"name": "Ana"}}
    play.run(ANA, name, {"at": 0, "score": 10})
    play.settle("maybe")
    play.run({"at": 1, "delete": True}, hours=0.01)
    later: list[dict[str, Any]] = [
        {"at": 2, "ids": ["u1"]},
        {"at": 2, "traits": {"name": "Ana"}},
        {"at": 2, "score": 11},
    ]
    assert [("identify", 11)] == asked(play.run(*later, hours=0.01))
    play.settle("delivered")
    assert [] == play.run(hours=0.01)
    assert [("identify", 11)] == asked(play.run(hours=0.2))


def test_a_deletion_waits_until_nothing_that_was_given_up_may_land() -> None:
    play = Play(SCORE)
    play.run(ANA, {"at": 0, "score": 10})
    play.settle("maybe")
    assert [] == play.run({"at": 1, "delete": True}, hours=0.01)
    assert [("delete", None)] == asked(play.run(hours=0.2))


def test_a_refused_deletion_is_left_to_its_dead_letter_and_a_replay_asks_again() -> None:
    play = Play(SCORE)
    play.run(ANA, {"at": 0, "score": 10})
    play.settle("delivered")
    [deletion] = play.run({"at": 1, "delete": True})
    play.settle("rejected")
    assert [] == play.run()
    assert [tombstone("ana")] == list(play.job.states)
    receipt = play.job.log("mailer").receipts[-1]
    assert 1 == play.job.retry([Retry(deletion, receipt.refused)])
    assert [("delete", None)] == asked(play.run())
    play.settle("delivered")
    assert [] == play.run()
    assert [tombstone("ana")] == list(play.job.states)


def test_a_replay_asks_again_what_is_wanted_still() -> None:
    play = Play(SCORE)
    [call] = play.run(ANA, {"at": 0, "score": 10})
    play.settle("rejected")
    assert [] == play.run()
    retry = Retry(call, play.job.log("mailer").receipts[-1].refused)
    assert 1 == play.job.retry([retry])
    assert [("identify", 10)] == asked(play.run())
    assert 0 == play.job.retry([retry])


# -- track


def test_an_exit_names_the_entry_that_it_opens_and_goes_with_it() -> None:
    play = Play(TRACK)
    play.run()
    [entry] = play.run(ANA, {"at": 2, "vip": True})
    made = play.run({"at": 3, "vip": False})
    assert [("track", True), ("track", False)] == asked(made)
    assert (entry.ask, 0) == (made[1].opens, made[1].replaces)
    play.settle("rejected", "delivered")
    assert ["rejected", "superseded"] == play.fates
    assert [] == play.run()


def test_the_exit_of_an_entry_that_was_told_opens_none() -> None:
    play = Play(TRACK)
    play.run(ANA, {"at": 0, "vip": True})
    play.settle("delivered")
    [exit] = play.run({"at": 1, "vip": False})
    assert 0 == exit.opens


def test_occurrences_are_never_merged() -> None:
    play = Play(TRACK)
    play.run()
    events = [{"at": 2 + number, "vip": number % 2 == 0} for number in range(6)]
    made = play.run(ANA, *events, hours=9)
    assert [True, False] * 3 == [call.value for call in made]
    assert {0} == {call.replaces for call in made}


# -- live and backfill


def test_what_happened_is_live_and_what_the_workspace_asked_for_is_backfill() -> None:
    play = Play(SCORE)
    [old] = play.run(ANA, {"at": 0, "score": 10})
    play.settle("delivered")
    [new] = play.run({"at": 1.5, "score": 11})
    play.settle("delivered")
    [by_workspace] = play.run(syncs={"mailer": {"score": {"send_as": "points"}}})
    assert [True, False, True] == [old.backfill, new.backfill, by_workspace.backfill]


def test_what_a_receipt_asks_for_is_live() -> None:
    play = Play(VIP)
    play.run()
    [entry] = play.run(ANA, {"at": 1.5, "vip": True})
    job = play.job
    job.log("mailer").records[entry.ask].flying = True
    play.run({"at": 2, "removed": ["u1"]})
    job.log("mailer").records[entry.ask].flying = False
    job.log("mailer").end(entry.ask, "delivered", {}, job.seconds)
    [exit] = play.run()
    assert (False, False) == (exit.value, exit.backfill)


def test_an_occurrence_inherits_the_class_of_an_unsettled_one_before_it() -> None:
    play = Play(TRACK)
    play.run(ANA, {"at": 0, "vip": True})
    made = play.run({"at": 1.5, "vip": False})
    assert [True, True] == [call.backfill for call in made]


def test_an_exit_for_want_of_consent_is_asked_once_however_often_something_is_heard() -> None:
    play = Play({"mailer": {"vip": {"as": ["track"], "where": {"consent": True}}}})
    play.run(ANA, {"at": 0, "vip": True}, {"at": 0, "traits": {"consent": True}})
    play.settle("delivered")
    [exit] = play.run({"at": 1, "traits": {"consent": False}})
    for number in range(2, 5):
        assert [exit] == play.run({"at": number, "traits": {"plan": number}})


def test_who_may_be_told_under_a_cancel_is_forgotten_too() -> None:
    play = Play(SCORE)
    [first] = play.run(ANA, {"at": 0, "score": 10})
    play.job.log("mailer").records[first.ask].flying = True
    play.run({"at": 1, "score": 11})
    play.run({"at": 2, "removed": ["u1"]})
    assert "superseded" == play.fates[1]  # and the first is under way
    play.run({"at": 3, "delete": True})
    assert "delete" == play.written[-1].kind


def test_a_refused_value_is_not_tried_again_because_another_one_was_asked_in_between() -> None:
    play = Play(SCORE)
    play.run(ANA, {"at": 0, "score": 10})
    play.settle("rejected")
    play.run({"at": 1, "score": 11})
    assert [] == play.run({"at": 2, "score": 10})
    assert ["rejected", "superseded", "superseded"] == play.fates


def test_what_a_deletion_that_was_given_up_may_undo_is_told_once_more() -> None:
    play = Play({"mailer": {"score": {}, "vip": {"as": ["track"]}}})
    play.run(ANA, {"at": 0, "score": 10})
    play.settle("delivered")
    play.run({"at": 1, "delete": True})
    play.settle("expired maybe")
    news: list[dict[str, Any]] = [{"at": 2, "ids": ["u1"]}, {"at": 2, "score": 11}, {"at": 2, "vip": True}]
    assert [("identify", 11), ("track", True)] == asked(play.run(*news, hours=0.01))
    play.settle("delivered", "delivered")
    assert [] == play.run(hours=0.01)
    assert [("identify", 11), ("track", True)] == asked(play.run(hours=0.2))
    play.settle("delivered", "delivered")
    assert [] == play.run()


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(["delivered", "superseded", "rejected", "rejected maybe"]), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
def test_receipts_that_come_in_another_order_say_the_same(fates: list[str], chance: Random) -> None:
    """An engine promises no order. Of each ask there is one receipt, and each comes once."""
    play = Play(SCORE)
    play.run(ANA)
    plan = play.job.plan
    assert plan
    receipts = [
        Receipt(
            "ana", "identify", U1, 2, number + 1, 1, digest(number), fate.split()[0], 10.0 + number,  # type: ignore[arg-type]
            maybe="maybe" in fate, unsure_until=40.0 if "maybe" in fate else 0.0,
        )
        for number, fate in enumerate(fates)
    ]  # fmt: skip
    newest = len(fates) - 1

    def after(some: list[Receipt]) -> Entry:
        open_ = Open(newest + 1, digest(newest), behind=newest > 0)
        state = ProfileState(ids=[Known(*U1, 0, 0)], ledger={2: {0: Entry(open=open_)}})
        for receipt in some:
            settle(state, receipt, plan)
        return state.ledger[2][0]

    expected, shuffled = after(receipts), list(receipts)
    chance.shuffle(shuffled)
    found = after(shuffled)
    assert (expected.told, expected.open) == (found.told, found.open)
    assert found.exposed >= expected.exposed
