"""The job on Prism, senders beside it, one broker: what happens in a topic, the vendor knows."""

import signal
import time

from scripts.engines import PRISM
from tests.engines.world import LATE, World, now, people, until
from tests.pipeline.running import CONNECTION, score


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
    world.settle()
    assert world.quiet() == heard + 2


def test_a_published_workspace_reaches_a_running_job_and_people_without_events(world: World) -> None:
    world.write(people(range(60)))
    world.job(PRISM)
    sender = world.sender()
    world.settle()
    assert not [message for _, message in world.arrived if message.get("event") == "Trait Computed"]
    connection = CONNECTION % ("second", "second")
    world.workspace.write_text(world.workspace.read_text() + connection)
    assert world.publish().wait() == 0
    until(lambda: sender.said("connections=2"), sender.text)
    until(lambda: told_to_second(world) >= 120, world.difference)
    world.settle()


def told_to_second(world: World) -> int:
    scores = [m for _, m in world.arrived if m["type"] == "identify" and "score" in m["traits"]]
    return len({m["messageId"] for m in scores}) - 120


def test_a_sender_that_is_killed_has_a_successor_that_repeats_only_what_was_in_flight(world: World) -> None:
    world.workspace.write_text(world.workspace.read_text() + "    cap: 40/s\n")
    world.write(people(range(150)))
    world.job(PRISM)
    first = world.sender()
    until(lambda: len(world.arrived) > 60, world.difference)
    world.sender()
    first.kill()
    world.settle()
    assert world.peak() <= 40 + LATE
    assert world.twice() <= 50


def test_a_sender_that_was_paused_sends_nothing_more_when_it_goes_on(world: World) -> None:
    world.workspace.write_text(world.workspace.read_text() + "    cap: 40/s\n")
    world.write(people(range(200)))
    world.job(PRISM)
    first = world.sender()
    until(lambda: len(world.arrived) > 60, world.difference)
    world.sender()
    first.send(signal.SIGSTOP)
    heard = len(world.arrived)
    until(lambda: len(world.arrived) > heard + 80, world.difference)
    first.send(signal.SIGCONT)
    world.settle()
    assert world.peak() <= 40 + LATE
    assert world.twice() <= 50


def test_a_vendor_that_is_down_gets_the_newest_values_when_it_is_back(world: World) -> None:
    world.write(people(range(30)))
    world.job(PRISM)
    world.sender("--retry-stopped", "5s")
    world.settle()
    world.status = 503
    for value in range(3):
        world.write([score(f"u{number}", now(), 5_000 + value) for number in range(30)])
    world.status = 200
    world.settle()


def test_a_broker_that_is_restarted_is_waited_for(world: World) -> None:
    world.write(people(range(40)))
    world.job(PRISM)
    world.sender()
    world.settle()
    world.kafka.stop(hard=True)
    time.sleep(3)
    world.kafka.start()
    world.write([score(f"u{number}", now(), 3_000 + number) for number in range(40)])
    world.settle()


def test_messages_in_segments_format_are_read_from_topics(world: World) -> None:
    world.job(PRISM)
    world.sender()
    personas = {"computation_class": "trait", "computation_key": "score"}
    common = {"type": "identify", "timestamp": now(), "context": {"personas": personas}}
    for number in range(20):
        world.write_message({**common, "userId": f"u{number}", "traits": {"score": number}})
    until(lambda: world.told() == {(f"u{number}", "score"): number for number in range(20)}, world.difference)
