"""A receiver in a process of its own, as cheap as can be: counts requests, answers 200; GET is asked for the figures.

python -m benchmarks.receiver [SECONDS]      prints its port; answers so much later
"""

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

arrivals: list[float] = []
late = float(sys.argv[1]) if __name__ == "__main__" and sys.argv[1:] else 0.0


class _Protocol(asyncio.Protocol):
    """HTTP/1.1 of well-behaved clients: one request at a time, with a Content-Length."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        if head.startswith(b"GET"):
            self._data = b""
            self._transport.write(_figures())
            return
        start = head.lower().find(b"content-length:") + 15
        end = head.find(b"\r\n", start)
        if len(body) >= int(head[start : end if end > 0 else None]):
            arrivals.append(time.monotonic())
            self._data = b""
            if late:
                asyncio.get_running_loop().call_later(late, self._transport.write, _ANSWER)
            else:
                self._transport.write(_ANSWER)


def _figures() -> bytes:
    found = {
        "requests": len(arrivals),
        "peak": peak(arrivals),
        "seconds": arrivals[-1] - arrivals[0] if arrivals else 0.0,
    }
    body = json.dumps(found).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def peak(times: list[float], seconds: float = 1.0) -> int:
    """The most requests in any sliding window."""
    most = start = 0
    for end, at in enumerate(times):
        while times[start] <= at - seconds:
            start += 1
        most = max(most, end - start + 1)
    return most


class Receiver:
    """A running receiver."""

    def __init__(self, url: str) -> None:
        self.url = url

    def figures(self) -> dict[str, Any]:
        """`requests`, `peak` (the most in any sliding second) and `seconds` from the first to the last."""
        with urllib.request.urlopen(self.url) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@contextmanager
def receiver(late: float = 0.0) -> Iterator[Receiver]:
    """One in a process of its own, while the block lasts; it answers `late` seconds after it has the request."""
    command = [sys.executable, "-m", "benchmarks.receiver", str(late)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        port = int(process.stdout.readline())
        try:
            yield Receiver(f"http://127.0.0.1:{port}/")
        finally:
            process.terminate()


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(_Protocol, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
