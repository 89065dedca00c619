"""`profilecast serve`, a process of its own before a receiver: what comes is told, what cannot be read is said."""

import gzip
import json
import os
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import requests

from tests.pipeline.running import Receiver, profile, receiving, score, vip
from tests.pipeline.serving import Service, now, serving, told, until


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Service]:
    """One for all of these tests: each has a person of its own."""
    root = tmp_path_factory.mktemp("service")
    os.environ["XDG_STATE_HOME"] = str(root / "user")
    with serving(root, receiver.url) as service:
        service.append("first.jsonl", profile("ana", now()), score("ana", now(), 0))
        until(lambda: told(receiver, "score", 0))
        yield service


def test_a_line_that_is_appended_is_told_within_two_seconds(service: Service, receiver: Receiver) -> None:
    took = []
    for number in range(5):
        began = time.monotonic()
        service.append("first.jsonl", score("ana", now(), 100 + number))
        until(partial(told, receiver, "score", 100 + number))
        took.append(time.monotonic() - began)
    assert sorted(took)[2] < 2.0


def test_half_a_line_waits_for_its_other_half(service: Service, receiver: Receiver) -> None:
    line = json.dumps(score("ana", now(), "whole"))
    with (service.events / "first.jsonl").open("a", buffering=1) as file:
        file.write(line)
        service.append("new.jsonl", profile("tom", now()), score("tom", now(), "meanwhile"))
        until(lambda: told(receiver, "score", "meanwhile"))
        assert [] == told(receiver, "score", "whole")
        file.write("\n")
    until(lambda: told(receiver, "score", "whole"))
    assert 0 == service.status()["since_start"]["unusable"]


def test_new_files_are_read_also_packed_ones(service: Service, receiver: Receiver) -> None:
    lines = [json.dumps(event) + "\n" for event in (profile("zip", now()), score("zip", now(), "packed"))]
    beside = service.root / "packed"
    beside.write_bytes(gzip.compress("".join(lines).encode()))
    beside.rename(service.events / "packed.jsonl.gz")
    until(lambda: told(receiver, "score", "packed"))
    until(lambda: service.connection()["waiting"] == 0)


def test_what_cannot_be_used_or_read_is_said_and_the_rest_goes_on(service: Service, receiver: Receiver) -> None:
    (service.events / "broken.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * 1000)[:20])
    until(lambda: service.said("unreadable"))
    bad = service.status()["since_start"]["unusable"]
    service.append("first.jsonl", {"type": "nonsense"}, score("ana", now(), "after bad"))
    until(lambda: told(receiver, "score", "after bad"))
    assert bad + 1 == service.status()["since_start"]["unusable"]
    (words,) = service.status()["unreadable"]
    assert words.startswith(f"{service.events / 'broken.jsonl.gz'}: ")
    assert [words] == [line["words"] for line in service.said("unreadable")]
    (service.events / "broken.jsonl.gz").unlink()


def test_a_person_who_leaves_is_told_so(service: Service, receiver: Receiver) -> None:
    service.append("first.jsonl", profile("eve", now()), vip("eve", now()))
    until(lambda: [m for m in told(receiver, "vip", True) if m["userId"] == "eve"])
    service.append("first.jsonl", vip("eve", now(), member=False))
    until(lambda: [m for m in told(receiver, "vip", False) if m["userId"] == "eve"])

    def tracked() -> list[str]:
        return [m["event"] for m in receiver.messages if m["userId"] == "eve" and m["type"] == "track"]

    until(lambda: ["Audience Entered", "Audience Exited"] == tracked())


def test_the_pages(service: Service) -> None:
    health = requests.get(f"{service.page}/healthz", timeout=60)
    assert (200, {"well": True}) == (health.status_code, health.json())
    assert "application/json" == health.headers["content-type"]
    status = service.status()
    assert ("shop", "", "") == (status["workspace"], status["trouble"], status["workspace_refused"])
    assert {"events", "unusable", "calls"} == status["since_start"].keys()
    assert ("webhook", "none", "", {}) == tuple(
        status["connections"]["hook"][name] for name in ("destination", "cap", "stopped", "blocked")
    )
    until(lambda: service.connection()["waiting"] == 0)
    assert service.connection()["delivered"] > 0
    missing = requests.get(f"{service.page}/nothing", timeout=60)
    assert 404 == missing.status_code
    assert {"/", "/healthz", "/metrics", "/status"} <= {*missing.json()["paths"]}


def test_another_one_and_a_run_say_who_decides(service: Service) -> None:
    who = f"{service.state}: process {service.process.pid} on "
    done = service.run()
    assert (4, True) == (done.returncode, done.stderr.startswith(who)), done.stderr
    other = service.another("--status-port", 0, stdout=-1, stderr=-1)
    _, errors = other.communicate(timeout=60)
    assert (4, True) == (other.returncode, errors.startswith(who)), errors


def test_a_port_that_is_taken_is_a_sentence(service: Service) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        other = service.another("--status-port", port, stdout=-1, stderr=-1)
        output, errors = other.communicate(timeout=60)
    words = f"--status-port {port}: Address already in use; give another one, or 0 for any that is free\n"
    assert (1, "", words) == (other.returncode, output, errors)


def test_files_elsewhere_cannot_be_watched(tmp_path: Path, service: Service) -> None:
    other = service.another("--status-port", 0, "--events", "s3://bucket/*", stdout=-1, stderr=-1)
    output, errors = other.communicate(timeout=60)
    assert (1, "") == (other.returncode, output)
    assert "only files of this machine can be watched" in errors


def test_a_full_disk_is_said_and_survived(service: Service, receiver: Receiver) -> None:
    import resource

    limit = resource.prlimit(service.folding(), resource.RLIMIT_FSIZE)
    resource.prlimit(service.folding(), resource.RLIMIT_FSIZE, (1, limit[1]))
    service.append("first.jsonl", score("ana", now(), "full"))
    until(lambda: service.status()["trouble"])
    assert 503 == requests.get(f"{service.page}/healthz", timeout=60).status_code
    assert "the disk refuses it" in service.said("trouble")[0]["words"]
    resource.prlimit(service.folding(), resource.RLIMIT_FSIZE, limit)
    until(lambda: told(receiver, "score", "full"))
    until(lambda: requests.get(f"{service.page}/healthz", timeout=60).status_code == 200)
    assert service.said("goes on")
    assert "Traceback" not in service.log()
