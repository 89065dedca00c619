"""Event files beside the topics of a job: their events are written into `PREFIX.history`, which the job reads first.

The process that submits the job reads them, so no worker has to reach their place. A file is remembered by a digest of
its events: under whatever name it is given once more, it is not written again.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

from pipeline.files import find_files
from pipeline.inputs import RECORDS, check_file, read_blocks
from pipeline.moments import now
from pipeline.streaming.kafka import Kafka, write_all
from pipeline.streaming.notes import note, read_notes
from schemas.facts import EventFact
from transforms.keyed import Keyed, addressed
from transforms.logic.parse import BadRecord, subject_of
from transforms.logic.plan import Plan
from transforms.logic.portion import known_of, parser_of
from transforms.logic.segment import events_of

KIND = "file"  # of notes
_END = b"\n"


class File(NamedTuple):
    """A file that could be read to its end."""

    path: str
    digest: str  # of its events


def look(patterns: Sequence[str], beam_arguments: Sequence[str], say: Callable[..., None]) -> list[File]:
    """Read all files, so that a broken one stops everything before anything is done. Raises InputError."""
    found = find_files(patterns, beam_arguments)
    for words in found.notes:
        say("history", words)
    return [File(path, _digest(path)) for path in found.files]


def _digest(path: str) -> str:
    digest = blake2b(digest_size=16)
    for _, lines in read_blocks(path):
        for line in lines:
            digest.update(line + _END)
    return digest.hexdigest()


def write(
    kafka: Kafka, files: Sequence[File], plan: Plan, version: int, say: Callable[..., None], again: bool = False
) -> None:
    """Write the events of files that were not written yet, or `again`. Raises KafkaProblem and InputError.

    What is written twice, after a crash, changes nothing.
    """
    taken = {} if again else read_notes(kafka, KIND)
    producer = kafka.producer()
    for file in files:
        if file.digest in taken:
            say("history", f"{file.path}: it was taken before ({taken[file.digest]['path']})")
            continue
        counts = Counts()
        topic = kafka.topic("history")
        write_all(producer, ((topic, *fact) for fact in facts_of(file.path, plan, version, counts)))
        taken[file.digest] = {"path": file.path, "at": now()}
        write_all(producer, [note(kafka, KIND, file.digest, taken[file.digest])])
        say("history", file.path, **vars(counts))


class Counts:
    """Of the events of a file."""

    def __init__(self) -> None:
        self.events = self.dead_letters = 0


def facts_of(path: str, plan: Plan, version: int, counts: Counts) -> Iterator[Keyed]:
    """The events of a file as facts with their places, those that are none too. Raises InputError."""
    parse, known = parser_of(plan).parse, known_of(plan)
    records = check_file(path) in RECORDS
    for first, lines in read_blocks(path):
        for number, line in enumerate(lines, first):
            event = parse(line)
            if event is None:
                continue
            said = events_of(line, known) if isinstance(event, BadRecord) else ()  # of a message in Segment's format
            for raw in said or (line,):
                bad = isinstance(parse(raw) if said else event, BadRecord)
                counts.dead_letters += bad
                counts.events += not bad
                yield addressed(subject_of(raw) or "", EventFact(raw, path, number, records, version))


__all__ = ["Counts", "File", "facts_of", "look", "write"]
