"""One person and dead letters of a job, by the command and on the page of a sender: real broker, engine and sender."""

import os
import re
from zlib import crc32

import msgspec
import pytest
import requests
from confluent_kafka import Producer

from pipeline.streaming.by_key import newest, offsets_since, partitions_of
from pipeline.streaming.counting import Counting
from pipeline.streaming.kafka import Kafka, read_all
from pipeline.streaming.places import place_of
from pipeline.streaming.topics import Wanted, ensure
from schemas.calls import Call
from schemas.receipts import Receipt
from scripts.engines import PRISM
from scripts.engines.kafka import Broker
from tests.engines.test_moving import log_of
from tests.engines.test_paused import act
from tests.engines.test_replay import letters, refusing
from tests.engines.world import Process, World, delete_records, now, people, until
from tests.pipeline.running import score


def why(world: World, who: str, *more: object, code: int = 0) -> str:
    process = world.start("why", who, "--log", world._at(world.log), *more)
    assert code == process.wait(120), process.text()
    return process.text()


def asked(sender: Process, act_: str, **given: str) -> tuple[int, str]:
    """What an act of the sender's page answers: status, body."""
    page = sender.page
    token = re.findall(r'name="token" content="([^"]+)"', requests.get(page, timeout=60).text)[0]
    reply = requests.post(f"{page}/{act_}", json=given, headers={"x-page-token": token}, timeout=120)
    return reply.status_code, reply.text


def waiting(world: World) -> list[Call]:
    """The slow obvious way: calls of the topic without a receipt, in order."""
    log = log_of(world)
    sent = read_all(log, log.topic("sent", "hook"))
    done = {msgspec.msgpack.decode(each.value or b"", type=Receipt).ask for each in sent}
    calls = read_all(log, log.topic("calls", "hook"))
    return [msgspec.msgpack.decode(each.value or b"", type=Call) for each in calls if place_of(each.offset) not in done]


def test_one_person_and_dead_letters_of_a_job(world: World) -> None:
    world.job(PRISM)
    sender = world.sender()
    accept = world.vendor.answer
    refusing(world, "u3")
    world.write(people(range(6)))
    until(lambda: len(letters(world)) == 2 and len(world.told()) == 10, world.difference)
    world.quiet()

    for who in ("u1", "email:U1@example.com"):
        told = why(world, who)
        assert re.search(r"user_id u1: told 1: asked on 20\S+ \S+Z, acknowledged on 20", told), told
        assert re.search(r"hook +identify +email u1@example.com +1 +delivered on 20", told), told
        refused = why(world, who.replace("1", "3", 1).replace("U1", "u3"), "--connection", "hook", "--sync", "score")
        assert "user_id u3: not told: invalid_value on 20" in refused
        assert "after 1 attempt" in refused
        assert "vip" not in refused.partition("Calls, the newest first")[0].partition("hook")[2]
    for who in ("u77", "email:u77@example.com"):
        assert f"{who}: nobody is known by that" in why(world, who, code=1)
    assert "did you mean hook?" in why(world, "u1", "--connection", "hok", code=1)

    accept_all, world.vendor.answer = world.vendor.answer, accept
    world.write([{"type": "delete", "profile_id": "u4", "at": now()}])
    until(lambda: "deleted on 20" in why(world, "u4"), world.difference)
    assert "nobody is known by that" in why(world, "email:u4@example.com", code=1)
    world.vendor.answer = accept_all

    on_the_page(world, sender)

    other = world.sender()  # which need not have the connection
    assert "told 500: asked on" in asked(other, "why", person="u1")[1]
    assert '"number":2' in asked(other, "dead-letters")[1]
    other.stop()
    sender.stop()
    world.write([score(f"u{number}", now(), 900 + number) for number in (0, 1, 2, 5)])
    until(lambda: len(waiting(world)) >= 8, world.difference)
    places = [place for place, call in enumerate(waiting(world)) if call.profile_id == "u2"]
    found = re.findall(r"it waits behind (\d+) calls?|it is (the next to go)", why(world, "u2"))
    assert {int(number or 0) for number, _ in found} <= set(places), (found, places)
    assert len(found) == 2
    assert "as soon as a sender delivers" in why(world, "u2")


def on_the_page(world: World, sender: Process) -> None:
    """The refused, the paused and nobody."""
    status, body = asked(sender, "why", person="email:u1@example.com")
    assert (200, True) == (status, "told 1: asked on" in body), body
    assert "not told: invalid_value on" in asked(sender, "why", person="u3")[1]
    assert 409 == asked(sender, "why", person="u77")[0]
    assert "nobody is known by that" in asked(sender, "why", person="email:u77@example.com")[1]
    assert "deleted on 20" in asked(sender, "why", person="u4")[1]
    assert 409 == asked(sender, "why", person=" ")[0]

    status, body = asked(sender, "dead-letters")
    assert (200, True) == (status, '"connection":"hook","reason":"invalid_value","number":2' in body), body
    assert "u3" not in body
    given = {"connection": "hook", "reason": "invalid_value"}
    status, body = asked(sender, "would-replay", **given)
    assert (200, True) == (status, "Calls that would go: 2." in body and '"any":true' in body), body
    assert 409 == asked(sender, "would-replay", connection="hook", reason="expired")[0]

    act(sender, "pause")
    world.write([score("u1", now(), 500)])
    until(lambda: "it waits: the connection is paused since 20" in asked(sender, "why", person="u1")[1])
    assert "the value 500 was asked on 20" in why(world, "u1")
    assert "it waits: the connection is paused since 20" in why(world, "email:u1@example.com")
    act(sender, "resume")

    world.vendor.answer = world._answer  # it is well again
    status, body = asked(sender, "replay", **given)
    assert (200, True) == (status, "are tried again" in body), body
    assert "Z replay hook: reason=invalid_value" in sender.text()
    world.written = [event for event in world.written if event["profile_id"] != "u4"]
    wanted = world.wanted()
    until(lambda: {place: value for place, value in world.told().items() if "u4" not in place[0]} == wanted)
    until(lambda: "user_id u3: told 3: asked on" in why(world, "u3"), world.difference)
    assert "Calls that would go: 0." in asked(sender, "would-replay", **given)[1]


# -- where records of a key are


@pytest.fixture
def log(kafka: Broker) -> Kafka:
    """A log with a topic of states, of five partitions, and one of dead letters."""
    log = Kafka(kafka.servers, f"k{os.getpid()}-{os.urandom(3).hex()}")
    ensure(log, {log.topic("state"): Wanted(5, {}), log.topic("dead"): Wanted(1, {})})
    return log


def test_a_key_is_where_a_client_puts_it(log: Kafka) -> None:
    keys = [f"profile-{number}" for number in range(200)] + ["\0" + "a1" * 16, "ä", "x"]
    for producer in (log.producer(), Producer(log.config())):
        for key in keys:
            producer.produce(log.topic("state"), f"of {key}".encode(), key.encode())
        assert not producer.flush(30)
    places = {record.key: record.partition for record in read_all(log, log.topic("state"))}
    assert len(set(places.values())) == 5
    for key in keys:
        assert [places[key.encode()]] == partitions_of(log, log.topic("state"), [key.encode()])
        assert crc32(key.encode()) % 5 == places[key.encode()]
    assert {"x": b"of x", "ä": "of ä".encode()} == newest(log, log.topic("state"), ["x", "ä", "nobody"])
    other = Kafka(log.servers, log.name, (("partitioner", "murmur2_random"),))
    assert [0, 1, 2, 3, 4] == partitions_of(other, log.topic("state"), [b"x"])


def test_where_a_time_begins(log: Kafka) -> None:
    producer = log.producer()
    for second in (10, 20, 30):
        producer.produce(log.topic("dead"), b"{}", timestamp=second * 1_000)
    assert not producer.flush(30)
    found = [offsets_since(log, log.topic("dead"), since, [0])[0] for since in (5, 15, 30, 31)]
    assert [0, 1, 2, 3] == found
    assert {} == offsets_since(log, log.topic("dead"), 5, [])


def test_what_retention_took_is_counted_no_more(log: Kafka) -> None:
    counting, producer = Counting(log), log.producer()

    def write(*letters: bytes) -> None:
        for letter in letters:
            producer.produce(log.topic("dead"), letter)
        assert not producer.flush(30)

    def rows() -> list[tuple[str, str, int]]:
        return [(row.connection, row.reason, row.number) for row in counting.rows({"hook": "crm", "crm": "crm"})]

    assert [] == rows()
    bad = b'{"step": "Parse", "reason": "broken_json", "payload": "x"}'
    write(bad, bad)
    assert [("", "broken_json", 2)] == rows()
    write(b"{}", b"somebody else's", bad)
    assert [("", "broken_json", 3)] == rows()
    delete_records(log.servers, log.topic("dead"), 2)
    assert [("", "broken_json", 1)] == rows()
    write(bad)
    assert [("", "broken_json", 2)] == rows()
