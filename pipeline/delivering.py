"""Delivering the logs of a state directory: whoever gets a connection's lease sends, others watch until it is done."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.disk import StoreError
from pipeline.leases import Busy, Lease, delivering
from pipeline.log import SqliteLog
from pipeline.paused import why_not
from pipeline.sent import standing, unsettled, waiting
from pipeline.summary import Counts
from pipeline.vendors import made
from schemas.registry import Registry
from schemas.report import NO_CAP, Report
from schemas.workspace import Connection
from transforms.destinations import find
from transforms.destinations.contract import Destination
from transforms.logic.caps import cap_said
from transforms.logic.plan import ConnectionPlan, Plan, settings_digest
from transforms.logic.registry import known_remade
from transforms.sending.log import Kept
from transforms.sending.sender import Active, Delivery, shared_sender

if TYPE_CHECKING:
    from pipeline.run import RunOptions

_LOOK = 0.3  # seconds between looks at a connection that another process delivers

elsewhere: dict[str, Report] = {}  # connections that another process delivers, while this one waits for them


class Delivering(Future[Report]):
    """A delivery under way, wherever it is: it may wait for its lease, send, or be between two looks at the log."""

    def __init__(self, connection: str) -> None:
        super().__init__()
        self._connection, self.ending = connection, False

    def end(self) -> None:
        """End it, softly."""
        self.ending = True  # first: a sender that is not found now sees this when it has begun
        shared_sender().end(self._connection)


class Deliveries:
    """Delivers connections by name, each on a thread that waits. Picklable."""

    def __init__(self, options: "RunOptions", plan: Plan, registry: Registry, follow: bool = False) -> None:
        self._options, self._plan, self._follow = options, plan, follow
        self._number = registry.number
        self._remade: dict[str, dict[str, float]] = {}
        for connection, target, at in known_remade(registry):
            self._remade.setdefault(connection, {})[target] = at
        self._connections = {connection.name: connection for connection in options.workspace.connections}

    def start(self, connection: str) -> Delivering:
        """The future has the report, when nothing more can be sent; never an exception but for faults of ours."""
        done = Delivering(connection)
        plan = next((each for each in self._plan.connections if each.name == connection), None)
        if plan is None:  # nothing is decided for it
            done.set_result(self._nothing(connection, stopped=self._fault(connection)))
            return done
        if not self._follow and not unsettled(self._options.state, plan.name, plan.number):
            done.set_result(self._nothing(connection))
            return done
        threading.Thread(target=self._run, args=(plan, done), name=f"deliver {connection}", daemon=True).start()
        return done

    def _fault(self, name: str) -> str:
        return made(self._options.workspace, [self._connections[name]]).faults.get(name, "it is not in the plan")

    def _nothing(self, name: str, **more: Any) -> Report:
        connection = self._connections[name]
        kind = find(connection.destination)
        cap = cap_said(kind.limits, connection) if kind else NO_CAP
        return Report(connection=name, destination=connection.destination, cap=cap, **more)

    def _run(self, plan: ConnectionPlan, done: Delivering) -> None:
        try:
            done.set_result(self._deliver(plan, done))
        except StoreError as error:
            done.set_result(self._nothing(plan.name, stopped=str(error)))
        except BaseException as error:
            done.set_exception(error)

    def _deliver(self, plan: ConnectionPlan, done: Delivering) -> Report:
        """Deliver until nothing more can be sent, and then look once more: calls may have come meanwhile."""
        total, connection = self._nothing(plan.name), self._connections[plan.name]
        if words := why_not(self._options.state, plan.name):
            return self._nothing(plan.name, stopped=words)
        while True:
            at_hand = made(self._options.workspace, [connection])
            if connection.name in at_hand.faults:
                return total.after(self._nothing(plan.name, stopped=at_hand.faults[connection.name]))
            destination = at_hand.destinations[connection.name]
            lease = self._lease(plan, destination, lambda: done.ending or shared_sender().stopping)
            if lease is None:
                return total.after(self._nothing(plan.name, elsewhere=True))
            try:
                report, newest = self._send(plan, destination, lease, done)
            finally:
                lease.release()
            total = total.after(report)
            if report.stopped or report.handed_over or done.ending or shared_sender().stopping:
                return total
            if not unsettled(self._options.state, plan.name, plan.number, after=newest):
                return total

    def _lease(self, plan: ConnectionPlan, destination: Destination, ending: Callable[[], bool]) -> Lease | None:
        """The lease, when it is free. None: the process that had it delivered everything, or this one is to end."""
        report, group = self._nothing(plan.name, elsewhere=True), self._group(destination)
        try:
            while True:
                try:
                    return delivering(self._options.state, plan.name, group)
                except Busy as busy:
                    report.trouble = f"{busy} delivers it"
                left = waiting(self._options.state, plan.name, plan.number, quickly=True)
                report.calls = max(report.calls, left)
                report.delivered = report.calls - left
                elsewhere[plan.name] = report
                if ending() or not left:
                    return None
                time.sleep(_LOOK)
        finally:
            elsewhere.pop(plan.name, None)

    def _group(self, destination: Destination) -> str:
        return group_of(destination, self._options.sender.gateway)

    def _send(
        self, plan: ConnectionPlan, destination: Destination, lease: Lease, done: Delivering
    ) -> tuple[Report, int]:
        connection = self._connections[plan.name]
        log = self._log(plan, lease)
        newest = log.newest()
        delivery = Delivery(
            self._options.workspace,
            connection,
            log,
            self._caps(lease, log),
            active(plan, connection, destination),
            self._number,
            self._options.sender,
            self._follow,
            self._ahead(),
            lease.tokens,
            destination,
            refreshed(plan),
            self._remade.get(plan.name, {}),
            lease.owned,
        )
        sending = shared_sender().start(delivery)
        if done.ending:
            done.end()
        return sending.result(), newest

    def _log(self, plan: ConnectionPlan, lease: Lease) -> SqliteLog:
        return SqliteLog(self._options.state, plan.name, plan.number)

    def _caps(self, lease: Lease, log: SqliteLog) -> Kept:
        return lease.caps

    def _ahead(self) -> float:
        """Lists are flushed by the run's clock, which `--now` may have set."""
        return 0.0 if self._follow else self._options.now.timestamp() - time.time()


def group_of(destination: Destination, gateway: str) -> str:
    """The vendor account whose cap a connection shares."""
    return repr((destination.slug, destination.limit_group(), gateway))


def active(plan: ConnectionPlan, connection: Connection, destination: Destination) -> dict[int, Active]:
    """The slots that calls of this workspace have."""
    found = {plan.deletions: Active(0, settings_digest(connection, None))}
    for sync in (*plan.syncs, *plan.groups):
        for form in (*sync.forms, *(form for form, _ in sync.retired)):
            found[form.slot] = Active(sync.epoch, sync.settings, destination.flush_every.get(form.form, 0.0))
    return found


def refreshed(plan: ConnectionPlan) -> dict[str, float]:
    """When a full refresh was asked last of each list that it may empty, by key; seconds since 1970."""
    return {
        sync.key: sync.refreshed / 1e6
        for sync in plan.syncs
        if sync.refreshed and any(form.form == "list" for form in sync.forms)
    }


def counts_of(state: Path, name: str, number: int, quickly: bool = False) -> Counts:
    """A connection's log as it is at one moment. `quickly`: see `waiting`."""
    found = standing(state, name, number, quickly)
    return Counts(made=found.made, waiting=found.waiting, **found.fates)


def reports() -> Iterator[Report]:
    """How far each connection is: of this process's sender, and of those that it waits for."""
    yield from shared_sender().reports()
    yield from list(elsewhere.values())


__all__ = ["Deliveries", "active", "counts_of", "elsewhere", "group_of", "reports"]
