"""For tests of whole runs: events, a receiver over real HTTP, and the command itself."""

import io
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pipeline.state_db import StateDb

Event = dict[str, Any]
Message = dict[str, Any]

WORKSPACE = """\
workspace: shop
computations:
  - {name: Vip, kind: audience}
  - {name: Score, kind: trait}
connections:
"""
CONNECTION = """\
  - name: %s
    destination: webhook
    settings: {url: "https://%s.example/in"}
    syncs:
      - {computation: vip, as: [identify, track]}
      - {computation: score, as: identify}
"""


def workspace(path: Path, *connections: str, cap: str = "") -> Path:
    """A workspace file with webhooks of these names."""
    limit = f"    cap: {cap}\n" if cap else ""
    path.write_text(WORKSPACE + "".join(CONNECTION % (name, name) + limit for name in connections))
    return path


def profile(who: str, at: str, *emails: str) -> Event:
    ids = [{"type": "user_id", "id": who}, *({"type": "email", "id": email} for email in emails)]
    return {"type": "profile", "profile_id": who, "at": at, "external_ids": ids}


def vip(who: str, at: str, member: bool = True) -> Event:
    return {"type": "audience", "profile_id": who, "at": at, "computation": "vip", "member": member}


def score(who: str, at: str, value: Any) -> Event:
    return {"type": "trait", "profile_id": who, "at": at, "computation": "score", "value": value}


def write_events(path: Path, *events: Event) -> Path:
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


class Receiver:
    """Everything that is posted to `url`, in order of arrival; `answer` gives the status, 0 for none.

    `times`: when this machine took each in (seconds since 1970), however late this process came to read it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.messages: list[Message] = []
        self.times: list[float] = []
        self.answer: Callable[[str, Message], int] = lambda host, message: 200

    def message_ids(self) -> list[str]:
        return [message["messageId"] for message in self.messages]


class Arriving(io.RawIOBase):
    """A connection that says when the first byte came of what is read since `began` was set to 0.

    On Linux that is the moment at which the kernel took it in.
    """

    _STAMPS = 35  # SO_TIMESTAMPNS, which Python has no name for

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self.began = connection, 0.0

    @classmethod
    def stamp(cls, server: socket.socket) -> None:
        """Let the kernel note when everything comes, on all connections that the server gets."""
        if sys.platform == "linux":
            server.setsockopt(socket.SOL_SOCKET, cls._STAMPS, 1)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size, notes, _, _ = self._connection.recvmsg_into([buffer], socket.CMSG_SPACE(16))
        stamps = [note for level, kind, note in notes if (level, kind) == (socket.SOL_SOCKET, self._STAMPS)]
        seconds, nanoseconds = struct.unpack("qq", stamps[0]) if stamps else (time.time(), 0)
        self.began = self.began or seconds + nanoseconds / 1e9
        return size


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    """A receiver while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            self._arriving = Arriving(self.connection)
            self.rfile = io.BufferedReader(self._arriving)

        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                receiver.messages.append(message)
                receiver.times.append(self._arriving.began)
                self._arriving.began = 0.0
                status = receiver.answer(self.path.split("/")[1], message)
            if not status:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 64

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Clients that are killed close their connections in the middle."""

    lock = threading.Lock()
    with Server(("127.0.0.1", port), Handler) as server:
        Arriving.stamp(server.socket)
        receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield receiver
        server.shutdown()


def command(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """`profilecast …` as a process of its own."""
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *map(str, arguments)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        **options,
    )


def summary_of(state: Path, run: str = "") -> dict[str, Any]:
    """The summary of a run, by default of the last one."""
    runs = [path for path in (state / "runs").iterdir() if (path / "summary.json").exists()]
    found: dict[str, Any] = json.loads(((state / "runs" / run if run else max(runs)) / "summary.json").read_text())
    return found


def dead_letters(state: Path) -> list[dict[str, Any]]:
    """Those of the last run; without any there is no file."""
    path = max(path for path in (state / "runs").iterdir() if path.is_dir()) / "dead_letters.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def subjects(state: Path) -> dict[str, bytes]:
    """Everything that is known of people, packed."""
    with StateDb.use(state) as db:
        return db.get(db.names("", 10_000))
