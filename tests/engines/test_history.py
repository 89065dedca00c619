"""Files beside topics on a real broker and an engine: they are told first, and once."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import msgpack

from pipeline.streaming.kafka import Kafka, partitions, read_all
from schemas.calls import Call
from scripts.engines import PRISM
from tests.engines.heard import identifier_of
from tests.engines.world import World, now, people, until
from tests.pipeline.running import Event, profile, score, vip

BAD = '{"type": "trait", "profile_id": "u1"}'


def given(world: World, path: Path, events: list[Event], *bad: str) -> Path:
    """A file of these events, and of lines that are none."""
    world.written += events
    text = "\n".join([*map(json.dumps, events), *bad]).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def test_a_job_that_would_never_read_a_file_or_a_topic_is_not_submitted(world: World, tmp_path: Path) -> None:
    path = given(world, tmp_path / "a.jsonl", [*people(range(2))])
    job = world.start(
        "run", "--streaming", "--workspace", world.workspace, "--events", path, world._at(world.events),
        "--log", world._at(world.log),
        "--runner=PortableRunner", "--job_endpoint=localhost:1", "--savepoint_path=s3://bucket/savepoint",
        "--checkpointing_interval=1000",
    )  # fmt: skip
    assert job.wait() == 3
    assert "would never read them; begin with --bootstrap" in job.text()
    nowhere = world.start(
        "run", "--streaming", "--workspace", world.workspace, "--events", world._at("nowhere"), "--log",
        world._at(world.log), *PRISM,
    )  # fmt: skip
    assert nowhere.wait() == 3
    assert "there is no topic nowhere; make it, or correct the address" in nowhere.text()
    assert partitions(Kafka(world.kafka.servers, world.log), f"{world.log}.workspace") == 0  # nothing was done


def asked(log: Kafka) -> list[str]:
    """Whom the job has calls for, in their order."""
    found = (msgpack.decode(each.value or b"", type=Call) for each in read_all(log, log.topic("calls", "hook")))
    return [each.profile_id for each in found]


def letters(log: Kafka) -> list[tuple[str, int]]:
    found = (json.loads(each.value or b"") for each in read_all(log, log.topic("dead")))
    return sorted((each["source"], each["line"]) for each in found)


def test_files_are_told_before_topics_and_never_again(world: World, tmp_path: Path) -> None:
    log = Kafka(world.kafka.servers, world.log)
    world.write(people(range(100, 140)))
    first = given(world, tmp_path / "a.jsonl", [*people(range(40))], BAD)
    second = given(world, tmp_path / "b.jsonl.gz", [*people(range(40, 80))])
    events = ("--events", f"{tmp_path}/*.jsonl*", world._at(world.events))
    job = world.job(PRISM, *events)
    until(lambda: set(asked(log)) == {event["profile_id"] for event in world.written}, job.text)
    numbers = [int(who[1:]) for who in asked(log)]  # before a sender frees the topic
    files = [place for place, number in enumerate(numbers) if number < 100]
    topic = [place for place, number in enumerate(numbers) if number >= 100]
    assert max(files) < min(topic)
    world.sender()
    world.settle()
    assert [(str(first), 121)] == letters(log)

    heard = world.quiet()
    job.kill()
    (tmp_path / "c.jsonl").write_bytes(first.read_bytes())  # the same events by another name
    third = given(world, tmp_path / "d.jsonl", [score("u5", now(), 900)])
    again = world.job(PRISM, "--bootstrap", *events)
    world.settle()
    assert world.quiet() == heard + 2
    for path in (first, second, tmp_path / "c.jsonl"):
        assert f"{path}: it was taken before" in again.text()
    assert f"{third}: events=1 dead_letters=0" in again.text()

    other = world.start(
        "run", "--streaming", "--workspace", world.workspace, "--events", world._at("other"), "--log",
        world._at(world.log), "--runner=PortableRunner", "--job_endpoint=localhost:1", "--savepoint_path=s3://b/s",
        "--checkpointing_interval=1000",
    )  # fmt: skip
    assert other.wait() == 3
    assert f"reads {world.events}, and so would this one, whatever --events says (other)" in other.text()
    assert [(str(first), 121)] == letters(log)


def test_two_years_of_a_topic_make_no_flood_of_track(world: World) -> None:
    """Of what was before the sync, only how it stands is an occurrence. The rest is read in many bundles."""
    world.write(profile(f"u{who}", "2020-01-01T00:00:00Z", f"u{who}@example.com") for who in range(4))
    weeks = [datetime.now(UTC) - timedelta(weeks=number) for number in range(104, 0, -1)]
    for number, week in enumerate(weeks):
        at = week.isoformat().replace("+00:00", "Z")
        world.write(vip(f"u{who}", at, (number + who) % 2 == 1) for who in range(4))
    world.job(PRISM)
    world.sender()
    world.settle()
    world.quiet()
    told = [each.message for each in world.arrived if each.message["type"] == "track"]
    assert {identifier_of(message) for message in told} == world.members()
    assert {weeks[-1].isoformat(timespec="milliseconds").replace("+00:00", "Z")} == {each["timestamp"] for each in told}
    assert len(told) == len(world.members()) == 4
