"""Audiences that have too few people for what a vendor does with its lists."""

from collections.abc import Iterator

from pipeline.state_db import StateDb
from pipeline.vendors import Made
from schemas.registry import Registry
from schemas.workspace import Workspace


def small_lists(db: StateDb, workspace: Workspace, made: Made, registry: Registry) -> Iterator[str]:
    """A sentence for each list whose audience somebody is in, but not so many as the vendor wants."""
    sizes = {registry.computations[number]: size for number, _, size in db.audiences()}  # the last day is the last
    for connection in workspace.connections:
        destination = made.destinations.get(connection.name)
        if destination is None or not destination.usable_from:
            continue
        for sync in connection.syncs:
            size = sizes.get(sync.computation, 0)
            if 0 < size < destination.usable_from and "list" in sync.forms:
                yield (
                    f"{connection.name}: {sync.computation} has {size:,} {'person' if size == 1 else 'people'}; "
                    f"{destination.name} uses a list from {destination.usable_from:,} members on"
                )
