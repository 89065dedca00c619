"""The destinations of a workspace's connections, and what deciding needs to know of them."""

from collections.abc import Mapping

from schemas.workspace import Workspace
from transforms.destinations import find
from transforms.destinations.contract import Destination
from transforms.logic.registry import Vendor


def destinations(workspace: Workspace) -> dict[str, Destination]:
    """The destination of each connection, by the connection's name."""
    found = {}
    for connection in workspace.connections:
        kind = find(connection.destination)
        if kind is None:
            raise ValueError(f"no destination {connection.destination!r}")
        found[connection.name] = kind(workspace, connection)
    return found


def vendors(of: Mapping[str, Destination]) -> dict[str, Vendor]:
    return {name: vendor_of(destination) for name, destination in of.items()}


def vendor_of(destination: Destination) -> Vendor:
    understood = destination.understands()
    return Vendor(
        tenant=destination.tenant(),
        understood=understood,
        required=dict(destination.required),
        forgets=tuple(each for each in understood if destination.can_forget(each)),
        history=destination.history,
        flush_every=destination.flush_every,
    )
