"""Listening: an HTTP server that takes messages, and answers when they are in the inbox, on the disk.

requests ─ lines ─┐
requests ─ lines ─┼─ one write and fsync ─ answers          while it goes on, the next ones gather
requests ─ lines ─┘
"""

import asyncio
import hmac
import socket
import threading
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

from aiohttp import BasicAuth, web

from pipeline.disk import StoreError
from pipeline.inbox import Inbox
from pipeline.moments import now
from transforms.logic.received import BATCHES, MAX_BODY, SINGLE, Refused, lines_of

_WAITING = 32 << 20  # bytes that may wait for the disk; with more, senders are asked to come again
_ENDING = 10.0  # seconds that requests in flight have to end
_RETRY = {"Retry-After": "5"}

Say = Callable[..., None]


def bound(host: str, port: int) -> socket.socket:
    """A socket with this address, which does not listen yet. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except OSError:
        opened.close()
        raise
    return opened


@contextmanager
def listening(opened: socket.socket, keys: Collection[str], inbox: Inbox, say: Say) -> Iterator[None]:
    """Take messages while the block lasts, from whoever has one of these write keys."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    serving = threading.Thread(target=_run, args=(_serve(opened, keys, inbox, say, started), started), name="listening")
    serving.start()
    loop, ending = started.result()
    host, port = opened.getsockname()[:2]
    say("listening", address=f"http://{f'[{host}]' if ':' in host else host}:{port}")
    try:
        yield
    finally:
        loop.call_soon_threadsafe(ending.set)
        serving.join()
        inbox.close()


def _run(serving: Coroutine[Any, Any, None], started: "Future[Any]") -> None:
    try:
        asyncio.run(serving)
    except BaseException as error:  # who waits for the start has to hear of it
        if started.done():
            raise
        started.set_exception(error)


async def _serve(
    opened: socket.socket,
    keys: Collection[str],
    inbox: Inbox,
    say: Say,
    started: "Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]",
) -> None:
    ending = asyncio.Event()
    commits = _Commits(inbox, say)
    committing = asyncio.create_task(commits.loop())
    app = web.Application(client_max_size=MAX_BODY + 1)
    app.router.add_post("/v1/{path}", _handler(keys, commits))
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_ENDING)
    await runner.setup()
    await web.SockSite(runner, opened).start()
    started.set_result((asyncio.get_running_loop(), ending))
    await ending.wait()
    await runner.cleanup()
    committing.cancel()


def _handler(keys: Collection[str], commits: "_Commits") -> Callable[[web.Request], Awaitable[web.Response]]:
    async def post(request: web.Request) -> web.Response:
        if not _authorised(request, keys):
            words = "the write key is none that this service takes; send it as the user name of basic authentication"
            return _refused(401, words, {"WWW-Authenticate": "Basic"})
        path = request.match_info["path"]
        if path not in SINGLE + BATCHES:
            return _refused(404, "there are " + ", ".join(f"/v1/{each}" for each in SINGLE + BATCHES))
        try:
            lines = lines_of(path, await _body(request), now())
            await commits.add(lines)
        except Refused as error:
            return _refused(error.status, str(error), _RETRY if error.status == 503 else {})
        return web.json_response({"success": True})

    return post


def _authorised(request: web.Request, keys: Collection[str]) -> bool:
    try:
        given = BasicAuth.decode(request.headers.get("Authorization", ""), "utf-8").login.encode()
    except ValueError:
        return False
    return sum(hmac.compare_digest(given, key.encode()) for key in keys) > 0


async def _body(request: web.Request) -> bytes:
    too_long = Refused(413, f"the body has more than {MAX_BODY:,} bytes, unpacked")
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise too_long from error
    except web.RequestPayloadError as error:
        raise Refused(400, "the body is cut, or not packed as its Content-Encoding says") from error
    if len(body) > MAX_BODY:
        raise too_long
    return body


def _refused(status: int, words: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"success": False, "message": words}, status=status, headers=headers)


class _Waits(NamedTuple):
    lines: bytes
    done: "asyncio.Future[None]"


class _Commits:
    """Brings lines to the disk: all that gathered meanwhile with one write and one fsync."""

    def __init__(self, inbox: Inbox, say: Say) -> None:
        self._inbox, self._say = inbox, say
        self._waiting: list[_Waits] = []
        self._size = 0  # bytes of what waits, or is being written
        self._some = asyncio.Event()
        self._trouble = ""

    async def add(self, lines: list[bytes]) -> None:
        """Return when they are on the disk. Raises Refused."""
        if not lines:
            return
        content = b"\n".join(lines) + b"\n"
        if self._size + len(content) > _WAITING:
            raise Refused(503, "the disk is behind; try again")
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waits(content, done))
        self._size += len(content)
        self._some.set()
        await done

    async def loop(self) -> None:
        with ThreadPoolExecutor(1, "inbox") as pool:
            while True:
                await self._some.wait()
                self._some.clear()
                taken, self._waiting = self._waiting, []
                await self._commit(taken, pool)
                self._size -= sum(len(each.lines) for each in taken)

    async def _commit(self, taken: list[_Waits], pool: ThreadPoolExecutor) -> None:
        content = b"".join(each.lines for each in taken)
        try:
            await asyncio.get_running_loop().run_in_executor(pool, self._inbox.write, content)
        except Exception as error:  # whatever it is: who waits has to hear of it
            self._tell(str(error) if isinstance(error, StoreError) else f"the inbox cannot be written: {error}")
            refused: Refused | None = Refused(503, "the disk refuses it; try again")
        else:
            self._tell("")
            refused = None
        for each in taken:
            if not each.done.done():  # whoever sent it may have gone
                if refused:
                    each.done.set_exception(refused)
                else:
                    each.done.set_result(None)

    def _tell(self, trouble: str) -> None:
        """Say a trouble once, and when it is over."""
        if trouble and trouble != self._trouble:
            self._say(
                "trouble", f"messages that are sent here are refused: {trouble}; make room or set its permissions"
            )
        elif self._trouble and not trouble:
            self._say("goes on", "messages that are sent here are taken again")
        self._trouble = trouble
