"""`serve --listen`: messages acknowledged in a second, by a listener on one core, each on the disk before its answer.

    python -m benchmarks.listen [--seconds 10] [--folder DIR]

The listener is a process of its own on the first core, without folding and senders; what posts is on the others. Each
sender has one request under way at a time. At the end every acknowledged message has to be in the inbox, or the exit
code is 1. `--folder` is where the inbox lies: its disk is what is measured.
"""

import argparse
import asyncio
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

from benchmarks.machine import facts
from pipeline.inbox import Inbox
from pipeline.listening import bound, listening

KEY = "benchmark-key"
CASES = ((1, 1), (1, 64), (10, 32), (100, 16), (400, 16))  # messages in a request, senders


class Measured(NamedTuple):
    messages: int
    times: list[float]  # of the requests, seconds
    seconds: float
    cpu: float  # of the listener, seconds


def serve(folder: Path) -> None:
    """Listen until standard input ends."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    def say(event: str, words: str = "", **details: object) -> None:
        print(json.dumps({"event": event, "words": words, **details}), flush=True)

    with bound("127.0.0.1", 0) as opened, listening(opened, [KEY], Inbox(folder), say):
        sys.stdin.read()


def body(number: int) -> bytes:
    """A batch as Engage sends it."""
    personas = {"computation_class": "audience", "computation_key": "big_spenders", "computation_id": "aud_2djnfxHHnYG"}
    personas |= {"namespace": "spa_o1E9fAxCkCzjp6rLG1ptWR", "space_id": "spa_o1E9fAxCkCzjp6rLG1ptWR"}
    message = {
        "type": "identify",
        "userId": "c7b8b1a4-8e5f-4c0e-9d0a-1f2e3d4c5b6a",
        "messageId": "personas_2fyFNSKX4MjAbsNJF5ZnNzCq0OV",
        "timestamp": "2026-01-05T09:00:00.066Z",
        "originalTimestamp": "2026-01-05T09:00:00.066179717Z",
        "traits": {"big_spenders": True, "email": "ana.example@mail.example"},
        "context": {"personas": personas, "library": {"name": "unknown", "version": "unknown"}},
        "integrations": {"All": False, "Warehouses": {"all": False}},
    }
    return json.dumps({"batch": [message] * number}).encode()


async def post(port: int, content: bytes, until: float, times: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key = base64.b64encode(f"{KEY}:".encode()).decode()
    head = f"POST /v1/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {key}\r\nContent-Length: {len(content)}\r\n\r\n"
    while time.monotonic() < until:
        began = time.monotonic()
        writer.write(head.encode() + content)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        length = int(answer.lower().partition(b"content-length:")[2].partition(b"\r")[0])
        await reader.readexactly(length)
        times.append(time.monotonic() - began)
    writer.close()


async def measure(port: int, pid: int, number: int, senders: int, seconds: float) -> Measured:
    times: list[float] = []
    began, cpu = time.monotonic(), _cpu(pid)
    content = body(number)
    await asyncio.gather(*(post(port, content, began + seconds, times) for _ in range(senders)))
    return Measured(len(times) * number, times, time.monotonic() - began, _cpu(pid) - cpu)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def listener(folder: Path) -> Iterator[tuple[int, int]]:
    """Its port and its process."""
    command = [sys.executable, "-m", "benchmarks.listen", "--serve", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdin
        address = json.loads(process.stdout.readline())["address"]
        yield int(address.rpartition(":")[2]), process.pid
        process.stdin.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each case")
    parser.add_argument("--folder", type=Path, default=Path.cwd() / "out")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return 0
    print(facts())
    print(f"{len(body(1)):,} bytes of a request with one message")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        return _all(Path(folder), arguments.seconds)


def _all(folder: Path, seconds: float) -> int:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores - {min(cores)} or cores)
    acknowledged = 0
    print("| messages in a request | senders | messages/s | requests/s | p50 | p99 | of the core |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    with listener(folder) as (port, pid):
        for number, senders in CASES:
            found = asyncio.run(measure(port, pid, number, senders, seconds))
            acknowledged += found.messages
            cuts = quantiles(found.times, n=100)
            rates = f"{found.messages / found.seconds:,.0f} | {len(found.times) / found.seconds:,.0f}"
            waits = f"{cuts[49] * 1000:.1f} ms | {cuts[98] * 1000:.1f} ms"
            print(f"| {number} | {senders} | {rates} | {waits} | {found.cpu / found.seconds:.0%} |", flush=True)
    lines = sum(path.read_bytes().count(b"\n") for path in (folder / "inbox").iterdir())
    print(f"{acknowledged:,} acknowledged, {lines:,} in the inbox")
    return 0 if acknowledged == lines else 1


if __name__ == "__main__":
    raise SystemExit(main())
