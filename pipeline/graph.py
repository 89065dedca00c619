"""The graph of a bounded run. The first step decides, the second delivers; between them, the commit.

ReadEvents ─ GroupByShard ─ DetectChanges ─ ExpandIdentifiers ─┬─ WriteState ──────┐
     └ Past ──────┘                                            ├─ WriteOutbox(…) ──┼─ Commit ─┬─ Deliver(…) ─┐
                                                               └─ WriteDeadLetters ┘          └─ Deliver(…) ─┴─ reports
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import apache_beam as beam

from pipeline.inputs import InputError, read_blocks
from pipeline.journal import Fates, past_of
from pipeline.replay import Replay
from pipeline.store import Run
from schemas.coders import register
from schemas.packing import pack
from schemas.workspace import Workspace
from transforms.deliver import Deliver
from transforms.detect import DetectChanges
from transforms.expand import COUNTS, DEAD_LETTERS, STATE, ExpandIdentifiers, calls_of
from transforms.logic.plan import Plan
from transforms.logic.shard import SHARDS
from transforms.read import ReadEvents
from transforms.sender import SenderOptions
from transforms.write import WriteShards

Entries = Iterable[tuple[str, Any]]  # what the commit hears: (kind, entry)


@dataclass(frozen=True)
class Job:
    """Everything a run's graph is made of."""

    workspace: Workspace
    plan: Plan
    everyone: bool  # look at every profile: the workspace is not what it was
    files: list[tuple[str, bool]]  # of events; whether they hold records (Avro, Parquet) or lines
    fates: dict[str, Fates]  # of the previous outboxes' calls, by connection
    replay: Replay
    run: Run
    commit: Callable[[list[tuple[str, Any]]], dict[str, list[int]] | None]
    options: SenderOptions


def build(root: beam.Pipeline, job: Job) -> None:
    """Add the run to a pipeline: decide, then deliver."""
    committed = decide(root, job)
    reports = [
        committed | f"Deliver({connection.name})" >> Deliver(job.workspace, connection, job.run, job.options)
        for connection in job.workspace.connections
    ]
    reports | "Reports" >> beam.Flatten() | "WriteReports" >> beam.Map(job.run.write_report)


def decide(root: beam.Pipeline, job: Job) -> beam.PCollection:
    """The first step, up to the commit: the outbox sizes by connection and shard."""
    register()
    read = root | "Files" >> beam.Create(job.files) | "ReadEvents" >> ReadEvents(read_blocks, InputError)
    past = root | "Past" >> beam.Create([*_pasts(job), *job.replay.packs]).with_output_types(tuple[int, bytes])

    # Whole shards, so that Beam's cost per element disappears behind the work.
    shards = (read.packs, past) | beam.Flatten() | "GroupByShard" >> beam.GroupByKey()

    expanded = (
        shards
        | "DetectChanges" >> DetectChanges(job.plan, job.everyone, job.run)
        | "ExpandIdentifiers" >> ExpandIdentifiers(job.plan)
    )
    names = [connection.name for connection in job.workspace.connections]
    written = [
        expanded[STATE] | "WriteState" >> WriteShards("state", job.run.write_state),
        expanded[DEAD_LETTERS] | "WriteDeadLetters" >> WriteShards("dead_letters", job.run.write_dead_letters),
        *(
            expanded[calls_of(name)] | f"WriteOutbox({name})" >> WriteShards(name, partial(job.run.write_outbox, name))
            for name in names
        ),
    ]

    # The barrier: nothing is sent before every file is written, and nothing at all if a file was unreadable.
    return (
        (
            *(each | f"Written{n}" >> beam.Map(_entry, "written") for n, each in enumerate(written)),
            expanded[COUNTS] | "Counts" >> beam.Map(_entry, "counts"),
            read.errors | "Errors" >> beam.Map(_entry, "error"),
        )
        | "Entries" >> beam.Flatten()
        | "Barrier" >> beam.GroupByKey()
        | "Commit" >> beam.FlatMap(_commit, job.commit)
    )


def _pasts(job: Job) -> list[tuple[int, bytes]]:
    retries = job.replay.retries
    return [(shard, pack(past_of(shard, job.fates, retries.get(shard, [])))) for shard in range(SHARDS)]


def _entry(entry: Any, kind: str) -> tuple[int, tuple[str, Any]]:
    return 0, (kind, entry)


def _commit(
    group: tuple[int, Entries], commit: Callable[[list[tuple[str, Any]]], dict[str, list[int]] | None]
) -> Iterator[dict[str, list[int]]]:
    sizes = commit(list(group[1]))
    if sizes is not None:
        yield sizes
