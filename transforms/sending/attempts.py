"""Attempts: one connection's conversations with its vendor, request by request, until an answer counts.

A request waits for the breaker, a connection and its turn; it is sent; what the reply means, the destination says;
what is done next, `transforms.logic.steps` says.
"""

import asyncio
import logging
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from importlib.metadata import version
from random import Random
from typing import NamedTuple, TypeVar

import aiohttp
from yarl import URL

from schemas.report import Report
from schemas.secret import MissingSecret
from transforms.destinations.auth import WrongKey
from transforms.destinations.contract import Destination, Reply, Request, Verdict, bounded
from transforms.logic.breaker import Breaker
from transforms.logic.limit import Limiter
from transforms.logic.quota import allowed, exhausted
from transforms.logic.steps import Around, Bounds, Heard, Steps
from transforms.logic.traffic import Traffic
from transforms.sending.addressing import Addressing
from transforms.sending.delivery import SenderOptions
from transforms.sending.log import Kept
from transforms.sending.signing import Signing
from transforms.sending.sleepers import Sleepers
from transforms.sending.spans import span
from transforms.sending.talk import Accused, Divided, Ended, Interrupted, Overtaken, Stopped, Talk, Unanswered
from transforms.sending.turnstile import TooLong, Turnstile
from transforms.sending.why_slow import failure, silent, silent_since, slow
from transforms.sending.wire import LONGEST_HEAD, Connector, Endless, TimedRequest, asking_now, whole
from transforms.sending.words import TRUST, Mask, cause, lasting, moment, refusal

_AGENT = f"profilecast/{version('profilecast')}"
_LOG = logging.getLogger("profilecast.sender")
_POLL_BREAKER = 30.0  # seconds; a change of the breaker wakes who waits for it anyway
_TICK = 0.05  # seconds
_LONG_HOLD = 60.0  # seconds: a longer one is written down at once
_PROXY_PARTS = 3  # each within the time to connect: to the proxy, from there to the vendor, and TLS with the vendor
# Seconds that an open connection waits for its next request: with a low cap that comes late, and a new connection costs
# several round trips. Common servers (nginx, load balancers) close one after 60 or 75.
_IDLE = 30.0
_NOT_NOW = "the sender is stopping"

T = TypeVar("T")


class _SentAway(Exception):
    """A request that waits for its turn is sent away: it cannot go yet."""


class Watch(NamedTuple):
    """How the attempts reach the pump that owns them, and the clocks that they go by."""

    moved: Callable[[], None]  # hears that there may be room for one more conversation
    learn: Callable[[str, str], None]  # hears of a route and the endpoint class of its first requests
    save: Callable[[bool], "asyncio.Task[None]"]  # keeps the limiter: if not all of it is kept yet (False), or anyway
    saving: Callable[[], bool]  # whether it is on its way to the disk
    clock: Callable[[], float]  # seconds, of which the beginning means nothing
    wall: Callable[[], float]  # seconds since 1970
    owned: Callable[[], bool] = lambda: True  # whether no other sender can have begun


class Attempts:
    """Holds the conversations of one connection. `stop` ends them softly; whoever awaits one may cancel it."""

    def __init__(
        self,
        destination: Destination,
        options: SenderOptions,
        limiter: Limiter,
        most: int,
        report: Report,
        watch: Watch,
        tokens: Kept | None,
    ) -> None:
        """`most`: conversations at once."""
        self._destination, self._options, self._limiter, self._report = destination, options, limiter, report
        self._watch, self._clock, self._most = watch, watch.clock, most
        self.traffic = Traffic(self._clock())
        report.answers = self.traffic.answers
        self._random = Random()
        self._paced_by = destination.paced_by
        self._bounds = Bounds(options.retry_for, options.give_up_after, destination.auth.signs_in)
        self.breaker = Breaker()
        self._turnstile = Turnstile(limiter, watch.clock, options.retry_for, self._save, watch.saving)
        self._throttled_since: float | None = None
        self._last = ""  # why the last attempt that failed did
        self._answers = 0  # useful ones
        self._signing = Signing(destination, tokens, watch.wall)
        self._out: set[Talk] = set()  # with a request that has no whole answer yet
        self._sleepers = Sleepers()
        self._stopping = False
        self._tick = asyncio.get_running_loop().call_later(_TICK, self._look_again)
        self._addressing = Addressing(destination, options.gateway, options.connect_timeout)
        self._session = self._open()
        self.mask = Mask(self._signing)

    def _open(self) -> aiohttp.ClientSession:
        options = self._options
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=options.connect_timeout)  # silence: _look_again
        connector = Connector(
            self._turnstile,
            _PROXY_PARTS * options.connect_timeout,
            limit=self._most,
            keepalive_timeout=_IDLE,
            resolver=self._addressing.names,
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=TimedRequest,
            **LONGEST_HEAD,  # type: ignore[arg-type]
        )

    def tell_pace(self) -> None:
        """Say in the report what keeps the connection from its cap now. From any thread."""
        if self._stopping:  # what was so ahead of the end is told
            return
        now, wall = self._clock(), self._watch.wall()
        self._report.silent_since = silent_since(self.breaker, now, wall)
        self._report.silent = silent(self._report.silent_since, self._last)
        self._report.slow = slow(self._limiter, self._turnstile.next_at, now, wall)

    async def close(self) -> None:
        self._tick.cancel()
        self._turnstile.clear(_interrupted)
        await self._session.close()

    @property
    def out(self) -> int:
        """Requests that went, or are about to, and have no whole answer."""
        return len(self._out) - self._turnstile.waiting

    def stop(self) -> None:
        """End conversations of which nothing was answered. The others may come to their end."""
        self.tell_pace()
        self._stopping = True
        self._turnstile.clear(_interrupted, all_of_them=False)
        self._sleepers.wake()

    # -- a conversation

    async def converse(self, conversation: Generator[Request, Reply, T], talk: Talk) -> T:
        """Hold a conversation to its end; what it returns. Raises Ended, and whatever the conversation raises."""
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
            end.said = talk.words or talk.cause
            raise
        finally:
            conversation.close()
            talk.turned()

    async def _exchange(self, request: Request, talk: Talk) -> Reply:
        """Send one request until an answer counts."""
        talk.endpoint = request.endpoint
        if not talk.partly and talk.route:
            self._watch.learn(talk.route, request.endpoint)
        body = request.body()
        if talk.items > 1 and len(body or b"") > talk.most:  # what was reckoned was too little
            raise Divided("", large=True)
        steps = Steps(self._bounds, self._random, talk.items, talk.tries, talk.renewing)
        if request.after:
            await asyncio.sleep(request.after)
        while True:
            reply = await self._send(request, talk)
            now = self._clock()
            heard = self._hear(request, reply, talk)
            self._note(heard, reply, talk, now)
            if heard.meaning != "answered":
                talk.failed(heard.status, heard.words if reply else talk.cause)
            step = steps.next(heard, now, Around(self._answers, self.breaker.since, self._throttled_since))
            match step.do:
                case "read":
                    assert reply
                    return reply
                case "repeat":
                    if step.hold:
                        self._hold(now, step.hold)
                    await self._sleepers.sleep(step.after)
                    self._may_repeat(talk)
                case "throttled":
                    self._throttled(talk, now, step.after or None)
                    self._may_repeat(talk)
                case "renew":
                    await self._renew(talk.session)
                case "divide" | "reject":
                    raise Divided(step.words, step.large, step.unanswered)
                case "refused":
                    assert reply
                    raise Accused(heard.meaning, heard.words, reply)
                case "give up":
                    raise _since(Unanswered(f"{step.words}: {talk.cause}"), step.since)
                case "stop":
                    raise _since(Stopped(self._end(heard, reply, step.words, talk)), step.since)

    def _may_repeat(self, talk: Talk) -> None:
        if not talk.partly and talk.overtaken():
            raise Overtaken

    def _hear(self, request: Request, reply: Reply | None, talk: Talk) -> Heard:
        if reply is None:
            return Heard("transient")
        if 300 <= reply.status < 400 and self._redirects(request, reply, talk):  # followed, secrets would go there
            raise Stopped(f"{_host(request.url)} redirects (HTTP {reply.status}); check its address")
        verdict = bounded(self._verdict(request, reply, talk))
        if verdict.meaning == "throttled" and verdict.after is None and (spent := exhausted(reply.headers)):
            verdict = replace(verdict, after=spent[1])
        words = self.mask(verdict.words)
        if verdict.meaning in ("transient", "throttled"):
            talk.heard(reply.status, words)
        return Heard(verdict.meaning, reply.status, verdict.after, words)

    def _redirects(self, request: Request, reply: Reply, talk: Talk) -> bool:
        return self._verdict(request, reply, talk).meaning not in ("stop", "answered")

    def _verdict(self, request: Request, reply: Reply, talk: Talk) -> Verdict:
        if talk.renewing:
            return self._signing.auth.refused(reply)
        return self._destination.classify(request, reply, talk.items)

    def _note(self, heard: Heard, reply: Reply | None, talk: Talk, now: float) -> None:
        """Note what an attempt says about the connection."""
        if reply and self._paced_by and (requests := allowed(reply.headers, self._paced_by[0])):
            self._limiter.pace(now, requests, self._paced_by[1])
        if heard.meaning == "transient":
            talk.maybe = talk.maybe or talk.sent is not None
            if reply is None and talk.sent is not None:
                talk.gave_up = now
            self._last = failure(reply, talk)
            was_open = self.breaker.open
            self.breaker.failed(now, talk.asked)
            if self.breaker.open and not was_open:
                self._turnstile.clear(_SentAway)
            self._sleepers.wake(at_breaker=True)
            return
        if self.breaker.since is not None:
            self.breaker.answered()
            self._sleepers.wake(at_breaker=True)
            self._watch.moved()
        if heard.meaning == "answered":
            assert reply
            self._answers += 1
            self._limiter.accepted()
            if self._throttled_since is not None:
                self._throttled_since = None
                self._turnstile.move()  # one went to try: the others need not wait any more
            if (quota := exhausted(reply.headers)) and not self._limiter.keeps(*quota):
                self._hold(now, quota[1])

    def _end(self, heard: Heard, reply: Reply | None, words: str, talk: Talk) -> str:
        """Why the connection stops."""
        if heard.meaning in ("transient", "throttled"):
            return f"{words}: {talk.cause}; the rest goes with the next run"
        assert reply
        return refusal(self._destination, reply, "renewal" if talk.renewing else heard.meaning, heard.words)

    # -- one attempt over the network

    async def _send(self, request: Request, talk: Talk) -> Reply | None:
        """Send a request once; None where no whole answer came."""
        await talk.begins()
        while True:
            failed = False
            await self._ask(talk)
            talk.session, made = self._signing.renewals, self._signing.complete(request)
            url = self._addressing.url(made.full_url)
            asking_now.set(talk)
            try:
                reply = await self._answer(made, url, talk)
                self._count(str(reply.status), talk)
                return reply
            except _SentAway:
                continue
            except TooLong as wait:
                until = moment(self._watch.wall() + wait.seconds)
                self._report.held_until = until
                how_long = f"{lasting(wait.seconds)}, until {until}"
                raise Stopped(
                    f"its cap or the vendor makes it wait {how_long}; the rest goes with a run after that"
                ) from wait
            except TRUST as error:
                raise Stopped(f"the certificate of {url.host} cannot be trusted; nothing was sent") from error
            except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
                raise Stopped("the URL in its settings cannot be one") from error
            except (aiohttp.ClientError, TimeoutError, OSError, Endless) as error:
                if talk.head is not None and talk.head.ok:  # that it was taken is known
                    self._count(str(talk.head.status), talk)
                    talk.unread = True
                    return talk.head
                _LOG.debug("%s: no answer: %s", self._report.connection, type(error).__name__)
                failed, talk.cause = True, talk.given_up or cause(error, url.host or "", self._options)
                self._count("none" if talk.sent is not None else "unreachable", talk)
                return None
            except (ValueError, UnicodeError) as error:
                raise Stopped("its settings make a request that cannot be sent: look at headers and address") from error
            except MissingSecret as error:
                raise Stopped(str(error)) from error
            finally:
                self.mask.last = made
                self._report.requests += talk.went
                if talk.sent is None and not failed:
                    self.breaker.unused(talk.asked)

    async def _answer(self, request: Request, url: URL, talk: Talk) -> Reply:
        """The whole answer. Raises TimeoutError where the request is given up."""
        proxy, proxy_headers = await self._addressing.through(url)
        async with asyncio.timeout(None) as limit:
            talk.give_up = lambda: limit.reschedule(0)
            talk.sign = lambda: self._sign(request, talk)
            self._out.add(talk)
            try:
                async with self._session.request(
                    request.method,
                    url,
                    data=request.body(),
                    headers={"user-agent": _AGENT, **request.all_headers},
                    allow_redirects=False,
                    proxy=proxy,
                    proxy_headers=proxy_headers,
                ) as answer:
                    return await whole(answer, talk, self._clock)
            finally:
                self._out.discard(talk)
                talk.let_go()

    def _sign(self, request: Request, talk: Talk) -> Mapping[str, str]:
        """The headers of a request that goes now. Raises Stopped where it may not go any more."""
        if not self._watch.owned():
            raise Stopped("another sender may have taken it over, since this one could not write to its log for long")
        return {} if talk.renewing else self._signing.headers(request)

    async def _ask(self, talk: Talk) -> None:
        """Wait until there are credentials for the request, and the breaker lets it pass."""
        talk.sent, talk.went, talk.given_up, talk.head = None, 0, "", None
        while True:
            if self._stopping and not talk.partly:
                raise Interrupted(_NOT_NOW)
            if not talk.renewing:
                if self._signing.renewing:
                    await self._signing.renewed()
                    continue
                if self._signing.due:
                    await self._renew(self._signing.renewals)
                    continue
            now = self._clock()
            delay = self.breaker.delay(now)
            if delay <= 0:
                self.breaker.sending(now)
                talk.asked = now
                return
            await self._sleepers.sleep(min(delay, _POLL_BREAKER), at_breaker=True)

    async def _save(self) -> None:
        await self._watch.save(False)

    def _count(self, status: str, talk: Talk) -> None:
        self._report.statuses[status] = self._report.statuses.get(status, 0) + 1
        now, answered = self._clock(), status.isdecimal() and talk.sent is not None
        took = now - (talk.sent or now) if answered else None
        self.traffic.add(now, status == "429", took)
        self._report.answer_seconds += took or 0.0
        if talk.sent is not None:
            wall = self._watch.wall()
            span(self._report, talk, status, wall - (now - talk.sent), wall)

    # -- patience: one timer for all; one of its own for each request is a twentieth of what a request costs

    def _look_again(self) -> None:
        """Give up the requests that are overdue."""
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

    def _give_up(self, talk: Talk) -> None:
        """Cancel the request, and then break off its connection.

        In this order, since aiohttp sends a PUT again by itself where only the connection breaks off. Left alone, the
        connection would stay open until the vendor has read all of the request.
        """
        talk.given_up = talk.patience.why(self._options.read_timeout)
        talk.patience.waits()
        talk.give_up()
        talk.break_off()

    # -- what holds the whole connection

    def _hold(self, now: float, seconds: float) -> None:
        """Send nothing of the connection for so many seconds. The next run keeps to that too, however this one ends."""
        self._limiter.hold(now, seconds)
        if seconds > _LONG_HOLD:
            self._watch.save(True)

    def _throttled(self, talk: Talk, now: float, after: float | None) -> None:
        self._limiter.throttled(now, after, talk.sent or now)
        if after is not None and after > _LONG_HOLD:
            self._watch.save(True)
        self._throttled_since = now if self._throttled_since is None else self._throttled_since

    async def _renew(self, seen: int) -> None:
        """Sign in, or again, unless somebody has done so since."""
        if self._signing.renewals == seen and not self._signing.renewing:
            self._turnstile.clear(_SentAway)  # they would go with the old credentials
        try:
            await self._signing.renew(seen, lambda signing_in: self.converse(signing_in, Talk(1, renewing=True)))
        except (Unanswered, WrongKey) as error:  # each batch would wait as long again
            raise Stopped(f"its credentials could not be renewed: {error}") from error


def _since(end: Ended, since: float | None) -> Ended:
    end.since = since
    return end


def _host(url: str) -> str:
    return URL(url).host or ""


def _interrupted() -> Interrupted:
    return Interrupted(_NOT_NOW)
