"""Fold one subject at a time, in keyed state: for unbounded input. Steps that wire and do not decide.

    about accounts ─ FoldAccounts ─ members ─┐
    about profiles ──────────────────────────┴─ FoldProfiles ─ left: goes back to FoldAccounts, as receipts do

All of it is (key, packed `Addressed`): the key is of the profile, account or part of an account, and each of these has
one packed cell. Numbers of asks come from the clock: they grow for each subject, which is all that its ledger needs.

States that another job left are taken over as they are, and are not folded: a topic has old ones of somebody before the
last one, and what a newer workspace wants of an old one is not so. Ticks ask for that when all are there.

To read and write a cell costs an engine more than folding does, and a change that thirty connections are told has sixty
receipts: so what a bundle has of one profile is folded together.
"""

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from itertools import count, groupby
from typing import Any, Protocol

import apache_beam as beam
from apache_beam.coders import BytesCoder
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue
from msgspec import Raw
from msgspec.msgpack import Decoder, Encoder

from schemas.calls import Call
from schemas.dead_letters import DeadLetter
from schemas.facts import (
    Addressed,
    AnyFact,
    EventFact,
    LeftFact,
    MemberFact,
    ProbeFact,
    ReceiptFact,
    RetryFact,
    SnapshotFact,
    TickFact,
)
from schemas.state import (
    AccountState,
    Part,
    ProfileState,
    account_key,
    account_of,
    decode_account,
    decode_part,
    decode_profile,
    encode_account,
    encode_part,
    encode_profile,
    part_key,
)
from transforms import cells
from transforms.counting import CountingFn
from transforms.logic.accounts import PartNews, fold_account, fold_part, part_of
from transforms.logic.fold import Facts, fold, together
from transforms.logic.ledger import Retry
from transforms.logic.parse import BadRecord, Parser
from transforms.logic.plan import Plan
from transforms.logic.portion import dead_letter, parser_of, tombstone
from transforms.logic.snapshots import newer

Keyed = tuple[bytes, bytes]  # key, packed `Addressed`


class Plans(Protocol):
    """Where a fold that goes on for ever has its plan from. Picklable."""

    def plan(self, version: int, now: float) -> Plan:
        """The newest plan, of this version of the workspace at least; `now` in seconds since 1970."""

    def version(self) -> int:
        """Of the newest plan."""


class Outlet:
    """Takes what a fold gives, where it is folded. This one takes nothing, so all of it goes to the next steps.

    Between two steps an engine may change the order, or do half of a bundle. An outlet that takes something has it in
    the order in which it was folded, and all of it before the bundle is done.
    """

    def begin(self) -> None:
        """A bundle begins."""

    def take(self, kind: str, value: Any) -> bool:
        """Whether it takes this. `kind`: calls, states, dead_letters or left, see `FoldProfiles`; others go on."""
        return False

    def end(self) -> None:
        """The bundle ends when this returns, and begins anew if it raises."""


class FoldProfiles(beam.PTransform):
    """Facts about profiles → calls, states, dead letters, and what goes back to accounts.

    calls         (connection, profile id, packed call), in the order of their asks for each profile
    states        (name, packed state): what is known now, where it changed; b"": nobody has this name any more
    dead_letters  `DeadLetter`s
    left          facts for `FoldAccounts`; and probes, as they came
    """

    def __init__(self, plans: Plans, clock: Callable[[], float] = time.time, outlet: Outlet | None = None) -> None:
        super().__init__()
        self._fn = _FoldProfileFn(outlet or Outlet(), plans, clock)

    def expand(self, facts: beam.PCollection) -> Any:
        together = beam.ParDo(_TogetherFn()).with_output_types(Keyed)
        together.label = "Together"
        calls = beam.ParDo(self._fn).with_output_types(tuple[str, str, bytes])
        calls.label = "Fold"  # an engine keeps state by the step's name, and its own would be that of the class
        return facts | together | calls.with_outputs("states", "dead_letters", "left", main="calls")


class FoldAccounts(beam.PTransform):
    """Facts about accounts → {calls, states, dead_letters} as `FoldProfiles` has them, and {members}, facts for it.

    An account's head has a cell, and each part of its members.
    """

    def __init__(self, plans: Plans, clock: Callable[[], float] = time.time, outlet: Outlet | None = None) -> None:
        super().__init__()
        self._outlet = outlet or Outlet()
        self._fn = _FoldAccountFn(self._outlet, plans, clock)

    def expand(self, facts: beam.PCollection) -> Any:
        folding = beam.ParDo(self._fn).with_output_types(tuple[str, str, bytes])
        folding.label = "Heads"
        heads = facts | folding.with_outputs("parts", "states", "dead_letters", main="calls")
        typed = heads.parts | "TypedParts" >> as_keyed()
        parting = beam.ParDo(_FoldPartFn(self._outlet)).with_output_types(Keyed)
        parting.label = "Parts"
        parts = typed | parting.with_outputs("states", main="members")
        states = (heads.states, parts.states) | "States" >> beam.Flatten()
        return {
            "calls": heads.calls,
            "states": states,
            "dead_letters": heads.dead_letters,
            "members": parts.members,
        }


def key_of(subject: str) -> bytes:
    """The key of a subject's facts: a hash, for it outlives the person's data."""
    return tombstone(subject)[1:].encode()


def addressed(subject: str, fact: AnyFact) -> Keyed:
    """A fact as it travels."""
    return key_of(subject), _packed(Addressed(subject, fact))


def as_keyed() -> beam.PTransform:
    """Outputs beside the main one have no type of their own, and keyed state needs one."""
    return beam.Map(_same).with_output_types(Keyed)


def _same(element: Keyed) -> Keyed:
    return element


_unpacked = Decoder(Addressed).decode
_unpacked_all = Decoder(list[Addressed]).decode
_packed = Encoder().encode
_part_news = Decoder(tuple[str, PartNews | None, bytes]).decode
_ASK, _VERSION = 8, 4  # bytes at the beginning of a cell: the last number of an ask, and the plan it was folded with
_HELD = 1_000  # facts that are kept until the bundle ends
_CELLS = 250  # elements that are kept, so that their cells are read together
_output = beam.pvalue.TaggedOutput


class _Cell:
    """A cell: the last number of an ask, the version of the workspace it was folded with, and the packed state."""

    def __init__(self, cell: cells.Cell) -> None:
        self._cell, self._known = cell, cell.read() or bytes(_ASK + _VERSION)
        self._last = int.from_bytes(self._known[:_ASK])
        self.version = int.from_bytes(self._known[_ASK : _ASK + _VERSION])
        self.state: bytes = self._known[_ASK + _VERSION :]

    def asks(self, now: float) -> Iterator[int]:
        return count(max(self._last + 1, int(now * 1_000_000)))

    def write(self, state: bytes, version: int, calls: Sequence[tuple[str, Call]]) -> bool:
        """Whether it is another state than before. A newer version is kept in any case: no older one may fold it."""
        if state == self.state and version <= self.version:
            return False
        last = max((call.ask for _, call in calls), default=self._last)
        self._cell.write(last.to_bytes(_ASK) + version.to_bytes(_VERSION) + state)
        return state != self.state


class _OutletFn(CountingFn):
    """A fold with an outlet. It keeps elements for a moment, to read the cells of many together."""

    MAIN = "calls"  # the kind of what goes into the main output

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet

    def start_bundle(self) -> None:
        self._outlet.begin()
        self._held = list[tuple[Keyed, Any]]()  # elements, each with its state

    def finish_bundle(self) -> Iterator[Any]:
        for output in self._folded():
            yield _in_bundle(output)
        self._outlet.end()

    def _hold(self, element: Keyed, state: Any) -> Iterator[Any]:
        self._held.append((element, state))
        if len(self._held) == _CELLS:
            yield from self._folded()

    def _folded(self) -> Iterator[Any]:
        """Fold the elements that are held, in their order."""
        held, self._held = self._held, []
        states = {key: state for (key, _), state in held}
        found = dict(zip(states, cells.read(list(states.values())), strict=True))
        for element, _ in held:
            yield from self._give(self._fold(element, found[element[0]]))
        cells.write((states[key], cell) for key, cell in found.items())

    @abstractmethod
    def _fold(self, element: Keyed, cell: cells.Cell) -> Iterator[Any]:
        """Its outputs; what it writes into the cell is written with those of the others."""

    def _give(self, outputs: Iterator[Any]) -> Iterator[Any]:
        """Those that the outlet does not take."""
        for output in outputs:
            tagged = isinstance(output, _output)
            if not self._outlet.take(*((output.tag, output.value) if tagged else (self.MAIN, output))):
                yield output


class _FoldFn(_OutletFn):
    """What folding profiles and folding accounts have in common: reading facts, and telling calls."""

    COUNTS = ("facts", "calls", "states", "dead_letters")

    def __init__(self, outlet: Outlet, plans: Plans, clock: Callable[[], float]) -> None:
        super().__init__(outlet)
        self._plans, self._clock = plans, clock

    def setup(self) -> None:
        self._parser_of: tuple[int, int] | None = None  # version and second

    def _plan(self, cell: _Cell, facts: Sequence[Addressed], now: float) -> Plan:
        self.count("facts", len(facts))
        return self._plans.plan(max(cell.version, *(getattr(each.fact, "version", 0) for each in facts)), now)

    def _calls(self, subject: str, calls: Sequence[tuple[str, Call]]) -> Iterator[Any]:
        for connection, call in calls:
            self.count("calls")
            yield connection, subject, _packed(call)

    def _bad(self, letter: DeadLetter | None) -> Iterator[Any]:
        if letter is not None:
            self.count("dead_letters")
            yield _output("dead_letters", letter)

    def _read(self, fact: AnyFact, plan: Plan) -> Any:
        """`Facts`, a dead letter, or None for a blank record: it is about nobody."""
        match fact:
            case EventFact():
                event = self._parser(plan).parse(fact.line)
                if event is None:
                    return None
                return _unusable(event, fact) if isinstance(event, BadRecord) else Facts(events=[event])
            case ReceiptFact():
                return Facts(receipts=[fact.receipt])
            case RetryFact():
                return Facts(retries=[Retry(fact.call, fact.refused)])
            case MemberFact():
                return Facts(members=[fact])
            case TickFact():
                return Facts(tick=True, refresh=fact.refresh)

    def _parser(self, plan: Plan) -> Parser:
        """The parser of this plan; it knows the time to a second, about."""
        if self._parser_of != (now := (self._plans.version(), plan.now // 1_000_000)):
            self._parse, self._parser_of = parser_of(plan), now
        return self._parse


class _TogetherFn(CountingFn):
    """(key, packed fact) → (key, packed facts): all that a bundle has of a profile, in its order."""

    COUNTS = ("facts", "profiles")

    def start_bundle(self) -> None:
        self._facts: dict[bytes, list[Raw]] = {}
        self._held = 0

    def process(self, element: Keyed) -> Iterator[Keyed]:
        key, fact = element
        self._facts.setdefault(key, []).append(Raw(fact))
        self._held += 1
        self.count("facts")
        if self._held == _HELD:
            self.count("profiles", len(self._facts))
            yield from self._together()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        self.count("profiles", len(self._facts))
        for element in self._together():
            yield _in_bundle(element)

    def _together(self) -> Iterator[Keyed]:
        for key, facts in self._facts.items():
            yield key, _packed(facts)
        self._facts, self._held = {}, 0


def _in_bundle(output: Any) -> Any:
    """An output as `finish_bundle` gives it."""
    if isinstance(output, _output):
        return _output(output.tag, _in_bundle(output.value))
    return WindowedValue(output, MIN_TIMESTAMP, (GlobalWindow(),))


def _unusable(bad: BadRecord, fact: EventFact) -> DeadLetter:
    return dead_letter(bad, fact.line, fact.source, fact.number, fact.records)


class _FoldProfileFn(_FoldFn):
    CELL = ReadModifyWriteStateSpec("profile", BytesCoder())

    def process(self, element: Keyed, cell: Any = beam.DoFn.StateParam(CELL)) -> Iterator[Any]:
        return self._hold(element, cell)

    def _fold(self, element: Keyed, cell: cells.Cell) -> Iterator[Any]:
        about = _unpacked_all(element[1])
        if isinstance(about[0].fact, ProbeFact):  # it has a key of its own
            yield _output("left", (about[0].fact.key, _packed(about[0])))
            return
        known, now = _Cell(cell), self._clock()
        plan, asks = self._plan(known, about, now), known.asks(now)
        taken, about = _divided(about)
        packed, calls, was_gone = reduce(newer, taken, known.state), list[tuple[str, Call]](), None
        for _, alike in groupby((each.fact for each in about), type):
            good = []
            for fact in alike:
                found = self._read(fact, plan)
                if isinstance(found, Facts):
                    good.append(found)
                else:
                    yield from self._bad(found)
            if not good:
                continue
            profile_id = about[-1].subject
            state = decode_profile(packed) if packed else ProfileState()
            was_gone = state.gone if was_gone is None else was_gone
            folded = fold(profile_id, state, together(good), plan, asks)
            packed = encode_profile(state)
            calls += folded.calls
            for account in folded.left:
                yield _output("left", addressed(account_key(account), LeftFact(profile_id, state.deleted or 0)))
        if was_gone is None:  # nothing was folded
            if packed != known.state:
                decode_profile(packed)  # it may be of a newer version of profilecast
                known.write(packed, self._plans.version(), [])
            return
        yield from self._calls(profile_id, calls)
        if known.write(packed, self._plans.version(), calls):
            self.count("states")
            yield from _states(profile_id, packed, state.gone, was_gone)


def _divided(about: Sequence[Addressed]) -> tuple[list[bytes], list[Addressed]]:
    """States that are taken over, and the other facts. That of somebody who was deleted has another subject."""
    taken = [each.fact.state for each in about if isinstance(each.fact, SnapshotFact)]
    return taken, [each for each in about if not isinstance(each.fact, SnapshotFact)]


def _states(profile_id: str, state: bytes, gone: bool, was_gone: bool) -> Iterator[Any]:
    """The state under its name; somebody who was deleted has another one, from which nobody can be told."""
    if gone != was_gone:
        yield _output("states", (tombstone(profile_id) if was_gone else profile_id, b""))
    yield _output("states", (tombstone(profile_id) if gone else profile_id, state))


class _FoldAccountFn(_FoldFn):
    CELL = ReadModifyWriteStateSpec("account", BytesCoder())

    def process(self, element: Keyed, cell: Any = beam.DoFn.StateParam(CELL)) -> Iterator[Any]:
        return self._hold(element, cell)

    def _fold(self, element: Keyed, cell: cells.Cell) -> Iterator[Any]:
        about = _unpacked(element[1])
        subject, fact = about.subject, about.fact
        account = account_of(subject)
        if account is None:  # it is of a part, and a part has no other facts of its own
            if isinstance(fact, SnapshotFact):
                yield _output("parts", (key_of(subject), _packed((subject, None, fact.state))))
            return
        if isinstance(fact, LeftFact):
            yield _to_part(account, part_of(fact.profile), PartNews(left=[(fact.profile, fact.deleted)]))
            return
        known, now = _Cell(cell), self._clock()
        plan = self._plan(known, [about], now)
        if isinstance(fact, SnapshotFact):
            decode_account(fact.state)
            known.write(fact.state, self._plans.version(), [])
            return
        facts = self._read(fact, plan)
        if not isinstance(facts, Facts):
            yield from self._bad(facts)
            return
        state = decode_account(known.state) if known.state else AccountState()
        folded, news = fold_account(account, state, facts, plan, known.asks(now))
        after = encode_account(state)
        yield from self._calls(subject, folded.calls)
        if known.write(after, self._plans.version(), folded.calls):
            self.count("states")
            yield _output("states", (subject, after))
        for part, each in news.items():
            yield _to_part(account, part, each)


def _to_part(account: str, part: int, news: PartNews) -> Any:
    return _output("parts", (key_of(part_key(account, part)), _packed((part_key(account, part), news, b""))))


class _FoldPartFn(_OutletFn):
    COUNTS = ("facts", "states", "members")
    MAIN = "members"
    CELL = ReadModifyWriteStateSpec("part", BytesCoder())

    def process(self, element: Keyed, cell: Any = beam.DoFn.StateParam(CELL)) -> Iterator[Any]:
        return self._hold(element, cell)

    def _fold(self, element: Keyed, cell: cells.Cell) -> Iterator[Any]:
        self.count("facts")
        subject, news, snapshot = _part_news(element[1])
        if news is None:
            decode_part(snapshot)
            cell.write(snapshot)
            return
        known = cell.read()
        part = decode_part(known) if known else Part()
        _, told = fold_part(subject.split(":", 2)[2], part, news)
        after = encode_part(part)
        if after != known:
            cell.write(after)
            self.count("states")
            yield _output("states", (subject, after))
        self.count("members", len(told))
        for profile_id, fact in told.items():
            yield addressed(profile_id, fact)
