"""Planning: what a run would do, counted, without consequences.

files ─┐
state ─┼─ the graph of a run, with a planner for its decider ─ calls in a scratch directory ─ counts
logs  ─┘
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct, field
from msgspec.structs import replace

from pipeline.decider import Decided, enter_workspace
from pipeline.delivering import counts_of
from pipeline.files import find_files, size_of
from pipeline.graph import Input, decide
from pipeline.history import Past, pasts
from pipeline.inputs import RECORDS, check_file
from pipeline.overlay import Overlay
from pipeline.picked import Place
from pipeline.planner import Planner
from pipeline.rehearsed import Rehearsed
from pipeline.run import RunOptions, make_pipeline, plain_errors
from pipeline.run_folder import RunFolder
from pipeline.sent import retries
from pipeline.sources import Tables, reading
from pipeline.state_db import StateDb, decode_call
from pipeline.unusable import by_reason, explain
from pipeline.vendors import Made, made
from pipeline.why import flushed, moment
from schemas.calls import Call
from schemas.registry import Registry, decode_registry
from schemas.workspace import Connection
from transforms.destinations.contract import Destination
from transforms.logic.caps import effective_limits, per
from transforms.logic.detect import micros
from transforms.logic.estimate import ahead, slowest
from transforms.logic.plan import Plan
from transforms.sending.deferred import next_flush

_KNOWN = 10  # requests of the past from which on it says what is usual


class Row(Struct, frozen=True, kw_only=True):
    """Calls of one kind that a run would make."""

    connection: str
    sync: str
    form: str
    what: str  # `enter`, `leave`, `change`, `delete`; `take back`: what waits is not sent
    cause: str
    people: int
    identifiers: int  # as many as calls


class Ahead(Struct, frozen=True, kw_only=True):
    """What a run would have to send to one connection."""

    waiting: int = 0  # calls of earlier runs without an outcome
    retries: int = 0  # of these: those that failed before, and are tried again
    made: int = 0
    superseded: int = 0  # that cost no request: replaced or taken back before they are sent
    lacking: int = 0  # made, though a key that the vendor requires is not known: rejected without a request
    requests: int = 0
    seconds: float = 0.0  # at the cap; 0: there is none
    cap: str = ""
    per_request: float = 0.0  # calls, as it was usual; 0: as the vendor's batches allow
    rejections: float = 0.0  # the usual share
    flushes: dict[str, str] = {}  # by sync with a list: when it is flushed next; "" is at once
    fault: str = ""  # why nothing can be decided for it

    @property
    def to_send(self) -> int:
        return max(self.waiting + self.made - self.superseded - self.lacking, 0)


class Planned(Struct, kw_only=True):
    """A plan, as `--out` writes it."""

    workspace: str
    now: str
    consent: list[str] = []  # what a run would not do without --accept-changes
    notes: list[str] = []
    errors: list[str] = []  # files that would stop the run before anything is sent
    input: dict[str, int] = {}
    unusable: list[str] = []
    connections: dict[str, Ahead] = {}
    rows: list[Row] = field(default_factory=list)
    rehearsed: dict[str, Rehearsed] = {}  # by connection; empty without a rehearsal


class Planning:
    """One plan being made. Use as a context: the calls are there until its end."""

    def __init__(self, options: RunOptions) -> None:
        self.options = options
        self.made: Made = made(options.workspace)
        self._beside = TemporaryDirectory(prefix="profilecast-plan-")
        self._scratch = Path(self._beside.name) / "scratch"
        self._folder = options.state
        self._open = ExitStack()
        self._names: dict[str, str] = {}  # under which a connection's log lies, where the workspace renames it

    def __enter__(self) -> "Planning":
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()
        self._beside.cleanup()

    def plan(self) -> Planned:
        """Raises NoState, StoreError, InputError and WrongPattern."""
        options = self.options
        found = find_files(options.events, options.beam_arguments)
        if options.new_state and not (options.state / "state.db").exists():
            self._folder = Path(self._beside.name) / "new"
            StateDb.create(self._folder)
        with closing(StateDb.open(self._folder, to_read=True)) as db:
            known = decode_registry(packed) if (packed := db.registry()) else Registry()
            now = micros(options.now)
            plan, registry, notices = enter_workspace(db, options.workspace, self.made.vendors, now, options.refresh)
            tables = self._tables(db)
        files = [
            *((path, check_file(path) in RECORDS) for path in found.files),
            *((path, False) for path in tables.files),
        ]
        Overlay.make(self._folder, self._scratch)
        self.decided, self.registry = plan, registry
        self._names = names = dict(zip(registry.connections, known.connections, strict=False))
        planner = Planner(self._folder, self._scratch, plan, registry, options.workspace, names)
        decided = self._decide(planner, Input(files, sum(size_of(path) for path, _ in files)))
        planned = Planned(
            workspace=options.workspace.workspace,
            now=options.now.isoformat().replace("+00:00", "Z"),
            consent=[*tables.consent, *(notice.words for notice in notices if notice.grave)],
            notes=[*found.notes, *tables.notes, *(notice.words for notice in notices if not notice.grave)],
            errors=sorted(decided.errors),
            input=dict(decided.input),
        )
        self._count(planned, plan, registry, names)
        return planned

    def _tables(self, db: StateDb) -> Tables:
        """The tables as they are now; their events stand in the folder of this plan."""
        options, scratch = self.options, Path(self._beside.name)
        reads = reading(options.workspace, options.sources, options.state, db, micros(options.now), scratch)
        return self._open.enter_context(reads)

    def _decide(self, planner: Planner, events: Input) -> Decided:
        """As `Run` does it."""
        decided = Decided()
        try:
            for folded in (planner.fold_receipts(), planner.tick()):
                decided.add(folded)
            if events.files:
                folder = RunFolder(self._scratch)
                with plain_errors(), make_pipeline(self.options) as root:
                    decide(root, events, planner, folder.write_decided)
                decided.add(folder.decided())
        finally:
            planner.close()
        return decided

    # -- counting

    def _count(self, planned: Planned, plan: Plan, registry: Registry, names: dict[str, str]) -> None:
        past = pasts(self._folder)
        with closing(StateDb.open(self._scratch, to_read=True)) as db:
            planned.unusable = list(explain(*by_reason(db.letters())))
            planned.rows = [
                Row(connection=name, sync=sync, form=form, what=what, cause=cause, people=people, identifiers=number)
                for name, sync, form, what, cause, people, number in db.rows(
                    "SELECT connection, sync, form, what, cause, count(DISTINCT profile), count(*) FROM planned "
                    "GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5"
                )
            ]
            for connection in self.options.workspace.connections:
                name = connection.name
                if fault := self.made.faults.get(name):
                    planned.connections[name] = Ahead(fault=fault)
                    continue
                number, log = registry.connections.index(name), names.get(name, name)
                waiting = counts_of(self._folder, log, number).waiting
                destination = self.made.destinations[name]
                found = _ahead(db, connection, destination, waiting, past.get(log, Past()))
                planned.connections[name] = replace(
                    found,
                    retries=retries(self._folder, log, number),
                    flushes=self._flushes(plan, log, name, destination),
                )

    def _flushes(self, plan: Plan, log: str, name: str, destination: Destination) -> dict[str, str]:
        found = {}
        for sync in next(each.syncs for each in plan.connections if each.name == name):
            for form in sync.forms:
                if every := destination.flush_every.get(form.form, 0.0):
                    due = next_flush(flushed(self._folder, log, form.slot), every)
                    found[sync.name] = moment(due) if due > self.options.now.timestamp() else ""
        return found

    def place(self, name: str) -> Place:
        """Where the calls of a connection stand, when the plan is made."""
        number = self.registry.connections.index(name)
        return Place(self._folder, self._scratch, name, self._names.get(name, name), number)

    def calls(self, most: int) -> Iterator[tuple[str, Call]]:
        """Some of the calls that would be sent: the first of each kind, then further ones."""
        with closing(StateDb.open(self._scratch, to_read=True)) as db:
            rows = db.rows(
                "SELECT connection, call FROM (SELECT connection, call, ask, row_number() OVER "
                "(PARTITION BY connection, sync, form, what ORDER BY ask) AS place FROM planned WHERE NOT netted) "
                "ORDER BY place, connection, ask LIMIT ?",
                most,
            )
        yield from ((name, decode_call(packed)) for name, packed in rows)


def planned_of(options: RunOptions) -> Planned:
    """The plan alone."""
    with Planning(options) as planning:
        return planning.plan()


def _ahead(db: StateDb, connection: Connection, destination: Destination, waiting: int, past: Past) -> Ahead:
    """What is to be sent to one connection, and how long that takes at its cap."""
    name = connection.name
    ((made_, netted, lacking),) = db.rows(
        "SELECT coalesce(sum(form != 'cancel'), 0), coalesce(sum(netted AND form != 'cancel'), 0), "
        "coalesce(sum(lacks AND NOT netted), 0) FROM planned WHERE connection = ?",
        name,
    )
    ((replaced,),) = db.rows("SELECT count(*) FROM planned WHERE connection = ? AND replaces > 0", name)
    routes = db.rows(
        "SELECT route, count(*), sum(unit) FROM planned WHERE connection = ? AND NOT netted GROUP BY 1", name
    )
    found = Ahead(
        waiting=waiting,
        made=made_,
        superseded=min(netted + replaced, waiting + made_),
        lacking=lacking,
        rejections=past.rejections,
    )
    sure = past.requests >= _KNOWN
    usual = past.per_request if sure else _filled(destination, routes)
    limits = effective_limits(type(destination).limits, connection)
    requests, seconds = ahead(found.to_send, usual, limits)
    cap = slowest(limits)
    return replace(
        found,
        requests=requests,
        seconds=seconds,
        cap=per(cap.requests, cap.seconds) if cap else "",
        per_request=usual if sure else 0.0,
    )


def _filled(destination: Destination, routes: Sequence[tuple[str, int, int]]) -> float:
    """Calls in a request, where every batch is as full as it can be: calls of two routes share none.

    `routes`: each with its calls and the units in them.
    """
    requests = sum(destination.batch_of(route).asked(units) for route, _, units in routes)
    calls = sum(number for _, number, _ in routes)
    return calls / requests if requests else destination.batch.items / destination.batch.asked(destination.batch.items)
