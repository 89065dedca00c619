"""The decider: facts from files, logs and workspace changes are folded into the state, portion by portion.

Each portion is one transaction: states, calls, and how far receipts are folded. A crash between two leaves the
rest to the next decider, and what is folded twice changes nothing.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from pipeline.sent import Receipts, make, remade, rename
from pipeline.state_db import LAST, StateDb
from pipeline.state_db import Portion as Transaction
from pipeline.vendors import made
from schemas.dead_letters import DeadLetter, mask
from schemas.input_counts import InputCounts
from schemas.receipts import Receipt
from schemas.registry import Registry, decode_registry, encode_registry
from schemas.state import account_key
from schemas.workspace import Workspace
from transforms.logic.detect import micros
from transforms.logic.fold import Facts
from transforms.logic.ledger import Retry
from transforms.logic.plan import Plan, make_plan, refreshed
from transforms.logic.portion import Parsed, Portion, accounts_in, fold_portion, heard_of
from transforms.logic.registry import Notice, Vendor, enter
from transforms.sending.log import fields_of

PROFILES = 5_000  # in a transaction: about 1 KB each, and as much again for each call
RECEIPTS = 20_000  # folded in a transaction


class Decided(Struct):
    """What was counted while deciding; sums over all portions of a run."""

    input: dict[str, int] = field(default_factory=dict)  # read, applied, unchanged, dead_letters, retried, dropped, …
    made: dict[str, int] = field(default_factory=dict)  # calls by connection, without cancels
    no_identifier: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)  # identifiers that a vendor cannot forget, by connection
    sources: InputCounts = field(default_factory=InputCounts)
    settled: dict[str, int] = field(default_factory=dict)  # calls by fate, as their receipts say
    asked: int = 0  # records in logs, cancels too
    errors: list[str] = field(default_factory=list)  # unreadable files: nothing was folded

    def add(self, other: "Decided") -> None:
        self.errors += other.errors
        for mine, others in (
            (self.input, other.input), (self.made, other.made), (self.no_identifier, other.no_identifier),
            (self.kept, other.kept), (self.settled, other.settled),
        ):  # fmt: skip
            for name, number in others.items():
                mine[name] = mine.get(name, 0) + number
        self.asked += other.asked
        self.sources.merge(other.sources)


class Decider:
    """Folds into one state directory. Whoever has one holds the `deciding` lease. Picklable: it holds a path."""

    def __init__(self, folder: Path, plan: Plan, registry: Registry, run: str, masked: bool = False) -> None:
        self.folder, self.plan, self.registry, self.run, self.masked = folder, plan, registry, run, masked
        self._db: StateDb | None = None
        self._open: dict[str, Receipts] = {}
        self._read: dict[str, object] = {}  # stamps of logs of which every receipt is folded

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_db": None, "_open": {}, "_read": {}}

    @property
    def db(self) -> StateDb:
        if self._db is None:
            self._db = StateDb.open(self.folder)
        return self._db

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()
        if self._db is not None:
            self._db.close()
            self._db = None

    @property
    def outdated(self) -> bool:
        """Whether somebody decided with a newer workspace: what this one wants counts no more."""
        number = self.db.meta("workspace_number")
        return isinstance(number, int) and number > self.registry.number

    # -- facts

    def fold_parsed(self, parsed: Parsed) -> Decided:
        """Fold the events of one shard of input, and keep what was no event as dead letters."""
        decided = Decided(dict(parsed.counts), sources=parsed.sources)
        letters = [mask(letter) for letter in parsed.dead_letters] if self.masked else parsed.dead_letters
        if letters:
            with self.db.portion() as transaction:
                transaction.letters(self.run, letters)
        keys = sorted(parsed.events)  # accounts come before profiles
        for names in _chunks(keys, PROFILES):
            decided.add(self._fold({name: Facts(events=parsed.events[name]) for name in names}))
        return decided

    def fold_receipts(self) -> Decided:
        """Fold the receipts that came since the last time, of every connection that there ever was."""
        decided = Decided()
        for part in self.receipts():
            decided.add(part)
        return decided

    def receipts(self, most: int = RECEIPTS, passing: bool = False) -> Iterator[Decided]:
        """`fold_receipts`, a portion at a time. `passing` over logs that seem to have nothing new."""
        for number, name in enumerate(self.registry.connections):
            log = self._receipts(name)
            stamp = log.stamp()
            if passing and stamp is not None and stamp == self._read.get(name):
                continue
            known = self.db.folded(number)
            file, position = log.file_id, log.place(known)
            if known and file not in (b"", known[0]):  # it was lost, or an older copy was put back
                with self.db.portion() as transaction:
                    transaction.folded(number, file, position)
            while found := log.after(position, most):
                position = found[-1].position
                facts: dict[str, Facts] = {}
                for each in found:
                    told = facts.setdefault(each.receipt.profile_id, Facts(receipts=[]))
                    told.receipts.append(each.receipt)  # type: ignore[attr-defined]
                freed = [each.receipt.ask for each in found]
                decided = self._fold(facts, (number, file, position, freed))
                decided.settled = fields_of([each.receipt for each in found])
                yield decided
            self._read[name] = stamp

    def _receipts(self, connection: str) -> Receipts:
        """The open receipts of a connection. They stay open, for a service looks at each twice a second."""
        if connection not in self._open:
            log = Receipts(self.folder, connection)
            if not log.file_id:
                return log
            self._open[connection] = log
        return self._open[connection]

    def fold_told(self, receipts: Mapping[str, Sequence[Receipt]]) -> Decided:
        """Fold receipts, by profile, that no log of this directory has."""
        decided = Decided()
        for names in _chunks(sorted(receipts), PROFILES):
            decided.add(self._fold({name: Facts(receipts=receipts[name]) for name in names}))
        return decided

    def fold_retries(self, retries: Iterable[Retry]) -> Decided:
        """Fold dead letters that are to be tried again."""
        facts: dict[str, Facts] = {}
        deletions: list[tuple[int, int]] = []
        for retry in retries:
            facts.setdefault(retry.call.profile_id, Facts(retries=[])).retries.append(retry)  # type: ignore[attr-defined]
            if retry.call.kind == "delete":
                deletions.append((retry.call.slot, retry.call.ask))
        decided = Decided()
        for names in _chunks(sorted(facts), PROFILES):
            decided.add(self._fold({name: facts[name] for name in names}))
        if deletions:
            self.db.remember_replayed(deletions)
        return decided

    def tick(self) -> Decided:
        """Look at every account and profile, if the workspace is not the one that they were last looked at with."""
        decided = Decided()
        for part in self.ticks():
            decided.add(part)
        return decided

    def ticks(self, most: int = PROFILES) -> Iterator[Decided]:
        """`tick`, a portion at a time. What was not reached is begun again by whoever decides next."""
        digest, refresh = self.plan.digest(), refreshed(self.plan, self.registry)
        if self.registry.digest == digest and not self.registry.refreshing:
            return
        for after, last in ((account_key(""), account_key(LAST)), ("\x01", LAST)):  # tombstones come before
            while names := self.db.names(after, most, last):
                after = names[-1]
                yield self._fold({name: Facts(tick=True, refresh=refresh) for name in names})
        self.registry.digest, self.registry.refreshing = digest, []
        write_registry(self.db, self.registry)

    def at(self, now: datetime) -> "Decider":
        """This decider with another clock."""
        self.plan = msgspec.structs.replace(self.plan, now=micros(now))
        return self

    def _fold(self, facts: Mapping[str, Facts], folded: tuple[int, bytes, int, list[int]] | None = None) -> Decided:
        accounts = accounts_in(facts)
        if not accounts:
            return self._fold_at_once(facts, folded)[0]
        decided = Decided()
        members = heard_of(accounts, self.db.get, self.plan)
        heard = set(members) if len(members) > PROFILES else set()
        for names in _chunks(sorted(heard), PROFILES):  # a crash here leaves the accounts as if nothing had happened
            part, portion = self._fold_at_once({name: members[name] for name in names})
            decided.add(part)
            heard -= portion.deleted()  # they are to answer the accounts as these are then
        decided.add(self._fold_at_once(facts, folded, heard)[0])
        return decided

    def _fold_at_once(
        self,
        facts: Mapping[str, Facts],
        folded: tuple[int, bytes, int, list[int]] | None = None,
        heard: Container[str] = (),
    ) -> tuple[Decided, Portion]:
        """Fold in one transaction. `heard`: profiles that know already what the accounts among these say."""
        with self.db.portion() as transaction:
            portion = fold_portion(facts, self.db.get, self.plan, transaction.asks(), heard, transaction.persons)
            self._write(transaction, portion)
            if folded:
                number, file_id, position, freed = folded
                transaction.free(number, freed)
                transaction.folded(number, file_id, position)
        calls = portion.calls.items()
        decided = Decided(
            dict(portion.counts),
            {name: sum(call.kind != "cancel" for call in made) for name, made in calls},
            dict(portion.no_identifier),
            dict(portion.kept),
            asked=sum(len(made) for _, made in calls),
        )
        return decided, portion

    def _write(self, transaction: Transaction, portion: Portion) -> None:
        transaction.put(portion.states)
        transaction.drop(portion.gone)
        transaction.name(portion.named, portion.unnamed)
        transaction.count_members(portion.members)
        for connection in self.plan.connections:
            if calls := portion.calls.get(connection.name):
                if not transaction.knows_file(connection.number):  # or nobody could tell that it was lost
                    transaction.folded(connection.number, make(self.folder, connection.name), 0)
                transaction.append(connection.number, calls)


def enter_workspace(
    db: StateDb, workspace: Workspace, vendors: Mapping[str, Vendor], now: int, refresh: Iterable[str] = ()
) -> tuple[Plan, Registry, list[Notice]]:
    """The plan and the registry with this workspace, not yet written; and what changes by it."""
    packed = db.registry()
    known = decode_registry(packed) if packed else Registry()
    registry, notices = enter(known, workspace, vendors, now, remade(db.folder, workspace), refresh)
    plan = make_plan(workspace, vendors, registry, now)
    if registry != known or known.digest != plan.digest():
        registry.number = known.number + 1
    return plan, registry, notices


def planned(db: StateDb, workspace: Workspace, now: datetime) -> tuple[Plan, Registry]:
    """The plan that a run of now would have; nothing is written."""
    plan, registry, _ = enter_workspace(db, workspace, made(workspace).vendors, micros(now))
    return plan, registry


def write_registry(db: StateDb, registry: Registry) -> None:
    """From now on senders of an older workspace hand over. Raises Busy while a connection of another name is sent."""
    if packed := db.registry():
        known = decode_registry(packed).connections
        names = zip(known, registry.connections, strict=False)
        rename(db.folder, {old: new for old, new in names if old != new})
    with db.portion() as transaction:
        transaction.registry(encode_registry(registry), registry.number)


def _chunks(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), size):
        yield names[start : start + size]


__all__ = ["DeadLetter", "Decided", "Decider", "enter_workspace", "write_registry"]
