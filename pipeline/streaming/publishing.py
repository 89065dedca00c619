"""Publishing: a workspace is given to a running job, and everybody who is known is looked at with it."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline.run import NeedsConsent
from pipeline.streaming import versions
from pipeline.streaming.kafka import Kafka, KafkaProblem, read_all, write_all
from pipeline.streaming.topics import connection_topics, ensure, job_topics
from schemas.facts import TickFact
from schemas.state import account_of
from transforms.keyed import addressed

if TYPE_CHECKING:
    from pipeline.streaming.moving_in import Beginning

PARTITIONS = 8  # of the topics of a new job
# Workers look for a version once a second. Whoever they folded first with the one before it is known a bundle later;
# without this pause nobody would look at these people with the new one.
_LATE = 5.0  # seconds
_REMEMBERED = 5_000_000  # profiles that are not given twice in one go


def publish(
    kafka: Kafka,
    text: str,
    path: str,
    accepted: bool,
    say: Callable[..., None],
    partitions: int = PARTITIONS,
    remade: Mapping[str, float] | None = None,
    refresh: Iterable[str] = (),
    beginning: "Beginning | None" = None,
    environment: Mapping[str, str] = os.environ,
) -> versions.Version:
    """Make the workspace the newest version, and give every known profile to the fold where that may want something.

    Topics that are missing are made. `beginning`: what a new log begins with. `environment`: variables of settings.
    Raises WorkspaceError, KafkaProblem and NeedsConsent: then nothing changed.
    """
    made = ensure(kafka, job_topics(kafka, partitions))
    begun = beginning.registry if beginning else None
    publication = versions.prepare(kafka, text, path, datetime.now(UTC), remade, refresh, begun, environment)
    version = publication.version
    grave = [notice.words for notice in publication.notices if notice.grave]
    if grave and not accepted:
        raise NeedsConsent("\n".join([*grave, "Nothing was done. If that is meant, add --accept-changes."]))
    for notice in publication.notices:
        say("workspace", notice.words)
    for connection in publication.workspace.connections:
        made += ensure(kafka, connection_topics(kafka, version.topics[connection.name]))
    if made:
        say("topics made", number=len(made))
    if beginning:
        beginning.write(publication)
    elif publication.changed:
        versions.write(kafka, publication)
    if publication.changed:
        say("published", version=version.number)
    if publication.looks:
        number = give(kafka, version.number, publication.refresh)
        publication = versions.looked_at(publication)
        _write_looked_at(kafka, publication)
        say("looked at anew", profiles=number)
    return publication.version


def _write_looked_at(kafka: Kafka, publication: versions.Publication) -> None:
    """Unless somebody has published another version meanwhile, as a sender does that has emptied a list."""
    try:
        versions.write(kafka, publication)
    except KafkaProblem:
        newest = versions.newest(kafka)
        if newest is None or newest.number <= publication.version.number:
            raise


def give(kafka: Kafka, version: int, refresh: list[int], sleep: Callable[[float], object] = time.sleep) -> int:
    """Give every profile that is known to the fold, as a tick; how many they are. Raises KafkaProblem.

    `refresh`: slots in which everything that was told is told once more.
    """
    sleep(_LATE)
    number = 0

    def ticks() -> Iterator[tuple[str, bytes | None, bytes | None]]:
        nonlocal number
        topic = kafka.topic("ticks")
        for subject in known(kafka):
            number += 1
            yield topic, *addressed(subject, TickFact(version, refresh))

    write_all(kafka.producer(), ticks())
    return number


def known(kafka: Kafka) -> Iterator[str]:
    """Profiles and accounts of the state's topic. One that changed often may come more than once."""
    seen: set[bytes] = set()
    for record in read_all(kafka, kafka.topic("state")):
        key = record.key.decode()
        if record.value is None or record.key in seen or (key[:1] == "\x00" and account_of(key) is None):
            continue
        if len(seen) >= _REMEMBERED:
            seen.clear()
        seen.add(record.key)
        yield key
