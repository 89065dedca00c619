"""The mirror: copies calls from Kafka into this process's folder, and frees what is settled, here and there.

It alone writes the folder's `state.db`. One thread for all connections that this process sends for.
"""

import threading
import time
import traceback
from collections import deque
from contextlib import closing
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from msgspec import MsgspecError, Struct, field
from msgspec.msgpack import Decoder

from pipeline.disk import StoreError
from pipeline.sent import Receipts
from pipeline.state_db import StateDb
from pipeline.streaming import versions
from pipeline.streaming.kafka import WAIT, Kafka, KafkaProblem, NotRead, Record, consume, ends
from pipeline.streaming.log import Settled, Writer
from pipeline.streaming.places import Places, place_of
from schemas.calls import Call

_AT_ONCE = 5_000  # calls of one read
_FIRST = 0.1  # seconds for the first
_PATIENCE = 10.0  # seconds until what is ordered is done, if all is well
_FREE = 1.0  # seconds between looks at what is settled
_NOTE = 30.0  # seconds between notes of how far a connection is settled
_NOTES = 200  # kept of each connection: where its topics ended at earlier times
_call = Decoder(Call).decode


class Station(Struct, eq=False):
    """A connection that this process sends for."""

    name: str
    first_name: str  # its topics have it
    number: int
    writer: Writer
    places: Places
    settled: Settled
    freed: int = 0  # position in the receipts of the folder
    restored: int = 0  # the last place that had a receipt when this process took the connection over
    next: int = 1  # place of the call that is read next
    noted: float = 0.0
    notes: list[Settled] = field(default_factory=list)  # where calls and receipts ended at earlier times
    begins: float = 0.0  # when this process may send: the sender before it may until then (monotonic)
    others: list[dict[str, Any]] = field(default_factory=list)  # caps of connections of the same vendor account
    paused: str = ""  # since when an operator has paused it
    fault: str = ""  # why none of its calls is read any more

    def topic(self, kafka: Kafka, kind: str) -> str:
        return kafka.topic(kind, self.first_name)


class Mirror:
    """Begin with `add`, end with `remove`; `close` ends the thread. `trouble`: why nothing is read now."""

    def __init__(self, kafka: Kafka, folder: Path) -> None:
        self._kafka, self._folder = kafka, folder
        self._consumer, self._asks, self._admin = kafka.consumer(), kafka.consumer(), kafka.admin()
        self._stations: dict[str, Station] = {}
        self._orders = deque[tuple[str, Station, threading.Event]]()
        self._versions = versions.Following(kafka)
        self._version = 0  # of the workspace, that senders were told
        self._read: list[Record] = []  # and not copied yet
        self.trouble = ""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="mirror", daemon=True)
        self._thread.start()

    def add(self, station: Station) -> threading.Event:
        """Copy its calls, from when that is set. Until then the folder may have calls of an earlier time."""
        return self._order("add", station)

    def remove(self, station: Station) -> None:
        """Copy no more of them, and forget what there is. It is waited for, for a while; it is done in any case."""
        self._order("remove", station).wait(_PATIENCE)

    def close(self) -> None:
        self._ending.set()
        self._thread.join()

    def _order(self, what: str, station: Station) -> threading.Event:
        """It is done before any later order for this connection."""
        done = threading.Event()
        self._orders.append((what, station, done))
        return done

    # -- the thread

    def _loop(self) -> None:
        db = StateDb.open(self._folder)
        looked = 0.0
        try:
            while not self._ending.is_set():
                try:
                    self._obey(db)
                    self._copy(db)
                    if time.monotonic() - looked >= _FREE:
                        looked = time.monotonic()
                        self._tell_workspace(db)
                        self._look_after(db)
                    self.trouble = "; ".join(each.fault for each in self._stations.values() if each.fault)
                except Exception as error:  # without this thread no connection is told anything any more
                    self._fail(error)
        finally:
            db.close()
            self._consumer.close()
            self._asks.close()

    def _fail(self, error: Exception) -> None:
        if isinstance(error, NotRead):
            for station in self._stations.values():
                if error.topic == self._topic(station):
                    station.fault = f"{error}; restart this process, which looks at what is there"
            return
        if isinstance(error, KafkaProblem | KafkaException | StoreError | TimeoutError):
            self.trouble = str(error) or "Kafka does not answer"
        else:
            words = f"a fault in profilecast: {error!r}"
            if words != self.trouble:
                traceback.print_exception(error)
            self.trouble = words
        self._ending.wait(1.0)

    def _obey(self, db: StateDb) -> None:
        """What cannot be done is tried again, before later orders for the same connection. Others need not wait."""
        failed = dict[str, Exception]()
        for order in list(self._orders):
            what, station, done = order
            if station.name in failed:
                continue
            try:
                self._do(db, what, station)
            except Exception as error:
                failed[station.name] = error
                continue
            self._orders.remove(order)
            done.set()
        if failed:
            raise next(iter(failed.values()))

    def _do(self, db: StateDb, what: str, station: Station) -> None:
        with db.portion() as transaction:
            transaction.clear(station.number)
        with closing(Receipts(self._folder, station.name)) as receipts:
            station.restored = receipts.last_ask()
        part = TopicPartition(self._topic(station), 0, station.next - 1)
        if what == "add":
            self._stations[station.name] = station
            self._consumer.incremental_assign([part])
        elif self._stations.pop(station.name, None):
            self._consumer.incremental_unassign([part])
            self._read = [each for each in self._read if each.topic != part.topic]

    def _tell_workspace(self, db: StateDb) -> None:
        """Tell senders which version of the workspace there is: those of an older one hand over.

        Before calls that were decided with it: whoever does not know their slots would take them back.
        """
        version = self._versions.up_to_now()
        if version and version.number > self._version:
            with db.portion() as transaction:
                transaction.registry(version.registry, version.number)
            self._version = version.number

    def _topic(self, station: Station) -> str:
        return station.topic(self._kafka, "calls")

    def _copy(self, db: StateDb) -> None:
        """Copy what there is. If that fails, what was read is kept: the client does not give it again."""
        if not self._stations:
            self._ending.wait(_FIRST)
            return
        self._read = self._read or consume(self._consumer, _AT_ONCE, _FIRST)
        if self._read:
            self._tell_workspace(db)
        found: dict[str, list[Record]] = {}
        for record in self._read:
            found.setdefault(record.topic, []).append(record)
        for station in list(self._stations.values()):
            calls = self._calls(station, found.get(self._topic(station), []))
            if calls:
                left = self._left(station, station.places.enter(calls))
                with db.portion() as transaction:
                    transaction.append(station.number, left)
                station.next = calls[-1][0] + 1
        self._read = []

    def _calls(self, station: Station, records: list[Record]) -> list[tuple[int, Call]]:
        """What is new of these, by place, up to one that cannot be read: what is behind it must not go before it."""
        calls: list[tuple[int, Call]] = []
        for record in records:
            if station.fault or (place := place_of(record.offset)) < station.next:
                continue
            try:
                calls.append((place, _call(record.value or b"")))
            except MsgspecError as error:
                station.fault = (
                    f"{record.topic}: the record at {record.offset} is no call ({error}), and no later one is sent: "
                    "start senders of the version of profilecast that the job has"
                )
        return calls

    def _left(self, station: Station, calls: list[Call]) -> list[Call]:
        """Those without an outcome: once their receipts are forgotten, the others would be sent again."""
        if calls[0].ask > station.restored:
            return calls
        with closing(Receipts(self._folder, station.name)) as receipts:
            settled = receipts.settled(calls[0].ask, calls[-1].ask)
        return [call for call in calls if call.ask not in settled]

    def _look_after(self, db: StateDb) -> None:
        for station in list(self._stations.values()):
            self._free(db, station)
            if time.monotonic() - station.noted >= _NOTE:
                station.noted = time.monotonic()
                self._note(db, station)

    def _free(self, db: StateDb, station: Station) -> None:
        """Forget calls that have an outcome; the sender has it in its own file."""
        with closing(Receipts(self._folder, station.name)) as receipts:
            while found := receipts.after(station.freed, _AT_ONCE):
                with db.portion() as transaction:
                    transaction.free(station.number, [each.receipt.ask for each in found])
                    transaction.folded(station.number, receipts.file_id, found[-1].position)
                station.freed = found[-1].position

    def _note(self, db: StateDb, station: Station) -> None:
        """Write down below which place all is settled, and free the topics up to there.

        Receipts of calls that came later than a moment were written later: so they lie behind where the receipts
        ended at that moment.
        """
        sent = ends(self._asks, station.topic(self._kafka, "sent"), 0)[1]
        calls = ends(self._asks, self._topic(station), 0)[1]
        station.notes = [*station.notes[-_NOTES:], Settled(place_of(calls), sent)]
        lowest = db.lowest(station.number) or station.next
        since = [each for each in station.notes if each.place <= lowest]
        settled = Settled(lowest, since[-1].sent if since else station.settled.sent)
        if settled == station.settled:
            return
        station.writer.settled(settled)
        station.settled = settled
        station.places.forget(lowest)
        self._trim(self._admin, station)

    def _trim(self, admin: AdminClient, station: Station) -> None:
        gone = [
            TopicPartition(self._topic(station), 0, station.settled.place - 1),
            TopicPartition(station.topic(self._kafka, "sent"), 0, station.settled.sent),
        ]
        for future in admin.delete_records([each for each in gone if each.offset > 0]).values():
            future.result(WAIT)
