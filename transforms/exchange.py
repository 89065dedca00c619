"""Exchange: one connection's conversations with its vendor, request by request.

Here a request waits for its turn, is sent, and is repeated where that helps; what a reply means, the
destination says.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from math import inf
from random import Random
from typing import TypeVar

import aiohttp
from yarl import URL

from schemas.report import Report
from transforms.assignment import SenderOptions
from transforms.destinations.contract import Destination, Reply, Request, Verdict, bounded, headers
from transforms.logic.addresses import inside, literal
from transforms.logic.breaker import Breaker
from transforms.logic.inflight import room
from transforms.logic.limit import Limiter
from transforms.logic.quota import exhausted
from transforms.logic.retry import backoff
from transforms.talk import Ended, Halved, Interrupted, Stopped, Talk, Unanswered
from transforms.wire import Connector, Endless, Names, TimedRequest, TooLong, Turnstile, asking_now, whole
from transforms.words import Mask, cause, lasting, refusal

_LOG = logging.getLogger("profilecast.sender")
_POLL_BREAKER = 30.0  # seconds; a change of the breaker wakes who waits for it anyway
_TICK = 0.05  # seconds
_AHEAD = 0.5  # seconds of requests that may wait for the limit of their class, or for a connection
_ENOUGH = 5  # such requests, however fast they go
_LONG_HOLD = 60.0  # seconds: a longer one is written down at once

T = TypeVar("T")


class _SentAway(Exception):
    """The request waited for its turn when it turned out that it cannot go yet."""


class Exchange:
    """Holds conversations. `stop` ends them softly; who holds one may cancel it."""

    def __init__(
        self,
        destination: Destination,
        options: SenderOptions,
        limiter: Limiter,
        at_once: int,
        report: Report,
        moved: Callable[[], None],
        save: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._destination, self._options, self._limiter, self._report = destination, options, limiter, report
        self._moved, self._save, self._clock, self._wall = moved, save, clock, wall
        self._random = Random()
        self._breaker = Breaker()
        self._turnstile = Turnstile(limiter, clock, options.retry_for, moved, save)
        self._throttled_since: float | None = None
        self._renewing = asyncio.Lock()
        self._renewals = 0
        self._out: set[Talk] = set()  # with a request that has no whole answer yet
        self._endpoints: dict[str, str] = {}  # by route: the class of its conversations' first requests
        self._sleepers: dict[asyncio.Future[None], bool] = {}  # whether the breaker wakes them
        self._stopping = False
        self._at_once = at_once
        self._tick = asyncio.get_running_loop().call_later(_TICK, self._look_again)
        self._session = self._open()
        self._url = lru_cache(512)(self._address)
        self.mask = Mask(destination)

    def _open(self) -> aiohttp.ClientSession:
        options = self._options
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=options.connect_timeout)  # silence: _look_again
        guarded = not options.gateway and not self._destination.reaches_inside()
        connector = Connector(
            self._turnstile,
            limit=self._at_once,
            keepalive_timeout=30,
            resolver=Names(options.connect_timeout, self._inside if guarded else None),
        )
        return aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), request_class=TimedRequest
        )

    async def close(self) -> None:
        self._tick.cancel()
        self._turnstile.clear(_interrupted)
        await self._session.close()

    def room(self, held: int, beginning: int) -> bool:
        """Whether there is any for one more conversation beside those held; there is, where none is.

        `beginning`: how many of them are still to ask for their turn.
        """
        if self._breaker.open:
            return not held
        wait = self._turnstile.waiting() + beginning
        return room(held, wait, self._limiter.rate, self._at_once)

    def may_go(self, route: str, beginning: int) -> bool:
        """Whether a request of this route would not wait long for the limit of its own endpoint class.

        What waits here could not grow any more, and would be in the way of other routes.
        """
        endpoint = self._endpoints.get(route)
        if endpoint is None:  # it is known when the first one asks
            return not beginning
        rate = self._limiter.rate_of(endpoint)
        if rate == self._limiter.rate:
            return True
        asking = sum(talk.sent is None and talk.endpoint == endpoint for talk in self._out)
        return asking + beginning < 2 + int(min(rate * _AHEAD, _ENOUGH))

    def _learn(self, route: str, endpoint: str) -> None:
        """A single call may go to an endpoint of its own: what counts is the class with the strictest limit."""
        known = self._endpoints.setdefault(route, endpoint)
        if known != endpoint:
            rate_of = self._limiter.rate_of
            self._endpoints[route] = min(known, endpoint, key=lambda each: rate_of(each) or inf)

    def _look_again(self) -> None:
        """Give up what is overdue.

        One timer for all: one of its own for each request is a twentieth of what a request costs.
        """
        now, silence = self._clock(), self._options.read_timeout
        delay = silence
        overdue = []
        for talk in self._out:
            left = talk.patience.ends(silence) - now
            if left <= 0:
                overdue.append(talk)
            delay = min(delay, max(left, _TICK))
        self._tick = asyncio.get_running_loop().call_later(delay, self._look_again)
        for talk in overdue:
            self._give_up(talk)
        self._moved()

    def _give_up(self, talk: Talk) -> None:
        """Its request first: where only a connection breaks off, aiohttp sends a PUT again by itself.

        The connection too: it would stay open until the vendor has read all of the request.
        """
        talk.given_up = talk.patience.why(self._options.read_timeout)
        talk.patience.waits()
        talk.give_up()
        talk.break_off()

    def stop(self) -> None:
        """Conversations of which nothing was answered end at once; the others may come to their end."""
        self._stopping = True
        self._turnstile.clear(_interrupted, all_of_them=False)
        for sleeper in self._sleepers:
            _wake_up(sleeper)

    # -- a conversation

    async def talk(self, conversation: Generator[Request, Reply, T], talk: Talk) -> T:
        """Hold it to its end. Raises Ended."""
        try:
            request = next(conversation)
            while True:
                reply = await self._exchange(request, talk)
                talk.partly = True
                request = conversation.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result
        except Ended as end:
            end.maybe = talk.partly or talk.maybe
            end.since = talk.trouble
            end.words = talk.words or talk.cause
            raise
        finally:
            conversation.close()

    async def _exchange(self, request: Request, talk: Talk) -> Reply:
        """One answered request."""
        talk.endpoint, talk.trouble = request.endpoint, None
        if not talk.partly:
            self._learn(talk.route, request.endpoint)
        if talk.items > 1 and len(request.body() or b"") > talk.most:  # what was reckoned was too little
            raise Halved(large=True)
        failures, renewed, held = 0, False, 0.0
        if request.after:
            await asyncio.sleep(request.after)
        while True:
            renewals = self._renewals
            reply = await self._send(request, talk)
            now = self._clock()
            verdict = self._verdict(request, reply, talk)
            if verdict.meaning != "credentials":
                renewed = False
            if reply is None or verdict.meaning == "transient":
                failures += 1
                if reply and reply.status == 503 and verdict.after:
                    self._hold(now, verdict.after)
                await self._failed(talk, now, backoff(failures, verdict.after, self._random))
                continue
            self._answered(talk)
            match verdict.meaning:
                case "answered":
                    self._accepted(reply, now)
                    return reply
                case "throttled":
                    held = held or now
                    self._throttled(talk, now, verdict.after, held)
                case "halve":
                    raise Halved(large=reply.status == 413)
                case "credentials" if self._destination.renews and not renewed and not talk.renewing:
                    await self._renew(renewals)
                    renewed = True
                case "credentials":
                    raise Stopped(
                        refusal(self._destination, reply, "refuses the credentials", self.mask(verdict.words))
                    )
                case _:
                    raise Stopped(refusal(self._destination, reply, "does not allow this", self.mask(verdict.words)))

    def _verdict(self, request: Request, reply: Reply | None, talk: Talk) -> Verdict:
        if reply is None:
            return Verdict("transient")
        if 300 <= reply.status < 400:  # followed, secrets would go where it says
            raise Stopped(f"{URL(request.url).host} redirects (HTTP {reply.status}); check its address")
        verdict = bounded(self._destination.classify(request, reply, talk.items))
        if verdict.meaning == "throttled" and verdict.after is None and (spent := exhausted(reply.headers)):
            verdict = replace(verdict, after=spent[1])
        if verdict.meaning in ("transient", "throttled"):
            talk.heard(reply.status, self.mask(verdict.words))
        return verdict

    async def _send(self, request: Request, talk: Talk) -> Reply | None:
        """One attempt over the network; None where no whole answer came."""
        url = self._url(request.url)
        while True:
            failed = False
            await self._ask(talk)
            asking_now.set(talk)
            try:
                reply = await self._answer(request, url, talk)
                self._count(str(reply.status))
                return reply
            except _SentAway:
                continue
            except TooLong as wait:
                until = datetime.fromtimestamp(self._wall() + wait.seconds, UTC)
                how_long = f"{lasting(wait.seconds)}, until {until:%Y-%m-%d %H:%M:%S} UTC"
                raise Stopped(
                    f"its cap or the vendor makes it wait {how_long}; the rest goes with a run after that"
                ) from wait
            except (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError) as error:
                raise Stopped(f"the certificate of {url.host} cannot be trusted; nothing was sent") from error
            except aiohttp.InvalidURL as error:
                raise Stopped("the URL in its settings cannot be one") from error
            except (aiohttp.ClientError, TimeoutError, OSError, Endless) as error:
                _LOG.debug("%s: no answer: %s", self._report.connection, type(error).__name__)
                failed, talk.cause = True, talk.given_up or cause(error, url.host or "", self._options)
                self._count("none" if talk.sent is not None else "unreachable")
                return None
            finally:
                self.mask.last = request
                self._report.requests += talk.went
                if talk.sent is None and not failed:
                    self._breaker.unused(talk.asked)

    async def _answer(self, request: Request, url: URL, talk: Talk) -> Reply:
        """Raises TimeoutError where it is given up."""
        async with asyncio.timeout(None) as limit:
            talk.give_up = lambda: limit.reschedule(0)
            self._out.add(talk)
            try:
                async with self._session.request(
                    request.method,
                    url,
                    data=request.body(),
                    headers=headers(self._destination, request),
                    allow_redirects=False,
                ) as answer:
                    return await whole(answer, talk, self._clock)
            finally:
                self._out.discard(talk)
                talk.give_up = talk.break_off = _nothing  # or each request would be a cycle for the collector

    async def _ask(self, talk: Talk) -> None:
        """Until there are credentials for the request, and the breaker lets it pass."""
        talk.sent, talk.went, talk.given_up = None, 0, ""
        while True:
            if self._stopping and not talk.partly:
                raise Interrupted("the run is stopping")
            if self._renewing.locked() and not talk.renewing:
                async with self._renewing:
                    continue
            now = self._clock()
            delay = self._breaker.delay(now)
            if delay <= 0:
                self._breaker.sending(now)
                talk.asked = now
                return
            await self._sleep(min(delay, _POLL_BREAKER), at_breaker=True)

    def _count(self, status: str) -> None:
        self._report.statuses[status] = self._report.statuses.get(status, 0) + 1

    # -- what an attempt came to

    async def _failed(self, talk: Talk, now: float, wait: float) -> None:
        """No answer, or one of a vendor in trouble: wait, then try again."""
        talk.trouble = now if talk.trouble is None else talk.trouble
        talk.maybe = talk.maybe or talk.sent is not None
        was_open = self._breaker.open
        self._breaker.failed(now, talk.asked)
        if self._breaker.open and not was_open:
            self._turnstile.clear(_SentAway)
        self._wake()
        longest = min(self._options.retry_for, self._options.give_up_after)
        if self._breaker.since is not None and now - self._breaker.since > longest:
            raise Stopped(f"no useful answer within {longest:.0f} s: {talk.cause}; the rest goes with the next run")
        if now + wait - talk.trouble > longest:
            raise Unanswered(f"no useful answer within {longest:.0f} s: {talk.cause}")
        await self._sleep(wait)

    def _answered(self, talk: Talk) -> None:
        talk.trouble = None
        if self._breaker.since is not None:
            self._breaker.answered()
            self._wake()
            self._moved()

    def _accepted(self, reply: Reply, now: float) -> None:
        self._throttled_since = None
        self._limiter.accepted()
        if (quota := exhausted(reply.headers)) and not self._limiter.keeps(*quota):
            self._hold(now, quota[1])

    def _hold(self, now: float, seconds: float) -> None:
        """Nothing of the connection goes for so long; the next run keeps to it too, however this one ends."""
        self._limiter.hold(now, seconds)
        if seconds > _LONG_HOLD:
            self._save()

    def _throttled(self, talk: Talk, now: float, after: float | None, began: float) -> None:
        self._limiter.throttled(now, after, talk.sent or now)
        if after is not None and after > _LONG_HOLD:
            self._save()
        self._throttled_since = now if self._throttled_since is None else self._throttled_since
        if now - self._throttled_since > self._options.retry_for:
            words = f"the vendor has taken no request for {self._options.retry_for:.0f} s and says that they are"
            raise Stopped(f"{words} too many: {talk.cause}; the rest goes with the next run")
        if now - began > self._options.retry_for:
            raise Unanswered(f"the vendor had no room for it: {talk.cause}")

    async def _renew(self, seen: int) -> None:
        """Fetch new credentials, unless somebody has done so since."""
        async with self._renewing:
            if self._renewals == seen:
                self._turnstile.clear(_SentAway)  # they would go with the old ones
                talk = Talk(1)
                talk.renewing = True
                try:
                    await self.talk(self._destination.renew(), talk)
                except Unanswered as error:  # each batch would wait as long again
                    raise Stopped(f"its credentials could not be renewed: {error}") from error
                self._renewals += 1

    # -- waiting

    async def _sleep(self, seconds: float, at_breaker: bool = False) -> None:
        """So long; less if the run stops, or the breaker changes."""
        loop = asyncio.get_running_loop()
        sleeper = loop.create_future()
        timer = loop.call_later(seconds, _wake_up, sleeper)
        self._sleepers[sleeper] = at_breaker
        try:
            await sleeper
        finally:
            timer.cancel()
            del self._sleepers[sleeper]

    def _wake(self) -> None:
        for sleeper, at_breaker in self._sleepers.items():
            if at_breaker:
                _wake_up(sleeper)

    # -- where it goes

    def _address(self, url: str) -> URL:
        found = URL(url, encoded=url.isascii() and " " not in url)
        address = literal(found.host or "")
        if address and inside(address) and not self._destination.reaches_inside():
            raise self._inside(address, address)
        if not self._options.gateway:
            return found
        return URL(f"{self._options.gateway.rstrip('/')}/{found.raw_authority}{found.raw_path_qs}", encoded=True)

    def _inside(self, host: str, address: str) -> Stopped:
        where = host if host == address else f"{host} ({address})"
        can_be_allowed = hasattr(self._destination.settings, "private_addresses")
        unless = " unless its settings say private_addresses: true" if can_be_allowed else ""
        return Stopped(f"{where} is an address inside this machine's network, and nothing is sent there{unless}")


def _nothing() -> None:
    """There is no request out."""


def _wake_up(sleeper: "asyncio.Future[None]") -> None:
    if not sleeper.done():
        sleeper.set_result(None)


def _interrupted() -> Interrupted:
    return Interrupted("the run is stopping")
