"""Stations: the connections that one process sends for. How it takes them over, keeps them, and gives them back.

Kafka shares the partitions of a topic among all senders; each vendor account falls on one of them. Whoever has it takes
its connections over (`_open`), says every two seconds that it lives (`_beat`), and gives them back when it ends, loses
the partition, or cannot write (`_close`).
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from confluent_kafka import Consumer, TopicPartition

from pipeline.disk import StoreError
from pipeline.served import Say, Served
from pipeline.status_page import Wrong
from pipeline.streaming.kafka import Kafka, KafkaProblem, consume
from pipeline.streaming.log import CAPS, PAUSED, SESSION, Gap, Writer, read_kept, restore
from pipeline.streaming.mirror import Mirror, Station
from pipeline.streaming.places import Places
from pipeline.streaming.topics import LEASES
from transforms.logic.plan import ConnectionPlan

_AGAIN = 3.0  # seconds until a log is tried again that could not be used
_PATIENCE = 60.0  # seconds until its calls begin to be read, if all is well
_TURN = 0.3  # seconds between looks whether it has to be said that this process lives
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


class Stations:
    """`station` is asked on the threads of deliveries; all else is called on one thread."""

    def __init__(
        self, kafka: Kafka, folder: Path, served: Served, mirror: Mirror, say: Say, gaps: bool, names: Mapping[str, str]
    ) -> None:
        """`gaps`: go on where calls or receipts are gone. `names`: by connection, the first name that it had."""
        self._kafka, self._folder, self._served, self._mirror = kafka, folder, served, mirror
        self._say, self._gaps = say, gaps
        self.names = names
        self._stations: dict[str, Station] = {}
        self._groups: dict[str, str] = {}  # of each connection
        self._leases = Leases(kafka, self._lost)
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="beat", daemon=True)
        self._beating.start()

    @property
    def first(self) -> bool:
        """Whether this process does what one of all senders has to do."""
        return _FIRST in self._leases.held

    def _first_name(self, name: str) -> str:
        return self.names.get(name, name)

    def station(
        self,
        plan: ConnectionPlan,
        group: str,
        mates: Callable[[], Sequence[str]],
        ending: Callable[[], bool],
    ) -> Station | None:
        """The connection's station, when it may send; None: another process sends for it. On a thread of its own.

        `mates` gives the other connections of the vendor account, which `group` names. `ending`: not wanted any more.
        """
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

    def _open(
        self, plan: ConnectionPlan, group: str, mates: Callable[[], Sequence[str]], ending: Callable[[], bool]
    ) -> Station | None:
        """Take the connection over: nobody else can write from now on, and soon nobody else sends."""
        places = Places(self._folder / f"{plan.name}.places")
        try:
            first_name = self._first_name(plan.name)
            writer = Writer(self._kafka, first_name, places)
            kept = restore(self._kafka, self._folder, plan.name, plan.number, self._gaps, first_name)
            begins = writer.may_begin(kept)
            if self._gaps:
                writer.settled(kept.settled)  # what is gone is said once
        except BaseException:
            places.close()
            raise
        station = Station(
            plan.name,
            first_name,
            plan.number,
            writer,
            places,
            kept.settled,
            next=kept.settled.place,
            notes=[kept.settled],
            begins=begins,
            paused=str(kept.facts.get(PAUSED) or ""),
        )
        self._stations[plan.name] = station  # so that it is kept alive while it waits
        self._say("takes over", connection=plan.name)
        read, patient = self._mirror.add(station), time.monotonic() + _PATIENCE
        while not read.is_set() or time.monotonic() < station.begins:
            if not read.is_set() and time.monotonic() > patient:
                # The folder may still have calls of an earlier time, which somebody else has told since.
                self._close(plan.name, orderly=True)
                raise StoreError(self._mirror.trouble or f"its calls are not read yet, after {_PATIENCE:.0f} s")
            if ending() or writer.dead or not self._leases.holds(group):
                self._close(plan.name, orderly=True)
                return None
            time.sleep(0.1)
        known = [read_kept(self._kafka, self._first_name(each)) for each in mates()]
        station.others = [dict(each.facts.get(CAPS) or {}) for each in known]
        return station

    def _beat(self) -> None:
        """On a thread of its own: giving leases back may outlast the right to send."""
        while not self._ended.wait(_TURN):
            for station in list(self._stations.values()):
                with suppress(StoreError):  # its delivery hears of it at its next write
                    station.writer.beat()

    def step(self, names: Collection[str]) -> None:
        """Hear which groups are shared out anew. Take connections over anew whose writes failed, and leave those that
        the workspace does not name (`names`): their topics may be deleted. Raises KafkaProblem.
        """
        self._leases.step()
        for name in self._stations.keys() - names:
            self._close(name, orderly=self._served.end_one(name))
        for name, station in list(self._stations.items()):
            if station.writer.dead:
                self._served.end_one(name)
                self._close(name, orderly=False)
                self._served.try_again(name, _AGAIN)

    def _lost(self, groups: set[int], orderly: bool) -> None:
        """Others send for these groups: end what goes on there."""
        for name in [name for name, group in list(self._groups.items()) if _share(group) in groups]:
            ended = self._served.end_one(name)
            self._close(name, orderly and ended)  # else the successor has to wait for what still goes on
            self._served.try_again(name, _AGAIN)  # what stopped it is over, should it come back

    def _close(self, name: str, orderly: bool) -> None:
        station = self._stations.pop(name, None)
        if station is None:
            return
        self._say("gives up", connection=name)
        self._mirror.remove(station)
        if orderly and time.monotonic() >= station.begins:  # else the sender before this one may still send
            with suppress(StoreError):
                station.writer.leave()
        station.places.close()

    def end(self) -> None:
        """Give all back: others have them at once."""
        for name in list(self._stations):
            self._close(name, orderly=True)
        self._leases.close()
        self._ended.set()
        self._beating.join()

    # -- pauses

    def paused(self) -> dict[str, str]:
        """Connections of this process that an operator paused, and since when."""
        return {name: each.paused for name, each in list(self._stations.items()) if each.paused}

    def pause(self, name: str, since: str) -> None:
        """Since when it is paused is written in the connection's log, for whoever sends next; "": it goes on.

        Raises Wrong and StoreError.
        """
        station = self._stations.get(name)
        if station is None or station.writer.dead:
            raise Wrong(f"this process does not send for {name}: pause or resume it on the page of the one that does")
        if bool(station.paused) != bool(since):
            station.writer.paused(since)
            station.paused = since
            if not since:
                self._served.resume(name)
