"""`profilecast send`: the senders of a streaming job, beside it. Any number of these processes share the connections.

versions ─► take_over ─┐                        ┌─ restore:  what Kafka knows of the connection  (`stations`)
leases ────────────────┴─ for each connection ──┤  wait:     until an earlier sender sends no more
                                                └─ Delivery: as in `run` and `serve`, over a KafkaLog
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from pipeline import leases
from pipeline.delivering import Deliveries
from pipeline.disk import StoreError
from pipeline.log import SqliteLog
from pipeline.moments import rfc3339
from pipeline.orders import Orders
from pipeline.paused import answer
from pipeline.run import RunOptions
from pipeline.served import Say, Served
from pipeline.state_db import StateDb
from pipeline.status_page import Act, Wrong
from pipeline.streaming import versions
from pipeline.streaming.kafka import Kafka, KafkaProblem, partitions
from pipeline.streaming.log import CAPS, KafkaLog, refuse_gaps
from pipeline.streaming.mirror import Mirror, Station
from pipeline.streaming.notes import bind_gateway
from pipeline.streaming.operating import Operating
from pipeline.streaming.republishing import Republishing
from pipeline.streaming.stations import Stations
from pipeline.vendors import made
from schemas.registry import Registry, decode_registry
from transforms.destinations.contract import Destination
from transforms.logic.plan import ConnectionPlan, Plan
from transforms.sending.log import Kept, Writing
from transforms.sending.sender import SenderOptions

_TURN = 0.3  # seconds between looks at everything
_WAITING = 1.0  # seconds between looks for the first workspace
_SOONER = "with another version of the workspace, or when this process is started anew"


@dataclass(frozen=True)
class SendOptions:
    """What `profilecast send` was asked to do."""

    log: Kafka
    sender: SenderOptions
    gaps: bool = False  # go on where calls or receipts are gone from Kafka


class _Caps:
    """What long windows counted, among the small facts of the connection.

    Connections of one vendor account count together, and whichever sends writes it down: so each begins with what any
    of them knew.
    """

    def __init__(self, log: SqliteLog, others: list[dict[str, Any]]) -> None:
        self._log, self._others = log, others

    def load(self) -> dict[str, Any]:
        known = [dict(self._log.facts().get(CAPS) or {}), *self._others]
        found: dict[str, Any] = {"windows": [window for each in known for window in each.get("windows", ())]}
        if held := max((each.get("held_until") or 0.0 for each in known), default=0.0):
            found["held_until"] = held
        return found

    def save(self, kept: dict[str, Any]) -> None:
        self._log.write(Writing(facts={CAPS: kept})).result()


class _Lease(leases.Lease):
    """The right to send for a connection: its station, as long as its writer is the newest one."""

    def __init__(self, station: Station, tokens: leases.Kept) -> None:
        self.station, self.tokens = station, tokens

    def owned(self) -> bool:
        return self.station.writer.owned()

    def release(self) -> None:
        """The station stays, for the next delivery of this process."""


class _Deliveries(Deliveries):
    """Delivers over Kafka what this process has leases for."""

    def __init__(self, stations: Stations, run: RunOptions, plan: Plan, registry: Registry) -> None:
        super().__init__(run, plan, registry, follow=True)
        self._stations = stations

    def _lease(self, plan: ConnectionPlan, destination: Destination, ending: Callable[[], bool]) -> leases.Lease | None:
        group = self._group(destination)
        station = self._stations.station(plan, group, lambda: self._mates(plan.name, group), ending)
        return _Lease(station, leases.kept_tokens(leases.of_user(), group)) if station else None

    def _mates(self, name: str, group: str) -> list[str]:
        """The other connections of the vendor account."""
        others = [each for each in self._connections.values() if each.name != name]
        found = made(self._options.workspace, others).destinations
        return [other for other, destination in found.items() if self._group(destination) == group]

    def _log(self, plan: ConnectionPlan, lease: leases.Lease) -> SqliteLog:
        assert isinstance(lease, _Lease)
        return KafkaLog(self._options.state, plan.name, plan.number, lease.station.writer)

    def _caps(self, lease: leases.Lease, log: SqliteLog) -> Kept:
        assert isinstance(lease, _Lease)
        return _Caps(log, lease.station.others)


class _Running(NamedTuple):
    """What there is once the first workspace is known."""

    served: Served
    mirror: Mirror
    stations: Stations
    republishing: Republishing

    @property
    def trouble(self) -> str:
        return self.served.trouble or self.mirror.trouble

    def end(self) -> None:
        self.served.end()
        self.stations.end()
        self.mirror.close()


class Sending:
    """`loop` until `stop`."""

    def __init__(self, options: SendOptions, say: Say) -> None:
        self.options, self.say = options, say
        self._kafka = options.log
        self._stopping = False
        self._reading = versions.Following(self._kafka)
        self._number = 0  # of the version that is delivered with
        self._running: _Running | None = None
        self.orders = Orders()
        self.page = ""

    def stop(self) -> None:
        """Stop, after requests in flight have ended. Safe in a signal handler."""
        self._stopping = True

    def loop(self) -> None:
        """Raises KafkaProblem (Gap too) and WorkspaceError before anything is begun."""
        with TemporaryDirectory(prefix="profilecast-") as path:
            folder = Path(path)
            StateDb.create(folder)
            version = self._first_version()
            if version is None:
                return
            run = RunOptions(version.workspace(), [], folder, datetime.now(UTC), sender=self.options.sender)
            names = version.first_names()
            if not self.options.gaps:
                connections = [each.name for each in run.workspace.connections]
                refuse_gaps(self._kafka, {name: names.get(name, name) for name in connections})
            bind_gateway(self._kafka, self.options.sender.gateway)
            served, mirror = Served(run, self.say, _SOONER), Mirror(self._kafka, folder)
            stations = Stations(self._kafka, folder, served, mirror, self.say, self.options.gaps, names)
            running = self._running = _Running(served, mirror, stations, Republishing(self._kafka, self.say))
            try:
                run = self._take_over(running, run, version)
                self.say("sending", workspace=run.workspace.workspace, log=self._kafka.name, status=self.page)
                self._turns(running, run, version)
            finally:
                running.end()
                self.say("ended")

    def _first_version(self) -> versions.Version | None:
        said = False
        while not self._stopping:
            there = partitions(self._kafka, versions.topic_of(self._kafka))
            if there and (version := self._reading.look(anyway=True)):
                return version
            if not said:
                self.say(
                    "waiting", f"no workspace is published to {self._kafka.name} yet: submit the job, or correct --log"
                )
                said = True
            time.sleep(_WAITING)
        return None

    def _turns(self, running: _Running, run: RunOptions, version: versions.Version) -> None:
        """`version`: the first one."""
        served, mirror, stations, republishing = running
        trouble = ""
        while not self._stopping:
            try:
                stations.step({each.name for each in run.workspace.connections})
                version = self._reading.look() or version
                if version.number > self._number:
                    run = self._take_over(running, run, version)
                self.orders.carry_out()
                served.agree(stations.paused())
                served.step()
                republishing.step(version, served.remade(), stations.first, time.monotonic())
                now = republishing.trouble or mirror.trouble
            except (KafkaProblem, StoreError) as error:
                now = str(error)
            if now != trouble:
                self.say("trouble" if now else "goes on", now)
                trouble = served.trouble = now
            time.sleep(_TURN)

    def _take_over(self, running: _Running, run: RunOptions, version: versions.Version) -> RunOptions:
        """Deliver with this version from now on."""
        workspace, registry = version.workspace(), decode_registry(version.registry)
        run, plan = replace(run, workspace=workspace), version.plan(datetime.now(UTC))
        self._number, running.stations.names = version.number, version.first_names()
        running.served.take_over(run, plan, registry, _Deliveries(running.stations, run, plan, registry))
        running.republishing.know(version)
        self.say("workspace", version=version.number, connections=len(workspace.connections))
        return run

    # -- what an operator does

    def acts(self) -> Mapping[str, Act]:
        """By name. The arguments of each are texts; each raises Wrong and StoreError."""
        return {
            "pause": lambda given: self._order(given, True),
            "resume": lambda given: self._order(given, False),
            **Operating(self._kafka, self.say).acts(),
        }

    def _order(self, given: Mapping[str, str], paused: bool) -> dict[str, str]:
        name = given.get("connection", "")
        since = rfc3339(time.time()) if paused else ""
        if self._running is None:
            raise Wrong("no workspace is published yet")
        stations = self._running.stations
        self.orders.ask(lambda: stations.pause(name, since))
        return answer(name, paused)

    # -- what is said of it

    def status(self) -> dict[str, Any]:
        """`GET /status`."""
        return {
            "version": self._number,
            "trouble": self._running.trouble if self._running else "",
            "connections": self._running.served.connections() if self._running else {},
        }

    def well(self) -> bool:
        """`GET /healthz`."""
        return not self._stopping and not (self._running and self._running.trouble)
