"""A job that is told short events of one person, an hour after another."""

from collections.abc import Sequence
from typing import Any

from schemas.calls import Call, Identifier
from schemas.state import Entry
from tests.transforms.logic.job import Job, hour
from tests.transforms.logic.plain_sender import Outcome
from tests.transforms.logic.transcripts import Syncs, event_of, workspace_of

SCORE: Syncs = {"mailer": {"score": {}}}
VIP: Syncs = {"mailer": {"vip": {}}}
TRACK: Syncs = {"mailer": {"vip": {"as": ["track"]}}}
ANA = {"at": 0, "ids": ["u1"]}
U1 = Identifier("user_id", "u1")


class Play:
    """A job, told short events, an hour after another."""

    def __init__(self, syncs: Syncs) -> None:
        self.job, self.syncs, self.hour = Job(), syncs, 0.0

    def run(self, *events: dict[str, Any], syncs: Syncs | None = None, hours: float = 1.0) -> list[Call]:
        """What would be sent."""
        self.syncs, self.hour = syncs or self.syncs, self.hour + hours
        made = self.job.run(workspace_of(self.syncs), [event_of(event) for event in events], hour(self.hour))
        return [call for _, call in made]

    def settle(self, *outcomes: Outcome) -> None:
        self.job.settle(outcomes)

    @property
    def written(self) -> list[Call]:
        """The whole log."""
        return [record.call for record in self.job.log("mailer").records.values()]

    def entry(self, slot: int) -> Entry:
        state = self.job.profile("ana")
        assert state
        return state.ledger[slot][0]

    @property
    def fates(self) -> list[str]:
        return [record.receipt.fate if record.receipt else "" for record in self.job.log("mailer").records.values()]


def asked(calls: Sequence[Call]) -> list[tuple[str, Any]]:
    return [(call.kind, call.value) for call in calls]
