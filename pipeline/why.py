"""Why, asked of a state directory: the findings about one person, each with a sentence."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from pipeline.ages import last_flushes
from pipeline.decider import enter_workspace
from pipeline.history import Past, pasts
from pipeline.paused import paused
from pipeline.person import Person, Record, look_up
from pipeline.sent import Receipts, attached, waiting
from pipeline.state_db import StateDb
from pipeline.vendors import destinations, vendors
from schemas.registry import Registry, decode_registry
from schemas.workspace import Workspace
from transforms.destinations.contract import Destination
from transforms.logic.caps import effective_limits, per
from transforms.logic.detect import micros
from transforms.logic.estimate import ahead, slowest
from transforms.logic.plan import Plan
from transforms.logic.why import Finding, explain
from transforms.sending.deferred import next_flush

MOST_COUNTED = 50_000  # calls in front of one

Before = Callable[[str, Record], tuple[int, bool]]  # calls that go before one of a connection, see `Line`


class Line(Struct, frozen=True):
    """Where a call stands in the log of its connection."""

    before: int  # calls that go first
    more: bool  # at least so many: they were not counted to the end
    seconds: float  # until its turn at the cap, as soon as something delivers; 0: not known
    cap: str  # as people say it; "" for none


class Answer(Struct):
    """One finding, with what the logs know of it."""

    finding: Finding
    open: Record | None = None  # the call that is asked
    last: Record | None = None  # the newest call with an outcome
    delivered: Record | None = None  # the newest that the vendor took
    line: Line | None = None  # of the open call
    flush: float = 0.0  # when its list is flushed next, seconds since 1970
    past: Past | None = None  # of the connection
    paused: str = ""  # since when an operator has paused the connection


class Why(Struct):
    """All about one person."""

    person: Person
    plan: Plan
    registry: Registry
    answers: list[Answer]


def why(db: StateDb, workspace: Workspace, profile_id: str, now: datetime, before: Before | None = None) -> Why:
    """Everything about one profile that is known. Raises StoreError.

    `before` counts what goes before a call, where the directory has not all calls that wait.
    """
    made = destinations(workspace)  # secrets may have no values here
    plan, registry, _ = enter_workspace(db, workspace, vendors(made), micros(now))
    known = decode_registry(packed).connections if (packed := db.registry()) else []
    logs = dict(zip(registry.connections, known, strict=False))
    person = look_up(db, registry, plan, profile_id, logs)
    past, pauses = pasts(db.folder), paused(db.folder)
    answers = []
    for finding in explain(profile_id, person.state, plan):
        if finding.rule == "not_synced":
            finding = replace(finding, connection=registry.slots[finding.slot - 1].connection)
        log = logs.get(finding.connection, finding.connection)
        answer = Answer(finding, past=past.get(log), paused=pauses.get(log, ""))
        _add_records(answer, person)
        answers.append(answer)
    waits = _Waits(db.folder, workspace, registry, logs, made, before)
    for answer in answers:
        if answer.open and answer.open.receipt is None and answer.finding.connection in made:
            waits.add(answer, person)
    return Why(person, plan, registry, answers)


def _add_records(answer: Answer, person: Person) -> None:
    finding = answer.finding
    if finding.identifier is None:
        return
    mine = [each for each in _of(person, finding.connection) if _about(each) == (finding.slot, finding.identifier)]
    if finding.entry.open:
        answer.open = next((each for each in mine if each.ask == finding.entry.open.ask), None)
    settled = [each for each in mine if each.receipt or each.letter]
    answer.last = next(iter(settled), None)
    answer.delivered = next((each for each in settled if each.receipt and each.receipt.fate == "delivered"), None)


def _of(person: Person, connection: str) -> Iterator[Record]:
    return (each for each in person.records if each.connection == connection)


def _about(record: Record) -> tuple[int, object]:
    """The slot and the identifier."""
    about = record.call or record.receipt
    if about:
        return about.slot, about.identifier
    assert record.letter
    return record.letter.payload["slot"], tuple(record.letter.payload["identifier"])


class _Waits:
    """What the open calls of one person wait for."""

    def __init__(
        self,
        folder: Path,
        workspace: Workspace,
        registry: Registry,
        logs: Mapping[str, str],
        made: Mapping[str, Destination],
        before: Before | None,
    ) -> None:
        self._folder, self._registry, self._logs, self._made = folder, registry, logs, made
        self._before = before or self._counted
        self._connections = {connection.name: connection for connection in workspace.connections}
        self._lines: dict[tuple[str, int], Line] = {}  # by connection and fold: its calls stand in one place

    def add(self, answer: Answer, person: Person) -> None:
        assert answer.open
        name, form, ask = answer.finding.connection, answer.finding.form, answer.open.ask
        log = self._logs.get(name, name)
        if every := self._made[name].flush_every.get(form.form, 0.0) if form else 0.0:
            answer.flush = next_flush(flushed(self._folder, log, answer.finding.slot), every)
        fold = next(first for first, many in person.state.asked if first <= ask < first + many)
        if (name, fold) not in self._lines:
            self._lines[name, fold] = self._line(name, answer)
        answer.line = self._lines[name, fold]

    def _counted(self, name: str, record: Record) -> tuple[int, bool]:
        return _before(self._folder, self._logs.get(name, name), self._registry.connections.index(name), record)

    def _line(self, name: str, answer: Answer) -> Line:
        """Where an open call stands."""
        assert answer.open
        before, more = self._before(name, answer.open)
        limits = effective_limits(type(self._made[name]).limits, self._connections[name])
        usual = (answer.past.per_request if answer.past else 0.0) or self._made[name].batch.items
        cap = slowest(limits)
        words = per(cap.requests, cap.seconds) if cap else ""
        return Line(before, more, ahead(before + 1, usual, limits).seconds, words)


def flushed(folder: Path, connection: str, slot: int) -> float:
    """When the last flush of a list began; 0: never."""
    with closing(Receipts(folder, connection)) as receipts:
        return last_flushes(receipts).get(slot, 0.0)


def _before(folder: Path, connection: str, number: int, record: Record) -> tuple[int, bool]:
    """Calls that go before one: those of its class that were asked earlier, and all live ones before a backfill.

    A long line is counted from its other end; where that is far too, only so far.
    """
    backfill = bool(record.call and record.call.backfill)
    with closing(attached(folder, connection)) as database:

        def counted(of: bool, asks: str) -> int:
            """Calls of a class with such asks, and no receipt."""
            found = database.execute(
                "SELECT count(*) FROM (SELECT 1 FROM main.calls c WHERE connection = ? AND backfill = ? "
                f"AND slot > 0 AND ask {asks} ? "
                "AND NOT EXISTS (SELECT 1 FROM sent.receipts r WHERE r.ask = c.ask) LIMIT ?)",
                (number, of, record.ask, MOST_COUNTED),
            )
            return int(found.fetchone()[0])

        before = counted(backfill, "<") + (counted(False, "!=") if backfill else 0)
        if before < MOST_COUNTED:
            return before, False
        behind = counted(backfill, ">") + (0 if backfill else counted(True, "!="))
    if behind < MOST_COUNTED:
        return waiting(folder, connection, number, quickly=True) - behind - 1, False
    return before, True


def moment(seconds: float) -> str:
    """A time as it is printed."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z"
