"""Publishing: a workspace is given to a running job, and everybody who is known is looked at with it."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from pipeline.problems import NeedsConsent
from pipeline.streaming import versions
from pipeline.streaming.kafka import Kafka, KafkaProblem, ends, read_all, write_all
from pipeline.streaming.kafka import partitions as partitions_of
from pipeline.streaming.topics import connection_topics, ensure, job_topics
from schemas.facts import EventFact, TickFact
from schemas.state import takes_ticks
from transforms.keyed import addressed

if TYPE_CHECKING:
    from pipeline.streaming.moving_in import Beginning

PARTITIONS = 8  # of the topics of a new job
# More than the seconds for which a worker's version counts as the newest (`writing`): whoever is written later than
# this by a worker with an older one is given a tick by that worker.
_LATE = 5.0
_REMEMBERED = 5_000_000  # profiles of a partition that are not given twice in one go
_LOOK = 10_000  # ticks between looks for a newer version
_SIGN = 10.0  # seconds between signs of life
_OTHERS = 15.0  # seconds in which there is one, if another process gives ticks


def publish(
    kafka: Kafka,
    text: str,
    path: str,
    accepted: bool,
    say: Callable[..., None],
    partitions: int | None = None,
    remade: Mapping[str, float] | None = None,
    refresh: Iterable[str] = (),
    beginning: "Beginning | None" = None,
    environment: Mapping[str, str] = os.environ,
    after: int | None = None,
    again: bool = False,
) -> versions.Version:
    """Make the workspace the newest version, and give every known profile to the fold where that may want something.

    Topics that are missing are made, with so many `partitions`. `beginning`: what a new log begins with. For
    `environment`, `after` and `again` see `versions.prepare`. Raises WorkspaceError and NeedsConsent: then nothing is
    published; and KafkaProblem: then it may be, and whoever publishes it again goes on. The version that counts then.
    """
    there = partitions_of(kafka, kafka.topic("state"))
    if there and partitions not in (None, there):
        raise KafkaProblem(
            f"{kafka.topic('state')} has {there} partitions, and they can never be changed: leave --partitions out, or "
            "begin another PREFIX"
        )
    made = ensure(kafka, job_topics(kafka, partitions or there or PARTITIONS))
    begun, now = beginning.registry if beginning else None, datetime.now(UTC)
    publication = versions.prepare(kafka, text, path, now, remade, refresh, begun, environment, after, again)
    version = publication.version
    grave = [notice.words for notice in publication.notices if notice.grave]
    if grave and not accepted:
        raise NeedsConsent("\n".join([*grave, "Nothing was published. If that is meant, add --accept-changes."]))
    for notice in publication.notices:
        say("workspace", notice.words)
    if not beginning:
        _refuse_lost(kafka, publication)
    first_names = version.first_names()
    for connection in publication.workspace.connections:
        made += ensure(kafka, connection_topics(kafka, first_names[connection.name]))
    if made:
        say("topics made", number=len(made))
    if not publication.changed and (not publication.looks or _others_give(kafka, say)):
        return version
    producer = versions.publisher(kafka, publication.before, bool(beginning))
    if beginning:
        beginning.write(version, producer)
    elif publication.changed:
        versions.write(kafka, producer, version)
    if publication.changed:
        say("published", version=version.number)
    return _look(kafka, producer, publication, say) if publication.looks else version


def _look(
    kafka: Kafka, producer: Producer, publication: versions.Publication, say: Callable[..., None]
) -> versions.Version:
    """Give everybody to the fold, and write down that this is done. The version that counts then."""
    version = publication.version
    number = give(kafka, version.number, publication.refresh)
    if number is None:
        say("overtaken", "a newer version was published meanwhile, and everybody is looked at with that one")
        return versions.newest(kafka) or version
    version = versions.looked_at(version)
    _write_looked_at(kafka, producer, version)
    say("looked at anew", profiles=number)
    return version


def _others_give(kafka: Kafka, say: Callable[..., None]) -> bool:
    """Whether another process gives everybody to the fold now, as this one would."""
    say("waiting", f"not everybody was looked at with this version; whether another process does that: {_OTHERS:.0f} s")
    began, until = ticks_written(kafka), time.monotonic() + _OTHERS
    while time.monotonic() < until:
        time.sleep(0.5)
        if ticks_written(kafka) > began:
            say("elsewhere", "another process gives everybody to the fold")
            return True
    return False


def ticks_written(kafka: Kafka) -> int:
    """How many were ever written. It grows as long as somebody gives them."""
    topic = kafka.topic("ticks")
    with closing(kafka.consumer()) as asks:
        return sum(ends(asks, topic, number)[1] for number in range(partitions_of(kafka, topic)))


def _refuse_lost(kafka: Kafka, publication: versions.Publication) -> None:
    """Topics that somebody deleted, of a connection that comes back.

    What waited in them is still open in what is known of people, and would wait for receipts for ever.
    """
    first_names = publication.version.first_names()
    for connection in publication.workspace.connections:
        topic = kafka.topic("calls", first_names[connection.name])
        known = {connection.name, connection.was} & {*publication.known.connections}
        if known and not partitions_of(kafka, topic):
            raise KafkaProblem(
                f"{topic} was deleted, and with it calls that may have waited: nobody could be told of them any more. "
                f"Give the connection {connection.name} another name, so that it begins anew"
            )


def _write_looked_at(kafka: Kafka, producer: Producer, version: versions.Version) -> None:
    """All ticks are written, so that is true whoever has published meanwhile, or was about to."""
    try:
        versions.write(kafka, producer, version)
    except KafkaProblem:
        newest = versions.newest(kafka)
        if newest is None or newest.number > version.number or newest.ticked:
            return
        versions.write(kafka, versions.publisher(kafka, newest), version)


def give(kafka: Kafka, version: int, refresh: list[int], sleep: Callable[[float], object] = time.sleep) -> int | None:
    """Give every profile that is known to the fold, as a tick; how many they are. Raises KafkaProblem.

    None: a newer version was published meanwhile, and whoever did that gives them. `refresh`: slots in which
    everything that was told is told once more.
    """
    sleep(_LATE)
    number = 0
    overtaken = False

    def ticks() -> Iterator[tuple[str, bytes | None, bytes | None]]:
        nonlocal number, overtaken
        topic = kafka.topic("ticks")
        for subject in known(kafka):
            if number % _LOOK == 0:
                newest = versions.newest(kafka)
                overtaken = newest is not None and newest.number > version
            if overtaken:
                return
            if not subject:  # so that senders see that this process lives
                yield topic, *addressed("", EventFact(b" "))
                continue
            number += 1
            yield topic, *addressed(subject, TickFact(version, refresh))

    write_all(kafka.producer(), ticks())
    return None if overtaken else number


def known(kafka: Kafka) -> Iterator[str]:
    """Profiles and accounts of the state's topic; among very many, one that changed may come more than once.

    "" now and then, while there is nobody new: a topic may have much that says nothing else.
    """
    topic = kafka.topic("state")
    shown = time.monotonic()
    for partition in range(partitions_of(kafka, topic)):
        seen: set[bytes] = set()
        for record in read_all(kafka, topic, only=[partition]):
            if time.monotonic() >= shown + _SIGN:
                shown = time.monotonic()
                yield ""
            key = record.key.decode()
            if record.value is None or record.key in seen or not takes_ticks(key):
                continue
            if len(seen) >= _REMEMBERED:
                seen.clear()
            seen.add(record.key)
            yield key
