"""A call has two numbers: its *ask*, which the fold gave it, and its *place* in the topic of its connection.

The ask is unique for each profile: receipts bring it back to the fold. The place (the offset, and one more) is unique
for the connection: the sender's log has it as the number of the call.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from zlib import crc32

from msgspec.structs import replace

from schemas.calls import Call
from schemas.receipts import Receipt

UNKNOWN = 1 << 62  # the place of a call that is not there any more: nothing is known of what became of it


def place_of(offset: int) -> int:
    return offset + 1


class Places:
    """The places of one connection's calls that are not settled, or were a short while ago. In a file of its own."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._lock = Lock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
            "CREATE TABLE places (place INTEGER PRIMARY KEY, who INTEGER, ask INTEGER);"
            "CREATE INDEX by_ask ON places (ask, who);"
        )

    def enter(self, calls: Iterable[tuple[int, Call]]) -> list[Call]:
        """Calls by place, as the fold numbered them → as the sender has them."""
        with self._lock:
            self._db.execute("BEGIN")
            try:
                return [self._enter(place, call) for place, call in calls]
            finally:
                self._db.execute("COMMIT")

    def _enter(self, place: int, call: Call) -> Call:
        who = _who(call.profile_id)
        self._db.execute("INSERT OR REPLACE INTO places VALUES (?, ?, ?)", (place, who, call.ask))
        if not (call.replaces or call.opens):
            return replace(call, ask=place)
        return replace(call, ask=place, replaces=self._place(who, call.replaces), opens=self._place(who, call.opens))

    def _place(self, who: int, ask: int) -> int:
        if not ask:
            return 0
        row = self._db.execute("SELECT max(place) FROM places WHERE ask = ? AND who = ?", (ask, who)).fetchone()
        return row[0] or UNKNOWN

    def as_asked(self, receipt: Receipt) -> Receipt:
        """A receipt as the sender wrote it → with the numbers that the fold gave."""
        with self._lock:
            asked = replace(receipt, ask=self._ask(receipt.ask))
            if (call := receipt.call) is None:
                return asked
            opens, replaces = self._ask(call.opens), self._ask(call.replaces)
            return replace(asked, call=replace(call, ask=asked.ask, opens=opens, replaces=replaces))

    def _ask(self, place: int) -> int:
        row = self._db.execute("SELECT ask FROM places WHERE place = ?", (place,)).fetchone()
        return row[0] if row else 0

    def forget(self, below: int) -> None:
        """Calls below this place are settled since long."""
        with self._lock:
            self._db.execute("DELETE FROM places WHERE place < ?", (below,))

    def close(self) -> None:
        with self._lock:
            self._db.close()


def _who(profile_id: str) -> int:
    return crc32(profile_id.encode())
