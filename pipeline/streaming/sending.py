"""`profilecast send`: the senders of a streaming job, beside it. Any number of these processes share the connections.

versions ─► take_over ─┐                      ┌─ restore: what Kafka knows of the connection
leases ────────────────┴─ deliver, each in turn ─┤  wait:    until an earlier sender sends no more
                                              └─ Delivery: as in `run` and `serve`, over a KafkaLog
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

from confluent_kafka import Consumer, TopicPartition

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
from pipeline.streaming.kafka import Kafka, KafkaProblem, consume, partitions
from pipeline.streaming.log import CAPS, PAUSED, SESSION, Gap, KafkaLog, Writer, read_kept, refuse_gaps, restore
from pipeline.streaming.mirror import Mirror, Station
from pipeline.streaming.notes import bind_gateway
from pipeline.streaming.operating import Operating
from pipeline.streaming.places import Places
from pipeline.streaming.republishing import Republishing
from pipeline.streaming.topics import LEASES
from pipeline.vendors import made
from schemas.registry import Registry, decode_registry
from transforms.destinations.contract import Destination
from transforms.logic.plan import ConnectionPlan, Plan
from transforms.sending.log import Writing
from transforms.sending.sender import SenderOptions

_TURN = 0.3  # seconds
_WAITING = 1.0  # seconds between looks for the first workspace
_SOONER = "with another version of the workspace, or when this process is started anew"
_AGAIN = 3.0  # seconds until a log is tried again that could not be used


@dataclass(frozen=True)
class SendOptions:
    """What `profilecast send` was asked to do."""

    log: Kafka
    sender: SenderOptions
    again: float = 300.0  # seconds until what stopped or is blocked is tried again
    gaps: bool = False  # go on where calls or receipts are gone from Kafka


_FIRST = 0  # the partition whose owner does what one of all senders has to do


def _share(group: str) -> int:
    """The partition that a group of connections falls on."""
    return crc32(group.encode()) % LEASES


class Leases:
    """Which groups of connections this process sends for. Kafka shares the partitions of a topic among all senders."""

    def __init__(self, kafka: Kafka, lost: Callable[[set[int], bool], None]) -> None:
        """`lost`: is told which groups others get, and whether this process may still write for them."""
        self._lost, self.held = lost, set[int]()
        self._consumer = kafka.consumer(
            group_id=f"{kafka.name}.senders",
            session_timeout_ms=int(SESSION * 1_000),
            partition_assignment_strategy="cooperative-sticky",
            auto_offset_reset="latest",  # nothing is in it
        )
        self._consumer.subscribe(
            [kafka.topic("leases")], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._gone
        )

    def holds(self, group: str) -> bool:
        return _share(group) in self.held

    def step(self) -> None:
        """Hear of changes. Raises KafkaProblem."""
        consume(self._consumer, 1, 0.0)

    def close(self) -> None:
        """Give all back: others have them at once."""
        self._consumer.close()

    def _assigned(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        self.held |= {part.partition for part in parts}
        consumer.incremental_assign(parts)

    def _revoked(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        self._give({part.partition for part in parts}, orderly=True)
        consumer.incremental_unassign(parts)

    def _gone(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        self._give({part.partition for part in parts}, orderly=False)
        consumer.incremental_unassign(parts)

    def _give(self, groups: set[int], orderly: bool) -> None:
        self.held -= groups
        self._lost(groups, orderly)


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

    def __init__(self, sending: "Sending", run: RunOptions, plan: Plan, registry: Registry) -> None:
        super().__init__(run, plan, registry, follow=True)
        self._sending = sending

    def _lease(self, plan: ConnectionPlan, destination: Destination, ending: Callable[[], bool]) -> leases.Lease | None:
        group = self._group(destination)
        station = self._sending.station(plan, group, lambda: self._mates(plan.name, group), ending)
        return _Lease(station, leases.kept_tokens(leases.of_user(), group)) if station else None

    def _mates(self, name: str, group: str) -> list[str]:
        """The other connections of the vendor account."""
        others = [each for each in self._connections.values() if each.name != name]
        found = made(self._options.workspace, others).destinations
        return [other for other, destination in found.items() if self._group(destination) == group]

    def _log(self, plan: ConnectionPlan, lease: leases.Lease) -> SqliteLog:
        assert isinstance(lease, _Lease)
        log = KafkaLog(self._options.state, plan.name, plan.number, lease.station.writer)
        lease.caps = _Caps(log, lease.station.others)  # type: ignore[assignment]
        return log


class Sending:
    """`loop` until `stop`."""

    def __init__(self, options: SendOptions, say: Say) -> None:
        self.options, self.say = options, say
        self._kafka = options.log
        self._stopping, self._ended = False, threading.Event()
        self._stations: dict[str, Station] = {}
        self._groups: dict[str, str] = {}  # of each connection
        self._named: dict[str, str] = {}  # the name in its topics
        self._reading = versions.Following(self._kafka)
        self._number = 0
        self._republishing = Republishing(self._kafka, say)
        self._served: Served | None = None
        self.orders = Orders()
        self._mirror: Mirror | None = None
        self.page = ""

    def stop(self) -> None:
        """Stop, after requests in flight have ended. Safe in a signal handler."""
        self._stopping = True

    def loop(self) -> None:
        """Raises KafkaProblem (Gap too) and WorkspaceError before anything is begun."""
        with TemporaryDirectory(prefix="profilecast-") as folder:
            self._folder = Path(folder)
            StateDb.create(self._folder)
            version = self._first_version()
            if version is None:
                return
            run = RunOptions(version.workspace(), [], self._folder, datetime.now(UTC), sender=self._sender)
            self._named = version.named()
            if not self.options.gaps:
                names = [each.name for each in run.workspace.connections]
                refuse_gaps(self._kafka, {name: self._name_in_topics(name) for name in names})
            bind_gateway(self._kafka, self._sender.gateway)
            self._run = run
            self._mirror = Mirror(self._kafka, self._folder)
            self._leases = Leases(self._kafka, self._lost)
            self._served = Served(run, self.options.again, self.say, _SOONER)
            beating = threading.Thread(target=self._beat, name="beat", daemon=True)
            beating.start()
            try:
                self._take_over(version)
                self.say("sending", workspace=run.workspace.workspace, log=self._kafka.name, status=self.page)
                self._turns()
            finally:
                self._end()
                self._ended.set()
                beating.join()

    @property
    def _sender(self) -> SenderOptions:
        return replace(self.options.sender, retry_blocked=self.options.again)

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

    def _turns(self) -> None:
        assert self._served
        assert self._mirror
        trouble = ""
        while not self._stopping:
            try:
                self._leases.step()
                version = self._reading.look()
                if version and version.number > self._number:
                    self._take_over(version)
                self._mend()
                self.orders.carry_out()
                self._served.agree({name: each.paused for name, each in list(self._stations.items()) if each.paused})
                self._served.step()
                if version:
                    first = _FIRST in self._leases.held
                    self._republishing.step(version, self._served.remade(), first, time.monotonic())
                now = self._republishing.trouble or self._mirror.trouble
            except (KafkaProblem, StoreError) as error:
                now = str(error)
            if now != trouble:
                self.say("trouble" if now else "goes on", now)
                trouble = self._served.trouble = now
            time.sleep(_TURN)

    def _take_over(self, version: versions.Version) -> None:
        """Deliver with this version from now on."""
        assert self._served
        assert self._mirror
        workspace, registry = version.workspace(), decode_registry(version.registry)
        plan = version.plan(datetime.now(UTC))
        self._run = replace(self._run, workspace=workspace)
        self._number, self._named = version.number, version.named()
        self._republishing.know(version)
        self._served.take_over(self._run, plan, registry, _Deliveries(self, self._run, plan, registry))
        self.say("workspace", version=version.number, connections=len(workspace.connections))

    # -- stations

    def station(
        self,
        plan: ConnectionPlan,
        group: str,
        mates: Callable[[], Sequence[str]] = lambda: (),
        ending: Callable[[], bool] = lambda: False,
    ) -> Station | None:
        """The connection's station, when it may send; None: another process sends for it. On a thread of its own.

        `mates` gives the other connections of the vendor account, which `group` names. `ending`: not wanted any more.
        """
        assert self._served
        self._groups[plan.name] = group
        if not self._leases.holds(group):
            self._close(plan.name, orderly=True)  # of a vendor account that it had before
            return None
        station = self._stations.get(plan.name)
        if station is None:
            try:
                station = self._open(plan, group, mates, ending)
            except (KafkaProblem, StoreError) as error:
                if not isinstance(error, Gap):  # that does not pass by itself
                    self._served.try_again(plan.name, _AGAIN)
                raise StoreError(str(error)) from error
        if not self._leases.holds(group):  # it was lost meanwhile
            self._close(plan.name, orderly=True)
            return None
        return None if station and station.paused else station

    def _name_in_topics(self, name: str) -> str:
        return self._named.get(name, name)

    def _open(
        self, plan: ConnectionPlan, group: str, mates: Callable[[], Sequence[str]], ending: Callable[[], bool]
    ) -> Station | None:
        """Take the connection over: nobody else can write from now on, and soon nobody else sends."""
        assert self._mirror
        places = Places(self._folder / f"{plan.name}.places")
        try:
            topics = self._name_in_topics(plan.name)
            writer = Writer(self._kafka, topics, places)
            kept = restore(self._kafka, self._folder, plan.name, plan.number, self.options.gaps, topics)
            begins = writer.may_begin(kept)
            if self.options.gaps:
                writer.settled(kept.settled)  # what is gone is said once
        except BaseException:
            places.close()
            raise
        station = Station(plan.name, plan.number, writer, places, kept.settled, next=kept.settled.place)
        station.topics = topics
        station.begins = begins
        station.notes = [kept.settled]
        station.paused = str(kept.facts.get(PAUSED) or "")
        self._stations[plan.name] = station  # so that it is kept alive while it waits
        self.say("takes over", connection=plan.name)
        try:
            self._mirror.add(station)
        except StoreError:
            self._close(plan.name, orderly=True)
            raise
        while time.monotonic() < station.begins:
            if self._stopping or ending() or writer.dead or not self._leases.holds(group):
                self._close(plan.name, orderly=True)
                return None
            time.sleep(0.1)
        known = [read_kept(self._kafka, self._name_in_topics(each)) for each in mates()]
        station.others = [dict(each.facts.get(CAPS) or {}) for each in known]
        return station

    def _beat(self) -> None:
        """On a thread of its own: giving leases back may outlast the right to send."""
        while not self._ended.wait(_TURN):
            for station in list(self._stations.values()):
                with suppress(StoreError):  # its delivery hears of it at its next write
                    station.writer.beat()

    def _mend(self) -> None:
        """Take connections over anew whose writes failed, and leave those that the workspace does not name any more."""
        assert self._served
        for name in self._stations.keys() - {each.name for each in self._run.workspace.connections}:
            self._close(name, orderly=self._served.end_one(name))
        for name, station in list(self._stations.items()):
            if station.writer.dead:
                self._served.end_one(name)
                self._close(name, orderly=False)
                self._served.try_again(name, _AGAIN)

    def _lost(self, groups: set[int], orderly: bool) -> None:
        """Others send for these groups: end what goes on there."""
        assert self._served
        for name in [name for name, group in self._groups.items() if _share(group) in groups]:
            ended = self._served.end_one(name)
            self._close(name, orderly and ended)  # else the successor has to wait for what still goes on
            self._served.try_again(name, _AGAIN)  # what stopped it is over, should it come back

    def _close(self, name: str, orderly: bool) -> None:
        assert self._mirror
        station = self._stations.pop(name, None)
        if station is None:
            return
        self.say("gives up", connection=name)
        self._mirror.remove(station)
        if orderly and time.monotonic() >= station.begins:  # else the sender before this one may still send
            with suppress(StoreError):
                station.writer.leave()
        station.places.close()

    def _end(self) -> None:
        assert self._served
        assert self._mirror
        self._served.end()
        for name in list(self._stations):
            self._close(name, orderly=True)
        self._leases.close()
        self._mirror.close()
        self.say("ended")

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
        self.orders.ask(lambda: self._pause(name, rfc3339(time.time()) if paused else ""))
        return answer(name, paused)

    def _pause(self, name: str, since: str) -> None:
        """It is written in the connection's log, for whoever sends next."""
        assert self._served
        station = self._stations.get(name)
        if station is None or station.writer.dead:
            raise Wrong(f"this process does not send for {name}: pause or resume it on the page of the one that does")
        if bool(station.paused) != bool(since):
            station.writer.paused(since)
            station.paused = since
            if not since:
                self._served.resume(name)

    # -- what is said of it

    def status(self) -> dict[str, Any]:
        """`GET /status`."""
        served = self._served
        return {
            "version": self._number,
            "trouble": self._trouble(),
            "connections": served.connections() if served else {},
        }

    def well(self) -> bool:
        """`GET /healthz`."""
        return not self._stopping and not self._trouble()

    def _trouble(self) -> str:
        """Of the process itself: no connection can go on as it should."""
        served, mirror = self._served, self._mirror
        return (served.trouble if served else "") or (mirror.trouble if mirror else "")
