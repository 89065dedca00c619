"""Where a topic of events is begun: --start, as a real broker knows offsets and times."""

import os
import time
from contextlib import closing
from itertools import count

import pytest
from confluent_kafka import TopicPartition

from pipeline.commands.streaming import start
from pipeline.moments import rfc3339
from pipeline.streaming.kafka import Kafka, KafkaProblem
from pipeline.streaming.source import COMMITTED, EARLIEST, LATEST, parts_of
from pipeline.streaming.topics import Wanted, ensure
from scripts.engines.kafka import Broker
from tests.engines.world import delete_records

FIRST = int(time.time()) - 3_600  # when the first record was written; the others came a minute apart
_number = count(1)


@pytest.fixture
def events(kafka: Broker) -> Kafka:
    """Five records in the first partition, and none in the second."""
    made = Kafka(kafka.servers, f"starts{os.getpid()}-{next(_number)}")
    ensure(made, {made.name: Wanted(2, {})})
    producer = made.producer()
    for minute in range(5):
        producer.produce(made.name, b"{}", partition=0, timestamp=(FIRST + minute * 60) * 1_000)
    assert not producer.flush(30)
    return made


def begun(events: Kafka, where: str, group: str = "nobody", gaps: bool = False) -> list[int]:
    return [part.start for part in parts_of(events, events.name, where, f"{events.name}.{group}", gaps)]


def at(seconds: float) -> str:
    return start(rfc3339(FIRST + seconds))


def commit(events: Kafka, offset: int) -> None:
    with closing(events.consumer(group_id=f"{events.name}.job")) as consumer:
        consumer.commit(offsets=[TopicPartition(events.name, 0, offset)], asynchronous=False)


def test_the_ends_of_a_topic(events: Kafka) -> None:
    assert [0, 0] == begun(events, EARLIEST)
    assert [5, 0] == begun(events, LATEST)
    delete_records(events.servers, events.name, 2)
    assert [2, 0] == begun(events, EARLIEST)
    assert [5, 0] == begun(events, LATEST)


def test_a_time_is_the_first_record_that_was_written_then_or_later(events: Kafka) -> None:
    whens = (-86_400, 0, 1, 60, 90, 239, 240, 241, 3_600)
    assert [0, 0, 1, 1, 2, 4, 4, 5, 5] == [begun(events, at(when))[0] for when in whens]
    assert [0] * len(whens) == [begun(events, at(when))[1] for when in whens]
    delete_records(events.servers, events.name, 2)
    assert [2, 2, 3] == [begun(events, at(when))[0] for when in (0, 120, 121)]


def test_what_comes_after_a_time_in_the_future_is_read_from_now_on(events: Kafka) -> None:
    assert [5, 0] == begun(events, at(7 * 86_400))


def test_committed_is_where_the_group_was_and_else_the_beginning(events: Kafka) -> None:
    assert [0, 0] == begun(events, COMMITTED)
    commit(events, 3)
    assert [3, 0] == begun(events, COMMITTED, "job")
    assert [0, 0] == begun(events, COMMITTED, "another")
    commit(events, 5)
    assert [5, 0] == begun(events, COMMITTED, "job")
    delete_records(events.servers, events.name, 4)
    assert [4, 0] == begun(events, COMMITTED, "another")
    assert [5, 0] == begun(events, COMMITTED, "job")


def test_what_is_gone_behind_the_committed_place_is_told_or_passed(events: Kafka) -> None:
    commit(events, 1)
    delete_records(events.servers, events.name, 3)
    with pytest.raises(KafkaProblem, match=rf"{events.name}, partition 0: records from 1 to 2 are gone and were not"):
        begun(events, COMMITTED, "job")
    assert [3, 0] == begun(events, COMMITTED, "job", gaps=True)
    assert [3, 0] == begun(events, EARLIEST, "job")
    commit(events, 3)
    assert [3, 0] == begun(events, COMMITTED, "job")


def test_a_topic_that_was_made_anew_is_not_begun_behind_its_end(events: Kafka) -> None:
    """Readers would be sent away from there for ever."""
    commit(events, 7)
    with pytest.raises(KafkaProblem, match=r"read up to 7 and ends at 5, so it was made anew; begin with"):
        begun(events, COMMITTED, "job")
    assert [0, 0] == begun(events, COMMITTED, "job", gaps=True)
    assert [0, 0] == begun(events, EARLIEST, "job")


def test_a_topic_that_is_not_there_is_told(events: Kafka) -> None:
    with pytest.raises(KafkaProblem, match=r"there is no topic nowhere; make it, or correct the address"):
        parts_of(events, "nowhere", EARLIEST, "job")
