"""The sender without a cap, beside a bare client loop of the same library; and four connections of 500/s at once,
beside bare loops at the same pace: a request costs more where the processor has slept before it.

    python -m benchmarks.sender [--requests 20000] [--seconds 10]

Bodies of 1 KB, one call per request, 16 requests at once; the receiver is a process of its own. CPU is of the
sending process, all of it: outbox, lanes, limiter, message, request, answer, receipt. Three times each, in turns.
"""

import argparse
import asyncio
import time

import aiohttp

from benchmarks.deliveries import call, hook
from benchmarks.machine import facts
from benchmarks.receiver import receiver
from schemas.workspace import Cap
from transforms.destinations.contract import Destination
from transforms.destinations.webhook import Webhook
from transforms.sender import Sender

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


def bare(requests: int) -> tuple[float, float]:
    """The same of a loop that posts the same bytes again and again."""
    with receiver() as there:
        delivery = hook("hook", there.url, 1)
        body = _body(Webhook(delivery.workspace, delivery.connection))
        started = time.process_time(), time.perf_counter()
        asyncio.run(_post(there.url, body, requests))
        return time.process_time() - started[0], time.perf_counter() - started[1]


def _body(destination: Destination) -> bytes:
    request = next(destination.deliver([call(0)], {}))
    return request.body() or b""


async def _post(url: str, body: bytes, requests: int) -> None:
    async def work(session: aiohttp.ClientSession) -> None:
        for _ in range(requests // AT_ONCE):
            async with session.post(url, data=body, headers={"content-type": "application/json"}) as answer:
                await answer.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session:
        await asyncio.gather(*(work(session) for _ in range(AT_ONCE)))


async def _paced(url: str, body: bytes, requests: int) -> None:
    """One connection's: a few at a time, 500 a second."""

    async def post() -> None:
        async with session.post(url, data=body, headers={"content-type": "application/json"}) as answer:
            await answer.read()

    started = time.monotonic()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session:
        posts = []
        for number in range(requests):
            if number % TOGETHER == 0:
                await asyncio.sleep(started + number / PACE - time.monotonic())
            posts.append(asyncio.create_task(post()))
        await asyncio.gather(*posts)


async def _four_paced(url: str, body: bytes, requests: int) -> None:
    await asyncio.gather(*(_paced(url, body, requests) for _ in range(4)))


def bare_capped(seconds: float) -> None:
    """Four bare loops of 500/s at once."""
    with receiver() as there:
        delivery = hook("hook", there.url, 1)
        body = _body(Webhook(delivery.workspace, delivery.connection))
        started = time.process_time(), time.perf_counter()
        asyncio.run(_four_paced(there.url, body, int(PACE * seconds)))
        cpu, wall = time.process_time() - started[0], time.perf_counter() - started[1]
    print(f"four bare loops of 500/s: {cpu / wall:.2f} of a core")


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
    ways = {"bare aiohttp": bare, "sender": sender}
    best = dict.fromkeys(ways, (float("inf"), float("inf")))
    for _ in range(3):
        for name, way in ways.items():
            best[name] = min(best[name], way(requests))
    for name, (cpu, wall) in best.items():
        print(f"{name:12}  {requests / wall:>6,.0f} requests/s  {cpu / requests * 1000:.3f} ms CPU per request")
    print(f"the sender takes {best['sender'][0] / best['bare aiohttp'][0]:.2f} of the bare loop's CPU")
    for _ in range(3):
        bare_capped(arguments.seconds)
        capped(arguments.seconds)


if __name__ == "__main__":
    main()
