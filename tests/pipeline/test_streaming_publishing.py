"""Who is looked at anew when a workspace is published, and what keeps one from being published."""

from collections.abc import Iterable

import msgspec
import pytest

from pipeline.streaming import publishing, versions
from pipeline.streaming.kafka import Kafka
from schemas.facts import Addressed, EventFact, TickFact
from schemas.state import account_key, part_key
from tests.pipeline.memory_kafka import Topics, in_memory
from transforms.logic.portion import tombstone

LOG = Kafka("localhost:9092", "shop")


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> Topics:
    monkeypatch.setattr(Kafka, "producer", lambda self: None)
    return in_memory(monkeypatch)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Addressed]:
    """What is given to the fold."""
    found: list[Addressed] = []

    def write(_: None, records: Iterable[tuple[str, bytes, bytes]]) -> None:
        found.extend(msgspec.msgpack.decode(value, type=Addressed) for _, _, value in records)

    monkeypatch.setattr(publishing, "write_all", write)
    return found


def known(topics: Topics, *names: str) -> None:
    for name in names:
        topics.put(LOG.topic("state"), name.encode(), b"state")


def publishes(topics: Topics, number: int) -> None:
    version = versions.Version(number, "", {}, b"", {}, b"")
    topics.put(LOG.topic("workspace"), b"version", msgspec.msgpack.encode(version))


def test_somebody_who_was_folded_first_with_the_older_version_is_given_too(
    topics: Topics, given: list[Addressed]
) -> None:
    """A worker that had not heard of the new one wrote the state a moment after it was published."""
    publishes(topics, 7)
    known(topics, "u1")
    assert 2 == publishing.give(LOG, 7, [], sleep=lambda seconds: known(topics, "u2") if seconds > 1 else None)
    assert {"u1", "u2"} == {each.subject for each in given}
    assert {7} == {each.fact.version for each in given if isinstance(each.fact, TickFact)}


def test_everybody_is_given_once_and_neither_parts_nor_whoever_was_deleted(
    topics: Topics, given: list[Addressed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a full refresh everything would be told twice to whom is given twice."""
    monkeypatch.setattr(publishing, "_REMEMBERED", 20)  # of each partition; all of them are more
    people = [f"u{number}" for number in range(40)]
    known(topics, *people, account_key("acme"), part_key("acme", 3), tombstone("gone"), *people)
    assert 41 == publishing.give(LOG, 7, [2], sleep=lambda _: None)
    assert sorted([*people, account_key("acme")]) == sorted(each.subject for each in given)
    assert all(each.fact == TickFact(7, [2]) for each in given)


def test_who_reads_much_that_is_nobody_new_shows_that_it_lives(
    topics: Topics, given: list[Addressed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sender would take it for dead, and begin again; and what it writes is about nobody."""
    monkeypatch.setattr(publishing, "_SIGN", 0.0)
    known(topics, *["u1"] * 3)
    assert 1 == publishing.give(LOG, 7, [], sleep=lambda _: None)
    assert [EventFact(b" "), TickFact(7), *[EventFact(b" ")] * 2] == [each.fact for each in given]


@pytest.mark.parametrize("lives", [True, False])
def test_who_publishes_once_more_what_another_process_gives_leaves_it_to_that_one(
    topics: Topics, monkeypatch: pytest.MonkeyPatch, lives: bool
) -> None:
    monkeypatch.setattr(publishing, "_OTHERS", 0.6)
    monkeypatch.setattr(publishing.time, "sleep", lambda _: topics.put(LOG.topic("ticks"), b"", b"") if lives else None)
    said: list[str] = []
    assert lives is publishing._others_give(LOG, lambda event, *_: said.append(event))
    assert said == ["waiting", "elsewhere"][: 1 + lives]


def test_who_publishes_ends_when_another_version_is_published_meanwhile(
    topics: Topics, given: list[Addressed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both would give everybody: in a full refresh everything would be told twice."""
    monkeypatch.setattr(publishing, "_LOOK", 2)
    publishes(topics, 7)
    known(topics, *(f"u{number}" for number in range(9)))
    reads = iter(range(3))
    newest = versions.newest

    def look(log: Kafka) -> versions.Version | None:
        if next(reads) == 2:
            publishes(topics, 8)
        return newest(log)

    monkeypatch.setattr(versions, "newest", look)
    assert publishing.give(LOG, 7, [2], sleep=lambda _: None) is None
    assert 4 == len(given)
