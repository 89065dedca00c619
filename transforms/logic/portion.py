"""A portion: many profiles folded in one go, from their packed states and facts to new packed states and calls.

lines ─ parse ─ Facts ─┐
packed states ─────────┴─ fold each ─┬─ packed states that changed
                                     ├─ calls by connection
                                     └─ counts, dead letters
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b

from msgspec import Struct, field

from schemas.calls import Call
from schemas.dead_letters import DeadLetter
from schemas.events import AnyEvent
from schemas.input_counts import InputCounts
from schemas.state import ProfileState, decode_profile, encode_profile
from transforms.logic.fold import Facts, fold
from transforms.logic.parse import BadRecord, Parser
from transforms.logic.plan import Plan

PAYLOAD = 64 * 1024  # bytes of a bad record that its dead letter keeps


class Lines(Struct, array_like=True):
    """Raw events of one file."""

    source: str
    numbers: list[int]  # of each line, as in the file
    lines: list[bytes]
    records: bool = False  # the numbers are of records (Avro, Parquet)


class Parsed(Struct):
    """Events by profile, and what was no event."""

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


def tombstone(profile_id: str) -> str:
    """The key under which a deleted profile is remembered."""
    return "\x00" + blake2b(profile_id.encode(), digest_size=16).hexdigest()


def fold_portion(
    facts: Mapping[str, Facts],
    states: Callable[[list[str]], Mapping[str, bytes]],
    plan: Plan,
    asks: Iterator[int],
) -> Portion:
    """Fold each profile. `states` gives the packed states of keys, those that there are."""
    out = Portion()
    known = states([*facts])
    unknown = [profile_id for profile_id in facts if profile_id not in known]
    deleted = states([tombstone(profile_id) for profile_id in unknown]) if unknown else {}
    events = applied = retried = dropped = 0
    for profile_id, found in facts.items():
        events += len(found.events)
        packed = known.get(profile_id)
        key = profile_id
        if packed is None and deleted and (packed := deleted.get(tombstone(profile_id))):
            key = tombstone(profile_id)
        out.new += packed is None
        state = ProfileState() if packed is None else decode_profile(packed)
        folded = fold(profile_id, state, found, plan, asks)
        for connection, call in folded.calls:
            out.calls.setdefault(connection, []).append(call)
        applied += folded.applied
        retried += folded.retried
        dropped += folded.dropped
        for connection in folded.no_identifier:
            out.no_identifier[connection] += 1
        for connection in folded.kept:
            out.kept[connection] += 1
        after = encode_profile(state)
        now = tombstone(profile_id) if state.gone else profile_id
        if packed != after or now != key:
            out.states[now] = after
            if now != key and packed is not None:
                out.gone.append(key)
    counts = {"applied": applied, "unchanged": events - applied, "retried": retried, "dropped": dropped}
    out.counts.update({name: number for name, number in counts.items() if number})
    return out


def parser_of(plan: Plan) -> Parser:
    """The parser that knows the plan's computations and clock."""
    return Parser({name: kind for name, (_, kind) in plan.computations.items()}, plan.moment())


def parse_lines(lines: Iterable[Lines], plan: Plan) -> Parsed:
    """Read raw events."""
    out, parser = Parsed(), parser_of(plan)
    parse = parser.parse
    events: defaultdict[str, list[AnyEvent]] = defaultdict(list)
    for pack in lines:
        read = bad = 0
        for number, line in zip(pack.numbers, pack.lines, strict=True):
            event = parse(line)
            if event is None:
                continue
            read += 1
            if isinstance(event, BadRecord):
                bad += 1
                out.dead_letters.append(dead_letter(event, line, pack.source, number, pack.records))
            else:
                events[event.profile_id].append(event)
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
