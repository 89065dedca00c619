"""A job without engine, disks and vendors: runs over packed states and logs, with the outcomes that a test decides."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

from msgspec.json import encode

from schemas.calls import Call, Identifier
from schemas.registry import Registry
from schemas.state import ProfileState, account_of, decode_profile
from schemas.workspace import Workspace
from tests.transforms.logic.plain_sender import Outcome, PlainSender, slots_of
from tests.transforms.logic.vendors import vendors_of
from transforms.logic.detect import micros
from transforms.logic.fold import Facts
from transforms.logic.ledger import Retry
from transforms.logic.plan import Plan, make_plan
from transforms.logic.portion import Lines, Parsed, Portion, fold_portion, parse_lines, tombstone
from transforms.logic.registry import Notice, enter

Event = dict[str, Any]
Made = tuple[str, Call]  # by connection
MOST_ROUNDS = 20  # of folding what came of folding


@dataclass
class Job:
    """What a state directory keeps between runs, and what the last run made."""

    registry: Registry = field(default_factory=Registry)
    states: dict[str, bytes] = field(default_factory=dict)  # packed, by key
    logs: dict[int, PlainSender] = field(default_factory=dict)  # by the connection's number
    folded: dict[int, int] = field(default_factory=dict)  # receipts of each log
    asked: int = 0  # the last number of an ask
    plan: Plan | None = None
    dropped: int = 0  # waiting occurrences, over all runs
    notices: list[Notice] = field(default_factory=list)
    parsed: Parsed = field(default_factory=Parsed)
    portion: Portion = field(default_factory=Portion)  # what folding the events gave
    no_identifier: set[str] = field(default_factory=set)  # connections of which the last run found that
    due: list[Made] = field(default_factory=list)  # what the last run returned
    seconds: float = 0.0  # `now`, since 1970

    def run(self, workspace: Workspace, events: Sequence[Event], now: datetime, held: Iterable[str] = ()) -> list[Made]:
        """One run: what a sender would send now, each in its order, if every call gets an outcome."""
        self.decide(workspace, events, now)
        self.due = self.attempts(held)
        return self.due

    def decide(self, workspace: Workspace, events: Sequence[Event], now: datetime) -> None:
        """Fold receipts, everybody if the workspace changed, events; and again, until nothing comes of it."""
        self.seconds, self.no_identifier = now.timestamp(), set()
        self.registry, self.notices = enter(self.registry, workspace, vendors_of(workspace), micros(now))
        self.plan = make_plan(workspace, vendors_of(workspace), self.registry, micros(now))
        self.fold_receipts()
        if self.plan.digest() != self.registry.digest:
            subjects = [key for key in self.states if key[0] != "\x00" or account_of(key)]
            self.fold({key: Facts(tick=True) for key in subjects})
            self.registry.digest = self.plan.digest()
        self.parsed = parse_lines([lines_of(events)], self.plan)
        self.portion = self.fold({name: Facts(events=of) for name, of in self.parsed.events.items()})
        self.settle_for_nothing()

    def settle_for_nothing(self) -> None:
        """Let the senders settle what costs no request, and fold it, until nothing comes of it."""
        assert self.plan
        for _ in range(MOST_ROUNDS):
            for connection in self.plan.connections:
                self.log(connection.name).net(slots_of(connection), self.seconds)
            if not self.fold_receipts():
                return
        raise AssertionError("folding asks for ever")

    def fold(self, facts: Mapping[str, Facts]) -> Portion:
        """Fold, and write everything or nothing."""
        assert self.plan
        return self.write(fold_portion(facts, self._packed, self.plan, self._numbers(), persons=self.persons))

    def write(self, portion: Portion) -> Portion:
        self.dropped += portion.counts["dropped"]
        self.no_identifier |= portion.no_identifier.keys()
        self.states |= portion.states
        for key in portion.gone:
            del self.states[key]
        for name, calls in portion.calls.items():
            for call in calls:
                self.logs.setdefault(self.registry.connections.index(name), PlainSender()).append(call)
        return portion

    def fold_receipts(self) -> int:
        """Fold the receipts that are new; how many."""
        new: dict[str, list[Any]] = {}
        for number, log in self.logs.items():
            for receipt in log.receipts[self.folded.get(number, 0) :]:
                new.setdefault(receipt.profile_id, []).append(receipt)
            self.folded[number] = len(log.receipts)
        self.fold({name: Facts(receipts=receipts) for name, receipts in new.items()})
        return len(new)

    def retry(self, retries: Sequence[Retry]) -> int:
        """Replay dead letters; how many of them found something to try again."""
        return sum(self.fold({each.call.profile_id: Facts(retries=[each])}).counts["retried"] for each in retries)

    def attempts(self, held: Iterable[str] = ()) -> list[Made]:
        """What the senders would send now."""
        assert self.plan
        return [
            (connection.name, call)
            for connection in self.plan.connections
            for call in self.log(connection.name).due(self.seconds, connection.name in held)
        ]

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """What became of the calls, in the order in which `run` returned them; without it, nothing was sent.

        A call that another one's outcome made needless has none of its own.
        """
        for made, outcome in zip(self.due, outcomes, strict=True):
            self.settle_one(made, outcome)

    def settle_one(self, made: Made, outcome: Outcome) -> None:
        assert self.plan
        name, call = made
        log, slots = self.log(name), slots_of(next(each for each in self.plan.connections if each.name == name))
        if log.records[call.ask].receipt is None:
            log.end(call.ask, outcome, slots, self.seconds)
            log.net(slots, self.seconds)

    def log(self, connection: str) -> PlainSender:
        return self.logs.setdefault(self.registry.connections.index(connection), PlainSender())

    def profile(self, profile_id: str) -> ProfileState | None:
        """What is kept of a profile."""
        raw = self.states.get(profile_id) or self.states.get(tombstone(profile_id))
        return decode_profile(raw) if raw else None

    def persons(self, wanted: Collection[Identifier]) -> dict[Identifier, list[str]]:
        """Who has, or had, each of these."""
        found: dict[Identifier, list[str]] = {}
        for key, packed in self.states.items():
            for each in decode_profile(packed).ids if key[0] != "\0" else ():
                if each.identifier in wanted:
                    found.setdefault(each.identifier, []).append(key)
        return found

    def _packed(self, keys: list[str]) -> dict[str, bytes]:
        return {key: self.states[key] for key in keys if key in self.states}

    def _numbers(self) -> Iterator[int]:
        assert self.plan
        for number in count(max(self.asked + 1, self.plan.now)):
            self.asked = number
            yield number


def lines_of(events: Sequence[Event]) -> Lines:
    """Events as they would stand in a file."""
    return Lines("events.jsonl", list(range(1, len(events) + 1)), [encode(event) for event in events])


def hour(number: float) -> datetime:
    """A time in tests: so many hours into the first day of 1998."""
    return datetime.fromtimestamp(883612800 + number * 3600, UTC)


def at(number: float) -> str:
    """`hour` as events write it."""
    return hour(number).isoformat().replace("+00:00", "Z")
