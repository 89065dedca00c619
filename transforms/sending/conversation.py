"""Conversation: delivers one batch. What it needs is prepared, the vendor is asked, every call gets its outcome.

batch ─ prepare ─ deliver ─┬─ outcomes ─► settled · put off · blocked, with the others of their key
                           ├─ refused as a whole, or not answered alone ─► divided, until it is known whose fault
                           ├─ who asks is refused ─► suspects: they wait until others show whose fault it is
                           └─ no answer ─► left for later, or expired
"""

import asyncio
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextvars import ContextVar
from itertools import groupby, zip_longest
from random import Random

from msgspec.structs import replace

from schemas.calls import Call
from schemas.outcomes import Blocked, Delivered, Expired, Final, Later, Outcome, Rejected, Submitted, Superseded
from transforms.destinations.contract import Destination, target_of
from transforms.logic.blame import Blame, Keys
from transforms.logic.lanes import Item, Lanes
from transforms.logic.netting import may_land_until
from transforms.logic.retry import backoff, outlived
from transforms.logic.splitting import PARTLY, TAKEN, Answer, Found, Splitting
from transforms.sending.admission import FAULTS, Admission
from transforms.sending.attempts import Attempts
from transforms.sending.books import Books
from transforms.sending.delivery import Delivery
from transforms.sending.log import Attempt
from transforms.sending.needs import Needs
from transforms.sending.suspects import Accusation, Suspects
from transforms.sending.talk import Accused, Divided, Ended, Overtaken, Stopped, Talk, Unanswered
from transforms.sending.words import fault, module_fails, place

_OF_A_VALUE = ("invalid_value", "unknown_field", "too_large", "refused")  # reasons that may be of one key alone
_LONG = 120.0  # seconds: what is put off for longer leaves memory
_AGAIN = 300.0  # seconds until what was given up is tried again, where the sender goes on
_NOT_YET = "the vendor could not take it yet"
_PART = 2  # attempts at a part of a batch that is divided because it is not answered


class Conversations:
    """Delivers the batches of one connection, several at a time."""

    def __init__(
        self,
        delivery: Delivery,
        destination: Destination,
        attempts: Attempts,
        admission: Admission,
        lanes: Lanes,
        books: Books,
        blame: Blame,
        keys: Keys,
        facts: Iterable[str],
        clock: Callable[[], float],
        wall: Callable[[], float],
        begin: Callable[[list[Item], Accusation], None],
    ) -> None:
        """`facts`: their names. `begin` is given calls that are to be divided, since one of them is at fault."""
        self._report, self._options, self._follow = delivery.report, delivery.options, delivery.follow
        self._destination, self._attempts, self._admission, self._lanes = destination, attempts, admission, lanes
        self._books, self._keys = books, keys
        self._clock, self._wall, self._begin = clock, wall, begin
        self.suspects = Suspects(destination, admission, blame, delivery.report, self._later, self._theirs)
        self.needs = Needs(destination, attempts, keys, books, self.suspects, delivery.report, facts, clock, wall)
        self._faults = 0
        self._in_jobs: dict[int, str] = {}  # jobs that are not over, by ask
        self._random = Random()

    async def run(self, batch: list[Item], known: Accusation | None = None) -> None:
        """Deliver a batch; each of its calls is settled, or waits, when it ends. `known`: it was refused already."""
        _BATCH.set(batch[0].out)
        try:
            if known:
                await self._divide(batch, Answer("refused", known.refusal.words), known)
                return
            if self.needs.any:
                await self.needs.prepare([item.call for item in batch])
            if batch := self._recheck(batch, first=True):
                await self._deliver(batch)
        finally:
            self._put_down(batch)

    def _put_down(self, batch: list[Item]) -> None:
        """Put calls without an outcome back; where the sender ends, the next one reads them again."""
        for item in batch:
            if _mine(item) and item.call.ask in self._admission.items and not self.suspects.has(item):
                self._lanes.put_back(item, 0.0)

    # -- ahead of it

    def _recheck(self, batch: list[Item], first: bool = False) -> list[Item]:
        """The calls that are still to be sent, for more may be known now than when they were admitted.

        `first`: they come from their lanes; otherwise something may have been put back that is to go before them.
        """
        waiting, scopes = self._keys.waiting, self.suspects.scopes
        good = []
        for item in batch:
            call = item.call
            if item.settled or not _mine(item):
                continue
            if (waiting and target_of(call) in waiting) or item.route in scopes:
                self._admission.block(item)
            elif item.taken_back and not item.job:
                self._settle(item, Superseded())
            elif self._admission.waits_until(call) > self._wall():
                self._admission.put_aside_until_landed(item)
            elif self._admission.is_behind(item):
                continue
            elif not first and self._lanes.behind(item):
                self._lanes.put_back(item, 0.0)
            elif self.needs.any and (rejected := self._check(call)):
                self._settle(item, rejected)
            else:
                good.append(item)
        return good

    def _check(self, call: Call) -> Rejected | None:
        try:
            return self._destination.check(call)
        except Exception as error:
            return fault(error)

    # -- one conversation

    async def _deliver(self, batch: list[Item]) -> None:
        answer = await self._tell(batch)
        if answer.what in ("refused", "unanswered"):
            await self._divide(batch, answer)

    async def _tell(self, batch: list[Item], part: bool = False) -> Answer:
        """One conversation about all of it. A `part` of one unit that is rejected is not settled yet."""
        talk = self._talk(batch, part)
        try:
            outcomes = await self._converse(batch, talk)
        except Overtaken:
            self._note(batch, talk)
            left = self._recheck(batch)
            return await self._tell(left, part) if left else PARTLY
        except Divided as end:
            self._note(batch, talk)
            return Answer("unanswered" if end.unanswered else "refused", self._mask(end.words), end.large)
        except Accused as end:
            self._note(batch, talk)
            accusation = self.suspects.accusation(batch, end, talk.items, talk.sent or 0.0, self._clock())
            if part:
                for item in batch:
                    item.accused = accusation
                return Answer("refused", end.words)
            self.suspects.weigh(accusation)
            return PARTLY
        except Ended as end:
            self._note(batch, talk)
            self._unanswered(batch, end)
            if not isinstance(end, Unanswered):
                raise
            return PARTLY
        except asyncio.CancelledError:  # cut off: what is in flight may have arrived
            talk.maybe = talk.maybe or talk.sent is not None or talk.partly
            talk.gave_up = self._clock() if talk.maybe else talk.gave_up
            self._note(batch, talk)
            raise
        except Exception as error:
            return self._at_fault(batch, talk, error)
        self._faults = 0
        self.needs.remember()
        return await self._conclude(batch, outcomes, talk, part)

    def _talk(self, batch: list[Item], part: bool) -> Talk:
        objects = len({item.unit for item in batch}) if len(batch) > 1 else 1
        route = batch[0].route
        talk = Talk(objects, lambda: self._books.mark(batch), self._lanes.size_of(route).bytes, route)
        if part:
            talk.tries = _PART
        talk.overtaken = lambda: any(item.taken_back and not item.job for item in batch)
        talk.failed = lambda status, words: self._books.failed(batch, Attempt(self._wall(), status, words))
        return talk

    async def _converse(self, batch: list[Item], talk: Talk) -> Sequence[Outcome]:
        if batch[0].job:
            return await self._collect(batch, talk)
        calls = [item.call for item in batch]
        converse = self._destination.forget if calls[0].kind == "delete" else self._destination.deliver
        outcomes = await self._attempts.converse(converse(calls), talk)
        if len(outcomes) != len(batch):
            raise ValueError(f"{len(outcomes)} outcomes for {len(batch)} calls")
        return outcomes

    async def _collect(self, batch: list[Item], talk: Talk) -> list[Outcome]:
        """Ask about the jobs that these calls are in."""
        outcomes: dict[int, Outcome] = {}
        for job, of_job in groupby(sorted(batch, key=lambda item: item.job), lambda item: item.job):
            items = list(of_job)
            try:
                answers = await self._attempts.converse(self._destination.collect(job, [i.call for i in items]), talk)
            except (Divided, Accused) as end:
                if isinstance(end, Accused) and end.meaning == "credentials":
                    raise Stopped(self.suspects.words(end)) from end
                answers = [Later(words=str(end))] * len(items)
            for item, outcome in zip(items, answers, strict=True):
                outcomes[item.call.ask] = outcome
                if not isinstance(outcome, Submitted):  # the job has ended, or is lost
                    if item.doubt and isinstance(outcome, Delivered | Rejected):  # it says what became of the call
                        item.maybe, item.until = item.doubt
                    item.job, item.doubt = "", None
                    self._in_jobs.pop(item.call.ask, None)
                    item.route = self._lanes.route_of(item)
        talk.maybe, talk.gave_up = False, None  # a question tells the vendor nothing
        return [outcomes[item.call.ask] for item in batch]

    def _note(self, items: Sequence[Item], talk: Talk) -> None:
        """Note that a conversation carried these calls, and that they have no outcome yet."""
        self._carried(items, talk)
        self._books.unmark(items)

    def _carried(self, items: Sequence[Item], talk: Talk) -> None:
        until = self._wall() if talk.maybe else 0.0
        if talk.gave_up is not None:
            until = may_land_until(until - (self._clock() - talk.gave_up))
        for item in items:
            item.attempts += talk.attempts
            item.maybe = item.maybe or talk.maybe
            item.until = max(item.until, until)
        if talk.gave_up is not None:
            self._admission.given_up(items)

    def _at_fault(self, batch: list[Item], talk: Talk, error: Exception) -> Answer:
        """The destination's module failed. What it had sent by then may have arrived."""
        talk.maybe = talk.maybe or talk.partly
        self._note(batch, talk)
        self._faults += 1
        if self._faults >= FAULTS and not self.suspects.acknowledged:
            raise Stopped(module_fails(place(error)))
        return Answer("refused", f"{_FAULT}{place(error)}")

    async def _conclude(self, batch: list[Item], outcomes: Sequence[Outcome], talk: Talk, part: bool) -> Answer:
        """Take the vendor's word on each call. Calls that it refused together are sent again, to tell them apart."""
        self._carried(batch, talk)
        taken = Delivered | Submitted
        delivered = [item for item, outcome in zip(batch, outcomes, strict=True) if isinstance(outcome, taken)]
        if delivered:
            self._succeeded(delivered, talk)
        pairs = list(zip(batch, outcomes, strict=True))
        rejected = [(item, outcome) for item, outcome in pairs if isinstance(outcome, Rejected)]
        if part and talk.items == 1 and len(rejected) == len(pairs):
            for item, refused in rejected:
                item.refused = self._masked(refused)
            self._books.unmark(batch)
            return Answer("refused", self._mask(rejected[0][1].words))
        apart = self._refused_together(pairs) if len(pairs) > talk.items else []
        again = {item.call.ask for each in apart for item in each}
        now, waits = self._clock(), dict[Hashable, float]()
        for item, outcome in pairs:
            if isinstance(outcome, Later):
                self._put_off(item, outcome, waits)
            elif isinstance(outcome, Submitted):
                self._submitted(item, outcome, now)
            elif item.call.ask not in again and not isinstance(outcome, Blocked):
                self._outcome(item, outcome)
        self._report.jobs = len({*self._in_jobs.values()})
        if len(delivered) < len(batch):
            self._books.unmark(batch)
        for item, outcome in pairs:
            if isinstance(outcome, Blocked):
                await self._blocked(item, outcome, now if talk.sent is None else talk.sent)
        for each in apart:
            if alone := self._recheck(each):
                await self._deliver(alone)
        return TAKEN if len(delivered) == len(batch) else PARTLY

    def _outcome(self, item: Item, outcome: Outcome) -> None:
        match outcome:
            case Delivered():
                self._settle(item, outcome, by_vendor=True)
            case Rejected():
                self._settle(item, self._masked(outcome), by_vendor=True)
            case _:
                self._settle(item, Rejected("fault", f"{type(outcome).__name__} is no outcome"))

    def _succeeded(self, items: list[Item], talk: Talk) -> None:
        """The vendor took something: refusals of requests sent before are their records' own."""
        if self._follow:  # a run says at its end why something waits
            self._report.trouble = ""
        if self.needs.any:
            for key in {target_of(item.call) for item in items}:
                self._keys.delivered(key)
        self.suspects.succeeded(talk.sent or 0.0, talk.route)

    def _refused_together(self, pairs: Sequence[tuple[Item, Outcome]]) -> list[list[Item]]:
        """Calls that the vendor refused as one object, for what may be wrong with one of them only.

        To be told apart: in rounds of one call of each object.
        """
        objects: dict[Hashable, list[tuple[Item, Outcome]]] = {}
        for item, outcome in pairs:
            objects.setdefault(item.unit, []).append((item, outcome))
        together = [
            [item for item, _ in found]
            for found in objects.values()
            if len(found) > 1 and all(isinstance(o, Rejected) and o.reason in _OF_A_VALUE for _, o in found)
        ]
        return [[item for item in each if item] for each in zip_longest(*together)]

    # -- refused as a whole

    async def _divide(self, batch: list[Item], answer: Answer, accusation: Accusation | None = None) -> None:
        """Find whose fault it is, by sending parts."""
        items = {item.call.ask: item for item in batch}
        for item in batch:
            item.refused = item.accused = None
        splitting = Splitting(_units(batch), answer)
        while (asks := splitting.next()) is not None:
            part = self._recheck([items[ask] for ask in asks])
            if len(part) < len(asks):
                splitting.drop(set(asks) - {item.call.ask for item in part})
                continue
            splitting.answered(await self._tell(part, part=True))
        if splitting.verdict == "whole":
            self._whole(self._still([items[ask] for ask in splitting.waiting]), splitting.words, answer, accusation)
            return
        for found in splitting.bad:
            self._bad(self._still([items[ask] for ask in found.calls]), found)
        waits: dict[Hashable, float] = {}
        for found in splitting.later:
            for item in self._still([items[ask] for ask in found.calls]):
                self._put_off(item, Later(words=found.words), waits)

    def _bad(self, unit: list[Item], found: Found) -> None:
        """One unit that was refused alone."""
        if unit and isinstance(unit[0].accused, Accusation):
            self.suspects.weigh(unit[0].accused)
            return
        for item in unit:
            if target_of(item.call) in self._keys.waiting:  # meanwhile others have shown that it is not the record
                self._admission.block(item)
            else:
                self._settle(item, item.refused or _refused(found.words, found.large), by_vendor=True)

    def _still(self, items: list[Item]) -> list[Item]:
        return [item for item in items if _mine(item) and not item.settled]

    def _whole(self, items: list[Item], words: str, answer: Answer, accusation: Accusation | None) -> None:
        """The fault is none of the records': the calls of the key wait, or those of the connection."""
        if accusation and items:
            self.suspects.weigh(accusation._replace(refusal=accusation.refusal._replace(split=True), items=items))
            return
        if answer.what == "unanswered":
            waits: dict[Hashable, float] = {}
            for item in self._still(items):
                self._put_off(item, Later(words=words), waits)
            return
        if words.startswith(_FAULT):
            if self.suspects.acknowledged:
                for item in self._still(items):
                    self._settle(item, _refused(words, False))
                return
            raise Stopped(module_fails(words.removeprefix(_FAULT)))
        keys = {target_of(item.call) for item in items}
        if len(keys) > 1 or not self.suspects.acknowledged:
            raise Stopped(f"the vendor refuses whatever it is told: {words}; fix that; its calls wait")
        for key in keys:
            self.needs.block(key, words)
        for item in self._still(items):
            self._admission.block(item)

    def _theirs(self, accusation: Accusation) -> None:
        """The refusal is the fault of these calls: find whose, by dividing them."""
        items = [item for item in accusation.items if item.out and not item.settled]
        if accusation.refusal.units > 1 and items:
            self._begin(items, accusation)
            return
        for item in items:
            self._settle(item, accusation.outcome, by_vendor=True)

    async def _blocked(self, item: Item, outcome: Blocked, sent: float) -> None:
        """What the call's key needs at the vendor was missing or refused at `sent`."""
        if not await self.needs.blocked(item, replace(outcome, words=self._mask(outcome.words)), sent):
            self._admission.block(item)
        elif again := self._recheck([item]):
            self._lanes.put_back(again[0], 0.0)

    # -- what waits

    def _unanswered(self, batch: list[Item], end: Ended) -> None:
        """The batch has no outcome: its calls wait for later, with their lanes, or expire."""
        if end.since is not None:
            since = self._wall() - (self._clock() - end.since)
            for item in self._still(batch):
                item.since = item.since or since
                self._expire(item, self._mask(end.said))
        if not isinstance(end, Unanswered):
            return
        self._report.trouble = str(end)
        for item in self._still(batch):
            if item.taken_back:
                self._settle(item, Superseded())
            else:
                self._admission.put_aside(item, self._later())

    def _later(self) -> float | None:
        return self._wall() + _AGAIN if self._follow else None

    def _expire(self, item: Item, words: str) -> bool:
        """Expire a call that has been tried for too long; whether it has."""
        if not outlived(item.since, item.since, self._wall(), self._options.give_up_after):
            return False
        self._settle(item, Expired(words, item.maybe, item.attempts))
        return True

    def _put_off(self, item: Item, outcome: Later, waits: dict[Hashable, float]) -> None:
        """Put off a call that the vendor could not take now; its lanes wait with it.

        `waits`: when the others of its batch are due again, so that they stay together.
        """
        if item.taken_back:
            self._settle(item, Superseded())
            return
        now, wall = self._clock(), self._wall()
        item.put_off += 1
        if item.put_off == 1:
            item.trouble = now
        due = waits.setdefault((item.put_off, outcome.after), now + backoff(item.put_off, outcome.after, self._random))
        wait = due - now
        words = self._mask(outcome.words)
        self._books.failed([item], Attempt(wall, 0, words or _NOT_YET))
        item.since = item.since or wall - (now - item.trouble)
        if now + wait - item.trouble > self._options.retry_for:
            self._report.trouble = words or self._report.trouble
            if not self._expire(item, words):
                self._admission.put_aside(item, self._later())
        elif wait > _LONG:
            self._admission.put_aside(item, wall + wait)
        else:
            self._lanes.put_back(item, due)

    def _submitted(self, item: Item, outcome: Submitted, now: float) -> None:
        """The vendor has the call in a job: it is asked about that later, by whatever process delivers then."""
        if outcome.job != item.job or not item.trouble:
            item.job, item.trouble = outcome.job, now
        item.doubt = item.doubt or (item.maybe, item.until)
        self._in_jobs[item.call.ask] = item.job
        item.maybe, item.put_off, item.since = True, 0, 0.0
        item.until = may_land_until(self._wall() + outcome.after)
        if not self._follow and now + outcome.after - item.trouble > self._options.retry_for:
            self._admission.put_aside(item, None)
        elif outcome.after > _LONG:
            self._admission.put_aside(item, self._wall() + outcome.after)
        else:
            self._books.put_aside([item])
            self._lanes.put_back(item, now + outcome.after)

    # -- the end

    def _settle(self, item: Item, outcome: Final, by_vendor: bool = False) -> None:
        if not item.settled:
            self._admission.settle(item, outcome, by_vendor)

    def _masked(self, outcome: Rejected) -> Rejected:
        return replace(outcome, words=self._mask(outcome.words))

    def _mask(self, words: str) -> str:
        return self._attempts.mask(words)


_FAULT = "\x00"  # ahead of words that are ours: no vendor's begin so


_BATCH: ContextVar[object] = ContextVar("batch")  # the batch of the conversation that a task holds


def _mine(item: Item) -> bool:
    """Whether a call is still in the conversation: what was put back may be in another one already."""
    return item.out is not None and item.out is _BATCH.get()


def _units(batch: list[Item]) -> list[tuple[int, ...]]:
    found: dict[Hashable, list[int]] = {}
    for item in batch:
        found.setdefault(item.unit, []).append(item.call.ask)
    return [tuple(asks) for asks in found.values()]


def _refused(words: str, large: bool) -> Rejected:
    if words.startswith(_FAULT):
        return Rejected("fault", words.removeprefix(_FAULT))
    return Rejected("too_large" if large else "refused", words)
