"""Batches: one batch is delivered: what it needs is prepared, the vendor is told, every call gets its outcome."""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from enum import Enum
from itertools import zip_longest
from random import Random
from typing import NamedTuple

from msgspec.structs import replace

from schemas.calls import Call
from schemas.dead_letters import without
from schemas.outcomes import Delivered, Expired, Final, Later, Outcome, Rejected
from schemas.report import Sample
from transforms.assignment import Delivery
from transforms.destinations.contract import Destination, units
from transforms.exchange import Exchange
from transforms.logic.lanes import Item, Lanes, halves
from transforms.logic.retry import backoff, outlived
from transforms.talk import Ended, Halved, Stopped, Talk, Unanswered

_SAMPLES = 5  # rejected calls shown per connection
_OF_A_VALUE = ("invalid_value", "unknown_field", "too_large", "refused")  # reasons that may be of one key alone


class Tried(NamedTuple):
    """What became so far, in this run, of a call without a final outcome."""

    attempts: int = 0  # requests that carried it
    maybe: bool = False  # one of them had no answer
    put_off: int = 0  # how often
    since: float = 0.0  # when it was first put off


_NEVER = Tried()


class Told(Enum):
    """What a batch came to."""

    TAKEN = "all of it is delivered"
    PARTLY = "its calls have their outcomes, or wait"
    REFUSED = "the vendor refused it as a whole"
    TOO_LARGE = "in bytes"


class Watch(NamedTuple):
    """What the channel hears, and tells."""

    clock: Callable[[], float]
    wall: Callable[[], float]
    moved: Callable[[], None]  # lanes may be ready
    save: Callable[[], None]  # the memory has changed
    heard: Callable[[Final], None]  # a vendor's word on a call


class Batches:
    """Delivers the batches of one connection, several at a time."""

    def __init__(
        self, delivery: Delivery, destination: Destination, exchange: Exchange, lanes: Lanes, watch: Watch
    ) -> None:
        self._report, self._options, self._journal = delivery.report, delivery.options, delivery.journal
        self._memory, self._destination, self._exchange, self._lanes = delivery.memory, destination, exchange, lanes
        self._watch = watch
        self._prepares = type(destination).prepare is not Destination.prepare
        self._preparing = asyncio.Lock()
        self._prepared: set[tuple[str, str]] = set()
        self._tried: dict[int, Tried] = {}  # by place in the outbox
        self._open: dict[str, dict[int, Item]] = {}  # by profile and place: in a batch, and not settled yet
        self._random = Random()

    async def converse(self, batch: list[Item]) -> None:
        """Deliver a batch, and make its lanes ready again."""
        profiles = {item.call.profile_id for item in batch}
        for item in batch:
            self._open.setdefault(item.call.profile_id, {})[item.ref] = item
        held: set[str] = set()  # lanes that are not to go on
        try:
            if self._prepares:
                await self._prepare(batch)
                batch = self._recheck(batch)
            if batch:
                await self._deliver(batch, held)
        finally:
            for profile in profiles - held:
                self._open.pop(profile, None)
            self._lanes.done(profiles - held)

    async def _prepare(self, batch: list[Item]) -> None:
        """Before the first call of a key: make or find at the vendor what it needs."""
        if all((item.call.kind, item.call.key) in self._prepared for item in batch):
            return
        async with self._preparing:
            fresh: dict[tuple[str, str], Call] = {}
            for call in (item.call for item in batch):
                if call.kind != "delete" and (call.kind, call.key) not in self._prepared:
                    fresh.setdefault((call.kind, call.key), call)
            samples = list(fresh.values())
            if not samples:
                return
            try:
                await self._exchange.talk(self._destination.prepare(samples, self._memory), Talk(1))
            except Unanswered as error:
                raise Stopped(f"what its calls need could not be prepared: {error}") from error
            self._prepared.update((call.kind, call.key) for call in samples)
            self._watch.save()

    def _recheck(self, batch: list[Item]) -> list[Item]:
        """`prepare`, or a conversation, may have found out more than was known when the calls were admitted."""
        checked = [(item, self._destination.check(item.call)) for item in batch]
        self.settle([(item, rejected) for item, rejected in checked if rejected], ours=True)
        return [item for item, rejected in checked if not rejected]

    async def _deliver(self, batch: list[Item], held: set[str]) -> None:
        match await self._tell(batch, held):
            case Told.REFUSED:
                await self._find(batch, held)
            case Told.TOO_LARGE:
                await self._halve(batch, held, bad=False)

    async def _tell(self, batch: list[Item], held: set[str]) -> Told:
        """One conversation about all of it."""
        calls, refs = [item.call for item in batch], [item.ref for item in batch]
        converse = self._destination.forget if calls[0].kind == "delete" else self._destination.deliver
        objects = len(units(self._destination, calls)) if len(calls) > 1 else 1
        route = self._destination.route(calls[0])
        most = self._destination.batch_of(route).bytes
        talk = Talk(objects, lambda: self._journal.sent(refs), most, route)
        try:
            outcomes = await self._exchange.talk(converse(calls, self._memory), talk)
        except Ended as end:
            if talk.begun and not end.maybe:
                self._journal.unsent(refs)
            self._note(batch, talk)
            if isinstance(end, Halved):
                return Told.TOO_LARGE if end.large else Told.REFUSED
            self._leave(batch, end, held)
            if isinstance(end, Stopped):
                raise
            return Told.PARTLY
        if len(outcomes) != len(batch):
            raise ValueError(f"{self._destination.slug}: {len(outcomes)} outcomes for {len(batch)} calls")
        return await self._conclude(list(zip(batch, outcomes, strict=True)), talk, held)

    async def _conclude(self, told: list[tuple[Item, Outcome]], talk: Talk, held: set[str]) -> Told:
        """The vendor has spoken of each call; those it refused together are told apart."""
        delivered = [(item, outcome) for item, outcome in told if isinstance(outcome, Delivered)]
        if len(delivered) == len(told):
            self.settle(delivered)
            return Told.TAKEN
        failed = [item for item, outcome in told if not isinstance(outcome, Delivered)]
        self._note(failed, talk)
        apart = self._refused_together(told) if len(told) > talk.items else []
        again = {item.ref for part in apart for item in part}
        if again and not talk.maybe:
            self._journal.unsent(list(again))
        self._settle_or_put_off([(item, outcome) for item, outcome in told if item.ref not in again], held)
        for part in apart:
            if alone := self._unheld(part, held):
                await self._deliver(alone, held)
        return Told.PARTLY

    # -- refused as a whole

    async def _find(self, batch: list[Item], held: set[str]) -> None:
        """There is something bad in the batch: find it by halves, then deliver all the rest together.

            refused:  1 2 3 4 5 6 7 8 ─ 1 2 3 4 ─ 1 2 ─ 1        where 1 is bad,
            rest:                                       2 … 8    log₂ n + 2 requests more, at most

        If there is more that is bad, the rest is only halved.
        """
        aside: list[Item] = []
        while (halved := halves(batch, self._destination.unit))[1]:
            first, second = halved
            told = await self._tell(first, held)
            if told is Told.REFUSED:
                batch, aside = first, [*second, *aside]
            elif told is Told.TAKEN:
                batch = self._unheld(second, held)
            else:  # it may have been in there
                if told is Told.TOO_LARGE:
                    await self._halve(first, held, bad=False)
                batch, aside = [], [*second, *aside]
        if batch:
            await self._tell(batch, held)
        if aside := self._unheld(aside, held):
            await self._tell_by_halves(aside, held)

    async def _tell_by_halves(self, batch: list[Item], held: set[str]) -> bool:
        """Whether all of it was taken at once."""
        told = await self._tell(batch, held)
        if told in (Told.REFUSED, Told.TOO_LARGE):
            await self._halve(batch, held, bad=told is Told.REFUSED)
        return told is Told.TAKEN

    async def _halve(self, batch: list[Item], held: set[str], bad: bool) -> None:
        """`bad`: there is something bad in it; otherwise it is only too large."""
        first, second = halves(batch, self._destination.unit)
        taken = await self._tell_by_halves(first, held)
        second = self._unheld(second, held)
        if second and bad and taken:
            await self._halve(second, held, bad)  # so it is in here
        elif second:
            await self._tell_by_halves(second, held)

    def _unheld(self, items: list[Item], held: set[str]) -> list[Item]:
        """Those that may go; the others went back to their lanes with what was put off, or were left with it."""
        return [item for item in items if item.call.profile_id not in held]

    def _refused_together(self, told: Sequence[tuple[Item, Outcome]]) -> list[list[Item]]:
        """Calls that the vendor refused as one object, for what may be wrong with one of them only.

        To be told apart: in rounds of one call of each object.
        """
        objects: dict[Hashable, list[tuple[Item, Outcome]]] = {}
        for item, outcome in told:
            objects.setdefault(self._destination.unit(item.call), []).append((item, outcome))
        together = [
            [item for item, _ in found]
            for found in objects.values()
            if len(found) > 1 and all(isinstance(o, Rejected) and o.reason in _OF_A_VALUE for _, o in found)
        ]
        return [[item for item in each if item] for each in zip_longest(*together)]

    def _note(self, items: list[Item], talk: Talk) -> None:
        """These calls were carried by a conversation, and not delivered."""
        for item in items:
            tried = self._tried.get(item.ref, _NEVER)
            self._tried[item.ref] = tried._replace(
                attempts=tried.attempts + talk.attempts, maybe=tried.maybe or talk.maybe
            )

    def _leave(self, batch: list[Item], end: Ended, held: set[str]) -> None:
        """No outcome: the calls wait for the next run, and their lanes with them; or it was their last chance."""
        if isinstance(end, Unanswered):
            self._report.trouble = str(end)
        if end.since is not None:
            since = self._watch.wall() - (self._watch.clock() - end.since)
            batch = [item for item in batch if not self._expire(item, since, end.words, end.maybe)]
            if batch and not end.maybe:
                self._journal.unreached([item.ref for item in batch], since)
        self._close(batch, held)

    def _close(self, items: list[Item], held: set[str]) -> None:
        """These calls, and what follows them in their lanes, go with the next run."""
        for item in items:
            self._tried.pop(item.ref, None)
        left = {item.call.profile_id for item in items}
        for profile in left:
            self._open.pop(profile, None)
        held.update(left)
        self._lanes.close(left)

    def _expire(self, item: Item, began: float, words: str, maybe: bool = True) -> bool:
        """Whether it did."""
        if not outlived(item.call.since, began, self._watch.wall(), self._options.give_up_after):
            return False
        tried = self._tried.get(item.ref, _NEVER)
        self.settle([(item, Expired(words, maybe or tried.maybe, tried.attempts))])
        return True

    def _settle_or_put_off(self, told: Sequence[tuple[Item, Outcome]], held: set[str]) -> None:
        final: list[tuple[Item, Final]] = []
        later: dict[str, list[tuple[Item, Later]]] = {}
        for item, outcome in told:
            if isinstance(outcome, Later):
                later.setdefault(item.call.profile_id, []).append((item, outcome))
            else:
                final.append((item, outcome))
        self.settle(final)
        for profile, items in later.items():
            self._put_off(profile, items, held)

    def _put_off(self, profile: str, items: list[tuple[Item, Later]], held: set[str]) -> None:
        """Calls the vendor could not take now: only their lane waits, with all that the batch has of it.

        The lane may go on before the batch has come to its end: none of its calls may be left in there.
        """
        now = self._watch.clock()
        waits, trouble = [0.0], now
        for item, outcome in items:
            before = self._tried[item.ref]
            tried = before._replace(put_off=before.put_off + 1, since=before.since if before.put_off else now)
            self._tried[item.ref] = tried
            waits.append(backoff(tried.put_off, outcome.after, self._random))
            trouble = min(trouble, tried.since)
        if now + max(waits) - trouble > self._options.retry_for:
            began = self._watch.wall() - (now - trouble)
            left = [
                item for item, outcome in items if not self._expire(item, began, self._exchange.mask(outcome.words))
            ]
            if left:
                self._report.trouble = self._exchange.mask(items[0][1].words) or self._report.trouble
                self._close(left, held)
            return
        held.add(profile)
        self._lanes.postpone(list(self._open.pop(profile).values()), now + max(waits))
        self._watch.moved()

    def settle(self, items: Sequence[tuple[Item, Final]], ours: bool = False) -> None:
        """Final outcomes; `ours`: no request was made."""
        if not items:
            return
        masked: list[tuple[Item, Final]] = [
            (item, self._with_history(item, told) if isinstance(told, Rejected) else told) for item, told in items
        ]
        self._journal.settled(masked)
        for item, outcome in masked:
            self._tried.pop(item.ref, None)
            self._open.get(item.call.profile_id, {}).pop(item.ref, None)
            self._count(item, outcome)
            if not ours:
                self._watch.heard(outcome)

    def _with_history(self, item: Item, told: Rejected) -> Rejected:
        """A rejection without secrets, and with what was tried before it."""
        tried = self._tried.get(item.ref, _NEVER)
        return replace(told, words=self._exchange.mask(told.words), maybe=tried.maybe, attempts=tried.attempts)

    def _count(self, item: Item, outcome: Final) -> None:
        report = self._report
        if isinstance(outcome, Delivered):
            report.delivered += 1
            report.unconfirmed += outcome.unconfirmed
        elif isinstance(outcome, Expired):
            report.expired += 1
        else:
            report.rejected[outcome.reason] = report.rejected.get(outcome.reason, 0) + 1
            if report.rejected[outcome.reason] == 1 or len(report.samples) < _SAMPLES:
                report.samples.append(Sample(outcome.reason, item.call.key, _without(outcome.words, item.call)))


def _without(words: str, call: Call) -> str:
    """The vendor's words for a printed sample: without the person."""
    return without(words, [call.identifier.id, call.value, call.traits])[:200]
