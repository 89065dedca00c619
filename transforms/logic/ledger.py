"""The ledger: what an outcome means for what a connection has been told."""

from enum import IntEnum
from hashlib import blake2b

from msgspec.msgpack import encode

from schemas.calls import Call
from schemas.canonical import digest
from schemas.state import Entry, ProfileState, Slot


class Fate(IntEnum):
    """What the journal of an outbox says of one call."""

    PENDING = 0  # never sent
    MAYBE = 1  # sent; no answer, or it expired
    DELIVERED = 2
    REJECTED = 3
    REJECTED_FOR_NOW = 4  # for a key that was missing: a `track` occurrence waits for it
    EXPIRED = 5


def refusal(call: Call, settings: bytes) -> bytes:
    """What a rejection depends on: it is tried again when this changes."""
    facts = encode((call.kind, call.identifier, call.key, call.value, sorted(call.traits.items()), settings))
    return blake2b(facts, digest_size=16).digest()


def slot_of(call: Call) -> Slot:
    """The slot of the ledger that a call is about."""
    return ("list" if call.kind in ("add", "remove") else call.kind, call.key)


def settle(state: ProfileState, connection: str, call: Call, fate: Fate, settings: bytes) -> None:
    """Write the fate of one call of the previous outbox into the ledger of its profile."""
    if call.kind == "delete":
        _settle_deletion(state, connection, call, fate)
        return
    if call.kind == "track":
        _settle_waiting(state, connection, call, fate, settings)
    if fate == Fate.PENDING:
        return
    slots = state.ledger.setdefault(connection, {})
    entry = slots.setdefault(slot_of(call), {}).setdefault(call.identifier, Entry())
    if fate == Fate.DELIVERED:
        entry.told = digest(call.value)
        entry.count += 1
        entry.exposed = call.value is not False
        entry.refused = None
    elif fate in (Fate.REJECTED, Fate.REJECTED_FOR_NOW):
        entry.refused = refusal(call, settings)
    else:  # it may have arrived: untold for equality, told for exits
        entry.told = None
        entry.exposed = True


def _settle_waiting(state: ProfileState, connection: str, call: Call, fate: Fate, settings: bytes) -> None:
    mine = [w for w in state.waiting if w.connection == connection and same_occurrence(w.call, call)]
    if fate in (Fate.DELIVERED, Fate.REJECTED, Fate.EXPIRED):
        state.waiting = [w for w in state.waiting if w not in mine]
    elif fate == Fate.REJECTED_FOR_NOW:
        for waiting in mine:
            waiting.refused = refusal(call, settings)


def same_occurrence(one: Call, other: Call) -> bool:
    """Both report the same change to the same identifier."""
    return (one.identifier, one.key, one.at, one.told) == (other.identifier, other.key, other.at, other.told)


def _settle_deletion(state: ProfileState, connection: str, call: Call, fate: Fate) -> None:
    if fate in (Fate.DELIVERED, Fate.REJECTED, Fate.EXPIRED):
        slots = state.ledger[connection]
        owed = slots.get(("delete", ""), {})
        owed.pop(call.identifier, None)
        if not owed:
            slots.pop(("delete", ""), None)
        if not slots:
            del state.ledger[connection]
