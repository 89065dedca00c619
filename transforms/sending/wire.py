"""The sockets: a request takes its token on an open connection, and goes to no address inside; its answer is read."""

import asyncio
import socket
from collections.abc import Callable
from contextvars import ContextVar
from email.utils import formatdate, parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection

from transforms.destinations.contract import Reply
from transforms.logic.addresses import inside
from transforms.sending.talk import Talk
from transforms.sending.turnstile import Turnstile

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.tracing import Trace

_LONGEST_ANSWER = 2**24  # bytes
LONGEST_HEAD = {"max_line_size": 2**18, "max_field_size": 2**18, "max_headers": 2_000}  # of an answer


asking_now: ContextVar[Talk] = ContextVar("asking_now")
_leaving: ContextVar[tuple[Turnstile, Talk, float]] = ContextVar("leaving")


class TimedRequest(aiohttp.ClientRequest):
    """Says when it leaves: between its turn and its first byte the loop may have been busy with others.

    A body is written by a task of its own, which runs later. A request without one leaves in the step in
    which it is given its connection, and is not seen here.
    """

    async def write_bytes(self, *arguments: Any) -> None:
        turnstile, talk, taken = _leaving.get()
        if self.body:
            turnstile.leaves(talk, taken)
        await super().write_bytes(*arguments)
        turnstile.gone(talk)


class Connector(aiohttp.TCPConnector):
    """Hands out a connection when it is open and the request's turn has come: requests do not bunch behind it."""

    def __init__(self, turnstile: Turnstile, within: float, **options: Any) -> None:
        """`within`: seconds that a proxy has for its part."""
        super().__init__(**options)
        self._turnstile, self._within = turnstile, within

    async def connect(self, req: "ClientRequest", traces: "list[Trace]", timeout: aiohttp.ClientTimeout) -> Connection:
        talk = asking_now.get()
        while True:
            talk.patience.waits()  # it may have had its turn before, on a connection that died
            if req.proxy:
                async with asyncio.timeout(self._within):
                    connection = await super().connect(req, traces, timeout)
            else:
                connection = await super().connect(req, traces, timeout)
            try:
                taken = await self._turnstile.turn(talk)
                self._sign(req, talk)
            except BaseException:  # cancelled or sent away: the connection goes back
                connection.release()
                raise
            if connection.protocol is not None and connection.protocol.is_connected():
                if connection.transport:
                    talk.break_off = connection.transport.abort
                _leaving.set((self._turnstile, talk, taken))
                if not req.body:  # it leaves in this step
                    self._turnstile.leaves(talk, taken)
                    self._turnstile.gone(talk)
                return connection
            connection.close()  # by the vendor, while it waited

    def _sign(self, req: "ClientRequest", talk: Talk) -> None:
        """Sign the request now, so that no signature gets old in the queue."""
        try:
            req.headers.update(talk.sign())
        except BaseException:
            talk.stays()
            raise


class Names(AbstractResolver):
    """Looks names up, at the moment of connecting and within a time; may refuse those of an address inside."""

    def __init__(self, within: float, refuse: Callable[[str, str], Exception] | None) -> None:
        """`within`: seconds; `refuse` makes the error from host and address. None: every address is allowed."""
        self._within, self._refuse = within, refuse
        self.proxies: set[tuple[str, int]] = set()  # they are where the environment says

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        results = await self.look_up(host, port, family)
        if (host, port) not in self.proxies:
            self.guard(host, results)
        return results

    def guard(self, host: str, results: list[ResolveResult]) -> None:
        """Raise what `refuse` makes of an address that is not allowed."""
        for each in results:
            if self._refuse and inside(each["host"]):
                raise self._refuse(host, each["host"])

    async def look_up(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        async with asyncio.timeout(self._within):  # the loop has four threads of its own for this: too few
            found = await asyncio.get_running_loop().run_in_executor(None, look_up)
        return [_result(host, port, *each) for each in found]

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


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


async def whole(answer: aiohttp.ClientResponse, talk: Talk, clock: Callable[[], float]) -> Reply:
    """The answer when all of it is there. Raises Endless; what came before that is in `talk.head`."""
    talk.patience.hears(clock())
    talk.head = Reply(answer.status, _headers(answer))
    parts, size = [], 0
    async for part in answer.content.iter_any():
        talk.patience.hears(clock())
        size += len(part)
        if size > _LONGEST_ANSWER:
            raise Endless
        parts.append(part)
    return Reply(answer.status, talk.head.headers, b"".join(parts))


def _headers(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """Headers in lower case, with a `date` that can be read, since delays are told by it; ours where there is none."""
    found = {name.lower(): value for name, value in answer.headers.items()}
    if answer.status >= 400:
        try:
            parsedate_to_datetime(found.get("date", ""))
        except ValueError:
            found["date"] = formatdate(usegmt=True)
    return found
