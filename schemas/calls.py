"""A call: one vendor-neutral output for one identifier; what a connection's log holds."""

from hashlib import blake2b
from typing import Any, Literal, NamedTuple

from msgspec import Struct
from msgspec.msgpack import Encoder

from schemas.canonical import digest

Kind = Literal["identify", "track", "group", "member", "add", "remove", "delete", "cancel"]


class Identifier(NamedTuple):
    """An external id: its type (`email`) and its value."""

    type: str
    id: str


NOBODY = Identifier("", "")  # in a `cancel`: every identifier of the profile


class Call(Struct, frozen=True, array_like=True, gc=False):
    """Tell one connection one thing about one identifier.

    `identify` sets `key` to `value`, `group` does so for an account (`profile_id` is its key, see
    `schemas.state.account_key`, and `identifier` its id); `member` says of a person to which accounts it belongs
    (`value` by account: True, or False where it does no more); `track` reports that it changed; `add` and `remove`
    change a list's members (`value` is True, False); `delete` asks the vendor to forget the identifier
    (`key` is empty). `cancel` is never sent: it takes back what was asked before it and is not sent
    yet, of this profile, identifier (`NOBODY`: all) and slot (0: all).
    """

    profile_id: str
    kind: Kind
    identifier: Identifier
    key: str  # by which the vendor knows it: the computation's key, or the sync's `send_as`
    value: Any
    at: int  # since when: the latest event that says so, microseconds since 1970, UTC
    ask: int  # its number, unique in the log of its connection; a later call has a greater one
    slot: int = 0  # what it changes: the number of (connection, tenant, sync, form, key), see `schemas.registry`
    epoch: int = 0  # of its sync; a sender sends only calls of the epoch that its workspace is in
    computation: str = ""  # its key; "" in `delete` and `cancel`
    sync: str = ""  # its name
    replaces: int = 0  # the ask of this slot and identifier that had no outcome when this one was made; 0: none
    before: bytes | None = (
        None  # digest of what the vendor has if neither this nor what it replaces lands; None: unknown
    )
    opens: int = 0  # of a `track` exit: the ask of the entry that it closes; 0: an entry that was delivered
    traits: dict[str, Any] = {}  # enrichment, attached identifiers, and the profile's values for required keys
    not_before: float = 0.0  # seconds since 1970
    backfill: bool = False  # asked because the workspace changed, not because something happened: goes after what did


_encode = Encoder().encode


def message_id(connection: str, call: Call) -> str:
    """Stable over retries and runs, so that a vendor may drop repeats; a repeated ask is another message."""
    what = (call.kind, call.identifier, call.key, digest(call.value), call.at, call.ask)
    return blake2b(_encode((connection, call.profile_id, what)), digest_size=16).hexdigest()
