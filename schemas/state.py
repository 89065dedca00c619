"""What is known of a profile, and the ledger: what each connection was asked and told about it."""

from typing import Any

from msgspec import Struct, field
from msgspec.msgpack import Decoder, Encoder

from schemas.calls import Identifier

FORMAT = 3  # of everything in a state directory; a reader refuses what is newer

# A value as the ledger keeps it: true, false, or its digest (`schemas.canonical`).
Kept = bytes | bool


class Known(Struct, array_like=True, gc=False):
    """An identifier of the profile. It keeps its place in `ProfileState.ids` while the ledger speaks of it."""

    type: str
    id: str
    first: int  # time it was first mentioned
    latest: int
    removed: int = -1  # time it was last taken away; it counts while `latest` is later

    @property
    def identifier(self) -> Identifier:
        return Identifier(self.type, self.id)

    @property
    def counts(self) -> bool:
        """Whether it is an identifier of the profile now."""
        return self.latest > self.removed


class Open(Struct, array_like=True, gc=False):
    """The newest ask, while it has no receipt."""

    ask: int
    asked: Kept | None  # its value; None: taken back by a cancel
    leaves: int = 0  # 1: it says that the person left; 2: and nothing else is wanted, so it is not taken back
    backfill: bool = False
    traits: bytes = b""  # digest of those that travel with it


class Rest(Struct, array_like=True, gc=False):
    """What only few entries of the ledger have."""

    refused: bytes | None = None  # digest of the rejected or expired call, see `ledger.refusal` and `expiry`
    excused: Kept | None = None  # the value that a sync without resync keeps from a new identifier
    stray: float = 0.0  # until then an attempt without an answer may land; seconds since 1970
    said: Kept | None = None  # the value that was acknowledged while one might; it is asked again after `stray`


class Entry(Struct, array_like=True, gc=False):
    """The ledger of one identifier and one slot."""

    told: Kept | None = None  # the acknowledged value; None: none, or it is not sure which
    exposed: bool = False  # was told, or may have been told, something that an exit takes back
    open: Open | None = None
    rest: Rest | None = None


class Occurrence(Struct, array_like=True, gc=False):
    """A `track` occurrence that waits for a key that its vendor requires."""

    slot: int
    place: int  # of the identifier in `ids`
    value: Any
    at: int


Entries = dict[int, Entry]  # by the identifier's place in `ids`


class ProfileState(Struct, array_like=True, gc=False):
    """One profile. Times are microseconds since 1970, UTC."""

    ids: list[Known] = field(default_factory=list)
    traits: dict[str, tuple[int, Any]] = {}  # plain traits: since when, value
    values: dict[int, tuple[int, Any]] = {}  # computations by number: since when, value
    ledger: dict[int, Entries] = {}  # by slot
    waiting: list[Occurrence] = []  # oldest first
    deleted: int | None = None  # time of the latest deletion; older facts are gone for good
    cut: int = 0  # the ask of that deletion: receipts of earlier ones are not believed
    stray: dict[int, int] = {}  # by connection: until then an attempt from before it may land; seconds since 1970

    def place(self, identifier: Identifier) -> int | None:
        """Where an identifier is in `ids`."""
        for place, known in enumerate(self.ids):
            if known.id == identifier.id and known.type == identifier.type:
                return place
        return None

    def add_forgotten(self, identifier: Identifier) -> int:
        """A place for an identifier that is not the profile's, for the ledger to speak of."""
        self.ids.append(Known(*identifier, -1, -1))
        return len(self.ids) - 1

    @property
    def gone(self) -> bool:
        """Deleted, and nothing is left to say."""
        return self.deleted is not None and not (self.ids or self.traits or self.values or self.ledger)


_encode = Encoder().encode
decode_profile = Decoder(ProfileState).decode


def encode_profile(state: ProfileState) -> bytes:
    """The same facts give the same bytes but for the order of identifiers, in whatever order they came."""
    if len(state.traits) > 1:
        state.traits = dict(sorted(state.traits.items()))
    if len(state.values) > 1:
        state.values = dict(sorted(state.values.items()))
    return _encode(state)
