"""`--full-refresh`: everything that a sync was told is told once more."""

import argparse
from collections.abc import Callable

from schemas.workspace import Workspace
from transforms.logic.registry import sync_id, sync_name


def add_refresh_argument(add: Callable[..., object]) -> None:
    add(
        "--full-refresh",
        action="append",
        default=[],
        metavar="CONNECTION/SYNC",
        help="tell everything once more that this sync was told, exits too, for a vendor that lost it or has others in "
        "its list; may be repeated",
    )


def refreshed(args: argparse.Namespace, workspace: Workspace) -> tuple[str, ...]:
    """The syncs that are to be refreshed. Raises UnknownSync."""
    known = sorted(sync_id(each.name, sync_name(sync)) for each in workspace.connections for sync in each.syncs)
    for place in args.full_refresh:
        if place not in known:
            raise UnknownSync(f"--full-refresh {place}: the workspace has no such sync; it has {', '.join(known)}")
    return tuple(args.full_refresh)


class UnknownSync(Exception):
    """The text says which it is, and which there are."""
