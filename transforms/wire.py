"""The sockets: a request takes its token on an open connection, and goes to no address inside; its answer is read."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from email.utils import formatdate, parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection

from transforms.destinations.contract import Reply
from transforms.logic.addresses import inside
from transforms.logic.limit import Limiter
from transforms.logic.patience import Patience

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.tracing import Trace

_LONGEST_ANSWER = 2**24  # bytes
_EARLY = 0.001  # seconds by which a timer of the loop may be, about: it counts in milliseconds
_TOGETHER = 0.005  # seconds: fast connections wake for a few requests at once; the limiter lets them catch up


class Asking(Protocol):
    """A request that asks for its turn."""

    @property
    def endpoint(self) -> str: ...

    @property
    def items(self) -> int: ...

    @property
    def patient(self) -> bool:
        """It goes on although the run is stopping."""

    @property
    def patience(self) -> Patience: ...

    break_off: Callable[[], None]
    """The connection that it is on."""

    def goes(self, now: float) -> None:
        """It has its token and goes now."""


class Waiting(NamedTuple):
    turn: "asyncio.Future[float]"
    asking: Asking


class Turnstile:
    """Lets requests through as the limiter says: in order of arrival, each endpoint class for itself."""

    def __init__(
        self,
        limiter: Limiter,
        clock: Callable[[], float],
        longest: float,
        moved: Callable[[], None],
        save: Callable[[], None],
    ) -> None:
        """`longest`: seconds that one may wait; `moved` hears of each that waits no more; `save` keeps the limiter."""
        self._limiter, self._clock, self._longest, self._moved, self._save = limiter, clock, longest, moved, save
        self._queues: dict[str, deque[Waiting]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def waiting(self) -> int:
        """How many requests wait. Those that wait for a limit of their own class are in nobody's way."""
        rate = self._limiter.rate
        return sum(len(queue) for name, queue in self._queues.items() if self._limiter.rate_of(name) == rate)

    async def turn(self, asking: Asking) -> float:
        """Until the request may go; when that was. Raises what `clear` was given, and TooLong."""
        queue = self._queues.get(asking.endpoint)
        if not queue:
            now = self._clock()
            delay = self._limiter.delay(now, asking.endpoint, asking.items)
            if delay <= 0:
                self._let(asking, now)
                self._moved()
                return now
            queue = self._queues.setdefault(asking.endpoint, deque())
        turn: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        queue.append(Waiting(turn, asking))
        if len(queue) == 1:  # behind others, it goes when they have gone
            self.move()
        return await turn

    def left(self, asking: Asking, taken: float) -> None:
        """The first byte of a request is about to be written."""
        self._limiter.left(taken, self._clock(), asking.endpoint)

    def gone(self, asking: Asking) -> None:
        """The last byte of it has been written."""
        asking.patience.hears(self._clock())

    def clear(self, why: Callable[[], Exception], all_of_them: bool = True) -> None:
        """Send those who wait away, or only those who are not patient."""
        for queue in self._queues.values():
            for waiting in queue:
                if not waiting.turn.done() and (all_of_them or not waiting.asking.patient):
                    waiting.turn.set_exception(why())
        self.move()

    def move(self) -> None:
        """Let through who may go, and look again when the next one may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = self._waiting()
        soonest = min((self._pass(endpoint, queue) for endpoint, queue in self._queues.items()), default=float("inf"))
        if soonest != float("inf"):
            too_early = self._waiting() == waiting
            delay = max(soonest, _EARLY if too_early else _TOGETHER)
            self._timer = asyncio.get_running_loop().call_later(delay, self.move)

    def _waiting(self) -> int:
        return sum(map(len, self._queues.values()))

    def _pass(self, endpoint: str, queue: deque[Waiting]) -> float:
        """Seconds until the head of the queue may go; infinite where nobody waits."""
        while queue:
            turn, asking = queue[0]
            if not turn.done():
                now = self._clock()
                delay = self._limiter.delay(now, endpoint, asking.items)
                if 0 < delay <= self._longest:
                    return delay
                if delay <= 0:
                    try:
                        self._let(asking, now)
                    except Exception as error:  # the attempt could not be written down
                        turn.set_exception(error)
                    else:
                        turn.set_result(now)
                else:
                    turn.set_exception(TooLong(delay))
            queue.popleft()
            self._moved()
        return float("inf")

    def _let(self, asking: Asking, now: float) -> None:
        self._limiter.take(now, asking.endpoint, asking.items)
        if self._limiter.unsaved:
            self._save()
        asking.goes(now)


class TooLong(Exception):
    """The cap, or the vendor, makes a request wait longer than the run lasts."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


asking_now: ContextVar[Asking] = ContextVar("asking_now")
_leaving: ContextVar[tuple[Turnstile, Asking, float]] = ContextVar("leaving")


class TimedRequest(aiohttp.ClientRequest):
    """Says when it leaves: between its turn and its first byte the loop may have been busy with others.

    A body is written by a task of its own, which runs later. A request without one leaves in the step in
    which it is given its connection, and is not seen here.
    """

    async def write_bytes(self, *arguments: Any) -> None:
        turnstile, asking, taken = _leaving.get()
        if self.body:
            turnstile.left(asking, taken)
        await super().write_bytes(*arguments)
        turnstile.gone(asking)


class Connector(aiohttp.TCPConnector):
    """Hands out a connection when it is open and the request's turn has come: requests do not bunch behind it."""

    def __init__(self, turnstile: Turnstile, **options: Any) -> None:
        super().__init__(**options)
        self._turnstile = turnstile

    async def connect(self, req: "ClientRequest", traces: "list[Trace]", timeout: aiohttp.ClientTimeout) -> Connection:
        asking = asking_now.get()
        while True:
            asking.patience.waits()  # it may have had its turn before, on a connection that died
            connection = await super().connect(req, traces, timeout)
            try:
                taken = await self._turnstile.turn(asking)
            except BaseException:  # cancelled or sent away: the connection goes back
                connection.release()
                raise
            if connection.protocol is not None and connection.protocol.is_connected():
                if connection.transport:
                    asking.break_off = connection.transport.abort
                _leaving.set((self._turnstile, asking, taken))
                if not req.body:  # it leaves in this step
                    self._turnstile.left(asking, taken)
                    self._turnstile.gone(asking)
                return connection
            connection.close()  # by the vendor, while it waited


class Names(AbstractResolver):
    """Looks names up, at the moment of connecting and within a time; may refuse those of an address inside."""

    def __init__(self, within: float, refuse: Callable[[str, str], Exception] | None) -> None:
        """`within`: seconds; `refuse` makes the error from host and address. None: every address is allowed."""
        self._within, self._refuse = within, refuse

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        async with asyncio.timeout(self._within):  # the loop has four threads of its own for this: too few
            found = await asyncio.get_running_loop().run_in_executor(None, look_up)
        results = [_result(host, port, *each) for each in found]
        for each in results:
            if self._refuse and inside(each["host"]):
                raise self._refuse(host, each["host"])
        return results

    async def close(self) -> None:
        """There is nothing to close."""


def _result(host: str, port: int, family: int, kind: int, protocol: int, name: str, address: Any) -> ResolveResult:
    scope = f"%{address[3]}" if family == socket.AF_INET6 and address[3] else ""
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(
        hostname=host, host=f"{address[0]}{scope}", port=port, family=family, proto=protocol, flags=numeric
    )


class Endless(Exception):
    """An answer that is longer than any vendor's."""

    def __init__(self) -> None:
        super().__init__(f"answers with more than {_LONGEST_ANSWER // 2**20} MB")


async def whole(answer: aiohttp.ClientResponse, asking: Asking, clock: Callable[[], float]) -> Reply:
    """The answer when all of it is there. Raises Endless."""
    asking.patience.hears(clock())
    parts, size = [], 0
    async for part in answer.content.iter_any():
        asking.patience.hears(clock())
        size += len(part)
        if size > _LONGEST_ANSWER:
            raise Endless
        parts.append(part)
    return Reply(answer.status, _headers(answer), b"".join(parts))


def _headers(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """In lower case; with a `date` that can be read, for delays are told by it: ours, where the vendor has none."""
    found = {name.lower(): value for name, value in answer.headers.items()}
    if answer.status >= 400:
        try:
            parsedate_to_datetime(found.get("date", ""))
        except ValueError:
            found["date"] = formatdate(usegmt=True)
    return found
