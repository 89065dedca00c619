"""One bounded run: from the files and the state directory to the summary."""

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline import leases
from pipeline.ages import until_flush
from pipeline.commands.engine_options import LOCAL_RUNNER
from pipeline.decider import Decided, Decider, enter_workspace, write_registry
from pipeline.delivering import Deliveries, counts_of
from pipeline.disk import StoreError
from pipeline.files import find_files, size_of
from pipeline.graph import Input, decide, deliver
from pipeline.inputs import RECORDS, check_file
from pipeline.log import Receipts, newest_letter
from pipeline.problems import NeedsConsent
from pipeline.replay import NOTHING, Replay
from pipeline.run_folder import RunFolder, forget_runs
from pipeline.small_lists import small_lists
from pipeline.sources import Tables, reading
from pipeline.state_db import StateDb
from pipeline.summary import Counts, Summary, connection_summary, mistakes, write
from pipeline.unusable import by_reason, explain
from pipeline.vendors import made
from schemas.dead_letters import DeadLetter
from schemas.report import Report
from schemas.workspace import Source, Workspace
from transforms.collector import collect_seldom
from transforms.logic.detect import micros
from transforms.logic.portion import parse_lines
from transforms.sending.sender import SenderOptions, shared_sender

_LOG = logging.getLogger("profilecast.run")
_ROUNDS = 10  # of deliver, and fold what came of it


@dataclass(frozen=True)
class RunOptions:
    """What `profilecast run` was asked to do."""

    workspace: Workspace
    events: list[str]  # patterns; none: deliver what waits
    state: Path
    now: datetime
    runner: str = LOCAL_RUNNER
    beam_arguments: list[str] = field(default_factory=list)
    sender: SenderOptions = field(default_factory=SenderOptions)
    new_state: bool = False
    accept_changes: bool = False
    refresh: tuple[str, ...] = ()  # `connection/sync`: everything that was told is told once more
    sources: tuple[Source, ...] = ()  # tables that are read


@dataclass
class Heard:
    """What is called while a run goes on."""

    decided: Callable[["Run"], None] = lambda run: None  # before anything is sent


class Run:
    """A run under way."""

    def __init__(self, options: RunOptions, heard: Heard) -> None:
        self.options, self.heard = options, heard
        self.workspace = options.workspace
        self.made = made(options.workspace)
        self.notes: list[str] = []
        self.decided = Decided()
        self.before: dict[str, Counts] = {}

    def do(self, replay: Replay) -> Summary:
        found = find_files(self.options.events, self.options.beam_arguments)
        self.notes += found.notes
        files = [(path, check_file(path) in RECORDS) for path in found.files]
        with StateDb.use(self.options.state, self.options.new_state) as db:
            db.bind(self.workspace.workspace, self.options.sender.gateway)
            with leases.deciding(self.options.state):
                now = micros(self.options.now)
                with reading(self.workspace, self.options.sources, self.options.state, db, now) as tables:
                    self.notes += tables.notes
                    files += [(path, False) for path in tables.files]
                    size = sum(size_of(path) for path, _ in files)
                    self._decide(db, Input(files, size), replay, tables)
            if self.decided.errors:
                return self._summarise(db, {})
            self.heard.decided(self)
            reports = self._deliver(db)
            return self._summarise(db, reports)

    # -- deciding

    def _decide(self, db: StateDb, events: Input, replay: Replay, tables: Tables) -> None:
        now = micros(self.options.now)
        plan, registry, notices = enter_workspace(db, self.workspace, self.made.vendors, now, self.options.refresh)
        grave = [*tables.consent, *(notice.words for notice in notices if notice.grave)]
        if grave and not self.options.accept_changes:
            raise NeedsConsent("\n".join([*grave, "Nothing was done. If that is meant, add --accept-changes."]))
        self.notes += [notice.words for notice in notices]
        write_registry(db, registry)
        self.folder = RunFolder.make(self.options.state)
        self.numbers = {name: number for number, name in enumerate(registry.connections)}
        self.before = self._counts()
        self.letters_before = {name: newest_letter(self.options.state, name) for name in self.before}
        decider = Decider(self.options.state, plan, registry, self.folder.name, self.options.sender.mask_dead_letters)
        self.decider = decider
        try:
            for folded in (decider.fold_receipts(), decider.tick(), decider.fold_retries(replay.retries)):
                self.decided.add(folded)
            if replay.lines:
                self.decided.add(decider.fold_parsed(parse_lines(replay.lines, plan)))
            if events.files:
                tables.begin()
                with plain_errors(), make_pipeline(self.options) as root:
                    decide(root, events, decider, self.folder.write_decided)
                self.decided.add(self.folder.decided())
                if self.decided.errors:
                    tables.drop()
                else:
                    tables.commit(db)
        finally:
            decider.close()

    def _counts(self) -> dict[str, Counts]:
        """The logs of the workspace's connections as they are now."""
        names = (connection.name for connection in self.workspace.connections)
        return {
            name: counts_of(self.options.state, name, self.numbers[name]) if name in self.numbers else Counts()
            for name in names
        }

    # -- delivering

    def waiting(self) -> dict[str, int]:
        """Calls that wait, by connection: before anything of them is sent."""
        return {name: before.waiting + self.decided.made.get(name, 0) for name, before in self.before.items()}

    def until_flush(self, name: str) -> int:
        """Of these, how many wait for the next flush of their list."""
        plan = next((each for each in self.decider.plan.connections if each.name == name), None)
        kind = next(each.destination for each in self.workspace.connections if each.name == name)
        now = self.options.now.timestamp()
        return until_flush(self.options.state, plan, kind, now) if plan else 0

    def _deliver(self, db: StateDb) -> dict[str, Report]:
        """Deliver and fold the receipts, until these ask for no more calls."""
        names = [connection.name for connection in self.workspace.connections]
        reports: dict[str, Report] = {}
        for _ in range(_ROUNDS):
            deliveries = Deliveries(self.options, self.decider.plan, self.decider.registry)
            with plain_errors(), make_pipeline(self.options) as root:
                deliver(root, names, deliveries, self.folder.write_report)
            for name, report in self.folder.reports().items():
                reports[name] = reports[name].after(report) if name in reports else report
            if shared_sender().stopping or not self._fold_receipts(db):
                break
            names = [name for name in names if not reports[name].stopped]
        return reports

    def _decide_again(self, db: StateDb) -> Decided:
        """What was gone at a vendor was made again: ask for everybody once more."""
        plan, registry, _ = enter_workspace(db, self.workspace, self.made.vendors, micros(self.options.now))
        write_registry(db, registry)
        self.decider.close()
        masked = self.options.sender.mask_dead_letters
        self.decider = Decider(self.options.state, plan, registry, self.folder.name, masked)
        return self.decider.tick()

    def _fold_receipts(self, db: StateDb) -> bool:
        """Fold what the vendors said; whether there is something to deliver by it."""
        try:
            with leases.deciding(self.options.state):
                if self.decider.outdated:
                    return False
                decided = self.decider.fold_receipts()
                if remade := any(report.remade for report in self.folder.reports().values()):
                    decided.add(self._decide_again(db))
        except leases.Busy:  # whoever decides does it
            return False
        finally:
            self.decider.close()
        self.decided.add(decided)
        return decided.asked > 0 or remade  # what was handed over has to be sent, too

    # -- the outcome

    def _summarise(self, db: StateDb, reports: dict[str, Report]) -> Summary:
        summary = Summary(
            run=self.folder.name,
            now=self.options.now.isoformat().replace("+00:00", "Z"),
            folder=str(self.folder.path),
            errors=sorted(self.decided.errors),
            notes=self.notes,
            input=dict(self.decided.input),
            sources=self.decided.sources,
            profiles=db.subjects(),
        )
        summary.small_lists = list(small_lists(db, self.workspace, self.made, self.decider.registry))
        for name, after in self._counts().items() if reports else ():
            summary.connections[name] = connection_summary(self.decided, name, self.before[name], after, reports[name])
        summary.unusable = list(explain(*by_reason(db.letters(run=self.folder.name))))
        summary.dead_letters = self.folder.write_dead_letters(self._letters(db))
        summary.mistakes = list(mistakes(summary.input, summary.connections))
        write(self.folder.path, summary)
        db.prune(time.time())
        forget_runs(self.options.state, time.time())
        return summary

    def _letters(self, db: StateDb) -> Iterator[DeadLetter]:
        """Of this run: records that were no events, and calls that failed while it lasted."""
        yield from db.letters(run=self.folder.name)
        for name, newest in self.letters_before.items():
            receipts = Receipts(self.options.state, name)
            yield from (letter for _, letter in receipts.letters(after=newest))
            receipts.close()


def run(options: RunOptions, heard: Heard | None = None, replay: Replay = NOTHING) -> Summary:
    """Do one run. Raises InputError, StoreError, Busy and NeedsConsent: the state is good, whatever happened."""
    try:
        return Run(options, heard or Heard()).do(replay)
    finally:
        shared_sender().reset()


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raise what a step could not do with the disk as a StoreError, without what the engine wraps around it."""
    try:
        yield
    except Exception as error:  # engines wrap what a step raised in exceptions of their own
        chain = list(_chain(error))
        for cause in reversed(chain):
            if isinstance(cause, StoreError):
                raise cause from None
        for cause in reversed(chain):
            if isinstance(cause, OSError):
                where = f"{cause.filename}: " if cause.filename else ""
                raise StoreError(f"{where}{cause.strerror or cause}; fix that, then run again") from error
        if told := re.search(r"StoreError: (.+)", str(error)):  # engines in another process tell it as text
            raise StoreError(told[1]) from None
        raise


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__


def make_pipeline(options: RunOptions) -> beam.Pipeline:
    """An empty pipeline on the runner asked for."""
    collect_seldom()
    if options.runner == LOCAL_RUNNER:
        from apache_beam.runners.portability.fn_api_runner import FnApiRunner

        return beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(options.beam_arguments))
    return beam.Pipeline(options=PipelineOptions([f"--runner={options.runner}", *options.beam_arguments]))


def clock() -> datetime:
    return datetime.now(UTC)


__all__ = ["Heard", "Run", "RunOptions", "Sequence", "clock", "make_pipeline", "plain_errors", "run"]
