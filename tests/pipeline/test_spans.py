"""OpenTelemetry: a span for each request, and nothing secret or personal in it."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import Any

import pytest

from tests.pipeline import running
from tests.pipeline.conftest import Shop
from tests.pipeline.running import profile, score

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra `traces`")


class Collector:
    """What came over OTLP/HTTP."""

    def __init__(self, url: str) -> None:
        self.url, self.bodies = url, list[bytes]()
        self.paths: set[str] = set()

    def spans(self) -> list[Any]:
        service = import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
        found = [service.ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [s for each in found for of in each.resource_spans for scope in of.scope_spans for s in scope.spans]


@pytest.fixture
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.paths.add(self.path)
            found.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Collector(f"http://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield found
        server.shutdown()


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def test_each_request_is_a_span(shop: Shop, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    statuses = iter([503, 0])
    shop.receiver.answer = lambda host, message: next(statuses, 200)
    at = "2026-01-01T00:00:00Z"
    events = profile("ana", at, "ana@x.example"), score("ana", at, 1)
    process = running.command("run", *shop.arguments(*events))
    said = process.communicate(timeout=60)
    assert 0 == process.returncode, said
    spans = collector.spans()
    assert {"/v1/traces"} == collector.paths
    assert len(shop.receiver.messages) == len(spans) >= 4
    told = [attributes(span) for span in spans]
    codes = [each.get("http.response.status_code", each.get("error.type")) for each in told]
    assert sorted(map(str, [200, 503, "none", *[200] * (len(spans) - 3)])) == sorted(map(str, codes))
    assert [code != 200 for code in codes] == [span.status.code == 2 for span in spans]
    assert max(each["profilecast.attempt"] for each in told) >= 2
    assert {("hook", "webhook", 1)} == {
        (each["profilecast.connection"], each["profilecast.destination"], each["profilecast.calls"]) for each in told
    }
    assert all(0 < span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)
    everything = b"".join(collector.bodies)
    assert b"ana" not in everything
    assert b"hook.example" not in everything


def test_without_an_endpoint_nothing_is_traced(shop: Shop, collector: Collector) -> None:
    assert 0 == shop.run(profile("ana", "2026-01-01T00:00:00Z"), score("ana", "2026-01-01T00:00:00Z", 1))
    assert [] == collector.bodies
    assert shop.receiver.messages
