"""The outcome of a run: what was read, what was told, what is left; it must add up.

    input:           read = applied + unchanged + dead letters
    each connection: made = delivered + rejected + expired + superseded + pending

What became of calls is counted from the journal, not from what the sender says it did.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from pipeline.disk import replace
from pipeline.journal import Fates, fates
from pipeline.store import Committed, Run
from schemas.report import Report
from schemas.workspace import Workspace
from transforms.destinations import find
from transforms.logic.expand import HELD
from transforms.logic.ledger import EXPIRIES, REJECTIONS, Fate
from transforms.logic.message import timestamp
from transforms.logic.plan import Plan


class ConnectionSummary(Struct, kw_only=True):
    """One connection. made = delivered + rejected + expired + superseded + pending."""

    made: int  # calls that this run had to do with: new ones, and what an earlier run left
    left: int = 0  # of these, by an earlier run
    carried: int = 0  # of those left: still wanted
    superseded: int = 0  # of those left: replaced by newer ones, or not wanted any more
    delivered: int = 0
    rejected: int = 0
    expired: int = 0
    pending: int = 0  # go with a later run
    held: int = 0  # of the pending: wait for the list's next flush
    held_until: str = ""
    no_identifier: int = 0  # profiles without an identifier that the destination understands
    report: Report

    @property
    def waiting(self) -> int:
        """Pending, though it could have gone."""
        return self.pending - self.held


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
        return [name for name, each in self.connections.items() if each.waiting or each.report.stopped]


def summarise(run: Run, workspace: Workspace, plan: Plan) -> Summary:
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
            found = fates(run.journal_path(name), run.name, name, done.calls)
            each = summary.connections[name] = _connection(decided.connections[name], reports[name], found)
            each.held_until = _held_until(name, workspace, done, decided.connections[name])
    summary.mistakes = list(mistakes(summary))
    write(run.folder, summary)
    return summary


def _connection(decided: dict[str, int], report: Report, found: Fates) -> ConnectionSummary:
    counted = {fate: sum(shard.count(fate) for shard in found.fates) for fate in Fate}
    held, superseded = sum(_held(decided).values()), decided.get("superseded", 0)
    return ConnectionSummary(
        made=decided["made"] + superseded + held,
        left=decided["left"],
        carried=decided.get("carried", 0),
        superseded=superseded,
        delivered=counted[Fate.DELIVERED],
        rejected=sum(counted[fate] for fate in REJECTIONS),
        expired=sum(counted[fate] for fate in EXPIRIES),
        pending=found.left() + held,
        held=held,
        no_identifier=decided.get("no_identifier", 0),
        report=report,
    )


def _held(decided: dict[str, int]) -> dict[str, int]:
    """Changes that wait for their list's next flush, by key."""
    return {name.removeprefix(HELD): number for name, number in decided.items() if name.startswith(HELD)}


def _held_until(name: str, workspace: Workspace, done: Committed, decided: dict[str, int]) -> str:
    """When the first of them go; "" where nothing is held."""
    slug = next(connection.destination for connection in workspace.connections if connection.name == name)
    kind, keys = find(slug), _held(decided)
    if kind is None or not keys:
        return ""
    return timestamp(min(done.flushed[key] for key in keys) + int(kind.flush_every * 1_000_000))


def mistakes(summary: Summary) -> Iterator[str]:
    """What does not add up; nothing, unless there is a fault in profilecast itself."""
    told = summary.input
    if told.get("read", 0) != told.get("applied", 0) + told.get("unchanged", 0) + told.get("dead_letters", 0):
        yield f"input: read {told.get('read', 0)} is not applied + unchanged + dead letters ({told})"
    for name, each in summary.connections.items():
        accounted = each.delivered + each.rejected + each.expired + each.superseded + each.pending
        if each.made != accounted:
            yield f"{name}: {each.made:,} calls were made, {accounted:,} are accounted for"
        if each.left != each.carried + each.superseded:
            known = each.carried + each.superseded
            yield f"{name}: {each.left:,} calls were left by an earlier run, this one knows of {known:,}"
        report = each.report
        for what, sent, journalled in (
            ("delivered", report.delivered, each.delivered),
            ("rejected", report.rejections, each.rejected),
            ("expired", report.expired, each.expired),
        ):
            if sent != journalled:
                yield f"{name}: {sent:,} calls {what} by the sender, {journalled:,} by its journal"


def write(folder: Path, summary: Summary) -> None:
    """`summary.json`, for people and programs."""
    replace(folder / "summary.json", msgspec.json.format(msgspec.json.encode(summary), indent=2))
