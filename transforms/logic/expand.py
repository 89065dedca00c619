"""Expansion: what each connection should be told of a profile, one call per identifier.

Work is wanted minus told: the ledger says what was acknowledged, so a repeated run, a crash or a
late answer changes only when a call is made, never whether.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec.structs import replace

from schemas.calls import Call, Identifier, Kind
from schemas.canonical import digest
from schemas.state import Entry, ProfileState, Slot, Slots, Waiting
from transforms.logic.detect import Changes, Fact
from transforms.logic.ledger import resumed, same_occurrence, stays
from transforms.logic.plan import ConnectionPlan, Plan, SyncPlan

HELD = "held "  # begins the name of a count: changes of a key that wait for its list's next flush
_NEVER = Entry()  # of an identifier that has no entry; never written


class Expansion:
    """The calls of one profile, by connection, and what was left undone and why."""

    __slots__ = ("calls", "counts", "held")

    def __init__(self) -> None:
        self.calls: list[tuple[str, Call]] = []
        self.counts: Counter[tuple[str, str]] = Counter()  # (connection, why) → number
        self.held = False


def expand_identifiers(profile_id: str, state: ProfileState, changes: Changes, plan: Plan) -> Expansion:
    """Every call that is wanted and not yet told. Writes new `track` occurrences into the state."""
    out = Expansion()
    for connection in plan.connections:
        for identifier, entry in state.ledger.get(connection.name, {}).get(("delete", ""), {}).items():
            call = Call(profile_id, "delete", identifier, "", None, state.deleted or 0, entry.count)
            if not stays(entry.refused, call, connection.settings):
                out.calls.append((connection.name, resumed(call, entry, connection.settings)))
                _unsettle(state.ledger[connection.name], identifier)
        if not state.values:
            continue
        known = understood(state, connection)
        if not known and not state.ledger.get(connection.name):
            out.counts[connection.name, "no_identifier"] += 1
            continue
        for sync in connection.syncs:
            fact = state.values.get(sync.key)
            if fact is None or fact[0] <= sync.after:
                continue
            targets = select(known, sync, state) if sync.strategies else known
            _expand_sync(profile_id, state, connection, sync, fact, targets, changes.get(sync.key, []), out)
    return out


def _unsettle(slots: Slots, identifier: Identifier) -> None:
    """Whatever an identifier was told before its deletion at the vendor is to be told again behind it."""
    for entries in slots.values():
        if entry := entries.get(identifier):
            entry.told = None


def understood(state: ProfileState, connection: ConnectionPlan) -> list[Identifier]:
    """The profile's identifiers that the connection understands, in its order of precedence."""
    if connection.understood is None:
        return sorted(state.ids)
    if len(state.ids) == 1:
        return [i for i in state.ids if i.type in connection.understood]
    return [i for kind in connection.understood for i in sorted(state.ids) if i.type == kind]


def select(known: list[Identifier], sync: SyncPlan, state: ProfileState) -> list[Identifier]:
    """Apply the sync's strategies: `all`, or the `first` or `last` known identifier of a type."""
    chosen = []
    for kind in dict.fromkeys(i.type for i in known):
        same = [i for i in known if i.type == kind]
        match sync.strategies.get(kind, "all"):
            case "first":
                chosen.append(min(same, key=lambda i: (state.ids[i][0], i)))
            case "last":
                chosen.append(max(same, key=lambda i: (state.ids[i][0], i)))
            case _:
                chosen.extend(same)
    return chosen


def _expand_sync(
    profile_id: str,
    state: ProfileState,
    connection: ConnectionPlan,
    sync: SyncPlan,
    fact: Fact,
    targets: list[Identifier],
    changes: list[Fact],
    out: Expansion,
) -> None:
    name = connection.name
    for form, slot in zip(sync.forms, sync.slots, strict=True):
        if form == "track":
            _queue_occurrences(profile_id, state, connection, sync, slot, fact, targets, changes)
            calls: Iterable[Call] = _occurrences(state, connection, sync)
        else:
            calls = _state_calls(profile_id, state, connection, sync, slot, fact, targets)
        for call in calls:
            if sync.held:
                out.held = True
                out.counts[name, HELD + sync.key] += 1
            else:
                out.calls.append((name, call))


# -- identify and list membership: only the newest value counts


def _state_calls(
    profile_id: str,
    state: ProfileState,
    connection: ConnectionPlan,
    sync: SyncPlan,
    slot: Slot,
    fact: Fact,
    targets: list[Identifier],
) -> Iterator[Call]:
    at, value = fact
    slots = state.ledger.get(connection.name)
    entries = slots.get(slot) if slots else None
    leaving = sync.audience and not value
    wanted = digest(value) if entries else b""
    if entries and not sync.resync:
        _end_excuses(entries, wanted)
    for identifier in _owed_an_exit(entries) if leaving else targets:
        entry = entries.get(identifier) if entries else None
        if entry is None:
            if value is None:
                continue
            entry = _NEVER
            if not sync.resync:
                late = entries and _no_news(entries, state.ids[identifier][0], at, wanted)
                entry = Entry(excused=wanted if late else None)
                state.ledger.setdefault(connection.name, {}).setdefault(slot, {})[identifier] = entry
        elif entry.told == wanted or (value is None and not (entry.count or entry.exposed)):
            continue
        if entry.excused == wanted and not sync.resync:
            continue
        traits = _traits(state, connection, sync, identifier) if sync.enrich or connection.required else {}
        call = Call(profile_id, _kind(slot[0], value), identifier, sync.key, value, at, entry.count, traits)
        if not stays(entry.refused, call, connection.settings):
            yield resumed(call, entry, connection.settings)


def _no_news(entries: dict[Identifier, Entry], known_since: int, at: int, wanted: bytes) -> bool:
    """Whether a value is older than the identifier: by its time, or because others were told it."""
    return at <= known_since or any(entry.told == wanted for entry in entries.values())


def _end_excuses(entries: dict[Identifier, Entry], wanted: bytes) -> None:
    """The value changed: the next one that is told goes to everyone."""
    for entry in entries.values():
        if entry.excused != wanted:
            entry.excused = None


def _kind(form: str, value: Any) -> Kind:
    if form == "list":
        return "add" if value else "remove"
    return "identify"


def _owed_an_exit(entries: dict[Identifier, Entry] | None) -> list[Identifier]:
    return [identifier for identifier, entry in (entries or {}).items() if entry.exposed]


def _traits(state: ProfileState, connection: ConnectionPlan, sync: SyncPlan, identifier: Identifier) -> dict[str, Any]:
    found = {name: state.traits[name][1] for name in sync.enrich if name in state.traits}
    for key, alternatives in connection.required.items():
        for parts in alternatives:
            words = [_part(state, part, identifier) for part in parts]
            if all(words):
                found[key] = " ".join(words)
                break
    return found


def _part(state: ProfileState, part: str, identifier: Identifier) -> str:
    if part == "email:local":
        address = identifier.id if identifier.type == "email" else ""
        return address.partition("@")[0]
    fact = state.traits.get(part)
    return str(fact[1]).strip() if fact is not None and fact[1] is not None else ""


# -- track: every change is an occurrence, told once each


def _queue_occurrences(
    profile_id: str,
    state: ProfileState,
    connection: ConnectionPlan,
    sync: SyncPlan,
    slot: Slot,
    fact: Fact,
    targets: list[Identifier],
    changes: list[Fact],
) -> None:
    """Write what is newly to be told into `state.waiting`.

    A sync's first run tells the current value; later runs tell every change since; an identifier
    that was never told gets the current value.
    """
    entries = state.ledger.get(connection.name, {}).get(slot, {})
    waiting = {w.call.identifier: w.call for w in state.waiting if _of(w, connection, sync)}
    synced = bool(entries or waiting)
    for at, value in [] if sync.first else changes:
        if at <= sync.after:
            continue
        for identifier in targets if _tellable(sync, value) else _owed_the_end(sync, entries, waiting, targets):
            entry = entries.get(identifier, _NEVER)
            waiting[identifier] = _wait(profile_id, state, connection, sync, identifier, (at, value), entry)
    for identifier in targets if _tellable(sync, fact[1]) else ():
        if identifier in waiting or identifier in entries:
            continue
        wanted = digest(fact[1])
        if synced and not sync.resync and _no_news(entries, state.ids[identifier][0], fact[0], wanted):
            slots = state.ledger.setdefault(connection.name, {})
            slots.setdefault(slot, {})[identifier] = Entry(excused=wanted)
            continue
        waiting[identifier] = _wait(profile_id, state, connection, sync, identifier, fact, _NEVER)


def _owed_the_end(
    sync: SyncPlan, entries: dict[Identifier, Entry], waiting: dict[Identifier, Call], targets: list[Identifier]
) -> list[Identifier]:
    """Who is told that a value is gone: whoever was told, or is about to be told, that there is one."""
    told = {i: entry.exposed or (not sync.audience and entry.count > 0) for i, entry in entries.items()}
    told |= {identifier: _tellable(sync, call.value) for identifier, call in waiting.items()}
    return [i for i in (told if sync.audience else targets) if told.get(i)]


def _tellable(sync: SyncPlan, value: Any) -> bool:
    return value is True if sync.audience else value is not None


def _of(waiting: Waiting, connection: ConnectionPlan, sync: SyncPlan) -> bool:
    return waiting.connection == connection.name and waiting.call.key == sync.key


def _wait(
    profile_id: str,
    state: ProfileState,
    connection: ConnectionPlan,
    sync: SyncPlan,
    identifier: Identifier,
    fact: Fact,
    entry: Entry,
) -> Call:
    call = Call(profile_id, "track", identifier, sync.key, fact[1], fact[0], entry.count)
    if not any(_of(w, connection, sync) and same_occurrence(w.call, call) for w in state.waiting):
        state.waiting.append(Waiting(connection.name, call))
    return call


def _occurrences(state: ProfileState, connection: ConnectionPlan, sync: SyncPlan) -> Iterator[Call]:
    for waiting in state.waiting:
        if not _of(waiting, connection, sync):
            continue
        traits = _traits(state, connection, sync, waiting.call.identifier) if connection.required else {}
        call = replace(waiting.call, traits=traits, since=waiting.since)
        if not stays(waiting.refused, call, connection.settings):
            yield call
