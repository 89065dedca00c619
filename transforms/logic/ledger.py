"""The ledger: what an outcome means for what a connection has been told."""

from enum import IntEnum
from hashlib import blake2b
from typing import NamedTuple

from msgspec.msgpack import encode
from msgspec.structs import replace

from schemas.calls import Call, Identifier
from schemas.canonical import digest
from schemas.state import Entry, ProfileState, Slot, Waiting


class Fate(IntEnum):
    """What the journal of an outbox says of one call."""

    PENDING = 0  # never sent
    MAYBE = 1  # sent; no answer yet
    DELIVERED = 2
    REJECTED = 3
    REJECTED_FOR_NOW = 4  # for a key that was missing: a `track` occurrence waits for it
    EXPIRED = 5  # tried for hours; no request of it reached the vendor
    REJECTED_MAYBE = 6  # an earlier attempt at it had no answer, and may have arrived
    EXPIRED_MAYBE = 7  # tried for hours; no answer


REJECTIONS = (Fate.REJECTED, Fate.REJECTED_FOR_NOW, Fate.REJECTED_MAYBE)
EXPIRIES = (Fate.EXPIRED, Fate.EXPIRED_MAYBE)


def refusal(call: Call, settings: bytes) -> bytes:
    """What a rejection depends on: it is tried again when this changes."""
    traits = [(name, digest(value)) for name, value in sorted(call.traits.items())]
    facts = encode((call.kind, call.identifier, call.key, digest(call.value), traits, settings))
    return blake2b(facts, digest_size=16).digest()


def expiry(call: Call, settings: bytes) -> bytes:
    """What an expiry depends on: the same, and the time of the value. Who says it again is heard again."""
    return blake2b(encode((refusal(call, settings), call.at)), digest_size=16).digest()


def stays(refused: bytes | None, call: Call, settings: bytes) -> bool:
    """Whether a call is one that was rejected or that expired, and nothing has changed since."""
    return refused is not None and refused in (refusal(call, settings), expiry(call, settings))


def slot_of(call: Call) -> Slot:
    """The slot of the ledger that a call is about."""
    return ("list" if call.kind in ("add", "remove") else call.kind, call.key)


def settle(
    state: ProfileState, connection: str, call: Call, fate: Fate, settings: bytes, tried_at: float = 0.0
) -> None:
    """Write the fate of one call of the previous outbox into the ledger of its profile.

    `tried_at`: of a call that failed without an outcome, when that run first tried it (seconds since 1970).
    """
    since = call.since or tried_at
    if call.kind == "delete":
        _settle_deletion(state, connection, call, fate, settings, since)
        return
    if call.kind == "track":
        _settle_waiting(state, connection, call, fate, settings, since)
    if fate == Fate.PENDING and not tried_at:
        return
    slots = state.ledger.setdefault(connection, {})
    entry = slots.setdefault(slot_of(call), {}).setdefault(call.identifier, Entry())
    entry.unanswered = (refusal(call, settings), since) if fate in (Fate.PENDING, Fate.MAYBE) else None
    if fate == Fate.DELIVERED:
        entry.told = digest(call.value)
        entry.count += 1
        entry.exposed = call.value is not False
        entry.refused = None
    elif fate in REJECTIONS:
        entry.refused = refusal(call, settings)
    elif fate in EXPIRIES:
        entry.refused = expiry(call, settings)
    if fate in (Fate.MAYBE, Fate.REJECTED_MAYBE, Fate.EXPIRED_MAYBE):  # untold for equality, told for exits
        entry.told = None
        entry.exposed = True
    if fate == Fate.MAYBE:  # what was refused before is not the last word any more
        entry.refused = None


def resumed(call: Call, entry: Entry, settings: bytes) -> Call:
    """The call; with the time where this same one failed before without an outcome."""
    if entry.unanswered is None or entry.unanswered[0] != refusal(call, settings):
        return call
    return replace(call, since=entry.unanswered[1])


class Retry(NamedTuple):
    """A rejected or expired call that is to be tried again; `refused` is its `refusal` or `expiry`."""

    profile_id: str
    connection: str
    slot: Slot
    refused: bytes


def release(state: ProfileState, retry: Retry) -> bool:
    """Forget that a call was rejected or expired: it goes again, if it is still wanted.

    Nothing happens, and False is returned, where the ledger knows of something newer. Of a `track`
    call the occurrence is gone, and an old one would land behind newer ones: the current value is
    told, unless a newer occurrence waits.
    """
    released = False
    for waiting in state.waiting:
        if waiting.connection == retry.connection and waiting.refused == retry.refused:
            waiting.refused, released = None, True
    for identifier, entry in state.ledger.get(retry.connection, {}).get(retry.slot, {}).items():
        if entry.refused == retry.refused:
            entry.refused, released = None, True
            if retry.slot[0] == "track":
                _wait_again(state, retry, identifier, entry)
    return released


def _wait_again(state: ProfileState, retry: Retry, identifier: Identifier, entry: Entry) -> None:
    key = retry.slot[1]
    fact = state.values.get(key)
    waits = any(
        w.connection == retry.connection and (w.call.identifier, w.call.key) == (identifier, key) for w in state.waiting
    )
    if waits or fact is None or (fact[1] is False and not entry.exposed):
        return
    call = Call(retry.profile_id, "track", identifier, key, fact[1], fact[0], entry.count)
    state.waiting.append(Waiting(retry.connection, call))


def _settle_waiting(
    state: ProfileState, connection: str, call: Call, fate: Fate, settings: bytes, since: float
) -> None:
    mine = [w for w in state.waiting if w.connection == connection and same_occurrence(w.call, call)]
    if fate in (Fate.DELIVERED, Fate.REJECTED, Fate.REJECTED_MAYBE, *EXPIRIES):
        state.waiting = [w for w in state.waiting if w not in mine]
    elif fate == Fate.REJECTED_FOR_NOW:
        for waiting in mine:
            waiting.refused = refusal(call, settings)
    elif since:
        for waiting in mine:
            waiting.since = since


def same_occurrence(one: Call, other: Call) -> bool:
    """Both report the same change to the same identifier."""
    return (one.identifier, one.key, one.at, one.told) == (other.identifier, other.key, other.at, other.told)


def _settle_deletion(
    state: ProfileState, connection: str, call: Call, fate: Fate, settings: bytes, since: float
) -> None:
    """A deletion stays owed until the vendor acknowledges it."""
    slots = state.ledger.get(connection, {})
    owed = slots.get(("delete", ""), {})
    entry = owed.get(call.identifier)
    if entry is None:
        return
    if fate in REJECTIONS:
        entry.refused = refusal(call, settings)
    elif fate in EXPIRIES:
        entry.refused = expiry(call, settings)
    elif fate == Fate.DELIVERED:
        del owed[call.identifier]
        if not owed:
            slots.pop(("delete", ""), None)
        if not slots:
            del state.ledger[connection]
    elif since:
        entry.unanswered = (refusal(call, settings), since)
