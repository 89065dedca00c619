"""A job without Beam, disks and vendors: runs over one shard, with the outcomes that a test decides."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from msgspec.json import encode

from schemas.calls import Call
from schemas.state import ProfileState, ShardState, decode_profile
from schemas.workspace import Workspace
from tests.transforms.logic.vendors import destination_of
from transforms.logic.detect import micros
from transforms.logic.ledger import Fate
from transforms.logic.plan import Plan, make_plan, sync_id
from transforms.logic.shard import Detected, Expanded, Lines, Settlement, detect_shard, expand_shard, tombstone

Event = dict[str, Any]
Made = tuple[str, Call]  # by connection


@dataclass
class Job:
    """What a state directory keeps between runs, and what the last run made."""

    state: ShardState = field(default_factory=lambda: ShardState({}))
    created: dict[str, int] = field(default_factory=dict)
    digest: bytes = b""
    settlements: list[Settlement] = field(default_factory=list)
    detected: Detected = field(default_factory=Detected)
    expanded: Expanded | None = None

    def run(self, workspace: Workspace, events: Sequence[Event], now: datetime, held: Iterable[str] = ()) -> list[Made]:
        """One run; nothing that it makes is delivered before `settle` says so."""
        destinations = {c.name: destination_of(workspace, c) for c in workspace.connections}
        waits = frozenset(
            sync_id(c.name, s.computation) for c in workspace.connections if c.name in held for s in c.syncs
        )
        plan = make_plan(workspace, destinations, self.created, waits, micros(now))
        expanded = self.decide(plan, events, plan.digest() != self.digest)
        self.expanded, self.state, self.digest = expanded, expanded.state, plan.digest()
        self.created = {sync_id(c.name, s.key): plan.now for c in plan.connections for s in c.syncs} | self.created
        self.settlements = [
            Settlement(c.name, c.settings, calls, bytes(len(calls)))
            for c in plan.connections
            if (calls := expanded.calls[c.name])
        ]
        return [(settlement.connection, call) for settlement in self.settlements for call in settlement.calls]

    def decide(self, plan: Plan, events: Sequence[Event], everyone: bool) -> Expanded:
        self.detected = detect_shard(self.state, self.settlements, [lines_of(events)], plan, everyone)
        return expand_shard(self.detected, plan)

    def settle(self, fates: Sequence[Fate]) -> None:
        """What became of the calls, in the order in which `run` returned them; without it, nothing was sent."""
        rest = iter(fates)
        for settlement in self.settlements:
            settlement.fates = bytes(next(rest) for _ in settlement.calls)
            settlement.tried_at = dict(self._failed(settlement.fates))

    @staticmethod
    def _failed(fates: bytes) -> Iterator[tuple[int, float]]:
        """Without an outcome all that may have arrived failed; of the rest, every other one."""
        for position, fate in enumerate(fates):
            if fate == Fate.MAYBE or (fate == Fate.PENDING and position % 2):
                yield position, 1.0

    def counts(self, connection: str) -> dict[str, int]:
        """What the last run counted besides the calls."""
        assert self.expanded is not None
        return dict(self.expanded.counts[connection])

    def profile(self, profile_id: str) -> ProfileState | None:
        """What is kept of a profile."""
        raw = self.state.profiles.get(profile_id) or self.state.profiles.get(tombstone(profile_id))
        return decode_profile(raw) if raw else None


def lines_of(events: Sequence[Event]) -> Lines:
    """Events as they would stand in a file."""
    return Lines("events.jsonl", list(range(1, len(events) + 1)), [encode(event) for event in events])


def hour(number: float) -> datetime:
    """A time in tests: so many hours into the first day of 1998."""
    return datetime.fromtimestamp(883612800 + number * 3600, UTC)


def at(number: float) -> str:
    """`hour` as events write it."""
    return hour(number).isoformat().replace("+00:00", "Z")
