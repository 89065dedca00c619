"""Why: what each connection was told of one person, and for what it was not told, the rule that kept it.

    state ─┬─ a fold of nothing new ── what the next run would ask
           └─ the rules in their order ── the first that keeps the call

The rules are those of `wanted` and `occurrences`; the tests hold them to the slow model.
"""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, Literal

from msgspec import Struct, field

from schemas.calls import Call, Identifier
from schemas.state import Entry, Known, ProfileState, decode_profile, encode_profile
from transforms.logic.asking import excused
from transforms.logic.detect import Fact
from transforms.logic.fold import Facts, fold
from transforms.logic.ledger import kept
from transforms.logic.plan import ConnectionPlan, FormPlan, Plan, SyncPlan
from transforms.logic.wanted import identifiers_of, select

# Why a person, a sync or an identifier stands as it does.
Rule = Literal[
    "deleted",  # the person was deleted
    "deletion_asked",  # the vendor is to forget this identifier, and has not said yet that it did
    "no_identifier",  # the person has none that the connection understands
    "no_value",  # nothing is known of the computation
    "not_historical",  # the value is from before the sync, which takes none from then
    "next_run",  # nothing keeps it: the next run asks it
    "asked",  # it is in the log, without an outcome
    "taken_back",  # it was asked, and is not wanted any more
    "waits_for_key",  # an occurrence waits for a key that the vendor requires
    "told",  # the vendor has it
    "refused",  # it was rejected or expired, and nothing has changed since
    "excused",  # a new identifier, in a sync that tells it only of the next change
    "never_told",  # there is nothing to take back: the vendor was never told the contrary
    "not_understood",  # the connection does not know people by such identifiers
    "taken_away",  # the identifier is not the person's any more
    "filter",  # the person does not match the `where`
    "strategy",  # other identifiers of its type are told, or none of them
    "not_synced",  # the workspace has no such sync any more
]


Fails = dict[str, Any]  # by trait or computation its value; by `has TYPE`, None


class Finding(Struct, kw_only=True):
    """How it stands with one identifier in one form of a sync; without an identifier, with all of them."""

    connection: str
    rule: Rule
    sync: SyncPlan | None = None
    form: FormPlan | None = None
    slot: int = 0
    identifier: Identifier | None = None
    entry: Entry = field(default_factory=Entry)  # its ledger
    strategy: str = ""  # the one that keeps it out
    fails: Fails = {}  # what of the `where` does not hold
    call: Call | None = None  # that the next run asks


def explain(profile_id: str, state: ProfileState, plan: Plan) -> Iterator[Finding]:
    """How it stands with one person, connection by connection. The state is left as it is."""
    if state.deleted is not None and not (state.values or state.ledger):
        yield Finding(connection="", rule="deleted")
        return
    next_calls = _next(profile_id, state, plan)
    told: set[int] = set()
    for connection in plan.connections:
        told |= {connection.deletions, *(form.slot for sync in connection.syncs for form in sync.forms)}
        yield from _deletions(state, connection)
        if not identifiers_of(state, connection) and not any(slot in state.ledger for slot in connection.slots):
            yield Finding(connection=connection.name, rule="no_identifier")
            continue
        for sync in connection.syncs:
            yield from _of_sync(state, connection, sync, next_calls)
    yield from _not_synced(state, told)


def _next(profile_id: str, state: ProfileState, plan: Plan) -> Mapping[tuple[int, Identifier], Call]:
    """What the next run would ask of the person if nothing happened, by slot and identifier."""
    copy = decode_profile(encode_profile(state))
    folded = fold(profile_id, copy, Facts(tick=True), plan, count(1 << 61))
    return {(call.slot, call.identifier): call for _, call in folded.calls if call.kind != "cancel"}


def _deletions(state: ProfileState, connection: ConnectionPlan) -> Iterator[Finding]:
    for place, entry in state.ledger.get(connection.deletions, {}).items():
        yield Finding(
            connection=connection.name, rule="deletion_asked", slot=connection.deletions,
            identifier=state.ids[place].identifier, entry=entry,
        )  # fmt: skip


def _not_synced(state: ProfileState, present: set[int]) -> Iterator[Finding]:
    """What vendors were told by syncs, or under names, that the workspace has no more."""
    for slot, entries in state.ledger.items():
        if slot not in present:
            for place, entry in entries.items():
                yield Finding(
                    connection="", rule="not_synced", slot=slot, identifier=state.ids[place].identifier, entry=entry
                )


def _of_sync(
    state: ProfileState, connection: ConnectionPlan, sync: SyncPlan, next_calls: Mapping[tuple[int, Identifier], Call]
) -> Iterator[Finding]:
    fact = state.values.get(sync.computation)
    if fact is None or fact[0] <= sync.after:
        yield Finding(connection=connection.name, rule="no_value" if fact is None else "not_historical", sync=sync)
        return
    fails = failing(state, sync)
    known = identifiers_of(state, connection)
    chosen = frozenset(select(known, sync, state)[0]) if not fails else frozenset()
    for form in sync.forms:
        entries = state.ledger.get(form.slot, {})
        for place, each in enumerate(state.ids):
            if each.latest <= 0 and not each.counts and place not in entries:
                continue  # forgotten, or only taken away before it was ever mentioned
            entry = entries.get(place, Entry())
            call = next_calls.get((form.slot, each.identifier))
            rule = _stands(state, form, place, entry, call) or _kept_out(connection, sync, fact, each, entry, fails)
            rule = rule or _at_rest(sync, fact, entry, place in chosen)
            yield Finding(
                connection=connection.name, rule=rule, sync=sync, form=form, slot=form.slot,
                identifier=each.identifier, entry=entry, call=call,
                fails=fails if rule == "filter" else {},
                strategy=sync.strategies.get(each.type, "all") if rule == "strategy" else "",
            )  # fmt: skip


def _stands(state: ProfileState, form: FormPlan, place: int, entry: Entry, call: Call | None) -> Rule | None:
    """What is under way."""
    if call is not None:
        return "next_run"
    if entry.open is not None:
        return "taken_back" if entry.open.asked is None else "asked"
    if any((each.slot, each.place) == (form.slot, place) for each in state.waiting):
        return "waits_for_key"
    return None


def _kept_out(
    connection: ConnectionPlan, sync: SyncPlan, fact: Fact, known: Known, entry: Entry, fails: Fails
) -> Rule | None:
    """Why the identifier is told nothing, whatever the value is."""
    if sync.audience and entry.exposed and _refused(entry):  # its exit; a trait has none
        return "refused"
    if not known.counts:
        return "taken_away"
    if connection.understood is not None and known.type not in connection.understood:
        return "not_understood"
    if fails:
        return "filter"
    return None


def _at_rest(sync: SyncPlan, fact: Fact, entry: Entry, chosen: bool) -> Rule:
    """Why nothing is asked of an identifier that the connection understands, of a person whom it may be told of."""
    value = kept(fact[1])
    if sync.audience and not fact[1]:
        if entry.exposed and _refused(entry):
            return "refused"
        return "told" if entry.told is False else "never_told"
    if not chosen:
        return "strategy"
    if entry.told == value:
        return "told"
    if fact[1] is None and not (entry.exposed or entry.told is not None):
        return "never_told"
    if not sync.resync and excused(entry, fact[1]):
        return "excused"
    return "refused" if _refused(entry) else "never_told"


def _refused(entry: Entry) -> bool:
    return entry.rest is not None and entry.rest.refused is not None


def failing(state: ProfileState, sync: SyncPlan) -> Fails:
    """What of the connection's and the sync's `where` does not hold for a person."""
    types = {known.type for known in state.ids if known.counts}
    return dict(each for where in sync.where for each in where.failing(state.traits, state.values, types))
