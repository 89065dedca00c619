"""The registry: numbers for what the ledger speaks of, and what is remembered of each sync. Kept with the state."""

from msgspec import Struct, field
from msgspec.msgpack import Decoder, Encoder


class SlotKey(Struct, array_like=True):
    """What a slot stands for. Form `delete`: deletions of a connection, without a sync and a key."""

    connection: str
    tenant: str  # the vendor account: `Destination.tenant`
    sync: str
    form: str
    key: str  # at the vendor


class SyncRecord(Struct, array_like=True):
    """What is remembered of a sync: it stays when the workspace has it no more."""

    created: int  # microseconds since 1970
    epoch: int = 1  # raised when it comes back, and when its tenant, key or forms change
    present: bool = True
    since: int = 0  # when it was created or came back: `track` occurrences are later
    computation: str = ""
    key: str = ""
    forms: list[str] = []
    refreshed: int = 0  # when a full refresh was asked last that may empty its list; microseconds since 1970


class Registry(Struct):
    """Numbers are places in these lists: of connections and computations from 0, of slots from 1."""

    workspace: str = ""
    connections: list[str] = field(default_factory=list)
    computations: list[str] = field(default_factory=list)
    slots: list[SlotKey] = field(default_factory=list)
    syncs: dict[str, SyncRecord] = {}  # by `connection/sync`
    tenants: dict[str, str] = {}  # by connection
    remade: dict[str, float] = {}  # by `connection/form/key`: when what was gone there was made again, or was emptied
    refreshing: list[str] = []  # `connection/sync`: not everybody was asked once more yet, as a full refresh wants
    number: int = 0  # of the workspace: raised whenever it changes
    digest: bytes = b""  # of the plan that every profile was last looked at with


encode_registry = Encoder().encode
decode_registry = Decoder(Registry).decode
