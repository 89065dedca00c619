"""The options file of Kafka: no secret is in it, for options travel in a job."""

from pathlib import Path

import pytest

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
