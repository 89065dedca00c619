"""Deliver: after the commit, each connection's outbox goes to its vendor.

The work is done by the process's sender (`transforms/sender.py`), all connections at the same time:
a bundle hands its outboxes over in `process` and collects the reports when it finishes.
"""

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, Protocol

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from schemas.report import Report
from schemas.workspace import Connection, Workspace
from transforms.sender import Delivery, Journal, Outbox, SenderOptions, shared_sender


class DurableJournal(Journal, Protocol):
    """A journal that a disk may refuse."""

    failure: str  # why it did; "" while it did not


class Log(Protocol):
    """Where a connection's calls are and its outcomes go; see `pipeline.store.Run`."""

    def outbox(self, connection: str, sizes: list[int]) -> Outbox: ...

    def journal(self, connection: str) -> DurableJournal: ...

    def memory(self, connection: str) -> dict[str, Any]: ...

    def first_sync(self, connection: str) -> bool: ...


class Deliver(beam.PTransform):
    """A committed run's outbox sizes by connection → the `Report` of one connection."""

    def __init__(self, workspace: Workspace, connection: Connection, log: Log, options: SenderOptions) -> None:
        super().__init__()
        self._fn = _DeliverFn(workspace, connection, log, options)

    def expand(self, committed: beam.PCollection) -> beam.PCollection:
        return committed | beam.ParDo(self._fn)


class _DeliverFn(beam.DoFn):
    def __init__(self, workspace: Workspace, connection: Connection, log: Log, options: SenderOptions) -> None:
        self._workspace, self._connection, self._log, self._options = workspace, connection, log, options

    def start_bundle(self) -> None:
        self._running: list[tuple[DurableJournal, Future[Report]]] = []

    def process(self, sizes: dict[str, list[int]]) -> None:
        name = self._connection.name
        journal = self._log.journal(name)
        delivery = Delivery(
            self._workspace,
            self._connection,
            self._log.outbox(name, sizes[name]),
            journal,
            self._log.memory(name),
            self._options,
            self._log.first_sync(name),
        )
        self._running.append((journal, shared_sender().start(delivery)))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        window = GlobalWindow()
        for journal, running in self._running:
            report = running.result()
            report.stopped = report.stopped or journal.failure
            yield WindowedValue(report, window.max_timestamp(), [window])
