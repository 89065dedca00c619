"""The sender: one event loop thread per process talks to all vendors at the same time.

What is decided (pace, order, batches, repeats, what a reply means) is in `transforms/logic/` and in
the destinations; here are the sockets, the clock and the waiting.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp

from schemas.calls import Call
from schemas.outcomes import Delivered, Later, Outcome, Rejected
from schemas.report import Report, Sample
from schemas.secret import Secret
from schemas.workspace import Connection, Workspace
from transforms.destinations import find
from transforms.destinations.contract import Destination, Limit, Memory, Reply, Request, units
from transforms.logic.lanes import Item, Lanes, halves
from transforms.logic.limit import Limiter
from transforms.logic.retry import Breaker, backoff

_LOG = logging.getLogger("profilecast.sender")
_SAMPLES = 5  # rejected calls shown per connection


class Journal(Protocol):
    """The durable record of one outbox's outcomes; see `pipeline.journal`."""

    def sent(self, refs: Sequence[int]) -> None:
        """These calls are about to be sent: from now on they may have arrived."""

    def unsent(self, refs: Sequence[int]) -> None:
        """The vendor's answer shows that they did not arrive."""

    def settled(self, items: Sequence[tuple[Item, Delivered | Rejected]]) -> None:
        """These calls have their final outcome."""

    def remember(self, memory: Memory) -> None:
        """What the connection keeps for later runs."""

    def close(self) -> None:
        """Everything is on disk."""


class Outbox(Protocol):
    """The calls of one connection, in order; see `pipeline.outbox`."""

    def size(self) -> int: ...

    def read(self) -> Iterator[list[Item]]: ...


@dataclass(frozen=True)
class SenderOptions:
    """How a run delivers. Seconds."""

    gateway: str = ""  # every vendor request goes to GATEWAY/<vendor host>/<path> instead
    retry_for: float = 600.0  # how long a request is tried again before its calls are left pending
    connect_timeout: float = 10.0
    read_timeout: float = 30.0


@dataclass
class Delivery:
    """One outbox to be delivered."""

    workspace: Workspace
    connection: Connection
    outbox: Outbox
    journal: Journal
    memory: Memory
    options: SenderOptions
    report: Report = field(init=False)

    def __post_init__(self) -> None:
        self.report = Report(
            connection=self.connection.name, destination=self.connection.destination, calls=self.outbox.size()
        )


class Ended(Exception):
    """A conversation that did not come to its end. `partly`: requests of it were answered before."""

    partly = False


class Stopped(Ended):
    """The connection cannot go on; the text says why and what to do."""


class Unanswered(Ended):
    """Repeating was given up: the calls may or may not have arrived."""


class Halved(Ended):
    """The vendor refused the batch as a whole."""


class Interrupted(Ended):
    """The run is stopping, and this request has not been sent."""


class Sender:
    """The process's one sender. `start` deliveries from any thread; `stop` ends all of them softly."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="profilecast-sender", daemon=True)
        self._thread.start()
        self._channels: list[Channel] = []
        self.stopping = False

    def start(self, delivery: Delivery) -> "Future[Report]":
        """Deliver an outbox; the future has its report."""
        channel = Channel(delivery)
        if self.stopping:
            channel.stop()
        self._channels.append(channel)
        return asyncio.run_coroutine_threadsafe(channel.run(), self._loop)

    def stop(self) -> None:
        """Take no new work; what is in flight ends. Safe in a signal handler."""
        self.stopping = True
        for channel in self._channels:
            self._loop.call_soon_threadsafe(channel.stop)

    def reports(self) -> list[Report]:
        """The reports so far, of running deliveries too."""
        return [channel.report for channel in self._channels]

    def reset(self) -> None:
        """Forget earlier deliveries and an earlier stop: a new run begins in this process."""
        self._channels.clear()
        self.stopping = False


_lock = threading.Lock()
_shared: Sender | None = None


def shared_sender() -> Sender:
    """The sender of this process, made when it is first needed."""
    global _shared
    with _lock:
        if _shared is None:
            _shared = Sender()
        return _shared


def effective_limits(destination: type[Destination], connection: Connection) -> list[Limit]:
    """The destination's limits, with the workspace's cap in place of the published one."""
    limits = [limit for limit in destination.limits if limit.endpoint or connection.cap is None]
    if connection.cap is not None:
        limits.insert(0, Limit(connection.cap.requests, connection.cap.seconds, source="workspace"))
    return limits


def said(limit: Limit) -> str:
    """A limit as people write it: `50/s`, `100/10s`, `500000/d`."""
    units = {1.0: "s", 60.0: "m", 3600.0: "h", 86400.0: "d"}
    return f"{limit.requests:g}/{units.get(limit.seconds, f'{limit.seconds:g}s')}"


class Channel:
    """One connection's delivery: reads the outbox, fills batches, converses, settles."""

    def __init__(self, delivery: Delivery, clock: Callable[[], float] = time.monotonic) -> None:
        self.report = delivery.report
        self._delivery = delivery
        self._options = delivery.options
        self._journal = delivery.journal
        self._memory = delivery.memory
        kind = find(delivery.connection.destination)
        if kind is None:
            raise ValueError(f"no destination {delivery.connection.destination!r}")
        self._destination = kind(delivery.workspace, delivery.connection)
        limits = effective_limits(kind, delivery.connection)
        self.report.cap = next((said(limit) for limit in limits if not limit.endpoint), "none")
        self._limiter = Limiter(limits)
        self._breaker = Breaker()
        self._lanes = Lanes(self._destination.route, self._destination.unit, self._destination.batch_of)
        self._window = max(2_000, self._destination.batch.items * (self._destination.concurrency + 1))
        self._gates: dict[str, asyncio.Lock] = {}
        self._renewing = asyncio.Lock()
        self._token = 0  # how often the credentials were renewed
        self._prepared: set[tuple[str, str]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._clock = clock
        self._random = Random()
        self._secrets = list(_secrets(delivery.connection.settings))
        self._session: aiohttp.ClientSession | None = None
        self._started = clock()

    def stop(self) -> None:
        """Take no new work."""
        self._stop.set()
        self._wake.set()

    async def run(self) -> Report:
        """Until the outbox is done, the connection stops, or the run is stopping."""
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._options.connect_timeout, sock_read=self._options.read_timeout
        )
        connector = aiohttp.TCPConnector(limit=self._destination.concurrency, keepalive_timeout=30)
        try:
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as self._session:
                await self._deliver_all()
        except Stopped as why:
            self.report.stopped = str(why)
        except Exception as error:  # a fault in one vendor's module must not end the others' deliveries
            _LOG.exception("connection %s failed", self.report.connection)
            self.report.stopped = f"internal error: {type(error).__name__}; see the log"
        finally:
            for task in self._tasks:
                task.cancel()
            self._journal.remember(self._memory)
            self._journal.close()
            self.report.seconds = round(self._clock() - self._started, 3)
            self.report.shared_identifiers = self._lanes.shared
            self.report.curve = [(round(at - self._started, 1), s, why) for at, s, why in self._limiter.curve]
        return self.report

    # -- reading and batching

    async def _deliver_all(self) -> None:
        chunks = self._delivery.outbox.read()
        more = True
        try:
            while not self._stop.is_set():
                while more and self._lanes.waiting < self._window:
                    more = self._admit(next(chunks, None))
                batch = self._lanes.take() if len(self._tasks) < self._destination.concurrency else None
                if batch:
                    await self._prepare(batch[1])
                    task = asyncio.create_task(self._converse(batch[1]))
                    self._tasks.add(task)
                elif self._tasks:
                    await self._wait()
                else:
                    break
        except Stopped:
            self._stop.set()
            raise
        finally:
            if self._tasks:
                await asyncio.wait(self._tasks)
        for task in self._tasks:
            self._raise(task)

    def _admit(self, chunk: list[Item] | None) -> bool:
        if chunk is None:
            return False
        refused = []
        for item in chunk:
            rejection = self._destination.check(item.call)
            if rejection is None:
                self._lanes.add(item)
            else:
                refused.append((item, rejection))
        self._settle(refused)
        return True

    async def _wait(self) -> None:
        """Until a conversation ends, a delayed call is due, or the run stops."""
        self._wake.clear()
        waker = asyncio.create_task(self._wake.wait())
        done, _ = await asyncio.wait({*self._tasks, waker}, return_when=asyncio.FIRST_COMPLETED)
        waker.cancel()
        for task in done - {waker}:
            self._tasks.discard(task)
            self._raise(task)

    def _raise(self, task: "asyncio.Task[Any]") -> None:
        if not task.cancelled() and (error := task.exception()):
            raise error

    async def _prepare(self, batch: list[Item]) -> None:
        """Before the first call of a key: make or find at the vendor what it needs."""
        fresh = {(i.call.kind, i.call.key): i.call for i in reversed(batch)}
        samples = [call for what, call in fresh.items() if what not in self._prepared and call.kind != "delete"]
        if not samples:
            return
        try:
            await self._talk(self._destination.prepare(samples, self._memory), 1)
        except (Unanswered, Interrupted) as error:
            raise Stopped(f"could not prepare: {error}") from error
        self._prepared.update((call.kind, call.key) for call in samples)
        self._journal.remember(self._memory)

    # -- one batch

    async def _converse(self, batch: list[Item]) -> None:
        profiles = {item.call.profile_id for item in batch}
        try:
            await self._deliver(batch)
        finally:
            self._lanes.done(profiles)
            self._wake.set()

    async def _deliver(self, batch: list[Item]) -> None:
        calls = [item.call for item in batch]
        refs = [item.ref for item in batch]
        talk = self._destination.forget if calls[0].kind == "delete" else self._destination.deliver
        self._journal.sent(refs)
        try:
            outcomes = await self._talk(talk(calls, self._memory), len(units(self._destination, calls)))
        except Ended as end:
            if not isinstance(end, Unanswered) and not end.partly:
                self._journal.unsent(refs)
            if isinstance(end, Stopped):
                raise
            if not isinstance(end, Halved):
                return
            for half in halves(batch, self._destination.unit):
                await self._deliver(half)
            return
        await self._conclude(batch, outcomes or [])

    async def _conclude(self, batch: list[Item], outcomes: Sequence[Outcome]) -> None:
        if len(outcomes) != len(batch):
            raise ValueError(f"{self._destination.slug}: {len(outcomes)} outcomes for {len(batch)} calls")
        final = []
        later: list[tuple[Item, Later]] = []
        for item, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Later):
                later.append((item, outcome))
            else:
                final.append((item, outcome))
        self._settle(final)
        if later:
            await self._again(later)

    async def _again(self, later: list[tuple[Item, Later]]) -> None:
        """Calls the vendor could not take now: their lanes stay held until they are due."""
        due = max(outcome.after or 1.0 for _, outcome in later) * (1.0 + 0.5 * self._random.random())
        if self._clock() - self._started + due > self._options.retry_for:
            return
        try:
            await asyncio.wait_for(self._stop.wait(), due)
        except TimeoutError:
            await self._deliver([item for item, _ in later])

    def _settle(self, items: Sequence[tuple[Item, Delivered | Rejected]]) -> None:
        report = self.report
        masked: list[tuple[Item, Delivered | Rejected]] = []
        for item, outcome in items:
            if isinstance(outcome, Delivered):
                report.delivered += 1
                report.unconfirmed += outcome.unconfirmed
            else:
                outcome = Rejected(outcome.reason, self._mask(outcome.words))
                report.rejected[outcome.reason] = report.rejected.get(outcome.reason, 0) + 1
                if len(report.samples) < _SAMPLES:
                    words = _without(outcome.words, item.call)
                    report.samples.append(Sample(outcome.reason, item.call.key, words))
            masked.append((item, outcome))
        if masked:
            self._journal.settled(masked)

    # -- one conversation

    async def _talk(self, conversation: Any, items: int) -> Any:
        partly = False
        try:
            request = next(conversation)
            while True:
                reply = await self._exchange(request, items)
                partly = True
                request = conversation.send(reply)
        except StopIteration as end:
            return end.value
        except Ended as end:
            end.partly = partly
            raise
        finally:
            conversation.close()

    async def _exchange(self, request: Request, items: int) -> Reply:
        """One answered request: waits for its turn, repeats it where that helps."""
        failures, attempts, trouble = 0, 0, None
        renewed = self._token
        if request.after:
            await asyncio.sleep(request.after)
        while True:
            await self._turn(request.endpoint, attempts)
            attempts += 1
            reply = await self._send(request)
            now = self._clock()
            verdict = None if reply is None else self._destination.classify(request, reply, items)
            if reply is None or verdict is None or verdict.meaning == "transient":
                self._breaker.failed(now)
                failures += 1
                trouble = trouble or now
                await self._pause(backoff(failures, verdict.after if verdict else None, self._random), trouble)
                continue
            self._breaker.answered()
            match verdict.meaning:
                case "answered":
                    self._limiter.accepted()
                    return reply
                case "throttled":
                    self._limiter.throttled(now, verdict.after)
                    trouble = trouble or now
                    await self._pause(0.0, trouble)
                case "halve":
                    raise Halved
                case "credentials" if self._destination.renews and renewed == self._token:
                    await self._renew(renewed)
                case "credentials":
                    raise Stopped(self._refusal(reply, "refuses the credentials", verdict.words))
                case _:
                    raise Stopped(self._refusal(reply, "does not allow this", verdict.words))

    async def _turn(self, endpoint: str, attempts: int) -> None:
        """Until the limiter and the breaker let the next request of this class go."""
        gate = self._gates.setdefault(endpoint, asyncio.Lock())
        async with gate:
            while True:
                if self._stop.is_set():
                    raise Unanswered("the run is stopping") if attempts else Interrupted("the run is stopping")
                now = self._clock()
                delay = max(self._limiter.delay(now, endpoint), self._breaker.delay(now))
                if delay > self._options.retry_for:
                    raise Stopped(f"its cap or the vendor makes it wait {delay:.0f} s; the rest goes with the next run")
                if delay <= 0:
                    self._limiter.take(now, endpoint)
                    self._breaker.sending()
                    return
                try:
                    await asyncio.wait_for(self._stop.wait(), delay)
                except TimeoutError:
                    continue

    async def _pause(self, wait: float, since: float) -> None:
        if self._clock() + wait - since > self._options.retry_for:
            raise Unanswered(f"no success within {self._options.retry_for:.0f} s")
        if wait:
            try:
                await asyncio.wait_for(self._stop.wait(), wait)
            except TimeoutError:
                return

    async def _renew(self, seen: int) -> None:
        async with self._renewing:
            if self._token == seen:
                self._token += 1
                await self._talk(self._destination.renew(), 1)

    async def _send(self, request: Request) -> Reply | None:
        """One attempt over the network; None where no whole answer came."""
        assert self._session is not None
        headers = {**request.headers, **self._destination.signed(request)}
        body = request.body()
        if body is not None and request.json is not None:
            headers.setdefault("Content-Type", "application/json")
        self.report.requests += 1
        try:
            async with self._session.request(
                request.method, self._address(request.url), data=body, headers=headers, allow_redirects=False
            ) as answer:
                reply = Reply(answer.status, {k.lower(): v for k, v in answer.headers.items()}, await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            _LOG.debug("%s: no answer: %s", self.report.connection, type(error).__name__)
            reply = None
        status = "none" if reply is None else str(reply.status)
        self.report.statuses[status] = self.report.statuses.get(status, 0) + 1
        return reply

    def _address(self, url: str) -> str:
        if not self._options.gateway:
            return url
        parts = urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        return f"{self._options.gateway.rstrip('/')}/{parts.netloc}{parts.path}{query}"

    def _refusal(self, reply: Reply, what: str, words: str) -> str:
        variables = ", ".join(str(secret) for secret in self._secrets)
        advice = f"; check {variables} and what it may do" if variables else ""
        said = f": {self._mask(words)}" if words else ""
        return f"the vendor {what} (HTTP {reply.status}){advice}{said}"

    def _mask(self, words: str) -> str:
        for secret in self._secrets:
            words = words.replace(secret.reveal(), "***")
        return words


def _secrets(settings: Any) -> Iterator[Secret]:
    for name in getattr(settings, "__struct_fields__", ()):
        value = getattr(settings, name)
        if isinstance(value, Secret):
            yield value


def _without(words: str, call: Call) -> str:
    """The vendor's words for a printed sample: without the person's identifier."""
    return words.replace(call.identifier.id, "<identifier>")[:200]
