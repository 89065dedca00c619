"""The plan: the workspace, what is remembered of its syncs, and the clock, made ready for every profile."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from msgspec import Struct, to_builtins
from msgspec.msgpack import encode
from msgspec.structs import replace

from schemas.registry import Registry, SlotKey
from schemas.secret import Secret
from schemas.workspace import Connection, Form, Sync, Workspace
from transforms.logic.registry import (
    Vendor,
    account_of_slot,
    known_as,
    sent_as,
    slot_number,
    sync_id,
    sync_name,
    tenant_of,
)
from transforms.logic.where import Where, compiled

ALWAYS = -(2**62)  # before any event
ACCOUNT = "account_id"  # the type of the one identifier that an account has
APART = ("group", "member")  # forms whose value is of an account, or of none


class FormPlan(Struct, frozen=True):
    """One form of a sync."""

    form: Form
    slot: int


class SyncPlan(Struct, frozen=True):
    """One sync, decided as far as it can be without a profile."""

    name: str
    computation: int  # its number
    computation_key: str
    key: str  # at the vendor
    audience: bool
    epoch: int
    forms: tuple[FormPlan, ...]
    retired: tuple[tuple[FormPlan, str], ...]  # slots that it had under other keys, with these: exits only
    after: int  # only values with a later `at` are wanted
    since: int  # when it was created or came back: `track` occurrences are later
    back: int  # when it came back: older occurrences that wait are told no more
    resync: bool
    strategies: Mapping[str, str]
    enrich: tuple[str, ...]  # plain traits
    enrich_values: tuple[tuple[str, int], ...]  # computations: name and number
    where: tuple[Where, ...]  # all must hold
    settings: bytes  # digest: what a rejection depended on besides the call
    refreshed: int  # when a full refresh was asked last that may empty its list; microseconds since 1970

    @property
    def members(self) -> bool:
        """Whether it says to which accounts a person belongs: then a value is of them, and not of the computation."""
        return bool(self.forms) and self.forms[0].form == "member"


class ConnectionPlan(Struct, frozen=True):
    """One connection with its syncs."""

    name: str
    number: int
    understood: tuple[str, ...] | None  # identifier types in order of precedence; None: every type
    syncs: tuple[SyncPlan, ...]  # told of people
    groups: tuple[SyncPlan, ...]  # told of accounts
    required: dict[str, tuple[tuple[str, ...], ...]]
    forgets: tuple[str, ...]  # identifier types, or ("*",)
    deletions: int  # slot
    slots: frozenset[int]  # everything of this connection and tenant
    ever: frozenset[int]  # with those of lists and fields that were lost there since, or emptied

    def can_forget(self, identifier_type: str) -> bool:
        return identifier_type in self.forgets or "*" in self.forgets


class Plan(Struct, frozen=True):
    """Everything that deciding needs to know besides the profile."""

    now: int  # microseconds since 1970
    computations: Mapping[str, tuple[int, str]]  # by key and by name: number, kind
    tracked: frozenset[int]  # computations whose every change is an occurrence
    connections: tuple[ConnectionPlan, ...]
    of_accounts: frozenset[str] = frozenset()  # of `computations`: those that are about accounts
    joined: tuple[tuple[int, bool], ...] = ()  # of accounts, and known of each member: number, whether an audience
    accounts: "Plan | None" = None  # the plan for accounts; that one has none

    def connection_of(self, slot: int) -> int:
        """The number of a slot's connection; -1: it is of none now."""
        return next((each.number for each in self.connections if slot in each.slots), -1)

    def moment(self) -> datetime:
        """`now` as a time."""
        return datetime.fromtimestamp(self.now / 1_000_000, UTC)

    def digest(self) -> bytes:
        """Changes when something else may be wanted of profiles without news: then each is looked at."""
        facts: list[Any] = [
            (c.name, c.understood, c.required, c.deletions, [_facts(sync) for sync in c.syncs])
            for c in self.connections
        ]
        if self.accounts and (self.joined or self.accounts.connections):  # where there are none: as it always was
            facts += [self.joined, self.accounts.digest()]
        return blake2b(encode(facts, enc_hook=_plain), digest_size=16).digest()


_OF_NO_PROFILE = ("since", "back", "after", "refreshed")


def _facts(sync: SyncPlan) -> list[Any]:
    return [getattr(sync, name) for name in sync.__struct_fields__ if name not in _OF_NO_PROFILE] + [
        sync.after == ALWAYS
    ]


def _plain(value: object) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} in a plan")


def make_plan(workspace: Workspace, vendors: Mapping[str, Vendor], registry: Registry, now: int) -> Plan:
    """Plan; the registry has everything of the workspace (`registry.enter`). `now` in microseconds."""
    places = {name: number for number, name in enumerate(registry.computations)}
    numbers = {c.key: places[known_as(c)] for c in workspace.computations}  # one that is gone shadows no plain trait
    kinds = {c.key: c.kind for c in workspace.computations}
    named = {name: (numbers[c.key], c.kind) for c in workspace.computations for name in (c.name, c.key)}
    of_accounts = {c.key: c.name for c in workspace.computations if c.level == "account"}
    connections = tuple(
        _connection(connection, vendors[connection.name], registry, numbers, kinds)
        for connection in workspace.connections
        if connection.name in vendors
    )
    asked = frozenset().union(*map(_asked_of_people, workspace.connections)) if of_accounts else frozenset()
    return Plan(
        now,
        named,
        _tracked(connections),
        connections,
        frozenset([*of_accounts, *of_accounts.values()]),
        tuple((numbers[key], kinds[key] == "audience") for key in of_accounts if key in asked),
        Plan(now, named, frozenset(), tuple(_about_accounts(each) for each in connections if each.groups)),
    )


def _tracked(connections: Iterable[ConnectionPlan]) -> frozenset[int]:
    syncs = (sync for connection in connections for sync in connection.syncs)
    return frozenset(sync.computation for sync in syncs if any(form.form == "track" for form in sync.forms))


def _asked_of_people(connection: Connection) -> frozenset[str]:
    """The keys that a connection's syncs of people name: what they send, conditions, enrichment."""
    syncs = [sync for sync in connection.syncs if {*sync.forms} - {"group"}]
    named = [key for sync in syncs for key in (sync.computation, *sync.where, *sync.enrich)]
    return frozenset([*named, *connection.where])


def _about_accounts(connection: ConnectionPlan) -> ConnectionPlan:
    """The connection as an account sees it, whose syncs are told by the account's id. None of them is of people."""
    return replace(connection, understood=(ACCOUNT,), syncs=connection.groups, groups=(), required={}, forgets=())


def _connection(
    connection: Connection, vendor: Vendor, registry: Registry, numbers: Mapping[str, int], kinds: Mapping[str, str]
) -> ConnectionPlan:
    mine = {
        number: slot
        for number, slot in enumerate(registry.slots, 1)
        if slot.connection == connection.name
        and slot.tenant == tenant_of(registry, connection.name, vendor.tenant, slot.form, slot.key)
    }

    def sync_plans(apart: str) -> tuple[SyncPlan, ...]:
        """The syncs in a form that goes apart from the others; "": in all others."""
        told: list[tuple[Sync, tuple[Form, ...]]] = [
            (sync, tuple(form for form in sync.forms if (form if form in APART else "") == apart))
            for sync in connection.syncs
        ]
        return tuple(
            _sync(connection, sync, forms, vendor, registry, mine, numbers, kinds) for sync, forms in told if forms
        )

    return ConnectionPlan(
        name=connection.name,
        number=registry.connections.index(connection.name),
        understood=None if "*" in vendor.understood else vendor.understood,
        syncs=sync_plans("") + sync_plans("member"),
        groups=sync_plans("group"),
        required=dict(vendor.required),
        forgets=vendor.forgets,
        deletions=slot_number(registry, SlotKey(connection.name, vendor.tenant, "", "delete", "")),
        slots=frozenset(mine),
        ever=frozenset(
            number
            for number, slot in enumerate(registry.slots, 1)
            if slot.connection == connection.name and account_of_slot(slot) == vendor.tenant
        ),
    )


def _sync(
    connection: Connection,
    sync: Sync,
    told: tuple[Form, ...],
    vendor: Vendor,
    registry: Registry,
    mine: Mapping[int, SlotKey],
    numbers: Mapping[str, int],
    kinds: Mapping[str, str],
) -> SyncPlan:
    """A sync in some of its forms. Of `group`, a connection's own conditions say nothing: they are about people."""
    name, key = sync_name(sync), sent_as(sync)
    groups, members = "group" in told, "member" in told
    enrich = () if members else sync.enrich
    record = registry.syncs[sync_id(connection.name, name)]
    forms: dict[Form, int] = {}
    retired: list[tuple[FormPlan, str]] = []
    for number, slot in mine.items():
        if slot.sync != name or slot.form not in told:
            continue
        if slot.key == key:
            forms[slot.form] = number
        else:
            retired.append((FormPlan(slot.form, number), slot.key))
    historical = sync.historical and vendor.history
    return SyncPlan(
        name=name,
        computation=numbers[sync.computation],
        computation_key=sync.computation,
        key=key,
        audience=kinds[sync.computation] == "audience" and not members,
        epoch=record.epoch,
        forms=tuple(FormPlan(form, forms[form]) for form in sorted(forms)),
        retired=tuple(retired),
        after=ALWAYS if historical else record.created,
        since=record.since,
        back=record.since if record.since > record.created else ALWAYS,
        resync=sync.resync_on_new_identifier,
        strategies={} if groups else dict(connection.identifiers) | dict(sync.identifiers),
        enrich=tuple(each for each in enrich if each not in numbers),
        enrich_values=tuple((each, numbers[each]) for each in enrich if each in numbers),
        where=tuple(compiled(each, numbers) for each in ({} if groups else connection.where, sync.where) if each),
        settings=settings_digest(connection, sync),
        refreshed=record.refreshed,
    )


def refreshed(plan: Plan, registry: Registry) -> list[int]:
    """The slots of the syncs that are being refreshed. What happened once is not told twice."""
    return sorted(
        form.slot
        for each in (plan, plan.accounts)
        for connection in (each.connections if each else ())
        for sync in (*connection.syncs, *connection.groups)
        if sync_id(connection.name, sync.name) in registry.refreshing
        for form in (*sync.forms, *(form for form, _ in sync.retired))
        if form.form != "track"
    )


def settings_digest(connection: Connection, sync: Sync | None) -> bytes:
    """Changes with anything a rejection of this sync's calls may have depended on; a secret counts by its name only."""
    facts = (connection.destination, to_builtins([connection.settings, sync], enc_hook=_by_name))
    return blake2b(encode(facts), digest_size=16).digest()


def _by_name(value: object) -> str:
    if isinstance(value, Secret):
        return repr(value)
    raise TypeError(f"{type(value).__name__} in the settings")
