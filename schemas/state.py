"""What is known of a profile, and the ledger: what each connection has acknowledged about it."""

from typing import Any

from msgspec import Raw, Struct

from schemas.calls import Call, Identifier

FORMAT = 1  # of everything in a state directory; a reader refuses what is newer


class Entry(Struct, array_like=True, gc=False):
    """The ledger of one identifier and one slot (a key in one form)."""

    told: bytes | None = None  # digest of the acknowledged value; None: none, or it is not sure which
    count: int = 0  # acknowledged tellings
    exposed: bool = False  # was told, or may have been told, something that an exit takes back
    refused: bytes | None = None  # digest of the rejected call and the connection's settings


class Waiting(Struct, array_like=True):
    """A `track` occurrence that is not yet acknowledged."""

    connection: str
    call: Call
    refused: bytes | None = None  # as in Entry: waits for its input or the settings to change


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


class ShardState(Struct):
    """All profiles whose id falls into one shard. A deleted profile is kept by the hash of its id."""

    profiles: dict[str, Raw]  # packed ProfileState
    held: list[str] = []  # profiles with changes that wait for a list's next flush
