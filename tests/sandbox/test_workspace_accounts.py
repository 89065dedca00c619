"""`profilecast sandbox --workspace FILE`: it knows the connections and their secrets."""

from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
import requests

from pipeline.cli import main
from pipeline.workspace import load
from sandbox.testing import running_sandbox
from sandbox.vendors import serving
from sandbox.workspace import accounts, secrets_of
from schemas.secret import Secret
from schemas.workspace import Connection, Workspace
from transforms.destinations.webhook import Webhook

EXAMPLE = Path(__file__).parents[2] / "examples" / "cdnow" / "workspace.yaml"
SECRETS = (
    "BRAZE_API_KEY",
    "HUBSPOT_ACCESS_TOKEN",
    "ZENDESK_CLIENT_SECRET",
    "ITERABLE_API_KEY",
    "FACEBOOK_ACCESS_TOKEN",
)


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name in (*SECRETS, "WEBHOOK_SHARED_SECRET"):
        monkeypatch.setenv(name, f"secret-{name}")
    return load(str(EXAMPLE))


def test_every_connection_is_found_at_a_host_of_its_vendor(workspace: Workspace) -> None:
    names, _ = accounts(workspace)
    served = {names[host]: serving(host).slug for host in names}
    assert {c.name: c.destination for c in workspace.connections} == served


def test_the_secrets_of_each_connection_are_right_at_its_host(workspace: Workspace) -> None:
    names, secrets = accounts(workspace)
    expected = {f"secret-{name}" for name in (*SECRETS, "WEBHOOK_SHARED_SECRET")}
    assert expected == {secret for found in secrets.values() for secret in found}
    assert {1} == {len(found) for found in secrets.values()}
    assert names.keys() == secrets.keys()


def test_its_secrets_are_all_that_recordings_must_not_show(workspace: Workspace) -> None:
    assert {f"secret-{name}" for name in (*SECRETS, "WEBHOOK_SHARED_SECRET")} == secrets_of(workspace)


def test_another_secret_is_refused_and_the_recording_names_the_connection(workspace: Workspace, tmp_path: Path) -> None:
    names, secrets = accounts(workspace)
    recording = tmp_path / "requests.jsonl"
    with running_sandbox(connections=names, credentials=secrets, record=recording) as sandbox:
        statuses = [
            requests.get(
                f"{sandbox.url}/api.hubapi.com/crm/v3/properties/contacts/email",
                headers={"Authorization": f"Bearer {secret}"},
                timeout=10,
            ).status_code
            for secret in ("secret-HUBSPOT_ACCESS_TOKEN", "another")
        ]
    assert [200, 401] == statuses
    assert ["hubspot", "hubspot"] == [
        msgspec.json.decode(line)["connection"] for line in recording.read_bytes().splitlines()
    ]


def test_a_webhook_without_shared_secret_stands_beside_one_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "secret-HOOK_SECRET")
    workspace = load(str(EXAMPLE))
    sync = workspace.connections[-1].syncs[:1]
    signed = Webhook.Settings(url="https://signed.example.com/in", shared_secret=Secret("${HOOK_SECRET}"))
    token = Webhook.Settings(url="https://plain.example.com/in", secret_headers={"X-Token": Secret("${HOOK_SECRET}")})
    hooks = (Connection("signed", "webhook", sync, signed), Connection("plain", "webhook", sync, token))
    _, secrets = accounts(msgspec.structs.replace(workspace, connections=hooks))
    assert {"signed.example.com": {"secret-HOOK_SECRET"}, "plain.example.com": set()} == secrets


def test_connections_at_one_host_are_named_together(workspace: Workspace) -> None:
    hook = workspace.connections[-1]
    twin = msgspec.structs.replace(hook, name="other-hook")
    names, _ = accounts(msgspec.structs.replace(workspace, connections=(hook, twin)))
    assert {urlsplit(hook.settings.url).netloc: "warehouse-hook or other-hook"} == names


def test_a_connection_without_syncs_sends_nothing_and_is_unknown(workspace: Workspace) -> None:
    idle = tuple(msgspec.structs.replace(c, syncs=()) for c in workspace.connections)
    assert ({}, {}) == accounts(msgspec.structs.replace(workspace, connections=idle))


def test_a_secret_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (*SECRETS, "WEBHOOK_SHARED_SECRET"):
        monkeypatch.setenv(name, "any")
    monkeypatch.delenv("ZENDESK_CLIENT_SECRET")
    assert 1 == main(["sandbox", "--workspace", str(EXAMPLE), "--port", "0"])
    assert "ZENDESK_CLIENT_SECRET" in capsys.readouterr().err
