"""A receipt: the final outcome of a call, complete enough to be believed without the call."""

from typing import Any, Literal

from msgspec import Struct

from schemas.calls import Call, Identifier, Kind
from schemas.canonical import digest

Fate = Literal["delivered", "rejected", "expired", "superseded"]


class Receipt(Struct, frozen=True, array_like=True, gc=False):
    """What became of one call."""

    profile_id: str
    kind: Kind
    identifier: Identifier
    slot: int
    ask: int
    epoch: int
    value: bytes  # digest of the call's
    fate: Fate
    at: float  # when, seconds since 1970
    reason: str = ""  # of a rejection: `schemas.outcomes.Reason`
    maybe: bool = False  # an attempt of it, or of a call that it took the place of, may have landed or may land yet
    unsure_until: float = 0.0  # until then such an attempt may land, behind newer ones; seconds since 1970, 0: none
    refused: bytes = b""  # of a rejected or expired call: `transforms.logic.ledger.refusal` or `expiry`
    call: Call | None = None  # of a `track` call that lacks a required key: it waits for it


def receipt_of(call: Call, fate: Fate, at: float, /, **more: Any) -> Receipt:
    """The receipt of a call; `more` are further fields."""
    value = digest(call.value)
    return Receipt(
        call.profile_id, call.kind, call.identifier, call.slot, call.ask, call.epoch, value, fate, at, **more
    )
