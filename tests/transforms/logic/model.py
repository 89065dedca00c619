"""The rules of what is sent, slow and obvious: every question is answered from the list of all that happened.

State-like calls only: identify, group, list members, deletions. One profile, or one account. Written from the
design's words, not from the code, which keeps a ledger instead of a history. Runs are hours apart, so that nothing
lands late.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.calls import Identifier
from schemas.workspace import Connection, Sync, Workspace
from tests.transforms.logic.plain_sender import Outcome
from tests.transforms.logic.vendors import VENDORS, vendor_of
from transforms.logic.detect import micros

Event = dict[str, Any]
Place = tuple[str, str, Identifier]  # vendor account, slot (form and key), identifier
UNANSWERED: tuple[Outcome, ...] = ("maybe", "expired maybe", "rejected maybe")
EXPIRED: tuple[Outcome, ...] = ("expired", "expired maybe")
COMPUTED = ("score", "vip", "seats", "at_risk")  # keys of computations; the last two are of accounts
OF_ACCOUNTS = COMPUTED[2:]
REFUSED: tuple[Outcome, ...] = ("rejected", "missing key", "rejected maybe", *EXPIRED)
OPEN: tuple[Outcome, ...] = ("pending", "maybe")


@dataclass
class Told:
    """One call that was made, and what became of it."""

    connection: Connection
    place: Place
    kind: str
    value: str  # canonical
    at: int
    traits: str  # canonical
    sync: Sync | None = None
    outcome: Outcome = "pending"
    covered: bool = False  # a deletion that was given up may land over it

    def facts(self) -> tuple[Any, ...]:
        """What a call of the code must equal. Its time is that of its first ask, if it waits since then."""
        return self.connection.name, self.place[1], self.kind, self.place[2], self.value, self.traits

    def keeps_out(self, other: "Told") -> bool:
        """The other was refused in this one; an expired one is heard again when somebody says it again."""
        same = (self.connection.settings, self.sync, self.place, self.kind, self.value, self.traits) == (
            other.connection.settings, other.sync, other.place, other.kind, other.value, other.traits,
        )  # fmt: skip
        return same and (self.outcome not in EXPIRED or self.at == other.at)


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


def account(connection: Connection) -> str:
    return vendor_of(connection).tenant


class Model:
    """All events so far, and all calls so far about ana."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.log: list[Told] = []  # since the last deletion
        self.asked: dict[Place, Told] = {}  # what waits in a log, held or not
        self.ever: set[Place] = set()  # where something was asked since the last deletion
        self.strays: set[str] = set()  # vendor accounts where a deletion of this run may land late
        self.owed: list[tuple[str, Identifier]] = []  # deletions that a vendor account has not acknowledged
        self.created: dict[tuple[str, str], int] = {}
        self.met: list[Place] = []  # places that somebody was to be told in
        self.excused: dict[Place, str] = {}  # and the value that is kept from them

    # -- one run

    def run(self, workspace: Workspace, events: Sequence[Event], now: datetime, held: Sequence[str]) -> list[Told]:
        """The calls that must be made."""
        for connection in workspace.connections:
            for sync in connection.syncs:
                self.created.setdefault((connection.name, sync.computation), micros(now))
        waited = dict(self.asked)
        self._look(workspace)  # at everybody, if the workspace changed: before the news
        before, had = self.deleted(), self.identifiers()
        self.events += events
        if self.deleted() > before:
            self._forget(workspace, {**waited, **self.asked}, sorted(had))
        calls = self._look(workspace)
        made: list[Told] = []
        self.strays = set()
        for connection in workspace.connections:
            made += self._deletions(connection)
            lists = connection.name in held
            made += [t for t in calls if t.connection is connection and not (lists and t.place[1].startswith("list"))]
        self.log += made
        return made

    def _look(self, workspace: Workspace) -> list[Told]:
        """What is wanted and not told, of every sync; it is asked from then on."""
        calls = [
            told
            for connection in workspace.connections
            for sync in connection.syncs
            for form in sync.forms
            if self.takes(form)
            for told in self._wanted(workspace, connection, sync, form)
        ]
        for told in calls:  # what waits already is as old as it was
            before = self.asked.get(told.place)
            if before and (before.value, before.traits) == (told.value, told.traits):
                told.at = before.at
        self.asked = {told.place: told for told in calls}
        self.ever |= self.asked.keys()
        return calls

    def settle(self, told: Told, outcome: Outcome) -> None:
        """What became of a call."""
        told.outcome, told.covered = outcome, told.place[0] in self.strays
        if told.kind == "delete" and outcome in UNANSWERED:
            self.strays.add(told.place[0])
        if outcome in OPEN:
            return
        if told.kind == "delete":
            self.owed.remove((told.place[0], told.place[2]))
        else:
            del self.asked[told.place]

    def takes(self, form: str) -> bool:
        """Whether a form is told of the person, and not of an account."""
        return form != "group"

    # -- what is known of the person

    def deleted(self) -> int:
        return max((_at(e) for e in self.events if e["type"] == "delete"), default=-1)

    def living(self, *kinds: str) -> list[Event]:
        """Events of these types that no deletion is later than."""
        mine = [e for e in self.events if e.get("profile_id") == "ana" and "account_id" not in e]
        return [e for e in mine if e["type"] in kinds and _at(e) > self.deleted()]

    def mentions(self, identifier: Identifier, field: str = "external_ids") -> list[int]:
        return [_at(e) for e in self.living("profile") for i in e[field] if _identifier(i) == identifier]

    def first_mention(self, identifier: Identifier) -> int:
        # Whether an earlier mention survived a deletion depends on what came first: only the last one counts.
        found = self.mentions(identifier)
        return min(found) if self.deleted() < 0 else max(found)

    def identifiers(self) -> set[Identifier]:
        """The latest mention wins; at the same time the removal."""
        named = {_identifier(i) for e in self.living("profile") for i in e["external_ids"]}
        return {i for i in named if max(self.mentions(i)) > max(self.mentions(i, "removed_ids"), default=-1)}

    def value(self, key: str) -> tuple[int, Any] | None:
        if key in OF_ACCOUNTS:
            return self.joined(key)
        facts = [
            (_at(e), e["value"] if e["type"] == "trait" else e["member"])
            for e in self.living("trait", "audience")
            if e["computation"] == key
        ]
        return max(facts, key=_rank, default=None)

    def joined(self, key: str) -> tuple[int, Any] | None:
        """What the accounts say that she is a member of: each its latest value. Who left one is out, or has null."""
        found, left = [], []
        for account in sorted({e["account_id"] for e in self.events if "account_id" in e}):
            about = [e for e in self.events if e.get("account_id") == account]
            joins = [e for e in about if e.get("profile_id") == "ana" and _at(e) > self.deleted()]
            membership = max(((_at(e), e["member"]) for e in joins), default=None)
            fact = latest(about, key)
            if membership and not membership[1]:
                left.append(membership[0])
            elif membership and fact:
                found.append((fact, max(fact[0], membership[0])))
        if key == "seats" and found:
            (_, value), at = max(found, key=lambda each: (_rank(each[0]), each[1]))
            return at, value
        inside = [at for (_, value), at in found if key == "at_risk" and value]
        outside = [*left, *(at for _, at in found)]
        if not outside:
            return None
        return (max(inside), True) if inside else (max(outside), None if key == "seats" else False)

    def belonging(self) -> tuple[int, Any] | None:
        """To which accounts she belongs, and to which no more, since the latest change of these."""
        found: dict[str, tuple[int, bool]] = {}
        for event in self.events:
            if "account_id" in event and event.get("profile_id") == "ana" and _at(event) > self.deleted():
                told = (_at(event), event["member"])
                found[event["account_id"]] = max(told, found.get(event["account_id"], told))
        if not found:
            return None
        return max(at for at, _ in found.values()), {account: member for account, (_, member) in found.items()}

    def fact(self, sync: Sync, form: str) -> tuple[int, Any] | None:
        return self.belonging() if form == "member" else self.value(sync.computation)

    def trait(self, name: str) -> Any:
        facts = [(_at(e), e["traits"][name]) for e in self.living("profile") if name in e.get("traits", {})]
        return max(facts, key=_rank)[1] if facts else None

    def has_trait(self, name: str) -> bool:
        return any(name in e.get("traits", {}) for e in self.living("profile"))

    def latest_news(self) -> int:
        telling = [e for e in self.living("profile") if e["external_ids"] or e["removed_ids"] or e.get("traits")]
        joined = [fact[0] for key in OF_ACCOUNTS if (fact := self.value(key))]
        return max([*joined, *(_at(e) for e in telling + self.living("trait", "audience"))], default=0)

    def matches(self, where: dict[str, Any]) -> bool:
        for key, wanted in where.items():
            if key == "has":
                if wanted not in {i.type for i in self.identifiers()}:
                    return False
                continue
            fact = self.value(key)
            is_now = canonical(self.trait(key) if key not in COMPUTED else fact[1] if fact else None)
            refused = isinstance(wanted, dict)
            among = wanted["not"] if refused else wanted
            if (is_now in [canonical(each) for each in (among if isinstance(among, list) else [among])]) == refused:
                return False
        return True

    # -- what one form of a sync wants

    def in_history(self, connection: Connection, sync: Sync, form: str) -> bool:
        """Whether there is a value, from a time that the sync takes."""
        fact = self.fact(sync, form)
        historical = sync.historical and VENDORS[connection.destination].history
        return fact is not None and (historical or fact[0] > self.created[connection.name, sync.computation])

    def _wanted(self, workspace: Workspace, connection: Connection, sync: Sync, form: str) -> Iterator[Told]:
        fact = self.fact(sync, form)
        if fact is None or not self.in_history(connection, sync, form):
            return
        kinds = {c.key: c.kind for c in workspace.computations}
        audience = kinds[sync.computation] == "audience" and form != "member"
        (at, value), slot = fact, f"{form} {sync.computation}"
        receivers = [] if audience and not value else self.receivers(connection, sync)
        if not sync.resync_on_new_identifier:
            self._excuse(account(connection), slot, receivers, at, value)
        told = [(identifier, at, value) for identifier in receivers]
        if audience:
            told += self._exits(connection, slot, receivers, at, value, self.matching(connection, sync))
        for identifier, when, what in told:
            kind = form if form != "list" else "add" if what else "remove"
            traits = canonical(self.traits(connection, sync, identifier, form))
            each = Told(connection, (account(connection), slot, identifier), kind, canonical(what), when, traits, sync)
            if self._due(each):
                yield each

    def _exits(
        self, connection: Connection, slot: str, receivers: Sequence[Identifier], at: int, value: Any, matching: bool
    ) -> list[tuple[Identifier, int, bool]]:
        """Who was told that the person is in, and should know better."""
        ever = [t.place for t in self.log if t.place[:2] == (account(connection), slot)]
        gone = [p for p in dict.fromkeys(ever) if p[2] not in receivers and self.exposed(p)]
        if not value:
            return [(place[2], at, False) for place in gone]
        leaving = [p for p in gone if not matching or p[2] not in self.identifiers()]
        return [(place[2], self.latest_news(), False) for place in leaving]

    def matching(self, connection: Connection, sync: Sync) -> bool:
        return self.matches(connection.where) and self.matches(sync.where)

    def _due(self, told: Told) -> bool:
        if self.sure(told.place) == told.value or self.excused.get(told.place) == told.value:
            return False
        if self.says_nothing(told.value) and not self.possibly_told(told.place):
            return False
        refused = self.refused(told.place)
        return refused is None or not refused.keeps_out(told)

    def says_nothing(self, value: str) -> bool:
        """Whether it is nothing to whom nothing was told: no value, or accounts that were left."""
        return value == "null" or (value[0] == "{" and "true" not in value)

    def strategy(self, connection: Connection, sync: Sync, kind: str) -> str:
        return sync.identifiers.get(kind) or connection.identifiers.get(kind) or "all"

    def understood(self, connection: Connection, sync: Sync, attached: bool) -> list[Identifier]:
        """In order of their first mention; those that are told, or those that are attached."""
        takes = VENDORS[connection.destination].identifiers
        found = [i for i in self.identifiers() if i.type in takes or "*" in takes]
        found = [i for i in found if (self.strategy(connection, sync, i.type) == "attach") == attached]
        return sorted(found, key=lambda i: (self.first_mention(i), i.id))

    def receivers(self, connection: Connection, sync: Sync) -> list[Identifier]:
        if not self.matching(connection, sync):
            return []
        chosen: list[Identifier] = []
        told = self.understood(connection, sync, attached=False)
        for kind in sorted({i.type for i in told}):
            of_kind = [i for i in told if i.type == kind]
            strategies = {"all": of_kind, "first": of_kind[:1], "last": of_kind[-1:], "none": []}
            chosen += strategies[self.strategy(connection, sync, kind)]
        return chosen or self._of_first_type(connection, self.understood(connection, sync, attached=True))

    def _of_first_type(self, connection: Connection, attached: list[Identifier]) -> list[Identifier]:
        """Nobody but attached ones is there: those are told whose type the vendor puts first."""
        takes = VENDORS[connection.destination].identifiers
        kinds = sorted({i.type for i in attached}, key=lambda kind: (takes.index(kind) if kind in takes else 0, kind))
        return [i for i in attached if i.type == kinds[0]]

    def traits(self, connection: Connection, sync: Sync, receiver: Identifier, form: str) -> dict[str, Any]:
        found = self.enrichment(sync) if form != "member" else {}
        told = self.receivers(connection, sync)
        if told and receiver in self.identifiers():
            attached = self.understood(connection, sync, attached=True)
            found |= {i.type: i.id for i in attached if i not in told and i.type != receiver.type}
        for key, alternatives in VENDORS[connection.destination].required.items():
            for parts in alternatives:
                words = ["" if self.trait(part) is None else str(self.trait(part)).strip() for part in parts]
                if all(words):
                    found[key] = " ".join(words)
                    break
        return found

    def enrichment(self, sync: Sync) -> dict[str, Any]:
        found = {name: self.trait(name) for name in sync.enrich if name not in COMPUTED and self.has_trait(name)}
        return found | {key: fact[1] for key in sync.enrich if key in COMPUTED and (fact := self.value(key))}

    def _excuse(self, tenant: str, slot: str, receivers: Sequence[Identifier], at: int, value: Any) -> None:
        """Without resync, a new identifier gets the next change, not the value that there is."""
        for place, kept in list(self.excused.items()):
            if place[:2] == (tenant, slot) and kept != canonical(value):
                del self.excused[place]
        others = [place for place in self.met if place[:2] == (tenant, slot)]
        heard = any(canonical(value) in (self.sure(other), self._asked_value(other)) for other in others)
        for identifier in receivers:
            place = tenant, slot, identifier
            if place in others or (self.says_nothing(canonical(value)) and not self.possibly_told(place)):
                continue
            if others and (heard or at <= self.first_mention(identifier)):
                self.excused[place] = canonical(value)
            self.met.append(place)

    def _asked_value(self, place: Place) -> str | None:
        return self.asked[place].value if place in self.asked else None

    # -- deletion

    def _forget(self, workspace: Workspace, asked: dict[Place, Told], had: list[Identifier]) -> None:
        """Whoever may be known to a vendor that can forget is to be forgotten there; the rest starts anew."""
        still = []
        for connection in workspace.connections:
            known = [t.place for t in self.log if t.kind != "delete" and t.outcome in ("delivered", *UNANSWERED)]
            under_way = [place for place in self.ever if self.refused(place) is None]  # or may be, taken back or not
            maybe = [*known, *asked, *sorted(under_way)]
            for tenant, _, identifier in [*maybe, *self._went_along(connection, maybe, had)]:
                forgets = identifier.type in VENDORS[connection.destination].forgets
                if tenant == account(connection) and forgets and (tenant, identifier) not in still:
                    still.append((tenant, identifier))
            still += [owed for owed in self.owed if owed[0] == account(connection) and owed not in still]
        self.owed = still
        self.log, self.met, self.excused, self.asked, self.ever = [], [], {}, {}, set()

    def _went_along(self, connection: Connection, maybe: Sequence[Place], had: Sequence[Identifier]) -> Iterator[Place]:
        """Identifiers that stand in the rows of lists, without calls of their own."""
        for sync in connection.syncs:
            slot = f"list {sync.computation}"
            if "list" in sync.forms and (account(connection), slot) in {place[:2] for place in maybe}:
                attached = [i for i in had if self.strategy(connection, sync, i.type) == "attach"]
                yield from ((account(connection), slot, identifier) for identifier in attached)

    def _deletions(self, connection: Connection) -> list[Told]:
        return [
            Told(connection, (tenant, "delete ", identifier), "delete", "null", self.deleted(), "{}")
            for tenant, identifier in self.owed
            if tenant == account(connection)
        ]

    # -- what one identifier was told in one slot

    def _calls(self, place: Place) -> list[Told]:
        return [told for told in self.log if told.place == place]

    def sure(self, place: Place) -> str | None:
        """The value that the vendor surely has."""
        value = None
        for told in self._calls(place):
            if told.outcome in UNANSWERED or (told.outcome == "delivered" and told.covered):
                value = None
            elif told.outcome == "delivered":
                value = told.value
        return value

    def exposed(self, place: Place) -> bool:
        """Whether the vendor has, or may have, something that an exit takes back."""
        exposed = False
        for told in self._calls(place):
            if told.outcome in UNANSWERED or (told.outcome == "delivered" and told.covered):
                exposed = True
            elif told.outcome == "delivered":
                exposed = told.value != "false"
        return exposed

    def possibly_told(self, place: Place) -> bool:
        return any(told.outcome in ("delivered", *UNANSWERED) for told in self._calls(place))

    def refused(self, place: Place) -> Told | None:
        """The last call that the vendor refused and that nothing came after which arrived, or may have."""
        last = None
        for told in self._calls(place):
            if told.outcome in REFUSED:
                last = told
            elif told.outcome in ("delivered", "maybe"):
                last = None
        return last


class AccountModel(Model):
    """The same about one account, as far as it is told as a whole."""

    def __init__(self, account: str) -> None:
        super().__init__()
        self.account = account

    def takes(self, form: str) -> bool:
        return form == "group"

    def deleted(self) -> int:
        return -1

    def about(self) -> list[Event]:
        return [e for e in self.events if e.get("account_id") == self.account]

    def identifiers(self) -> set[Identifier]:
        return {Identifier("account_id", self.account)}

    def value(self, key: str) -> tuple[int, Any] | None:
        return latest(self.about(), key) if key in OF_ACCOUNTS else None

    def trait(self, name: str) -> Any:
        facts = [(_at(e), e["traits"][name]) for e in self.about() if name in e.get("traits", {})]
        return max(facts, key=_rank)[1] if facts else None

    def has_trait(self, name: str) -> bool:
        return any(name in e.get("traits", {}) for e in self.about())

    def latest_news(self) -> int:
        traits = [_at(e) for e in self.about() if e.get("traits")]
        return max([*traits, *(fact[0] for key in OF_ACCOUNTS if (fact := self.value(key)))], default=0)

    def matching(self, connection: Connection, sync: Sync) -> bool:
        return self.matches(sync.where)

    def receivers(self, connection: Connection, sync: Sync) -> list[Identifier]:
        return sorted(self.identifiers()) if self.matching(connection, sync) else []

    def traits(self, connection: Connection, sync: Sync, receiver: Identifier, form: str) -> dict[str, Any]:
        return self.enrichment(sync)


def latest(about: list[Event], key: str) -> tuple[int, Any] | None:
    """The latest value of a computation in events about an account."""
    facts = [
        (_at(e), e["value"] if e["type"] == "trait" else e["member"]) for e in about if e.get("computation") == key
    ]
    return max(facts, key=_rank, default=None)


def _at(event: Event) -> int:
    return micros(datetime.fromisoformat(event["at"]))


def _identifier(external: dict[str, str]) -> Identifier:
    return Identifier(external["type"], external["id"])


def _rank(fact: tuple[int, Any]) -> tuple[int, bytes]:
    return fact[0], canonical(fact[1]).encode()
