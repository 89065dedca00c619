"""What is known of a profile, and the ledger: what each connection has acknowledged about it."""

from typing import Any

from msgspec import Raw, Struct
from msgspec.msgpack import Decoder, Encoder

from schemas.calls import Call, Identifier

FORMAT = 1  # of everything in a state directory; a reader refuses what is newer


class Entry(Struct, array_like=True, gc=False):
    """The ledger of one identifier and one slot (a key in one form)."""

    told: bytes | None = None  # digest of the acknowledged value; None: none, or it is not sure which
    count: int = 0  # acknowledged tellings
    exposed: bool = False  # was told, or may have been told, something that an exit takes back
    refused: bytes | None = None  # digest of the rejected or expired call, see `ledger.refusal` and `expiry`
    unanswered: tuple[bytes, float] | None = None  # the same of a call that failed without an outcome; when first
    excused: bytes | None = None  # digest of the value that a sync without resync keeps from a new identifier


class Waiting(Struct, array_like=True):
    """A `track` occurrence that is not yet acknowledged."""

    connection: str
    call: Call
    refused: bytes | None = None  # as in Entry: waits for its input or the settings to change
    since: float = 0.0  # when it first failed without an outcome: seconds since 1970


# A slot: the form and the key, e.g. ("identify", "big_spenders").
Slot = tuple[str, str]
Slots = dict[Slot, dict[Identifier, Entry]]


class ProfileState(Struct, array_like=True, gc=False):
    """One profile. Times are microseconds since 1970, UTC."""

    ids: dict[Identifier, tuple[int, int]] = {}  # first and latest time it was mentioned
    traits: dict[str, tuple[int, Any]] = {}  # plain traits: since when, value
    values: dict[str, tuple[int, Any]] = {}  # computations by key: since when, value
    ledger: dict[str, Slots] = {}  # by connection
    waiting: list[Waiting] = []
    deleted: int | None = None  # time of the latest deletion; older facts are gone for good


_encode = Encoder().encode
decode_profile = Decoder(ProfileState).decode


def encode_profile(state: ProfileState) -> bytes:
    """The same facts give the same bytes, in whatever order they came."""
    if len(state.ids) > 1:
        state.ids = dict(sorted(state.ids.items()))
    if len(state.traits) > 1:
        state.traits = dict(sorted(state.traits.items()))
    if len(state.values) > 1:
        state.values = dict(sorted(state.values.items()))
    return _encode(state)


class ShardState(Struct):
    """All profiles whose id falls into one shard. A deleted profile is kept by the hash of its id."""

    profiles: dict[str, Raw]  # packed ProfileState
    held: list[str] = []  # profiles with changes that wait for a list's next flush
