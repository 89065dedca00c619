"""What a connection should be told of a profile, against what it was asked and told: one call per identifier."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

from msgspec.msgpack import encode
from msgspec.structs import replace

from schemas.calls import Call, Identifier, Kind
from schemas.canonical import digest
from schemas.state import Entries, Entry, Kept, Occurrence, Open, ProfileState, Rest
from transforms.logic.detect import Fact
from transforms.logic.ledger import digest_kept, kept, stays, wait
from transforms.logic.plan import ConnectionPlan, FormPlan, SyncPlan

Targets = list[int]  # places in `ProfileState.ids`
_NEVER = Entry()  # of an identifier that has no entry; never written
_NOT_TOLD = {
    True: digest(False),
    False: digest(None),
}  # what a vendor has that was never told, by whether of an audience


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
    """Apply the sync's strategies: who is told, and which identifiers travel with those calls, by type."""
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
    if not chosen:  # nobody else is told: these are
        return [place for places in attached.values() for place in places], {}
    newest = {
        kind: max(places, key=lambda n: (state.ids[n].first, state.ids[n].id)) for kind, places in attached.items()
    }
    return [n for places in chosen.values() for n in places], {kind: state.ids[n].id for kind, n in newest.items()}


class Asking:
    """Makes the calls of one profile, and writes them into its ledger as asked."""

    __slots__ = ("asks", "calls", "dropped", "live", "now", "profile_id", "state")

    def __init__(
        self,
        profile_id: str,
        state: ProfileState,
        now: int,
        asks: Iterator[int],
        calls: list[tuple[str, Call]],
        live: bool,
    ) -> None:
        self.profile_id, self.state, self.now, self.asks, self.calls, self.live = (
            profile_id, state, now, asks, calls, live,
        )  # fmt: skip
        self.dropped = 0  # waiting occurrences, since too many wait

    def call(
        self, sync: SyncPlan, slot: FormPlan, key: str, place: int, kind: Kind, fact: Fact, traits: dict[str, Any]
    ) -> Call:
        """A call without a number."""
        identifier = self.state.ids[place].identifier
        return Call(
            self.profile_id, kind, identifier, key, fact[1], fact[0], 0, slot.slot, sync.epoch, sync.computation_key,
            sync.name, traits=traits,
        )  # fmt: skip

    def ask(
        self,
        connection: ConnectionPlan,
        sync: SyncPlan,
        call: Call,
        place: int,
        opens: int = 0,
        new: bool = False,
    ) -> None:
        """Hand it to the log; unless it is one that was refused, where it is not `new` anyway."""
        entries = self.state.ledger.setdefault(call.slot, {})
        entry = entries.get(place)
        before = entry.open if entry else None
        if not new and entry and entry.rest and before is None and stays(entry.rest.refused, call, sync.settings):
            return
        if entry is None:
            entry = entries[place] = Entry()
        track = call.kind == "track"
        older = call.at <= sync.since  # the current value of a sync that is new
        backfill = (older or not self.live) if not (track and before) else before.backfill
        number = next(self.asks)
        entry.open = Open(number, _asked(call), call.value is False if sync.audience else call.value is None, backfill)
        self.calls.append(
            (
                connection.name,
                replace(
                    call,
                    ask=number,
                    replaces=before.ask if before and not track else 0,
                    holds=None if track else _holds(entry, sync),
                    opens=opens,
                    not_before=_not_before(entry, call, self.now),
                    backfill=backfill,
                ),
            )
        )

    def cancel(self, connection: ConnectionPlan, slot: int, place: int, entry: Entry) -> None:
        """Take back what was asked and is not sent yet."""
        if entry.open is None or entry.open.asked is None:
            return
        entry.open.asked = None
        identifier = self.state.ids[place].identifier
        cancel = Call(self.profile_id, "cancel", identifier, "", None, self.now, next(self.asks), slot)
        self.calls.append((connection.name, cancel))


def _asked(call: Call) -> Kept:
    """The value and the traits that travel with it; of an occurrence, the value."""
    if not call.traits or call.kind == "track":
        return kept(call.value)
    traits = [(name, digest(value)) for name, value in sorted(call.traits.items())]
    return blake2b(encode((digest(call.value), traits)), digest_size=16).digest()


def _holds(entry: Entry, sync: SyncPlan) -> bytes | None:
    """What the vendor has, if nothing that is asked lands."""
    if entry.rest and entry.rest.stray:
        return None
    if entry.told is not None:
        return digest_kept(entry.told)
    return None if entry.exposed else _NOT_TOLD[sync.audience]


def _not_before(entry: Entry, call: Call, now: int) -> float:
    """A value that was acknowledged while an older one might land is asked again behind that one."""
    rest = entry.rest
    if rest is None or rest.said is None or rest.said != kept(call.value) or rest.stray * 1_000_000 <= now:
        return 0.0
    return rest.stray


def wanted_of_sync(
    asking: Asking, connection: ConnectionPlan, sync: SyncPlan, known: Targets, fact: Fact, changes: Sequence[Fact]
) -> None:
    """Ask what one sync wants and nobody has asked or told."""
    state = asking.state
    targets, attached = select(known, sync, state) if sync.strategies else (known, {})
    if sync.where and not _matches(state, sync):
        targets, out = [], True
    else:
        out = False
    for form in sync.forms:
        if form.form == "track":
            _track(asking, connection, sync, form, fact, targets, changes, out)
        else:
            _state_like(asking, connection, sync, form, fact, targets, attached, out)
    for form, key in sync.retired:
        if entries := state.ledger.get(form.slot):
            _withdraw(asking, connection, sync, form, key, entries)


def _matches(state: ProfileState, sync: SyncPlan) -> bool:
    types = {known.type for known in state.ids if known.counts}
    return all(where.matches(state.traits, state.values, types) for where in sync.where)


# -- identify and list membership: only the newest value counts


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
    _end_excuses(had, kept(value))
    if not leaving:
        for place in targets:
            entry = entries.get(place, _NEVER) if entries else _NEVER
            if value is None and not (entry.exposed or entry.told is not None or entry.open):
                continue
            if had and place not in had and _no_news(had, state.ids[place].first, fact[0], kept(value)):
                state.ledger[form.slot][place] = Entry(rest=Rest(excused=kept(value)))
                continue
            if _excused(entry, value) and not sync.resync:
                continue
            traits = _traits(state, connection, sync, place, attached)
            call = asking.call(sync, form, sync.key, place, kind, fact, traits)
            if _news(entry, call):
                asking.ask(connection, sync, call, place)
    if not entries:
        return
    told = frozenset(targets) if not leaving else frozenset()
    for place, entry in list(entries.items()):
        if place in told:
            continue
        if not sync.audience:
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
    traits = _traits(asking.state, connection, sync, place, attached)
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
            _end(asking, connection, sync, form, key, place, gone_since(asking.state))
        else:
            _leave(asking, connection, sync, form, key, place, entry, gone_since(asking.state), {})


def _news(entry: Entry, call: Call) -> bool:
    """Whether a call says something else than the newest ask; where nothing is asked, than what was told."""
    if entry.open is not None:
        return entry.open.asked != _asked(call)
    return entry.told is None or entry.told != kept(call.value)


def gone_since(state: ProfileState) -> Fact:
    """That the person left, where no event says so: since the latest one. Not since now, or each look would be news."""
    mentions = (max(known.latest, known.removed) for known in state.ids)
    facts = (fact[0] for facts in (state.traits, state.values) for fact in facts.values())
    return max([*mentions, *facts], default=0), False


def _kind(form: str, value: Any) -> Kind:
    if form == "list":
        return "add" if value else "remove"
    return "identify"


def _no_news(entries: Entries, known_since: int, at: int, wanted: Kept) -> bool:
    """Whether a value is older than the identifier: by its time, or because others were asked or told it."""
    return at <= known_since or any(
        entry.told == wanted or (entry.open is not None and entry.open.asked == wanted) for entry in entries.values()
    )


def _excused(entry: Entry, value: Any) -> bool:
    return entry.rest is not None and entry.rest.excused is not None and entry.rest.excused == kept(value)


def _end_excuses(entries: Entries, wanted: Kept) -> None:
    """The value changed: the next one that is told goes to everyone."""
    for entry in entries.values():
        if entry.rest and entry.rest.excused is not None and entry.rest.excused != wanted:
            entry.rest.excused = None


def _traits(
    state: ProfileState, connection: ConnectionPlan, sync: SyncPlan, place: int, attached: dict[str, str]
) -> dict[str, Any]:
    if not (sync.enrich or sync.enrich_values or attached or connection.required):
        return {}
    own = state.ids[place].type
    found: dict[str, Any] = {name: state.traits[name][1] for name in sync.enrich if name in state.traits}
    found |= {name: state.values[number][1] for name, number in sync.enrich_values if number in state.values}
    found |= {kind: value for kind, value in attached.items() if kind != own}
    return found | _required(state, connection, place)


def _required(state: ProfileState, connection: ConnectionPlan, place: int) -> dict[str, Any]:
    found = {}
    for key, alternatives in connection.required.items():
        for parts in alternatives:
            words = [_part(state, part, state.ids[place].identifier) for part in parts]
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


# -- track: every change is an occurrence, asked once each


def _track(
    asking: Asking,
    connection: ConnectionPlan,
    sync: SyncPlan,
    form: FormPlan,
    fact: Fact,
    targets: Targets,
    changes: Sequence[Fact],
    out: bool,
) -> None:
    """Changes since the sync is there are occurrences, oldest first; of what was before, the current value is one."""
    ledger, slot = asking.state.ledger, form.slot
    had = dict(ledger.get(slot, {}))
    if asking.state.waiting:
        _ask_waiting(asking, connection, sync, form, targets)
    if had and not sync.resync:
        _end_excuses(had, kept(fact[1]))
    new = [change for change in changes if change[0] > max(sync.since, sync.after)]
    for place in targets:
        for change in new:
            _occur(asking, connection, sync, form, place, change)
        entry = ledger.get(slot, {}).get(place)
        if entry is None and had and not sync.resync and _is_late(asking.state, had, place, fact):
            ledger[slot][place] = Entry(rest=Rest(excused=kept(fact[1])))
        elif (waiting := _waits(asking.state, slot, place)) and kept(waiting[-1].value) == kept(fact[1]):
            continue
        elif entry is None or (_latest(entry) != kept(fact[1]) and not (_excused(entry, fact[1]) and not sync.resync)):
            _occur(asking, connection, sync, form, place, fact, again=True)
    told = frozenset(targets)
    for place, entry in [each for each in had.items() if each[0] not in told]:
        if out or not asking.state.ids[place].counts:
            asking.cancel(connection, slot, place, entry)
            _end(asking, connection, sync, form, sync.key, place, gone_since(asking.state))
        else:
            if entry.open and not entry.open.leaves:
                asking.cancel(connection, slot, place, entry)
            for change in [*new, fact]:
                if not _tellable(sync, change[1]):
                    _end(asking, connection, sync, form, sync.key, place, change)


def _is_late(state: ProfileState, had: Entries, place: int, fact: Fact) -> bool:
    return _no_news(had, state.ids[place].first, fact[0], kept(fact[1]))


def _latest(entry: Entry) -> Kept | None:
    """The value of the newest occurrence that was asked and not taken back, or told."""
    return entry.told if entry.open is None or entry.open.asked is None else entry.open.asked


def _tellable(sync: SyncPlan, value: Any) -> bool:
    return value is True if sync.audience else value is not None


def _occur(
    asking: Asking,
    connection: ConnectionPlan,
    sync: SyncPlan,
    form: FormPlan,
    place: int,
    fact: Fact,
    again: bool = False,
) -> None:
    """`again`: it is the current value, which may have been refused already."""
    if not _tellable(sync, fact[1]):
        _end(asking, connection, sync, form, sync.key, place, fact, again)
        return
    call = _occurrence(asking, connection, sync, form, sync.key, place, fact)
    asking.ask(connection, sync, call, place, new=not again)


def _end(
    asking: Asking,
    connection: ConnectionPlan,
    sync: SyncPlan,
    form: FormPlan,
    key: str,
    place: int,
    fact: Fact,
    again: bool = True,
) -> None:
    """Say that it is over to whoever was told, or is about to be told, that it began."""
    if not sync.audience and fact[1] is not None:  # a trait that is wanted no more is no occurrence
        return
    entry = asking.state.ledger.get(form.slot, {}).get(place)
    if entry is None or not _began(entry, sync, kept(fact[1])):
        _end_waiting(asking, sync, form, place, fact)
        return
    opens = entry.open.ask if entry.open else 0
    call = _occurrence(asking, connection, sync, form, key, place, fact)
    asking.ask(connection, sync, call, place, opens=opens, new=not again)


def _began(entry: Entry, sync: SyncPlan, end: Kept) -> bool:
    if entry.open:
        return not entry.open.leaves
    told = entry.exposed or (not sync.audience and entry.told is not None)  # of a trait, false is a value like others
    return told and entry.told != end


def _waits(state: ProfileState, slot: int, place: int) -> list[Occurrence]:
    return [each for each in state.waiting if (each.slot, each.place) == (slot, place)] if state.waiting else []


def _end_waiting(asking: Asking, sync: SyncPlan, form: FormPlan, place: int, fact: Fact) -> None:
    """Behind a beginning that waits for a required key, its end waits too."""
    mine = _waits(asking.state, form.slot, place)
    if mine and _tellable(sync, mine[-1].value):
        asking.dropped += not wait(asking.state, Occurrence(form.slot, place, fact[1], fact[0]))


def _occurrence(
    asking: Asking, connection: ConnectionPlan, sync: SyncPlan, form: FormPlan, key: str, place: int, fact: Fact
) -> Call:
    traits = _required(asking.state, connection, place) if connection.required else {}
    return asking.call(sync, form, key, place, "track", fact, traits)


def _ask_waiting(asking: Asking, connection: ConnectionPlan, sync: SyncPlan, form: FormPlan, targets: Targets) -> None:
    """Occurrences that waited for a required key go when it is there."""
    rest = []
    for each in asking.state.waiting:
        if each.slot != form.slot:
            rest.append(each)
        elif each.place in targets and each.at > sync.back:
            call = _occurrence(asking, connection, sync, form, sync.key, each.place, (each.at, each.value))
            if connection.required.keys() <= call.traits.keys():
                _occur(asking, connection, sync, form, each.place, (each.at, each.value))
            else:
                rest.append(each)
    asking.state.waiting = rest
