"""Who has an identifier: a part of `state.db` that finds profiles by what they are called elsewhere.

    new_persons   as they come, without order: a portion adds to its end
    persons       in order of the identifiers' digests

Digests are in no order, so each row that goes to `persons` costs a page of the disk. Rows are collected, therefore,
and moved many at a time; who looks for somebody reads the collected ones from end to end.
"""

import sqlite3
from collections.abc import Collection, Sequence
from hashlib import blake2b

from schemas.calls import Identifier
from transforms.logic.alike import alike

COLLECTED = 500_000  # rows of `new_persons`: reading them takes a tenth of a second
SCHEMA = """
CREATE TABLE persons (digest INTEGER, profile TEXT, PRIMARY KEY (digest, profile)) WITHOUT ROWID;
CREATE TABLE new_persons (number INTEGER PRIMARY KEY, digest INTEGER, profile TEXT);
"""
_PAIRS = 200  # in one statement

Named = tuple[Identifier, str]  # with the profile's id


def find(database: sqlite3.Connection, identifier: Identifier) -> list[str]:
    """Profiles that may have it, in order: another identifier may have the same digest."""
    rows = database.execute(
        "SELECT profile FROM persons WHERE digest = :digest UNION SELECT profile FROM new_persons "
        "WHERE digest = :digest ORDER BY profile",
        {"digest": digest(identifier)},
    )
    return [profile for (profile,) in rows]


def find_all(database: sqlite3.Connection, wanted: Collection[Identifier]) -> dict[Identifier, list[str]]:
    """The same for many at once. Within a transaction."""
    digests: dict[int, list[Identifier]] = {}
    for identifier in wanted:
        digests.setdefault(digest(identifier), []).append(identifier)
    database.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (digest INTEGER PRIMARY KEY)")
    database.execute("DELETE FROM wanted")
    database.executemany("INSERT INTO wanted VALUES (?)", [(each,) for each in digests])
    found: dict[Identifier, list[str]] = {}
    for number, profile in database.execute(
        "SELECT digest, profile FROM wanted CROSS JOIN persons USING (digest) UNION "
        "SELECT digest, profile FROM new_persons WHERE digest IN wanted ORDER BY 1, 2"
    ):
        for identifier in digests[number]:
            found.setdefault(identifier, []).append(profile)
    return found


def write(
    database: sqlite3.Connection, named: Sequence[Named], unnamed: Sequence[Named], most: int = COLLECTED
) -> None:
    """Within a transaction: note who has which identifier, and who has it no more."""
    if unnamed:
        _forget(database, [(digest(identifier), profile) for identifier, profile in unnamed])
    if named:
        rows = [(digest(identifier), profile) for identifier, profile in named]
        database.executemany("INSERT INTO new_persons (digest, profile) VALUES (?, ?)", rows)
        _move(database, most)


def _forget(database: sqlite3.Connection, gone: Sequence[tuple[int, str]]) -> None:
    database.executemany("DELETE FROM persons WHERE digest = ? AND profile = ?", gone)
    for start in range(0, len(gone), _PAIRS):
        part = gone[start : start + _PAIRS]
        pairs = ",".join(["(?, ?)"] * len(part))
        database.execute(
            f"DELETE FROM new_persons WHERE (digest, profile) IN (VALUES {pairs})", [x for pair in part for x in pair]
        )


def _move(database: sqlite3.Connection, most: int) -> None:
    first, last = database.execute("SELECT min(number), max(number) FROM new_persons").fetchone()
    if last - first < most:
        return
    database.execute("INSERT OR IGNORE INTO persons SELECT digest, profile FROM new_persons ORDER BY digest, profile")
    database.execute("DELETE FROM new_persons")


def digest(identifier: Identifier) -> int:
    """A number of 63 bits, the same for all spellings."""
    return int.from_bytes(blake2b("\0".join(alike(identifier)).encode(), digest_size=8).digest()) >> 1
