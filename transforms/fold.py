"""Fold: facts meet what is known of their profiles. Steps that wire and do not decide.

Bounded: whole shards of events, over a store. Unbounded: one profile at a time, in keyed state. Both fold alike.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any, Protocol

import apache_beam as beam
from apache_beam.coders import BytesCoder
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from msgspec.msgpack import Decoder

from schemas.facts import AnyFact, EventFact, ReceiptFact, RetryFact
from schemas.packing import unpack
from schemas.state import ProfileState, decode_profile, encode_profile
from transforms.logic.fold import Facts, fold
from transforms.logic.ledger import Retry
from transforms.logic.parse import BadRecord
from transforms.logic.plan import Plan
from transforms.logic.portion import Lines, dead_letter, parse_lines, parser_of

_lines = Decoder(Lines)


class Store(Protocol):
    """Where a bounded job folds to; see `pipeline.decider.Decider`. Picklable."""

    def fold_parsed(self, parsed: Any) -> Any:
        """Fold the events of a shard and commit; what was counted."""


class FoldShards(beam.PTransform):
    """(shard, packed `Lines`) → what was counted, for bounded input.

    `errors` are unreadable files: if there is one, nothing is folded.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        super().__init__()
        self._fn = _FoldShardFn(plan, store)

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection:
        shards, errors = inputs
        return shards | beam.ParDo(self._fn, beam.pvalue.AsList(errors))


class _FoldShardFn(beam.DoFn):
    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan, self._store = plan, store

    def process(self, element: tuple[int, Iterable[bytes]], errors: list[str]) -> Iterator[Any]:
        if not errors:
            _, packs = element
            parsed = parse_lines((unpack(pack, _lines) for pack in packs), self._plan)
            yield self._store.fold_parsed(parsed)


class FoldProfiles(beam.PTransform):
    """(profile id, packed fact) → `calls:<connection>` and `dead_letters`, for unbounded input.

    Facts are events as raw lines, receipts, retries and ticks, see `schemas.facts`. State is one packed cell for each
    profile. Numbers of asks come from the clock: they grow for each profile, which is all that its ledger needs.
    """

    def __init__(self, plan: Plan, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._plan, self._fn = plan, _FoldProfileFn(plan, clock)

    def expand(self, facts: beam.PCollection) -> Any:
        outputs = ["dead_letters", *(calls_of(connection.name) for connection in self._plan.connections)]
        return facts | beam.ParDo(self._fn).with_outputs(*outputs)


def calls_of(connection: str) -> str:
    """The output that carries a connection's calls."""
    return f"calls:{connection}"


_fact = Decoder(AnyFact)
_NUMBER = 8  # bytes


class _FoldProfileFn(beam.DoFn):
    CELL = ReadModifyWriteStateSpec("profile", BytesCoder())

    def __init__(self, plan: Plan, clock: Callable[[], float]) -> None:
        self._plan, self._clock = plan, clock

    def setup(self) -> None:
        self._parse = parser_of(self._plan).parse

    def process(self, element: tuple[str, bytes], cell: Any = beam.DoFn.StateParam(CELL)) -> Iterator[Any]:
        profile_id, packed = element
        facts = self._read(_fact.decode(packed))
        if not isinstance(facts, Facts):
            yield beam.pvalue.TaggedOutput("dead_letters", facts)
            return
        known = cell.read() or bytes(_NUMBER)  # the last number of an ask, then the packed state
        last, packed_state = int.from_bytes(known[:_NUMBER]), known[_NUMBER:]
        state = decode_profile(packed_state) if packed_state else ProfileState()
        folded = fold(profile_id, state, facts, self._plan, count(max(last + 1, int(self._clock() * 1_000_000))))
        last = max((call.ask for _, call in folded.calls), default=last)
        after = last.to_bytes(_NUMBER) + encode_profile(state)
        if after != known:
            cell.write(after)
        for connection, call in folded.calls:
            yield beam.pvalue.TaggedOutput(calls_of(connection), call)

    def _read(self, fact: AnyFact) -> Any:
        match fact:
            case EventFact():
                event = self._parse(fact.line)
                if event is None:
                    return Facts()
                return dead_letter(event, fact.line) if isinstance(event, BadRecord) else Facts(events=[event])
            case ReceiptFact():
                return Facts(receipts=[fact.receipt])
            case RetryFact():
                return Facts(retries=[Retry(fact.call, fact.refused)])
            case _:
                return Facts(tick=True)
