"""The example for all destinations at once: a workspace that is right, and a check that sees what is not."""

import os
import subprocess
from pathlib import Path

import pytest

from examples.cdnow import derive
from examples.cdnow.everywhere import AUDIENCE, CAPS, SECRETS, TRAIT, WORKSPACE, _faultless, _knows, make
from examples.cdnow.members import wanted
from pipeline.workspace import load, missing_secrets
from sandbox.command import _cap
from sandbox.examples import environment
from sandbox.state import state
from sandbox.workspace import accounts
from transforms.destinations import catalogue


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in catalogue().values():
        for name, value in environment(kind).items():
            monkeypatch.setenv(name, value)


def test_the_workspace_of_all_is_right_and_each_is_told_from_the_others(tmp_path: Path) -> None:
    make(tmp_path, "all", 100)
    file = str(tmp_path / WORKSPACE)
    described = load(file)
    assert [*catalogue()] == [each.name for each in described.connections]
    assert [] == list(missing_secrets(described, file))
    names, _ = accounts(described)
    partners = [name for host, name in names.items() if host.endswith(".example.com")]
    assert len(partners) > 30
    assert not any(" or " in name for name in partners)


def test_caps_are_so_many_times_those_of_the_vendors(tmp_path: Path) -> None:
    make(tmp_path, "slack,hubspot,vero", 100)
    assert ["--cap=hubspot=1000/s", "--cap=slack=100/s"] == (tmp_path / CAPS).read_text().splitlines()
    assert "slack" == _cap("slack=100/s")[0]
    slack, hubspot, vero = load(str(tmp_path / WORKSPACE)).connections
    assert (100, 1_000, None) == (slack.cap and slack.cap.requests, hubspot.cap and hubspot.cap.requests, vero.cap)


def test_secrets_survive_the_shell(tmp_path: Path) -> None:
    make(tmp_path, "google-cloud-pubsub,braze", 100)
    words = f". {tmp_path / SECRETS}; printenv GOOGLE_CLOUD_PUBSUB_PRIVATE_KEY"
    shown = subprocess.run(["bash", "-c", words], check=True, capture_output=True, text=True).stdout
    assert os.environ["GOOGLE_CLOUD_PUBSUB_PRIVATE_KEY"] == shown.removesuffix("\n")


def test_a_destination_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no such destination: braz;"):
        make(tmp_path, "braz,hubspot", 100)


@pytest.mark.parametrize("slug", ["hubspot", "iterable", "facebook-custom-audiences"])
def test_somebody_who_is_missing_is_seen(tmp_path: Path, slug: str) -> None:
    derive.main(["--out", str(tmp_path / "events"), "--customers", "300"])
    people = wanted(sorted((tmp_path / "events").glob("*.jsonl")), AUDIENCE, TRAIT)
    make(tmp_path, slug, 1)
    described = load(str(tmp_path / WORKSPACE))
    right, less, none = (
        state(_faultless(described, described.connections[0], known))
        for known in (people, people[: len(people) // 2], [])
    )
    assert right.people or right.lists
    assert _knows(right, right, 0)
    assert not _knows(less, right, 0)
    assert not _knows(none, right, 0)
