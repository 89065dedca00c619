"""What is known of a profile or an account, and the ledger: what each connection was asked and told about it."""

from typing import Any

from msgspec import Struct, field
from msgspec.msgpack import Decoder, Encoder

from schemas.calls import Identifier

# Of packed states, and of everything in a state directory; a reader refuses what is newer. It grows when the meaning of
# something changes: `docs/decisions/0017-formats.md`.
FORMAT = 5
OLDEST = 4  # that is read

ASKS_KEPT = 8  # folds of a profile whose calls `why` finds

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
    behind: bool = False  # another one had no receipt yet when this was asked


class Rest(Struct, array_like=True, gc=False):
    """What only few entries of the ledger have."""

    refused: bytes | None = None  # digest of the rejected or expired call, see `ledger.refusal` and `expiry`
    excused: Kept | None = None  # the value that a sync without resync keeps from a new identifier
    stray: float = 0.0  # until then an attempt without an answer may land; seconds since 1970
    said: Kept | None = None  # the value that was acknowledged while one might; it is asked again after `stray`
    last: float = 0.0  # when it became so what the latest receipt says, where receipts may come in another order


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


class Membership(Struct, array_like=True, gc=False):
    """What a profile knows of an account that it is in, or was in."""

    at: int  # since when
    member: bool
    values: dict[int, tuple[int, Any]] = {}  # the account's computations by number: since when, value

    @property
    def fact(self) -> tuple[int, bool]:
        return self.at, self.member


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
    asked: list[tuple[int, int]] = []  # of the latest folds that asked anything: the first ask, and how many (`why`)
    accounts: dict[str, Membership] = {}  # by account

    def place(self, identifier: Identifier) -> int | None:
        """Where an identifier is in `ids`."""
        for place, known in enumerate(self.ids):
            if known.id == identifier.id and known.type == identifier.type:
                return place
        return None

    def remember_asks(self, first: int, last: int) -> None:
        """Where the calls of a fold are found in the logs: the asks of one profile and fold follow each other."""
        self.asked = [*self.asked[1 - ASKS_KEPT :], (first, last - first + 1)]

    def add_forgotten(self, identifier: Identifier) -> int:
        """A place for an identifier that is not the profile's, for the ledger to speak of."""
        self.ids.append(Known(*identifier, -1, -1))
        return len(self.ids) - 1

    @property
    def gone(self) -> bool:
        """Deleted, and nothing is left to say."""
        return self.deleted is not None and not (self.ids or self.traits or self.values or self.ledger or self.accounts)

    @property
    def known_since(self) -> bool:
        """Whether anything is known, of somebody who was deleted: it came later."""
        return bool(self.traits or self.values or any(each.first >= 0 for each in self.ids))


class AccountState(Struct):
    """The head of an account: it is told of as a profile is, whose one identifier is the account's id."""

    known: ProfileState = field(default_factory=ProfileState)
    parts: int = 0  # bits: those of its parts that have anybody


class Part(Struct, array_like=True):
    """Some of an account's members."""

    members: dict[str, tuple[int, bool]] = field(default_factory=dict)  # by profile: since when, member or not
    values: dict[int, tuple[int, Any]] = {}  # what they were told of the account


# -- keys: a profile's is its id; no id begins as these do

_ACCOUNT = "\x00account:"


def account_key(account_id: str) -> str:
    """The key of an account's head; the subject of calls about it."""
    return _ACCOUNT + account_id


def account_of(key: str) -> str | None:
    """The account of a head's key; None: it is the key of something else."""
    return key.removeprefix(_ACCOUNT) if key.startswith(_ACCOUNT) else None


_PART = "\x00members:"


def part_key(account_id: str, part: int) -> str:
    return f"{_PART}{part:02}:{account_id}"


def of_account(key: str) -> bool:
    """Whether it is the key of an account's head, or of a part of its members."""
    return key.startswith((_ACCOUNT, _PART))


def takes_ticks(key: str) -> bool:
    """Whether it is the key of a profile or of an account's head: not of a part, nor of somebody who was deleted."""
    return key[:1] != "\x00" or key.startswith(_ACCOUNT)


# -- packed: a byte with the format, below 0x80, and the record in msgpack. Format 4 had no such byte: it begins with
# the first one of an array, which is greater.


class NewerState(Exception):
    """A newer version of profilecast packed it."""


class _Ids(Struct, array_like=True):
    """The head of a profile."""

    ids: list[Known] = []


_encode = Encoder().encode
_profile, _ids, _part = Decoder(ProfileState).decode, Decoder(_Ids).decode, Decoder(Part).decode
_FORMAT = bytes((FORMAT,))
_PARTS = 8  # bytes, in front of the format of an account's head
# The head of a msgpack array: 0x90, and how many follow.
_WITHOUT_LAST = bytes((FORMAT, 0x90 + len(ProfileState.__struct_fields__) - 1))


def _record(packed: bytes) -> bytes:
    """What follows the format. Raises NewerState."""
    form = packed[0]
    if form >= 0x80:
        return packed
    if form > FORMAT:
        raise NewerState(
            f"a newer version of profilecast wrote this state (format {form}; this one reads {OLDEST} to {FORMAT}): "
            "run that version, or a newer one"
        )
    return packed[1:]


def decode_profile(packed: bytes) -> ProfileState:
    """Raises NewerState, as the others do."""
    return _profile(_record(packed))


def decode_ids(packed: bytes) -> list[Known]:
    """`ids` of a profile; the rest of it is not read."""
    return _ids(_record(packed)).ids


def encode_profile(state: ProfileState) -> bytes:
    """The same facts give the same bytes but for the order of identifiers, in whatever order they came."""
    if len(state.traits) > 1:
        state.traits = dict(sorted(state.traits.items()))
    if len(state.values) > 1:
        state.values = dict(sorted(state.values.items()))
    if state.accounts:
        state.accounts = {name: _in_order(each) for name, each in sorted(state.accounts.items())}
        return _FORMAT + _encode(state)
    # The last field is left out while it is empty: who is in no account costs nothing for it.
    return _WITHOUT_LAST + _encode(state)[1:-1]


def _in_order(membership: Membership) -> Membership:
    membership.values = dict(sorted(membership.values.items()))
    return membership


def decode_account(packed: bytes) -> AccountState:
    return AccountState(decode_profile(packed[_PARTS:]), int.from_bytes(packed[:_PARTS]))


def encode_account(state: AccountState) -> bytes:
    return state.parts.to_bytes(_PARTS) + encode_profile(state.known)


def decode_part(packed: bytes) -> Part:
    return _part(_record(packed))


def encode_part(state: Part) -> bytes:
    return _FORMAT + _encode(Part(dict(sorted(state.members.items())), dict(sorted(state.values.items()))))
