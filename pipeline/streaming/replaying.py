"""Replay for a job: dead letters go back to the fold, as facts with the version of the workspace that counts now.

A call that was rejected or expired is released, and its present value asked if that is still wanted: so nothing goes
twice, whoever asks how often. A record is read as an event once more. Of a deletion that failed nothing else knows, so
that it was tried again is noted with it, in one transaction.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import msgspec
from confluent_kafka import KafkaException
from msgspec.structs import replace

from pipeline.replay import Letters, Wanted, gathered, would_go
from pipeline.run import clock
from pipeline.streaming import versions
from pipeline.streaming.by_key import newest, offsets_since
from pipeline.streaming.kafka import (
    WAIT,
    Kafka,
    KafkaProblem,
    Row,
    is_fenced,
    produce,
    read_all,
    transactional,
    unheard,
    words,
)
from pipeline.streaming.notes import note, read_notes
from pipeline.streaming.topics import ensure, job_topics
from schemas.dead_letters import DeadLetter
from schemas.facts import EventFact, RetryFact
from transforms.keyed import addressed
from transforms.logic.parse import subject_of
from transforms.logic.portion import Lines

KIND = "replayed"  # of notes: deletions, by slot and place
_AT_ONCE = 2_000  # facts of one transaction
_letter = msgspec.json.Decoder(DeadLetter).decode


class Replaying:
    """`find`, then `would_go` or `give`. Only the newest one that is not `dry` can give."""

    def __init__(self, kafka: Kafka, dry: bool = False) -> None:
        """`dry`: nothing will be given. Raises KafkaProblem."""
        self._kafka = kafka
        self.version = versions.of_job(kafka)
        if dry:
            return
        ensure(kafka, {name: each for name, each in job_topics(kafka, 1).items() if name == kafka.topic("notes")})
        self._producer = transactional(kafka, f"{kafka.name}.replay")

    def find(self, wanted: Wanted) -> Letters:
        """The dead letters that are meant. Raises KafkaProblem."""
        replayed = {(int(slot), int(place)) for slot, _, place in (key.partition(":") for key in self._noted())}
        return gathered(self._letters(wanted), wanted, replayed)

    def _noted(self) -> Iterable[str]:
        return read_notes(self._kafka, KIND)

    def _letters(self, wanted: Wanted) -> Iterator[DeadLetter]:
        topic, names = self._kafka.topic("dead"), self.version.names_now()
        starts = offsets_since(self._kafka, topic, wanted.since.timestamp(), [0]) if wanted.since else None
        for record in read_all(self._kafka, topic, starts):
            letter = _letter(record.value or b"")
            yield replace(letter, connection=names.get(letter.connection, letter.connection))

    def would_go(self, letters: Letters) -> Counter[tuple[str, str]]:
        """See `pipeline.replay`: by what the topic of states says now. Raises KafkaProblem."""
        return would_go(self._states, self.version.plan(clock()), letters)

    def _states(self, keys: list[str]) -> Mapping[str, bytes]:
        return newest(self._kafka, self._kafka.topic("state"), keys)

    def give(self, letters: Letters) -> None:
        """Give them to the job. Raises KafkaProblem; what was given before it stays given."""
        facts = rows_of(self._kafka, self.version.number, letters)
        while portion := list(islice(facts, _AT_ONCE)):
            try:
                self._producer.begin_transaction()
                for topic, key, value in (row for rows in portion for row in rows):
                    produce(self._producer, topic, key, value, unheard)
                self._producer.commit_transaction(WAIT)
            except KafkaException as error:
                raise _lost(error) from error


def rows_of(kafka: Kafka, version: int, letters: Letters) -> Iterator[Sequence[Row]]:
    """What is written of each dead letter, all of it or nothing."""
    topic, replay = kafka.topic("facts"), letters.replay()
    for retry in replay.retries:
        call = retry.call
        fact = (topic, *addressed(call.profile_id, RetryFact(call, retry.refused, version)))
        noted = [note(kafka, KIND, f"{call.slot}:{call.ask}", clock().timestamp())] if call.kind == "delete" else []
        yield [fact, *noted]
    for lines in replay.lines:
        yield from ([(topic, *addressed(*event))] for event in _events(lines, version))


def _events(lines: Lines, version: int) -> Iterator[tuple[str, EventFact]]:
    for number, line in zip(lines.numbers, lines.lines, strict=True):
        fact = EventFact(line, version=version)
        if lines.source:  # it is of a file
            fact.source, fact.number, fact.records = lines.source, number, lines.records
        yield subject_of(line) or "", fact


def _lost(error: KafkaException) -> KafkaProblem:
    if is_fenced(error):
        return KafkaProblem(
            "another `profilecast replay` on this --log began meanwhile; look what it says, then repeat"
        )
    return KafkaProblem(f"Kafka: {words(error)}; nothing of the last portion was given, repeat it")
