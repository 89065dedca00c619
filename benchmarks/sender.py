"""The sender without a cap, beside a bare client loop of the same library; and four connections of 500/s at once,
beside bare loops at the same pace: a request costs more where the processor has slept before it.

    python -m benchmarks.sender [--requests 20000] [--seconds 10]

Bodies of 1 KB, one call per request, 16 requests at once; the receiver is a process of its own. CPU is of the
sending process, all of it: outbox, lanes, limiter, message, request, answer, receipt. Three times each, in turns.
"""

import argparse
import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import aiohttp

from benchmarks.deliveries import call, hook
from benchmarks.machine import facts
from benchmarks.receiver import receiver
from schemas.workspace import Cap
from transforms.destinations.contract import Destination
from transforms.destinations.webhook import Webhook
from transforms.sending.sender import Sender

AT_ONCE = 16
PACE = 500
TOGETHER = 5  # requests sent in one step


def sender(requests: int) -> tuple[float, float]:
    """CPU and wall seconds of so many requests through the sender."""
    with receiver() as there:
        delivery = hook("hook", there.url, requests)
        started = time.process_time(), time.perf_counter()
        report = Sender().start(delivery).result()
        cpu, wall = time.process_time() - started[0], time.perf_counter() - started[1]
        assert (requests, requests) == (report.delivered, there.figures()["requests"])
    return cpu, wall


def bare(post: Callable[[str, bytes], Coroutine[Any, Any, None]]) -> tuple[float, float]:
    """The same of a loop that posts the same bytes again and again."""
    with receiver() as there:
        delivery = hook("hook", there.url, 1)
        body = _body(Webhook(delivery.workspace, delivery.connection))
        started = time.process_time(), time.perf_counter()
        asyncio.run(post(there.url, body))
        return time.process_time() - started[0], time.perf_counter() - started[1]


def _body(destination: Destination) -> bytes:
    request = next(destination.deliver([call(0)]))
    return request.body() or b""


async def _post(session: aiohttp.ClientSession, url: str, body: bytes) -> None:
    async with session.post(url, data=body, headers={"content-type": "application/json"}) as answer:
        await answer.read()


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE))


async def _in_a_row(url: str, body: bytes, requests: int) -> None:
    async def work() -> None:
        for _ in range(requests // AT_ONCE):
            await _post(session, url, body)

    async with _session() as session:
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))


async def _paced(url: str, body: bytes, requests: int) -> None:
    """One connection's: a few at a time, 500 a second."""
    started = time.monotonic()
    async with _session() as session:
        posts = []
        for number in range(requests):
            if number % TOGETHER == 0:
                await asyncio.sleep(started + number / PACE - time.monotonic())
            posts.append(asyncio.create_task(_post(session, url, body)))
        await asyncio.gather(*posts)


async def _four_paced(url: str, body: bytes, requests: int) -> None:
    await asyncio.gather(*(_paced(url, body, requests) for _ in range(4)))


def capped(seconds: float) -> None:
    """Four connections of 500/s at once."""
    with receiver() as there:
        deliveries = [hook(f"hook-{n}", there.url, int(500 * seconds), Cap(500)) for n in range(4)]
        process = Sender()
        started = time.process_time(), time.perf_counter()
        reports = [running.result() for running in [process.start(each) for each in deliveries]]
        cpu, wall = time.process_time() - started[0], time.perf_counter() - started[1]
        peak = there.figures()["peak"]
    slowest = max(report.seconds for report in reports)
    print(
        f"four connections of 500/s: {500 * seconds * 4 / slowest:,.0f} requests/s in all, at most {peak} in a second; "
        f"{cpu / wall:.2f} of a core, {cpu / (2000 * seconds) * 1000:.3f} ms CPU per request"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    print(facts())
    requests = arguments.requests // AT_ONCE * AT_ONCE
    ways: dict[str, Callable[[], tuple[float, float]]] = {
        "bare aiohttp": partial(bare, partial(_in_a_row, requests=requests)),
        "sender": partial(sender, requests),
    }
    best = dict.fromkeys(ways, (float("inf"), float("inf")))
    for _ in range(3):
        for name, way in ways.items():
            best[name] = min(best[name], way())
    for name, (cpu, wall) in best.items():
        print(f"{name:12}  {requests / wall:>6,.0f} requests/s  {cpu / requests * 1000:.3f} ms CPU per request")
    print(f"the sender takes {best['sender'][0] / best['bare aiohttp'][0]:.2f} of the bare loop's CPU")
    for _ in range(3):
        cpu, wall = bare(partial(_four_paced, requests=int(PACE * arguments.seconds)))
        print(f"four bare loops of 500/s: {cpu / wall:.2f} of a core")
        capped(arguments.seconds)


if __name__ == "__main__":
    main()
