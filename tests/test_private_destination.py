"""A destination in somebody's own package: found by its entry point, and tested with its own transcripts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULE = """
from msgspec import Struct

from sandbox.plain import PlainVendor, Takes, bearer
from transforms.destinations.auth import Bearer
from transforms.destinations.contract import Request, Secret
from transforms.destinations.plain import Item, Plain


class Inhouse(Plain):
    slug, name, page = "inhouse", "In-house CRM", "https://crm.inhouse.example/docs"
    base = "https://crm.inhouse.example"
    names = {"user_id": "customer"}
    auth = Bearer("{token}")

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        token: Secret

    def identify(self, person: Item) -> Request:
        return self.post("/customers", {**person.ids, **person.traits})


class Fake(PlainVendor):
    slug = "inhouse"
    hosts = (r"crm\\.inhouse\\.example",)
    secret_in = bearer()
    takes = (Takes("POST", "/customers", ids={"customer": str}),)
"""
CASES = """
- case: a customer
  covers: success
  settings: {token: "${CRM_TOKEN}"}
  calls:
    ana: {kind: identify, identifier: [user_id, u1], key: big_spenders, value: true}
  talk:
    - send:
        method: POST
        url: https://crm.inhouse.example/customers
        headers: {authorization: Bearer secret-CRM_TOKEN}
        json: {customer: u1, big_spenders: true}
      reply: {status: 200}
  expect: {ana: delivered}
"""
POINTS = """
[profilecast.destinations]
inhouse = inhouse_tools.crm:Inhouse
[profilecast.sandbox]
inhouse = inhouse_tools.crm:Fake
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """As `pip install` leaves it."""
    (tmp_path / "inhouse_tools").mkdir()
    (tmp_path / "inhouse_tools" / "crm.py").write_text(MODULE)
    info = tmp_path / "inhouse_tools-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: inhouse-tools\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "customers.yaml").write_text(CASES)
    return tmp_path


def profilecast(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(package), str(ROOT)])
    command = [sys.executable, "-m", "pipeline", *arguments]
    return subprocess.run(
        command, cwd=package, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )


def test_it_is_listed_described_and_known_to_a_workspace(package: Path) -> None:
    assert " inhouse " in profilecast(package, "destinations").stdout
    assert "In-house CRM" in profilecast(package, "destinations", "inhouse").stdout
    made = profilecast(package, "init", "--destination", "inhouse", "--workspace", "workspace.yaml")
    assert (0, "") == (made.returncode, made.stderr)
    assert "destination: inhouse" in (package / "workspace.yaml").read_text()


@pytest.mark.parametrize("named", ["inhouse", "inhouse_tools.crm:Inhouse"])
def test_its_transcripts_are_played_and_what_follows_from_them(package: Path, named: str) -> None:
    tested = profilecast(package, "destinations", "test", named, "--transcripts", "cases")
    assert 0 == tested.returncode, tested.stdout + tested.stderr
    assert "ok      customers: a customer" in tested.stdout
    assert "ok      derived: HTTP 429 with a delay" in tested.stdout
    assert "0 failed, 0 questions open" in tested.stdout


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("big_spenders: true}\n      reply", "big_spenders: 1}\n      reply", "requests: expected"),
        ("ana: delivered", "ana: rejected refused", "outcomes: expected"),
        ("reply: {status: 200}", "reply: {status: 200}\n      means: transient", "meanings: expected"),
        ("covers: success", "covers: other", "OPEN    success"),
        ("covers: success", "covers: sucess", "customers.yaml, case 1"),
    ],
)
def test_what_is_different_is_said(package: Path, old: str, new: str, said: str) -> None:
    path = package / "cases" / "customers.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    tested = profilecast(package, "destinations", "test", "inhouse", "--transcripts", "cases")
    assert 1 == tested.returncode
    assert said in tested.stdout + tested.stderr
    assert "Traceback" not in tested.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("test", "inhuose", "--transcripts", "cases"), "did you mean inhouse?"),
        (("test", "inhouse_tools.crm:Other", "--transcripts", "cases"), "expected MODULE:CLASS"),
        (("test", "inhouse_tools.crm:Fake", "--transcripts", "cases"), "is no destination"),
        (("test", "inhouse", "--transcripts", "nowhere"), "there is no such folder"),
        (("test", "inhouse"), "expected `destinations test"),
    ],
)
def test_what_cannot_be_tested_is_said(package: Path, arguments: tuple[str, ...], said: str) -> None:
    tested = profilecast(package, "destinations", *arguments)
    assert 1 == tested.returncode
    assert said in tested.stderr
    assert "Traceback" not in tested.stderr
