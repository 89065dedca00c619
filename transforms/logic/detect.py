"""Detection: events change what is known of a profile, in whatever order and however often they come.

Facts live by their time: the latest `at` wins, a tie goes to the greater canonical bytes. A
deletion removes every fact up to its time and keeps older events out for good.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from schemas.canonical import canonical, ordered, rank
from schemas.events import Account, AnyEvent, Delete, ExternalId, Profile, Trait
from schemas.state import Known, ProfileState
from transforms.logic.plan import Plan

NEVER = 2**62  # the first mention of an identifier that was only taken away

Fact = tuple[int, Any]  # since when (microseconds since 1970), value

# What happened to each tracked computation since the state was written, by its number, oldest first.
Changes = dict[int, list[Fact]]


def micros(moment: datetime) -> int:
    """Microseconds since 1970, UTC."""
    return round(moment.timestamp() * 1_000_000)


def detect_changes(state: ProfileState, events: Sequence[AnyEvent], plan: Plan) -> tuple[int, Changes]:
    """Apply events to what is known, in place; the ledger is not touched (a deletion: see `fold`).

    Returns how many of them told something new, and the changes of the tracked computations.
    """
    deletions = [micros(event.at) for event in events if type(event) is Delete]
    applied = int(_delete(state, max(deletions))) if deletions else 0
    values = state.values
    news: dict[int, tuple[Fact | None, list[Fact]]] = {}
    for event in events:
        at = micros(event.at)
        if type(event) is Delete or (state.deleted is not None and at <= state.deleted):
            continue
        if type(event) is Profile:
            applied += _learn(state, event, at)
            continue
        if type(event) is Account:
            applied += _learn_traits(state, event.traits, at)
            continue
        number = plan.computations[event.computation][0]  # type: ignore[union-attr]
        value = event.value if type(event) is Trait else event.member  # type: ignore[union-attr]
        known = values.get(number)
        if number in plan.tracked:
            news.setdefault(number, (known, []))[1].append((at, value))
        if known is None or wins((at, value), known):
            applied += known is None or not same(known[1], value)
            values[number] = (at, ordered(value))
    return applied, {number: _sequence(*facts) for number, facts in news.items()}


def wins(fact: Fact, known: Fact) -> bool:
    """Whether a fact takes the place of a known one: the later, and at the same time the greater."""
    return fact[0] > known[0] or (fact[0] == known[0] and rank(fact[1]) > rank(known[1]))


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, as JSON."""
    if type(one) is type(other) and type(one) is not list and type(one) is not dict:
        return bool(one == other)
    return canonical(one) == canonical(other)


def _sequence(known: Fact | None, facts: list[Fact]) -> list[Fact]:
    """The changes that these facts make after `known`, in order of their time."""
    latest: dict[int, Any] = {}
    for at, value in facts:
        if (known is None or wins((at, value), known)) and (at not in latest or wins((at, value), (at, latest[at]))):
            latest[at] = value
    changes: list[Fact] = []
    before = known
    for fact in sorted(latest.items()):
        if before is None or not same(before[1], fact[1]):
            changes.append(fact)
        before = fact
    return changes


def _learn(state: ProfileState, event: Profile, at: int) -> bool:
    applied = False
    for external in event.external_ids:
        applied |= _mention(state, external, at)
    for external in event.removed_ids:
        applied |= _remove(state, external, at)
    return _learn_traits(state, event.traits, at) or applied


def _learn_traits(state: ProfileState, traits: Mapping[str, Any], at: int) -> bool:
    applied = False
    for name, value in traits.items():
        trait = state.traits.get(name)
        if trait is None or wins((at, value), trait):
            applied |= trait is None or not same(trait[1], value)
            state.traits[name] = (at, ordered(value))
    return applied


def _find(state: ProfileState, external: ExternalId) -> Known | None:
    return next((known for known in state.ids if known.id == external.id and known.type == external.type), None)


def _mention(state: ProfileState, external: ExternalId, at: int) -> bool:
    known = _find(state, external)
    if known is None:
        state.ids.append(Known(external.type, external.id, at, at))
        return True
    before = known.counts
    latest = max(known.latest, at)
    # Of a person once deleted only the latest mention counts, since whether an earlier one survived depends on order.
    known.first = latest if state.deleted is not None else min(known.first, at) if known.latest >= 0 else at
    known.latest = latest
    return known.counts and not before


def _remove(state: ProfileState, external: ExternalId, at: int) -> bool:
    known = _find(state, external)
    if known is None:  # a mention that comes later may be older
        state.ids.append(Known(external.type, external.id, NEVER, 0, at))
        return True
    before = known.counts
    if known.latest < 0:  # forgotten: as if it had never been mentioned
        known.first, known.latest = NEVER, 0
    known.removed = max(known.removed, at)
    return before and not known.counts


def _delete(state: ProfileState, at: int) -> bool:
    """Forget what is older. Identifiers keep their places: the ledger still speaks of them."""
    if state.deleted is not None and at <= state.deleted:
        return False
    state.deleted = at
    for known in state.ids:
        if max(known.latest, known.removed) <= at:
            known.first = known.latest = known.removed = -1
            continue
        if known.removed <= at:
            known.removed = -1
        known.latest = known.latest if known.latest > at else 0
        known.first = known.latest or NEVER
    state.traits = {name: fact for name, fact in state.traits.items() if fact[0] > at}
    state.values = {number: fact for number, fact in state.values.items() if fact[0] > at}
    return True
