"""Alerting: looks at the connections of a service now and then, and tells whom the workspace names.

What is to be told, `transforms/logic/alerts.py` decides; how, `pipeline/telling.py` knows.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from pipeline.disk import StoreError, replace
from pipeline.telling import Teller, message_of
from schemas.workspace import OnTrouble, Workspace
from transforms.logic.alerts import SERVICE, SOURCE, Alerts, Seen, Watch

_LOOK = 5.0  # seconds between looks
_FILE = "alerts.json"  # in the state directory: what was told outlives the process

Connections = Mapping[str, Mapping[str, Any]]  # as `/status` has them


class Alerting:
    """`look` is called now and then, from one thread. It waits for nobody."""

    def __init__(self, folder: Path, say: Callable[..., None], clock: Callable[[], float] = time.time) -> None:
        self._path, self._say, self._clock = folder / _FILE, say, clock
        self._known: dict[OnTrouble, tuple[Alerts, Teller]] = {}
        self._looked = float("-inf")
        self._written: object = None

    def look(
        self,
        workspace: Workspace,
        connections: Callable[[], Connections],
        trouble: str,
        sources: Mapping[str, bool | None] = MappingProxyType({}),
    ) -> None:
        """Tell what is to be told. `trouble`: of the service itself; of `sources`, whether each is in any, if known."""
        now = self._clock()
        items = workspace.on_trouble
        if not items or 0 <= now - self._looked < min(_LOOK, *(item.after for item in items)):
            return
        self._looked = now
        self._take_over(items, now)
        try:
            found = connections()
        except StoreError as error:
            found, trouble = {}, str(error)
        seen, others = seen_of(found), {name for name, each in found.items() if not _ours(each)}
        seen |= {SOURCE + name: Seen("unread" if bad else "") for name, bad in sources.items() if bad is not None}
        others |= {SOURCE + name for name, bad in sources.items() if bad is None}
        for alerts, teller in self._known.values():
            unknown = set(alerts.watches) if trouble and not found else others
            for news in alerts.look({SERVICE: Seen("state" if trouble else ""), **seen}, now, unknown):
                teller.give(message_of(workspace.workspace, news, now))
        self._write()

    def _take_over(self, items: tuple[OnTrouble, ...], now: float) -> None:
        if tuple(self._known) == items:
            return
        before, read = self._known, self._read() if not self._known else {}
        self._known = {}
        for item in items:
            failed = partial(self._say, "not told")
            watches = read.get(repr(item), {})
            for watch in watches.values():
                watch.began = now
            self._known[item] = before.get(item) or (Alerts(item.after, watches), Teller(item, failed))

    def _read(self) -> dict[str, dict[str, Watch]]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, dict[str, Watch]])
        except (OSError, msgspec.MsgspecError):  # without it somebody is told twice, at most
            return {}

    def _write(self) -> None:
        told = {repr(item): alerts.watches for item, (alerts, _) in self._known.items()}
        short = [(item, name, each.kind, each.told) for item, all in told.items() for name, each in all.items()]
        if short == self._written:
            return
        with suppress(StoreError, OSError):
            replace(self._path, msgspec.json.encode(told))
            self._written = short


def _ours(connection: Mapping[str, Any]) -> bool:
    """Not what another process delivers, or an operator paused."""
    return not connection["elsewhere"] and not connection.get("paused")


def seen_of(connections: Connections) -> dict[str, Seen]:
    """Connections as alerts see them."""
    return {
        name: Seen(
            "stopped" if each["stopped"] else "blocked" if each["blocked"] else "",
            each["oldest_change_seconds"],
            max(0, each["waiting"] - each["scheduled"]),
            each["delivered"],
            each["rejected"] + each["expired"],
        )
        for name, each in connections.items()
        if _ours(each)
    }
