"""The job on Prism, senders beside it, one broker: what happens in a topic, the vendor knows."""

import time
from collections import Counter

from pipeline.streaming.kafka import ends
from scripts.engines import PRISM
from tests.engines.test_moving import log_of
from tests.engines.world import HOOK, World, in_flight, now, people, until
from tests.pipeline.running import CONNECTION, score
from transforms.logic.inflight import FEWEST

CAP = 40  # requests a second
SECOND = "second.example"


def test_what_is_written_is_told_and_nothing_is_told_again_by_a_job_that_takes_the_state_over(world: World) -> None:
    world.write(people(range(100)))
    job = world.job(PRISM)
    world.sender()
    world.settle()
    world.write([score(f"u{number}", now(), 1000 + number) for number in range(50)])
    world.settle()
    world.quiet()  # what was told within the last moments may be told again

    job.kill()  # with all that Prism knew
    again = world.start(
        "run", "--streaming", "--workspace", world.workspace, "--events", world._at(world.events),
        "--log", world._at(world.log), *PRISM,
    )  # fmt: skip
    assert again.wait() == 3
    assert "everybody would be told everything again" in again.text()

    heard = world.quiet()
    world.job(PRISM, "--bootstrap", "--start", "earliest")
    world.write([score("u7", now(), 2000)])
    world.ends_well(again=0)
    assert len(world.arrived) == heard + 2


def test_a_job_ends_when_another_one_is_submitted_on_its_log(world: World) -> None:
    """Both would tell everybody everything."""
    world.write(people(range(20)))
    older = world.job(PRISM)
    world.sender()
    world.settle()
    world.quiet()
    world.job(PRISM, "--bootstrap")
    world.write([score(f"u{number}", now(), 1_000 + number) for number in range(20)])
    assert older.wait() == 3
    assert "another job on this --log was submitted at" in older.text()
    world.settle()
    heard = world.quiet()
    world.write([score(f"u{number}", now(), 2_000 + number) for number in range(20)])
    world.ends_well(again=40)  # what the older one decided until the newer one had begun: each has two identifiers
    assert len(world.arrived) == heard + 40


def test_a_published_workspace_reaches_a_running_job_and_people_without_events(world: World) -> None:
    world.write(people(range(60)))
    world.job(PRISM)
    sender = world.sender()
    world.settle()
    assert not [message for message in world.messages if message.get("event") == "Trait Computed"]
    connection, before = CONNECTION % ("second", "second"), world.workspace.read_text()
    world.workspace.write_text(before + connection)
    assert world.publish().wait() == 0
    until(lambda: sender.said("connections=2"), sender.text)
    until(lambda: told_to_second(world) >= 120, world.difference)
    world.settle()
    world.workspace.write_text(before)
    assert world.publish("--accept-changes").wait() == 0
    until(lambda: sender.said("gives up second"), sender.text)
    world.write([score("u1", now(), 7_000)])
    world.settle()


def told_to_second(world: World) -> int:
    scores = [m for m in world.messages if m["type"] == "identify" and "score" in m["traits"]]
    return len({m["messageId"] for m in scores}) - 120


def test_a_sender_that_is_killed_has_a_successor_that_repeats_only_what_was_in_flight(world: World) -> None:
    world.limit(CAP)
    world.job(PRISM)
    world.sender()
    world.sender()
    world.kill_owner(people(range(100)))
    world.ends_well(again=in_flight(CAP))


def test_a_sender_that_was_paused_sends_nothing_more_when_it_goes_on(world: World) -> None:
    world.limit(CAP)
    world.job(PRISM)
    world.sender()
    world.pause_owner(people(range(100)), newer=(score(f"u{number}", now(), 1_000 + number) for number in range(100)))
    world.ends_well(again=in_flight(CAP))


def test_a_vendor_that_is_down_gets_only_the_newest_values_when_it_is_back_and_another_gets_all(world: World) -> None:
    world.workspace.write_text(world.workspace.read_text() + CONNECTION % ("second", "second"))
    world.write(people(range(30)))
    world.job(PRISM)
    world.sender()
    world.settle()
    until(lambda: world.told(host=SECOND) == world.wanted(), world.difference)
    asked = calls_of_hook(world)
    world.status = 503
    values = (5_000, 5_001, 5_002)
    for value in values:
        world.write([score(f"u{number}", now(), value) for number in range(30)])
        until(lambda: world.told(host=SECOND) == world.wanted(), world.difference)
    until(lambda: calls_of_hook(world) == asked + 3 * 60, world.difference)  # a person has two identifiers
    assert 503 in {each.status for each in world.heard}
    back = time.time()
    world.status = 200
    world.ends_well(again=0)
    scores = [each for each in world.arrived if each.message.get("traits", {}).get("score") in values]
    told = Counter((each.host, each.message["traits"]["score"]) for each in scores)
    assert dict.fromkeys(values, 60) == {value: told[SECOND, value] for value in values}
    assert all(each.at > back for each in scores if each.host == HOOK)
    assert 60 == told[HOOK, 5_002]
    assert told[HOOK, 5_000] + told[HOOK, 5_001] <= FEWEST  # what was in a request already when newer ones came


def calls_of_hook(world: World) -> int:
    """How many calls its topic ever had."""
    log = log_of(world)
    consumer = log.consumer()
    try:
        return ends(consumer, log.topic("calls", "hook"), 0)[1]
    finally:
        consumer.close()


def test_a_broker_that_is_restarted_is_waited_for(world: World) -> None:
    world.write(people(range(40)))
    world.job(PRISM)
    world.sender()
    world.settle()
    world.kafka.restart(after=3)
    world.write([score(f"u{number}", now(), 3_000 + number) for number in range(40)])
    world.ends_well(again=in_flight(0))


def test_messages_in_segments_format_are_read_from_topics(world: World) -> None:
    world.job(PRISM)
    world.sender()
    personas = {"computation_class": "trait", "computation_key": "score"}
    common = {"type": "identify", "timestamp": now(), "context": {"personas": personas}}
    for number in range(20):
        world.write_message({**common, "userId": f"u{number}", "traits": {"score": number}})
    until(lambda: world.told() == {(f"u{number}", "score"): number for number in range(20)}, world.difference)
