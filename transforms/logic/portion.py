"""A portion: many profiles and accounts folded in one go, from packed states and facts to new ones and calls.

lines ─ parse ─ Facts ─┐
packed states ─────────┴─ fold accounts ─ fold profiles ─┬─ packed states that changed
                               ▲                │        ├─ calls by connection
                               └── who is gone ─┘        └─ counts, dead letters
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Set
from hashlib import blake2b
from itertools import chain, count
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from schemas.calls import Call, Identifier
from schemas.dead_letters import DeadLetter
from schemas.events import AnyEvent
from schemas.facts import MemberFact
from schemas.input_counts import InputCounts
from schemas.state import (
    AccountState,
    Entry,
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
from transforms.logic.accounts import PartNews, fold_account, fold_part, part_of
from transforms.logic.alike import alike
from transforms.logic.fold import Facts, Folded, fold
from transforms.logic.parse import BadRecord, Parser
from transforms.logic.plan import Plan
from transforms.logic.segment import Known, events_of
from transforms.logic.shared import Persons, needless, nobody, shared

Values = Mapping[int, tuple[int, Any]]

PAYLOAD = 64 * 1024  # bytes of a bad record that its dead letter keeps


class Lines(Struct, array_like=True):
    """Raw events of one file."""

    source: str
    numbers: list[int]  # of each line, as in the file
    lines: list[bytes]
    records: bool = False  # the numbers are of records (Avro, Parquet)


class Parsed(Struct):
    """Events by the key of their profile or account, and what was no event."""

    events: dict[str, list[AnyEvent]] = field(default_factory=dict)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)  # read, dead_letters, `unknown_field NAME`
    sources: InputCounts = field(default_factory=InputCounts)


class Portion(Struct):
    """What is to be written of a portion, all of it or nothing."""

    states: dict[str, bytes] = field(default_factory=dict)  # by key; only those that changed
    gone: list[str] = field(default_factory=list)  # keys that are no more
    calls: dict[str, list[Call]] = field(default_factory=dict)  # by connection
    counts: Counter[str] = field(default_factory=Counter)
    no_identifier: Counter[str] = field(default_factory=Counter)  # by connection
    kept: Counter[str] = field(default_factory=Counter)  # identifiers that a vendor cannot forget, by connection
    new: int = 0  # profiles that were not known
    left: dict[str, list[tuple[str, int]]] = field(default_factory=dict)  # by account: who was deleted, and when
    members: Counter[int] = field(default_factory=Counter)  # by how many audiences grew, by number of the computation
    named: list[tuple[Identifier, str]] = field(default_factory=list)  # identifiers that profiles got: with its id
    unnamed: list[tuple[Identifier, str]] = field(default_factory=list)  # those that nothing is known of any more

    def deleted(self) -> set[str]:
        """Profiles that say so to an account."""
        return {profile_id for gone in self.left.values() for profile_id, _ in gone}


def tombstone(profile_id: str) -> str:
    """The key under which a deleted profile is remembered."""
    return "\x00" + blake2b(profile_id.encode(), digest_size=16).hexdigest()


States = Callable[[list[str]], Mapping[str, bytes]]  # the packed states of keys, those that there are
Members = dict[str, list[MemberFact]]  # what accounts say, by profile


def fold_portion(
    facts: Mapping[str, Facts],
    states: States,
    plan: Plan,
    asks: Iterator[int],
    heard: Container[str] = (),
    persons: Persons = nobody,
) -> Portion:
    """Fold each account, and each profile with what its accounts say. `facts` by key.

    `heard`: profiles that were told already what the accounts of this portion say, see `heard_of`. `persons`: who may
    have an identifier, to leave it on the lists that another person is on by it.
    """
    out = Portion()
    accounts = accounts_in(facts)
    if not accounts:
        _fold_profiles(facts, states, plan, asks, out)
    else:
        told = _fold_accounts(accounts, states, plan, asks, out)
        members = {name: said for name, said in told.items() if name not in heard}
        _fold_profiles(_with(facts, accounts, members), states, plan, asks, out)
    if out.left:
        _forget_members(out, states)
    _keep_shared(out, states, plan, asks, persons)
    out.counts = +out.counts  # without zeros
    return out


def accounts_in(facts: Mapping[str, Facts]) -> dict[str, Facts]:
    """Those that are about accounts, by account."""
    return {account_of(key) or "": facts[key] for key in facts if key[0] == "\0"}


def heard_of(accounts: Mapping[str, Facts], states: States, plan: Plan) -> dict[str, Facts]:
    """What the profiles hear of it when these accounts are folded; nothing is changed."""
    told = _fold_accounts(accounts, states, plan, count(1), Portion())
    tick = all(each.tick for each in accounts.values())
    return {name: Facts(members=said, tick=tick) for name, said in told.items()}


def _with(facts: Mapping[str, Facts], accounts: Mapping[str, Facts], members: Members) -> dict[str, Facts]:
    """The facts about profiles, with those that come through accounts."""
    tick = all(each.tick for each in accounts.values())
    found = {key: each for key, each in facts.items() if key[0] != "\0"}
    for name, said in members.items():
        own = found.get(name)
        found[name] = replace(own, members=said) if own else Facts(members=said, tick=tick)
    return found


def _fold_accounts(
    accounts: Mapping[str, Facts], states: States, plan: Plan, asks: Iterator[int], out: Portion
) -> Members:
    """Fold accounts and those of their parts that there is news for; what members hear."""
    known = states([account_key(name) for name in accounts])
    news: dict[str, tuple[str, PartNews]] = {}
    for name, found in accounts.items():
        key = account_key(name)
        packed = known.get(key)
        state = AccountState() if packed is None else decode_account(packed)
        folded, parts = fold_account(name, state, found, plan, asks)
        _take(out, folded)
        _count(out, len(found.events), folded.applied, folded.retried, folded.dropped)
        _put(out, key, packed, encode_account(state))
        news |= {part_key(name, part): (name, each) for part, each in parts.items()}
    return _fold_parts(news, states, out)


def _fold_parts(news: Mapping[str, tuple[str, PartNews]], states: States, out: Portion) -> Members:
    members: Members = {}
    known = states([*news]) if news else {}
    for key, (name, each) in news.items():
        packed = out.states.get(key) or known.get(key)
        part = Part() if packed is None else decode_part(packed)
        applied, told = fold_part(name, part, each)
        if applied:  # what the head does not know of is unchanged there
            out.counts["applied"] += applied
            out.counts["unchanged"] -= applied
        _put(out, key, packed, encode_part(part))
        for profile_id, fact in told.items():
            members.setdefault(profile_id, []).append(fact)
    return members


def _forget_members(out: Portion, states: States) -> None:
    """Profiles that were deleted are nobody's members any more."""
    news: dict[str, tuple[str, PartNews]] = {}
    for name, gone in out.left.items():
        for profile_id, deleted in gone:
            _, each = news.setdefault(part_key(name, part_of(profile_id)), (name, PartNews(left=[])))
            each.left.append((profile_id, deleted))
    _fold_parts(news, states, out)


def _keep_shared(out: Portion, states: States, plan: Plan, asks: Iterator[int], persons: Persons) -> None:
    """Take back removals of identifiers that another person is on the list by, as things are after this portion."""
    wanted = {call.identifier for calls in out.calls.values() for call in calls if call.kind == "remove"}
    if not wanted:
        return
    found = {identifier: {*names} for identifier, names in persons(wanted).items()}
    spelled: dict[Identifier, list[Identifier]] = {}
    for identifier in wanted:
        spelled.setdefault(alike(identifier), []).append(identifier)
    for named, name in out.named:
        for identifier in spelled.get(alike(named), ()):
            found.setdefault(identifier, set()).add(name)

    def states_now(keys: list[str]) -> Mapping[str, bytes]:
        new = {key: out.states[key] for key in keys if key in out.states}
        return {**states([key for key in keys if key not in out.gone]), **new}

    known = {name: decode_profile(packed) for name, packed in states_now([*{*chain(*found.values())}]).items()}
    taken: list[Call] = []
    for connection, calls in out.calls.items():
        kept = shared(calls, found, known.get)
        for call in calls:
            if call.ask in kept:
                taken.append(call)
                _hold(out, kept[call.ask], known)
        out.calls[connection] = [call for call in calls if call.ask not in kept]
    facts = {name: Facts(receipts=receipts) for name, receipts in needless(taken, plan.now).items()}
    out.counts["shared"] += len(taken)
    _fold_profiles(facts, states_now, plan, asks, out)


def _hold(out: Portion, entries: Mapping[str, Entry], states: Mapping[str, ProfileState]) -> None:
    """These are on the list by a row that is another's too: their exit takes it off, whatever becomes of their add."""
    for name, entry in entries.items():
        if not entry.exposed:
            entry.exposed = True
            out.states[name] = encode_profile(states[name])


def _put(out: Portion, key: str, before: bytes | None, after: bytes) -> None:
    if before != after:
        out.states[key] = after


def _fold_profiles(facts: Mapping[str, Facts], states: States, plan: Plan, asks: Iterator[int], out: Portion) -> None:
    known = states([*facts])
    unknown = [profile_id for profile_id in facts if profile_id not in known]
    deleted = states([tombstone(profile_id) for profile_id in unknown]) if unknown else {}
    audiences = {number for number, kind in plan.computations.values() if kind == "audience"}
    events = applied = retried = dropped = 0
    for profile_id, found in facts.items():
        events += len(found.events)
        packed = known.get(profile_id)
        key = profile_id
        if packed is None and deleted and (packed := deleted.get(tombstone(profile_id))):
            key = tombstone(profile_id)
        out.new += packed is None
        state = ProfileState() if packed is None else decode_profile(packed)
        had, values = {each.identifier for each in state.ids}, dict(state.values)
        folded = fold(profile_id, state, found, plan, asks)
        _name(out, profile_id, had, {each.identifier for each in state.ids})
        if values != state.values:
            _count_members(out, values, state.values, audiences)
        _take(out, folded)
        applied += folded.applied
        retried += folded.retried
        dropped += folded.dropped
        for account in folded.left:
            out.left.setdefault(account, []).append((profile_id, state.deleted or 0))
        after = encode_profile(state)
        now = tombstone(profile_id) if state.gone else profile_id
        if packed != after or now != key:
            out.states[now] = after
            if now != key and packed is not None:
                out.gone.append(key)
                out.states.pop(key, None)
    _count(out, events, applied, retried, dropped)


def _take(out: Portion, folded: Folded) -> None:
    for connection, call in folded.calls:
        out.calls.setdefault(connection, []).append(call)
    for connection in folded.no_identifier:
        out.no_identifier[connection] += 1
    for connection in folded.kept:
        out.kept[connection] += 1


def _count(out: Portion, events: int, applied: int, retried: int, dropped: int) -> None:
    counts = {"applied": applied, "unchanged": events - applied, "retried": retried, "dropped": dropped}
    out.counts.update({name: number for name, number in counts.items() if number})


def _name(out: Portion, profile_id: str, had: Set[Identifier], has: Set[Identifier]) -> None:
    if had != has:
        out.named += [(identifier, profile_id) for identifier in sorted(has - had)]
        left = {alike(identifier) for identifier in has}  # an index has all spellings as one
        out.unnamed += [(identifier, profile_id) for identifier in sorted(had - has) if alike(identifier) not in left]


def _count_members(out: Portion, before: Values, after: Values, audiences: Set[int]) -> None:
    """Who came into audiences, less who left."""
    for number in audiences & (before.keys() | after.keys()):
        was, now = before.get(number), after.get(number)
        out.members[number] += (now is not None and now[1] is True) - (was is not None and was[1] is True)


def parser_of(plan: Plan) -> Parser:
    """The parser that knows the plan's computations and clock."""
    return Parser({name: kind for name, (_, kind) in plan.computations.items()}, plan.moment(), plan.of_accounts)


def known_of(plan: Plan) -> Known:
    """What messages have to be understood with."""
    return Known({name: kind for name, (_, kind) in plan.computations.items()}, plan.of_accounts)


def key_of(event: AnyEvent) -> str:
    """The key of the profile or account that an event is about."""
    return account_key(event.account_id) if event.account_id else event.profile_id  # type: ignore[union-attr]


def parse_lines(lines: Iterable[Lines], plan: Plan) -> Parsed:
    """Read raw events, and messages in Segment's format, each of which says several."""
    out, parser, known = Parsed(), parser_of(plan), known_of(plan)
    parse = parser.parse
    events: defaultdict[str, list[AnyEvent]] = defaultdict(list)
    for pack in lines:
        read = bad = 0
        for number, line in zip(pack.numbers, pack.lines, strict=True):
            event = parse(line)
            if event is None:
                continue
            said = events_of(line, known) if isinstance(event, BadRecord) else ()
            for each, raw in zip(map(parse, said), said, strict=True) if said else ((event, line),):
                read += 1
                if isinstance(each, BadRecord):
                    bad += 1
                    out.dead_letters.append(dead_letter(each, raw, pack.source, number, pack.records))
                elif each is not None:
                    account = each.account_id
                    events[account_key(account) if account else each.profile_id].append(each)  # type: ignore[union-attr]
        out.sources.add(pack.source, read, bad)
    out.events = events
    out.counts["read"] = out.sources.read
    out.counts["dead_letters"] = len(out.dead_letters)
    for name, times in parser.unknown_fields.items():
        out.counts[f"unknown_field {name}"] = times
    return out


def dead_letter(
    bad: BadRecord, line: bytes, source: str = "", number: int | None = None, records: bool = False
) -> DeadLetter:
    """The dead letter of a raw event; `number` is its line, or with `records` its record."""
    return DeadLetter(
        step="Parse",
        reason=bad.reason,
        expected=bad.expected,
        field=bad.field,
        source=source,
        line=None if records else number,
        record=number if records else None,
        payload=line[:PAYLOAD].decode("utf-8", "backslashreplace"),
        cut=len(line) > PAYLOAD,
        advice=bad.advice,
    )
