"""Jobs of `tests/transforms/logic/job.py` whose decisions are made, or made once more, by the Beam steps."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import apache_beam as beam
import msgspec
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_stream import TestStream

from schemas.calls import Call
from schemas.facts import AnyFact, EventFact, ReceiptFact, RetryFact, TickFact
from schemas.packing import pack
from schemas.state import account_of
from tests.transforms.logic.job import Job, lines_of
from transforms.fold import FoldShards
from transforms.keyed import FoldAccounts, FoldProfiles, Keyed, addressed
from transforms.logic.fold import Facts
from transforms.logic.plan import Plan
from transforms.logic.portion import Parsed, Portion, fold_portion

_plain = msgspec.json.decode
_packed = msgspec.msgpack.Encoder().encode
_any_fact = msgspec.msgpack.Decoder(AnyFact)


@dataclass(frozen=True)
class Store:
    """What `FoldShards` folds to: a file with the portion. Picklable."""

    path: Path
    plan: Plan
    states: dict[str, bytes]
    asked: int

    def fold_parsed(self, parsed: Parsed) -> int:
        facts = {name: Facts(events=of) for name, of in parsed.events.items()}
        numbers = iter(range(self.asked + 1, 1 << 62))
        portion = fold_portion(facts, self._get, self.plan, numbers)
        self.path.write_bytes(pickle.dumps((portion, next(numbers) - 1)))
        return len(parsed.events)

    def _get(self, keys: list[str]) -> dict[str, bytes]:
        return {key: self.states[key] for key in keys if key in self.states}


@dataclass
class BoundedJob(Job):
    """Folds events in a pipeline, as whole shards."""

    folder: Path = field(kw_only=True)

    def fold(self, facts: Mapping[str, Facts]) -> Portion:
        events = [_plain(msgspec.json.encode(event)) for of in facts.values() for event in of.events]
        if not events:
            return super().fold(facts)
        assert self.plan
        store = Store(self.folder / "portion", self.plan, self.states, max(self.asked, self.plan.now - 1))
        with beam.Pipeline(runner=FnApiRunner()) as root:
            packs = root | "Packs" >> beam.Create([(7, pack(lines_of(events)))]) | beam.GroupByKey()
            errors = root | "Errors" >> beam.Create([]).with_output_types(str)
            (packs, errors) | FoldShards(self.plan, store)
        portion, self.asked = pickle.loads(store.path.read_bytes())
        return self.write(portion)


@dataclass
class Recorded(Job):
    """Folds every fact for itself, under the plan of the first run, and keeps the facts and the calls."""

    facts: list[tuple[str, bytes]] = field(default_factory=list)
    made: list[tuple[str, Call]] = field(default_factory=list)
    plans: set[bytes] = field(default_factory=set)
    first: Plan | None = None

    def fold(self, facts: Mapping[str, Facts]) -> Portion:
        assert self.plan
        self.first = self.first or self.plan
        self.plans.add(self.plan.digest())
        self.plan = msgspec.structs.replace(self.plan, now=self.first.now)
        portion = Portion()
        for name, of in facts.items():
            for fact, single in _singles(of):
                self.facts.append((name, _packed(fact)))
                portion = super().fold({name: single})
                self.made += [(connection, call) for connection, calls in portion.calls.items() for call in calls]
        return portion


def numbered(job: "Recorded") -> tuple[list[tuple[str, bytes]], list[str]]:
    """The facts and the calls of a job, with asks that count for each subject as they do in a step."""
    assert job.first
    asks: dict[str, list[int]] = {}
    for _, call in job.made:
        asks.setdefault(call.profile_id, []).append(call.ask)
    own = {ask: job.first.now + n for each in asks.values() for n, ask in enumerate(sorted(each))}
    facts = []
    for name, packed in job.facts:
        fact = _any_fact.decode(packed)
        if isinstance(fact, ReceiptFact):
            fact = ReceiptFact(msgspec.structs.replace(fact.receipt, ask=own[fact.receipt.ask]))
        facts.append((name, _packed(fact)))
    calls = []
    for connection, call in job.made:
        numbers = {field: own.get(getattr(call, field), 0) for field in ("ask", "replaces", "opens")}
        calls.append(repr((connection, msgspec.structs.replace(call, **numbers))))
    return facts, sorted(calls)


def _singles(of: Facts) -> list[tuple[AnyFact, Facts]]:
    found: list[tuple[AnyFact, Facts]] = [(ReceiptFact(each), Facts(receipts=[each])) for each in of.receipts]
    found += [(EventFact(msgspec.json.encode(each)), Facts(events=[each])) for each in of.events]
    found += [(RetryFact(each.call, each.refused), Facts(retries=[each])) for each in of.retries]
    return [*found, (TickFact(), Facts(tick=True))] if of.tick else found


def made_by_stateful_step(plan: Plan, facts: list[tuple[str, bytes]], path: Path) -> list[tuple[str, Call]]:
    """The calls of `FoldAccounts` and `FoldProfiles` over these facts, one after the other."""
    stream = TestStream()
    for fact in facts:
        stream = stream.add_elements([fact])
    clock = plan.now / 1_000_000
    options = beam.options.pipeline_options.PipelineOptions(["--streaming"])
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as root:
        events = root | stream.advance_watermark_to_infinity()
        plans, now = Always(plan), _Clock(clock)
        accounts = events | _Only("Accounts", True) | FoldAccounts(plans, now)
        own = events | _Only("Profiles", False)
        profiles = (own, accounts["members"]) | beam.Flatten() | FoldProfiles(plans, now)
        (accounts["calls"], profiles.calls) | "Calls" >> beam.Flatten() | "Append" >> beam.ParDo(_AppendFn(path))
    return [
        (connection.name, call)
        for connection in plan.connections
        if (path / connection.name).exists()
        for call in _read(path / connection.name)
    ]


class _Only(beam.PTransform):
    """Facts about accounts, or those about profiles."""

    def __init__(self, label: str, accounts: bool) -> None:
        super().__init__(label)
        self._accounts = accounts

    def expand(self, facts: beam.PCollection) -> beam.PCollection:
        accounts = self._accounts
        mine = facts | beam.Filter(lambda fact: (account_of(fact[0]) is not None) is accounts)
        return mine | beam.MapTuple(_addressed).with_output_types(Keyed)


def _addressed(subject: str, packed: bytes) -> Keyed:
    return addressed(subject, _any_fact.decode(packed))


class _Clock:
    """Always the same time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self) -> float:
        return self._seconds


class Always:
    """The same plan, whatever version is asked for."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def plan(self, version: int, now: float) -> Plan:
        return self._plan

    def version(self) -> int:
        return 1


class _AppendFn(beam.DoFn):
    """Appends calls to a file for each connection."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def process(self, element: tuple[str, str, bytes]) -> None:
        connection, _, packed = element
        with (self._folder / connection).open("ab") as file:
            file.write(len(packed).to_bytes(4, "little") + packed)


def _read(path: Path) -> list[Call]:
    content, found = path.read_bytes(), []
    while content:
        size = int.from_bytes(content[:4], "little")
        found.append(msgspec.msgpack.decode(content[4 : 4 + size], type=Call))
        content = content[4 + size :]
    return found
