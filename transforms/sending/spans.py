"""A span for each request, for OpenTelemetry: where the extra `traces` is installed and an endpoint is set.

It has no URL, no header and no word of a vendor: these may be secret, or about people.
"""

import os
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from schemas.report import Report
    from transforms.sending.talk import Talk

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def span(report: "Report", talk: "Talk", status: str, began: float, ended: float) -> None:
    """One request went out, and came to this. Times in seconds since 1970. It is sent later, on another thread."""
    if (tracer := _tracer()) is None:
        return
    from opentelemetry.trace import SpanKind, StatusCode

    told: dict[str, str | int] = {
        "profilecast.connection": report.connection,
        "profilecast.destination": report.destination,
        "profilecast.endpoint": talk.endpoint,
        "profilecast.calls": talk.items,
        "profilecast.attempt": talk.attempts,
    }
    if status.isdecimal():
        told["http.response.status_code"] = int(status)
    else:
        told["error.type"] = status
    made = tracer.start_span(report.destination, kind=SpanKind.CLIENT, attributes=told, start_time=int(began * 1e9))
    if status[0] != "2":
        made.set_status(StatusCode.ERROR)
    made.end(int(ended * 1e9))


@cache
def _tracer() -> "Tracer | None":
    """None: nobody wants spans, or they cannot be made."""
    if not os.environ.get(ENDPOINT):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        return None
    named = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "profilecast")})
    provider = TracerProvider(resource=named)  # it sends what is left when the process ends
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("profilecast")
