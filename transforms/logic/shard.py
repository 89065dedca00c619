"""One shard of profiles in one run: previous state, outcomes and events in; new state and calls out.

lines ─ parse ─┐                                             ┌─ state
outcomes ──────┼─ detect_shard ─ Detected ─ expand_shard ────┼─ calls by connection
state ─────────┘                                             └─ counts
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from zlib import crc32

from msgspec import Raw, Struct, field

from schemas.calls import Call
from schemas.canonical import digest
from schemas.dead_letters import DeadLetter
from schemas.events import AnyEvent
from schemas.state import ProfileState, ShardState, decode_profile, encode_profile
from transforms.logic.detect import Changes, detect_changes
from transforms.logic.expand import expand_identifiers
from transforms.logic.ledger import Fate, Retry, release, settle
from transforms.logic.parse import BadRecord, Parser
from transforms.logic.plan import Plan

SHARDS = 64
FLUSHED = "flushed "  # begins the name of a count: changes of a key that its list is told of
PAYLOAD = 64 * 1024  # how much of a bad record its dead letter keeps


class Lines(Struct, array_like=True, tag="lines"):
    """Raw events of one shard from one file."""

    source: str
    numbers: list[int]  # of each line, as in the file
    lines: list[bytes]
    records: bool = False  # the numbers are of records (Avro, Parquet)


class Past(Struct, array_like=True, tag="past"):
    """That a shard exists, and the fates of the previous outboxes' calls in it, by connection."""

    fates: dict[str, bytes] = {}
    tried_at: dict[str, dict[int, float]] = {}  # of calls that failed without an outcome: when they were first tried
    retries: list[Retry] = []  # what was rejected or expired, and is to be tried again


class Settlement(Struct, array_like=True):
    """The previous outbox of one connection in this shard, and what became of its calls."""

    connection: str
    settings: bytes  # digest, as it was then
    calls: list[Call]
    fates: bytes  # one `Fate` per call
    tried_at: dict[int, float] = {}  # of calls that failed without an outcome: when that run first tried them


class Profile(Struct, gc=False):
    """A profile that this run looks at, after detection."""

    profile_id: str
    state: ProfileState
    changes: Changes
    carried: list[tuple[str, Call]]  # calls that an earlier run left, by connection


class Detected(Struct):
    """A shard after detection: its profiles know what is true now."""

    touched: list[Profile] = []
    untouched: dict[str, Raw] = {}
    dead_letters: list[DeadLetter] = []
    counts: Counter[str] = field(default_factory=Counter)  # read, applied, unchanged, dead_letters, …


class Expanded(Struct):
    """A shard after expansion: what is to be written."""

    state: ShardState
    calls: dict[str, list[Call]]  # by connection
    counts: dict[str, Counter[str]]  # by connection: carried, superseded, no_identifier, `HELD`, `FLUSHED`


def shard_of(profile_id: str) -> int:
    """Stable over runs and machines."""
    return crc32(profile_id.encode()) % SHARDS


def tombstone(profile_id: str) -> str:
    """The key under which a deleted profile is remembered."""
    return "\x00" + blake2b(profile_id.encode(), digest_size=16).hexdigest()


def detect_shard(
    previous: ShardState,
    settlements: Sequence[Settlement],
    lines: Iterable[Lines],
    plan: Plan,
    everyone: bool,
    retries: Sequence[Retry] = (),
) -> Detected:
    """Settle the outcomes and apply the events of a shard.

    `everyone`: look at every profile, since what is wanted of them may have changed; otherwise
    only at those with events, outcomes, held changes or calls to be tried again.
    """
    detected = Detected(untouched=dict(previous.profiles))
    events = _parse(lines, plan, detected)
    outcomes = _by_profile(settlements)
    again: dict[str, list[Retry]] = {}
    for retry in retries:
        again.setdefault(retry.profile_id, []).append(retry)
    touched = {**events, **outcomes, **dict.fromkeys(previous.held), **again}
    if everyone:
        touched |= dict.fromkeys(key for key in previous.profiles if not key.startswith("\x00"))
    applied = 0
    for profile_id in touched:
        state = _unpack(profile_id, detected.untouched)
        profile = Profile(profile_id, state, {}, [])
        for settlement, call, fate, tried_at in outcomes.get(profile_id, ()):
            settle(state, settlement.connection, call, fate, settlement.settings, tried_at)
            if fate in (Fate.PENDING, Fate.MAYBE):
                profile.carried.append((settlement.connection, call))
        for retry in again.get(profile_id, ()):
            detected.counts["retried"] += release(state, retry)
        told = events.get(profile_id, ())
        news, profile.changes = detect_changes(state, told, plan)
        applied += news
        detected.touched.append(profile)
    usable = sum(map(len, events.values()))
    detected.counts.update(applied=applied, unchanged=usable - applied)
    return detected


def expand_shard(detected: Detected, plan: Plan) -> Expanded:
    """Make the calls of a shard's profiles, and pack their states."""
    names = [connection.name for connection in plan.connections]
    out = Expanded(ShardState(detected.untouched), {n: [] for n in names}, {n: Counter() for n in names})
    for profile in detected.touched:
        expansion = expand_identifiers(profile.profile_id, profile.state, profile.changes, plan)
        for connection, call in expansion.calls:
            out.calls[connection].append(call)
            if call.kind == "add" or call.kind == "remove":
                out.counts[connection][FLUSHED + call.key] += 1
        for (connection, why), number in expansion.counts.items():
            out.counts[connection][why] += number
        if profile.carried:
            _count_carried(profile.carried, expansion.calls, out)
        if expansion.held:
            out.state.held.append(profile.profile_id)
        _pack(profile, out.state.profiles)
    return out


def _unpack(profile_id: str, packed: dict[str, Raw]) -> ProfileState:
    if not packed:  # a first sync
        return ProfileState()
    state = packed.pop(profile_id, None) or packed.pop(tombstone(profile_id), None)
    return ProfileState() if state is None else decode_profile(state)


def _pack(profile: Profile, packed: dict[str, Raw]) -> None:
    state = profile.state
    gone = state.deleted is not None and not (state.ids or state.traits or state.values or state.ledger)
    packed[tombstone(profile.profile_id) if gone else profile.profile_id] = Raw(encode_profile(state))


def _count_carried(carried: list[tuple[str, Call]], calls: list[tuple[str, Call]], out: Expanded) -> None:
    """Calls that an earlier run left: carried into this outbox, or superseded by newer ones."""
    wanted = {(name, *_identity(call)) for name, call in calls}
    for name, call in carried:
        if name in out.counts:
            out.counts[name]["carried" if (name, *_identity(call)) in wanted else "superseded"] += 1


def _identity(call: Call) -> tuple[object, ...]:
    occurrence = call.at if call.kind == "track" else 0
    return call.kind, call.identifier, call.key, digest(call.value), occurrence


def parser_of(plan: Plan) -> Parser:
    """The parser that knows the plan's computations and clock."""
    return Parser({name: kind for name, (_, kind) in plan.computations.items()}, plan.moment())


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


def _parse(lines: Iterable[Lines], plan: Plan, detected: Detected) -> dict[str, list[AnyEvent]]:
    parser = parser_of(plan)
    parse = parser.parse
    events: defaultdict[str, list[AnyEvent]] = defaultdict(list)
    read = 0
    for pack in lines:
        for number, line in zip(pack.numbers, pack.lines, strict=True):
            event = parse(line)
            if event is None:
                continue
            read += 1
            if isinstance(event, BadRecord):
                detected.dead_letters.append(dead_letter(event, line, pack.source, number, pack.records))
            else:
                events[event.profile_id].append(event)
    detected.counts["read"] = read
    detected.counts["dead_letters"] = len(detected.dead_letters)
    for name, times in parser.unknown_fields.items():
        detected.counts[f"unknown_field {name}"] = times
    return events


Outcomes = list[tuple[Settlement, Call, Fate, float]]


def _by_profile(settlements: Iterable[Settlement]) -> dict[str, Outcomes]:
    found: dict[str, Outcomes] = {}
    for settlement in settlements:
        for position, (call, fate) in enumerate(zip(settlement.calls, settlement.fates, strict=True)):
            tried_at = settlement.tried_at.get(position, 0.0)
            found.setdefault(call.profile_id, []).append((settlement, call, Fate(fate), tried_at))
    return found
