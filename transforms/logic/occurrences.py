"""Occurrences: in the form `track` every change is a call of its own, asked once each and told in order."""

from collections.abc import Sequence
from typing import Any

from schemas.calls import Call
from schemas.state import Entry, Kept, Occurrence, ProfileState, Rest
from transforms.logic.alike import is_among
from transforms.logic.asking import Asking, end_excuses, excused, gone_since, heard, required_of
from transforms.logic.detect import Fact
from transforms.logic.ledger import kept, wait
from transforms.logic.plan import ConnectionPlan, FormPlan, SyncPlan

Targets = Sequence[int]  # places in `ProfileState.ids`


def track(
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
    no_news = False
    if had and not sync.resync:
        end_excuses(had, kept(fact[1]))
        no_news = heard(had, kept(fact[1]))
    new = [change for change in changes if change[0] > max(sync.since, sync.after)]
    for place in targets:
        first = asking.state.ids[place].first
        for change in new:
            if sync.resync or not had or place in had or change[0] > first:
                _occur(asking, connection, sync, form, place, change)
        entry = ledger.get(slot, {}).get(place)
        late = no_news or fact[0] <= first
        if entry is None and had and not sync.resync and late:
            ledger[slot][place] = Entry(rest=Rest(excused=kept(fact[1])))
        elif (waiting := _waits(asking.state, slot, place)) and kept(waiting[-1].value) == kept(fact[1]):
            continue
        elif entry is None or (_latest(entry) != kept(fact[1]) and not (excused(entry, fact[1]) and not sync.resync)):
            if entry and entry.open and entry.open.backfill and fact[0] <= sync.since:  # history that comes in parts
                asking.cancel(connection, slot, place, entry)
            _occur(asking, connection, sync, form, place, fact, again=True)
    reached = frozenset(targets)
    for place, entry in [each for each in had.items() if each[0] not in reached]:
        if out or not asking.state.ids[place].counts:
            if entry.open and entry.open.leaves < 2:
                asking.cancel(connection, slot, place, entry)
            if out or not is_among(asking.state, place, reached):
                end(asking, connection, sync, form, sync.key, place, gone_since(asking.state), last=True)
        else:
            if entry.open and not entry.open.leaves:
                asking.cancel(connection, slot, place, entry)
            for change in [*new, fact]:
                if not _tellable(sync, change[1]):
                    end(asking, connection, sync, form, sync.key, place, change)


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
        end(asking, connection, sync, form, sync.key, place, fact, again)
        return
    call = _occurrence(asking, connection, sync, form, sync.key, place, fact)
    asking.ask(connection, sync, call, place, new=not again)


def end(
    asking: Asking,
    connection: ConnectionPlan,
    sync: SyncPlan,
    form: FormPlan,
    key: str,
    place: int,
    fact: Fact,
    again: bool = True,
    last: bool = False,
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
    asking.ask(connection, sync, call, place, opens=opens, new=not again, last=last)


def _began(entry: Entry, sync: SyncPlan, end: Kept) -> bool:
    if entry.open:
        return not entry.open.leaves
    known = entry.exposed or (not sync.audience and entry.told is not None)  # of a trait, false is a value like others
    return known and entry.told != end


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
    traits = required_of(asking.state, connection, place) if connection.required else {}
    return asking.call(sync, form, key, place, "track", fact, traits)


def _ask_waiting(asking: Asking, connection: ConnectionPlan, sync: SyncPlan, form: FormPlan, targets: Targets) -> None:
    """Occurrences that waited for a required key go when it is there."""
    rest = []
    waiting, asking.state.waiting = asking.state.waiting, []
    for each in waiting:
        if each.slot != form.slot:
            rest.append(each)
        elif each.place in targets and each.at > sync.back:
            call = _occurrence(asking, connection, sync, form, sync.key, each.place, (each.at, each.value))
            if connection.required.keys() <= call.traits.keys():
                _occur(asking, connection, sync, form, each.place, (each.at, each.value))
            else:
                rest.append(each)
    asking.state.waiting = rest
