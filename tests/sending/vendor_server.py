"""A vendor that a test drives: real HTTP on 127.0.0.1, every request seen, every answer the test's."""

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from aiohttp import web


@dataclass(frozen=True)
class Seen:
    """A request as the server saw it."""

    number: int  # from 0
    at: float  # monotonic seconds
    method: str
    target: str  # path and query, with the vendor's host in front, as a gateway gets it
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass(frozen=True)
class Answer:
    """`cut`: `reset` in the middle of the body, `close` cleanly but too early, `hang` without an answer.

    `stall` in the middle of the body. `drip`: it comes byte by byte, and never ends. `slow`: the same, and ends.
    """

    status: int = 200
    json: Any = field(default_factory=dict)
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: Literal["", "reset", "close", "hang", "stall", "drip", "slow"] = ""


Script = Callable[[Seen], Answer]


class VendorServer:
    """Running. `url` is the gateway; `script` may be changed while it runs."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.url = ""
        self._tls = tls
        self.seen: list[Seen] = []
        self.taken: list[Seen] = []  # with success, whether or not the answer arrived
        self.busy = 0  # requests that are being answered
        self.holding = False  # while it is, no answer leaves

    def peak(self, seconds: float = 1.0) -> int:
        """The most requests in any sliding window."""
        times = [each.at for each in self.seen]
        most, start = 0, 0
        for end, at in enumerate(times):
            while times[start] <= at - seconds:
                start += 1
            most = max(most, end - start + 1)
        return most

    async def handle(self, http: web.Request) -> web.StreamResponse:
        at = time.monotonic()
        body = await http.read()
        headers = {name.lower(): value for name, value in http.headers.items()}
        seen = Seen(len(self.seen), at, http.method, http.raw_path[1:], headers, body)
        self.seen.append(seen)
        self.busy += 1
        try:
            return await self._answer(http, seen)
        finally:
            self.busy -= 1

    async def _answer(self, http: web.Request, seen: Seen) -> web.StreamResponse:
        answer = self.script(seen)
        while self.holding:
            await asyncio.sleep(0.01)
        if answer.status < 300 and answer.cut != "hang":
            self.taken.append(seen)
        if answer.delay:
            await asyncio.sleep(answer.delay)
        content = msgspec.json.encode(answer.json) if answer.body is None else answer.body
        if answer.cut == "slow":
            return await self._slowly(http, answer, content)
        if answer.cut:
            return await self._cut(http, answer, content)
        return web.Response(status=answer.status, body=content, headers=answer.headers)

    async def _cut(self, http: web.Request, answer: Answer, content: bytes) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers={"Content-Length": str(len(content) + 10_000)})
        if answer.cut == "hang":
            await self.closing.wait()
            return response
        await response.prepare(http)
        await response.write(content)
        if answer.cut == "stall":
            await self.closing.wait()
        assert http.transport
        while answer.cut == "drip" and not http.transport.is_closing():
            await response.write(b" ")
            await asyncio.sleep(0.02)
        if answer.cut == "reset":
            http.transport.abort()
        else:
            http.transport.close()
        return response

    async def _slowly(self, http: web.Request, answer: Answer, content: bytes) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers={"Content-Length": str(len(content))})
        await response.prepare(http)
        for byte in content:
            await response.write(bytes([byte]))
            await asyncio.sleep(0.05)
        return response

    async def serve(self, started: threading.Event) -> None:
        self.closing = asyncio.Event()
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{everything:.*}", self.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()
        await self.closing.wait()
        await runner.cleanup()


@contextmanager
def vendor(script: Script = lambda seen: Answer(), tls: ssl.SSLContext | None = None) -> Iterator[VendorServer]:
    """A running server; by default it takes everything."""
    server, loop, started = VendorServer(script, tls), asyncio.new_event_loop(), threading.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve(started)), daemon=True)
    thread.start()
    assert started.wait(60)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(server.closing.set)
        thread.join(10)
        loop.close()
