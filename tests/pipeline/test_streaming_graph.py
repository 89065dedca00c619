"""The graph of the streaming job is built as it is asked for, and engines take it. No broker is needed for that."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest
from msgspec import msgpack

from pipeline.cli import main
from pipeline.streaming import graph, versions, writing
from pipeline.streaming.clients import Part
from pipeline.streaming.graph import _AddressFn, build
from pipeline.streaming.kafka import Kafka, KafkaProblem, WrongAddress
from pipeline.streaming.pubsub import subscription
from pipeline.streaming.source import MANY, readings
from pipeline.streaming.submitting import clients_of, has_its_state, make_streaming_pipeline
from pipeline.streaming.writing import LogOutlet
from schemas.facts import Addressed, EventFact, TickFact
from schemas.state import account_key, part_key
from scripts.engines.kafka import broker
from tests.transforms.logic.test_registry import entered, mailer, shop
from tests.transforms.logic.vendors import vendors_of
from transforms.keyed import addressed
from transforms.logic.plan import make_plan
from transforms.logic.portion import tombstone

LOG = Kafka("localhost:9092", "shop")
SUBSCRIPTION = "projects/my-project/subscriptions/events"
DATAFLOW = ["--project=my-project", "--region=europe-west1", "--temp_location=gs://my-bucket/temp"]
DATAFLOW += ["--staging_location=gs://my-bucket/staging", "--dry_run=True", "--no_auth"]
# Beam's clients of Google are only there where this is set.
on_dataflow = pytest.mark.skipif(not os.environ.get("PROFILECAST_DATAFLOW"), reason="./run_tests.sh dataflow")


def parts() -> list[Part]:
    topics = ("events", LOG.topic("facts"), LOG.topic("ticks"))
    return [Part(LOG, topic, number, 0) for topic in topics for number in range(3)]


def reads_of(pipeline: beam.Pipeline) -> list[str]:
    """Unique names of the steps that read Pub/Sub."""
    transforms = pipeline.to_runner_api().components.transforms.values()
    return sorted(each.unique_name for each in transforms if each.spec.urn == "beam:transform:pubsub_read:v1")


def test_subscriptions_are_read_beside_topics() -> None:
    pipeline = beam.Pipeline()
    build(pipeline, LOG, parts(), "shop.job", subscriptions=[SUBSCRIPTION, f"{SUBSCRIPTION}-of-accounts"])
    assert [f"ReadPubSub/{SUBSCRIPTION}-of-accounts/Read", f"ReadPubSub/{SUBSCRIPTION}/Read"] == reads_of(pipeline)


def test_without_a_subscription_the_graph_has_no_step_for_it() -> None:
    pipeline = beam.Pipeline()
    build(pipeline, LOG, parts(), "shop.job")
    assert [] == reads_of(pipeline)


@on_dataflow
@pytest.mark.parametrize("subscriptions", [[], [SUBSCRIPTION]], ids=["Kafka", "Pub/Sub"])
def test_dataflow_takes_the_graph(subscriptions: list[str]) -> None:
    pipeline = make_streaming_pipeline("DataflowRunner", DATAFLOW)
    build(pipeline, LOG, parts(), "shop.job", subscriptions=subscriptions)
    job = pipeline.run().job
    assert "FoldProfiles/Fold/Fold" in {each.unique_name for each in job.proto_pipeline.components.transforms.values()}


@on_dataflow
def test_a_dry_run_publishes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = tmp_path / "workspace.yaml"
    assert 0 == main(["init", "--destination", "webhook", "--workspace", str(workspace)])
    with broker(tmp_path / "broker") as server:
        log = Kafka(server.servers, "shop")
        address = f"kafka://{server.servers}/shop"
        options = ["run", "--streaming", "--log", address, "--runner", "DataflowRunner", "--workspace", str(workspace)]
        assert 0 == main([*options, "--events", f"pubsub://{SUBSCRIPTION}", *DATAFLOW]), capsys.readouterr().err
        assert [] == [name for name in log.admin().list_topics(timeout=60).topics if name.startswith("shop")]


MESSAGE = {
    "type": "identify",
    "userId": "ana",
    "traits": {"score": 7, "email": "ana@x.example"},
    "context": {"personas": {"computation_class": "trait", "computation_key": "score"}},
    "timestamp": "2026-01-05T09:00:00Z",
}


def test_a_message_in_segments_format_is_the_events_that_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = shop(mailer())
    plan = make_plan(workspace, vendors_of(workspace), entered(workspace)[0], 1)
    monkeypatch.setattr(graph.Published, "newest", lambda self, now: plan)
    packed = [packed for _, packed in _AddressFn(LOG).process(("events", b"", json.dumps(MESSAGE).encode()))]
    found = [msgpack.decode(each, type=Addressed) for each in packed]
    assert ["ana", "ana"] == [each.subject for each in found]
    events = [json.loads(each.fact.line) for each in found if isinstance(each.fact, EventFact)]
    assert [("profile", None), ("trait", 7)] == [(event["type"], event.get("value")) for event in events]


@pytest.mark.parametrize("value", [b"\xc1", b"", b'{"type": "profile"}', msgpack.encode(["u1", ["unheard of", 1]])])
def test_a_record_of_ours_that_is_no_fact_does_not_stop_the_job(value: bytes) -> None:
    """It goes to the fold as a bad event, which is a dead letter there."""
    for kind in ("facts", "ticks"):
        ((_, packed),) = _AddressFn(LOG).process((LOG.topic(kind), b"key", value))
        assert msgpack.decode(packed, type=Addressed) == Addressed("", EventFact(value))


def test_a_fact_goes_on_as_it_is() -> None:
    fact = addressed("u1", TickFact(7))
    assert [fact] == list(_AddressFn(LOG).process((LOG.topic("ticks"), *fact)))


def test_each_client_is_an_element_of_its_own() -> None:
    """Engines divide clients among workers by key: one key would be one worker for everything."""
    made = readings(parts(), "shop.job")
    assert [[0] * 3, [1] * 3, [2] * 3] == [[part.partition for part in reading.parts] for reading in made]


def test_there_are_not_many_more_clients_than_workers() -> None:
    made = readings(parts(), "shop.job", clients=2)
    assert [[0, 2] * 3, [1] * 3] == [[part.partition for part in reading.parts] for reading in made]
    assert 1 == clients_of("PrismRunner", [])
    assert [1, 12] == [clients_of("PortableRunner", [f"--parallelism={number}"]) for number in (1, 4)]
    assert 12 == clients_of("PortableRunner", ["--job_name", "x", "--parallelism", "4"])
    assert {MANY} == {clients_of("PortableRunner", each) for each in ([], ["--parallelism=-1"])}


def test_what_has_an_end_is_read_before_the_rest() -> None:
    state = [Part(LOG, LOG.topic("state"), number, 0, stop) for number, stop in enumerate((7, 0, 9))]
    made = readings([*state, *parts()], "shop.job")
    imports = [reading for reading in made if reading.parts[0].stop >= 0]
    others = [reading for reading in made if reading.parts[0].stop < 0]
    assert [(), (), ()] == [reading.first for reading in imports]
    assert {(state[0], state[2])} == {reading.first for reading in others}
    assert {imports[0].group} == {reading.group for reading in imports} == {reading.of for reading in others}


def test_what_is_read_whole_is_committed_apart_and_the_rest_as_always() -> None:
    """The next job begins where this one was, also when this one took a state over."""
    state = Part(LOG, LOG.topic("state"), 0, 0, 7)
    first, second = (readings([state, *parts()], "shop.job") for _ in range(2))
    assert {"shop.job"} == {reading.group for reading in (*first, *second) if reading.parts[0].stop < 0}
    groups = [{reading.group for reading in made if reading.parts[0].stop >= 0} for made in (first, second)]
    assert [1, 1, 2] == [*map(len, groups), len(groups[0] | groups[1])]


@pytest.mark.parametrize(
    ("runner", "arguments", "resumes"),
    [
        ("PortableRunner", ["--savepoint_path=s3://b/s"], True),
        ("FlinkRunner", ["--savepoint_path", "s3://b/s"], True),
        ("PortableRunner", ["--savepoint_path="], False),
        ("PrismRunner", ["--savepoint_path=s3://b/s"], False),
        ("DataflowRunner", ["--savepoint_path=s3://b/s"], False),
        ("DataflowRunner", ["--update", "--job_name=x"], True),
        ("PortableRunner", ["--update"], False),
        ("DataflowRunner", ["--job_name=profile-updates"], False),
        ("PortableRunner", ["--temp_location=gs://savepoint_path"], False),
        ("PortableRunner", [], False),
    ],
)
def test_a_job_resumes_by_the_option_of_its_engine(runner: str, arguments: list[str], resumes: bool) -> None:
    assert resumes == has_its_state(runner, arguments)


TOPICS = ("--log", "kafka://localhost:1/shop", "--events", "kafka://localhost:1/profiles")
FLINK = ("--runner=PortableRunner", "--checkpointing_interval=10000", "--job_endpoint=localhost:1")


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        (["--runner=PrismRunner", "--savepoint_path=/s"], "with this --savepoint_path PrismRunner would begin without"),
        (
            [*FLINK, "--savepoint_path="],
            "with this --savepoint_path PortableRunner would begin",
        ),
        (
            [*FLINK, "--update"],
            "with this --update PortableRunner would begin without its state",
        ),
    ],
)
def test_an_option_that_would_not_give_the_job_its_state_is_refused(
    engine: list[str], words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = str(tmp_path / "workspace.yaml")
    assert 0 == main(["init", "--destination", "webhook", "--workspace", workspace])
    assert 3 == main(["run", "--streaming", *TOPICS, "--workspace", workspace, *engine])
    assert words in capfd.readouterr().err


def test_a_jar_that_would_lose_the_state_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    workspace = str(tmp_path / "workspace.yaml")
    assert 0 == main(["init", "--destination", "webhook", "--workspace", workspace])
    flink = [*FLINK, "--runner=FlinkRunner", "--flink_submit_uber_jar", "--savepoint_path=s3://bucket/savepoint"]
    assert 3 == main(["run", "--streaming", *TOPICS, "--workspace", workspace, *flink])
    assert "Flink would begin without its state" in capfd.readouterr().err


# -- addresses
def test_a_subscription_is_named_as_pub_sub_names_it() -> None:
    assert subscription(f"pubsub://{SUBSCRIPTION}", "DataflowRunner") == SUBSCRIPTION


@pytest.mark.parametrize(
    "text",
    [
        "pubsub://",
        "pubsub://events",
        "pubsub://projects/my-project/topics/events",
        "pubsub://projects/my-project/subscriptions/",
        "pubsub://projects/my-project/subscriptions/events/more",
        "pubsub://projects/my-project/subscriptions/events?x=1",
    ],
)
def test_what_is_no_subscription_is_said(text: str) -> None:
    with pytest.raises(WrongAddress, match="expected pubsub://projects/PROJECT/subscriptions/NAME"):
        subscription(text, "DataflowRunner")


def test_an_engine_that_cannot_read_pub_sub_is_named() -> None:
    with pytest.raises(WrongAddress, match="FlinkRunner does not read Pub/Sub"):
        subscription(f"pubsub://{SUBSCRIPTION}", "FlinkRunner")


# -- detaching
@pytest.mark.parametrize("inside", ["--senders=inside", "--environment_type=LOOPBACK"])
def test_a_process_that_has_a_part_of_the_job_does_not_detach(inside: str, capfd: pytest.CaptureFixture[str]) -> None:
    job = ["run", "--streaming", "--log", "kafka://localhost:1/shop", "--runner", "PrismRunner"]
    assert 1 == main([*job, "--detach", inside])
    assert "--detach ends this process" in capfd.readouterr().err


def test_a_streaming_job_needs_an_engine(capfd: pytest.CaptureFixture[str]) -> None:
    """What runs a bounded job folds nothing of a stream until it ends, which it never does."""
    assert 1 == main(["run", "--streaming", "--log", "kafka://localhost:1/shop"])
    assert "--streaming needs --runner" in capfd.readouterr().err


@pytest.mark.parametrize("number", ["0", "-1", "8.5", "eight", ""])
def test_a_number_of_partitions_is_above_zero(number: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--streaming", f"--partitions={number}"])
    assert 1 == ended.value.code
    assert "is not a number such as 8" in capfd.readouterr().err


class Acknowledging:
    """A producer whose broker has a record only when it was asked whether it has."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Callable[[None, None], None]]] = []
        self.there: list[str] = []
        self.values: list[tuple[str, bytes]] = []

    def produce(self, topic: str, value: bytes, key: bytes, on_delivery: Callable[[None, None], None]) -> None:
        if topic == LOG.topic("state"):
            assert not self.asked or {name for name, _ in self.asked} == {topic}, "a call of it is not there yet"
        self.asked.append((topic, on_delivery))
        self.values.append((topic, value))

    def poll(self, _: float) -> None:
        asked, self.asked = self.asked, []
        for topic, told in asked:
            self.there.append(topic)
            told(None, None)


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> Acknowledging:
    made = Acknowledging()
    monkeypatch.setattr(writing, "_producer", lambda log: made)
    monkeypatch.setattr(versions.Following, "first_name", lambda _, name: name)
    monkeypatch.setattr(versions.Following, "up_to_now", lambda _: None)
    return made


def test_a_state_is_written_when_everything_else_of_its_bundle_is_there(producer: Acknowledging) -> None:
    """A job that dies in between would leave somebody who counts as asked, and whom no sender tells."""
    outlet = LogOutlet(LOG)
    outlet.begin()
    state, call, left = ("states", ("u1", b"1")), ("calls", ("hook", "u1", b"1")), ("left", (b"u1", b"1"))
    assert all(outlet.take(*each) for each in (state, call, state, left, call))
    assert not outlet.take("members", (b"u1", b"1"))
    outlet.end()
    calls, states, facts = LOG.topic("calls", "hook"), LOG.topic("state"), LOG.topic("facts")
    assert [calls, facts, calls, states, states] == producer.there


@pytest.mark.parametrize(("published", "sure", "given"), [(2, 0.0, True), (1, 0.0, False), (2, 1e12, False)])
def test_whoever_is_written_behind_a_publication_is_looked_at_with_it(
    producer: Acknowledging, monkeypatch: pytest.MonkeyPatch, published: int, sure: float, given: bool
) -> None:
    """Who publishes has read the states by then. `sure`: when this was the newest version; just now, it is not asked.

    Neither parts of an account are looked at, nor names that are nobody's any more, nor whoever was deleted.
    """
    version = versions.Version(published, "", {}, b"", {}, b"")
    reading = versions.Following(LOG)
    reading.version, reading.sure = versions.Version(1, "", {}, b"", {}, b""), sure
    monkeypatch.setattr(versions, "following", lambda _: reading)
    monkeypatch.setattr(versions.Following, "up_to_now", lambda _: version)
    outlet = LogOutlet(LOG)
    outlet.begin()
    states = [("u1", b"1"), ("gone", b""), (tombstone("gone"), b"1"), (account_key("acme"), b"1")]
    for each in (*states, (part_key("acme", 3), b"1")):
        assert outlet.take("states", each)
    outlet.end()
    found = [msgpack.decode(value, type=Addressed) for topic, value in producer.values if topic.endswith("ticks")]
    assert found == [Addressed(name, TickFact(2)) for name in ("u1", account_key("acme")) if given]


def test_a_job_that_was_replaced_while_it_began_does_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits until the one before has heard of it, and a still newer one may begin in that time."""
    reading = versions.Following(LOG)
    reading.job = 1
    monkeypatch.setattr(versions.Following, "look", lambda self: None)
    monkeypatch.setattr(versions.Following, "up_to_now", lambda self: None)
    monkeypatch.setattr(versions, "write_all", lambda producer, rows: None)
    monkeypatch.setattr(versions.time, "sleep", lambda seconds: setattr(reading, "job", 3))
    with pytest.raises(KafkaProblem, match="another job on this --log"):
        reading.claim(2)
    reading.claim(3)
