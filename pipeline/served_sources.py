"""What a service says of its tables: lines of its log, its status, and whether somebody has to hear of it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipeline.moments import rfc3339
from pipeline.table_feed import Standing
from schemas.workspace import Source

Standings = Mapping[str, Standing]  # by the source's name


def news_of(before: Standings, now: Standings) -> Iterator[tuple[str, str, str]]:
    """What is to be said: the event, words, and the source."""
    for name, standing in now.items():
        was = before.get(name, Standing())
        if standing.trouble and standing.trouble != was.trouble:
            yield "not read", standing.trouble, name
        if was.trouble and not standing.trouble:
            yield "goes on", "", name
        if standing.changes != was.changes:
            yield "read", standing.note, name


def shown(sources: Iterable[Source], standings: Standings) -> dict[str, dict[str, Any]]:
    """Each source of the workspace, for `/status`."""
    found = {}
    for source in sources:
        each = standings.get(source.name, Standing())
        found[source.name] = {
            "read_at": rfc3339(each.read_at),
            "reading": each.reading,
            "changed_rows": each.changes,
            "trouble": each.trouble,
        }
    return found


def alarms(standings: Standings) -> dict[str, bool | None]:
    """Whether each is in trouble. None: it was not read since the service began."""
    return {name: True if each.trouble else False if each.read_at else None for name, each in standings.items()}
