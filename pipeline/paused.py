"""Connections that an operator paused: their calls wait until the operator resumes them, over restarts too.

A pause is meant for the vendor, not for the process: whoever restarts the service, or runs beside it, may not know of
it. So it is kept in the state directory, and every command that sends from there keeps to it.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from pipeline.disk import StoreError, replace, writing
from schemas.workspace import Workspace

NAME = "paused.json"


def paused(folder: Path) -> dict[str, str]:
    """Since when each is paused, by name. Raises StoreError."""
    path = folder / NAME
    try:
        with writing(path):
            packed = path.read_bytes() if path.exists() else b"{}"
        return msgspec.json.decode(packed, type=dict[str, str])
    except msgspec.MsgspecError as error:
        words = f"{path}: it is damaged ({error}); remove it, and pause again what is to wait"
        raise StoreError(words) from error


def keep_paused(folder: Path, names: Mapping[str, str]) -> None:
    """Raises StoreError."""
    replace(folder / NAME, msgspec.json.encode(names) + b"\n")


def answer(name: str, paused: bool) -> dict[str, str]:
    """What the page says to whoever has paused a connection, or resumed it."""
    if paused:
        return {"said": f"{name} is paused: requests in flight end, and its calls wait until it is resumed."}
    return {"said": f"{name} goes on."}


def renamed(names: Mapping[str, str], workspace: Workspace) -> dict[str, str]:
    """The same connections, by the names that they have in this workspace."""
    here = {connection.name for connection in workspace.connections}
    new = {each.was: each.name for each in workspace.connections if each.was and each.was not in here}
    return {new.get(name, name): since for name, since in names.items()}


def why_not(folder: Path, name: str) -> str:
    """Why a connection that is paused is not delivered; "" for one that is not."""
    since = paused(folder).get(name)
    if since is None:
        return ""
    return f"it is paused since {since}: resume it on the page of `serve`, or take it out of {folder / NAME}"
