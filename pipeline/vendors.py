"""The destinations of a workspace's connections, and what deciding needs to know of them."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from schemas.workspace import Connection, Workspace
from transforms.destinations import find
from transforms.destinations.contract import Destination
from transforms.logic.registry import Vendor


class Made(NamedTuple):
    """By the connection's name. One whose destination has a fault is left out, and decides and sends nothing."""

    destinations: dict[str, Destination]
    vendors: dict[str, Vendor]
    faults: dict[str, str]  # in sentences without an end


def made(workspace: Workspace, connections: Iterable[Connection] | None = None) -> Made:
    """Of all connections, or of these."""
    found = Made({}, {}, {})
    for connection in workspace.connections if connections is None else connections:
        try:
            destination = _destination(workspace, connection)
            found.vendors[connection.name] = vendor_of(destination)
            destination.limit_group()
            found.destinations[connection.name] = destination
        except Exception as error:  # in a module of its own, whose fault is no other connection's
            found.vendors.pop(connection.name, None)
            what = f"{type(error).__name__}: {error}"
            found.faults[connection.name] = (
                f"its destination could not be made ({what}); that is a fault in the destination"
            )
    return found


def destinations(workspace: Workspace) -> dict[str, Destination]:
    """The destination of each connection, by the connection's name."""
    return {connection.name: _destination(workspace, connection) for connection in workspace.connections}


def _destination(workspace: Workspace, connection: Connection) -> Destination:
    kind = find(connection.destination)
    if kind is None:
        raise ValueError(f"no destination {connection.destination!r}")
    return kind(workspace, connection)


def vendors(of: Mapping[str, Destination]) -> dict[str, Vendor]:
    return {name: vendor_of(destination) for name, destination in of.items()}


def vendor_of(destination: Destination) -> Vendor:
    understood = destination.identifiers
    return Vendor(
        tenant=destination.tenant(),
        understood=understood,
        required=dict(destination.required),
        forgets=tuple(each for each in understood if destination.can_forget(each)),
        history=destination.history,
    )
