"""Secrets leave the process in requests and nowhere else."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import apache_beam as beam
import pytest
from apache_beam.internal.cloudpickle_pickler import cloudpickle
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor

from pipeline.decider import Decider, enter_workspace
from pipeline.delivering import Deliveries
from pipeline.graph import Input, decide, deliver
from pipeline.run import RunOptions
from pipeline.state_db import StateDb
from pipeline.vendors import destinations, vendors
from pipeline.workspace import load
from tests.pipeline.running import profile, vip, write_events

SECRETS = {
    "BRAZE_API_KEY": "very-secret-braze-key",
    "HOOK_TOKEN": "Bearer very-secret-token",
    "HOOK_SECRET": "very-secret-hmac",
    "ZAP_URL": "https://zap.example.com/hooks/very-secret-path",
}
WORKSPACE = """\
workspace: shop
computations:
  - {name: Vip, kind: audience}
connections:
  - name: braze
    destination: braze
    settings: {endpoint: "https://rest.example.com", api_key: "${BRAZE_API_KEY}"}
    syncs: [{computation: vip, as: [identify, track]}]
  - name: hook
    destination: webhook
    settings:
      url: https://hook.example.com/in
      secret_headers: {Authorization: "${HOOK_TOKEN}"}
      shared_secret: ${HOOK_SECRET}
    syncs: [{computation: vip, as: [identify, track]}]
  - name: zap
    destination: webhook
    settings: {secret_url: "${ZAP_URL}"}
    syncs: [{computation: vip}]
"""


class Echo(BaseHTTPRequestHandler):
    """A vendor that repeats the credentials in its refusals, and refuses everything."""

    seen: list[str]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        told = self.headers.get("Authorization", "")
        self.seen.append(told or self.path)
        body = f"no, {told} at {self.path} and {self.headers.get('X-Signature', '')}".encode()
        self.send_response(401 if "rest." in self.path else 400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_nothing_that_a_run_leaves_or_prints_holds_a_secret(tmp_path: Path) -> None:
    (tmp_path / "workspace.yaml").write_text(WORKSPACE)
    events = write_events(
        tmp_path / "events.jsonl", profile("u1", "2026-01-01T00:00:00Z"), vip("u1", "2026-01-01T00:00:00Z")
    )
    seen: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Echo,), {"seen": seen})) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        environment = os.environ | SECRETS | {"PYTHONUNBUFFERED": "1"}
        printed = run(tmp_path, events, f"http://127.0.0.1:{server.server_address[1]}", environment)
        server.shutdown()
    zap = "/zap.example.com/hooks/very-secret-path"
    assert {"Bearer very-secret-braze-key", "Bearer very-secret-token", zap} == set(seen)
    left = {path: path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()}
    assert left
    assert [] == [path for path, content in left.items() if b"very-secret" in content]
    assert "very-secret" not in printed
    assert "${BRAZE_API_KEY}" in printed  # what to check


def run(root: Path, events: Path, gateway: str, environment: dict[str, str]) -> str:
    """Everything that the command prints."""
    arguments = [
        "run",
        "--workspace",
        root / "workspace.yaml",
        "--state",
        root / "state",
        "--events",
        events,
        "--new-state",
    ]
    process = subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, arguments), "--gateway", gateway],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 3 == process.returncode, process.stderr
    return process.stdout + process.stderr


def test_what_the_steps_are_pickled_with_holds_no_secret_and_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "workspace.yaml").write_text(WORKSPACE)
    workspace = load(str(tmp_path / "workspace.yaml"))
    options = RunOptions(workspace, [], tmp_path / "state", datetime(2026, 1, 2, tzinfo=UTC))
    with StateDb.use(options.state, make=True) as db:
        plan, registry, _ = enter_workspace(db, workspace, vendors(destinations(workspace)), 0)
        with db.portion() as portion:
            portion.put({"u1": b"ana@example.com"})
        decider = Decider(options.state, plan, registry, "run")
        assert {"u1": b"ana@example.com"} == decider.db.get(["u1"])  # its connection does not travel
    pipeline = beam.Pipeline()
    decide(pipeline, Input([("events.jsonl", False)], 1), decider, print)
    deliver(pipeline, ["hook"], Deliveries(options, plan, registry), print)
    functions = all_functions(pipeline)
    decider.close()
    assert {"_ReadFn", "_FoldShardFn", "_DeliverFn"} <= {type(each).__name__ for each in functions}
    pickled = b"".join(map(cloudpickle.dumps, functions))  # as Beam does, but it packs them
    assert b"hook.example.com" in pickled  # the settings do travel
    assert b"very-secret" not in pickled
    assert b"ana@example.com" not in pickled


def all_functions(pipeline: beam.Pipeline) -> list[beam.DoFn]:
    found: list[beam.DoFn] = []

    class Visitor(PipelineVisitor):
        def visit_transform(self, node: AppliedPTransform) -> None:
            if isinstance(node.transform, beam.ParDo):
                found.append(node.transform.fn)

    pipeline.visit(Visitor())
    return found
