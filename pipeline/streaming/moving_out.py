"""`profilecast export state`: a state directory is made of what the log of a streaming job knows.

    PREFIX.state      ─► subjects          PREFIX.workspace ─► registry
    PREFIX.calls.NAME ─► calls that wait   PREFIX.kept.NAME ─► marks, facts
    PREFIX.facts      ─► receipts that the job did not fold: they are folded now

The log is left first, see `leaving`. The directory has its name when it is complete.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

from msgspec import MsgspecError
from msgspec.msgpack import Decoder

from pipeline import leases
from pipeline.decider import Decider
from pipeline.delivering import group_of
from pipeline.disk import StoreError, make_folder, sync_folder, writing
from pipeline.log import SqliteLog
from pipeline.paused import keep_paused
from pipeline.sent import make, waiting
from pipeline.state_db import StateDb
from pipeline.streaming.kafka import Kafka, committed, ends, partitions, read_all
from pipeline.streaming.leaving import ANSWER, leave
from pipeline.streaming.log import CAPS, PAUSED, Kept, Settled, begin, read_kept, receipts_of
from pipeline.streaming.notes import refuse_other_gateway
from pipeline.streaming.places import place_of
from pipeline.streaming.subjects import Subjects, state_errors
from pipeline.streaming.versions import Version
from pipeline.vendors import made
from schemas.calls import Call
from schemas.facts import Addressed, LeftFact, ReceiptFact
from schemas.receipts import Receipt
from schemas.registry import decode_registry, encode_registry
from schemas.state import account_of, decode_part, encode_part, part_key
from schemas.workspace import Workspace
from transforms.logic.accounts import PartNews, fold_part, part_of
from transforms.logic.moving import Numbers
from transforms.sending.log import Writing

_AT_ONCE = 5_000  # subjects or calls in a transaction
_call, _fact = Decoder(Call).decode, Decoder(Addressed).decode


class Exported(NamedTuple):
    profiles: int
    calls: int  # that wait


def export_state(
    kafka: Kafka, folder: Path, gateway: str, say: Callable[..., None], answer: float = ANSWER
) -> Exported:
    """Leave the log, and make a directory with which `run` and `serve` go on. Raises KafkaProblem, StoreError, Busy."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder}: there is something already; --to needs a folder that is new, or empty")
    refuse_other_gateway(kafka, gateway)
    with writing(folder):
        make_folder(folder.parent)
        beside = Path(mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        left = leave(kafka, say, answer)
        with state_errors(kafka):
            found = _fill(kafka, beside, left.version, gateway)
        with writing(folder):
            os.rename(beside, folder)
            sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    left.for_good()
    return found


def _fill(kafka: Kafka, folder: Path, version: Version, gateway: str) -> Exported:
    workspace, plan, registry = version.workspace(), version.plan(datetime.now(UTC)), decode_registry(version.registry)
    # So that the first run looks at everybody: what an engine had in its hands when it ended is in no topic.
    registry.digest = b""
    StateDb.create(folder)
    with closing(StateDb.open(folder)) as db:
        db.bind(workspace.workspace, gateway)
        with db.portion() as transaction:
            transaction.registry(encode_registry(registry), version.number)
        _states(kafka, db)
        calls: dict[str, _Calls] = {}
        counted: dict[str, Any] = {}
        pauses: dict[str, str] = {}
        first_names = version.first_names()
        for number, name in enumerate(registry.connections):
            first_name = first_names[name]
            if partitions(kafka, kafka.topic("calls", first_name)):
                kept = read_kept(kafka, first_name)
                calls[name] = _calls(kafka, db, number, name, first_name, kept.settled)
                apart = _kept(SqliteLog(folder, name, number), kept, calls[name])
                counted[name] = apart.get(CAPS)
                if since := apart.get(PAUSED):
                    pauses[name] = since
        subjects = Subjects(db, registry, {name: each.changed for name, each in calls.items()})
        subjects.enter(plan)
        with closing(Decider(folder, plan, registry, "export")) as decider:
            _fold(kafka, db, decider)
        subjects.release()
        _keep_caps(folder, workspace, gateway, counted)
        if pauses:
            keep_paused(folder, pauses)
        names = enumerate(registry.connections)
        return Exported(db.subjects(), sum(waiting(folder, name, number) for number, name in names))


def _states(kafka: Kafka, db: StateDb) -> None:
    """The newest state of each key."""
    portion: dict[str, bytes] = {}

    def write() -> None:
        with db.portion() as transaction:
            transaction.put({name: state for name, state in portion.items() if state})
            transaction.drop(name for name, state in portion.items() if not state)
        portion.clear()

    for record in read_all(kafka, kafka.topic("state")):
        portion[record.key.decode()] = record.value or b""
        if len(portion) >= _AT_ONCE:
            write()
    write()


# -- a connection


class _Calls(NamedTuple):
    """What the calls of a connection that have no receipt are now."""

    numbers: dict[int, int]  # by place in the topic
    changed: Mapping[str, Mapping[int, int]]  # by profile: other numbers than the fold gave them


def _calls(kafka: Kafka, db: StateDb, number: int, name: str, first_name: str, settled: Settled) -> _Calls:
    """Write the calls that have no receipt."""
    settled = begin(kafka, first_name, settled, gaps=False)
    done = {receipt.ask for receipts in receipts_of(kafka, first_name, settled) for receipt in receipts}
    numbers, found, portion = Numbers(), dict[int, int](), list[Call]()

    def write() -> None:
        with db.portion() as transaction:
            if not transaction.knows_file(number):
                transaction.folded(number, make(db.folder, name), 0)
            transaction.append(number, portion)
        portion.clear()

    for record in read_all(kafka, kafka.topic("calls", first_name), {0: settled.place - 1}):
        if (place := place_of(record.offset)) in done:
            continue
        portion.append(numbers.enter(_call(record.value or b"")))
        found[place] = portion[-1].ask
        if len(portion) >= _AT_ONCE:
            write()
    write()
    return _Calls(found, numbers.changed)


def _kept(log: SqliteLog, kept: Kept, calls: _Calls) -> dict[str, Any]:
    """Write marks and small facts; those that a directory has in a file of its own are returned."""
    apart = {name: kept.facts.pop(name) for name in (CAPS, PAUSED) if name in kept.facts}
    marks = {calls.numbers[place]: mark for place, mark in kept.marks.items() if place in calls.numbers}
    try:
        log.write(Writing(marks=marks, facts=kept.facts)).result()
    finally:
        log.close()
    return apart


def _keep_caps(folder: Path, workspace: Workspace, gateway: str, counted: Mapping[str, Any]) -> None:
    """What was sent counts for whoever sends next, on this machine."""
    for name, destination in made(workspace).destinations.items():
        if not (more := counted.get(name)):
            continue
        lease = leases.delivering(folder, name, group_of(destination, gateway))
        try:
            known = lease.caps.load()
            known["windows"] = [*known.get("windows", ()), *more.get("windows", ())]
            if held := max(known.get("held_until") or 0.0, more.get("held_until") or 0.0):
                known["held_until"] = held
            lease.caps.save(known)
        finally:
            lease.release()


# -- what the job did not fold


def _fold(kafka: Kafka, db: StateDb, decider: Decider) -> None:
    """Fold the receipts that the job did not commit: all of a profile at once, for the last one counts."""
    receipts: dict[str, list[Receipt]] = {}
    for about in _unread(kafka):
        match about.fact:
            case ReceiptFact(receipt):
                receipts.setdefault(about.subject, []).append(receipt)
            case LeftFact(profile, deleted):
                forget_member(db, account_of(about.subject) or "", profile, deleted)
    decider.fold_told(receipts)


def _unread(kafka: Kafka) -> Iterator[Addressed]:
    topic = kafka.topic("facts")
    with closing(kafka.consumer(group_id=f"{kafka.name}.job")) as consumer:
        read = committed(consumer, [(topic, number) for number in range(partitions(kafka, topic))])
        starts = {place[1]: max(offset, ends(consumer, *place)[0]) for place, offset in read.items()}
    for record in read_all(kafka, topic, starts):
        with suppress(MsgspecError, UnicodeDecodeError):  # somebody else's: the job makes a dead letter of it
            yield _fact(record.value or b"")


def forget_member(db: StateDb, account: str, profile: str, deleted: int) -> None:
    """Somebody who was deleted is a member no more."""
    key = part_key(account, part_of(profile))
    if packed := db.get([key]).get(key):
        part = decode_part(packed)
        fold_part(account, part, PartNews(left=[(profile, deleted)]))
        with db.portion() as transaction:
            transaction.put({key: encode_part(part)})
