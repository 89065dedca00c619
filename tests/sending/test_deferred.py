"""Calls whose time has not come: lists between their flushes, dated ones, those of keys that are blocked."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from schemas.calls import Call
from schemas.outcomes import Blocked, Delivered, Outcome
from tests.sending.delivering import FAST, delivery_of, identify, placed, slot_of, start, track, until, webhook
from tests.sending.memory_log import MemoryLog
from tests.sending.vendor_server import Answer, VendorServer
from transforms.destinations.contract import Conversation, Preparation, Request, Target
from transforms.destinations.webhook import Webhook
from transforms.sending.deferred import Flushes, PutOff
from transforms.sending.needs import Needs
from transforms.sending.pump import Pump
from transforms.sending.sender import Active

LIST = slot_of("add", "big_spenders")
HOURLY = {LIST: Active(1, flush_every=3600.0)}


@pytest.fixture
def options(server: VendorServer) -> Any:
    return replace(FAST, gateway=server.url)


def add(number: int, kind: str = "add", **more: Any) -> Call:
    return structs.replace(identify(number, kind == "add"), kind=kind, **more)


@pytest.fixture(autouse=True)
def with_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Webhook, "check", lambda self, call: None)
    monkeypatch.setattr(Webhook, "message", lambda self, call: {"id": call.profile_id, "kind": call.kind})


def test_the_first_flush_takes_all_at_once_and_the_next_waits(server: VendorServer, options: Any) -> None:
    log = MemoryLog(placed([add(n) for n in range(5)]))
    before = time.time()
    assert 5 == start([], webhook(), options, log=log, active=HOURLY).report().delivered
    assert before <= log.kept[f"flushed:{LIST}"] <= time.time()
    later = MemoryLog(placed([add(n) for n in range(5, 8)] + [identify(9)], 6), facts=dict(log.kept))
    report = start([], webhook(), options, log=later, active=HOURLY).report()
    assert (1, 3, 3) == (report.delivered, report.pending, report.scheduled)
    assert report.scheduled_until


def test_a_flush_takes_what_was_there_when_it_began(server: VendorServer, options: Any) -> None:
    server.script = lambda seen: Answer(delay=0.05)
    running = start([add(n) for n in range(40)], webhook(), options, active=HOURLY)
    until(lambda: len(server.seen) > 2)
    running.log.append(*placed([add(n) for n in range(40, 50)], 41))
    assert (40, 10) == (running.report().delivered, running.report().scheduled)


def test_a_first_flush_takes_what_is_asked_while_it_goes_on() -> None:
    """A service, or a job, asks for everybody little by little."""
    flushes, calls = Flushes(HOURLY, {}, follow=True), placed([add(n) for n in range(4)])
    for number, now in enumerate((0.0, 30.0, 80.0)):
        assert not flushes.waits(calls[number], number + 1, now)
        flushes.entered(calls[number], 1)
        flushes.entered(calls[number], -1)
        assert {} == flushes.ended(number + 1, now + 1)
    assert 140.0 == flushes.closes()
    assert {f"flushed:{LIST}": 0.0} == flushes.ended(3, 140.0)
    assert flushes.waits(calls[3], 4, 141.0)
    endless = Flushes(HOURLY, {}, follow=True)
    taken = [now for now in range(0, 7_200, 30) if not endless.waits(calls[0], 1, now) and not endless.ended(1, now)]
    assert 3_600 > max(taken)
    again = Flushes(HOURLY, {f"flushed:{LIST}": 0.0}, follow=True)
    assert not again.waits(calls[0], 1, 4_000.0)
    assert again.waits(calls[1], 2, 4_001.0)


def test_a_flush_of_which_some_was_blocked_ends_when_that_has_gone() -> None:
    """Else the list would never be flushed again."""
    flushes, calls = Flushes(HOURLY, {}), placed([add(n) for n in range(2)])
    assert not flushes.waits(calls[0], 1, 0.0)
    flushes.entered(calls[0], 1)
    flushes.entered(calls[0], -1)
    flushes.cut_short(LIST)
    assert {} == flushes.ended(1, 1.0)
    assert flushes.waits(calls[1], 2, 2.0)
    flushes.go_on()
    assert not flushes.waits(calls[0], 2, 100.0)
    flushes.entered(calls[0], 1)
    flushes.entered(calls[0], -1)
    assert {f"flushed:{LIST}": 0.0} == flushes.ended(2, 101.0)
    assert 2 == flushes.come(3_600.0)


def test_a_flush_that_is_cut_short_is_still_due(server: VendorServer, options: Any) -> None:
    server.script = lambda seen: Answer(delay=0.05)
    running = start([add(n) for n in range(400)], webhook(), options, active=HOURLY)
    until(lambda: len(server.seen) > 2)
    running.sender.stop()
    running.report()
    assert f"flushed:{LIST}" not in running.log.kept


def test_entering_and_leaving_between_two_flushes_costs_nothing(server: VendorServer, options: Any) -> None:
    calls = [add(1, before=b"false"), add(1, "remove", replaces=1, before=b"false"), add(2)]
    log = MemoryLog(placed(calls), facts={f"flushed:{LIST}": time.time() - 3599.5})
    running = start([], webhook(), options, log=log, active=HOURLY, follow=True)
    until(lambda: len(log.receipts) == 3)
    running.sender.stop()
    running.report()
    assert {1: "superseded", 2: "superseded", 3: "delivered"} == log.fates()
    assert 1 == len(server.seen)


def test_a_list_holds_no_deletion_and_no_cancel(server: VendorServer, options: Any) -> None:
    delete = structs.replace(identify(1, None), kind="delete", key="")
    cancel = Call("p1", "cancel", identify(1).identifier, "", None, 0, 2)
    log = MemoryLog(placed([add(1), cancel, structs.replace(delete, ask=3)]), facts={f"flushed:{LIST}": time.time()})
    start([], webhook(), options, log=log, active=HOURLY).future.result(60)
    assert {3: "delivered"} == log.fates()
    again = start([], webhook(), options, log=log.kill(), active={LIST: Active(1)})
    again.future.result(60)
    assert {1: "superseded", 2: "superseded", 3: "delivered"} == again.log.fates()


def test_a_dated_call_waits_for_its_time(server: VendorServer, options: Any) -> None:
    soon = time.time() + 0.6
    running = start([identify(1, not_before=soon), identify(2)], webhook(), options, follow=True)
    until(lambda: len(running.log.receipts) == 2)
    running.sender.stop()
    assert 2 == running.report().delivered
    assert time.time() >= soon
    report = start([identify(1, not_before=time.time() + 60)], webhook(), options).report()
    assert (1, 1) == (report.pending, report.scheduled)


def test_what_is_put_off_for_long_leaves_memory_and_comes_back() -> None:
    holding = PutOff(shuts=True)
    holding.add(7, 100.0, ["ana", "ana@x"])
    assert [True, True, True, False] == [
        holding.waits(7, 50.0, ["ana", "ana@x"]),
        holding.waits(8, 50.0, ["bob", "ana@x"]),
        holding.waits(3, 50.0, ["bob"]),  # behind what is behind it
        holding.waits(9, 50.0, ["eve"]),
    ]
    assert (None, 3) == (holding.come(99.0), holding.come(100.0))
    assert not holding.waits(8, 100.0, ["bob", "ana@x"])


# -- keys


class Needy(Webhook):
    """Needs something at the vendor for each key."""

    slug = "needy"
    ready: set[str] = set()
    prepared: list[str] = []

    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        for target in targets:
            Needy.prepared.append(target.key)
            yield Request("POST", "https://needy.example/prepare", json={"key": target.key})
        return None

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        yield Request("POST", "https://needy.example/in", json=[call.key for call in calls])
        return [self._outcome(call) for call in calls]

    def _outcome(self, call: Call) -> Outcome:
        return Delivered() if call.key in self.ready else Blocked(f"there is no {call.key}", prepare=True)


@pytest.fixture
def needy(monkeypatch: pytest.MonkeyPatch) -> type[Needy]:
    monkeypatch.setattr(Needy, "ready", {"total_revenue"})
    monkeypatch.setattr(Needy, "prepared", [])
    return Needy


def test_calls_of_a_key_that_is_missing_wait_and_others_go_on(
    server: VendorServer, options: Any, needy: type[Needy]
) -> None:
    connected = webhook()
    calls = [call for n in range(10) for call in (identify(n), identify(n, n, "total_revenue"))]
    delivery = delivery_of(calls, connected, options, destination=needy(*connected))
    report = asyncio.run(Pump(delivery, {}).run())
    assert (10, 10, 0) == (report.delivered, report.pending, report.rejections)
    assert {"big_spenders": "there is no big_spenders"} == report.blocked
    assert 2 <= needy.prepared.count("big_spenders") < 10, "once more, before it is believed, and not for each call"
    assert 1 == needy.prepared.count("total_revenue")


def test_what_was_missing_and_is_made_again_is_told(
    server: VendorServer, options: Any, needy: type[Needy], monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(self: Needy, targets: Mapping[Target, Call]) -> Preparation:
        yield Request("POST", "https://needy.example/prepare", json={})
        needy.prepared += [target.key for target in targets]
        if needy.prepared.count("big_spenders") == 2:
            needy.ready.add("big_spenders")
        return None

    monkeypatch.setattr(needy, "prepare", prepare)
    connected = webhook()
    delivery = delivery_of([identify(n) for n in range(10)], connected, options, destination=needy(*connected))
    report = asyncio.run(Pump(delivery, {}).run())
    assert (10, {}) == (report.delivered, report.blocked)


# -- the two classes


def test_what_happened_goes_before_what_the_workspace_asked_for(server: VendorServer, options: Any) -> None:
    calls = [identify(n, backfill=True) for n in range(300)] + [identify(1_000 + n) for n in range(300)]
    start(calls, webhook(), options).report()
    first = [seen.json["id"] for seen in server.seen[:200]]
    late = sum(int(name[1:]) < 1_000 for name in first)
    assert 10 <= late <= 30, "one in ten of the others"


def test_a_backfill_call_waits_for_live_ones_with_smaller_asks_to_be_read(server: VendorServer, options: Any) -> None:
    live = [identify(n) for n in range(3_000)]
    delete = structs.replace(identify(1, None), kind="delete", key="", ask=3_000)
    late = structs.replace(identify(1, 5, "total_revenue"), ask=3_001, backfill=True)
    log = MemoryLog(placed([*live[:2_999], delete, late]))
    start([], webhook(batch=100), options, log=log).report()
    bodies = [message for seen in server.seen for message in seen.json if message["id"] == "p1"]
    assert ["identify", "delete", "identify"] == [message["kind"] for message in bodies]


def test_occurrences_keep_their_order_over_reads(server: VendorServer, options: Any) -> None:
    calls = [track(n, value, value) for value in range(40) for n in range(60)]
    running = start(calls, webhook(batch=50), options)
    assert 2_400 == running.report().delivered


class Lost(Webhook):
    """Its list is gone at the vendor until it is prepared; then it is made, or found."""

    there: set[str] = set()
    found = False

    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        yield Request("POST", "https://lost.example/prepare", json={})
        for target in targets:
            if target.key not in Lost.there and not Lost.found:
                self.made.add(target)
            Lost.there.add(target.key)
        return None

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        yield Request("POST", "https://lost.example/in", json=[call.key for call in calls])
        return [
            Delivered() if c.key in Lost.there else Blocked("the list is gone", prepare=True, lost=True) for c in calls
        ]


@pytest.mark.parametrize("found", [False, True])
def test_what_was_lost_and_is_made_again_is_remembered_but_not_what_is_found_again(
    server: VendorServer, options: Any, monkeypatch: pytest.MonkeyPatch, found: bool
) -> None:
    monkeypatch.setattr(Lost, "there", set())
    monkeypatch.setattr(Lost, "found", found)
    connected = webhook()
    log = MemoryLog(placed([identify(1)]))
    report = asyncio.run(Pump(delivery_of((), connected, options, log=log, destination=Lost(*connected)), {}).run())
    assert 1 == report.delivered
    assert {} == report.remade, "it was made ahead of the first call, and nobody was in it"
    Lost.there.clear()
    log = log.kill()
    log.append(*placed([identify(2)], 2))
    monkeypatch.setattr(Needs, "prepare", nothing)  # as if it were known from an earlier run
    report = asyncio.run(Pump(delivery_of((), connected, options, log=log, destination=Lost(*connected)), {}).run())
    assert 1 == report.delivered
    assert found == ({} == report.remade)
    assert (not found) == ("remade:identify/big_spenders" in log.kept)
    assert "lost:identify/big_spenders" not in log.kept


class Columned(Lost):
    """Of some calls it learns only as they are sent that they need more than was prepared: another column, say."""

    asked = 0

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        yield Request("POST", "https://lost.example/in", json=[call.key for call in calls])
        self.asked += 1
        missing = Blocked("there is no column for this type of identifier", prepare=True)
        return [Delivered() if self.asked > 1 else missing for _ in calls]


def test_what_this_process_made_and_needs_more_was_not_lost(
    server: VendorServer, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lost, "there", set())
    connected = webhook()
    log = MemoryLog(placed([identify(1)]))
    report = asyncio.run(Pump(delivery_of((), connected, options, log=log, destination=Columned(*connected)), {}).run())
    assert 1 == report.delivered
    assert {} == report.remade


def test_a_process_that_died_between_losing_and_making_again_is_made_good(server: VendorServer, options: Any) -> None:
    Lost.there.clear()
    connected = webhook()
    log = MemoryLog(placed([identify(1)]), {"lost:identify/big_spenders": 1})
    report = asyncio.run(Pump(delivery_of((), connected, options, log=log, destination=Lost(*connected)), {}).run())
    assert ["identify/big_spenders"] == [*report.remade]
    assert "lost:identify/big_spenders" not in log.kept


async def nothing(self: Needs, calls: Sequence[Call]) -> None:
    """What the calls need is thought to be there."""


class Forgetful(Webhook):
    """Is blocked without a request, whatever is prepared."""

    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        yield Request("POST", "https://forgetful.example/prepare", json={})
        return None

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        yield from ()
        return [Blocked("the list is gone", prepare=True) for _ in calls]


def test_a_call_that_is_blocked_without_a_request_is_not_tried_for_ever(server: VendorServer, options: Any) -> None:
    connected = webhook()
    calls = placed([identify(n) for n in range(3)])
    delivery = delivery_of(calls, connected, options, destination=Forgetful(*connected))
    report = asyncio.run(asyncio.wait_for(Pump(delivery, {}).run(), 10))
    assert {"big_spenders": "the list is gone"} == report.blocked
    assert len(server.seen) <= 1 + len(calls)
