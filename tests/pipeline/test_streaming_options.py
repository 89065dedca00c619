"""Options of `run --streaming`, and the options file of Kafka: no secret is in it, for options travel in a job."""

import argparse
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.commands import send
from pipeline.commands.streaming import _send_inside, _watch, start
from pipeline.problems import WorkspaceError
from pipeline.streaming.kafka import Kafka, KafkaProblem, WrongAddress, answers, read_options

PRISM, FLINK = ("--runner", "PrismRunner"), ("--runner", "PortableRunner")
SERVER = ("--checkpointing_interval", "10000", "--job_endpoint", "localhost:1")
WORKSPACE = """
workspace: shop
computations: [{name: Score, kind: trait}]
connections: []
"""
# The command line, with little patience. Kafka is imported late, for that imports Beam.
HASTY = """
import sys
from pipeline.cli import main
from pipeline.commands import export_state, kafka, publish, replay, streaming, why

def log_of(*given, patient=kafka.log_of):
    from pipeline.streaming import kafka as client
    kafka._SOON, client.WAIT = 0.1, 1.0
    return patient(*given)

for module in (export_state, publish, replay, streaming, why):
    module.log_of = log_of
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "line",
    [
        "sasl.password=letmein",
        "ssl.key.password=letmein",
        "sasl.oauthbearer.client.secret=letmein",
        "ssl.key.pem=-----BEGIN PRIVATE KEY-----",
        "sasl.oauthbearer.assertion.private.key.pem=-----BEGIN PRIVATE KEY-----",
        "sasl.oauthbearer.config=principal=me secret=letmein",
    ],
)
def test_a_secret_is_a_reference(tmp_path: Path, line: str) -> None:
    file = tmp_path / "options"
    file.write_text(line)
    with pytest.raises(WrongAddress, match="so that no secret is in a file"):
        read_options(file)
    name = line.partition("=")[0]
    file.write_text(f"{name}=${{KAFKA_SECRET}}\n")
    assert read_options(file) == {name: "${KAFKA_SECRET}"}


def test_what_is_no_secret_is_written_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "options"
    file.write_text("# TLS\nssl.key.location=/etc/kafka/key.pem\nsasl.username=me\n")
    assert read_options(file) == {"ssl.key.location": "/etc/kafka/key.pem", "sasl.username": "me"}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("sasl.pasword", "me", 'No such configuration property: "sasl.pasword"'),
        ("security.protocol", "TLS", 'Invalid value "TLS" for configuration property "security.protocol"'),
        ("ssl.ca.location", "/not/there.pem", "ssl.ca.location"),
    ],
)
def test_an_option_that_no_client_takes_is_a_sentence(name: str, value: str, words: str) -> None:
    with pytest.raises(KafkaProblem, match=f"^Kafka: .*{words}"):
        answers(Kafka("127.0.0.1:1", "shop", (("security.protocol", "SSL"), (name, value))), 0.1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latest", "latest"),
        ("2026-01-31T00:00:00Z", "1769817600000"),
        ("2026-01-31T01:00:00.250+01:00", "1769817600250"),
    ],
)
def test_a_job_starts_at_a_place_with_a_name_or_at_a_time(text: str, expected: str) -> None:
    assert expected == start(text)


@pytest.mark.parametrize("text", ["newest", "Latest", "2026-01-31T00:00:00", "1769817600000"])
def test_another_start_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--streaming", "--log", "kafka://localhost:1/shop", "--start", text])
    assert f"argument --start: {text!r} " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--streaming", "--stop-after", "5m"], "--stop-after has no meaning for a streaming job"),
        (["--streaming", "--state", "s"], "--state has no meaning for a streaming job"),
        (["--streaming", "--full-refresh", "hook/vip"], "--full-refresh of a streaming job goes with `publish`"),
        (
            ["--streaming", "--gateway", "http://localhost:8808"],
            "--gateway is of who sends: give it to `profilecast send`",
        ),
        (["--streaming", "--bootstrap", "--retry-for", "5m"], "--retry-for is of who sends"),
        (["--streaming", "--bootstrap", "DIR", "--read-timeout", "5s"], "--read-timeout is of who sends"),
        (["--state", "s", "--detach"], "--detach is of a streaming job; add --streaming"),
        (["--state", "s", "--log", "kafka://localhost:1/shop"], "--log is of a streaming job; add --streaming"),
    ],
)
def test_an_option_of_which_nothing_would_come_is_refused(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["run", *options])
    assert words in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--streaming needs --runner, the engine: PrismRunner"),
        (["--runner", "PrismRuner"], "--runner: 'PrismRuner' is no engine of a streaming job, which takes PrismRunner"),
        ([*PRISM, "--sendrs", "inside"], "--sendrs: there is no such option; did you mean --senders?"),
        ([*PRISM, "--kafka_options=file"], "--kafka_options: there is no such option; did you mean --kafka-options?"),
        ([*PRISM, "--parallelism=many"], "--parallelism: invalid int value: 'many'"),
        ([*PRISM, "--dry-run"], "--dry-run: PrismRunner would begin the job all the same"),
        ([*FLINK, "--dry_run=True"], "--dry_run: PortableRunner would begin the job all the same"),
        (["--runner", "prism"], "--runner: 'prism' is no engine of a streaming job"),
        ([*FLINK], "--checkpointing_interval: Flink needs one"),
        ([*FLINK, "--checkpointing_interval=-1"], "--checkpointing_interval: Flink needs one"),
        ([*FLINK, "--checkpointing_interval"], "--checkpointing_interval: Flink needs one"),
        ([*FLINK, "--checkpointing_interval=10000"], "--job_endpoint: expected HOST:PORT of the job server"),
        ([*FLINK, *SERVER[:3], "localhost"], "--job_endpoint: expected HOST:PORT of the job server"),
        (
            [*FLINK, *SERVER, "--savepont_path=s3://b/s"],
            "--savepont_path: there is no such option; did you mean",
        ),
        ([*PRISM, "--parallellism=2"], "--parallellism: there is no such option; did you mean --parallelism?"),
        (["--runner", "FlinkRunner", *SERVER[:2], "--flink_master=flink:8081", "--detach"], "--detach ends this"),
        ([*PRISM, "kafka://localhost:1/more"], "kafka://localhost:1/more: this word belongs to no option"),
        ([*PRISM, "--detach"], "--detach ends this process, and an engine, senders or workers inside it"),
        ([*FLINK, *SERVER, "--detach", "--environment_type", "loopback"], "--detach ends this process"),
        ([*PRISM], "--streaming reads events for ever: it needs a topic"),
    ],
)
def test_an_engine_or_an_option_that_there_is_not_is_said_and_nothing_is_done(
    options: list[str], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert 1 == main(["run", "--streaming", "--log", "kafka://localhost:1/shop", *options])
    assert words in capfd.readouterr().err


@pytest.mark.parametrize("command", ["why", "replay", "export", "publish"])
def test_a_broker_that_is_away_is_told_soon_and_nothing_else_is(command: str, tmp_path: Path) -> None:
    """In a process of its own: Beam speaks of itself when it is imported."""
    file, new = tmp_path / "workspace.yaml", tmp_path / "new"
    file.write_text(WORKSPACE)
    more = {"why": ["ana"], "export": ["state", "--to", new], "publish": ["--workspace", file]}
    line = [sys.executable, "-c", HASTY, command, *more.get(command, []), "--log", "kafka://127.0.0.1:1/shop"]
    ended = subprocess.run(line, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    first, second = ended.stderr.splitlines()
    assert (3, "") == (ended.returncode, ended.stdout)
    assert "127.0.0.1:1 does not answer; it is tried for 1 s" == first
    assert second.startswith("Kafka: 127.0.0.1:1 did not answer within 1 s (")
    assert second.endswith("; correct the address or --kafka-options, or look after the brokers")


class Result:
    """Of a job at an engine. `state` is what it says when it is asked; "": nobody answers."""

    def __init__(self, state: str, fails: bool) -> None:
        self._state, self._fails = state, fails

    @property
    def state(self) -> str:
        if not self._state:
            raise ConnectionError
        return self._state

    def wait_until_finish(self) -> None:
        if self._fails:
            raise RuntimeError("it ended in some state")


@pytest.mark.parametrize(
    ("result", "code", "words"),
    [
        (Result("DONE", fails=False), 0, "the job has ended: DONE"),
        (Result("CANCELLED", fails=True), 0, "the job has ended: CANCELLED"),
        (Result("DRAINED", fails=True), 0, "the job has ended: DRAINED"),
        (Result("UPDATED", fails=True), 0, "the job has ended: UPDATED"),
        (Result("FAILED", fails=True), 3, "The job failed: it ended in some state"),
        (Result("", fails=True), 3, "The engine does not answer any more: it ended in some state. See there whether"),
    ],
)
def test_why_a_job_is_not_watched_any_more_is_said(
    result: Result, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code == _watch(result, threading.Event())
    assert words in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("error", "code"), [(KafkaProblem("calls are gone"), 3), (WorkspaceError("version 1", []), 1), (OSError(), 3)]
)
def test_a_job_does_not_run_on_without_the_senders_that_it_has_inside(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Sending:
        def loop(self) -> None:
            raise error

        def stop(self) -> None: ...

    monkeypatch.setattr(send, "sending_of", lambda *_: Sending())
    stopping = threading.Event()
    end = _send_inside(argparse.Namespace(), Kafka("localhost:9092", "shop"), stopping)
    assert stopping.wait(10)
    assert code == end()
    assert str(error) in capsys.readouterr().err
