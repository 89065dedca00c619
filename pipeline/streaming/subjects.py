"""Subjects of a directory that is made of a log: what a directory knows of them besides, and what is wrong in them.

The topic of states has each state as the fold wrote it. A directory also knows who has which identifier, and how large
audiences are. And where an engine died, somebody may wait for a call that was never written down.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pipeline.state_db import StateDb, decode_call
from pipeline.streaming.kafka import Kafka, KafkaProblem
from schemas.calls import Identifier
from schemas.registry import Registry
from schemas.state import (
    AccountState,
    NewerState,
    ProfileState,
    account_of,
    decode_account,
    decode_profile,
    encode_account,
    encode_profile,
)
from transforms.logic.moving import release_lost, renumber
from transforms.logic.plan import Plan
from transforms.logic.portion import tombstone
from transforms.logic.snapshots import newer

_AT_ONCE = 5_000  # in a transaction

Changed = Mapping[str, Mapping[str, Mapping[int, int]]]  # new numbers of calls by connection, profile and old number


@contextmanager
def state_errors(kafka: Kafka) -> Iterator[None]:
    """Raise a KafkaProblem, which names the topic, where a newer version wrote a state."""
    try:
        yield
    except NewerState as error:
        raise KafkaProblem(f"{kafka.topic('state')}: {error}") from error


class _Subject:
    """A profile or an account."""

    def __init__(self, key: str, packed: bytes) -> None:
        self.key = key
        self._account: AccountState | None = None if account_of(key) is None else decode_account(packed)
        self.state: ProfileState = self._account.known if self._account else decode_profile(packed)

    @property
    def is_profile(self) -> bool:
        return self._account is None

    def packed(self) -> bytes:
        return encode_account(self._account) if self._account else encode_profile(self.state)


class Subjects:
    """First `enter`, then what is left to be folded is folded, then `release`."""

    def __init__(self, db: StateDb, registry: Registry, changed: Changed) -> None:
        self._db, self._changed = db, changed
        self._numbers = {name: number for number, name in enumerate(registry.connections)}
        self._of_slot = ["", *(slot.connection for slot in registry.slots)]
        self._lost: list[str] = []  # keys of those who wait for a call that is in no log

    def enter(self, plan: Plan) -> None:
        """Note identifiers and audiences, and give calls their new numbers in the ledger."""
        audiences = {number for number, kind in plan.computations.values() if kind == "audience"}
        members: Counter[int] = Counter()
        for known in self._pages():
            gone = self._older(known)
            found = [_Subject(key, packed) for key, packed in known.items() if key not in gone]
            named: list[tuple[Identifier, str]] = []
            for each in found:
                if each.is_profile:
                    values = each.state.values
                    members.update(number for number in audiences & values.keys() if values[number][1] is True)
                    named += [(identifier.identifier, each.key) for identifier in each.state.ids]
            renumbered = {each.key: each.packed() for each in found if self._renumber(each)}
            self._lost += [each.key for each in found if self._is_lost(each)]
            with self._db.portion() as transaction:
                transaction.drop(gone)
                transaction.put(renumbered)
                transaction.name(named, [])
        with self._db.portion() as transaction:
            transaction.count_members(members)

    def release(self) -> int:
        """Ask anew what waits for calls that are in no log, and have no receipt; of how many."""
        released = {}
        for key, packed in self._db.get(self._lost).items():
            subject = _Subject(key, packed)
            if release_lost(subject.state, lambda slot, ask, key=key: self._waits(key, slot, ask)):  # type: ignore[misc]
                released[key] = subject.packed()
        with self._db.portion() as transaction:
            transaction.put(released)
        return len(released)

    def _pages(self) -> Iterator[dict[str, bytes]]:
        """Profiles and accounts."""
        after = ""
        while names := self._db.names(after, _AT_ONCE):
            after = names[-1]
            yield self._db.get([name for name in names if name[0] != "\0" or account_of(name) is not None])

    def _older(self, known: Mapping[str, bytes]) -> list[str]:
        """Keys of what is known of somebody as deleted and as not deleted, and is the older of the two."""
        stones = {tombstone(key): key for key in known}
        found = self._db.get([*stones])
        return [
            stones[stone] if newer(known[stones[stone]], packed) == packed else stone for stone, packed in found.items()
        ]

    def _renumber(self, subject: _Subject) -> bool:
        """Whether any of its calls has another number now."""
        mine = {name: found for name, each in self._changed.items() if (found := each.get(subject.key))}
        for name, numbers in mine.items():
            renumber(subject.state, numbers, lambda slot, name=name: self._of_slot[slot] == name)  # type: ignore[misc]
        return bool(mine)

    def _is_lost(self, subject: _Subject) -> bool:
        return any(
            entry.open is not None and not self._waits(subject.key, slot, entry.open.ask)
            for slot, entries in subject.state.ledger.items()
            for entry in entries.values()
        )

    def _waits(self, key: str, slot: int, ask: int) -> bool:
        """Whether the subject's call is in the log."""
        number = self._numbers[self._of_slot[slot]]
        rows = self._db.rows(
            "SELECT call FROM calls WHERE connection = ? AND backfill IN (0, 1) AND ask = ?", number, ask
        )
        return any(decode_call(packed).profile_id == key for (packed,) in rows)
