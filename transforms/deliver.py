"""Deliver: each connection's log goes to its vendor, all connections at the same time, by the process's sender."""

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Protocol

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from schemas.report import Report
from transforms.counting import CountingFn


class Deliverer(Protocol):
    """Delivers connections by name; see `pipeline.delivering`. Picklable."""

    def start(self, connection: str) -> "Future[Report]": ...


class Deliver(beam.PTransform):
    """Names of connections → a `Report` of each, when nothing more of its log can be sent."""

    def __init__(self, deliverer: Deliverer) -> None:
        super().__init__()
        self._fn = _DeliverFn(deliverer)

    def expand(self, names: beam.PCollection) -> beam.PCollection:
        return names | "Deliver" >> beam.ParDo(self._fn)


class _DeliverFn(CountingFn):
    COUNTS = ("requests", "delivered", "rejected", "expired", "superseded")

    def __init__(self, deliverer: Deliverer) -> None:
        self._deliverer = deliverer

    def start_bundle(self) -> None:
        self._running: list[Future[Report]] = []

    def process(self, connection: str) -> None:
        self._running.append(self._deliverer.start(connection))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        window = GlobalWindow()
        for running in self._running:
            report = running.result()
            counts = report.requests, report.delivered, report.rejections, report.expired, report.superseded
            for name, number in zip(self.COUNTS, counts, strict=True):
                self.count(name, number)
            yield WindowedValue(report, window.max_timestamp(), [window])
