"""Offsets are committed when what was read is folded for good, together, in one request a second for each group."""

import time
from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition
from msgspec.structs import replace

from pipeline.streaming import source
from pipeline.streaming.clients import Part
from pipeline.streaming.kafka import Kafka
from pipeline.streaming.source import Reading, final
from tests.pipeline.serving import until

LOG = Kafka("localhost:9092", "shop")
PARTS = [Part(LOG, "shop.facts", number, 10) for number in range(3)]
Committed = list[tuple[str, list[tuple[int, int]]]]  # the group, and each partition with its offset


@pytest.fixture
def committed(monkeypatch: pytest.MonkeyPatch) -> Committed:
    made: Committed = []

    class Committer:
        def __init__(self, group: str) -> None:
            self._group = group

        def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
            if self._group == "refused":
                raise KafkaException("it is closed")
            made.append((self._group, [(each.partition, each.offset) for each in offsets]))

    committer: Any = Committer
    monkeypatch.setattr(source, "_committer", lambda kafka, group: committer(group))
    monkeypatch.setattr(source, "_TOGETHER", 0.05)
    monkeypatch.setattr(source, "_finals", {})
    return made


def turn(parts: list[Part], group: str = "job") -> None:
    """One ends, and the engine says that it is final."""
    final(Reading(tuple(parts), group), time.monotonic())


def test_what_a_turn_has_read_is_committed_when_a_later_one_is_final_too(committed: Committed) -> None:
    turn(PARTS)
    time.sleep(0.1)
    assert not committed
    further = [PARTS[0], replace(PARTS[1], start=11), PARTS[2]]
    turn(further)
    until(lambda: committed)
    turn(further)
    until(lambda: len(committed) == 2)
    assert [("job", [(0, 10), (1, 10), (2, 10)]), ("job", [(0, 10), (1, 11), (2, 10)])] == committed


def test_readers_are_committed_together(committed: Committed) -> None:
    for _ in range(2):
        turn(PARTS[:2])
        turn([replace(PARTS[2], start=12)])
    until(lambda: committed)
    assert [("job", [(0, 10), (1, 10), (2, 12)])] == committed


def test_groups_have_offsets_of_their_own_and_one_that_fails_does_not_hold_up_another(committed: Committed) -> None:
    for _ in range(2):
        for group in ("refused", "job", "job.once"):
            turn(PARTS[:1], group)
    until(lambda: len(committed) == 2)
    for _ in range(2):
        turn(PARTS[1:2])
    until(lambda: len(committed) == 3)
    assert [("job", [(0, 10)]), ("job.once", [(0, 10)]), ("job", [(1, 10)])] == committed


def test_a_place_of_another_process_makes_nothing_sure(committed: Committed) -> None:
    turn(PARTS)
    for _ in range(2):
        final(Reading(tuple(PARTS), "job"), 0.0)
    time.sleep(0.1)
    assert not committed
