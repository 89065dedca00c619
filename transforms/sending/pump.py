"""Pump: one connection's delivery, from its log to its vendor.

    log ─ _read ─► lanes ─ _take ─► conversations, as many as the vendor and its cap bear

`_read` keeps the lanes filled, `_take` makes a batch of what is first in them whenever a conversation may begin.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Hashable
from contextlib import suppress
from math import inf
from typing import Any

from schemas.report import Report
from transforms.destinations import find
from transforms.destinations.contract import Destination
from transforms.logic.blame import Blame, Keys
from transforms.logic.caps import at_once, cap_said, effective_limits
from transforms.logic.estimate import Estimate
from transforms.logic.inflight import room
from transforms.logic.lanes import Item, Lanes
from transforms.logic.limit import Limiter
from transforms.sending.admission import Admission
from transforms.sending.attempts import Attempts, Watch
from transforms.sending.books import Books
from transforms.sending.conversation import Conversations
from transforms.sending.deferred import Flushes
from transforms.sending.delivery import Delivery
from transforms.sending.first_calls import FirstCalls
from transforms.sending.needs import MEMORY
from transforms.sending.reading import Reading
from transforms.sending.replacing import Replacing, unknown
from transforms.sending.suspects import Accusation
from transforms.sending.talk import TURNED, Interrupted, Stopped, unwritable
from transforms.sending.turns import Turns
from transforms.sending.words import moment, stopped_by

_LOG = logging.getLogger("profilecast.sender")
_CHUNK = 1_000  # calls of one read
_LONGEST_READ = 1.0  # seconds: then what is ready goes, in batches that are not full
_LOOK = 0.5  # seconds between looks for news in the log
_SOON = 0.25  # of that, when the last look found some
_SELDOM = 300.0  # the same, at most, while nothing can be sent
_SURE = 5.0  # seconds between looks into a log that seems to have nothing new
_SHARE = 10  # one read in so many is of the backfill, while there are live calls
_BYTES = 64_000_000  # of calls that one connection may hold, and fewer where many share the process
_ROUTES = "acknowledged"  # the fact that holds routes of which something was taken
_TENANT = "tenant"  # the fact that holds the vendor account that all this was learnt of
_LIVE, _BACKFILL = False, True


class Pump:
    """Delivers one log; `run` once, `stop` whenever, on the loop's thread."""

    def __init__(
        self,
        delivery: Delivery,
        limiters: dict[Hashable, Limiter],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        most: int = 2_048,
        memory: Callable[[], int] = lambda: _BYTES,
    ) -> None:
        """`limiters`: of the process, by vendor account. `most`: conversations at once. `memory`: bytes of calls."""
        self.report, self._options = delivery.report, delivery.options
        self._delivery, self._limiters, self._clock, self._wall, self._most = delivery, limiters, clock, wall, most
        self._share = memory
        self.over = False
        self._reading = Reading(delivery.log, delivery.connection.name)
        self._started = clock()
        self._stopping = self._draining = False
        self._ready = False  # it has everything that it needs
        self._sharing: Limiter | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._running: Counter[str] = Counter()  # of these, by route
        self._cutting: asyncio.TimerHandle | None = None
        self._estimate: Estimate | None = None  # while it runs
        self._reads = 0
        self._filling: float | None = None  # since when the lanes are being filled
        self._looked = 0.0
        self._sure = -inf  # when the log was looked into
        self._stamp: object = None  # of the log then
        self._mended = wall()
        self._looks_again, self._requests = _LOOK, 0
        self._counted = 0  # of `report.calls`: settled when the log was counted

    @property
    def asking(self) -> bool:
        """Whether a request has no whole answer yet."""
        return self._ready and self._attempts.out > 0

    def stop(self) -> None:
        """Take no new work. Requests in flight end within a bounded time."""
        if self._stopping:
            return
        self._stopping = True
        if self._ready:
            self._attempts.stop()
            self._cutting = asyncio.get_running_loop().call_later(self._options.finish_within, self._cut)
            self._moved()

    def _cut(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def run(self) -> Report:
        """Deliver until nothing more can go, the connection stops, or the sender is stopping."""
        self._started = self._clock()
        self._change, self._room = asyncio.Event(), asyncio.Event()
        try:
            await self._make()
            self._ready = True
            if not await self._hands_over():
                await self._deliver()
        except Exception as error:  # a fault in one vendor's module must not end the others' deliveries
            self._fail(error)
        finally:
            await self._close()
        return self.report

    async def _hands_over(self) -> bool:
        """Whether somebody has to decide first, since nobody is in a list any more. Lists to be emptied are."""
        self.report.remade |= self._unknown
        over = bool(self._unknown)
        if not over and self._replacing.any and not self._stopping:
            doubtful = await self._reading.do(self._delivery.log.doubtful)
            task = asyncio.create_task(self._replacing.run(doubtful))
            self._tasks.add(task)
            await asyncio.wait([task])
            self._tasks.discard(task)
            with suppress(Interrupted, asyncio.CancelledError):
                over = task.result()
        self._admission.handed_over = over
        return over

    # -- what it needs

    async def _make(self) -> None:
        delivery = self._delivery
        destination = self._destination = delivery.destination or _made(delivery)
        facts, kept, calls = await self._reading.do(
            lambda: (delivery.log.facts(), delivery.caps.load(), delivery.log.waiting())
        )
        self.report.calls = calls
        learnt, tenant = facts.get(_TENANT), destination.tenant()
        if other := learnt not in (None, tenant):  # what was learnt of another vendor account counts for no other
            facts = {name: fact for name, fact in facts.items() if name not in (MEMORY, _ROUTES)}
        limits = effective_limits(type(destination).limits, delivery.connection)
        self.report.cap = cap_said(type(destination).limits, delivery.connection)
        self._limiter = self._share_limiter(destination, limits, kept)
        self._at_once = min(self._most, at_once(destination.concurrency, limits))
        objects = type(destination).unit is not Destination.unit
        self._lanes = Lanes(destination.route, destination.unit, destination.batch_of, objects)
        self._saving = asyncio.Lock()
        self._turns = Turns(self._limiter)
        keys, destination.memory = Keys(), dict(facts.get(MEMORY) or {})
        self._routes = frozenset(facts.get(_ROUTES) or ())
        self._blame = Blame(self._routes)
        flushes = Flushes(delivery.active, facts, delivery.ahead, delivery.follow)
        self._admission = Admission(delivery, destination, self._lanes, keys, flushes, facts, self._wall)
        self._books = self._admission.books = Books(
            delivery.log,
            delivery.connection.name,
            delivery.active,
            self.report,
            self._broken,
            self._admission.durable,
            self._options.mask_dead_letters,
        )
        if learnt != tenant:
            self._books.remember({_TENANT: tenant, **({MEMORY: None, _ROUTES: None} if other else {})})
        watch = Watch(
            self._moved, self._turns.learn, self._save, self._saving.locked, self._clock, self._wall, delivery.owned
        )
        self._attempts = Attempts(
            destination, self._options, self._limiter, self._at_once, self.report, watch, delivery.tokens
        )
        self._conversations = Conversations(
            delivery, destination, self._attempts, self._admission, self._lanes, self._books, self._blame, keys,
            facts, self._clock, self._wall, self._begin,
        )  # fmt: skip
        self._unknown = unknown(delivery, facts)
        self._replacing = Replacing(delivery, destination, self._attempts, self._books, facts, self._wall)
        self._estimate = Estimate(self._limiter.rate, self._started)
        rate = 1.0 if destination.counts_only else self._options.max_reject_rate
        self._first = FirstCalls(delivery.active, facts, self.report, rate, self._books)
        self._admission.heard, self._first.passed = self._first.heard, self._room.set

    def _share_limiter(self, destination: Destination, limits: list[Any], kept: dict[str, Any]) -> Limiter:
        """The limiter of the vendor account, with what earlier processes sent."""
        now, wall = self._clock(), self._wall()
        account = destination.slug, destination.limit_group(), self._options.gateway
        limiter = self._limiters.setdefault(account, Limiter((), now))
        if not limiter.users:
            limiter.begin(now)
        limiter.users += 1
        self._sharing = limiter
        limiter.join(limits, now)
        limiter.restore(kept, now, wall)
        return limiter

    # -- the log → lanes

    async def _read(self) -> None:
        try:
            while not (self._stopping or self._draining):
                self._read_what_came_due()
                backfill = self._wanted()
                if backfill is None:
                    await self._look()
                else:
                    await self._read_on(backfill)
                if self._admission.handed_over:
                    self._draining = True
                    self._moved()
        except Exception as error:
            self._end(error)

    def _wanted(self) -> bool | None:
        """Which class to read on; None: neither."""
        admission, lanes, budget = self._admission, self._lanes, min(_BYTES, self._share())
        if self._first.room(admission.admitted) == 0 or admission.put_off.full:
            return None
        live = not admission.ended[_LIVE] and lanes.room(_LIVE, budget)
        may = admission.ended[_LIVE] or admission.at[_BACKFILL] < admission.at[_LIVE]
        backfill = may and not admission.ended[_BACKFILL] and lanes.room(_BACKFILL, budget)
        if live and backfill:
            return self._reads % _SHARE == _SHARE - 1
        return True if backfill else False if live else None

    async def _read_on(self, backfill: bool) -> None:
        if self._filling is None:
            self._filling = self._clock()
        self._reads += 1
        room = self._first.room(self._admission.admitted)
        most = _CHUNK if room is None else min(_CHUNK, room)
        self._admission.reading()
        rows = await self._reading.rows(backfill, self._admission.at[backfill], most)
        self._admission.read(backfill, rows)
        self._moved()

    def _read_what_came_due(self) -> None:
        admission, now = self._admission, self._wall()
        for holding in (admission.flushes, admission.dated, admission.landing, admission.put_off):
            if (first := holding.come(now)) is not None:
                admission.read_again(first)
        if admission.flushes.closes() <= now:
            admission.end_flushes()
        if self._delivery.follow and admission.blocked and now - self._mended > self._options.retry_stopped:
            self._mended = now
            self._conversations.needs.forget()
            admission.unblock()

    async def _look(self) -> None:
        """Wait while there is nothing to read: until there is room, something is due, or there may be news."""
        if self._filling is not None:
            self._filling = None
            self._moved()
        self._room.clear()
        admission = self._admission
        due = min(admission.scheduled(), admission.put_off.next()) - self._wall()
        try:
            async with asyncio.timeout(max(0.0, min(self._looks_again, due))):
                await self._room.wait()
        except TimeoutError:
            pass
        if self._clock() - self._looked >= self._looks_again and not self._stopping:
            waits = self._tasks or not self._lanes.idle
            stuck = waits and self.report.requests == self._requests
            self._looks_again = min(_SELDOM if stuck else _LOOK, 2 * self._looks_again)
            self._requests = self.report.requests
            await self._look_closely()

    async def _look_closely(self) -> None:
        """Where the log seems to have changed, and now and then in any case."""
        self._looked = self._clock()
        stamp = self._delivery.log.stamp()
        if stamp is None or stamp != self._stamp or self._looked - self._sure >= _SURE:
            self._stamp, self._sure = stamp, self._looked
            await self._look_for_news()

    async def _look_for_news(self) -> bool:
        """Whether there is something to read that was not there before."""
        self._looked = self._clock()
        self._tell_scheduled()
        newest, workspace = await self._reading.news()
        admission = self._admission
        if workspace > self._delivery.number:
            admission.handed_over = True
        if newest > max(admission.at.values()):
            admission.ended = {_LIVE: False, _BACKFILL: False}
            self._looks_again = _SOON * _LOOK
            self._room.set()
            return True
        return False

    @property
    def _read_all(self) -> bool:
        return all(self._admission.ended.values())

    # -- lanes → conversations

    async def _deliver(self) -> None:
        reader = asyncio.create_task(self._read())
        try:
            while not await self._over():
                self._change.clear()
                self._take()
                await self._wait()
        except Exception as error:
            self._end(error)
        except asyncio.CancelledError:  # the process ends
            self._cut()
            reader.cancel()
            raise
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._stopping = True
        self._room.set()
        await reader

    def _take(self) -> None:
        """Begin as many conversations as may begin now."""
        while self._may_begin():
            full = self._filling is not None and self._clock() - self._filling < _LONGEST_READ
            batch = self._lanes.take(self._clock(), self._may_go, full)
            if batch is None:
                break
            self._begin(batch)
            self._room.set()

    def _may_begin(self) -> bool:
        if self._stopping or self._draining:
            return False
        running = len(self._tasks)
        if self._attempts.breaker.open:
            return not running
        return room(
            running, self._turns.waiting, self._limiter.rate, self._at_once
        ) and self._conversations.suspects.stand(running)

    def _may_go(self, route: str) -> bool:
        most = self._lanes.size_of(route).at_once
        return (not most or self._running[route] < most) and self._turns.may_go(route)

    def _begin(self, batch: list[Item], known: Accusation | None = None) -> None:
        route = batch[0].route
        turned = self._turns.begin(route)
        self._running[route] += 1
        task = asyncio.create_task(self._converse(batch, route, known, turned))
        self._tasks.add(task)

    async def _converse(
        self, batch: list[Item], route: str, known: Accusation | None, turned: Callable[[], None]
    ) -> None:
        def moved() -> None:
            turned()
            self._moved()

        TURNED.set(moved)
        try:
            await self._conversations.run(batch, known)
        except (asyncio.CancelledError, Interrupted):
            pass
        except Exception as error:  # a fault in one conversation ends this connection, not the sender
            self._end(error)
        finally:
            turned()
            self._running[route] -= 1
            self._tasks.discard(asyncio.current_task())
            self._moved()

    async def _wait(self) -> None:
        """Wait until something has changed, or a call that was put off is due."""
        if self._change.is_set():
            return
        due = self._lanes.next_due() if not self._tasks or self._may_begin() else None
        timer = None
        if due is not None:
            timer = asyncio.get_running_loop().call_later(max(0.0, due - self._clock()), self._moved)
        try:
            await self._change.wait()
        finally:
            if timer:
                timer.cancel()

    def _moved(self) -> None:
        self._change.set()

    async def _over(self) -> bool:
        """Whether nothing more can go. Raises Stopped."""
        if self._tasks:
            return False
        if self._stopping or self._draining:
            return True
        judged = self._first.room(self._admission.admitted) == 0
        if not self._lanes.stuck or self._filling is not None or not (self._read_all or judged):
            return False
        self._conversations.suspects.weigh_last()  # what waits may be behind them
        if self._tasks or not self._lanes.stuck:
            return False
        self._first.judge(not self._read_all)
        if not self._read_all:
            self._room.set()
            return False
        if self._delivery.follow or self._admission.put_off.next() < inf:
            return False
        await self._books.flushed()  # what is settled is not read again
        return not await self._look_for_news() and self._read_all

    # -- the end

    def _end(self, error: Exception) -> None:
        """Let the connection stop, with this error."""
        self._fail(error)
        self.stop()

    def _broken(self, error: OSError) -> None:
        self._end(Stopped(unwritable(error)))

    def _fail(self, error: Exception) -> None:
        why = str(error) if isinstance(error, Stopped) else stopped_by(error)
        if not isinstance(error, Stopped | OSError):
            _LOG.debug("connection %s failed", self.report.connection, exc_info=error)
        self.report.stopped = self.report.stopped or why

    def _save(self, anyway: bool) -> "asyncio.Task[None]":
        return asyncio.create_task(self._keep(anyway))

    async def _keep(self, anyway: bool, ahead: bool = True) -> None:
        """Keep what long windows counted, and waits, for whoever sends next."""
        async with self._saving:
            if not anyway and not self._limiter.unsaved:
                return
            kept = self._limiter.save(self._clock(), self._wall(), ahead)
            try:
                await self._reading.do(lambda: self._delivery.caps.save(kept))
            except Stopped as error:
                self._end(error)

    async def _close(self) -> None:
        if self._cutting:
            self._cutting.cancel()
        report, estimate = self.report, self._estimate
        self._estimate = None
        try:
            if self._ready:
                await self._attempts.close()
                self._tell_the_rest()
                await self._keep(anyway=True, ahead=False)
                await self._books.flushed()
            waiting = await self._reading.do(self._delivery.log.waiting)
            report.calls = max(report.settled + waiting, report.settled)
            await self._reading.do(self._delivery.log.close)
        except Exception as error:
            self._fail(error)
        finally:
            self._reading.close()
            if self._sharing:
                self._sharing.users -= 1
            self.over = True
        now = self._clock()
        report.seconds, report.rate, report.seconds_left = round(now - self._started, 3), 0.0, 0.0
        if estimate:
            report.estimate_error = estimate.error(now)

    def _tell_the_rest(self) -> None:
        """Say in the report what waits, and write down what is known of it."""
        report, admission = self.report, self._admission
        self._books.put_aside(admission.items.values())
        if (routes := self._conversations.suspects.acknowledged) - self._routes:
            self._books.remember({_ROUTES: sorted(routes | self._routes)})
        self._tell_scheduled()
        self._attempts.tell_pace()
        report.handed_over = admission.handed_over
        if (held := self._limiter.on_hold(self._clock())) > 0:
            report.held_until = moment(self._wall() + held)
        report.shared_identifiers = self._lanes.shared
        report.notes = {self._attempts.mask(words): calls for words, calls in self._destination.notes.items()}
        report.traffic = self._attempts.traffic.rows()
        since = self._started
        curve = self._limiter.learned.curve
        report.curve = [(round(at - since, 1), share, why) for at, share, why in curve if at >= since]

    def _tell_scheduled(self) -> None:
        report, admission = self.report, self._admission
        report.scheduled = admission.flushes.number + admission.dated.number + admission.landing.number
        flush = admission.flushes.next() + self._delivery.ahead  # as the clock says that lists go by
        first = min(flush, admission.dated.next(), admission.landing.next())
        report.scheduled_until = moment(first) if first < inf else ""

    def look(self) -> Report:
        """The report so far, with the rate and the time left as of now. From any thread."""
        report, estimate = self.report, self._estimate  # it may end meanwhile
        if estimate:
            now = self._clock()
            report.rate = estimate.rate(now, report.requests)
            report.seconds_left = estimate.remaining(
                now, report.rate, report.requests, report.settled, max(0, report.pending)
            )
            self._attempts.tell_pace()
        return report


def _made(delivery: Delivery) -> Destination:
    kind = find(delivery.connection.destination)
    if kind is None:
        raise Stopped(f"there is no destination {delivery.connection.destination!r}")
    return kind(delivery.workspace, delivery.connection)
