"""The rules of what is sent, slow and obvious: every question is answered from the list of all that happened.

State-like calls only: identify, list members, deletions. One profile. Written from the design's words,
not from the code, which keeps a ledger instead of a history.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.calls import Identifier
from schemas.workspace import Connection, Sync, Workspace
from tests.transforms.logic.vendors import destination_of
from transforms.logic.detect import micros
from transforms.logic.ledger import Fate

Event = dict[str, Any]
UNANSWERED = (Fate.MAYBE, Fate.EXPIRED_MAYBE, Fate.REJECTED_MAYBE)
EXPIRED = (Fate.EXPIRED, Fate.EXPIRED_MAYBE)
REFUSED = (Fate.REJECTED, Fate.REJECTED_FOR_NOW, Fate.REJECTED_MAYBE, *EXPIRED)


@dataclass
class Told:
    """One call that was made, and what became of it."""

    connection: Connection
    slot: str  # the form and the key
    kind: str
    identifier: Identifier
    value: str  # canonical
    at: int
    count: int
    traits: str  # canonical
    fate: Fate = Fate.PENDING

    def facts(self) -> tuple[Any, ...]:
        """What a call of the code must equal."""
        return (
            self.connection.name,
            self.slot,
            self.kind,
            self.identifier,
            self.value,
            self.at,
            self.count,
            self.traits,
        )

    def same_request(self, other: "Told") -> bool:
        """The same to the vendor, under the same configuration."""
        mine, others = ((t.connection, t.slot, t.kind, t.identifier, t.value, t.traits) for t in (self, other))
        return mine == others

    def keeps_out(self, other: "Told") -> bool:
        """The other was refused in this one; an expired one is heard again when somebody says it again."""
        return self.same_request(other) and (self.fate not in EXPIRED or self.at == other.at)


def canonical(value: Any) -> str:
    """Two values are the same when these are."""
    return json.dumps(_plain(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


class Model:
    """All events so far, and all calls so far."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.log: list[Told] = []  # since the last deletion
        self.owed: list[tuple[str, Identifier]] = []  # deletions that a connection has not acknowledged
        self.refused_deletions: list[Told] = []
        self.created: dict[tuple[str, str], int] = {}
        self.met: list[tuple[str, str, Identifier]] = []  # identifiers that a slot has had to do with
        self.excused: dict[tuple[str, str, Identifier], str] = {}  # and the value that is kept from them

    # -- one run

    def run(self, workspace: Workspace, events: Sequence[Event], now: datetime, held: Sequence[str]) -> list[Told]:
        """The calls that must be made."""
        before = self.deleted()
        self.events += events
        if self.deleted() > before:
            self._forget(workspace)
        made: list[Told] = []
        for connection in workspace.connections:
            for sync in connection.syncs:
                self.created.setdefault((connection.name, sync.computation), micros(now))
            deletions = self._deletions(connection)
            self.log += deletions
            made += deletions
            for sync in connection.syncs:
                calls = self._wanted(workspace, connection, sync)
                if connection.name not in held:
                    self.log += calls
                    made += calls
        return made

    def settle(self, told: Told, fate: Fate) -> None:
        """What became of a call."""
        told.fate = fate
        if told.kind == "delete":
            owed = (told.connection.name, told.identifier)
            if fate == Fate.DELIVERED:
                self.owed.remove(owed)
                self.refused_deletions = [
                    r for r in self.refused_deletions if (r.connection.name, r.identifier) != owed
                ]
            elif fate in REFUSED:
                self.refused_deletions.append(told)

    # -- what is known of the person

    def deleted(self) -> int:
        return max((_at(e) for e in self.events if e["type"] == "delete"), default=-1)

    def living(self, kind: str) -> list[Event]:
        """Events of a type that no deletion is later than."""
        return [e for e in self.events if e["type"] == kind and _at(e) > self.deleted()]

    def mentions(self, identifier: Identifier) -> list[int]:
        found = [_at(e) for e in self.living("profile") for i in e["external_ids"] if _identifier(i) == identifier]
        # Whether an earlier mention survived a deletion depends on what came first: only the last one counts.
        return found if self.deleted() < 0 else [max(found)]

    def identifiers(self) -> set[Identifier]:
        return {_identifier(i) for e in self.living("profile") for i in e["external_ids"]}

    def value(self, key: str) -> tuple[int, Any] | None:
        facts = [
            (_at(e), e["value"] if e["type"] == "trait" else e["member"])
            for e in self.living("trait") + self.living("audience")
            if e["computation"] == key
        ]
        return max(facts, key=_rank, default=None)

    def trait(self, name: str) -> Any:
        facts = [(_at(e), e["traits"][name]) for e in self.living("profile") if name in e.get("traits", {})]
        return max(facts, key=_rank)[1] if facts else None

    def has_trait(self, name: str) -> bool:
        return any(name in e.get("traits", {}) for e in self.living("profile"))

    # -- what one sync wants

    def _wanted(self, workspace: Workspace, connection: Connection, sync: Sync) -> list[Told]:
        destination = destination_of(workspace, connection)
        fact = self.value(sync.computation)
        historical = sync.historical and destination.history
        if fact is None or (not historical and fact[0] <= self.created[connection.name, sync.computation]):
            return []
        audience = next(c.kind for c in workspace.computations if c.key == sync.computation) == "audience"
        at, value = fact
        form = "list" if destination.kind == "list" else "identify"
        slot = f"{form} {sync.computation}"
        kind = "identify" if form == "identify" else "add" if value else "remove"
        receivers = self.receivers(destination.understands(), sync)
        if audience and not value:
            receivers = [i for i in self._ever(connection.name, slot) if self.exposed(connection.name, slot, i)]
        if not sync.resync_on_new_identifier:
            self._excuse(connection.name, slot, receivers, at, value)
        made = []
        for identifier in receivers:
            told = Told(
                connection,
                slot,
                kind,
                identifier,
                canonical(value),
                at,
                self.count(connection.name, slot, identifier),
                canonical(self.traits(sync, destination.required)),
            )
            if self._due(told):
                made.append(told)
        return made

    def _due(self, told: Told) -> bool:
        where = told.connection.name, told.slot, told.identifier
        if self.sure(*where) == told.value or self.excused.get(where) == told.value:
            return False
        if told.value == "null" and not self.possibly_told(*where):
            return False
        refused = self.refused(*where)
        return refused is None or not refused.keeps_out(told)

    def receivers(self, understood: Sequence[str], sync: Sync) -> list[Identifier]:
        chosen = []
        for kind in sorted({i.type for i in self.identifiers()}):
            if kind not in understood and "*" not in understood:
                continue
            in_order = sorted(
                (i for i in self.identifiers() if i.type == kind), key=lambda i: (min(self.mentions(i)), i)
            )
            strategy = sync.identifiers.get(kind, "all")
            chosen += {"all": in_order, "first": in_order[:1], "last": in_order[-1:]}[strategy]
        return chosen

    def traits(self, sync: Sync, required: Any) -> dict[str, Any]:
        found = {name: self.trait(name) for name in sync.enrich if self.has_trait(name)}
        for key, alternatives in required.items():
            for parts in alternatives:
                words = ["" if self.trait(part) is None else str(self.trait(part)).strip() for part in parts]
                if all(words):
                    found[key] = " ".join(words)
                    break
        return found

    def _excuse(self, connection: str, slot: str, receivers: Sequence[Identifier], at: int, value: Any) -> None:
        """Without resync, a new identifier gets the next change, not the value that there is."""
        for where, kept in list(self.excused.items()):
            if where[:2] == (connection, slot) and kept != canonical(value):
                del self.excused[where]
        others = [i for c, s, i in self.met if (c, s) == (connection, slot)]
        for identifier in receivers:
            if identifier in others or value is None:
                continue
            no_news = at <= min(self.mentions(identifier)) or any(
                self.sure(connection, slot, other) == canonical(value) for other in others
            )
            if others and no_news:
                self.excused[connection, slot, identifier] = canonical(value)
            self.met.append((connection, slot, identifier))

    # -- deletion

    def _forget(self, workspace: Workspace) -> None:
        """Whoever may be known to a vendor that can forget is to be forgotten there; the rest starts anew."""
        for connection in workspace.connections:
            if destination_of(workspace, connection).forgets:
                for told in self.log:
                    owed = connection.name, told.identifier
                    known = told.kind != "delete" and told.fate in (Fate.DELIVERED, *UNANSWERED)
                    if told.connection.name == connection.name and known and owed not in self.owed:
                        self.owed.append(owed)
        self.log, self.met, self.excused = [], [], {}

    def _deletions(self, connection: Connection) -> list[Told]:
        made = []
        for name, identifier in self.owed:
            told = Told(connection, "delete ", "delete", identifier, "null", self.deleted(), 0, "{}")
            refused = [r for r in self.refused_deletions if r.identifier == identifier and r.connection.name == name]
            if name == connection.name and not (refused and refused[-1].keeps_out(told)):
                made.append(told)
        return made

    # -- what one identifier was told in one slot

    def _calls(self, connection: str, slot: str, identifier: Identifier) -> list[Told]:
        return [
            t
            for t in self.log
            if (t.connection.name, t.identifier) == (connection, identifier) and t.slot in (slot, "delete ")
        ]

    def _ever(self, connection: str, slot: str) -> list[Identifier]:
        return list(dict.fromkeys(t.identifier for t in self.log if (t.connection.name, t.slot) == (connection, slot)))

    def sure(self, connection: str, slot: str, identifier: Identifier) -> str | None:
        """The value that the vendor surely has."""
        value = None
        for told in self._calls(connection, slot, identifier):
            if told.fate in UNANSWERED or told.kind == "delete":
                value = None
            elif told.fate == Fate.DELIVERED:
                value = told.value
        return value

    def exposed(self, connection: str, slot: str, identifier: Identifier) -> bool:
        """Whether the vendor has, or may have, something that an exit takes back."""
        exposed = False
        for told in self._calls(connection, slot, identifier):
            if told.kind == "delete":
                continue
            if told.fate in UNANSWERED:
                exposed = True
            elif told.fate == Fate.DELIVERED:
                exposed = told.value != "false"
        return exposed

    def possibly_told(self, connection: str, slot: str, identifier: Identifier) -> bool:
        return any(
            t.kind != "delete" and t.fate in (Fate.DELIVERED, *UNANSWERED)
            for t in self._calls(connection, slot, identifier)
        )

    def count(self, connection: str, slot: str, identifier: Identifier) -> int:
        return sum(t.slot == slot and t.fate == Fate.DELIVERED for t in self._calls(connection, slot, identifier))

    def refused(self, connection: str, slot: str, identifier: Identifier) -> Told | None:
        """The last call that the vendor refused and that nothing came after which arrived, or may have."""
        last = None
        for told in self._calls(connection, slot, identifier):
            if told.slot == slot and told.fate in REFUSED:
                last = told
            elif told.slot == slot and told.fate in (Fate.DELIVERED, Fate.MAYBE):
                last = None
        return last


def _at(event: Event) -> int:
    return micros(datetime.fromisoformat(event["at"]))


def _identifier(external: dict[str, str]) -> Identifier:
    return Identifier(external["type"], external["id"])


def _rank(fact: tuple[int, Any]) -> tuple[int, bytes]:
    return fact[0], canonical(fact[1]).encode()
