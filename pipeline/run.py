"""One bounded run: from the files and the state directory to the summary."""

import gc
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.commit import Commit
from pipeline.graph import Job, build
from pipeline.inputs import check_file, find_files
from pipeline.store import Manifest, Run, StateStore
from pipeline.summary import Summary, summarise
from schemas.workspace import Workspace
from transforms.destinations import find
from transforms.destinations.contract import Destination
from transforms.logic.detect import micros
from transforms.logic.ledger import Fate
from transforms.logic.plan import make_plan
from transforms.sender import SenderOptions, shared_sender

_LOG = logging.getLogger("profilecast.run")
LOCAL_RUNNER = "FnApiRunner"


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


def run(options: RunOptions, started: Callable[[Run], None] = lambda run: None) -> Summary:
    """Do one run. Raises InputError and StoreError before anything is sent.

    `started` hears of the run before its pipeline begins.
    """
    paths = find_files(options.events) if options.events else []
    for path in paths:
        check_file(path)
    store = StateStore(options.state)
    with store.locked():
        job = make_job(options, store, paths)
        started(job.run)
        shared_sender().reset()
        with make_pipeline(options) as root:
            build(root, job)
        previous = job.run.previous
        summary = summarise(job.run, options.workspace, job.plan, _flushes(previous))
        if not summary.errors:
            store.prune({job.run.name, *([previous.run] if previous else [])})
        return summary


def make_job(options: RunOptions, store: StateStore, paths: list[str]) -> Job:
    """What the run's graph is made of; the store is locked."""
    previous = store.current()
    fates = store.fates(previous) if previous else {}
    now = micros(options.now)
    created: Mapping[str, int] = previous.created if previous else {}
    held = held_connections(options.workspace, previous, fates, now)
    plan = make_plan(options.workspace, destinations(options.workspace), created, held, now)
    run = store.new_run(previous)
    run.make([connection.name for connection in options.workspace.connections])
    return Job(
        workspace=options.workspace,
        plan=plan,
        everyone=previous is None or previous.plan != plan.digest().hex(),
        paths=paths,
        fates=fates,
        run=run,
        commit=Commit(run, plan, created, _flushes(previous)),
        options=options.sender,
    )


def destinations(workspace: Workspace) -> dict[str, Destination]:
    """The destination of each connection, by the connection's name."""
    found = {}
    for connection in workspace.connections:
        kind = find(connection.destination)
        if kind is None:
            raise ValueError(f"no destination {connection.destination!r}")
        found[connection.name] = kind(workspace, connection)
    return found


def held_connections(
    workspace: Workspace, previous: Manifest | None, fates: Mapping[str, list[bytearray]], now: int
) -> frozenset[str]:
    """List connections inside their flush interval; a flush that was cut short stays due."""
    held = set()
    for connection in workspace.connections:
        kind = find(connection.destination)
        last = previous.connections.get(connection.name) if previous else None
        if kind is None or last is None or not last.flushed:
            continue
        complete = not any(fate in (Fate.PENDING, Fate.MAYBE) for shard in fates[connection.name] for fate in shard)
        if complete and now < last.flushed + kind.flush_every * 1_000_000:
            held.add(connection.name)
    return frozenset(held)


def _flushes(previous: Manifest | None) -> dict[str, int]:
    return {name: done.flushed for name, done in previous.connections.items()} if previous else {}


def make_pipeline(options: RunOptions) -> beam.Pipeline:
    """An empty pipeline on the runner asked for."""
    # Shards are many objects without cycles: with Python's own thresholds a third of the time goes to looking for some.
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    if options.runner == LOCAL_RUNNER:
        from apache_beam.runners.portability.fn_api_runner import FnApiRunner

        return beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(options.beam_arguments))
    return beam.Pipeline(options=PipelineOptions([f"--runner={options.runner}", *options.beam_arguments]))


def clock() -> datetime:
    return datetime.now(UTC)
