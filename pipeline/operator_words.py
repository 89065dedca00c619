"""What an operator's page is answered, whatever it is asked of: dead letters, a replay of them, one person."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from msgspec import Struct, to_builtins

from pipeline.replay import Letters, Wanted
from pipeline.report_data import reason_of
from pipeline.status_page import Wrong
from pipeline.why import Answer, Why
from pipeline.why_words import Doers, Words, by_connection, history, known, nobody, tried
from schemas.dead_letters import DeadLetter
from schemas.workspace import Workspace

MOST_PEOPLE = 10  # of one identifier that are shown


class Row(Struct):
    """Dead letters of one connection ("": records) and reason, that are kept."""

    connection: str
    reason: str
    number: int
    words: str  # the vendor's, of the newest one, or what a record should have had; without personal data
    advice: str


def row_of(connection: str, number: int, newest: DeadLetter) -> Row:
    found = reason_of(number, newest, of_record=not connection)
    return Row(connection, found.reason, found.number, found.words, found.advice)


def rows_shown(rows: Iterable[Row]) -> dict[str, Any]:
    return {"rows": to_builtins(list(rows))}


def connection_of(given: Mapping[str, str], workspace: Workspace) -> str:
    """The connection that is meant. Raises Wrong."""
    name = given.get("connection", "")
    if name not in (connection.name for connection in workspace.connections):
        raise Wrong(f"there is no connection {name}: the workspace has changed, perhaps")
    return name


def wanted_of(given: Mapping[str, str], workspace: Workspace, rows: Iterable[Row]) -> Wanted:
    """The dead letters that are meant, of those that there are. Raises Wrong."""
    connection = connection_of(given, workspace) if given.get("connection") else ""
    if not (reason := given.get("reason", "")):
        raise Wrong("say the reason of the dead letters")
    if (connection, reason) not in ((row.connection, row.reason) for row in rows):
        raise Wrong(f"there are no dead letters with the reason {reason}")
    return Wanted(connection=connection, reason=reason)


def would_replay(letters: Letters, goes: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    """What a replay would do; `goes`: see `pipeline.replay.would_go`."""
    calls = sum(number for (connection, _), number in goes.items() if connection)
    return {"said": _would(letters, calls), "any": bool(letters.calls or letters.records)}


def _would(letters: Letters, goes: int) -> str:
    left = sum(letters.partial.values())
    parts = [f"Calls that would go: {goes:,}."]
    if letters.records:
        parts.insert(0, f"Records that are read again: {len(letters.records):,}.")
    else:
        parts.append("The others are told already, or not wanted any more.")
    if left:
        parts.append(f"Not kept whole, so that they cannot be tried again: {left:,}.")
    return " ".join(parts)


def replays(wanted: Wanted) -> dict[str, str]:
    where = f" of {wanted.connection}" if wanted.connection else ""
    return {"said": f"Dead letters{where} with the reason {wanted.reason} are tried again."}


# -- one person


def asked_of(given: Mapping[str, str]) -> str:
    """Who is meant. Raises Wrong."""
    asked = given.get("person", "").strip()
    if not asked:
        raise Wrong("write a profile id, or an identifier with its type, such as email:ana@x.example")
    return asked


def people_shown(
    asked: str, ids: Sequence[str], people: Iterable[Why], workspace: Workspace, now: datetime, doers: Doers
) -> dict[str, Any]:
    """`ids`: of all who are meant; `people`: those of them that are shown. It has personal data. Raises Wrong."""
    if not ids:
        raise Wrong(nobody(asked))
    shown = [_person(each, Words(workspace, each.registry.slots, now, doers)) for each in people]
    return {"asked": asked, "number": len(ids), "people": shown}


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
