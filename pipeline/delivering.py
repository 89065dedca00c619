"""Delivering the logs of a state directory: whoever gets a connection's lease sends, others watch until it is done."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import state_db
from pipeline.disk import StoreError
from pipeline.leases import Busy, Lease, delivering
from pipeline.log import Receipts, SqliteLog, unsettled, waiting
from pipeline.state_db import StateDb
from pipeline.summary import Counts
from schemas.registry import Registry
from schemas.report import Report
from schemas.workspace import Connection
from transforms.destinations import find
from transforms.destinations.contract import Destination
from transforms.logic.plan import ConnectionPlan, Plan, settings_digest
from transforms.sending.sender import Active, Delivery, shared_sender

if TYPE_CHECKING:
    from pipeline.run import RunOptions

_LOOK = 0.3  # seconds between looks at a connection that another process delivers

elsewhere: dict[str, Report] = {}  # connections that another process delivers, while this one waits for them


class Deliveries:
    """Delivers connections by name, each on a thread that waits. Picklable."""

    def __init__(self, options: "RunOptions", plan: Plan, registry: Registry, follow: bool = False) -> None:
        self._options, self._plan, self._follow = options, plan, follow
        self._number = registry.number
        self._connections = {connection.name: connection for connection in options.workspace.connections}

    def start(self, connection: str) -> "Future[Report]":
        """The future has the report, when nothing more can be sent; never an exception but for faults of ours."""
        done: Future[Report] = Future()
        plan = next(each for each in self._plan.connections if each.name == connection)
        if not self._follow and not unsettled(self._options.state, plan.name, plan.number):
            done.set_result(self._nothing(connection))
            return done
        threading.Thread(target=self._run, args=(plan, done), name=f"deliver {connection}", daemon=True).start()
        return done

    def _nothing(self, name: str, **more: Any) -> Report:
        connection = self._connections[name]
        return Report(connection=name, destination=connection.destination, **more)

    def _run(self, plan: ConnectionPlan, done: "Future[Report]") -> None:
        try:
            done.set_result(self._deliver(plan))
        except StoreError as error:
            done.set_result(self._nothing(plan.name, stopped=str(error)))
        except BaseException as error:
            done.set_exception(error)

    def _deliver(self, plan: ConnectionPlan) -> Report:
        """Until nothing more can be sent. Who ends looks once more: something may have come while it let go."""
        total = self._nothing(plan.name)
        while True:
            kind = find(plan.name and self._connections[plan.name].destination)
            assert kind
            try:
                destination = kind(self._options.workspace, self._connections[plan.name])
                lease = delivering(self._options.state, plan.name, self._group(destination))
            except Busy as busy:
                if not self._watch(plan, str(busy)):
                    return total.after(self._nothing(plan.name, elsewhere=True))
                continue
            except Exception as error:
                return total.after(self._nothing(plan.name, stopped=_fault_in_constructor(error)))
            try:
                report, newest = self._send(plan, destination, lease)
            finally:
                lease.release()
            total = total.after(report)
            if report.stopped or report.handed_over or shared_sender().stopping:
                return total
            if not unsettled(self._options.state, plan.name, plan.number, after=newest):
                return total

    def _group(self, destination: Destination) -> str:
        return repr((destination.slug, destination.limit_group(), self._options.sender.gateway))

    def _send(self, plan: ConnectionPlan, destination: Destination, lease: Lease) -> tuple[Report, int]:
        connection = self._connections[plan.name]
        log = SqliteLog(self._options.state, plan.name, plan.number)
        newest = log.newest()
        delivery = Delivery(
            self._options.workspace,
            connection,
            log,
            lease.caps,
            active(plan, connection, destination),
            self._number,
            self._options.sender,
            self._follow,
            self._ahead(),
            destination,
        )
        return shared_sender().start(delivery).result(), newest

    def _ahead(self) -> float:
        """Lists are flushed by the run's clock, which `--now` may have set."""
        return 0.0 if self._follow else self._options.now.timestamp() - time.time()

    def _watch(self, plan: ConnectionPlan, who: str) -> bool:
        """Until the connection may be free (True), or its calls are settled, or we are stopped (False)."""
        state, report = self._options.state, self._nothing(plan.name, elsewhere=True)
        report.calls = waiting(state, plan.name, plan.number)
        report.trouble = f"{who} delivers it"
        elsewhere[plan.name] = report
        try:
            for _ in range(10):
                if shared_sender().stopping or not (left := waiting(state, plan.name, plan.number)):
                    return False
                report.delivered = report.calls - left
                threading.Event().wait(_LOOK)
        finally:
            elsewhere.pop(plan.name, None)
        return True


def active(plan: ConnectionPlan, connection: Connection, destination: Destination) -> dict[int, Active]:
    """The slots that calls of this workspace have."""
    found = {plan.deletions: Active(0, settings_digest(connection, None))}
    for sync in plan.syncs:
        for form in (*sync.forms, *(form for form, _ in sync.retired)):
            flush = destination.flush_every if form.form == "list" else 0.0
            found[form.slot] = Active(sync.epoch, sync.settings, flush)
    return found


def counts_of(state: Path, db: StateDb, plan: ConnectionPlan, quickly: bool = False) -> Counts:
    """A connection's log as it is now. `quickly`: see `waiting`."""
    receipts = Receipts(state, plan.name)
    try:
        left = waiting(state, plan.name, plan.number, quickly)
        return Counts(made=db.made(plan.number), waiting=left, **receipts.counters())
    finally:
        receipts.close()


def reports() -> Iterator[Report]:
    """How far each connection is: of this process's sender, and of those that it waits for."""
    yield from shared_sender().reports()
    yield from list(elsewhere.values())


def _fault_in_constructor(error: Exception) -> str:
    return f"its destination could not be made ({type(error).__name__}: {error}); that is a fault in the destination"


__all__ = ["Deliveries", "active", "counts_of", "elsewhere", "reports", "state_db"]
