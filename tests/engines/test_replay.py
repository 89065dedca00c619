"""Dead letters of a job, tried again on a real broker and an engine: what is still wanted is told, and once."""

import json
from typing import Any

from pipeline.streaming.kafka import Kafka, read_all
from scripts.engines import PRISM
from tests.engines.heard import identifier_of
from tests.engines.world import World, now, people, until
from tests.pipeline.running import score


def letters(world: World) -> list[dict[str, Any]]:
    log = Kafka(world.kafka.servers, world.log)
    return [json.loads(each.value or b"") for each in read_all(log, log.topic("dead"))]


def replay(world: World, *more: object) -> dict[tuple[str, str], int]:
    """The table that it prints: connection, reason, number."""
    process = world.start("replay", "--log", world._at(world.log), *more)
    assert process.wait(180) == 0, process.text()
    rows = [line.rsplit(maxsplit=2) for line in process.text().splitlines()[1:]]
    return {(row[0].strip(), row[1]): int(row[2]) for row in rows if len(row) == 3 and row[2].isdigit()}


def refusing(world: World, *people: str) -> None:
    """The vendor refuses everything about these people, and every deletion."""
    accept = world.vendor.answer

    def answer(host: str, message: dict[str, Any]) -> int:
        who = identifier_of(message).partition("@")[0]
        return 422 if who in people or message["type"] == "delete" else accept(host, message)

    world.vendor.answer = answer


def test_what_failed_is_told_after_a_replay_if_it_is_still_wanted(world: World) -> None:
    world.job(PRISM)
    world.sender()
    accept = world.vendor.answer
    refusing(world, "u3", "u5")
    world.write(people(range(20)))
    world.write([{**score("u7", now(), 1), "computation": "plan"}])  # which the workspace does not know
    until(lambda: len(letters(world)) == 5, world.difference)
    refused = {("hook", "invalid_value"): 4, ("(records)", "unknown_computation"): 1}
    assert replay(world, "--dry-run") == refused

    world.vendor.answer = accept
    world.write([score("u5", now(), 500)])  # what was refused of u5 is nothing any more
    until(lambda: world.told().get(("u5", "score")) == 500 == world.told().get(("u5@example.com", "score")))
    refusing(world)
    world.write([{"type": "delete", "profile_id": "u8", "at": now()}])
    until(lambda: len(letters(world)) > 5, world.difference)
    deletions = len(letters(world)) - 5
    world.vendor.answer = accept
    text = world.workspace.read_text().replace("- {name: Score", "- {name: Plan, kind: trait}\n  - {name: Score")
    world.workspace.write_text(
        text.replace("- {computation: score", "- {computation: plan}\n      - {computation: score")
    )
    assert world.publish("--accept-changes").wait(180) == 0
    heard = world.quiet()
    count = {("hook", "invalid_value"): 4 + deletions, ("(records)", "unknown_computation"): 1}
    assert replay(world) == count
    expected = heard + 2 + 2 + deletions  # u3's score, u7's plan, u8's deletion
    until(lambda: len(world.arrived) >= expected, world.difference)
    assert world.quiet() == expected
    assert {world.told("plan")[who, "plan"] for who in ("u7", "u7@example.com")} == {1}
    world.written = [event for event in world.written if event["profile_id"] != "u8"]
    assert {place: value for place, value in world.told().items() if "u8" not in place[0]} == world.wanted()

    replay(world)
    assert world.quiet() == expected
