"""Detection: events change what is known of a profile, in whatever order and however often they come.

Facts live by their time: the latest `at` wins, a tie goes to the greater canonical bytes. A
deletion removes every fact up to its time and keeps older events out for good.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from schemas.calls import Identifier
from schemas.canonical import canonical, ordered, rank
from schemas.events import AnyEvent, Delete, Profile, Trait
from schemas.state import Entry, ProfileState
from transforms.logic.plan import Plan

Fact = tuple[int, Any]  # since when (microseconds since 1970), value

# What happened to each tracked computation since the state was written, oldest first.
Changes = dict[str, list[Fact]]


def micros(moment: datetime) -> int:
    """Microseconds since 1970, UTC."""
    return round(moment.timestamp() * 1_000_000)


def detect_changes(state: ProfileState, events: Sequence[AnyEvent], plan: Plan) -> tuple[int, Changes]:
    """Apply events to the state, in place.

    Returns how many of them told something new, and the changes of the tracked computations.
    """
    deletions = [micros(event.at) for event in events if type(event) is Delete]
    applied = _delete(state, max(deletions), plan) if deletions else 0
    values = state.values
    news: dict[str, tuple[Fact | None, list[Fact]]] = {}
    for event in events:
        at = micros(event.at)
        if type(event) is Delete or (state.deleted is not None and at <= state.deleted):
            continue
        if type(event) is Profile:
            applied += _learn(state, event, at)
            continue
        key = plan.computations[event.computation][0]  # type: ignore[union-attr]
        value = event.value if type(event) is Trait else event.member  # type: ignore[union-attr]
        known = values.get(key)
        if key in plan.tracked:
            news.setdefault(key, (known, []))[1].append((at, value))
        if known is None or _wins((at, value), known):
            applied += known is None or not _same(known[1], value)
            values[key] = (at, ordered(value))
    return applied, {key: _sequence(*facts) for key, facts in news.items()}


def _wins(fact: Fact, known: Fact) -> bool:
    return fact[0] > known[0] or (fact[0] == known[0] and rank(fact[1]) > rank(known[1]))


def _same(one: Any, other: Any) -> bool:
    if type(one) is type(other) and type(one) is not list and type(one) is not dict:
        return bool(one == other)
    return canonical(one) == canonical(other)


def _sequence(known: Fact | None, facts: list[Fact]) -> list[Fact]:
    """The changes that these facts make after `known`, in order of their time."""
    latest: dict[int, Any] = {}
    for at, value in facts:
        if (known is None or _wins((at, value), known)) and (at not in latest or _wins((at, value), (at, latest[at]))):
            latest[at] = value
    changes: list[Fact] = []
    before = known
    for fact in sorted(latest.items()):
        if before is None or not _same(before[1], fact[1]):
            changes.append(fact)
        before = fact
    return changes


def _learn(state: ProfileState, event: Profile, at: int) -> bool:
    applied = False
    for external in event.external_ids:
        identifier = Identifier(external.type, external.id)
        known = state.ids.get(identifier)
        if known is None:
            state.ids[identifier] = (at, at)
            applied = True
        else:
            state.ids[identifier] = _mentioned(state, known, at)
    for name, value in event.traits.items():
        trait = state.traits.get(name)
        if trait is None or _wins((at, value), trait):
            applied |= trait is None or not _same(trait[1], value)
            state.traits[name] = (at, ordered(value))
    return applied


def _mentioned(state: ProfileState, known: tuple[int, int], at: int) -> tuple[int, int]:
    """First and latest mention; of a person once deleted only the latest, which no order can change."""
    latest = max(known[1], at)
    return (min(known[0], at) if state.deleted is None else latest, latest)


def _delete(state: ProfileState, at: int, plan: Plan) -> bool:
    if state.deleted is not None and at <= state.deleted:
        return False
    state.deleted = at
    state.ids = {i: (latest, latest) for i, (_, latest) in state.ids.items() if latest > at}
    state.traits = {name: fact for name, fact in state.traits.items() if fact[0] > at}
    state.values = {key: fact for key, fact in state.values.items() if fact[0] > at}
    state.waiting = [w for w in state.waiting if w.call.at > at]
    forgetful = {c.name for c in plan.connections if c.forgets}
    owed = {name: _told_identifiers(state, name) for name in state.ledger if name in forgetful}
    state.ledger = {name: {("delete", ""): entries} for name, entries in owed.items() if entries}
    return True


def _told_identifiers(state: ProfileState, connection: str) -> dict[Identifier, Entry]:
    """Everybody who may be known to the vendor, to be forgotten there."""
    return {
        identifier: Entry()
        for slots in state.ledger[connection].values()
        for identifier, entry in slots.items()
        if entry.exposed or entry.told is not None or entry.count
    } | state.ledger[connection].get(("delete", ""), {})
