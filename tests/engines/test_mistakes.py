"""Mistakes at a real broker: each is a sentence, and nothing is done by it."""

import socket
import time
from pathlib import Path

import pytest

from pipeline.problems import NeedsConsent, WorkspaceError
from pipeline.streaming import publishing, versions
from pipeline.streaming.kafka import Kafka, KafkaProblem, partitions
from pipeline.streaming.moving_out import export_state
from pipeline.streaming.notes import bind_gateway
from pipeline.streaming.publishing import publish
from pipeline.streaming.versions import Overtaken
from tests.engines.test_moving import log_of, silent
from tests.engines.world import World, until
from tests.pipeline.running import workspace

ADS = """\
workspace: shop
computations: [{name: Vip, kind: audience}]
connections:
  - name: ads
    destination: facebook-custom-audiences
    settings: {ad_account_id: "${AD_ACCOUNT}", access_token: "${ADS_TOKEN}"}
    syncs: [{computation: vip}]
"""


def test_a_workspace_that_is_published_where_no_job_is_says_so(world: World) -> None:
    published = world.publish()
    assert 0 == published.wait()
    assert f"no job has begun on {world.log} yet" in published.text()


def test_a_sender_waits_for_the_first_workspace_and_says_so(world: World) -> None:
    sender = world.sender()
    until(lambda: sender.said(f"no workspace is published to {world.log} yet: submit the job, or correct --log"))
    assert 0 == world.publish().wait()
    until(lambda: sender.said("takes over hook"), sender.text)
    sender.stop()
    assert 0 == sender.wait()


def test_a_job_server_that_is_away_is_told_and_nothing_is_published(world: World) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        began = time.monotonic()
        job = world.start(
            "run", "--streaming", "--workspace", world.workspace, "--events", world._at(world.events),
            "--log", world._at(world.log), "--runner=PortableRunner", f"--job_endpoint={endpoint}",
            "--checkpointing_interval=1000",
        )  # fmt: skip
        until(lambda: job.said(f"the job server {endpoint} does not answer; it is tried for 30 s"), job.text)
        assert time.monotonic() - began < 30
        assert 3 == job.wait()
    assert f"--job_endpoint: {endpoint} does not answer" in job.text()
    log = log_of(world)
    assert 0 == partitions(log, log.topic("workspace"))


def test_what_a_sandbox_was_told_is_not_exported_as_told_to_the_vendors(world: World, tmp_path: Path) -> None:
    log = log_of(world)
    assert 0 == world.publish().wait()
    bind_gateway(log, "http://sandbox:8808")
    with pytest.raises(KafkaProblem, match=r"went to the gateway http://sandbox:8808, .*Give the same --gateway"):
        export_state(log, tmp_path / "back", "", silent, answer=1.0)
    assert not (tmp_path / "back").exists()
    export_state(log, tmp_path / "back", "http://sandbox:8808", silent, answer=1.0)


def test_a_sender_publishes_with_the_variables_that_the_version_came_with(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has those of its secrets only, and publishes by itself when a list was made again."""
    log: Kafka = log_of(world)
    monkeypatch.setenv("ADS_TOKEN", "very-secret-token")
    monkeypatch.setenv("AD_ACCOUNT", "17")
    first = publish(log, ADS, "workspace.yaml", False, silent)
    assert {"AD_ACCOUNT": "17"} == first.environment
    monkeypatch.delenv("AD_ACCOUNT")
    with pytest.raises(WorkspaceError):
        publish(log, ADS, "version 1", True, silent)
    again = publish(log, ADS, "version 1", True, silent, remade={"ads/list/vip": 1.0}, environment=first.environment)
    assert {"AD_ACCOUNT": "17"} == again.environment


def test_a_sender_publishes_nothing_over_what_somebody_else_published(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the workspace of the version before, and that would have come back."""
    log = log_of(world)
    first = publish(log, world.workspace.read_text(), "workspace.yaml", False, silent)
    text = workspace(world.workspace, "hook", "second").read_text()
    second = publish(log, text, "workspace.yaml", False, silent)
    with pytest.raises(KafkaProblem, match="another version was published meanwhile"):
        publish(log, first.text, "version 1", True, silent, remade={"hook/identify/vip": 1.0}, after=first.number)
    assert second == versions.newest(log)
    assert publish(log, text, "version 2", True, silent, remade={"hook/identify/vip": 1.0}, after=second.number)


def test_a_connection_whose_topics_were_deleted_does_not_come_back_under_its_name(world: World) -> None:
    """What waited in them is still open in what is known of people: they would never have been told."""
    log, both = log_of(world), workspace(world.root / "both.yaml", "hook", "second").read_text()
    publish(log, both, "both.yaml", False, silent)
    publish(log, world.workspace.read_text(), "workspace.yaml", True, silent)
    topics = [log.topic(kind, "second") for kind in ("calls", "sent", "kept")]
    admin = log.admin()  # its answers do not come any more when it is gone
    for future in admin.delete_topics(topics).values():
        future.result(30)
    until(lambda: not partitions(log, topics[0]))
    before = versions.newest(log)
    with pytest.raises(KafkaProblem, match=r"calls\.second was deleted, .* Give the connection second another name"):
        publish(log, both, "both.yaml", True, silent)
    assert before == versions.newest(log)
    assert not partitions(log, topics[0])
    publish(log, both.replace("second", "third"), "both.yaml", True, silent)


def test_partitions_that_cannot_be_had_any_more_are_told(world: World) -> None:
    assert 0 == world.publish("--partitions", 3).wait()
    log = log_of(world)
    assert 3 == partitions(log, log.topic("state")) == partitions(log, log.topic("facts"))
    assert 0 == world.publish("--partitions", 3).wait() == world.publish().wait()
    refused = world.publish("--partitions", 60)
    assert 3 == refused.wait()
    assert f"{world.log}.state has 3 partitions, and they can never be changed" in refused.text()


def test_a_publication_that_changes_nothing_or_is_refused_takes_the_word_from_nobody(world: World) -> None:
    """Whoever gives everybody to the fold could not write down that it is done, and it would be done once more."""
    log, text = log_of(world), world.workspace.read_text()
    first = publish(log, text, "workspace.yaml", False, silent)
    producer = versions.publisher(log, first)
    publish(log, text, "workspace.yaml", False, silent)
    with pytest.raises(NeedsConsent):
        publish(log, text.replace("https://hook.", "https://other."), "workspace.yaml", False, silent)
    with pytest.raises(Overtaken):
        publish(log, text, "version 7", True, silent, after=7)
    versions.write(log, producer, first)


def test_that_everybody_was_looked_at_is_written_down_whoever_took_the_word_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = log_of(world)
    publish(log, world.workspace.read_text(), "workspace.yaml", False, silent)

    def give(kafka: Kafka, *_: object) -> int:
        versions.publisher(kafka, versions.newest(kafka))
        return 0

    monkeypatch.setattr(publishing, "give", give)
    text = workspace(world.workspace, "hook", "second").read_text()
    assert publish(log, text, "workspace.yaml", False, silent).ticked
    newest = versions.newest(log)
    assert newest
    assert newest.ticked
