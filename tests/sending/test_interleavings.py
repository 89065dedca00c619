"""Asks, replacements, cancels, answers of every kind and kills in any order: the vendor ends with what is wanted.

The sender is the real one but for its sockets; its vendor and the decider are plain models, on a clock that jumps.
"""

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from sandbox.virtual_time import VirtualLoop
from schemas.calls import NOBODY, Call, Identifier
from schemas.canonical import digest
from schemas.outcomes import Delivered
from tests.sending.delivering import FAST, delivery_of, slot_of, webhook
from tests.sending.memory_log import MemoryCaps, MemoryLog
from transforms.destinations.contract import Batch, Conversation, Reply, Request, Verdict, all_of, by_status
from transforms.destinations.webhook import Webhook
from transforms.logic.netting import LANDING
from transforms.sending.attempts import Attempts
from transforms.sending.pump import Pump
from transforms.sending.sender import SenderOptions
from transforms.sending.talk import Talk

SLOT = slot_of("identify", "member")
OPTIONS = SenderOptions(**{**FAST.__dict__, "retry_for": 60.0, "give_up_after": 600.0, "read_timeout": 1.0})
Told = tuple[int, str, bool]  # ask, identifier, value


class Hook(Webhook):
    """Three people in a request."""

    def batch_of(self, route: str) -> Batch:
        return Batch(3)

    def unit(self, call: Call) -> Any:
        return call.identifier

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        body = [(call.ask, call.identifier.id, call.value) for call in calls]
        yield Request("POST", "https://vendor.example/in", json=body)
        return all_of(calls, Delivered())

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        return Verdict("halve", words="bad") if reply.status == 400 else by_status(reply, items)


@dataclass
class Vendor:
    """Has a value for each identifier; answers as chance will have it, until it is `well`."""

    chance: Random
    late: bool  # what was given up may land long after
    has: dict[str, bool] = field(default_factory=dict)
    landed: dict[str, list[int]] = field(default_factory=dict)  # asks by identifier
    bad: set[str] = field(default_factory=set)
    well: bool = False

    def land(self, told: Sequence[Told]) -> None:
        for ask, identifier, value in told:
            self.has[identifier] = value
            self.landed.setdefault(identifier, []).append(ask)

    async def answer(self, told: Sequence[Told]) -> Reply:
        loop = asyncio.get_running_loop()
        what = (
            "ok"
            if self.well
            else self.chance.choice(["ok"] * 3 + ["busy", "lost", "landed", "landed", "late", "hang", "429"])
        )
        await asyncio.sleep(self.chance.choice([0.0, 0.05, 0.3]))
        if any(identifier in self.bad for _, identifier, _ in told) and what != "lost":
            return Reply(400)
        match what:
            case "busy":
                return Reply(503)
            case "429":
                return Reply(429, {"retry-after": "1"})
            case "lost":
                raise ConnectionResetError
            case "landed":
                self.land(told)
                raise ConnectionResetError
            case "late" if self.late:
                loop.call_later(self.chance.uniform(0.0, LANDING - 10.0), self.land, told)
                raise ConnectionResetError
            case "hang":
                if self.chance.random() < 0.5:
                    self.land(told)
                await asyncio.sleep(1_000.0)
        self.land(told)
        return Reply(200)


class Offline(Attempts):
    """Without sockets."""

    vendor: Vendor

    async def _answer(self, request: Request, url: object, talk: Talk) -> Reply:
        taken = await self._turnstile.turn(talk)
        self._turnstile.leaves(talk, taken)
        self._turnstile.gone(talk)
        async with asyncio.timeout(None) as limit:
            talk.give_up = lambda: limit.reschedule(0)
            self._out.add(talk)
            try:
                return await self.vendor.answer(request.json)
            finally:
                self._out.discard(talk)
                talk.let_go()


@dataclass
class Person:
    """What the decider knows of a person, as the ledger of one identifier."""

    name: str
    identifier: str
    wanted: bool = False
    told: bool | None = False
    exposed: bool = False
    open: int = 0
    asked: bool | None = None
    stray: float = 0.0
    refused: bool | None = None

    @property
    def before(self) -> bytes | None:
        if self.stray:
            return None
        return digest(self.told) if self.told is not None else None if self.exposed else digest(False)


@dataclass
class Decider:
    """Asks what is wanted and not told, as decision 0007 says."""

    log: MemoryLog
    people: list[Person]
    folded: set[int] = field(default_factory=set)
    ask: int = 0

    def _call(self, person: Person, **more: Any) -> Call:
        self.ask += 1
        identifier = Identifier("email", person.identifier)
        return Call(person.name, "identify", identifier, "member", person.wanted, 0, self.ask, SLOT, 1, **more)

    def want(self, person: Person, value: bool, backfill: bool = False) -> None:
        person.wanted = value
        if person.open and person.asked == value:
            return
        if not person.open and (person.told == value or person.refused == value):
            return
        call = self._call(person, replaces=person.open, before=person.before, backfill=backfill)
        person.open, person.asked = call.ask, value
        self.log.append(call)

    def take_back(self, person: Person) -> None:
        """Like a filter that matches no more: what was not sent is not to be."""
        if not person.open or person.asked is None:
            return
        self.ask += 1
        person.asked = None
        self.log.append(Call(person.name, "cancel", NOBODY, "", None, 0, self.ask))

    def fold(self, now: float) -> None:
        for ask, receipt in list(self.log.receipts.items()):
            if ask in self.folded or receipt.kind == "cancel":
                continue
            self.folded.add(ask)
            person = next(each for each in self.people if each.name == receipt.profile_id)
            value = receipt.value == digest(True)
            if receipt.fate == "delivered":
                person.told, person.exposed, person.refused = value, value, None
                if person.stray > receipt.at:
                    person.told, person.exposed = None, True
            else:
                if receipt.fate == "rejected":
                    person.refused = value
                if receipt.maybe:
                    person.told, person.exposed = None, True
            person.stray = max(person.stray, receipt.unsure_until)
            if person.open == ask:
                person.open, person.asked = 0, None
        for person in self.people:
            if person.stray <= now:
                person.stray = 0.0
            news = person.told != person.wanted and person.refused != person.wanted
            if news and not person.open and (person.wanted or person.exposed):
                self._again(person)

    def _again(self, person: Person) -> None:
        call = self._call(person, before=None if person.told is None else digest(person.told), not_before=person.stray)
        person.open, person.asked = call.ask, person.wanted
        self.log.append(call)


class World:
    """One history."""

    def __init__(self, seed: int, late: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.chance = Random(seed)
        self.vendor = Vendor(self.chance, late)
        self.people = [Person(f"p{n}", f"i{n}") for n in range(3)]
        if self.chance.random() < 0.4:
            self.vendor.bad.add("i0")
        if not late:  # an identifier that goes from one person to another
            self.people += [Person("giver", "moves"), Person("heir", "moves")]
        self.decider = Decider(MemoryLog(), self.people)
        self.caps = MemoryCaps()
        self.loop = VirtualLoop(1_000_000.0, rest=0.004)
        monkeypatch.setattr("transforms.sending.pump.Attempts", type("Mine", (Offline,), {"vendor": self.vendor}))

    def pump(self, follow: bool) -> Pump:
        connected = webhook()
        delivery = delivery_of(
            [], connected, OPTIONS, log=self.decider.log, caps=self.caps, follow=follow, destination=Hook(*connected)
        )
        return Pump(delivery, {}, self.loop.time, self.loop.wall)

    async def live(self) -> None:
        for _ in range(self.chance.randint(1, 2)):
            await self._life(self.pump(follow=True))
        self.vendor.well = True
        for _ in range(30):  # runs, each when those before may have left something
            await self.pump(follow=False).run()
            self.decider.log = self.decider.log.kill()
            self.decider.fold(self.loop.wall())
            if not self.decider.log.waiting():
                break
            await asyncio.sleep(LANDING)

    async def _life(self, pump: Pump) -> None:
        running = asyncio.create_task(pump.run())
        for _ in range(self.chance.randint(5, 40)):
            await asyncio.sleep(self.chance.choice([0.0, 0.01, 0.06, 0.2, 1.0, 3.0]))
            self._step()
        if self.chance.random() < 0.5:
            pump.stop()
            await running
            self.decider.log = self.decider.log.kill()
            return
        self.decider.log = self.decider.log.kill()  # what the old one writes from now on is lost
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await running

    def _step(self) -> None:
        decider = self.decider
        person = self.chance.choice(self.people[:3])
        match self.chance.choice(["want", "want", "want", "back", "fold", "move"]):
            case "want":
                decider.want(person, self.chance.random() < 0.5, self.chance.random() < 0.2)
            case "back":
                if person.wanted == (person.told or False):
                    decider.take_back(person)
            case "fold":
                decider.fold(self.loop.wall())
            case "move" if not self.vendor.late:
                giver, heir = self.chance.sample(self.people[3:], 2)
                decider.want(giver, False)
                decider.want(heir, True)

    def check(self) -> None:
        log = self.decider.log
        assert set(log.calls) == set(log.receipts), "every call ends with one receipt"
        for identifier, asks in self.vendor.landed.items():
            if not self.vendor.late:
                firsts = list(dict.fromkeys(asks))
                assert firsts == sorted(firsts), f"{identifier}: {asks} landed out of order"
        for person in self.people[:3]:
            if person.identifier not in self.vendor.bad:
                assert person.wanted == self.vendor.has.get(person.identifier, False), person
        if not self.vendor.late:  # whoever was asked about last has it right
            asks = self.vendor.landed.get("moves", [])
            told = [ask for ask in asks if log.receipts[ask].fate == "delivered"]
            assert not told or log.calls[max(told)].value == self.vendor.has["moves"] or max(asks) > max(told)


WORLDS = int(os.environ.get("SENDER_WORLDS", "6"))  # of each kind; more look deeper


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("seed", range(WORLDS))
def test_the_vendor_ends_with_what_is_wanted(seed: int, late: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(seed, late, monkeypatch)
    try:
        world.loop.run_until_complete(world.live())
    finally:
        world.loop.run_until_complete(world.loop.shutdown_default_executor())
        world.loop.close()
    world.check()
