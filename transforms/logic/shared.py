"""Identifiers that two people share: the one who leaves a list does not take the other one off it."""

from collections.abc import Callable, Collection, Iterable, Mapping

from schemas.calls import Call, Identifier
from schemas.receipts import Receipt, receipt_of
from schemas.state import ProfileState

Persons = Callable[[Collection[Identifier]], Mapping[Identifier, Iterable[str]]]  # profiles that may have each of them
StateOf = Callable[[str], ProfileState | None]


def nobody(_: Collection[Identifier]) -> Mapping[Identifier, Iterable[str]]:
    """For a job that does not know who has an identifier."""
    return {}


def shared(calls: Iterable[Call], persons: Mapping[Identifier, Iterable[str]], state_of: StateOf) -> list[Call]:
    """Of these calls, removals of an identifier by which somebody else is on the list, or is to be."""
    return [
        call
        for call in calls
        if call.kind == "remove"
        and any(
            name != call.profile_id and _is_in(state_of(name), call.identifier, call.slot)
            for name in persons.get(call.identifier, ())
        )
    ]


def _is_in(state: ProfileState | None, identifier: Identifier, slot: int) -> bool:
    place = state.place(identifier) if state else None
    entry = state.ledger.get(slot, {}).get(place) if state and place is not None else None
    if entry is None:
        return False
    return (entry.open.asked if entry.open else entry.told) is True


def needless(calls: Iterable[Call], now: int) -> dict[str, list[Receipt]]:
    """Receipts by profile for removals that are not asked: nothing is left to do. `now`: microseconds since 1970."""
    found: dict[str, list[Receipt]] = {}
    for call in calls:
        found.setdefault(call.profile_id, []).append(receipt_of(call, "delivered", now / 1_000_000))
    return found
