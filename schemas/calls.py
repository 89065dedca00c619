"""A call: one vendor-neutral output for one identifier; what an outbox holds."""

from hashlib import blake2b
from typing import Any, Literal, NamedTuple

from msgspec import Struct
from msgspec.msgpack import Encoder

from schemas.canonical import digest

Kind = Literal["identify", "track", "add", "remove", "delete"]


class Identifier(NamedTuple):
    """An external id: its type (`email`) and its value."""

    type: str
    id: str


class Call(Struct, frozen=True, array_like=True, gc=False):
    """Tell one connection one thing about one identifier.

    `identify` sets `key` to `value`; `track` reports that it changed; `add` and `remove` change a
    list's members (`value` is True, False); `delete` asks the vendor to forget the identifier
    (`key` is empty).
    """

    profile_id: str
    kind: Kind
    identifier: Identifier
    key: str  # of the computation
    value: Any
    at: int  # since when: the latest event that says so, microseconds since 1970, UTC
    told: int = 0  # how often this identifier was told this key before; part of the message id
    traits: dict[str, Any] = {}  # enrichment and the profile's values for required keys
    since: float = 0.0  # seconds since 1970: when it first failed without an outcome, in an earlier run


_encode = Encoder().encode


def message_id(connection: str, call: Call) -> str:
    """Stable over retries and runs, so that a vendor may drop repeats."""
    what = (call.kind, call.identifier, call.key, digest(call.value), call.at, call.told)
    return blake2b(_encode((connection, call.profile_id, what)), digest_size=16).hexdigest()
