"""`GET /metrics`: what `/status` knows, as Prometheus reads it. Nothing is counted for it alone.

`METRICS` has every name; the table in `docs/operations.md` is made of it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from schemas.workspace import UNITS
from transforms.logic.traffic import BOUNDS

Status = Mapping[str, Any]
Samples = Iterable[tuple[tuple[str, ...], Any]]  # values of the labels behind `connection`, and the number


class Described(NamedTuple):
    """One metric. `samples` takes the status of a connection where `connection` is a label, else of the service.

    What a service does not know has no samples.
    """

    name: str  # of a counter without `_total`
    kind: str
    labels: tuple[str, ...]
    says: str
    samples: Callable[[Status], Samples]

    @property
    def shown(self) -> str:
        """The name as queries have it."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def _one(*path: str, of: Callable[[Any], float] = float) -> Callable[[Status], Samples]:
    """The number at a place of the status, if there is one."""

    def samples(status: Status) -> Samples:
        found: Any = status
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return [] if found is None else [((), of(found))]

    return samples


def _each(*names: str) -> Callable[[Status], Samples]:
    """A number for each of several fields, by their names."""
    return lambda status: [((name,), float(bool(status[name]))) for name in names if name in status]


def _outcomes(status: Status) -> Samples:
    return [((outcome,), status[outcome]) for outcome in ("delivered", "rejected", "expired", "superseded")]


def _answers(status: Status) -> Samples:
    found = dict.fromkeys((f"{digit}xx" for digit in "2345"), 0)
    for code, number in status["statuses"].items():
        if code.isdecimal():
            found[f"{code[0]}xx"] = found.get(f"{code[0]}xx", 0) + number
    return [((each,), number) for each, number in found.items()]


def _unanswered(status: Status) -> Samples:
    return [((), sum(number for code, number in status["statuses"].items() if not code.isdecimal()))]


def _throttled(status: Status) -> Samples:
    return [((), status["statuses"].get("429", 0))]


def _histogram(status: Status) -> Samples:
    """Prometheus counts upwards: each bound with all that were faster."""
    buckets, so_far, answers = [], 0, status["answers"]
    for bound in BOUNDS:
        so_far += answers.get(f"{bound:g}", 0)
        buckets.append((str(bound), so_far))
    buckets.append(("+Inf", sum(answers.values())))
    return [((), (buckets, status["answer_seconds"]))]


def _cap(status: Status) -> Samples:
    match = re.fullmatch(r"([\d.]+)/([smhd])", status["cap"])
    return [((), float(match[1]) / UNITS[match[2]])] if match else []


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def _service_troubles(status: Status) -> Samples:
    kinds = {"state": "trouble", "workspace": "workspace_refused", "unreadable": "unreadable"}
    return [((kind,), float(bool(status[name]))) for kind, name in kinds.items() if name in status]


def _source_reads(status: Status) -> Samples:
    return [((name,), _moment(each["read_at"])) for name, each in status.get("sources", {}).items()]


def _source_troubles(status: Status) -> Samples:
    return [((name,), float(bool(each["trouble"]))) for name, each in status.get("sources", {}).items()]


_OF_CONNECTION = ("connection",)
METRICS = (
    Described(
        "profilecast_well", "gauge", (), "1 while `/healthz` answers 200; 0 otherwise", _one("well")
    ),
    Described(
        "profilecast_start_time_seconds", "gauge", (), "When the service began, seconds since 1970; of `serve`",
        _one("since", of=_moment),
    ),
    Described(
        "profilecast_last_fold_timestamp_seconds", "gauge", (),
        "When something was last folded, seconds since 1970; 0: not yet; of `serve`", _one("folded_at", of=_moment),
    ),
    Described(
        "profilecast_events", "counter", (), "Events that were folded since the service began; of `serve`",
        _one("since_start", "events"),
    ),
    Described(
        "profilecast_unusable_records", "counter", (), "Records that could not be used, since it began; of `serve`",
        _one("since_start", "unusable"),
    ),
    Described(
        "profilecast_calls_made", "counter", (), "Calls that were made since the service began; of `serve`",
        _one("since_start", "calls"),
    ),
    Described(
        "profilecast_workspace_version", "gauge", (), "The version of the workspace that it sends with; of `send`",
        _one("version"),
    ),
    Described(
        "profilecast_service_trouble", "gauge", ("kind",),
        "1 for each trouble of the service: `state` (it cannot be used; of `send`: Kafka cannot), `workspace` (the "
        "changed file was refused), `unreadable` (a file of events)", _service_troubles,
    ),
    Described(
        "profilecast_source_read_timestamp_seconds", "gauge", ("source",),
        "When the table was last read and told, or found unchanged, seconds since 1970; 0: not yet; of `serve`",
        _source_reads,
    ),
    Described(
        "profilecast_source_trouble", "gauge", ("source",), "1 while the table is not told as it is now; of `serve`",
        _source_troubles,
    ),
    Described(
        "profilecast_calls", "counter", ("connection", "outcome"),
        "Calls with an outcome, since the state was made (of `send`: without those that were settled before it took "
        "the connection over): `delivered`, `rejected`, `expired`, `superseded`", _outcomes,
    ),
    Described("profilecast_waiting_calls", "gauge", _OF_CONNECTION, "Calls without an outcome", _one("waiting")),
    Described(
        "profilecast_scheduled_calls", "gauge", _OF_CONNECTION, "Of these, calls that wait for a time",
        _one("scheduled"),
    ),
    Described(
        "profilecast_oldest_change_seconds", "gauge", _OF_CONNECTION,
        "For how long the oldest change waits that could go; 0: none waits. Not counted is the time until a list's "
        "flush. Of events older than their sync, and of what a changed workspace asks for, only the time counts in "
        "which the vendor gives no useful answer", _one("oldest_change_seconds"),
    ),
    Described(
        "profilecast_requests", "counter", _OF_CONNECTION, "Requests that were sent, since the process began",
        _one("requests"),
    ),
    Described(
        "profilecast_answers", "counter", ("connection", "status"),
        "Answers by the class of their status, `2xx` to `5xx`, since the process began", _answers,
    ),
    Described(
        "profilecast_throttled_requests", "counter", _OF_CONNECTION, "Answers with 429, since the process began",
        _throttled,
    ),
    Described(
        "profilecast_unanswered_requests", "counter", _OF_CONNECTION,
        "Requests without an answer, and vendors out of reach, since the process began", _unanswered,
    ),
    Described(
        "profilecast_answer_seconds", "histogram", _OF_CONNECTION,
        "How long answers took, since the process began", _histogram,
    ),
    Described(
        "profilecast_cap_requests_per_second", "gauge", _OF_CONNECTION,
        "The connection's cap; without one there is no sample", _cap,
    ),
    Described(
        "profilecast_requests_per_second", "gauge", _OF_CONNECTION, "The rate of the last seconds",
        _one("requests_per_second"),
    ),
    Described(
        "profilecast_backlog_seconds", "gauge", _OF_CONNECTION, "About how long what waits takes; 0: not known",
        _one("seconds_left"),
    ),
    Described(
        "profilecast_connection_trouble", "gauge", ("connection", "kind"),
        "1 for each trouble of the connection: `stopped`, `blocked` (keys of it), `trouble` (calls were left for "
        "later), `silent` (its vendor gives no useful answer)", _each("stopped", "blocked", "trouble", "silent"),
    ),
    Described(
        "profilecast_paused", "gauge", _OF_CONNECTION, "1 while an operator has paused the connection",
        _one("paused", of=lambda since: float(bool(since))),
    ),
    Described(
        "profilecast_delivered_elsewhere", "gauge", _OF_CONNECTION, "1 while another process delivers the connection",
        _one("elsewhere"),
    ),
)  # fmt: skip

_FAMILIES = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily, "histogram": HistogramMetricFamily}


class _StatusCollector(Collector):
    """Asks for the status whenever somebody asks for the metrics."""

    def __init__(self, status: Callable[[], Status], well: Callable[[], bool]) -> None:
        self._status, self._well = status, well

    def describe(self) -> Iterable[Metric]:
        return []  # else the registry would ask for the status when this is registered

    def collect(self) -> Iterator[Metric]:
        status = {**self._status(), "well": self._well()}
        for metric in METRICS:
            family = _FAMILIES[metric.kind](metric.name, metric.says.replace("`", ""), labels=metric.labels)
            for labels, number in _samples(metric, status):
                if metric.kind == "histogram":
                    family.add_metric(labels, *number)
                else:
                    family.add_metric(labels, number)
            yield family


def _samples(metric: Described, status: Status) -> Samples:
    if metric.labels[:1] != _OF_CONNECTION:
        return metric.samples(status)
    connections = status["connections"].items()
    return [((name, *labels), number) for name, each in connections for labels, number in metric.samples(each)]


def metrics_page(status: Callable[[], Status], well: Callable[[], bool]) -> Callable[[str], tuple[bytes, str]]:
    """What makes the page for an `Accept` header; with it, its content type."""
    registry = CollectorRegistry()
    registry.register(_StatusCollector(status, well))
    ProcessCollector(registry=registry)

    def page(accept: str) -> tuple[bytes, str]:
        encode, kind = choose_encoder(accept)
        return encode(registry), kind

    return page


__all__ = ["METRICS", "Described", "metrics_page"]
