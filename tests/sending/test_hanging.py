"""A vendor that is silent, or slow: how long a request is waited for, and what becomes of it then."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Literal

import pytest

from schemas.calls import Call
from schemas.outcomes import Delivered, Expired
from schemas.workspace import Cap
from tests.sending.delivering import FAST, failing, identify, people, start, until, webhook
from tests.sending.vendor_server import Answer, VendorServer
from transforms.destinations.contract import Conversation, Request, all_of
from transforms.destinations.webhook import Webhook

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
TWICE = [identify(0), failing(identify(0, value=False), 1_000.0)]  # one after the other, on one connection


@pytest.fixture
def deliver_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the webhook send other requests."""

    def use(method: str, content: bytes | None = None) -> None:
        def deliver(hook: Webhook, calls: Sequence[Call]) -> Conversation:
            yield Request(method, hook.settings.url, content=content)
            return all_of(calls, Delivered())

        monkeypatch.setattr(Webhook, "deliver", deliver)

    return use


@contextmanager
def raw_vendor(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> Iterator[str]:
    """A server that speaks no HTTP by itself; its URL."""
    url, ready = "", threading.Event()
    end: Callable[[], object] = ready.clear

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):  # the sender is done
            await serve(reader, writer)
        writer.close()

    async def listen() -> None:
        nonlocal url, end
        closing = asyncio.Event()
        end = partial(asyncio.get_running_loop().call_soon_threadsafe, closing.set)
        server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await closing.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(listen()), daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield url
    finally:
        end()
        thread.join(10)


@pytest.mark.parametrize("cut", ["hang", "stall"])
def test_a_call_expires_with_the_kind_of_failure_where_the_vendor_said_nothing(
    server: VendorServer, cut: Literal["hang", "stall"]
) -> None:
    server.script = lambda seen: Answer(500, cut=cut)
    options = replace(FAST, gateway=server.url, read_timeout=0.1, retry_for=0.2)
    running = start([failing(identify(1), 1_000.0)], webhook(), options)
    running.report()
    assert {0: Expired("no answer within 0.1 s", attempts=1)} == running.final


@pytest.mark.parametrize(("method", "content"), [("PUT", b"{}"), ("GET", None)])
def test_a_silent_vendor_is_asked_once_per_attempt_whatever_the_method(
    server: VendorServer, deliver_with: Callable[..., None], method: str, content: bytes | None
) -> None:
    """An HTTP client may send these again by itself, where an open connection breaks off."""
    deliver_with(method, content)
    server.script = lambda seen: Answer(cut="hang" if seen.number else "")
    running = start(TWICE, webhook(), replace(FAST, gateway=server.url, read_timeout=0.5, retry_for=0.1))
    running.report(within=4.0)
    assert {0: Delivered(), 1: Expired("no answer within 0.5 s", attempts=1)} == running.final
    assert 2 == len(server.seen)


def test_a_request_is_given_its_time_from_when_it_leaves_again(deliver_with: Callable[..., None]) -> None:
    """aiohttp repeats a PUT whose connection died; the repeat waits for its turn longer than a vendor may be silent."""
    deliver_with("PUT", b"{}")
    requests = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        while True:
            await reader.readuntil(b"\r\n\r\n{}")
            requests += 1
            if requests == 2:
                return
            writer.write(OK)

    with raw_vendor(serve) as url:
        report = start(TWICE, webhook(cap=Cap(1, 0.8)), replace(FAST, gateway=url, read_timeout=0.4)).report()
    assert (2, {"200": 2}, 3) == (report.delivered, report.statuses, report.requests)


@pytest.mark.filterwarnings("ignore:Sending a large body")
def test_a_request_that_the_vendor_does_not_read_is_broken_off(deliver_with: Callable[..., None]) -> None:
    """Otherwise it would arrive later, after all; and its connection would stay open until then."""
    body = bytes(2**24)
    deliver_with("POST", body)
    arrived: list[int] = []
    given_up = threading.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()
        await asyncio.to_thread(given_up.wait)
        writer.transport.resume_reading()
        number = 0
        with suppress(ConnectionError):
            while part := await reader.read(2**16):
                number += len(part)
        arrived.append(number)

    with raw_vendor(serve) as url:
        running = start([failing(identify(1), 1_000.0)], webhook(), replace(FAST, gateway=url, read_timeout=0.05))
        running.report(within=20.0)
        given_up.set()
        until(lambda: len(arrived) == running.report().requests)
    assert "no whole answer within 0.5 s" == running.final[0].words
    assert max(arrived) < len(body)


def test_an_answer_may_take_its_time_while_it_comes(server: VendorServer) -> None:
    server.script = lambda seen: Answer(json={"is": "very slow, but it does come"}, cut="slow")
    running = start(people(1), webhook(), replace(FAST, gateway=server.url, read_timeout=0.8))
    assert (1, 1) == (running.report().delivered, running.report().requests)
    assert running.report().seconds > 2 * 0.8


def test_headers_are_heard_too() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        headers, body = OK[:-2], OK[-2:]
        for part in (headers, body):
            await asyncio.sleep(0.6)
            writer.write(part)

    with raw_vendor(serve) as url:
        report = start(people(1), webhook(), replace(FAST, gateway=url, read_timeout=1.0)).report()
    assert (1, 1) == (report.delivered, report.requests)


def test_an_answer_that_comes_drop_by_drop_is_given_up(server: VendorServer) -> None:
    server.script = lambda seen: Answer(500, cut="drip")
    options = replace(FAST, gateway=server.url, read_timeout=0.1, retry_for=2.0)
    running = start([failing(identify(1), 1_000.0)], webhook(), options)
    running.report(within=5.0)
    assert {0: Expired("no whole answer within 1 s", attempts=2)} == running.final
    assert 2 == len(server.seen)
