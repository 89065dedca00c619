"""Topics of the log on a real broker: what they have to take, and what reading them gives."""

import os
import time
from itertools import count
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]

from pipeline.disk import SenderError
from pipeline.streaming import growing, ticks, versions
from pipeline.streaming import kafka as client
from pipeline.streaming.clients import Part
from pipeline.streaming.kafka import (
    Kafka,
    KafkaProblem,
    NotRead,
    answers,
    consume,
    ends,
    partitions,
    read_all,
    write_all,
)
from pipeline.streaming.log import SESSION, Writer, read_kept
from pipeline.streaming.notes import bind_gateway
from pipeline.streaming.places import Places
from pipeline.streaming.source import EARLIEST, Reader, Reading, are_gone, parts_of, readings
from pipeline.streaming.topics import connection_topics, ensure, history_topic, job_topics
from pipeline.streaming.versions import Version, write
from schemas.registry import Registry, encode_registry
from scripts.engines import kafka as engine
from scripts.engines.kafka import Broker
from tests.engines.world import delete_records, until

LARGE = 5 * 1024 * 1024  # a call, or the state of somebody, with the largest event that is one
_number = count(1)


@pytest.fixture
def log(kafka: Broker) -> Kafka:
    made = Kafka(kafka.servers, f"topics{os.getpid()}-{next(_number)}")
    ensure(made, job_topics(made, 2) | connection_topics(made, "hook"))
    return made


@pytest.mark.parametrize("kind", ["state", "facts", "dead", "calls.hook", "sent.hook", "kept.hook"])
def test_a_large_record_is_taken(log: Kafka, kind: str) -> None:
    """One that is refused would be tried for ever: the job would not go on, and a sender would send the call again."""
    value = os.urandom(LARGE)
    write_all(log.producer(), [(log.topic(kind), b"key", value)])
    assert [value] == [each.value for each in read_all(log, log.topic(kind))]


def test_a_broker_that_dies_while_a_topic_is_read_is_told(
    log: Kafka, kafka: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`why`, `export` and `publish` waited without a word."""
    topic = log.topic("dead")  # it has one partition
    write_all(log.producer(), [(topic, b"%d" % number, os.urandom(4_000)) for number in range(20_000)])
    assert 20_000 == sum(1 for _ in read_all(log, topic))
    records = read_all(log, topic)
    next(records)
    kafka.stop(hard=True)
    monkeypatch.setattr(client, "WAIT", 3.0)
    try:
        with pytest.raises(KafkaProblem, match=rf"^Kafka: {topic}: nothing more came for 3 s; look after the brokers$"):
            list(records)
    finally:
        kafka.start()
        monkeypatch.undo()
    assert 20_000 == sum(1 for _ in read_all(log, topic))


def test_the_broker_says_when_the_sender_before_this_one_wrote(log: Kafka, tmp_path: Path) -> None:
    places = Places(tmp_path / "places")
    before = Writer(log, "hook", places)
    before.beat()
    time.sleep(3.0)
    after = Writer(log, "hook", places)
    waits = after.may_begin(read_kept(log, "hook")) - time.monotonic()
    assert 0.0 < waits < SESSION - 1.5
    with pytest.raises(SenderError, match="another sender has taken it over"):
        before.paused("2026-01-01T00:00:00Z")
    places.close()


def test_a_topic_that_takes_no_large_records_is_refused(log: Kafka) -> None:
    topics = {name: each for name, each in job_topics(log, 2).items() if name == log.topic("dead")}
    small = {log.topic("small"): each._replace(config={"cleanup.policy": "delete"}) for each in topics.values()}
    ensure(log, small)
    until(lambda: log.topic("small") in log.admin().list_topics(timeout=60).topics)
    with pytest.raises(KafkaProblem, match=r"max\.message\.bytes=1048588; set it to 33554432"):
        ensure(log, {log.topic("small"): each for each in topics.values()})


@pytest.mark.parametrize("kind", ["calls", "sent"])
def test_a_topic_that_frees_what_no_sender_has_settled_is_refused(log: Kafka, kind: str) -> None:
    wanted = connection_topics(log, "crm")
    name = log.topic(kind, "crm")
    small = wanted[name]._replace(config=wanted[name].config | {"retention.bytes": "1000000"})
    ensure(log, wanted | {name: small})
    with pytest.raises(KafkaProblem, match=rf"^{name} has retention\.bytes=1000000; set it to -1\n"):
        ensure(log, wanted)


def test_a_topic_of_leases_that_leaves_connections_without_a_sender_is_refused_and_nothing_is_made(
    kafka: Broker,
) -> None:
    log = Kafka(kafka.servers, f"few{os.getpid()}")
    leases = log.topic("leases")
    few = {leases: job_topics(log, 2)[leases]._replace(partitions=8)}
    ensure(log, few)
    until(lambda: leases in log.admin().list_topics(timeout=60).topics)
    with pytest.raises(KafkaProblem, match=rf"^{leases} has 8 partitions; it needs 64, or some connections have no"):
        ensure(log, job_topics(log, 2))
    assert not log.admin().list_topics(timeout=60).topics.keys() & {log.topic("state"), log.topic("facts")}


def test_a_partition_that_is_not_read_any_more_is_told_and_costs_nothing_else(log: Kafka) -> None:
    """It was told only where nothing was read with it: an event's partition could stand still unseen."""
    gone, good = TopicPartition(log.topic("dead"), 0, 0), TopicPartition(log.topic("calls", "hook"), 0, 0)
    write_all(log.producer(), [(topic, b"key", b"1") for topic in (gone.topic, good.topic, good.topic)])
    delete_records(log.servers, gone.topic, 1)
    consumer = log.consumer()
    consumer.assign([gone, good])
    time.sleep(2)  # both are there: what can be read, and that something cannot
    found: set[int] = set()
    told: list[str] = []

    def read() -> bool:
        try:
            found.update(record.offset for record in consume(consumer, 100, 1.0))
        except NotRead as error:
            told.append(error.topic)
        return bool(told) and found == {0, 1}

    until(read, lambda: f"{told} {found}")
    consumer.close()
    assert told == [gone.topic]


def test_a_worker_that_has_not_heard_of_a_name_looks_which_topics_it_has(log: Kafka) -> None:
    """What another worker asked with a newer version would go into a topic that is not there."""
    producer = log.producer(transactional_id=log.topic("publisher"))
    producer.init_transactions(30)
    worker = versions.Following(log)
    for number, connections in enumerate((["hook"], ["crm", "other"]), 1):
        named = {} if number == 1 else {"hook": "hook", "crm": "hook", "other": "other"}
        registry = encode_registry(Registry(connections=connections))
        version = Version(number, "", {}, registry, {}, b"", topics=named)
        write(log, producer, version)
        until(lambda number=number: (seen := versions.newest(log)) and seen.number == number)  # another worker has it
        if number == 1:
            assert worker.look(anyway=True)
            assert "hook" == worker.first_name("hook")
    assert ["hook", "hook", "other"] == [worker.first_name(name) for name in ("crm", "hook", "other")]


def test_records_that_are_gone_unread_are_noticed(log: Kafka) -> None:
    """The files that they are of have to be given again."""
    ensure(log, history_topic(log, 2))
    topic, group = log.topic("history"), log.topic("job")
    assert not are_gone(log, topic, group)
    write_all(log.producer(), [(topic, b"key", b"1") for _ in range(3)])
    (number,) = {record.partition for record in read_all(log, topic)}
    assert not are_gone(log, topic, group)
    delete_records(log.servers, topic, 2, number)
    assert are_gone(log, topic, group)
    consumer = log.consumer(group_id=group)
    consumer.commit(offsets=[TopicPartition(topic, number, 1)], asynchronous=False)
    assert are_gone(log, topic, group)
    consumer.commit(offsets=[TopicPartition(topic, number, 2)], asynchronous=False)
    consumer.close()
    assert not are_gone(log, topic, group)


def test_what_one_reader_has_seen_the_others_see_at_once(log: Kafka) -> None:
    """A job decides with a version; senders that read its calls have to know that version."""
    producer = log.producer(transactional_id=log.topic("publisher"))
    producer.init_transactions(30)
    job, sender = versions.Following(log), versions.Following(log)
    assert sender.up_to_now() is None
    for number in (1, 2, 3):
        version = Version(number, "", {}, b"", {}, b"")
        write(log, producer, version)
        until(lambda expected=version: job.look(anyway=True) == expected)  # type: ignore[misc]
        assert sender.up_to_now() == version


def test_of_two_jobs_the_one_that_was_submitted_last_decides_once_it_has_begun(log: Kafka) -> None:
    older = versions.next_job(log, time.time())
    running = versions.Following(log)
    running.claim(older)
    many = [(log.topic("workspace"), b"job", b"%c" % 1) for _ in range(300)]  # more than one look reads
    write_all(log.producer(), many)
    newer = versions.next_job(log, 0.0)  # by a clock that is behind
    assert newer > older
    running.claim(older)  # the newer one has not begun
    versions.Following(log).claim(newer)
    with pytest.raises(KafkaProblem, match=r"another job on this --log was submitted at .* Cancel it"):
        versions.Following(log).claim(older)  # in a process that begins
    time.sleep(1.1)
    with pytest.raises(KafkaProblem, match="another job"):
        running.claim(older)
    assert versions.newest(log) is None  # a number is no version


def values(reader: Reader, count: int) -> list[int]:
    """So many records of a reader."""
    found: list[int] = []

    def read() -> bool:
        while record := reader.record():
            found.append(int(record.value or b""))
            if len(found) == count:
                return True
        return False

    until(read, lambda: f"{found}")
    return found


def test_readers_of_the_same_parts_each_go_on_from_their_own_place(log: Kafka) -> None:
    """They have one client: an engine makes new readers all the time, and may come back to an old one."""
    write_all(log.producer(), [(log.topic("facts"), b"key", b"%d" % number) for number in range(100)])
    parts = [each for each in parts_of(log, log.topic("facts"), EARLIEST, "test") if ends_of(log, each)]
    first = Reader(Reading(tuple(parts), "test"))
    assert [*range(10)] == values(first, 10)
    second = Reader(first.reading())
    assert [*range(10, 30)] == values(second, 20)
    assert [*range(10, 15)] == values(first, 5)
    third = Reader(second.reading())
    assert [*range(30, 100)] == values(third, 70)
    assert third.record() is None


def test_ticks_wait_for_each_other_and_nothing_waits_for_them(log: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    may_read = False
    monkeypatch.setattr(ticks, "may_read", lambda: may_read)
    monkeypatch.setattr(ticks, "read", lambda key: None)
    topics = log.topic("facts"), log.topic("ticks")
    write_all(log.producer(), [(topics[1], b"%d" % number, b"%d" % number) for number in range(9_000)])
    parts = [each for topic in topics for each in parts_of(log, topic, EARLIEST, "test")]
    reader = Reader(Reading(tuple(parts), "test"))
    assert reader.record() is None
    for part in range(3):
        write_all(log.producer(), [(topics[0], b"key", b"%d" % number) for number in range(part * 10, part * 10 + 10)])
        assert [*range(part * 10, part * 10 + 10)] == values(reader, 10)
    may_read = True
    assert 4_000 == len(set(values(reader, 4_000)))
    again = Reader(reader.reading())
    write_all(log.producer(), [(topics[0], b"key", b"-1")])
    found = values(again, 5_001)
    assert -1 in found[:2_001]  # those that were fetched with it go first
    assert 5_001 == len(set(found))
    assert again.record() is None


def test_ticks_have_their_turn_while_there_is_always_something_else(
    log: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticks, "may_read", lambda: True)
    monkeypatch.setattr(ticks, "read", lambda key: None)
    write_all(log.producer(), [(log.topic("facts"), b"%d" % number, b"0") for number in range(20_000)])
    write_all(log.producer(), [(log.topic("ticks"), b"%d" % number, b"1") for number in range(50)])
    parts = [each for kind in ("facts", "ticks") for each in parts_of(log, log.topic(kind), EARLIEST, "test")]
    found = values(Reader(Reading(tuple(parts), "test")), 18_000)
    assert 50 == sum(found)


def test_partitions_that_a_topic_gets_are_read_each_by_one_reader(log: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "_LOOK", 0.0)
    topic, read = log.topic("facts"), list[int]()
    made = readings(parts_of(log, topic, EARLIEST, "test"), "test")
    readers = [Reader(reading) for reading in made]
    assert not any(reader.record() for reader in readers)
    places = [reader.reading() for reader in readers]
    admin = log.admin()
    for future in admin.create_partitions([NewPartitions(topic, 5)]).values():
        future.result(30)
    until(lambda: partitions(log, topic) == 5)
    producer = log.producer()
    for number in range(5):
        producer.produce(topic, b"%d" % number, b"key", partition=number)
    assert not producer.flush(30)

    def all_is_read() -> bool:
        for reader in readers:
            while record := reader.record():
                read.append(int(record.value or b""))
        places[:] = [reader.reading() for reader in readers]
        return len(read) >= 5

    until(all_is_read, lambda: f"{read}")
    assert [0, 1, 2, 3, 4] == sorted(read)
    assert [{0, 2, 4}, {1, 3}] == [{part.partition for part in place.parts} for place in places]
    producer.produce(topic, b"9", b"key", partition=4)
    assert not producer.flush(30)
    assert [9] == values(Reader(places[0]), 1)


def test_a_log_that_was_told_to_a_sandbox_is_not_sent_to_vendors(log: Kafka) -> None:
    for _ in range(2):
        bind_gateway(log, "http://127.0.0.1:8808")
    with pytest.raises(
        KafkaProblem, match=r"the gateway http://127\.0\.0\.1:8808, and this command is for the vendors"
    ):
        bind_gateway(log, "")


def ends_of(log: Kafka, part: Part) -> int:
    consumer = log.consumer()
    try:
        return ends(consumer, part.topic, part.partition)[1]
    finally:
        consumer.close()


def test_to_ask_for_a_topic_does_not_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker makes topics that somebody asks for, unless it is told not to."""
    told = engine._PROPERTIES.replace("auto.create.topics.enable=false", "auto.create.topics.enable=true")
    monkeypatch.setattr(engine, "_PROPERTIES", told)
    with engine.broker(tmp_path / "kafka") as server:
        log = Kafka(server.servers, "shop")
        assert answers(log, 30.0)
        assert 0 == partitions(log, log.topic("history"))
        time.sleep(1.0)
        assert [] == [name for name in log.admin().list_topics(timeout=30).topics if name.startswith("shop")]
