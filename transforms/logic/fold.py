"""Fold: facts about a profile or an account change what is known of it, and what connections are asked to be told.

    events ───┐
    accounts ─┤
    receipts ─┼─ fold ─┬─ state: what is known, what was asked, what was told
    retries ──┤        ├─ calls, by connection
    a tick ───┘        └─ counts

Work is wanted minus asked, or where nothing is asked, minus told: a repeated fact, a crash or a late answer
changes when a call is made, never whether.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from msgspec import Struct, field

from schemas.calls import NOBODY, Call
from schemas.events import AnyEvent
from schemas.facts import MemberFact
from schemas.receipts import Receipt
from schemas.state import Entry, Open, ProfileState
from transforms.logic.asking import Asking
from transforms.logic.detect import Changes, Fact, detect_changes
from transforms.logic.joined import belonging, hear_accounts
from transforms.logic.ledger import Retry, doubt, drop_unused, release, settle
from transforms.logic.plan import ConnectionPlan, Plan, SyncPlan
from transforms.logic.wanted import concerns, identifiers_of, wanted_of_sync


class Facts(Struct):
    """What is new about one profile."""

    events: Sequence[AnyEvent] = ()
    receipts: Sequence[Receipt] = ()  # in the order in which they were written
    retries: Sequence[Retry] = ()
    members: Sequence[MemberFact] = ()  # what its accounts say
    tick: bool = False  # the workspace changed: nothing happened, but something else may be wanted
    refresh: Sequence[int] = ()  # of a tick: slots in which everything that was told is told once more


def together(found: Sequence[Facts]) -> Facts:
    """Facts about one profile, in their order, as one."""
    return Facts(
        events=[each for facts in found for each in facts.events],
        receipts=[each for facts in found for each in facts.receipts],
        retries=[each for facts in found for each in facts.retries],
        members=[each for facts in found for each in facts.members],
        tick=any(facts.tick for facts in found),
        refresh=[*dict.fromkeys(slot for facts in found for slot in facts.refresh)],
    )


class Folded(Struct):
    """What came of it. The state was changed in place."""

    calls: list[tuple[str, Call]] = field(default_factory=list)  # by connection
    applied: int = 0  # events that told something new
    retried: int = 0  # failed calls that may be tried again
    dropped: int = 0  # occurrences, since too many wait for a required key
    no_identifier: list[str] = field(default_factory=list)  # connections that want to tell, and know no identifier
    kept: list[str] = field(default_factory=list)  # connections, for each identifier that its vendor cannot forget
    left: list[str] = field(default_factory=list)  # accounts that are to forget the profile: it was deleted


def fold(profile_id: str, state: ProfileState, facts: Facts, plan: Plan, asks: Iterator[int]) -> Folded:
    """The decision about one profile. `asks` gives numbers that grow and were never given before."""
    out = Folded()
    for receipt in facts.receipts:
        out.dropped += not settle(state, receipt, plan)
    doubt(state, facts.refresh)
    deleted, had = state.deleted, [n for n, known in enumerate(state.ids) if known.counts]
    changes: Changes = {}
    if facts.events:
        out.applied, changes = detect_changes(state, facts.events, plan)
    if state.deleted != deleted:
        _forget(profile_id, state, plan, asks, had, out)
    if state.accounts or facts.members:
        out.left, through = hear_accounts(state, facts.members, plan)
        changes |= through
    for retry in facts.retries:
        out.retried += _retry(state, retry)
    woken = bool(facts.receipts or facts.retries)
    live = bool(facts.events or (facts.members and not facts.tick))
    asking = Asking(profile_id, state, plan.now, asks, live, woken, out.calls)
    for connection in _concerned(facts, plan):
        if deletions := state.ledger.get(connection.deletions):
            _ask_deletions(profile_id, state, connection, deletions, asks, out)
        if state.values or (state.accounts and any(sync.members for sync in connection.syncs)):
            _tell(asking, connection, changes, out)
    out.dropped += asking.dropped
    if state.deleted is not None:
        drop_unused(state)
    if state.gone:
        state.asked = []
    elif out.calls:
        state.remember_asks(out.calls[0][1].ask, out.calls[-1][1].ask)
    return out


def _concerned(facts: Facts, plan: Plan) -> Sequence[ConnectionPlan]:
    """Connections to which these facts may matter: what became of a call matters to its own."""
    if not facts.receipts or facts.events or facts.members or facts.retries or facts.tick:
        return plan.connections
    numbers = {plan.connection_of(receipt.slot) for receipt in facts.receipts}
    return [connection for connection in plan.connections if connection.number in numbers]


def _tell(asking: Asking, connection: ConnectionPlan, changes: Changes, out: Folded) -> None:
    state = asking.state
    known = identifiers_of(state, connection)
    if not known and not any(slot in state.ledger for slot in connection.ever):
        if any(concerns(state, sync, fact) for sync, fact in _known(state, connection)):
            out.no_identifier.append(connection.name)
        return
    for sync, fact in _known(state, connection):
        wanted_of_sync(asking, connection, sync, known, fact, changes.get(sync.computation, []))


def _known(state: ProfileState, connection: ConnectionPlan) -> Iterator[tuple[SyncPlan, Fact]]:
    """What is known that syncs tell."""
    for sync in connection.syncs:
        fact = belonging(state) if sync.members else state.values.get(sync.computation)
        if fact is not None and fact[0] > sync.after:
            yield sync, fact


# -- deletions


def _forget(
    profile_id: str, state: ProfileState, plan: Plan, asks: Iterator[int], had: Sequence[int], out: Folded
) -> None:
    """The person was deleted: take back what was asked, and ask every vendor that can to forget what it was told."""
    state.waiting = []
    owed = {connection.deletions: _owed(state, connection, had, out) for connection in plan.connections}
    for connection in plan.connections:
        if any(slot in state.ledger for slot in connection.ever):
            state.cut = next(asks)
            cancel = Call(profile_id, "cancel", NOBODY, "", None, plan.now, state.cut)
            out.calls.append((connection.name, cancel))
    state.ledger = {slot: entries for slot, entries in owed.items() if entries}


def _owed(state: ProfileState, connection: ConnectionPlan, had: Sequence[int], out: Folded) -> dict[int, Entry]:
    """Entries for the identifiers that the vendor may know, of those by which it can forget.

    What was asked may have been told by now; and what was taken back may have been behind a call that is under way.
    `had`: the person's identifiers before the deletion.
    """
    told = [
        (slot, place)
        for slot, entries in state.ledger.items()
        if slot in connection.ever
        for place, entry in entries.items()
        if slot == connection.deletions or entry.exposed or entry.told is not None or entry.open or not entry.rest
    ]
    along = _along(connection, {slot for slot, _ in told})
    places = {place for _, place in told} | {place for place in had if state.ids[place].type in along}
    able = {place: Entry() for place in sorted(places) if connection.can_forget(state.ids[place].type)}
    out.kept += [connection.name] * (len(places) - len(able))
    return able


def _along(connection: ConnectionPlan, told: AbstractSet[int]) -> set[str]:
    """Types of identifiers that went along to lists. A list has rows and no records: each key may have found somebody.

    `told`: slots in which anything was told.
    """
    lists = (sync for sync in connection.syncs if any(f.form == "list" and f.slot in told for f in sync.forms))
    return {kind for sync in lists for kind, strategy in sync.strategies.items() if strategy == "attach"}


def _ask_deletions(
    profile_id: str,
    state: ProfileState,
    connection: ConnectionPlan,
    deletions: dict[int, Entry],
    asks: Iterator[int],
    out: Folded,
) -> None:
    for place, entry in deletions.items():
        if entry.open is None:
            entry.open = Open(next(asks), False)
            identifier, at = state.ids[place].identifier, state.deleted or 0
            call = Call(profile_id, "delete", identifier, "", None, at, entry.open.ask, connection.deletions)
            out.calls.append((connection.name, call))


def _retry(state: ProfileState, retry: Retry) -> bool:
    """Whether the failed call may be asked again. A deletion that failed is known only to its dead letter."""
    call = retry.call
    if call.kind != "delete":
        return release(state, retry)
    if state.deleted is None or state.deleted < call.at:
        return False
    place = state.place(call.identifier)
    if place is None:
        place = state.add_forgotten(call.identifier)
    if place in state.ledger.get(call.slot, {}) or state.ids[place].counts:
        return False
    state.ledger.setdefault(call.slot, {})[place] = Entry()
    return True
