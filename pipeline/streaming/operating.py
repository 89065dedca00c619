"""What an operator sees and does on the page of `send`, beside the connections: dead letters, and one person.

All of it is in Kafka, so each process of a log's senders can do it, whichever connections it sends for.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pipeline.operator_words import (
    MOST_PEOPLE,
    Row,
    asked_of,
    people_shown,
    replays,
    rows_shown,
    wanted_of,
    would_replay,
)
from pipeline.replay import Wanted
from pipeline.served import Say
from pipeline.status_page import Act, Wrong
from pipeline.streaming.counting import Counting
from pipeline.streaming.kafka import Kafka, KafkaProblem
from pipeline.streaming.replaying import Replaying
from pipeline.streaming.versions import Following, Version
from pipeline.streaming.why_log import why_of
from pipeline.why_words import JOB


class Operating:
    """Acts of an operator, by name. Each takes and gives what JSON has; raises Wrong and StoreError.

    They are done on the thread that asks: none of them touches what the process delivers.
    """

    def __init__(self, kafka: Kafka, say: Say) -> None:
        self._kafka, self._say = kafka, say
        self._reading = Following(kafka)  # of its own: whoever delivers does not wait for it
        self._counting = Counting(kafka)

    def acts(self) -> Mapping[str, Act]:
        """The arguments of each are texts."""
        acts: dict[str, Act] = {
            "why": self.why,
            "would-replay": self.would_replay,
            "replay": self.replay,
            "dead-letters": self.dead_letters,
        }
        return {name: partial(_carried_out, act) for name, act in acts.items()}

    # -- dead letters

    def dead_letters(self, given: Mapping[str, str]) -> dict[str, Any]:
        """All that the log keeps, counted, without the people whom they are about."""
        return rows_shown(self._rows(self._version()))

    def _rows(self, version: Version) -> list[Row]:
        here = {connection.name for connection in version.workspace().connections}
        return self._counting.rows({then: name for then, name in version.names_now().items() if name in here})

    def would_replay(self, given: Mapping[str, str]) -> dict[str, Any]:
        """What `replay` would do; nothing is written."""
        wanted, replaying = self._wanted(given), Replaying(self._kafka, dry=True)
        letters = replaying.find(wanted)
        return would_replay(letters, replaying.would_go(letters))

    def replay(self, given: Mapping[str, str]) -> dict[str, str]:
        """As `profilecast replay --log`: they are given to the job."""
        wanted, replaying = self._wanted(given), Replaying(self._kafka)
        self._say("replay", **({"connection": wanted.connection} if wanted.connection else {}), reason=wanted.reason)
        replaying.give(replaying.find(wanted))
        return replays(wanted)

    def _wanted(self, given: Mapping[str, str]) -> Wanted:
        version = self._version()
        return wanted_of(given, version.workspace(), self._rows(version))

    # -- one person

    def why(self, given: Mapping[str, str]) -> dict[str, Any]:
        """As `profilecast why --log`. It shows personal data."""
        asked, version, now = asked_of(given), self._version(), datetime.now(UTC)
        found = why_of(self._kafka, version, asked, MOST_PEOPLE, now)
        return people_shown(asked, found.ids, found.people, version.workspace(), now, JOB)

    def _version(self) -> Version:
        version = self._reading.up_to_now()
        if version is None:
            raise Wrong("no workspace is published to this log yet: start the job")
        return version


def _carried_out(act: Callable[[Mapping[str, str]], Any], given: Mapping[str, str]) -> Any:
    try:
        return act(given)
    except KafkaProblem as error:
        raise Wrong(str(error)) from error
