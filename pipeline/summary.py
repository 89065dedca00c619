"""The outcome of a run: what was read, what was told, what is left; it must add up."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from pipeline.journal import fates, replace
from pipeline.store import Run
from schemas.report import Report
from schemas.workspace import Workspace
from transforms.destinations import find
from transforms.logic.ledger import Fate
from transforms.logic.message import timestamp
from transforms.logic.plan import Plan


class ConnectionSummary(Struct, kw_only=True):
    """One connection. made = delivered + rejected + expired + pending, counted from the journal."""

    made: int  # calls in the outbox
    carried: int = 0  # of these, left by an earlier run
    superseded: int = 0  # left by an earlier run, replaced by newer ones
    delivered: int = 0
    rejected: int = 0
    expired: int = 0
    pending: int = 0  # go with the next run
    held: int = 0  # wait for the list's next flush
    held_until: str = ""
    no_identifier: int = 0  # profiles without an identifier that the destination understands
    report: Report


class Summary(Struct, kw_only=True):
    """`runs/<run>/summary.json`."""

    run: str
    now: str
    folder: str
    errors: list[str] = []  # files that stopped the run before anything was sent
    input: dict[str, int] = {}
    profiles: int = 0
    dead_letters: int = 0
    connections: dict[str, ConnectionSummary] = {}
    mistakes: list[str] = []  # of the accounting: what does not add up

    @property
    def rejected(self) -> int:
        return sum(each.rejected for each in self.connections.values())

    @property
    def unfinished(self) -> list[str]:
        """Connections that stopped, or left calls for the next run."""
        return [name for name, each in self.connections.items() if each.pending or each.report.stopped]


def summarise(run: Run, workspace: Workspace, plan: Plan, flushed: dict[str, int]) -> Summary:
    """Count, check that it adds up, and write `summary.json`."""
    decided = run.decided()
    number = run.gather_dead_letters()
    summary = Summary(
        run=run.name,
        now=plan.moment().isoformat().replace("+00:00", "Z"),
        folder=str(run.folder),
        errors=decided.errors,
        input=decided.input,
        profiles=decided.profiles,
        dead_letters=number,
    )
    manifest = run.manifest()
    if manifest is not None and not decided.errors:
        reports = run.reports()
        for name, done in manifest.connections.items():
            journal = run.root / "outcomes" / run.name / f"{name}.jsonl"
            summary.connections[name] = _connection(decided.connections[name], reports[name], journal, done.calls)
            if summary.connections[name].held:
                summary.connections[name].held_until = _held_until(name, workspace, flushed)
    summary.mistakes = list(mistakes(summary))
    write(run.folder, summary)
    return summary


def _connection(decided: dict[str, int], report: Report, journal: Path, sizes: list[int]) -> ConnectionSummary:
    counted = Counter(Fate(fate) for shard in fates(journal, sizes) for fate in shard)
    return ConnectionSummary(
        made=decided["made"],
        carried=decided.get("carried", 0),
        superseded=decided.get("superseded", 0),
        delivered=counted[Fate.DELIVERED],
        rejected=counted[Fate.REJECTED] + counted[Fate.REJECTED_FOR_NOW],
        expired=counted[Fate.EXPIRED],
        pending=counted[Fate.PENDING] + counted[Fate.MAYBE],
        held=decided.get("held", 0),
        no_identifier=decided.get("no_identifier", 0),
        report=report,
    )


def _held_until(name: str, workspace: Workspace, flushed: dict[str, int]) -> str:
    slug = next(connection.destination for connection in workspace.connections if connection.name == name)
    kind = find(slug)
    return timestamp(flushed[name] + int(kind.flush_every * 1_000_000)) if kind else ""


def mistakes(summary: Summary) -> Iterator[str]:
    """What does not add up; nothing, unless there is a fault in profilecast itself."""
    told = summary.input
    if told.get("read", 0) != told.get("applied", 0) + told.get("unchanged", 0) + told.get("dead_letters", 0):
        yield f"input: read {told.get('read', 0)} is not applied + unchanged + dead letters ({told})"
    for name, each in summary.connections.items():
        if each.made != each.delivered + each.rejected + each.expired + each.pending:
            yield f"{name}: made {each.made} is not delivered + rejected + expired + pending"
        sender, journal = (each.report.delivered, each.report.rejections), (each.delivered, each.rejected)
        if sender != journal:
            yield f"{name}: (delivered, rejected) is {sender} for the sender and {journal} in its journal"


def write(folder: Path, summary: Summary) -> None:
    """`summary.json`, for people and programs."""
    replace(folder / "summary.json", msgspec.json.format(msgspec.json.encode(summary), indent=2))
