"""Wanted: what a connection should know of a profile, compared with what was asked and told, by identifier."""

from collections.abc import Sequence
from typing import Any

from schemas.calls import Call, Kind
from schemas.state import Entries, Entry, ProfileState, Rest
from transforms.logic import occurrences
from transforms.logic.alike import is_among
from transforms.logic.asking import Asking, carried, end_excuses, excused, gone_since, heard, traits_of
from transforms.logic.detect import Fact
from transforms.logic.ledger import kept
from transforms.logic.plan import ConnectionPlan, FormPlan, SyncPlan

Targets = list[int]  # places in `ProfileState.ids`
_NEVER = Entry()  # of an identifier that has no entry; never written


def identifiers_of(state: ProfileState, connection: ConnectionPlan) -> Targets:
    """The profile's identifiers that the connection understands, in its order of precedence."""
    ids = state.ids
    if connection.understood is None:
        return sorted((n for n, known in enumerate(ids) if known.counts), key=lambda n: ids[n].identifier)
    if len(ids) == 1:
        return [0] if ids[0].counts and ids[0].type in connection.understood else []
    found = [n for n, known in enumerate(ids) if known.counts and known.type in connection.understood]
    order = connection.understood.index
    return sorted(found, key=lambda n: (order(ids[n].type), ids[n].id))


def select(known: Targets, sync: SyncPlan, state: ProfileState) -> tuple[Targets, dict[str, str]]:
    """Apply the sync's strategies: who is told, and which identifiers travel with those calls, by type.

    Of a person with only attached ones, those of the type that comes first are told; the others travel with them.
    """
    chosen: dict[str, Targets] = {}
    for place in known:
        chosen.setdefault(state.ids[place].type, []).append(place)
    attached: dict[str, Targets] = {}
    for kind in list(chosen):
        match sync.strategies.get(kind, "all"):
            case "first":
                chosen[kind] = [min(chosen[kind], key=lambda n: (state.ids[n].first, state.ids[n].id))]
            case "last":
                chosen[kind] = [max(chosen[kind], key=lambda n: (state.ids[n].first, state.ids[n].id))]
            case "none":
                del chosen[kind]
            case "attach":
                attached[kind] = chosen.pop(kind)
    if not chosen and attached:
        first = next(iter(attached))
        chosen[first] = attached.pop(first)
    newest = {
        kind: max(places, key=lambda n: (state.ids[n].first, state.ids[n].id)) for kind, places in attached.items()
    }
    return [n for places in chosen.values() for n in places], {kind: state.ids[n].id for kind, n in newest.items()}


def concerns(state: ProfileState, sync: SyncPlan, fact: Fact) -> bool:
    """Whether a sync would tell somebody of whom nothing was told yet."""
    value = fact[1]
    told = True in value.values() if sync.members else bool(value) if sync.audience else value is not None
    return told and _matches(state, sync)


def wanted_of_sync(
    asking: Asking, connection: ConnectionPlan, sync: SyncPlan, known: Targets, fact: Fact, changes: Sequence[Fact]
) -> None:
    """Ask what one sync wants and nobody has asked or told."""
    state = asking.state
    targets, attached = select(known, sync, state) if sync.strategies else (known, {})
    if sync.where and not _matches(state, sync):
        targets, attached, out = [], {}, True
    else:
        out = False
    for form in sync.forms:
        if form.form == "track":
            occurrences.track(asking, connection, sync, form, fact, targets, changes, out)
        else:
            _state_like(asking, connection, sync, form, fact, targets, attached, out)
    for form, key in sync.retired:
        if entries := state.ledger.get(form.slot):
            _withdraw(asking, connection, sync, form, key, entries)


def _matches(state: ProfileState, sync: SyncPlan) -> bool:
    types = {known.type for known in state.ids if known.counts}
    return all(where.matches(state.traits, state.values, types) for where in sync.where)


# -- identify, group and list membership: only the newest value counts


def _state_like(
    asking: Asking,
    connection: ConnectionPlan,
    sync: SyncPlan,
    form: FormPlan,
    fact: Fact,
    targets: Targets,
    attached: dict[str, str],
    out: bool,
) -> None:
    state, value = asking.state, fact[1]
    entries = state.ledger.get(form.slot)
    leaving = sync.audience and not value
    kind = _kind(form.form, value)
    had = dict(entries) if entries and not sync.resync else {}
    if had:
        end_excuses(had, kept(value))
    no_news = heard(had, kept(value))
    if not leaving:
        for place in targets:
            entry = entries.get(place, _NEVER) if entries else _NEVER
            empty = value is None or (sync.members and True not in value.values())
            if empty and not (entry.exposed or entry.told is not None or entry.open):
                continue
            if had and place not in had and (no_news or fact[0] <= state.ids[place].first):
                state.ledger[form.slot][place] = Entry(rest=Rest(excused=kept(value)))
                continue
            if excused(entry, value) and not sync.resync:
                continue
            traits = traits_of(state, connection, sync, place, attached)
            call = asking.call(sync, form, sync.key, place, kind, fact, traits)
            if _news(entry, call):
                asking.ask(connection, sync, call, place)
    if not entries:
        return
    reached = frozenset(targets) if not leaving else frozenset()
    for place, entry in list(entries.items()):
        if place in reached:
            continue
        if not sync.audience or (not (leaving or out or state.ids[place].counts) and is_among(state, place, reached)):
            asking.cancel(connection, form.slot, place, entry)
        elif leaving or out or not state.ids[place].counts:
            exit_fact = fact if leaving else gone_since(state)
            _leave(asking, connection, sync, form, sync.key, place, entry, exit_fact, attached)
        elif entry.open and not entry.open.leaves:
            asking.cancel(connection, form.slot, place, entry)


def _leave(
    asking: Asking,
    connection: ConnectionPlan,
    sync: SyncPlan,
    form: FormPlan,
    key: str,
    place: int,
    entry: Entry,
    fact: Fact,
    attached: dict[str, str],
) -> None:
    """An exit, to whoever was told or is about to be told that the person is in."""
    about_to = entry.open is not None and entry.open.asked is not None
    if not entry.exposed and not about_to:
        return
    own = asking.state.ids[place].counts  # an identifier that was taken away may be somebody else's by now
    traits = traits_of(asking.state, connection, sync, place, attached if own else {})
    call = asking.call(sync, form, key, place, _kind(form.form, False), fact, traits)
    if _news(entry, call):
        asking.ask(connection, sync, call, place)


def _withdraw(
    asking: Asking, connection: ConnectionPlan, sync: SyncPlan, form: FormPlan, key: str, entries: Entries
) -> None:
    """The sync goes by another key now: exits under this one, and nothing more."""
    for place, entry in list(entries.items()):
        if not sync.audience:
            asking.cancel(connection, form.slot, place, entry)
        elif form.form == "track":
            occurrences.end(asking, connection, sync, form, key, place, gone_since(asking.state))
        else:
            _leave(asking, connection, sync, form, key, place, entry, gone_since(asking.state), {})


def _news(entry: Entry, call: Call) -> bool:
    """Whether a call says something else than the newest ask; where nothing is asked, than what was told."""
    if entry.open is not None:
        return entry.open.asked != kept(call.value) or entry.open.traits != carried(call)
    return entry.told is None or entry.told != kept(call.value)


def _kind(form: str, value: Any) -> Kind:
    if form == "list":
        return "add" if value else "remove"
    return form if form in ("group", "member") else "identify"  # type: ignore[return-value]
