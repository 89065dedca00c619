"""TableFeed: the tables of a service. Each is read when it is due, in a process of its own, and folded in portions.

    feed.look(db)                    reads what is due, hears what was read
    while (lines := feed.take()):    fold them, and then
        feed.took(db)                at their end the state knows of the table

One table is read at a time. What a kill or an end interrupts is read again by the next service; its events are told
again, which changes nothing the second time.
"""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pipeline.disk import StoreError
from pipeline.sources import FOLDER, Tables, numbers_of, remove_left
from pipeline.state_db import StateDb
from pipeline.table_reading import Reading, Wanted
from pipeline.table_stamps import Stamp, is_still, stamp_of
from pipeline.watch import STEP
from schemas.workspace import Source
from transforms.logic.detect import micros
from transforms.logic.portion import Lines

_CONSENT = "Nothing of it is told. If that is meant, start the service again with --accept-changes."


class Served(NamedTuple):
    """The sources of the workspace that is served."""

    sources: tuple[Source, ...]
    computed: frozenset[str]  # as `computed_of` the workspace


class Standing(NamedTuple):
    """How a source stands."""

    trouble: str = ""  # why it is not told as it is now
    read_at: float = 0.0  # when it was last read and told, or found unchanged: seconds since 1970; 0: not yet
    reading: bool = False  # it is read, or its events are folded
    changes: int = 0  # rows that were new, changed or gone, all together
    note: str = ""  # what was found last


class _Known:
    """What is kept of a source while it is in the workspace."""

    def __init__(self, accepted: bool) -> None:
        self.due = 0.0  # of the monotonic clock
        self.stamp: Stamp | None = None  # of what is told
        self.accepted = accepted  # what needs consent has it, the next time that it is read
        self.standing = Standing()


class _Current:
    """The source that is read now, and then folded."""

    def __init__(self, source: Source, stamp: Stamp | None, reading: Reading) -> None:
        self.source, self.stamp, self.reading = source, stamp, reading
        self.began = time.time()
        self.tables: Tables | None = None
        self.blocks: Iterator[Lines] = iter(())
        self.block: Lines | None = None  # taken, and not yet folded


class TableFeed:
    """`look`, `take` and `took` are called by turns, from one thread."""

    def __init__(self, state: Path, accepted: bool) -> None:
        """`accepted`: the sources of the first workspace need no more consent, the first time that they are read."""
        self._state, self._accepted = state, accepted
        self._served = Served((), frozenset())
        self._known: dict[str, _Known] = {}
        self._current: _Current | None = None

    def take_over(self, served: Served) -> None:
        """Read these from now on. What is new, another one or in trouble is due at once."""
        if not self._known:
            remove_left(self._state / FOLDER)
        before = {source.name: source for source in self._served.sources}
        alike = served.computed == self._served.computed
        self._served = served
        if self._current and not (alike and self._current.source in served.sources):
            self._end_current()
        known = self._known
        self._known = {source.name: known.get(source.name) or _Known(self._accepted) for source in served.sources}
        self._accepted = False
        for source in served.sources:
            each = self._known[source.name]
            if not alike or before.get(source.name) != source:
                each.due, each.stamp = 0.0, None
            elif each.standing.trouble:
                each.due = 0.0

    def standings(self) -> Mapping[str, Standing]:
        """How each source stands, by name."""
        return {name: each.standing for name, each in self._known.items()}

    def end(self) -> None:
        """End what is read now."""
        self._end_current()

    # -- reading

    def look(self, db: StateDb) -> None:
        """Begin to read what is due, if nothing is read now; hear what was read."""
        if self._current is None:
            self._begin(db)
        elif self._current.tables is None and (outcome := self._current.reading.outcome()) is not None:
            self._hear(self._current, outcome)

    def _begin(self, db: StateDb) -> None:
        now = time.monotonic()
        for source in sorted(self._served.sources, key=lambda source: self._known[source.name].due):
            known = self._known[source.name]
            if known.due > now:
                return
            stamp = stamp_of(source)
            if stamp is not None and stamp == known.stamp:
                known.due = now + source.every
                known.standing = known.standing._replace(trouble="", read_at=time.time())
            elif is_still(stamp):
                self._read(source, stamp, db)
                return

    def _read(self, source: Source, stamp: Stamp | None, db: StateDb) -> None:
        known = self._known[source.name]
        known.due = time.monotonic() + source.every
        wanted = Wanted(source, self._served.computed, self._state, numbers_of(db), micros(datetime.now(UTC)))
        try:
            self._current = _Current(source, stamp, Reading(wanted))
        except StoreError as error:
            known.standing = known.standing._replace(trouble=str(error))
        else:
            known.standing = known.standing._replace(reading=True)

    def _hear(self, current: _Current, outcome: Tables | str) -> None:
        """Fold what was read from now on, if it may be."""
        known = self._known[current.source.name]
        accepted, known.accepted = known.accepted, False
        if isinstance(outcome, str):
            self._give_up(outcome)
        elif outcome.consent and not accepted:
            self._give_up("\n".join([*outcome.consent, _CONSENT]))
        else:
            try:
                outcome.begin()
            except StoreError as error:
                self._give_up(str(error))
            else:
                current.tables, current.blocks = outcome, _blocks(outcome)

    def _give_up(self, trouble: str) -> None:
        """It is tried again when it is due."""
        assert self._current
        known = self._known[self._current.source.name]
        known.standing = known.standing._replace(trouble=trouble)
        self._end_current()

    def _end_current(self) -> None:
        if self._current is None:
            return
        known = self._known[self._current.source.name]
        known.standing = known.standing._replace(reading=False)
        self._current.reading.end()
        self._current = None

    # -- folding

    def take(self) -> Lines | None:
        """The next events of the table that was read; no lines: that was all. None: there is nothing to fold."""
        current = self._current
        if current is None or current.tables is None:
            return None
        if current.block is None:  # else it was taken, and could not be folded
            current.block = next(current.blocks, Lines("", [], []))
        return current.block

    def took(self, db: StateDb) -> None:
        """What was taken is folded, and that is on the disk."""
        current = self._current
        assert current
        assert current.tables
        assert current.block
        if not current.block.lines:
            current.tables.commit(db)
            self._told(current, current.tables)
        current.block = None

    def _told(self, current: _Current, tables: Tables) -> None:
        known = self._known[current.source.name]
        known.stamp = current.stamp
        changes = known.standing.changes + tables.changed
        known.standing = Standing("", current.began, False, changes, "\n".join(tables.notes))
        self._end_current()


def _blocks(tables: Tables) -> Iterator[Lines]:
    """The events of a table, a portion at a time."""
    for path in tables.files:
        number = 1
        with open(path, "rb") as file:
            while lines := file.readlines(STEP):
                yield Lines(path, [*range(number, number + len(lines))], [line.rstrip(b"\n") for line in lines])
                number += len(lines)
