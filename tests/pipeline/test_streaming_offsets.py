"""Offsets are committed for every bundle, so only those that moved are; and all of them now and then."""

from typing import Any

import pytest
from confluent_kafka import TopicPartition
from msgspec.structs import replace

from pipeline.streaming import source
from pipeline.streaming.kafka import Kafka
from pipeline.streaming.source import Part

LOG = Kafka("localhost:9092", "shop")
PARTS = [Part(LOG, "shop.facts", number, 10) for number in range(3)]


@pytest.fixture
def committed(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[int, int]]]:
    """Partition and offset, of each commit."""
    made: list[list[tuple[int, int]]] = []

    class Committer:
        def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
            made.append([(each.partition, each.offset) for each in offsets])

    committer: Any = Committer()
    monkeypatch.setattr(source, "_committer", lambda kafka, group: committer)
    monkeypatch.setattr(source, "_committed", {})
    return made


def test_what_moved_is_committed_in_one_go(committed: list[list[tuple[int, int]]]) -> None:
    source._commit(PARTS, "job", 100.0)
    source._commit([PARTS[0], replace(PARTS[1], start=11), PARTS[2]], "job", 101.0)
    assert [[(0, 10), (1, 10), (2, 10)], [(1, 11)]] == committed


def test_what_did_not_move_is_committed_again_after_a_while(committed: list[list[tuple[int, int]]]) -> None:
    """A commit that fails says so to nobody."""
    source._commit(PARTS, "job", 100.0)
    source._commit(PARTS, "job", 109.0)
    source._commit(PARTS, "job", 110.0)
    assert [[(0, 10), (1, 10), (2, 10)]] * 2 == committed


def test_groups_have_offsets_of_their_own(committed: list[list[tuple[int, int]]]) -> None:
    source._commit(PARTS[:1], "job", 100.0)
    source._commit(PARTS[:1], "job.once", 100.0)
    assert [[(0, 10)]] * 2 == committed
