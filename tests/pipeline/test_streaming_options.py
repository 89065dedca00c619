"""Options of `run --streaming`, and the options file of Kafka: no secret is in it, for options travel in a job."""

from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.commands import streaming
from pipeline.streaming import kafka
from pipeline.streaming.kafka import WrongAddress, read_options


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
    ("options", "words"),
    [
        (["--streaming", "--stop-after", "5m"], "--stop-after has no meaning for a streaming job"),
        (["--streaming", "--state", "s"], "--state has no meaning for a streaming job"),
        (["--streaming", "--full-refresh", "hook/vip"], "--full-refresh of a streaming job goes with `publish`"),
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


def test_a_broker_that_is_away_is_told_at_once_and_not_when_the_patience_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(streaming, "_SOON", 0.1)
    monkeypatch.setattr(kafka, "WAIT", 1.0)
    assert 3 == main(["why", "ana", "--log", "kafka://127.0.0.1:1/shop"])
    first, second = capsys.readouterr().err.splitlines()
    assert "127.0.0.1:1 does not answer; it is tried for 1 s" == first
    assert second.startswith("Kafka: 127.0.0.1:1 did not answer within 1 s (")
    assert second.endswith("; correct the address, or look after the brokers")
