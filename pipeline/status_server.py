"""`GET /healthz` and `GET /status` of a service, on this machine only."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec


@contextmanager
def serving_status(port: int, status: Callable[[], dict[str, Any]], well: Callable[[], bool]) -> Iterator[int]:
    """Serve while the block lasts; the port. 0 takes a free one. Raises OSError where the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/healthz":
                    self._answer(200 if well() else 503, {"well": well()})
                case "/status":
                    try:
                        self._answer(200, status())
                    except Exception as error:  # a damaged file of the state, say: who asks has to hear of it
                        self._answer(503, {"trouble": str(error) or repr(error)})
                case _:
                    self._answer(404, {"paths": ["/healthz", "/status"]})

        def _answer(self, code: int, body: dict[str, Any]) -> None:
            content = msgspec.json.encode(body) + b"\n"
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Requests for the status are not logged."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
