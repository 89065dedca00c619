"""A state moves from a directory into the log of a streaming job, and back: only what is different is told."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.disk import StoreError
from pipeline.state_db import StateDb
from pipeline.streaming import versions
from pipeline.streaming.kafka import Kafka, KafkaProblem
from pipeline.streaming.moving_in import Origin, beginning
from pipeline.streaming.moving_out import export_state
from pipeline.streaming.notes import read_notes
from pipeline.streaming.publishing import publish
from pipeline.streaming.topics import connection_topics, ensure, job_topics
from pipeline.workspace import load
from schemas.registry import Registry
from schemas.state import decode_profile
from scripts.engines import PRISM
from tests.engines.heard import identifier_of
from tests.engines.world import World, now, people, until
from tests.pipeline.running import Event, score, subjects, vip, write_events


def silent(*_: object, **__: object) -> None:
    """Say nothing."""


def local(world: World, *events: Event, state: str = "state") -> str:
    """A run over these events; what it printed."""
    folder, known = world.root / state, len(world.written)
    world.written += events
    file = write_events(world.root / f"events-{known}.jsonl", *events)
    new = [] if (folder / "state.db").exists() else ["--new-state"]
    run = world.start(
        "run", "--workspace", world.workspace, "--state", folder, "--gateway", world.vendor.url, "--events", file, *new
    )
    run.wait(120)
    return run.text()


def log_of(world: World) -> Kafka:
    return Kafka(world.kafka.servers, world.log)


def origin(world: World, gateway: str | None = None) -> Origin:
    found = world.vendor.url if gateway is None else gateway
    return Origin(world.root / "state", load(str(world.workspace)), found)


def begin(world: World) -> None:
    """What `run --streaming --bootstrap DIR` does before it submits a job."""
    with beginning(log_of(world), origin(world)) as begun:
        publish(log_of(world), world.workspace.read_text(), "workspace.yaml", False, silent, 2, beginning=begun)


def test_what_senders_told_when_the_engine_was_gone_is_known_in_the_directory(world: World) -> None:
    world.status = 401  # nobody is told anything
    assert "waiting" in local(world, *people(range(20)))
    break_off(world)
    begin(world)
    assert {"gateway": world.vendor.url} == read_notes(log_of(world), "send")
    assert "its state was moved to" in local(world)
    StateDb.move(world.root / "state", "")
    with pytest.raises(KafkaProblem, match="there are records already"):
        begin(world)

    world.status = 200
    sender = world.sender()
    world.settle()
    sender.stop()
    assert 80 == world.quiet()
    found = export_state(log_of(world), world.root / "back", world.vendor.url, silent, answer=1.0)
    assert (20, 0) == found
    local(world, score("u1", now(), 500), state="back")
    assert world.right(), world.difference()
    assert 82 == world.quiet()
    with pytest.raises(KafkaProblem, match="its state was exported into a state directory at"):
        export_state(log_of(world), world.root / "again", world.vendor.url, silent, answer=1.0)
    assert not [*world.root.glob(".again*")]
    late = world.start("send", "--log", world._at(world.log), "--status-port", 0)
    assert 3 == late.wait()
    assert "go on there with `run` or `serve`" in late.text()


def break_off(world: World) -> None:
    """Begin to move, and fail on the way."""

    def records() -> Iterator[versions.Row]:
        for topic in (log.topic("state"), log.topic("calls", "hook")):
            yield topic, b"key", b"value"
        raise StoreError("the disk")

    log = log_of(world)
    ensure(log, job_topics(log, 2) | connection_topics(log, "hook"))
    begun = Registry(connections=["hook"])
    publication = versions.prepare(log, world.workspace.read_text(), "", datetime.now(UTC), begun=begun)
    with pytest.raises(StoreError, match="the disk"):
        versions.write(log, versions.publisher(log, None, much=True), publication.version, records())


def known(folder: Path) -> dict[str, Any]:
    """What is known of everybody, and what was told."""
    found = {}
    for name, packed in subjects(folder).items():
        state = decode_profile(packed)
        told = {
            (slot, state.ids[place].identifier): (entry.told, entry.open)
            for slot, entries in state.ledger.items()
            for place, entry in entries.items()
        }
        found[name] = (sorted(each.identifier for each in state.ids), state.values, told)
    return found


def test_a_history_goes_on_in_a_job_and_again_in_a_directory_and_only_differences_are_told(world: World) -> None:
    local(world, *people(range(30)))
    assert world.right(), world.difference()
    heard = world.quiet()

    job = world.job(PRISM, "--bootstrap", world.root / "state", "--gateway", world.vendor.url)
    sender = world.sender()
    until(lambda: sender.said("takes over"), sender.text)
    changes = [score(f"u{number}", now(), 1000 + number) for number in range(10)]
    world.write([*changes, vip("u1", now()), vip("u0", now(), False), *people(range(30, 32))])
    world.settle()
    # Two identifiers each: a score, and who enters or leaves by `identify` and `track`.
    assert heard + 10 * 2 + 2 * 4 + (2 * 2 + 4) == (heard := world.quiet())

    assert "senders still run (1); cancel the job" in export(world, "refused")
    sender.stop()
    assert "the job still runs; cancel it" in export(world, "refused")
    assert not (world.root / "refused").exists()
    job.kill()
    assert "32 profiles and 0 calls that wait" in export(world, "back")
    job = world.start(
        "run", "--streaming", "--workspace", world.workspace, "--events", world._at(world.events),
        "--log", world._at(world.log), *PRISM, "--bootstrap",
    )  # fmt: skip
    assert 3 == job.wait()
    assert "its state was exported into a state directory" in job.text()

    local(world, vip("u0", now()), score("u31", now(), 7), state="back")
    assert world.right(), world.difference()
    assert heard + 4 + 2 == world.quiet()

    everything = write_events(world.root / "everything.jsonl", *world.written)
    one = world.start(
        "run", "--workspace", world.workspace, "--state", world.root / "one", "--new-state",
        "--gateway", world.vendor.url, "--events", everything,
    )  # fmt: skip
    assert 0 == one.wait(120), one.text()
    assert known(world.root / "one") == known(world.root / "back")


def test_what_was_in_flight_is_repeated_and_nothing_else_whoever_is_killed(world: World) -> None:
    world.limit(40)
    world.written += (events := [*people(range(100))])
    file = write_events(world.root / "events.jsonl", *events)
    options = ("--workspace", world.workspace, "--state", world.root / "state", "--gateway", world.vendor.url)
    run = world.start("run", *options, "--events", file, "--new-state")
    until(lambda: len(world.arrived) > 60, run.text)
    run.kill()
    job = world.job(PRISM, "--bootstrap", world.root / "state", "--gateway", world.vendor.url)
    heard, sender = world.quiet(), world.sender()
    until(lambda: len(world.arrived) > heard + 60, sender.text)
    sender.kill()
    job.kill()
    until(lambda: "wait in" in export(world, "back"))  # the sender counts for a while still
    local(world, state="back")
    assert world.right(), world.difference()
    assert 400 <= len(world.arrived) <= 400 + 2 * 50
    told = {(identifier_of(m), m["type"], repr(m.get("traits") or m["context"].get("traits"))) for m in world.messages}
    assert 400 == len(told)
    assert 40 >= world.busiest()


def export(world: World, to: str) -> str:
    """What `profilecast export state` printed."""
    process = world.start(
        "export", "state", "--log", world._at(world.log), "--to", world.root / to, "--gateway", world.vendor.url
    )
    process.wait(180)
    return process.text()
