"""The ledger: what a receipt means for what a connection has been told."""

from collections.abc import Iterable
from hashlib import blake2b
from math import ceil
from typing import Any, NamedTuple

from msgspec.msgpack import encode

from schemas.calls import Call
from schemas.canonical import digest
from schemas.receipts import Receipt
from schemas.state import Entry, Kept, Occurrence, ProfileState, Rest
from transforms.logic.plan import Plan

LATE = 3_600.0  # seconds that a receipt may come behind one of something newer
MOST_WAITING = 100  # occurrences of one slot that wait for a required key: the newest are kept
_BOOLEANS: dict[bytes, Kept] = {b"true": True, b"false": False}
_DIGESTS: dict[Kept, bytes] = {True: b"true", False: b"false"}


def kept(value: Any) -> Kept:
    """A value as the ledger keeps it."""
    return value if value is True or value is False else digest(value)


def kept_digest(of: bytes) -> Kept:
    """A value as the ledger keeps it, from its digest."""
    return _BOOLEANS.get(of, of)


def digest_kept(of: Kept) -> bytes:
    """The digest of a value that the ledger keeps."""
    return _DIGESTS[of] if isinstance(of, bool) else of


def refusal(call: Call, settings: bytes) -> bytes:
    """What a rejection depends on: the call is asked again when this changes.

    `settings`: digest of the settings that matter for its sync, see `plan.settings_digest`.
    """
    traits = [(name, digest(value)) for name, value in sorted(call.traits.items())]
    facts = encode((call.kind, call.identifier, call.key, digest(call.value), traits, settings))
    return blake2b(facts, digest_size=16).digest()


def expiry(call: Call, settings: bytes) -> bytes:
    """What an expiry depends on: the same, and the time of the value. So an event with a later time asks again."""
    return blake2b(encode((refusal(call, settings), call.at)), digest_size=16).digest()


def stays(refused: bytes | None, call: Call, settings: bytes) -> bool:
    """Whether a call is one that was rejected or that expired, and nothing has changed since."""
    return refused is not None and refused in (refusal(call, settings), expiry(call, settings))


class Retry(NamedTuple):
    """A rejected or expired call that is to be tried again."""

    call: Call
    refused: bytes  # its `refusal` or `expiry`


def settle(state: ProfileState, receipt: Receipt, plan: Plan) -> bool:
    """Write a receipt into the ledger of its profile. It is believed by its content.

    False: a waiting occurrence was dropped, since too many wait.
    """
    if receipt.kind == "delete":
        _settle_deletion(state, receipt, plan)
        return True
    if receipt.kind == "cancel":
        return True
    if receipt.ask <= state.cut:  # of somebody who was deleted; what is told of them since may lie under it
        _may_land(state, receipt, plan)
        return True
    entry = _entry(state, receipt)
    if entry is None:
        return True
    newest = entry.open is not None and entry.open.ask == receipt.ask
    rest = entry.rest or Rest()
    value = kept_digest(receipt.value)
    if not newest and receipt.at < rest.last:
        _late(entry, rest, receipt)
    elif receipt.fate == "delivered":
        entry.told, entry.exposed, rest.refused = value, value is not False, None
        # An older value, or the deletion, may still land behind this one; an occurrence stays true beside older ones.
        stray: float = state.stray.get(plan.connection_of(receipt.slot), 0) if state.stray else 0
        stray = stray if receipt.kind == "track" else max(rest.stray, stray)
        state.stray = {number: until for number, until in state.stray.items() if until > receipt.at}
        if stray > receipt.at:
            entry.told, entry.exposed, rest.stray, rest.said = None, True, stray, value
    else:
        if receipt.refused or receipt.maybe:  # what may have landed ends an older refusal
            rest.refused = receipt.refused or None
        if receipt.maybe:  # untold for equality, told for exits
            entry.told, entry.exposed, rest.said = None, True, None
    if receipt.fate == "delivered" or receipt.maybe:
        others = not newest or (entry.open and entry.open.behind) or receipt.at < rest.last + LATE
        rest.last = max(rest.last, receipt.at) if others else 0.0
    if newest:
        entry.open = None
    if rest.stray <= receipt.at:
        rest.stray = 0.0
    if receipt.kind != "track":  # an occurrence that lands late says what happened all the same
        rest.stray = max(rest.stray, receipt.unsure_until)
    if not rest.stray:
        rest.said = None
    entry.rest = rest if rest != Rest() else None
    if receipt.call is None or not _requires(plan, receipt.slot):  # nothing that may come would change the answer
        return True
    place = state.place(receipt.identifier)
    return place is None or wait(state, Occurrence(receipt.slot, place, receipt.call.value, receipt.call.at))


def _late(entry: Entry, rest: Rest, receipt: Receipt) -> None:
    """A receipt of what became so before the last one, since an engine may change their order: it changes nothing.

    But where an attempt of it may still land, what was told since is not sure.
    """
    if receipt.kind != "track" and receipt.unsure_until > rest.last and entry.told is not None:
        rest.said, entry.told, entry.exposed = entry.told, None, True


def _requires(plan: Plan, slot: int) -> bool:
    """Whether the slot's vendor declares keys that it requires."""
    return any(connection.required for connection in plan.connections if slot in connection.slots)


def _entry(state: ProfileState, receipt: Receipt) -> Entry | None:
    place = state.place(receipt.identifier)
    if place is None:
        if receipt.fate != "delivered" and not receipt.maybe:
            return None
        # Told under an identifier that this state, put back from a backup, does not know.
        place = state.add_forgotten(receipt.identifier)
    return state.ledger.setdefault(receipt.slot, {}).setdefault(place, Entry())


def wait(state: ProfileState, occurrence: Occurrence) -> bool:
    """An occurrence waits for a required key, as one of the newest of its slot. False: an older one was dropped."""
    state.waiting.append(occurrence)
    mine = [each for each in state.waiting if each.slot == occurrence.slot]
    if len(mine) <= MOST_WAITING:
        return True
    state.waiting.remove(mine[0])
    return False


def _settle_deletion(state: ProfileState, receipt: Receipt, plan: Plan) -> None:
    """A deletion is owed until it has an outcome; one that failed for good is left to its dead letter and `replay`."""
    entries = state.ledger.get(receipt.slot, {})
    place = state.place(receipt.identifier)
    entry = entries.get(place) if place is not None else None
    if place is None or entry is None or entry.open is None or entry.open.ask != receipt.ask:
        return
    _may_land(state, receipt, plan)
    if receipt.fate == "superseded":  # by a newer workspace: it is asked again
        entry.open = None
        return
    del entries[place]
    if not entries:
        del state.ledger[receipt.slot]
    drop_unused(state)


def _may_land(state: ProfileState, receipt: Receipt, plan: Plan) -> None:
    """Note until when a request of it may land over what is told since the deletion."""
    number = plan.connection_of(receipt.slot)
    if receipt.unsure_until and number >= 0:
        state.stray[number] = max(state.stray.get(number, 0), ceil(receipt.unsure_until))


def doubt(state: ProfileState, slots: Iterable[int]) -> None:
    """What was told in these slots may be gone at the vendor: it is told once more, and exits too."""
    for slot in slots:
        for entry in state.ledger.get(slot, {}).values():
            if entry.told is not None:
                entry.told, entry.exposed = None, True


def release(state: ProfileState, retry: Retry) -> bool:
    """Forget that a call was rejected or expired: it goes again, if it is still wanted.

    It is known by its digest alone, so a masked dead letter will do. False where the ledger knows of something newer.
    Of a `track` call the current value is told, not an old one behind newer ones.
    """
    released = False
    for entry in state.ledger.get(retry.call.slot, {}).values():
        if entry.rest and entry.rest.refused == retry.refused:
            entry.rest.refused, released = None, True
            if entry.rest == Rest():
                entry.rest = None
    return released


def drop_unused(state: ProfileState) -> None:
    """Forget identifiers that are not the profile's and of which the ledger says nothing."""
    used = {place for entries in state.ledger.values() for place in entries} | {w.place for w in state.waiting}
    kept_places = [n for n, known in enumerate(state.ids) if known.latest >= 0 or n in used]
    if len(kept_places) == len(state.ids):
        return
    moved = {old: new for new, old in enumerate(kept_places)}
    state.ids = [state.ids[n] for n in kept_places]
    state.ledger = {
        slot: {moved[place]: entry for place, entry in entries.items()} for slot, entries in state.ledger.items()
    }
    for each in state.waiting:
        each.place = moved[each.place]


__all__ = [
    "MOST_WAITING", "Retry", "digest_kept", "doubt", "drop_unused", "expiry", "kept", "kept_digest", "refusal",
    "release", "settle", "stays", "wait",
]  # fmt: skip
