"""Identifiers that two people share: the one who leaves a list does not take the other one off it."""

from collections.abc import Callable, Collection, Iterable, Mapping

from schemas.calls import Call, Identifier
from schemas.receipts import Receipt, receipt_of
from schemas.state import Entry, ProfileState
from transforms.logic.alike import alike

Persons = Callable[[Collection[Identifier]], Mapping[Identifier, Iterable[str]]]  # profiles that may have each of them
StateOf = Callable[[str], ProfileState | None]


def nobody(_: Collection[Identifier]) -> Mapping[Identifier, Iterable[str]]:
    """For a job that does not know who has an identifier."""
    return {}


def shared(
    calls: Iterable[Call], persons: Mapping[Identifier, Iterable[str]], state_of: StateOf
) -> dict[int, dict[str, Entry]]:
    """Removals among these calls of an identifier by which others are on the list, or are to be.

    By ask: who they are, and by which entry. A removal may be called off: then the list has these others by a call
    that was not theirs.
    """
    found = {}
    for call in calls:
        if call.kind == "remove":
            others = (name for name in persons.get(call.identifier, ()) if name != call.profile_id)
            entries = {name: entry for name in others if (entry := _entry_of(state_of(name), call))}
            if entries:
                found[call.ask] = entries
    return found


def _entry_of(state: ProfileState | None, call: Call) -> Entry | None:
    """The entry by which a profile is on the list of a removal, or is to be, however its identifier is spelled."""
    if state is None:
        return None
    its = alike(call.identifier)
    for place, entry in state.ledger.get(call.slot, {}).items():
        if (entry.open.asked if entry.open else entry.told) is True and alike(state.ids[place].identifier) == its:
            return entry
    return None


def needless(calls: Iterable[Call], now: int) -> dict[str, list[Receipt]]:
    """Receipts by profile for removals that are not asked: nothing is left to do. `now`: microseconds since 1970."""
    found: dict[str, list[Receipt]] = {}
    for call in calls:
        found.setdefault(call.profile_id, []).append(receipt_of(call, "delivered", now / 1_000_000))
    return found
