"""Offsets are committed together, in one request a second for each group: there are new ones with every bundle."""

from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition
from msgspec.structs import replace

from pipeline.streaming import source
from pipeline.streaming.kafka import Kafka
from pipeline.streaming.source import Part
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
    return made


def test_the_last_offset_of_each_partition_is_committed(committed: Committed) -> None:
    source._commit(PARTS, "job")
    source._commit([replace(PARTS[1], start=11)], "job")
    until(lambda: committed)
    assert [("job", [(0, 10), (1, 11), (2, 10)])] == committed


def test_groups_have_offsets_of_their_own_and_one_that_fails_does_not_hold_up_another(committed: Committed) -> None:
    for group in ("refused", "job", "job.once"):
        source._commit(PARTS[:1], group)
    until(lambda: len(committed) == 2)
    source._commit(PARTS[1:2], "job")
    until(lambda: len(committed) == 3)
    assert [("job", [(0, 10)]), ("job.once", [(0, 10)]), ("job", [(1, 10)])] == committed
