"""One bounded run: from the files and the state directory to the summary."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.commands.engine_options import LOCAL_RUNNER
from pipeline.commit import Commit, Past
from pipeline.disk import StoreError
from pipeline.graph import Job, build
from pipeline.inputs import RECORDS, check_file, find_files
from pipeline.journal import Fates
from pipeline.replay import NOTHING, Replay
from pipeline.store import Manifest, Run, StateStore
from pipeline.summary import Summary, summarise
from schemas.workspace import Workspace
from transforms.collector import collect_seldom
from transforms.destinations import find
from transforms.destinations.contract import Destination
from transforms.logic.detect import micros
from transforms.logic.plan import Plan, make_plan, sync_id
from transforms.sender import SenderOptions, shared_sender

_LOG = logging.getLogger("profilecast.run")


@dataclass(frozen=True)
class RunOptions:
    """What `profilecast run` was asked to do."""

    workspace: Workspace
    events: list[str]  # patterns; none: deliver what is pending
    state: Path
    now: datetime
    runner: str = LOCAL_RUNNER
    beam_arguments: list[str] = field(default_factory=list)
    sender: SenderOptions = field(default_factory=SenderOptions)
    mask_dead_letters: bool = False


def run(options: RunOptions, started: Callable[[Run], None] = lambda run: None, replay: Replay = NOTHING) -> Summary:
    """Do one run. Raises InputError and StoreError: the state is good, whatever happened.

    `started` hears of the run before its pipeline begins.
    """
    paths = find_files(options.events) if options.events else []
    files = [(path, check_file(path) in RECORDS) for path in paths]
    store = StateStore(options.state)
    try:
        with store.locked():
            job = make_job(options, store, files, replay)
            started(job.run)
            with plain_errors(), make_pipeline(options) as root:
                build(root, job)
            previous = job.run.previous
            summary = summarise(job.run, options.workspace, job.plan)
            if not summary.errors:
                store.prune({job.run.name, *([previous.run] if previous else [])})
            return summary
    finally:
        shared_sender().reset()


@contextmanager
def plain_errors() -> Iterator[None]:
    """What a step could not do with the disk, without what the engine wraps around it."""
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
                raise StoreError(f"{where}{cause.strerror or cause}; mend that, then run again") from error
        if told := re.search(r"StoreError: (.+)", str(error)):  # engines in another process tell it as text
            raise StoreError(told[1]) from None
        raise


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__


def make_job(options: RunOptions, store: StateStore, files: list[tuple[str, bool]], replay: Replay = NOTHING) -> Job:
    """What the run's graph is made of; the store is locked."""
    previous = store.current()
    fates = store.fates(previous) if previous else {}
    plan = plan_run(options, store, previous, fates)
    store.prune({previous.run} if previous else set(), after=previous.run if previous else "")
    run = store.new_run(previous, options.mask_dead_letters)
    run.make([connection.name for connection in options.workspace.connections])
    for connection in options.workspace.connections:
        run.memory(connection.name)  # a damaged one stops the run here, not in the middle
    return Job(
        workspace=options.workspace,
        plan=plan,
        everyone=previous is None or previous.plan != plan.digest().hex(),
        files=files,
        fates=fates,
        replay=replay,
        run=run,
        commit=Commit(run, plan, previous.created if previous else {}, _pasts(previous, fates)),
        options=options.sender,
    )


def plan_run(options: RunOptions, store: StateStore, previous: Manifest | None, fates: Mapping[str, Fates]) -> Plan:
    """What the workspace wants now, beside what the run before left."""
    now = micros(options.now)
    cut_short = store.cut_short(previous, fates) if previous else {}
    held = held_syncs(options.workspace, previous, cut_short, now)
    created: Mapping[str, int] = previous.created if previous else {}
    return make_plan(options.workspace, destinations(options.workspace), created, held, now)


def destinations(workspace: Workspace) -> dict[str, Destination]:
    """The destination of each connection, by the connection's name."""
    found = {}
    for connection in workspace.connections:
        kind = find(connection.destination)
        if kind is None:
            raise ValueError(f"no destination {connection.destination!r}")
        found[connection.name] = kind(workspace, connection)
    return found


def held_syncs(
    workspace: Workspace, previous: Manifest | None, cut_short: Mapping[str, set[str]], now: int
) -> frozenset[str]:
    """Those inside their list's flush interval; a flush that was `cut_short` stays due."""
    held = set()
    for connection in workspace.connections:
        kind = find(connection.destination)
        past = previous.connections.get(connection.name) if previous else None
        if kind is None or past is None:
            continue
        for key, last in past.flushed.items():
            due = key in cut_short[connection.name] or not last <= now < last + kind.flush_every * 1_000_000
            if not due:
                held.add(sync_id(connection.name, key))
    return frozenset(held)


def _pasts(previous: Manifest | None, fates: Mapping[str, Fates]) -> dict[str, Past]:
    if previous is None:
        return {}
    return {
        name: Past(fates[name].left(), done.flushed, done.acknowledged or fates[name].acknowledged())
        for name, done in previous.connections.items()
    }


def make_pipeline(options: RunOptions) -> beam.Pipeline:
    """An empty pipeline on the runner asked for."""
    collect_seldom()
    if options.runner == LOCAL_RUNNER:
        from apache_beam.runners.portability.fn_api_runner import FnApiRunner

        return beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(options.beam_arguments))
    return beam.Pipeline(options=PipelineOptions([f"--runner={options.runner}", *options.beam_arguments]))


def clock() -> datetime:
    return datetime.now(UTC)
