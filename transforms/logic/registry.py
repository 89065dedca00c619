"""The registry meets a workspace: new things get numbers, and what changes for people is said before it happens."""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy

from msgspec import Struct

from schemas.registry import Registry, SlotKey, SyncRecord
from schemas.workspace import Computation, Connection, Sync, Workspace

_SINCE = " since "


class Vendor(Struct, frozen=True):
    """What deciding needs to know of a connection's destination."""

    tenant: str  # the vendor account
    understood: tuple[str, ...]  # identifier types in order of precedence; ("*",): every type
    required: Mapping[str, tuple[tuple[str, ...], ...]] = {}
    forgets: tuple[str, ...] = ()  # the identifier types that it can be asked to forget; ("*",): every type
    history: bool = True


class Notice(Struct, frozen=True):
    """A change of the workspace that somebody should know of. `grave`: many people may be told something by it."""

    words: str
    grave: bool = False


def sync_id(connection: str, sync: str) -> str:
    """The name by which a sync is remembered."""
    return f"{connection}/{sync}"


def known_as(computation: Computation) -> str:
    """The name by which a computation is remembered: one of accounts is another than one of people by the same key."""
    return f"account/{computation.key}" if computation.level == "account" else computation.key


def sync_name(sync: Sync) -> str:
    return sync.name or sync.computation


def sent_as(sync: Sync) -> str:
    """The key at the vendor."""
    return sync.send_as or sync.computation


def enter(
    known: Registry,
    workspace: Workspace,
    vendors: Mapping[str, Vendor],
    now: int,
    remade: Mapping[str, float] | None = None,
    refresh: Iterable[str] = (),
) -> tuple[Registry, list[Notice]]:
    """The registry with everything of the workspace in it, and what changed. `now` in microseconds.

    `remade`: by `connection/form/key`, when a list or field that was gone at the vendor was made again, or a list was
    emptied (seconds since 1970). Nobody is in it any more, so everybody is told again. `refresh`: `connection/sync` of
    syncs of the workspace of which everything that was told is told once more.

    A connection that is not in `vendors` stays as it was: nothing can be decided for it now.
    """
    registry = deepcopy(known)
    registry.workspace = workspace.workspace
    names = {computation.key: known_as(computation) for computation in workspace.computations}
    notices = [*_renamed(registry, workspace, names), *_gone(registry, workspace)]
    for place, at in sorted((remade or {}).items()):
        if registry.remade.get(place) != at:
            registry.remade[place] = at
            connection_name, _, target = place.partition("/")
            notices.append(Notice(f"{connection_name}: {made_again(target)}: everybody is told it once more"))
    registry.computations += [name for name in names.values() if name not in registry.computations]
    for connection in workspace.connections:
        if connection.name in vendors:
            notices += _connection(registry, connection, vendors[connection.name], names, now)
    notices += _told_again(registry, known)
    for place in sorted({*refresh} - {*registry.refreshing}):
        if place.partition("/")[0] not in vendors:
            notices.append(Notice(f"{place}: it is not refreshed now, since nothing can be decided for it"))
            continue
        registry.refreshing.append(place)
        if _has_its_list_alone(workspace, place):
            registry.syncs[place].refreshed = now
        notices.append(Notice(f"{place}: everything that was told is told once more"))
    return registry, notices


def _has_its_list_alone(workspace: Workspace, place: str) -> bool:
    """Whether no other sync can keep people in the same list: then a refresh may empty it.

    Two connections of one vendor may have the same account, though their keys have different names.
    """
    lists = {
        sync_id(connection.name, sync_name(sync)): (connection.destination, sent_as(sync))
        for connection in workspace.connections
        for sync in connection.syncs
        if "list" in sync.forms
    }
    return [*lists.values()].count(lists.get(place, ("", ""))) == 1


def known_remade(registry: Registry) -> frozenset[tuple[str, str, float]]:
    """What was made again or emptied that is decided with: connection, `form/key`, when."""
    places = ((place.partition("/"), at) for place, at in registry.remade.items())
    return frozenset((connection, target, at) for (connection, _, target), at in places)


def made_again(target: str) -> str:
    """What happened to a `form/key`, in words."""
    form, _, key = target.partition("/")
    if form == "list":
        return f"the list `{key}` was emptied at the vendor, or was gone there and made again"
    return f"the field `{key}` was gone at the vendor and was made again"


def _renamed(registry: Registry, workspace: Workspace, names: Mapping[str, str]) -> Iterator[Notice]:
    """What has another name now; what it was told under the old one counts."""
    for connection in workspace.connections:
        if connection.was in registry.connections and connection.name not in registry.connections:
            _rename(registry, connection.was, connection.name)
            yield Notice(f"{connection.name} was {connection.was}: what it was told under that name counts")
        for sync in connection.syncs:
            yield from _renamed_sync(registry, connection, sync, names)


def _gone(registry: Registry, workspace: Workspace) -> Iterator[Notice]:
    """What the workspace has no more. The vendors keep what they were told."""
    names = {connection.name for connection in workspace.connections}
    syncs = {
        sync_id(connection.name, sync_name(sync)) for connection in workspace.connections for sync in connection.syncs
    }
    for name in [name for name in registry.tenants if name not in names]:
        yield Notice(
            f"{name} is not in the workspace any more: nothing is sent there; its vendor keeps what it was told "
            f"(renamed? write `was: {name}` beside its new name)"
        )
        del registry.tenants[name]
    for place, record in registry.syncs.items():
        connection, _, sync = place.partition("/")
        if record.present and place not in syncs:
            record.present = False
            if connection in registry.tenants:
                yield Notice(
                    f"{connection}: {sync} is not synced any more; the vendor keeps `{record.key}` as it was told"
                )


def _connection(
    registry: Registry, connection: Connection, vendor: Vendor, computations: Mapping[str, str], now: int
) -> Iterator[Notice]:
    name = connection.name
    if name not in registry.connections:
        registry.connections.append(name)
    before = registry.tenants.get(name)
    if before is not None and before != vendor.tenant:
        yield Notice(
            f"{name} points at another vendor account than before: it begins anew, with a first sync of everybody; "
            "the old account keeps what it was told",
            grave=True,
        )
    registry.tenants[name] = vendor.tenant
    _slot(registry, SlotKey(name, vendor.tenant, "", "delete", ""))
    for sync in connection.syncs:
        moved = before not in (None, vendor.tenant)
        yield from _sync(registry, connection, sync, vendor, computations[sync.computation], now, moved)


def _told_again(registry: Registry, known: Registry) -> Iterator[Notice]:
    """New names for what the same vendor account was told already, by syncs that are gone."""
    gone: dict[tuple[str, str, str], SlotKey] = {}
    for slot in known.slots:
        record = registry.syncs.get(sync_id(slot.connection, slot.sync))
        if slot.form != "delete" and record and not record.present:
            gone[slot.tenant, slot.form, slot.key] = slot
    found: dict[tuple[str, str], SlotKey] = {}
    for slot in registry.slots[len(known.slots) :]:
        before = gone.get((slot.tenant, slot.form, slot.key))
        if before and sync_id(slot.connection, slot.sync) not in known.syncs:
            found[slot.connection, before.connection] = before
    for (name, other), before in found.items():
        renamed = name not in known.connections and other not in registry.tenants
        way = f" (renamed? write `was: {other}` beside its new name)" if renamed else ""
        yield Notice(
            f"{name} points at the vendor account that was told `{before.key}` by {other}/{before.sync}, which is not "
            f"in the workspace any more: everybody is told again{way}",
            grave=True,
        )


def _rename(registry: Registry, old: str, new: str) -> None:
    if old in registry.tenants:
        registry.tenants[new] = registry.tenants.pop(old)
    registry.connections[registry.connections.index(old)] = new
    for slot in registry.slots:
        if slot.connection == old:
            slot.connection = new
    for place in [place for place in registry.syncs if place.startswith(f"{old}/")]:
        registry.syncs[f"{new}/{place.partition('/')[2]}"] = registry.syncs.pop(place)
    for place in [place for place in registry.remade if place.startswith(f"{old}/")]:
        registry.remade[f"{new}/{place.partition('/')[2]}"] = registry.remade.pop(place)
    registry.refreshing = [
        sync_id(new, place.partition("/")[2]) if place.startswith(f"{old}/") else place for place in registry.refreshing
    ]


def _sync(
    registry: Registry, connection: Connection, sync: Sync, vendor: Vendor, computation: str, now: int, moved: bool
) -> Iterator[Notice]:
    place, key = sync_id(connection.name, sync_name(sync)), sent_as(sync)
    record = registry.syncs.get(place)
    if record is None:
        record = registry.syncs[place] = SyncRecord(created=now, since=now, key=key)
    elif record.computation != computation:
        yield Notice(f"{place} is of another computation now: it begins anew", grave=True)
        record.created = record.since = now
        record.refreshed = 0
        record.epoch += 1
        _retire(registry, connection.name, sync_name(sync))
    else:
        if not record.present:
            record.since = now
        if record.key != key and record.key == sync.send_as_was:
            _rename_key(registry, connection.name, sync_name(sync), record.key, key)
        elif record.key != key:
            yield Notice(
                f"{place} is sent as `{key}` instead of `{record.key}`: who is in the audience leaves `{record.key}`, "
                f"and everybody is told `{key}` for the first time (only renamed at the vendor? write "
                f"`send_as_was: {record.key}` beside it)",
                grave=True,
            )
        if moved or not record.present or record.key != key or record.forms != [*sync.forms]:
            record.epoch += 1
            record.refreshed = 0  # that was of another list
    record.present, record.computation, record.key, record.forms = True, computation, key, [*sync.forms]
    for form in sync.forms:
        tenant = tenant_of(registry, connection.name, vendor.tenant, form, key)
        _slot(registry, SlotKey(connection.name, tenant, sync_name(sync), form, key))


def _renamed_sync(
    registry: Registry, connection: Connection, sync: Sync, computations: Mapping[str, str]
) -> Iterator[Notice]:
    """A sync that is new, where one of the same computation, key and forms is gone."""
    names, new = {sync_name(each) for each in connection.syncs}, sync_name(sync)
    if sync_id(connection.name, new) in registry.syncs:
        return
    for place, record in registry.syncs.items():
        owner, _, old = place.partition("/")
        same = (record.computation, record.key, record.forms) == (
            computations[sync.computation],
            sent_as(sync),
            [*sync.forms],
        )
        if owner == connection.name and old not in names and same:
            registry.syncs[sync_id(owner, new)] = registry.syncs.pop(place)
            for slot in registry.slots:
                if (slot.connection, slot.sync) == (owner, old):
                    slot.sync = new
            yield Notice(f"{owner}/{new} was {owner}/{old}: what was told under that name counts")
            return


def _rename_key(registry: Registry, connection: str, sync: str, old: str, new: str) -> None:
    for slot in registry.slots:
        if (slot.connection, slot.sync, slot.key) == (connection, sync, old):
            slot.key = new
            if at := registry.remade.get(f"{connection}/{slot.form}/{old}"):
                registry.remade[f"{connection}/{slot.form}/{new}"] = at


def _retire(registry: Registry, connection: str, sync: str) -> None:
    """The sync's slots are of a computation that it was before: nobody finds them again."""
    for slot in registry.slots:
        if (slot.connection, slot.sync) == (connection, sync):
            slot.sync = f"{sync} (before)"


def _slot(registry: Registry, slot: SlotKey) -> int:
    if slot not in registry.slots:
        registry.slots.append(slot)
    return registry.slots.index(slot) + 1


def tenant_of(registry: Registry, connection: str, tenant: str, form: str, key: str) -> str:
    """The vendor account as a slot names it: what was made again there is another place than before."""
    at = registry.remade.get(f"{connection}/{form}/{key}")
    return tenant if at is None else f"{tenant}{_SINCE}{at:.3f}"


def account_of_slot(slot: SlotKey) -> str:
    """The vendor account of a slot, whatever was made again there."""
    return slot.tenant.rpartition(_SINCE)[0] or slot.tenant


def slot_number(registry: Registry, slot: SlotKey) -> int:
    return registry.slots.index(slot) + 1
