"""What is never sent: replaced and needless calls, what was taken back, what is of another workspace."""

import time
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from msgspec import structs

from schemas.calls import NOBODY, Call
from schemas.canonical import digest
from schemas.receipts import receipt_of
from schemas.workspace import Cap
from tests.sending.delivering import FAST, Delivering, identify, placed, slot_of, start, track, until, webhook
from tests.sending.memory_log import MemoryLog
from tests.sending.vendor_server import Answer, Seen, VendorServer
from transforms.destinations.webhook import Webhook
from transforms.sending import passed_over
from transforms.sending.log import Mark, Waiting
from transforms.sending.passed_over import LONGEST, PassedOver
from transforms.sending.sender import Active

NOT_TOLD = digest(False)


def ask(number: int, value: Any, person: int = 0, **more: Any) -> Call:
    """A numbered call about one value."""
    return structs.replace(identify(person, value), ask=number, before=more.pop("before", NOT_TOLD), **more)


def cancel(number: int, person: int = 0, **more: Any) -> Call:
    fields: dict[str, Any] = {"identifier": NOBODY, "slot": 0, **more}
    return Call(f"p{person}", "cancel", fields["identifier"], "", None, 0, number, fields["slot"])


def values(server: VendorServer) -> list[Any]:
    return [seen.json["traits"]["big_spenders"] for seen in server.taken]


@pytest.fixture
def options(server: VendorServer) -> Any:
    return replace(FAST, gateway=server.url)


def test_a_call_that_is_replaced_while_it_waits_is_not_sent(server: VendorServer, options: Any) -> None:
    calls = [ask(1, 5), ask(2, 6, replaces=1), ask(3, 7, replaces=2)]
    running = start(calls, webhook(), options)
    assert (1, 2) == (running.report().delivered, running.report().superseded)
    assert [7] == values(server)


def test_entering_and_leaving_before_anything_was_sent_costs_no_request(server: VendorServer, options: Any) -> None:
    running = start([ask(1, True), ask(2, False, replaces=1)], webhook(), options)
    assert 2 == running.report().superseded
    assert [] == server.seen


def test_what_is_not_known_to_be_there_is_sent(server: VendorServer, options: Any) -> None:
    calls = placed([ask(1, True, before=None), ask(2, False, replaces=1, before=None)])
    assert 1 == start(calls, webhook(), options).report().delivered
    assert [False] == values(server)


def test_a_live_call_replaces_one_of_the_backfill_that_was_not_read_yet(server: VendorServer, options: Any) -> None:
    calls = [ask(1, True, backfill=True), ask(2, False, replaces=1)]
    assert 2 == start(calls, webhook(), options).report().superseded
    assert [] == server.seen


def test_what_replaces_a_call_in_flight_waits_for_its_end(server: VendorServer, options: Any) -> None:
    server.script = lambda seen: Answer(delay=0.1)
    running = start([ask(1, True)], webhook(), options, follow=True)
    until(lambda: len(server.seen) == 1)
    running.log.append(*placed([ask(2, False, replaces=1), ask(3, True, replaces=2)]))
    until(lambda: running.settled == 3)
    running.sender.stop()
    assert ["delivered", "superseded", "superseded"] == list(running.log.fates().values())
    assert [True] == values(server), "after it was delivered, the vendor has what is wanted at last"


def test_a_replaced_call_is_not_repeated(server: VendorServer, options: Any) -> None:
    server.script = lambda seen: Answer(503) if b'"big_spenders":true' in seen.body else Answer()
    running = start([ask(1, True)], webhook(), options, follow=True)
    until(lambda: len(server.seen) == 1)
    running.log.append(*placed([ask(2, False, replaces=1)]))
    until(lambda: running.settled == 2)
    running.sender.stop()
    assert ["superseded", "delivered"] == list(running.log.fates().values())
    assert running.log.receipts[1].maybe
    assert [False] == values(server)


def test_what_may_have_landed_is_made_good(server: VendorServer, options: Any) -> None:
    log = MemoryLog(placed([Waiting(ask(1, True), Mark(maybe=True)), ask(2, False, replaces=1)]))
    running = start([], webhook(), options, log=log)
    running.report()
    assert {1: "superseded", 2: "delivered"} == log.fates()
    assert log.receipts[1].maybe
    assert log.receipts[1].unsure_until > time.time(), "it was out when an earlier process ended"


def test_of_a_call_settled_before_the_receipt_says_what_is_there(server: VendorServer, options: Any) -> None:
    log = MemoryLog(placed([ask(1, True), ask(2, True, replaces=1), ask(3, 5, replaces=1, person=0)]))
    log._settle(receipt_of(log.calls[1], "delivered", 1.0))
    start([], webhook(), options, log=log).future.result(60)
    assert {1: "delivered", 2: "superseded", 3: "delivered"} == log.fates()


# -- taken back


@pytest.mark.parametrize("backfill", [False, True])
def test_a_cancel_takes_back_what_was_not_sent(server: VendorServer, options: Any, backfill: bool) -> None:
    calls = [
        ask(1, True, backfill=backfill),
        structs.replace(track(0, 5, 1), ask=2, backfill=backfill),
        ask(3, True, person=1),
        cancel(4),
        ask(5, 7),
    ]
    running = start(calls, webhook(), options)
    running.report()
    assert {1: "superseded", 2: "superseded", 3: "delivered", 4: "superseded", 5: "delivered"} == running.log.fates()


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({}, {1, 2}),
        ({"slot": slot_of("identify", "big_spenders")}, {1}),
        ({"identifier": identify(0, 1).identifier}, {1, 2}),
        ({"identifier": identify(1, 1).identifier}, set()),
    ],
)
def test_a_cancel_has_its_scope(server: VendorServer, options: Any, scope: Any, expected: set[int]) -> None:
    calls = [ask(1, True), structs.replace(track(0, 5, 1), ask=2), cancel(4, **scope)]
    running = start(calls, webhook(), options)
    running.report()
    assert expected == set(running.log.of("superseded")) - {4}


def test_what_was_sent_and_taken_back_is_not_tried_again(server: VendorServer, options: Any) -> None:
    server.script = lambda seen: Answer(503)
    running = start([ask(1, True)], webhook(), options, follow=True)
    until(lambda: len(server.seen) == 1)
    running.log.append(cancel(2))
    until(lambda: running.log.fates() == {1: "superseded", 2: "superseded"})
    running.sender.stop()
    assert 1 == len(server.seen)
    assert running.log.receipts[1].maybe


def test_an_exit_whose_entry_was_rejected_is_not_told(server: VendorServer, options: Any) -> None:
    def refuse(seen: Seen) -> Answer:
        return Answer(422) if b'"total_revenue":1}' in seen.body or b'"total_revenue":1,' in seen.body else Answer()

    server.script = refuse
    calls = [
        structs.replace(track(n, value, value), ask=2 * n + value, opens=2 * n + 1 if value == 2 else 0)
        for n in (0, 1)
        for value in (1, 2)
    ]
    calls[2] = structs.replace(calls[2], value=7)
    running = start(calls, webhook(), options)
    running.report()
    assert ["rejected", "superseded", "delivered", "delivered"] == list(running.log.fates().values())


# -- other workspaces


def test_calls_of_other_slots_and_older_epochs_are_superseded(server: VendorServer, options: Any) -> None:
    mine = slot_of("identify", "big_spenders")
    calls = [ask(1, True, slot=777), ask(2, True, slot=mine, epoch=1), ask(3, True, slot=mine, epoch=2)]
    log = MemoryLog(placed(calls))
    running = start([], webhook(), options, log=log, active={mine: Active(2)} | {})
    running.delivery.active.pop(777)
    running.report()
    assert {1: "superseded", 2: "superseded", 3: "delivered"} == log.fates()


def test_a_newer_workspace_makes_the_sender_hand_over(server: VendorServer, options: Any) -> None:
    log = MemoryLog(placed([ask(1, True), ask(2, True, person=1)]))
    log.number = 1
    report = start([], webhook(), options, log=log).report()
    assert (True, 2, []) == (report.handed_over, report.pending, server.seen)


def test_a_newer_workspace_is_noticed_under_way(server: VendorServer, options: Any) -> None:
    server.script = lambda seen: Answer(delay=0.05)
    running = start([identify(n) for n in range(5_000)], webhook(), options)
    until(lambda: len(server.seen) > 5)
    running.log.number = 1
    report = running.report(5.0)
    assert report.handed_over
    assert 0 < report.delivered < 5_000
    assert set() == running.maybe(), "what was in flight came to its end"


# -- deletions


def test_nothing_passes_a_deletion(server: VendorServer, options: Any) -> None:
    calls = [ask(1, 5), ask(2, 6, person=1), structs.replace(ask(3, None), kind="delete", key=""), ask(4, 8)]
    running = start(calls, webhook(), options)
    assert 4 == running.report().delivered
    about = [(seen.json["type"], seen.json.get("traits", {}).get("big_spenders")) for seen in server.taken]
    mine = [each for each in about if each[1] != 6]
    assert ["identify", "delete", "identify"] == [kind for kind, _ in mine]


def test_a_deletion_waits_until_nothing_may_land_behind_it(server: VendorServer, options: Any) -> None:
    log = MemoryLog(
        placed(
            [
                Waiting(ask(1, 5), Mark(maybe=True)),
                cancel(2),
                structs.replace(ask(3, None), kind="delete", key=""),
                ask(4, 8),
            ]
        )
    )
    report = start([], webhook(), options, log=log).report()
    assert ({1: "superseded", 2: "superseded"}, 1, []) == (log.fates(), report.scheduled, server.seen)
    assert log.kept["may_land"] == log.receipts[1].unsure_until


def test_what_is_told_anew_waits_until_the_vendor_is_through_with_a_deletion(
    server: VendorServer, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Webhook, "deletion_takes", 300.0)
    reborn, also_deleted = ask(4, 8), structs.replace(ask(3, None), kind="delete", key="")
    calls = [ask(1, 5), structs.replace(ask(2, None), kind="delete", key=""), also_deleted, reborn, ask(5, 6, person=1)]
    running = start(calls, webhook(), options)
    report = running.report()
    assert {1: "delivered", 2: "delivered", 3: "delivered", 5: "delivered"} == running.log.fates()
    assert (1, 1) == (report.scheduled, report.pending)
    [(name, until)] = [fact for fact in running.log.kept.items() if fact[0].startswith("deleted:")]
    assert reborn.profile_id not in name
    assert 290.0 < until - time.time() <= 300.0

    both = [reborn, ask(6, 9)]
    again = start(both, webhook(), options, facts={name: until})
    assert (2, {}) == (again.report().scheduled, again.log.fates())
    over = start(both, webhook(), options, facts={name: time.time() - 1.0})
    assert 2 == over.report().delivered


def test_a_deletion_that_was_refused_holds_nobody(
    server: VendorServer, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Webhook, "deletion_takes", 300.0)
    server.script = lambda seen: Answer(501 if seen.json["type"] == "delete" else 200)
    running = start([structs.replace(ask(1, None), kind="delete", key=""), ask(2, 8)], webhook(), options)
    running.report()
    assert {1: "rejected", 2: "delivered"} == running.log.fates()


def rounds_of(people: int, rounds: int) -> list[Call]:
    """A value for everybody, and again, each in the place of the one before."""
    return [
        ask(1 + n + turn * people, turn, n, replaces=(1 + n + (turn - 1) * people) if turn else 0)
        for turn in range(rounds)
        for n in range(people)
    ]


def test_after_an_outage_only_the_newest_values_go_however_many_wait(server: VendorServer, options: Any) -> None:
    """More than the sender has in memory at once."""
    people, rounds = 3_000, 3
    running = start(rounds_of(people, rounds), webhook(), options)
    report = running.report(within=60.0)
    assert people <= report.delivered < people * 1.1
    assert report.delivered + report.superseded == people * rounds
    assert set(range(people * (rounds - 1), people * rounds)) <= set(running.delivered())


def in_flight(server: VendorServer, options: Any, *calls: Call) -> Delivering:
    """A delivery whose first request has no answer, until the server holds it no more."""
    server.holding = True
    running = start(calls, webhook(), replace(options, read_timeout=60.0), follow=True)
    until(lambda: len(server.seen) == 1)
    return running


def test_a_call_that_was_read_gives_way_too_where_one_between_it_and_the_newest_is_passed_over(
    server: VendorServer, options: Any
) -> None:
    other = structs.replace(ask(1, 7), key="total_revenue", computation="total_revenue", sync="total_revenue")
    running = in_flight(server, options, other, ask(2, 5))
    running.log.append(*placed([ask(3, 6, replaces=2), ask(4, 8, replaces=3)]))
    until(lambda: running.settled == 2)
    server.holding = False
    until(lambda: running.settled == 4)
    running.sender.stop()
    assert {1: "delivered", 2: "superseded", 3: "superseded", 4: "delivered"} == running.log.fates()


def test_what_is_in_flight_is_not_repeated_where_the_call_in_its_place_is_passed_over(
    server: VendorServer, options: Any
) -> None:
    server.script = lambda seen: Answer(503) if b'"big_spenders":5' in seen.body else Answer()
    running = in_flight(server, options, ask(1, 5))
    running.log.append(*placed([ask(2, 6, replaces=1), ask(3, 7, replaces=2)]))
    until(lambda: running.settled == 1)
    server.holding = False
    until(lambda: running.settled == 3)
    running.sender.stop()
    assert {1: "superseded", 2: "superseded", 3: "delivered"} == running.log.fates()
    assert [7] == values(server)


@pytest.mark.parametrize("backfill", [False, True])
def test_what_was_in_flight_when_a_process_was_killed_goes_not_behind_something_newer(
    server: VendorServer, options: Any, backfill: bool
) -> None:
    running = in_flight(server, options, ask(1, 5, backfill=True))
    running.log.append(*placed([ask(2, 6, replaces=1, backfill=backfill), ask(3, 7, replaces=2)]))
    until(lambda: 2 in running.log.receipts)
    log = running.log.kill()
    server.holding = False
    until(lambda: bool(server.taken))  # what was in flight lands
    running.sender.stop()
    start([], webhook(), options, log=log).future.result(60)
    assert ["superseded", "superseded", "delivered"] == [log.receipts[number].fate for number in (1, 2, 3)]
    assert log.receipts[1].maybe
    assert 5 not in values(server)[1:]


def test_who_changes_all_the_time_is_told_something_behind_a_backlog_too(
    server: VendorServer, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody gives way any more to what is not read yet, and what is read takes the place of what was."""
    monkeypatch.setattr(passed_over, "LONGEST", 0.0)
    asks = count(1)
    waiting = [ask(next(asks), True, person) for person in range(1, 31)]
    running = start(waiting, webhook(cap=Cap(20, 1.0)), options, follow=True)
    last, others = 0, count(31)

    def changes() -> bool:
        nonlocal last
        mine = ask(next(asks), last, replaces=last)
        last = mine.ask
        running.log.append(*placed([mine, *(ask(next(asks), True, next(others)) for _ in range(5))]))
        time.sleep(0.1)
        return any(b"person-0@" in seen.body for seen in server.taken)

    until(changes, 30.0)
    running.sender.stop()


def test_who_changes_all_the_time_gives_way_only_so_long() -> None:
    passed, call = PassedOver(), ask(1, 5)
    assert passed.gives_way(call, 1_000.0)
    assert passed.gives_way(ask(2, 6), 1_000.0 + LONGEST - 1)
    assert not passed.gives_way(ask(3, 7), 1_000.0 + LONGEST)
    assert passed.gives_way(ask(3, 7, person=1), 1_000.0 + LONGEST)
    passed.ended(ask(3, 7))
    assert passed.gives_way(ask(4, 8), 1_000.0 + LONGEST)


def test_only_so_many_are_remembered_who_gave_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passed_over, "_MOST", 2)
    passed = PassedOver()
    assert all(passed.gives_way(ask(1, 5, person), 1_000.0) for person in range(3))
    assert not passed.gives_way(ask(2, 6, 2), 2_000.0)
    assert passed.gives_way(ask(2, 6, 0), 2_000.0)
