"""Notes: what a job's commands remember in Kafka, in a topic that is compacted; one JSON value for each key."""

from typing import Any

import msgspec

from pipeline.streaming.kafka import Kafka, read_all

Row = tuple[str, bytes | None, bytes | None]
_encode = msgspec.json.Encoder().encode


def read_notes(kafka: Kafka, kind: str) -> dict[str, Any]:
    """The notes of a kind, by key. Raises KafkaProblem."""
    found = {}
    for record in read_all(kafka, kafka.topic("notes")):
        of, _, key = record.key.decode().partition(":")
        if of == kind and record.value is not None:
            found[key] = msgspec.json.decode(record.value)
    return found


def note(kafka: Kafka, kind: str, key: str, value: Any) -> Row:
    """A note as a record that is to be written."""
    return kafka.topic("notes"), f"{kind}:{key}".encode(), _encode(value)
