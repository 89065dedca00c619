"""Channel: one connection's delivery. Reads the outbox, fills batches, converses, settles."""

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from hashlib import blake2b
from random import Random
from typing import Any, NamedTuple

from msgspec.structs import replace

from schemas.calls import Call
from schemas.outcomes import Delivered, Expired, Final, Later, Outcome, Rejected
from schemas.report import Report, Sample
from schemas.secret import MissingSecret
from transforms.assignment import Delivery
from transforms.destinations import find
from transforms.destinations.contract import Destination, units
from transforms.exchange import Exchange
from transforms.logic.canary import Canary
from transforms.logic.caps import effective_limits, per
from transforms.logic.estimate import Estimate
from transforms.logic.lanes import Item, Lanes, halves
from transforms.logic.limit import Limiter
from transforms.logic.retry import backoff, outlived
from transforms.talk import Ended, Halved, Interrupted, Stopped, Talk, Unanswered

_LOG = logging.getLogger("profilecast.sender")
_SAMPLES = 5  # rejected calls shown per connection
KEPT = "sender"  # what the sender itself keeps in a connection's memory


class Tried(NamedTuple):
    """What became so far, in this run, of a call without a final outcome."""

    attempts: int = 0  # requests that carried it
    maybe: bool = False  # one of them had no answer
    put_off: int = 0  # how often
    since: float = 0.0  # when it was first put off


_NEVER = Tried()


class Channel:
    """Delivers one outbox; `run` once, `stop` whenever."""

    def __init__(
        self,
        delivery: Delivery,
        limiters: dict[Hashable, Limiter],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`limiters`: of the process, by credential."""
        self.report = delivery.report
        self._delivery, self._options, self._journal = delivery, delivery.options, delivery.journal
        self._memory, self._limiters, self._clock, self._wall = delivery.memory, limiters, clock, wall
        kind = find(delivery.connection.destination)
        if kind is None:
            raise ValueError(f"no destination {delivery.connection.destination!r}")
        self._destination = kind(delivery.workspace, delivery.connection)
        self._limits = effective_limits(kind, delivery.connection)
        self.report.cap = next(
            (per(limit.requests, limit.seconds) for limit in self._limits if not limit.endpoint), "none"
        )
        self._prepares = kind.prepare is not Destination.prepare
        self._lanes = Lanes(self._destination.route, self._destination.unit, self._destination.batch_of)
        self._window = max(2_000, self._destination.batch.items * (self._destination.concurrency + 1))
        self._chunks: Iterator[list[Item]] = iter(())
        self._more = True  # in the outbox
        self._chunk: Iterator[Item] = iter(())
        self._admitted = 0
        self._filling = asyncio.Lock()
        kept = self._memory.get(KEPT, {})
        first = (delivery.first_sync or kept.get("canary", False)) and not kind.counts_only
        self._canary = Canary(self.report.calls, self._options.max_reject_rate) if first else None
        self._preparing = asyncio.Lock()
        self._prepared: set[tuple[str, str]] = set()
        self._parked: list[asyncio.Future[None]] = []
        self._workers: list[asyncio.Task[None]] = []
        self._tried: dict[int, Tried] = {}  # by place in the outbox
        self._random = Random()
        self._estimate: Estimate | None = None  # while it runs
        self._stopping = False

    def stop(self) -> None:
        """Take no new work; what is in flight ends within a bounded time."""
        if self._stopping:
            return
        self._stopping = True
        if self._workers:
            self._exchange.stop()
            asyncio.get_running_loop().call_later(self._options.finish_within, self._cut)
        self._unpark()

    def _cut(self) -> None:
        for worker in self._workers:
            worker.cancel()

    async def run(self) -> Report:
        """Until the outbox is done, the connection stops, or the run is stopping."""
        self._started = self._clock()
        try:
            self._limiter = self._share_limiter()
            self._exchange = Exchange(
                self._destination,
                self._options,
                self._limiter,
                self.report,
                self._unpark_one,
                self._remember,
                self._clock,
            )
            self._estimate = Estimate(self._limiter.rate, self._started)
            await self._deliver_all()
        except Exception as error:  # a fault in one vendor's module must not end the others' deliveries
            self._fail(error)
        finally:
            await self._close()
        return self.report

    def _share_limiter(self) -> Limiter:
        """The limiter of the credential, with what earlier runs sent."""
        account = blake2b(repr(self._destination.account()).encode(), digest_size=16).digest()
        now, wall = self._clock(), self._wall()
        limiter = self._limiters.setdefault((self._destination.slug, account), Limiter((), now))
        limiter.join(self._limits, now)
        limiter.restore(self._memory.get(KEPT, {}).get("limiter", {}), now, wall)
        return limiter

    async def _close(self) -> None:
        now, report = self._clock(), self.report
        estimate, self._estimate = self._estimate, None
        if estimate:
            await self._exchange.close()
            curve = self._limiter.learned.curve
            since = self._started
            report.curve = [(round(at - since, 1), share, why) for at, share, why in curve if at >= since]
            report.estimate_error = estimate.error(now)
        try:
            if estimate:
                self._remember(ahead=False)
            self._journal.close()
        except OSError as error:
            self._fail(error)
        report.seconds, report.rate, report.seconds_left = round(now - self._started, 3), 0.0, 0.0
        report.shared_identifiers = self._lanes.shared

    def _remember(self, ahead: bool = True) -> None:
        kept: dict[str, Any] = {}
        if saved := self._limiter.save(self._clock(), self._wall(), ahead):
            kept["limiter"] = saved
        if self._canary:  # it goes on with the next run
            kept["canary"] = True
        self._memory.pop(KEPT, None)
        if kept:
            self._memory[KEPT] = kept
        self._journal.remember(self._memory)

    def _fail(self, error: Exception) -> None:
        match error:
            case Ended() | MissingSecret():
                why = str(error)
            case OSError():
                why = f"its journal or outbox cannot be used: {error.strerror}"
            case _:
                _LOG.error("connection %s failed", self.report.connection, exc_info=error)
                why = f"internal error: {type(error).__name__}; see the log"
        self.report.stopped = self.report.stopped or why

    def look(self) -> Report:
        """The report so far, with the rate and the time left as of now. From any thread."""
        report, estimate = self.report, self._estimate  # it may end meanwhile
        if estimate:
            now = self._clock()
            settled = report.calls - report.pending
            report.rate = estimate.rate(now, report.requests)
            report.seconds_left = estimate.left(now, report.rate, report.requests, settled, report.pending)
        return report

    # -- workers: as many conversations at once as the vendor bears

    async def _deliver_all(self) -> None:
        self._chunks = self._delivery.outbox.read()
        number = min(self._destination.concurrency, max(1, self.report.calls))
        self._workers = [asyncio.create_task(self._work()) for _ in range(number)]
        await asyncio.wait(self._workers)

    async def _work(self) -> None:
        try:
            while (batch := await self._next()) is not None:
                await self._converse(batch)
        except (asyncio.CancelledError, Interrupted):  # if cut off, what is in flight may have arrived
            return
        except Exception as error:  # of one worker: it ends the connection, not the process's sender
            self._fail(error)
            self.stop()

    async def _next(self) -> list[Item] | None:
        """The next batch, when it is worth forming one; None: there is no more work."""
        while not self._stopping:
            batch = None
            if self._exchange.room:
                await self._fill()
                batch = self._lanes.take(self._clock())
            if batch:
                self._unpark_one()
                return batch
            if self._lanes.waiting or not self._lanes.idle or self._lanes.next_due() is not None:
                await self._park()
            elif self._go_on():
                await self._fill()
            else:
                break
        self._unpark()
        return None

    def _go_on(self) -> bool:
        """Nothing is left in the lanes: whether there is more in the outbox. Raises Stopped after a bad canary."""
        if self._canary and (verdict := self._canary.verdict()):
            if self._more and self.report.pending:
                raise Stopped(f"{verdict}; mend that, or raise --max-reject-rate, and run again; the rest waits")
            return False
        if self._canary:
            self._canary = None
            self._remember()
        return self._more

    async def _fill(self) -> None:
        """Read the outbox as far as the window, or the canary, goes; between chunks others have their turn."""
        if not self._hungry:
            return
        async with self._filling:  # one worker at a time
            while self._hungry:
                self._admit()
                await asyncio.sleep(0)

    @property
    def _hungry(self) -> bool:
        full = self._lanes.waiting >= self._window or self._canary_is_out
        return self._more and not full and not self._stopping

    @property
    def _canary_is_out(self) -> bool:
        return self._canary is not None and self._admitted >= self._canary.size

    def _admit(self) -> None:
        """What is left of the chunk, to the lanes."""
        refused = []
        for item in self._chunk:
            if rejection := self._destination.check(item.call):
                refused.append((item, rejection))
                continue
            self._lanes.add(item)
            self._admitted += 1
            if self._canary_is_out:
                break
        else:
            chunk = next(self._chunks, None)
            self._more = chunk is not None
            self._chunk = iter(chunk or ())
        self._settle(refused, ours=True)

    async def _park(self) -> None:
        """Until something changes, or a lane is due that there is room for: room that comes back wakes one too."""
        loop = asyncio.get_running_loop()
        parked = loop.create_future()
        self._parked.append(parked)
        due = self._lanes.next_due() if self._exchange.room else None
        timer = loop.call_later(max(0.0, due - self._clock()), self._unpark_one) if due is not None else None
        try:
            await parked
        finally:
            if timer:
                timer.cancel()

    def _unpark_one(self) -> None:
        while self._parked:
            parked = self._parked.pop()
            if not parked.done():
                parked.set_result(None)
                return

    def _unpark(self) -> None:
        while self._parked:
            self._unpark_one()

    # -- one batch

    async def _converse(self, batch: list[Item]) -> None:
        """Deliver a batch, and make its lanes ready again."""
        profiles = {item.call.profile_id for item in batch}
        held: set[str] = set()  # lanes that are not to go on
        try:
            if self._prepares:
                await self._prepare(batch)
                batch = self._recheck(batch)
            if batch:
                await self._deliver(batch, held)
        finally:
            self._lanes.done(profiles - held)
            self._unpark_one()

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
            self._remember()

    def _recheck(self, batch: list[Item]) -> list[Item]:
        """`prepare`, or a conversation, may have found out more than was known when the calls were admitted."""
        checked = [(item, self._destination.check(item.call)) for item in batch]
        self._settle([(item, rejected) for item, rejected in checked if rejected], ours=True)
        return [item for item, rejected in checked if not rejected]

    async def _deliver(self, batch: list[Item], held: set[str]) -> bool:
        """Whether the vendor took all of it."""
        calls, refs = [item.call for item in batch], [item.ref for item in batch]
        converse = self._destination.forget if calls[0].kind == "delete" else self._destination.deliver
        size = len(units(self._destination, calls)) if len(calls) > 1 else 1
        talk = Talk(size, lambda: self._journal.sent(refs))
        try:
            outcomes = await self._exchange.talk(converse(calls, self._memory), talk)
        except Ended as end:
            if talk.begun and not end.maybe:
                self._journal.unsent(refs)
            if isinstance(end, Halved):
                self._note(batch, talk)
                await self._halve(batch, held)
                return False
            self._leave(batch, end, held)
            if isinstance(end, Stopped):
                raise
            return False
        self._note([i for i, told in zip(batch, outcomes, strict=False) if not isinstance(told, Delivered)], talk)
        self._conclude(batch, outcomes, held)
        return all(isinstance(outcome, Delivered) for outcome in outcomes)

    def _note(self, items: list[Item], talk: Talk) -> None:
        """These calls were carried by a conversation, and not delivered."""
        for item in items:
            tried = self._tried.get(item.ref, _NEVER)
            self._tried[item.ref] = tried._replace(
                attempts=tried.attempts + talk.attempts, maybe=tried.maybe or talk.maybe
            )

    async def _halve(self, batch: list[Item], held: set[str]) -> None:
        """There is something bad in the batch: find it, and deliver the rest."""
        first, second = halves(batch, self._destination.unit)
        taken = await self._deliver(first, held)
        waits = [item for item in second if item.call.profile_id in held]
        self._lanes.postpone(waits, self._clock())  # behind what was put off, or left, of their profiles
        second = [item for item in second if item.call.profile_id not in held]
        if taken and len(units(self._destination, [item.call for item in second])) > 1:
            await self._halve(second, held)  # so it is in here
        elif second:
            await self._deliver(second, held)

    def _leave(self, batch: list[Item], end: Ended, held: set[str]) -> None:
        """No outcome: the calls wait for the next run, and their lanes with them; or it was their last chance."""
        if end.since is not None:
            since = self._wall() - (self._clock() - end.since)
            batch = [item for item in batch if not self._expire(item, since, end.words, end.maybe)]
            if batch and not end.maybe:
                self._journal.unreached([item.ref for item in batch], since)
        left = {item.call.profile_id for item in batch}
        held.update(left)
        self._lanes.close(left)

    def _expire(self, item: Item, began: float, words: str, maybe: bool = True) -> bool:
        """Whether it did."""
        if not outlived(item.call.since, began, self._wall(), self._options.give_up_after):
            return False
        maybe = maybe or self._tried.get(item.ref, _NEVER).maybe
        self._settle([(item, Expired(words, maybe))])
        return True

    def _conclude(self, batch: list[Item], outcomes: Sequence[Outcome], held: set[str]) -> None:
        if len(outcomes) != len(batch):
            raise ValueError(f"{self._destination.slug}: {len(outcomes)} outcomes for {len(batch)} calls")
        final: list[tuple[Item, Final]] = []
        later: dict[str, list[tuple[Item, Later]]] = {}
        for item, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Later):
                later.setdefault(item.call.profile_id, []).append((item, outcome))
            else:
                final.append((item, outcome))
        self._settle(final)
        for profile, items in later.items():
            self._put_off(profile, items, held)

    def _put_off(self, profile: str, items: list[tuple[Item, Later]], held: set[str]) -> None:
        """Calls the vendor could not take now: only their lane waits."""
        now = self._clock()
        waits, left, trouble = [0.0], list[Item](), now
        for item, outcome in items:
            before = self._tried[item.ref]
            tried = before._replace(put_off=before.put_off + 1, since=before.since if before.put_off else now)
            self._tried[item.ref] = tried
            waits.append(backoff(tried.put_off, outcome.after, self._random))
            trouble = min(trouble, tried.since)
            left.append(item)
        if now + max(waits) - trouble > self._options.retry_for:
            began = self._wall() - (now - trouble)
            left = [
                item for item, outcome in items if not self._expire(item, began, self._exchange.mask(outcome.words))
            ]
            if left:
                held.add(profile)
                self._lanes.close([profile])
            return
        held.add(profile)
        self._lanes.postpone(left, now + max(waits))

    def _settle(self, items: Sequence[tuple[Item, Final]], ours: bool = False) -> None:
        """Final outcomes; `ours`: no request was made."""
        if not items:
            return
        masked: list[tuple[Item, Final]] = [
            (item, self._with_history(item, told) if isinstance(told, Rejected) else told) for item, told in items
        ]
        self._journal.settled(masked)
        for item, outcome in masked:
            self._tried.pop(item.ref, None)
            self._count(item, outcome)
            if self._canary and not ours:
                self._canary.settled(outcome)

    def _with_history(self, item: Item, told: Rejected) -> Rejected:
        """A rejection without secrets, and with what was tried before it."""
        tried = self._tried.get(item.ref, _NEVER)
        return replace(told, words=self._exchange.mask(told.words), maybe=tried.maybe, attempts=tried.attempts)

    def _count(self, item: Item, outcome: Final) -> None:
        report = self.report
        if isinstance(outcome, Delivered):
            report.delivered += 1
            report.unconfirmed += outcome.unconfirmed
        elif isinstance(outcome, Expired):
            report.expired += 1
        else:
            report.rejected[outcome.reason] = report.rejected.get(outcome.reason, 0) + 1
            if len(report.samples) < _SAMPLES:
                report.samples.append(Sample(outcome.reason, item.call.key, _without(outcome.words, item.call)))


def _without(words: str, call: Call) -> str:
    """The vendor's words for a printed sample: without the person's identifier."""
    return words.replace(call.identifier.id, "<identifier>")[:200]
