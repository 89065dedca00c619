"""What an operator sees and does on the page of `serve`, beside the status: dead letters, one person, pausing."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import msgspec

from pipeline.decider import planned
from pipeline.operator_words import (
    MOST_PEOPLE,
    Row,
    asked_of,
    connection_of,
    people_shown,
    replays,
    row_of,
    rows_shown,
    wanted_of,
    would_replay,
)
from pipeline.paused import answer
from pipeline.person import find_people
from pipeline.replay import Wanted, find_letters, would_go
from pipeline.sent import Receipts
from pipeline.serve import Serving
from pipeline.state_db import StateDb
from pipeline.status_page import Act
from pipeline.why import why
from pipeline.why_words import HERE
from schemas.dead_letters import DeadLetter

_letter_of = msgspec.json.Decoder(DeadLetter).decode


class Operating:
    """Acts of an operator, by name. Each takes and gives what JSON has; raises Wrong and StoreError."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def acts(self) -> Mapping[str, Act]:
        """The arguments of each are texts."""
        return {
            "pause": self.pause,
            "resume": self.resume,
            "why": self.why,
            "would-replay": self.would_replay,
            "replay": self.replay,
            "dead-letters": self.dead_letters,
        }

    def pause(self, given: Mapping[str, str]) -> dict[str, str]:
        name = self._connection(given)
        self._serving.orders.ask(lambda: self._serving.pause(name))
        return answer(name, paused=True)

    def resume(self, given: Mapping[str, str]) -> dict[str, str]:
        name = self._connection(given)
        self._serving.orders.ask(lambda: self._serving.resume(name))
        return answer(name, paused=False)

    # -- dead letters

    def dead_letters(self, given: Mapping[str, str]) -> dict[str, Any]:
        """All that are kept, counted, without the people whom they are about."""
        return rows_shown(self._rows())

    def _rows(self) -> list[Row]:
        with self._state() as db:
            return [*_of_records(db), *self._of_calls(db)]

    def _of_calls(self, db: StateDb) -> Iterator[Row]:
        for connection in self._serving.run.workspace.connections:
            with closing(Receipts(db.folder, connection.name)) as receipts:
                for _, number, packed in receipts.reasons():
                    yield row_of(connection.name, number, _letter_of(packed))

    def would_replay(self, given: Mapping[str, str]) -> dict[str, Any]:
        """What `replay` would do; nothing is written."""
        wanted = self._wanted(given)
        with self._state() as db:
            plan, registry = planned(db, self._serving.run.workspace, datetime.now(UTC))
            letters = find_letters(db, registry, wanted)
            return would_replay(letters, would_go(db.get, plan, letters))

    def replay(self, given: Mapping[str, str]) -> dict[str, str]:
        """As `profilecast replay`: what is still wanted goes once more, and records are read again."""
        wanted = self._wanted(given)
        self._serving.orders.ask(lambda: self._serving.replay(wanted))
        return replays(wanted)

    def _wanted(self, given: Mapping[str, str]) -> Wanted:
        return wanted_of(given, self._serving.run.workspace, self._rows())

    # -- one person

    def why(self, given: Mapping[str, str]) -> dict[str, Any]:
        """As `profilecast why`. It shows personal data."""
        asked = asked_of(given)
        now, workspace = datetime.now(UTC), self._serving.run.workspace
        with self._state() as db:
            ids = find_people(db, asked)
            people = [why(db, workspace, person, now) for person in ids[:MOST_PEOPLE]]
        return people_shown(asked, ids, people, workspace, now, HERE)

    # -- what they need

    def _connection(self, given: Mapping[str, str]) -> str:
        return connection_of(given, self._serving.run.workspace)

    def _state(self) -> closing[StateDb]:
        return closing(StateDb.open(self._serving.run.state, to_read=True))


def _of_records(db: StateDb) -> Iterator[Row]:
    newest = (
        "SELECT n.number, l.letter FROM letters l JOIN (SELECT count(*) AS number, max(number) AS newest "
        "FROM letters GROUP BY reason) n ON l.number = n.newest ORDER BY n.number DESC"
    )
    for number, packed in db.rows(newest):
        yield row_of("", number, _letter_of(packed))
