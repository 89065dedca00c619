"""For tests: a sandbox in a background thread, on a free port."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from sandbox.server import Options, Sandbox
from sandbox.serving import listen

_BEAT = 0.01  # seconds
_STALLED = 0.03  # seconds between two beats: above it the machine had other things to do


class RunningSandbox:
    """A running sandbox, asked over HTTP like anybody would. `url` is the gateway."""

    def __init__(self, url: str, sandbox: Sandbox) -> None:
        self.url = url
        self.sandbox = sandbox
        self._stalls: list[tuple[float, float]] = []  # from, to; seconds since 1970

    async def beat(self) -> None:
        """Note when this machine lets the sandbox wait."""
        last = time.time()
        while True:
            await asyncio.sleep(_BEAT)
            now = time.time()
            if now - last > _STALLED:
                self._stalls.append((last, now))
            last = now

    def late(self, at: float) -> float:
        """By how many seconds a request that was seen at this time may have come before."""
        return max((at - begin for begin, end in self._stalls if begin <= at <= end + _BEAT), default=0.0)

    def stats(self, destination: str | None = None) -> list[dict[str, Any]]:
        """One entry per account; see `Account.shown`."""
        found: list[dict[str, Any]] = self._get("stats")
        return [s for s in found if destination in (None, s["destination"])]

    def told(self, destination: str | None = None, identifier: str | None = None) -> list[dict[str, Any]]:
        """What each account was told: people, events, lists."""
        given = {"destination": destination, "identifier": identifier}
        found: list[dict[str, Any]] = self._get("told", {k: v for k, v in given.items() if v is not None})
        return found

    def fault(self, **fault: Any) -> None:
        """Set a fault; the fields are those of `sandbox.faults.Fault`."""
        _checked(requests.post(f"{self.url}/_sandbox/faults", json=fault, timeout=10))

    def reset(self) -> None:
        _checked(requests.post(f"{self.url}/_sandbox/reset", timeout=10))

    def _get(self, what: str, params: dict[str, str] | None = None) -> Any:
        return _checked(requests.get(f"{self.url}/_sandbox/{what}", params=params, timeout=60)).json()


def _checked(response: requests.Response) -> requests.Response:
    if not response.ok:
        raise ValueError(f"the sandbox refused: {response.text}")
    return response


@contextmanager
def running_sandbox(**options: Any) -> Iterator[RunningSandbox]:
    """Run a sandbox while the block lasts; the options are those of `sandbox.server.Options`."""
    sandbox = Sandbox(Options(**options))
    loop = asyncio.new_event_loop()
    started = threading.Event()
    running: list[RunningSandbox] = []
    stop = asyncio.Event()

    async def serve() -> None:
        async with listen(sandbox, port=0) as address:
            running.append(RunningSandbox(address, sandbox))
            started.set()
            beating = asyncio.create_task(running[0].beat())
            await stop.wait()
            beating.cancel()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            started.set()
            loop.close()

    thread = threading.Thread(target=run, name="sandbox", daemon=True)
    thread.start()
    started.wait()
    if not running:
        raise RuntimeError("the sandbox could not start; its thread says why")
    try:
        yield running[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
