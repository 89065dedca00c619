"""Channel: one connection's delivery. Reads the outbox, and keeps as many batches under way as the vendor bears."""

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Iterator
from hashlib import blake2b
from typing import Any

from schemas.outcomes import Final
from schemas.report import Report
from schemas.secret import MissingSecret
from transforms.assignment import Delivery
from transforms.batches import Batches, Watch
from transforms.destinations import find
from transforms.exchange import Exchange
from transforms.logic.canary import Canary
from transforms.logic.caps import at_once, effective_limits, per
from transforms.logic.estimate import Estimate
from transforms.logic.lanes import Item, Lanes
from transforms.logic.limit import Limiter
from transforms.talk import Ended, Interrupted, Stopped

_LOG = logging.getLogger("profilecast.sender")
_FEWEST = 2_000  # profiles read ahead beside those in a request; each is about 2 KB of memory
_CALLS_EACH = 10  # calls read ahead of one profile, on average, before it hides the others
_LONGEST_READ = 1.0  # seconds: then what is ready goes, in batches that are not full
KEPT = "sender"  # what the sender itself keeps in a connection's memory


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
        self._limits = effective_limits(kind.limits, delivery.connection)
        self.report.cap = next(
            (per(limit.requests, limit.seconds) for limit in self._limits if not limit.endpoint), "none"
        )
        self._lanes = Lanes(self._destination.route, self._destination.unit, self._destination.batch_of)
        self._at_once = at_once(self._destination.at_once(), self._limits)
        self._chunks: Iterator[list[Item]] = iter(())
        self._more = True  # in the outbox
        self._chunk: Iterator[Item] = iter(())
        self._admitted = 0
        self._filling = asyncio.Lock()
        kept = self._memory.get(KEPT, {})
        first = (delivery.first_sync or kept.get("canary", False)) and not kind.counts_only
        self._canary = Canary(self.report.calls, self._options.max_reject_rate) if first else None
        self._tasks: set[asyncio.Task[None]] = set()
        self._held = 0  # conversations
        self._beginning = 0  # of them: those that ask for their turn in the loop's next step
        self._change: asyncio.Future[None] | None = None  # that is waited for
        self._estimate: Estimate | None = None  # while it runs
        self._stopping = False
        self._cutting: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        """Take no new work; what is in flight ends within a bounded time."""
        if self._stopping:
            return
        self._stopping = True
        if self._estimate:
            self._exchange.stop()
            self._cutting = asyncio.get_running_loop().call_later(self._options.finish_within, self._cut)
        self._moved()

    def _cut(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def run(self) -> Report:
        """Until the outbox is done, the connection stops, or the run is stopping."""
        self._started = self._clock()
        try:
            self._limiter = self._share_limiter()
            self._exchange = Exchange(
                self._destination,
                self._options,
                self._limiter,
                self._at_once,
                self.report,
                self._moved,
                self._remember,
                self._clock,
                self._wall,
            )
            watch = Watch(self._clock, self._wall, self._moved, self._remember, self._heard)
            self._batches = Batches(self._delivery, self._destination, self._exchange, self._lanes, watch)
            self._estimate = Estimate(self._limiter.rate, self._started)
            if self._canary:  # killed in its middle, it goes on with the next run
                self._remember()
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
        if self._cutting:
            self._cutting.cancel()
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

    # -- as many conversations at once as the vendor bears

    async def _deliver_all(self) -> None:
        self._chunks = self._delivery.outbox.read()
        try:
            while not self._stopping:
                if batch := await self._next():
                    self._beginning += 1
                    self._tasks.add(asyncio.create_task(self._converse(batch)))
                elif self._stopping:  # since the outbox was read
                    break
                elif self._beginning or (self._hungry and self._room):  # when they have asked, or more is read,
                    await asyncio.sleep(0)  # it is known whether another one may begin
                elif self._lanes.waiting or not self._lanes.idle or self._lanes.next_due() is not None:
                    await self._changed()
                elif self._go_on():
                    await self._fill()
                else:
                    break
        except Exception as error:  # a fault in reading or batching must not end the others' deliveries
            self._end(error)
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _converse(self, batch: list[Item] | None) -> None:
        """Hold one conversation after the other, while there is room."""
        self._beginning -= 1
        try:
            while batch:
                try:
                    await self._batches.converse(batch)
                finally:
                    self._held -= 1
                batch = await self._next()
        except (asyncio.CancelledError, Interrupted):  # if cut off, what is in flight may have arrived
            pass
        except Exception as error:  # a fault in one conversation ends this connection, not the sender
            self._end(error)
        finally:
            self._tasks.discard(asyncio.current_task())
            self._moved()

    def _end(self, error: Exception) -> None:
        """End the connection."""
        self._fail(error)
        self.stop()

    @property
    def _room(self) -> bool:
        return not self._stopping and self._exchange.room(self._held, self._beginning)

    def _may_go(self, route: str) -> bool:
        return self._exchange.may_go(route, self._beginning)

    async def _next(self) -> list[Item] | None:
        """The next batch, when it is worth forming one; its conversation counts as held from now on."""
        if self._hungry and self._room:
            await self._fill()
        batch = self._lanes.take(self._clock(), self._may_go) if self._room else None
        if batch:
            self._held += 1
            self._moved()
        return batch

    def _go_on(self) -> bool:
        """Nothing is left in the lanes: whether there is more in the outbox. Raises Stopped after a bad canary."""
        if self._canary and (verdict := self._canary.verdict()):
            if self._more and self.report.pending:
                mend = "mend that, or raise --max-reject-rate, and run again for the rest"
                raise Stopped(f"{verdict}; {mend}; those that were rejected go with profilecast replay")
            return False
        if self._canary:
            self._canary = None
            self._remember()
        return self._more

    async def _fill(self) -> None:
        """Read a chunk of the outbox, or as many as two full batches need; between chunks others have their turn."""
        async with self._filling:  # one conversation at a time
            longest = self._clock() + _LONGEST_READ
            while self._hungry:
                self._admit()
                await asyncio.sleep(0)
                if self._lanes.plenty or (self._lanes.ready and self._clock() > longest):
                    break

    @property
    def _hungry(self) -> bool:
        """Whether the outbox is to be read further: as far as the window, or the canary, goes."""
        window = max(_FEWEST, 4 * self._lanes.largest)
        full = self._lanes.ready >= window or self._lanes.waiting >= _CALLS_EACH * window
        return self._more and not (full or self._canary_is_out or self._stopping)

    @property
    def _canary_is_out(self) -> bool:
        return self._canary is not None and self._admitted >= self._canary.size

    def _heard(self, outcome: Final) -> None:
        if self._canary:
            self._canary.settled(outcome)

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
        self._batches.settle(refused, ours=True)

    async def _changed(self) -> None:
        """Until something has, or a lane is due that there is room for."""
        loop = asyncio.get_running_loop()
        self._change = loop.create_future()
        due = self._lanes.next_due() if self._room else None
        timer = loop.call_later(max(0.0, due - self._clock()), self._moved) if due is not None else None
        try:
            await self._change
        finally:
            if timer:
                timer.cancel()

    def _moved(self) -> None:
        """Something has changed, which matters where there is room: room that comes back is a change too."""
        if self._change and not self._change.done() and (self._stopping or self._room):
            self._change.set_result(None)
