"""Records that are gone from a broker without having been read or settled: whoever would go on behind them says so."""

import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import requests
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from pipeline.streaming.kafka import Kafka, ends, write_all
from pipeline.streaming.publishing import publish
from pipeline.streaming.topics import connection_topics, ensure
from pipeline.streaming.versions import Version
from schemas.calls import Call, Identifier
from scripts.engines import PRISM
from tests.engines.world import Process, World, people, until
from tests.pipeline.running import CONNECTION


def test_senders_do_not_go_on_behind_calls_that_are_gone_unless_they_are_told_to(world: World) -> None:
    (hook,) = published(world).plan(datetime.now(UTC)).connections
    sync = next(each for each in hook.syncs if each.computation_key == "score")
    log, calls = Kafka(world.kafka.servers, world.log), f"{world.log}.calls.hook"
    slot, names = sync.forms[0].slot, [f"u{number}" for number in range(40)]
    made = [Call(who, "identify", Identifier("user_id", who), "score", 7, 1, 1, slot, sync.epoch) for who in names]
    write_all(log.producer(), [(calls, each.profile_id.encode(), msgspec.msgpack.encode(each)) for each in made])
    delete(world, calls, 30)

    refused = world.start("send", "--log", world._at(world.log), "--status-port", 0, "--gateway", world.vendor.url)
    assert 3 == refused.wait()
    assert f"hook: calls that were not settled are gone from {calls} (offsets 0 to 29)" in refused.text()
    assert "start the senders once with `profilecast send --past-gaps`" in refused.text()
    assert [] == world.arrived

    past = world.sender("--past-gaps")
    until(lambda: len(world.arrived) == 10, past.text)
    past.stop()
    again = world.sender()  # it is known by now
    until(lambda: told(again)["connections"]["hook"]["stopped"] == "" and again.said("takes over"), again.text)


def test_a_connection_that_comes_with_a_gap_stands_still_and_says_so_once(world: World) -> None:
    log, file = Kafka(world.kafka.servers, world.log), world.workspace
    published(world)
    sender = world.sender("--retry-stopped", "1s")
    until(lambda: "hook" in told(sender)["connections"], sender.text)
    ensure(log, connection_topics(log, "second"))
    write_all(log.producer(), [(log.topic("calls", "second"), b"u1", b"a call")])
    delete(world, log.topic("calls", "second"), 1)
    file.write_text(file.read_text() + CONNECTION % ("second", "second"))
    published(world)
    stopped = "stopped second: calls that were not settled are gone from"
    until(lambda: sender.said(stopped), sender.text)
    time.sleep(5.0)  # it is tried again meanwhile
    assert 1 == sender.text().count(stopped), sender.text()
    connections = told(sender)["connections"]
    assert "--past-gaps" in connections["second"]["stopped"]
    assert "" == connections["hook"]["stopped"]
    metrics = requests.get(page(sender) + "/metrics", timeout=30).text
    assert 'profilecast_connection_trouble{connection="second",kind="stopped"} 1.0' in metrics
    assert 200 == requests.get(page(sender) + "/healthz", timeout=30).status_code  # as for all that stands still


def test_a_job_does_not_go_on_behind_events_that_are_gone(world: World) -> None:
    world.write(people(range(30)))
    number = next(each for each in range(3) if end(world, world.events, each) > 3)
    consumer = Kafka(world.kafka.servers, world.log).consumer(group_id=f"{world.log}.job")
    consumer.commit(offsets=[TopicPartition(world.events, number, 1)], asynchronous=False)
    consumer.close()
    delete(world, world.events, 3, number)
    arguments = ["--events", world._at(world.events), "--log", world._at(world.log), "--workspace", world.workspace]
    refused = world.start("run", "--streaming", *arguments, *PRISM)
    assert 3 == refused.wait()
    assert f"{world.events}, partition {number}: records from 1 to 2 are gone and were not read" in refused.text()
    assert "--start earliest" in refused.text()
    assert "submitting" not in refused.text()


def published(world: World) -> Version:
    log, file = Kafka(world.kafka.servers, world.log), world.workspace
    return publish(log, file.read_text(), str(file), True, lambda *_, **__: None)


def end(world: World, topic: str, partition: int = 0) -> int:
    consumer = Kafka(world.kafka.servers, topic).consumer()
    try:
        return ends(consumer, topic, partition)[1]
    finally:
        consumer.close()


def delete(world: World, topic: str, before: int, partition: int = 0) -> None:
    admin = AdminClient({"bootstrap.servers": world.kafka.servers})
    for future in admin.delete_records([TopicPartition(topic, partition, before)]).values():
        future.result(30)


def page(sender: Process) -> str:
    def address() -> str:
        found = [line for line in sender.text().splitlines() if "status=" in line]
        return found[0].rpartition("status=")[2].removesuffix("/status") if found else ""

    found: str = until(address, sender.text)
    return found


def told(sender: Process) -> dict[str, Any]:
    """What its page says."""
    found: dict[str, Any] = requests.get(page(sender) + "/status", timeout=30).json()
    return found
