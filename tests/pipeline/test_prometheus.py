"""A real Prometheus reads a service: each expression of the board finds something, and alerts come and go.

Debian has it as the package `prometheus`; without it these tests are left out.
"""

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
import yaml

from tests.pipeline.running import Message, Receiver, profile, receiving, score, workspace
from tests.pipeline.serving import Service, now, serving, until

ROOT = Path(__file__).parents[2]
RULES, BOARD = ROOT / "deploy/prometheus/alerts.yaml", ROOT / "deploy/grafana/profilecast.json"
QUIET = {"Trouble", "Calls that came to nothing"}  # panels in which there is nothing while all is well
pytestmark = pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not installed")


class Watched(NamedTuple):
    service: Service
    receiver: Receiver
    url: str

    def query(self, expression: str) -> list[Any]:
        reply = requests.get(f"{self.url}/api/v1/query", {"query": expression}, timeout=60).json()
        assert "success" == reply["status"], (expression, reply)
        found: list[Any] = reply["data"]["result"]
        return found

    def alerts(self) -> set[str]:
        """Names of those that fire."""
        found = requests.get(f"{self.url}/api/v1/alerts", timeout=60).json()["data"]["alerts"]
        return {each["labels"]["alertname"] for each in found if each["state"] == "firing"}


@contextmanager
def prometheus(root: Path, service: Service) -> Iterator[str]:
    """It reads each second; alerts need not last."""
    root.mkdir()
    rules = yaml.safe_load(RULES.read_text())
    for rule in rules["groups"][0]["rules"]:
        rule["for"] = "0s"
    (root / "rules.yaml").write_text(yaml.safe_dump(rules))
    jobs = [{"job_name": "profilecast", "static_configs": [{"targets": [service.page.removeprefix("http://")]}]}]
    every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config = {"global": every, "rule_files": ["rules.yaml"], "scrape_configs": jobs}
    (root / "prometheus.yml").write_text(yaml.safe_dump(config))
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = (f"--config.file={root}/prometheus.yml", f"--storage.tsdb.path={root}/data")
    with (root / "log.txt").open("w") as log:
        command = ["prometheus", *options, f"--web.listen-address={address}"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(60)


def is_there(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=5).ok
    except requests.ConnectionError:
        return False


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    root = tmp_path_factory.mktemp("watched")
    workspace(root / "workspace.yaml", "hook", cap="50/s")
    with (
        receiving() as receiver,
        serving(root, receiver.url, "--retry-stopped", "20s") as service,
        prometheus(root / "prometheus", service) as url,
    ):
        until(lambda: is_there(url))
        yield Watched(service, receiver, url)


def tell(watched: Watched, value: int) -> None:
    """So many people that it is not one of them who is refused."""
    for who in ("ana", "bob", "cleo", "dan", "eve", "fay", "gil", "hal"):
        watched.service.append("events.jsonl", profile(who, now()), score(who, now(), value))


def ready(expression: str) -> str:
    """With the board's variables as they are when nothing is chosen."""
    return re.sub(r"\$(job|connection)\b", ".+", expression).replace("$__rate_interval", "10s")


def test_each_panel_of_the_board_finds_what_it_shows(watched: Watched) -> None:
    until(lambda: watched.query("profilecast_well"))  # a counter counts from when it was read first
    tell(watched, 1)
    panels = [
        (panel["title"], ready(target["expr"]))
        for panel in json.loads(BOARD.read_text())["panels"]
        for target in panel.get("targets", [])
    ]
    assert len(panels) > 20
    for title, expression in panels:
        if title in QUIET:
            watched.query(expression)
        else:
            until(lambda expression=expression: watched.query(expression), f"{title} finds nothing: {expression}")  # type: ignore[misc]


def test_an_alert_comes_with_its_trouble_and_goes_with_it(watched: Watched) -> None:
    def unauthorized(host: str, message: Message) -> int:
        return 401

    until(lambda: watched.query("profilecast_well") and not watched.alerts())
    well, watched.receiver.answer = watched.receiver.answer, unauthorized
    tell(watched, 2)
    until(lambda: "ProfilecastConnectionStopped" in watched.alerts())
    watched.receiver.answer = well
    until(lambda: not watched.alerts(), "an alert stays though all is well")


def test_its_own_tool_finds_no_mistake_in_the_rules() -> None:
    done = subprocess.run(["promtool", "check", "rules", RULES], capture_output=True, text=True)
    assert 0 == done.returncode, done.stdout + done.stderr
