"""The outcome of a run: what was read, what became of calls, what waits; it must add up.

    input:           read = applied + unchanged + dead letters
    each connection: waiting before + made = delivered + rejected + expired + superseded + waiting now

What became of calls is counted from receipts, not from what the sender says it did.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct, field

from pipeline.decider import Decided
from pipeline.disk import replace
from schemas.input_counts import InputCounts
from schemas.report import Report


class Counts(Struct, frozen=True):
    """A connection's log at one moment; the sums are over its whole life."""

    made: int = 0
    delivered: int = 0
    rejected: int = 0
    expired: int = 0
    superseded: int = 0
    waiting: int = 0


class ConnectionSummary(Struct, kw_only=True):
    """One connection in one run. Other processes may have had their part in it."""

    before: int = 0  # calls that waited when the run began
    made: int = 0  # new calls
    delivered: int = 0
    rejected: int = 0
    expired: int = 0
    superseded: int = 0  # replaced by newer ones, taken back, or what the vendor had already
    waiting: int = 0  # calls that wait now
    scheduled: int = 0  # of these, for a time: a list's next flush, or until an older value can land no more
    scheduled_until: str = ""  # when the first of them go
    no_identifier: int = 0  # changes of people without an identifier that the destination understands
    kept: int = 0  # identifiers of deleted persons that the vendor cannot forget
    elsewhere: bool = False  # another process delivers it
    report: Report

    @property
    def unfinished(self) -> int:
        """Calls that wait though they could go."""
        return self.waiting - self.scheduled


class Summary(Struct, kw_only=True):
    """`runs/<run>/summary.json`."""

    run: str
    now: str
    folder: str
    errors: list[str] = []  # files that stopped the run before anything was folded or sent
    notes: list[str] = []  # files that were skipped, patterns that matched nothing, what changed in the workspace
    small_lists: list[str] = []  # sentences: audiences with fewer people than the vendor uses a list from
    input: dict[str, int] = {}
    sources: InputCounts = field(default_factory=InputCounts)
    unusable: list[str] = []  # sentences: why records could not be used, with an example for each reason
    profiles: int = 0
    dead_letters: int = 0
    connections: dict[str, ConnectionSummary] = {}
    mistakes: list[str] = []  # of the accounting: what does not add up

    @property
    def rejected(self) -> int:
        return sum(each.rejected for each in self.connections.values())

    @property
    def stopped(self) -> list[str]:
        """Connections that need somebody."""
        return [name for name, each in self.connections.items() if each.report.stopped or each.report.blocked]

    @property
    def waiting(self) -> list[str]:
        """Connections with calls that could go, and did not."""
        return [name for name, each in self.connections.items() if each.unfinished and name not in self.stopped]


def connection_summary(decided: Decided, name: str, before: Counts, after: Counts, report: Report) -> ConnectionSummary:
    return ConnectionSummary(
        before=before.waiting,
        made=after.made - before.made,
        delivered=after.delivered - before.delivered,
        rejected=after.rejected - before.rejected,
        expired=after.expired - before.expired,
        superseded=after.superseded - before.superseded,
        waiting=after.waiting,
        scheduled=min(report.scheduled, after.waiting),
        scheduled_until=report.scheduled_until,
        no_identifier=decided.no_identifier.get(name, 0),
        kept=decided.kept.get(name, 0),
        elsewhere=report.elsewhere,
        report=report,
    )


def mistakes(told: Mapping[str, int], connections: Mapping[str, ConnectionSummary]) -> Iterator[str]:
    """What does not add up; nothing, unless there is a fault in profilecast itself."""
    if told.get("read", 0) != told.get("applied", 0) + told.get("unchanged", 0) + told.get("dead_letters", 0):
        yield f"input: read {told.get('read', 0)} is not applied + unchanged + dead letters ({dict(told)})"
    for name, each in connections.items():
        settled = each.delivered + each.rejected + each.expired + each.superseded
        if each.before + each.made != settled + each.waiting:
            yield (
                f"{name}: {each.before:,} calls waited and {each.made:,} were made; {settled:,} have an outcome and "
                f"{each.waiting:,} wait"
            )


def write(folder: Path, summary: Summary) -> None:
    """`summary.json`, for people and programs."""
    replace(folder / "summary.json", msgspec.json.format(msgspec.json.encode(summary), indent=2))
