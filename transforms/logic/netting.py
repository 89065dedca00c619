"""Netting: a call that tells the vendor what it has already is not sent; and what a cancel takes back.

told: nothing        enter ─ waits ─┐
                                    └ leave: replaces it, holds false ─► neither of both is sent
"""

from schemas.calls import NOBODY, Call
from schemas.canonical import digest
from schemas.receipts import Receipt

LANDING = 300.0  # seconds that a request may still land after it was given up
# State-like: an occurrence is told each time, and a deletion once more too.
_VALUES = ("identify", "group", "member", "add", "remove")


def known(call: Call, replaced: Receipt | None, before: bytes | None) -> bytes | None:
    """Digest of the value that the vendor has ahead of a call; None: not known.

    `replaced`: the end of the call that it replaces: the log's receipt, or the one that is written now, where it
    waits or was never sent and is superseded for this one. While it is in flight, or where it has neither: None.
    `before`: what was `known` ahead of the replaced one, by the same process; else what this call `holds`.
    """
    if not call.replaces or call.before is None:  # None: not even the fold knows
        return call.before
    if replaced is None or replaced.maybe or replaced.unsure_until:
        return None
    if replaced.fate == "delivered":
        return replaced.value
    return before if replaced.fate in ("rejected", "superseded") else None


def needless(call: Call, has: bytes | None) -> bool:
    """Whether a call is superseded, for the vendor has its value. What replaces nothing was asked on purpose."""
    return has is not None and call.replaces > 0 and call.kind in _VALUES and digest(call.value) == has


def opens_nothing(call: Call, entry: Receipt | None) -> bool:
    """Whether a `track` exit is superseded: the entry that it `opens` has this end, and was surely not told."""
    if call.kind != "track" or not call.opens or entry is None or entry.ask != call.opens:
        return False
    return entry.fate != "delivered" and not entry.maybe


def takes_back(cancel: Call, call: Call) -> bool:
    """Whether a call is in the scope of a cancel: it is superseded if it was not sent, and else not tried again."""
    return (
        call.kind != "cancel"
        and call.profile_id == cancel.profile_id
        and call.ask < cancel.ask
        and cancel.identifier in (NOBODY, call.identifier)
        and cancel.slot in (0, call.slot)
    )


def may_land_until(gave_up: float) -> float:
    """Until when a request that was given up at that time may land; both in seconds since 1970."""
    return gave_up + LANDING
