"""Who is looked at anew when a workspace is published."""

from collections.abc import Iterable, Iterator

import msgspec
import pytest

from pipeline.streaming import publishing
from pipeline.streaming.kafka import Kafka, Record
from schemas.facts import Addressed, TickFact

LOG = Kafka("localhost:9092", "shop")


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Keys in the topic of states."""
    keys: list[bytes] = []

    def read(_: Kafka, topic: str) -> Iterator[Record]:
        return (Record(topic, 0, offset, key, b"state") for offset, key in enumerate(keys))

    monkeypatch.setattr(publishing, "read_all", read)
    monkeypatch.setattr(Kafka, "producer", lambda self: None)
    return keys


def test_somebody_who_was_folded_first_with_the_older_version_is_given_too(
    state: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that had not heard of the new one wrote the state a moment after it was published."""
    given: list[Addressed] = []

    def write(_: None, records: Iterable[tuple[str, bytes, bytes]]) -> None:
        given.extend(msgspec.msgpack.decode(value, type=Addressed) for _, _, value in records)

    monkeypatch.setattr(publishing, "write_all", write)
    state.append(b"u1")
    assert 2 == publishing.give(LOG, 7, [], sleep=lambda seconds: state.append(b"u2") if seconds > 1 else None)
    assert [Addressed("u1", TickFact(7)), Addressed("u2", TickFact(7))] == given
