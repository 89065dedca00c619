"""What an operator sees and does on the page of `serve`, beside the status: dead letters, one person, pausing."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import msgspec
from msgspec import Struct, to_builtins

from pipeline.decider import planned
from pipeline.paused import answer
from pipeline.person import find_people
from pipeline.replay import Letters, Wanted, find_letters, would_go
from pipeline.report_data import reasons_of
from pipeline.sent import Receipts
from pipeline.serve import Serving
from pipeline.state_db import StateDb
from pipeline.status_page import Act, Wrong
from pipeline.why import Answer, Why, why
from pipeline.why_words import Words, by_connection, history, known, tried
from schemas.dead_letters import DeadLetter, mask

MOST_PEOPLE = 10  # of one identifier that are shown
_letter_of = msgspec.json.Decoder(DeadLetter).decode


class Row(Struct):
    """Dead letters of one connection ("": records) and reason, that are kept."""

    connection: str
    reason: str
    number: int
    words: str  # the vendor's, of the newest one, or what a record should have had; without personal data
    advice: str


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
        with self._state() as db:
            rows = [*_of_records(db), *self._of_calls(db)]
        return {"rows": to_builtins(rows)}

    def _of_calls(self, db: StateDb) -> Iterator[Row]:
        for connection in self._serving.run.workspace.connections:
            with closing(Receipts(db.folder, connection.name)) as receipts:
                for each in reasons_of(receipts, 0.0):
                    yield Row(connection.name, each.reason, each.number, each.words, each.advice)

    def would_replay(self, given: Mapping[str, str]) -> dict[str, Any]:
        """What `replay` would do; nothing is written."""
        wanted = self._wanted(given)
        with self._state() as db:
            plan, registry = planned(db, self._serving.run.workspace, datetime.now(UTC))
            letters = find_letters(db, registry, wanted)
            goes = sum(number for (name, _), number in would_go(db.get, plan, letters).items() if name)
        return {"said": _would(letters, goes), "any": bool(letters.calls or letters.records)}

    def replay(self, given: Mapping[str, str]) -> dict[str, str]:
        """As `profilecast replay`: what is still wanted goes once more, and records are read again."""
        wanted = self._wanted(given)
        self._serving.orders.ask(lambda: self._serving.replay(wanted))
        where = f" of {wanted.connection}" if wanted.connection else ""
        return {"said": f"Dead letters{where} with the reason {wanted.reason} are tried again."}

    def _wanted(self, given: Mapping[str, str]) -> Wanted:
        connection = self._connection(given) if given.get("connection") else ""
        if not (reason := given.get("reason", "")):
            raise Wrong("say the reason of the dead letters")
        if reason not in (row["reason"] for row in self.dead_letters({})["rows"] if row["connection"] == connection):
            raise Wrong(f"there are no dead letters with the reason {reason}")
        return Wanted(connection=connection, reason=reason)

    # -- one person

    def why(self, given: Mapping[str, str]) -> dict[str, Any]:
        """As `profilecast why`. It shows personal data."""
        asked = given.get("person", "").strip()
        if not asked:
            raise Wrong("write a profile id, or an identifier with its type, such as email:ana@x.example")
        now, workspace = datetime.now(UTC), self._serving.run.workspace
        with self._state() as db:
            people = find_people(db, asked)
            if not people:
                raise Wrong(
                    f"{asked}: nobody is known by that. An identifier is written with its type, such as "
                    "email:ana@x.example, exactly as in the events"
                )
            found = [why(db, workspace, person, now) for person in people[:MOST_PEOPLE]]
        shown = [_person(each, Words(workspace, each.registry.slots, now)) for each in found]
        return {"asked": asked, "number": len(people), "people": shown}

    # -- what they need

    def _connection(self, given: Mapping[str, str]) -> str:
        name = given.get("connection", "")
        if name not in (connection.name for connection in self._serving.run.workspace.connections):
            raise Wrong(f"there is no connection {name}: the workspace has changed, perhaps")
        return name

    def _state(self) -> closing[StateDb]:
        return closing(StateDb.open(self._serving.run.state, to_read=True))


def _of_records(db: StateDb) -> Iterator[Row]:
    newest = (
        "SELECT l.reason, n.number, l.letter FROM letters l JOIN (SELECT count(*) AS number, max(number) AS newest "
        "FROM letters GROUP BY reason) n ON l.number = n.newest ORDER BY n.number DESC"
    )
    for reason, number, packed in db.rows(newest):
        letter = mask(_letter_of(packed))
        yield Row("", reason, number, letter.expected, letter.advice)


def _would(letters: Letters, goes: int) -> str:
    """What a replay would do, in words."""
    left = sum(letters.partial.values())
    parts = [f"Calls that would go: {goes:,}."]
    if letters.records:
        parts.insert(0, f"Records that are read again: {len(letters.records):,}.")
    else:
        parts.append("The others are told already, or not wanted any more.")
    if left:
        parts.append(f"Not kept whole, so that they cannot be tried again: {left:,}.")
    return " ".join(parts)


def _person(found: Why, words: Words) -> dict[str, Any]:
    """What is known of one person, in sentences."""
    connections = [{"name": name, "syncs": _syncs(answers, words)} for name, answers in by_connection(found.answers)]
    heads = ("asked", "connection", "kind", "identifier", "value", "outcome")
    calls = [dict(zip(heads, row, strict=True)) for row in history(found.person)]
    return {
        "id": found.person.profile_id,
        "known": [*known(found)],
        "connections": connections,
        "heads": heads,
        "calls": calls,
    }


def _syncs(answers: list[Answer], words: Words) -> list[dict[str, Any]]:
    return [
        {"title": title, "lines": [line for each in group for line in (_line(each, words), *tried(each))]}
        for title, group in groupby(answers, key=lambda each: words.title(each.finding))
    ]


def _line(answer: Answer, words: Words) -> str:
    who = answer.finding.identifier
    return f"{' '.join(who)}: {words.reason(answer)}" if who else words.reason(answer)
