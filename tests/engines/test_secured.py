"""A broker that wants TLS and a password: what is in --kafka-options reaches every client, and no secret is printed."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from scripts.engines import PRISM
from scripts.engines.flink import cluster
from scripts.engines.kafka import Broker, Secured, broker
from tests.engines.world import World, people

PASSWORD = "very-secret-of-kafka"
OPTIONS = """\
security.protocol=SASL_SSL
sasl.mechanism=SCRAM-SHA-512
sasl.username=${KAFKA_USER}
sasl.password=${KAFKA_PASSWORD}
ssl.ca.location=%s
"""


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    folder = tmp_path_factory.mktemp("secured")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    store = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "broker.pem").write_bytes(store + b"".join(each.bytes() for each in certificate.cert_chain_pems))
    authority.cert_pem.write_to_path(folder / "authority.pem")
    trustme.CA().cert_pem.write_to_path(folder / "another.pem")
    with broker(folder / "kafka", Secured(folder / "broker.pem", "profilecast", PASSWORD)) as made:
        (made.folder / "options").write_text(OPTIONS % (folder / "authority.pem"))
        yield made


@pytest.fixture
def world(secured: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("KAFKA_USER", "profilecast")
    monkeypatch.setenv("KAFKA_PASSWORD", PASSWORD)
    made = World(secured, tmp_path)
    made.at = secured.guarded
    try:
        yield made
    finally:
        made.stop()


def is_told_and_no_secret_is_anywhere(world: World, beam: list[str]) -> None:
    options = ("--kafka-options", world.kafka.folder / "options")
    assert 0 == world.publish(*options).wait()
    world.write(people(range(20)))
    job = world.job(beam, *options)
    sender = world.sender(*options)
    world.settle()
    sender.stop()
    job.stop()
    files = [path for path in world.root.rglob("*") if path.is_file()]
    assert [] == [path for path in files if PASSWORD.encode() in path.read_bytes()]


def test_with_prism(world: World) -> None:
    is_told_and_no_secret_is_anywhere(world, PRISM)


def test_with_flink(world: World) -> None:
    """Its workers are processes of their own, with the variables in their own environment."""
    with cluster(world.root / "flink") as flink:
        is_told_and_no_secret_is_anywhere(world, [*flink.beam, "--parallelism=2"])


@pytest.mark.parametrize(
    ("password", "authority", "words"),
    [
        ("very-wrong", "authority.pem", "invalid credentials with SASL mechanism SCRAM-SHA-512"),
        (PASSWORD, "another.pem", "broker certificate could not be verified, verify that ssl.ca.location is correctly"),
    ],
)
def test_what_the_broker_does_not_take_is_a_sentence(
    world: World, monkeypatch: pytest.MonkeyPatch, password: str, authority: str, words: str
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", password)
    file = world.root / "options"
    file.write_text(OPTIONS % (world.kafka.folder.parent / authority))
    began = time.monotonic()
    refused = world.publish("--kafka-options", file)
    assert 3 == refused.wait()
    assert time.monotonic() - began < 20  # it is known after 3 s; the command has to start
    (line,) = refused.text().splitlines()
    assert line.startswith(f"{world.kafka.guarded} cannot be used with these options: S")
    assert words in line
    assert line.endswith("; correct the file of --kafka-options, or the variables that it names")
    assert password not in line
