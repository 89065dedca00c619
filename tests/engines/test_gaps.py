"""Records that are gone from a broker without having been read or settled: whoever would go on behind them says so."""

import time
from datetime import UTC, datetime

import msgspec
import pytest
import requests
from confluent_kafka import TopicPartition

from pipeline.streaming.kafka import Kafka, ends, write_all
from pipeline.streaming.notes import note
from pipeline.streaming.publishing import publish
from pipeline.streaming.topics import connection_topics, ensure
from pipeline.streaming.versions import Version
from schemas.calls import Call, Identifier
from scripts.engines import PRISM
from tests.engines.world import World, delete_records, people, until
from tests.pipeline.running import CONNECTION, workspace


def test_senders_do_not_go_on_behind_calls_that_are_gone_unless_they_are_told_to(world: World) -> None:
    (hook,) = published(world).plan(datetime.now(UTC)).connections
    sync = next(each for each in hook.syncs if each.computation_key == "score")
    log, calls = Kafka(world.kafka.servers, world.log), f"{world.log}.calls.hook"
    slot, names = sync.forms[0].slot, [f"u{number}" for number in range(40)]
    made = [Call(who, "identify", Identifier("user_id", who), "score", 7, 1, 1, slot, sync.epoch) for who in names]
    write_all(log.producer(), [(calls, each.profile_id.encode(), msgspec.msgpack.encode(each)) for each in made])
    delete_records(world.kafka.servers, calls, 30)

    refused = world.start("send", "--log", world._at(world.log), "--status-port", 0, "--gateway", world.vendor.url)
    assert 3 == refused.wait()
    assert f"hook: calls that were not settled are gone from {calls} (offsets 0 to 29)" in refused.text()
    assert "start the senders once with `profilecast send --past-gaps`" in refused.text()
    assert [] == world.arrived

    past = world.sender("--past-gaps")
    until(lambda: len(world.arrived) == 10, past.text)
    past.stop()
    again = world.sender()  # it is known by now
    until(lambda: again.status()["connections"]["hook"]["stopped"] == "" and again.said("takes over"), again.text)


def test_a_connection_that_comes_with_a_gap_stands_still_and_says_so_once(world: World) -> None:
    log, file = Kafka(world.kafka.servers, world.log), world.workspace
    published(world)
    sender = world.sender("--retry-stopped", "1s")
    until(lambda: "hook" in sender.status()["connections"], sender.text)
    ensure(log, connection_topics(log, "second"))
    write_all(log.producer(), [(log.topic("calls", "second"), b"u1", b"a call")])
    delete_records(world.kafka.servers, log.topic("calls", "second"), 1)
    file.write_text(file.read_text() + CONNECTION % ("second", "second"))
    published(world)
    stopped = "stopped second: calls that were not settled are gone from"
    until(lambda: sender.said(stopped), sender.text)
    time.sleep(5.0)  # it is tried again meanwhile
    assert 1 == sender.text().count(stopped), sender.text()
    connections = sender.status()["connections"]
    assert "--past-gaps" in connections["second"]["stopped"]
    assert "" == connections["hook"]["stopped"]
    metrics = requests.get(f"{sender.page}/metrics", timeout=30).text
    assert 'profilecast_connection_trouble{connection="second",kind="stopped"} 1.0' in metrics
    assert 200 == requests.get(f"{sender.page}/healthz", timeout=30).status_code  # as for all that stands still


# As good as any: the job is refused before there is one.
SAVEPOINT = [
    "--runner=PortableRunner", "--job_endpoint=localhost:1", "--checkpointing_interval=1000",
    "--savepoint_path=file:///savepoint", "--start", "earliest",
]  # fmt: skip


@pytest.mark.parametrize("beam", [PRISM, SAVEPOINT], ids=["committed", "savepoint"])
def test_a_job_does_not_go_on_behind_events_that_are_gone(world: World, beam: list[str]) -> None:
    """From a savepoint it would read on where that was, and fail again and again, wherever it was told to start."""
    world.write(people(range(30)))
    number = next(each for each in range(3) if end(world, world.events, each) > 3)
    consumer = Kafka(world.kafka.servers, world.log).consumer(group_id=f"{world.log}.job")
    consumer.commit(offsets=[TopicPartition(world.events, number, 1)], asynchronous=False)
    consumer.close()
    delete_records(world.kafka.servers, world.events, 3, number)
    arguments = ["--events", world._at(world.events), "--log", world._at(world.log), "--workspace", world.workspace]
    refused = world.start("run", "--streaming", *arguments, *beam)
    assert 3 == refused.wait()
    assert f"{world.events}, partition {number}: records from 1 to 2 are gone and were not read" in refused.text()
    assert "begin with --bootstrap --start earliest" in refused.text()
    assert "submitting" not in refused.text()


def test_whoever_had_a_tick_that_is_gone_is_looked_at_by_the_job_that_begins_anew(world: World) -> None:
    """It takes states over as they are: without a tick nobody would be told to what came meanwhile."""
    world.write(people(range(20)))
    job = world.job(PRISM)
    world.sender()
    world.settle()
    job.stop()
    workspace(world.workspace, "hook", "second")
    assert 0 == world.publish().wait()
    ticks = f"{world.log}.ticks"
    for number in range(8):
        delete_records(world.kafka.servers, ticks, end(world, ticks, number), number)
    world.job(PRISM, "--bootstrap", "--start", "earliest")
    until(lambda: world.told(host="second.example") == world.wanted(), world.difference)
    assert world.quiet()
    assert 0 == world.twice()


def test_a_job_that_was_away_for_so_long_that_its_offsets_are_forgotten_is_told_what_is_gone(world: World) -> None:
    log = Kafka(world.kafka.servers, world.log)
    published(world)
    write_all(log.producer(), [note(log, "job", "events", [world.events])])
    world.write(people(range(30)))
    number = next(each for each in range(3) if end(world, world.events, each) > 3)
    delete_records(world.kafka.servers, world.events, 3, number)
    refused = world.start(
        "run", "--streaming", "--events", world._at(world.events), "--log", world._at(world.log),
        "--workspace", world.workspace, *PRISM,
    )  # fmt: skip
    assert 3 == refused.wait()
    assert f"partition {number}: Kafka does not know any more how far it was read" in refused.text()


def published(world: World) -> Version:
    log, file = Kafka(world.kafka.servers, world.log), world.workspace
    return publish(log, file.read_text(), str(file), True, lambda *_, **__: None)


def end(world: World, topic: str, partition: int = 0) -> int:
    consumer = Kafka(world.kafka.servers, topic).consumer()
    try:
        return ends(consumer, topic, partition)[1]
    finally:
        consumer.close()
