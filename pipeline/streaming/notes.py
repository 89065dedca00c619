"""Notes: what a job's commands remember in Kafka, in a topic that is compacted; one JSON value for each key.

file:DIGEST          a file of events that was taken            (`history`)
replayed:SLOT:PLACE  a deletion that was tried again, and when  (`replaying`)
job:events           topics and subscriptions that the job reads (`submitting`)
send:gateway         where its senders send to; "": the vendors themselves
"""

from typing import Any

import msgspec

from pipeline.state_db import gateway_named
from pipeline.streaming.kafka import Kafka, KafkaProblem, Row, read_all, write_all

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


def bind_gateway(kafka: Kafka, gateway: str) -> None:
    """A log belongs to a gateway, "" being none: its first sender says to which. Raises KafkaProblem."""
    if not _is_bound(kafka, gateway, "Give the same --gateway, or begin a job on another --log"):
        write_all(kafka.producer(), [gateway_note(kafka, gateway)])


def refuse_other_gateway(kafka: Kafka, gateway: str) -> None:
    """Raises KafkaProblem where a sender told somebody else than this gateway."""
    _is_bound(kafka, gateway, "Give the same --gateway")


def gateway_note(kafka: Kafka, gateway: str) -> Row:
    return note(kafka, "send", "gateway", gateway)


def _is_bound(kafka: Kafka, gateway: str, advice: str) -> bool:
    known = read_notes(kafka, "send").get("gateway")
    if known not in (None, gateway):
        raise KafkaProblem(
            f"{kafka.name}: what it was told went to {gateway_named(known)}, and this command is for "
            f"{gateway_named(gateway)}, where nobody was told that. {advice}"
        )
    return known is not None
