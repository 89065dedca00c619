"""The workspace: which computations exist and which connections are told of them."""

from typing import Any, Literal

from msgspec import Struct, field

Form = Literal["identify", "track", "list"]
# `first`, `last`: of several identifiers of one type. `none`: never told. `attach`: no call of its own while the
# person has another identifier that is told; it travels with those calls, as a trait named by its type.
Strategy = Literal["all", "first", "last", "none", "attach"]


class EventNames(Struct, frozen=True, forbid_unknown_fields=True):
    """The names of `track` events."""

    computed: str = "Trait Computed"
    entered: str = "Audience Entered"
    exited: str = "Audience Exited"


class Computation(Struct, frozen=True, forbid_unknown_fields=True):
    """A computed trait or an audience, at user level."""

    name: str
    kind: Literal["trait", "audience"]
    key: str = ""  # by default the snake_case of the name
    id: str = ""  # by default derived from the workspace and the key


class Sync(Struct, frozen=True, forbid_unknown_fields=True):
    """One computation sent to one connection, in one or more forms."""

    computation: str  # its key
    name: str = ""  # by default the computation's key; two syncs of one computation need two
    forms: tuple[Form, ...] = field(name="as", default=())  # by default the destination's first
    send_as: str = ""  # the name at the vendor; by default the computation's key
    send_as_was: str = ""  # the name that it had before: a vendor that renamed it keeps what it was told
    where: dict[str, Any] = {}  # whom it is sent of, see `transforms.logic.where`; besides the connection's
    identifiers: dict[str, Strategy] = {}  # by identifier type, over the connection's; `all` where not given
    resync_on_new_identifier: bool = True
    historical: bool = True
    enrich: tuple[str, ...] = ()  # profile traits and computations that travel with every call that takes traits
    events: EventNames = EventNames()


UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}  # seconds


class Cap(Struct, frozen=True):
    """`requests` per `seconds`. In the file: `50/s`, `600/m`, `500000/d`."""

    requests: float
    seconds: float = 1.0


class Connection(Struct, frozen=True, forbid_unknown_fields=True):
    """One configured destination."""

    name: str
    destination: str  # slug
    syncs: tuple[Sync, ...]
    settings: Any = None  # an instance of the destination's Settings once loaded
    cap: Cap | None = None  # lower than the destination's
    cap_raised_by_vendor: bool = False  # a higher one, agreed with the vendor
    where: dict[str, Any] = {}  # of all its syncs
    identifiers: dict[str, Strategy] = {}  # of all its syncs
    was: str = ""  # its name before: what was told under that name counts


class Workspace(Struct, frozen=True, forbid_unknown_fields=True):
    """What the workspace file says, complete: keys, ids and typed settings are filled in."""

    workspace: str  # its name; the `namespace` of every call
    computations: tuple[Computation, ...]
    connections: tuple[Connection, ...]
