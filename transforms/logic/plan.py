"""The plan of a run: the workspace, its syncs' history and the clock, made ready for every profile."""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b

from msgspec import Struct, to_builtins
from msgspec.msgpack import encode

from schemas.secret import Secret
from schemas.state import Slot
from schemas.workspace import Connection, Workspace
from transforms.destinations.contract import Destination

ALWAYS = -(2**62)  # before any event


class SyncPlan(Struct, frozen=True):
    """One sync, decided as far as it can be without a profile."""

    key: str
    audience: bool
    forms: tuple[str, ...]  # `identify`, `track`; `list` for a list connection
    slots: tuple[Slot, ...]  # one per form
    after: int  # only values with a later `at` are wanted
    first: bool  # seen for the first time in this run
    held: bool  # a list inside its flush interval
    resync: bool
    strategies: dict[str, str]
    enrich: tuple[str, ...]


class ConnectionPlan(Struct, frozen=True):
    """One connection with its syncs."""

    name: str
    understood: tuple[str, ...] | None  # identifier types in order of precedence; None: every type
    syncs: tuple[SyncPlan, ...]
    required: dict[str, tuple[tuple[str, ...], ...]]
    forgets: bool
    settings: bytes  # digest: what a rejection depended on besides the call


class Plan(Struct, frozen=True):
    """Everything that deciding needs to know besides the profile."""

    now: int
    computations: dict[str, tuple[str, str]]  # by key and by name: key, kind
    tracked: frozenset[str]  # keys whose every change is an occurrence
    connections: tuple[ConnectionPlan, ...]

    def moment(self) -> datetime:
        """`now` as a time."""
        return datetime.fromtimestamp(self.now / 1_000_000, UTC)

    def digest(self) -> bytes:
        """Changes when a profile without news could be wanted to know something else."""
        facts = [
            (c.name, c.settings, c.understood, c.required, [(s.key, s.audience, s.forms, s.after) for s in c.syncs])
            for c in self.connections
        ]
        return blake2b(encode(facts), digest_size=16).digest()


def sync_id(connection: str, key: str) -> str:
    """The name by which a sync's creation time is remembered."""
    return f"{connection}/{key}"


def make_plan(
    workspace: Workspace,
    destinations: Mapping[str, Destination],
    created: Mapping[str, int],
    held: frozenset[str],
    now: int,
) -> Plan:
    """Plan a run.

    `destinations` by connection; `created` has the creation time of the syncs that an earlier run
    has seen; `held` names the syncs (`sync_id`) inside their list's flush interval; `now` in microseconds.
    """
    kinds = {c.key: c.kind for c in workspace.computations}
    named: dict[str, tuple[str, str]] = {
        name: (c.key, c.kind) for c in workspace.computations for name in (c.name, c.key)
    }
    connections = tuple(
        _connection(connection, destinations[connection.name], kinds, created, held, now)
        for connection in workspace.connections
    )
    tracked = frozenset(s.key for c in connections for s in c.syncs if "track" in s.forms)
    return Plan(now, named, tracked, connections)


def _connection(
    connection: Connection,
    destination: Destination,
    kinds: Mapping[str, str],
    created: Mapping[str, int],
    held: frozenset[str],
    now: int,
) -> ConnectionPlan:
    syncs = []
    for sync in connection.syncs:
        forms = ("list",) if destination.kind == "list" else tuple(sorted(sync.forms))
        known = created.get(sync_id(connection.name, sync.computation))
        historical = sync.historical and destination.history
        syncs.append(
            SyncPlan(
                key=sync.computation,
                audience=kinds[sync.computation] == "audience",
                forms=forms,
                slots=tuple((form, sync.computation) for form in forms),
                after=ALWAYS if historical else (now if known is None else known),
                first=known is None,
                held=sync_id(connection.name, sync.computation) in held,
                resync=sync.resync_on_new_identifier,
                strategies=dict(sync.identifiers),
                enrich=sync.enrich,
            )
        )
    understood = destination.understands()
    return ConnectionPlan(
        name=connection.name,
        understood=None if "*" in understood else understood,
        syncs=tuple(syncs),
        required=dict(destination.required),
        forgets=destination.forgets,
        settings=settings_digest(connection),
    )


def settings_digest(connection: Connection) -> bytes:
    """Changes with anything a rejection may have depended on; a secret counts by its name only."""
    facts = (connection.destination, to_builtins([connection.settings, connection.syncs], enc_hook=_by_name))
    return blake2b(encode(facts), digest_size=16).digest()


def _by_name(value: object) -> str:
    if isinstance(value, Secret):
        return repr(value)
    raise TypeError(f"{type(value).__name__} in the settings")
