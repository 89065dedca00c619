"""A full refresh in a running job, of a list that its vendor can empty: then only those are in it who should be."""

import time
from pathlib import Path

import pytest
import yaml

from sandbox.examples import environment, settings
from sandbox.testing import RunningSandbox, running_sandbox
from scripts.engines import PRISM
from tests.engines.world import World, now, until
from tests.pipeline.running import profile, vip
from tests.pipeline.test_refresh import Tool, listed, person
from transforms.destinations.hubspot import HubSpot

WORKSPACE = {
    "workspace": "shop",
    "computations": [{"name": "Vip", "kind": "audience"}],
    "connections": [
        {
            "name": "hubspot",
            "destination": "hubspot",
            "settings": settings(HubSpot, ["vip"]),
            "syncs": [{"computation": "vip", "as": "list"}],
        }
    ],
}


def listed_are(sandbox: RunningSandbox, number: int) -> None:
    until(lambda: listed(sandbox, "hubspot") == number, lambda: f"{listed(sandbox, 'hubspot')} and not {number} are in")


def test_a_list_that_others_wrote_to_has_only_its_own_after_a_refresh(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(HubSpot).items():
        monkeypatch.setenv(name, value)
    world.workspace.write_text(yaml.safe_dump(WORKSPACE))
    for who in ("ana", "bob", "cleo"):
        world.write([profile(who, now(), f"{who}@x.example"), vip(who, now())])
    with running_sandbox() as sandbox:
        world.job(PRISM)
        sender = world.sender("--gateway", sandbox.url)
        listed_are(sandbox, 3)
        Tool(tmp_path / "other", "hubspot", sandbox).run(*person("eve"))
        listed_are(sandbox, 4)
        published = world.publish("--full-refresh", "hubspot/vip")
        listed_are(sandbox, 3)
        assert published.wait() == 0, published.text()
        until(lambda: "looked at anew" in sender.text(), sender.text)
        sender.stop()

        Tool(tmp_path / "another", "hubspot", sandbox).run(*person("fay"))
        second = world.sender("--gateway", sandbox.url)
        until(lambda: "takes over hubspot" in second.text(), second.text)
        time.sleep(3.0)
        assert 4 == listed(sandbox, "hubspot"), "it is emptied once for a refresh"
        second.stop()
        assert "published" not in second.text()
