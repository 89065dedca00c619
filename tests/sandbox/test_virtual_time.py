"""A clock that stands while anything happens, and jumps where everybody waits; deliveries that are played by it."""

import asyncio
import time

from sandbox.faults import Fault
from sandbox.held_log import HeldLog, NothingKept
from sandbox.playing import Played, play
from sandbox.server import Options
from sandbox.virtual_time import VirtualLoop, run
from schemas.workspace import Cap
from tests.sending.delivering import SLOTS, identify, placed, webhook
from transforms.sending.log import Waiting
from transforms.sending.sender import Active, Delivery

NOON = 1_760_000_000.0


def test_a_year_is_slept_through_in_its_order() -> None:
    loop, woken = VirtualLoop(NOON), list[int]()

    async def sleeper(days: int) -> None:
        await asyncio.sleep(days * 86_400)
        woken.append(days)

    async def everybody() -> None:
        await asyncio.gather(*map(sleeper, (365, 1, 30)))

    run(everybody(), loop)
    assert [1, 30, 365] == woken
    assert 365 * 86_400 == round(loop.time())
    assert loop.wall() == NOON + loop.time()


def test_the_clock_stands_while_a_thread_works() -> None:
    loop = VirtualLoop()

    async def impatient() -> str:
        return await asyncio.wait_for(asyncio.to_thread(lambda: time.sleep(0.05) or "done"), timeout=0.001)

    assert "done" == run(impatient(), loop)


def played(people: int, *faults: Fault, cap: Cap | None = None) -> Played:
    workspace, connection = webhook(cap=cap)
    calls = [
        each if isinstance(each, Waiting) else Waiting(each) for each in placed([identify(n) for n in range(people)])
    ]
    active = {slot: Active(1) for slot in SLOTS.values()}
    delivery = Delivery(workspace, connection, HeldLog(calls), NothingKept(), active)
    return play([delivery], NOON, Options(), faults)


def test_a_backlog_takes_as_long_as_its_cap_says_and_no_longer() -> None:
    [report], [seen] = played(300, cap=Cap(1, 1.0))
    assert (300, 300, 0) == (report.delivered, seen["requests"], seen["throttled"])
    assert 299 <= report.seconds <= 310
    assert 1 == seen["peaks"]["1s"]
    assert NOON <= seen["first"] <= seen["last"] <= NOON + 310


def test_what_is_played_twice_is_the_same() -> None:
    faults = Fault(status=503, share=0.3), Fault(destination="braze", hang=1.0)
    one, other = (played(200, *faults, cap=Cap(50, 1.0)).reports[0] for _ in range(2))
    assert (one.statuses, one.delivered) == (other.statuses, other.delivered)
    assert 200 == one.delivered
    assert one.statuses["503"] > 10


def test_a_vendor_that_never_answers_is_given_up_without_waiting_for_it() -> None:
    [report], _ = played(3, Fault(hang=1.0))
    assert (0, 3) == (report.delivered, report.pending)
    assert report.seconds >= 600
    assert "no answer" in report.stopped + report.trouble or "did not answer" in report.stopped + report.trouble
