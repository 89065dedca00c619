"""Who was deleted by an event: of them a snapshot of a table keeps nothing, once the table has no row of theirs."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from pipeline.state_db import StateDb
from schemas.state import decode_profile
from transforms.logic.portion import tombstone

_LIVE = "\x01"  # what is kept of those who were deleted comes before it


class Forgotten:
    """Asked by the keys of rows, which are ids of profiles."""

    def __init__(self, db: StateDb) -> None:
        self._db, self._any = db, bool(db.names("", 1, _LIVE))

    def among(self, keys: Sequence[str]) -> list[str]:
        """Those who were deleted: every vendor that can has forgotten them, and nothing is known since."""
        if not self._any:
            return []
        graves = {tombstone(key): key for key in keys}
        return [graves[grave] for grave in self._db.get([*graves])]

    def has(self, key: str) -> bool:
        """Whether they were deleted, and nothing is known since; vendors may still have to forget them."""
        states = [decode_profile(packed) for packed in self._db.get([tombstone(key), key]).values()]
        return any(state.deleted is not None and not state.known_since for state in states)


@contextmanager
def forgotten_in(state: Path) -> Iterator[Forgotten]:
    """By a state directory. Raises StoreError."""
    with closing(StateDb.open(state, to_read=True)) as db:
        yield Forgotten(db)
