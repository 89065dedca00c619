"""The HTTP server of a service: a table of routes, `/healthz` and `/status` among them."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any

import msgspec

from pipeline.metrics import metrics_page
from pipeline.status_guard import Guard, is_local

LOCAL = "127.0.0.1"
_MOST = 65_536  # bytes of a body
_PATIENCE = 30.0  # seconds that a client may be silent
_ALWAYS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True)
class Asked:
    """One request."""

    path: str
    query: str
    headers: Mapping[str, str]  # by their names in lower case
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What it is answered."""

    status: int
    content: bytes
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


Route = Callable[[Asked], Answer]
Routes = Mapping[str, Route]  # by method and path: `GET /status`


def in_json(status: int, body: Any, headers: Mapping[str, str] = MappingProxyType({})) -> Answer:
    return Answer(status, msgspec.json.encode(body) + b"\n", headers=headers)


def status_routes(status: Callable[[], dict[str, Any]], well: Callable[[], bool]) -> dict[str, Route]:
    """What every service answers. Another route is one line more in the table that is given to `serving_status`."""

    def healthz(asked: Asked) -> Answer:
        fine = well()
        return in_json(200 if fine else 503, {"well": fine})

    page = metrics_page(status, well)

    def metrics(asked: Asked) -> Answer:
        content, kind = page(asked.headers.get("accept", ""))
        return Answer(200, content, kind)

    return {"GET /healthz": healthz, "GET /metrics": metrics, "GET /status": lambda asked: in_json(200, status())}


def answer_of(routes: Routes, method: str, asked: Asked) -> Answer:
    """The answer of the route that is meant. A route that fails is a 503 with its words."""
    route = routes.get(f"{method} {asked.path}")
    if route is None:
        return in_json(404, {"paths": sorted({name.partition(" ")[2] for name in routes})})
    try:
        return route(asked)
    except Exception as error:  # a damaged file of the state, say: who asks has to hear of it
        return in_json(503, {"trouble": str(error) or repr(error)})


@contextmanager
def serving_status(port: int, routes: Routes, host: str = LOCAL, token: str = "") -> Iterator[int]:
    """Serve while the block lasts; the port. 0 takes a free one. Raises OSError where it cannot be had.

    `token`: what each request has to bring, see `Guard`.
    """
    guard = Guard(is_local(host), token)
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]

    class Server(ThreadingHTTPServer):
        address_family = family
        daemon_threads = True

    with Server((host, port), _handler(routes, guard)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _handler(routes: Routes, guard: Guard) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version, sys_version = "profilecast", ""
        timeout = _PATIENCE

        def do_GET(self) -> None:
            self._answer("GET", b"")

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > _MOST:
                self.close_connection = True  # its body is not read
                self._send(in_json(413, {"trouble": f"a body of at most {_MOST:,} bytes, with its length, is taken"}))
                return
            self._answer("POST", self.rfile.read(int(length)))

        def _answer(self, method: str, body: bytes) -> None:
            path, _, query = self.path.partition("?")
            named = {name.lower(): value for name, value in self.headers.items()}
            if refused := guard.refusal(method, path, named):
                self._send(in_json(refused.status, {"trouble": refused.words}, refused.headers))
            else:
                self._send(answer_of(routes, method, Asked(path, query, named, body)))

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            told = {"Content-Type": answer.kind, "Content-Length": str(len(answer.content)), **_ALWAYS}
            for name, value in (told | dict(answer.headers)).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Requests for the status are not logged."""

    return Handler
