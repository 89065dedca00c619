"""`run --streaming --bootstrap DIR`: a new log begins with what a state directory knows.

    subjects            ─► PREFIX.state          registry         ─► PREFIX.workspace
    calls that wait     ─► PREFIX.calls.NAME     marks, facts     ─► PREFIX.kept.NAME
    receipts not folded ─► PREFIX.facts

All of it is one transaction. The directory says then that it was moved, so that nobody goes on with it.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from heapq import merge
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Producer

from pipeline import leases
from pipeline.delivering import group_of
from pipeline.disk import StoreError
from pipeline.feed import Feed
from pipeline.inbox import pattern
from pipeline.log import SqliteLog
from pipeline.paused import paused
from pipeline.sent import Receipts
from pipeline.state_db import StateDb, encode_call
from pipeline.streaming import versions
from pipeline.streaming.kafka import Kafka, KafkaProblem, Row, ends, read_all
from pipeline.streaming.log import CAPS, PAUSED, fact_record, mark_record
from pipeline.streaming.notes import gateway_note
from pipeline.streaming.places import place_of
from pipeline.streaming.topics import connection_topics, ensure, job_topics
from pipeline.vendors import made
from pipeline.watch import decode_seen
from schemas.facts import ReceiptFact
from schemas.registry import Registry, decode_registry
from schemas.workspace import Workspace
from transforms.keyed import addressed
from transforms.sending.log import Mark, Waiting

_AT_ONCE = 5_000  # subjects, calls or receipts of one read


class Origin(NamedTuple):
    """A state directory, and what it has to belong to."""

    folder: Path
    workspace: Workspace
    gateway: str = ""


class Beginning:
    """What a new log begins with. Nobody decides or sends in the directory while there is one: `beginning`."""

    def __init__(self, log: Kafka, origin: Origin, db: StateDb) -> None:
        self.registry: Registry = decode_registry(db.registry())
        self._log, self._folder, self._db, self._gateway = log, origin.folder, db, origin.gateway
        self._caps, self._paused = _caps(origin), paused(origin.folder)
        self.profiles = db.subjects()

    def write(self, version: versions.Version, producer: Producer) -> None:
        """Write all of it, with the first version of the workspace. Raises KafkaProblem and StoreError."""
        for name in self.registry.connections:
            ensure(self._log, connection_topics(self._log, name))
        StateDb.move(self._folder, f"the streaming job over {self._log.name}")
        try:
            versions.write(self._log, producer, version, self._records())
        except BaseException:
            StateDb.move(self._folder, "")
            raise

    def _records(self) -> Iterator[Row]:
        yield gateway_note(self._log, self._gateway)
        yield from self._states()
        for number, name in enumerate(self.registry.connections):
            yield from self._receipts(number, name)
            with closing(SqliteLog(self._folder, name, number)) as log:
                yield from self._facts(log, name)
                yield from self._calls(log, name)

    def _states(self) -> Iterator[Row]:
        topic, after = self._log.topic("state"), ""
        while names := self._db.names(after, _AT_ONCE):
            after = names[-1]
            for name, state in self._db.get(names).items():
                yield topic, name.encode(), state

    def _receipts(self, number: int, name: str) -> Iterator[Row]:
        """Those that are not folded yet."""
        topic = self._log.topic("facts")
        with closing(Receipts(self._folder, name)) as log:
            position = log.place(self._db.folded(number))
            while found := log.after(position, _AT_ONCE):
                position = found[-1].position
                for each in found:
                    yield topic, *addressed(each.receipt.profile_id, ReceiptFact(each.receipt))

    def _facts(self, log: SqliteLog, name: str) -> Iterator[Row]:
        facts: dict[str, Any] = log.facts()
        if counted := self._caps.get(name):
            facts[CAPS] = counted
        if since := self._paused.get(name):
            facts[PAUSED] = since
        for key, value in facts.items():
            yield self._log.topic("kept", name), *fact_record(key, value)

    def _calls(self, log: SqliteLog, name: str) -> Iterator[Row]:
        """Calls without a receipt in the order of their asks, each with its mark, by its place in the topic."""
        topic = self._log.topic("calls", name)
        with closing(self._log.consumer()) as consumer:
            end = ends(consumer, topic, 0)[1]
        classes = (_waiting(log, backfill) for backfill in (False, True))
        for offset, (call, mark, *_) in enumerate(merge(*classes, key=lambda each: each.call.ask), end):
            if mark != Mark():
                yield self._log.topic("kept", name), *mark_record(place_of(offset), mark)
            yield topic, call.profile_id.encode(), encode_call(call)


def _waiting(log: SqliteLog, backfill: bool) -> Iterator[Waiting]:
    after = 0
    while found := log.read(backfill, after, _AT_ONCE):
        after = found[-1].call.ask
        yield from found


@contextmanager
def beginning(log: Kafka, origin: Origin) -> Iterator[Beginning]:
    """Take the directory while the block lasts. Raises NoState, StoreError, Busy and KafkaProblem."""
    with ExitStack() as held:
        db = held.enter_context(closing(StateDb.open(origin.folder, to_read=True)))
        held.enter_context(leases.deciding(origin.folder))
        _refuse_other(db, origin)
        found = Beginning(log, origin, db)
        for name in found.registry.connections:
            held.enter_context(leases.log_lease(origin.folder, name))
        _refuse_unread(db, origin.folder)
        _refuse_used(log, found.registry)
        yield found


def tokens_of(folder: Path) -> list[Path]:
    """Refresh tokens that vendors gave: secrets, which go into no topic."""
    return sorted((folder / "tokens").glob("*.json"))


def _refuse_other(db: StateDb, origin: Origin) -> None:
    folder = origin.folder
    if moved := db.meta("moved"):
        raise StoreError(
            f"{folder}: its state was moved to {moved} already; --bootstrap without a directory goes on with it there"
        )
    if not db.registry():
        raise StoreError(f"{folder}: nothing was decided there yet; begin the job without --bootstrap")
    name, gateway = db.meta("workspace"), db.meta("gateway")
    if name != origin.workspace.workspace:
        raise StoreError(
            f"{folder}: it belongs to the workspace {name!r}, and this job is for {origin.workspace.workspace!r}"
        )
    if gateway != origin.gateway:
        known = f"the gateway {gateway}: give --gateway" if gateway else "the vendors themselves: give no --gateway"
        raise StoreError(
            f"{folder}: it says what was told to {known} to this command, and the same to every `profilecast send`"
        )


def _refuse_unread(db: StateDb, folder: Path) -> None:
    """What was acknowledged, and a job would not know of."""
    seen = {path: decode_seen(known) for path, known in db.files().items()}
    feed = Feed([pattern(folder)], seen)
    feed.look()
    if feed.take():
        raise StoreError(
            f"{folder}: messages that were acknowledged over HTTP are not folded yet; start `profilecast serve` there "
            "until it has read them"
        )


def _refuse_used(log: Kafka, registry: Registry) -> None:
    topics = [*job_topics(log, 1), *(each for name in registry.connections for each in connection_topics(log, name))]
    used = [topic for topic in topics if next(read_all(log, topic), None) is not None]
    if used:
        raise KafkaProblem(
            f"{', '.join(used)}: there are records already, and a state directory can only begin a new log. Take "
            "another PREFIX in --log; or go on with what is there, with --bootstrap and no directory"
        )


def _caps(origin: Origin) -> Mapping[str, dict[str, Any]]:
    """What long windows counted, by connection."""
    found = made(origin.workspace).destinations
    return {name: leases.kept_caps(group_of(each, origin.gateway)).load() for name, each in found.items()}
