"""For tests of `profilecast serve`: the command as a process of its own, its log lines and its page."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from tests.pipeline import running
from tests.pipeline.running import Event, Message, Receiver

ROOT = Path(__file__).parents[2]
PATIENCE = 90.0  # seconds: machines may be busy


def now() -> str:
    """The time of an event that happens now: it is told ahead of what lay there already."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def until(reached: Callable[[], Any], what: str = "") -> Any:
    """Its first true value."""
    end = time.monotonic() + PATIENCE
    while not (found := reached()):
        if time.monotonic() > end:
            raise AssertionError(what or "it takes too long")
        time.sleep(0.02)
    return found


class Service:
    """A running service; its state and events are in a folder."""

    def __init__(self, root: Path, gateway: str, *more: object, connections: tuple[str, ...] = ("hook",)) -> None:
        self.root, self._gateway, self._more = root, gateway, more
        self.events, self.state, self._log = root / "events", root / "state", root / "log.txt"
        self.workspace = root / "workspace.yaml"
        self.events.mkdir(exist_ok=True)
        if not self.workspace.exists():
            running.workspace(self.workspace, *connections)
        self.start()

    def start(self) -> None:
        """And wait until it serves."""
        self._log.write_text("")
        self.process = self.another("--status-port", 0, *([] if self.state.exists() else ["--new-state"]), *self._more)
        self.page = until(lambda: [*self.said("serving"), *self._ended()])[0]["status"].removesuffix("/status")

    def with_options(self, *more: object) -> None:
        """`start`, with other options than before."""
        self._more = more
        self.start()

    def _ended(self) -> list[dict[str, Any]]:
        if self.process.poll() is not None:
            raise AssertionError(self._log.read_text())
        return []

    def another(self, *more: object, **options: Any) -> subprocess.Popen[str]:
        """The same command once more."""
        events = self.events / "*"
        arguments = ["serve", "--workspace", self.workspace, "--state", self.state, "--gateway", self._gateway]
        with self._log.open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "pipeline", *map(str, [*arguments, "--events", events, "--log", "json", *more])],
                cwd=ROOT, text=True, **({"stdout": log, "stderr": log} | options),
            )  # fmt: skip

    def run(self, *more: object) -> "subprocess.CompletedProcess[str]":
        """`profilecast run` with the same files."""
        arguments = ["run", "--workspace", self.workspace, "--state", self.state, "--gateway", self._gateway]
        arguments += ["--events", self.events / "*", *more]
        command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    def append(self, name: str, *events: Event, end: str = "\n") -> None:
        with (self.events / name).open("a") as file:
            file.write("".join(json.dumps(event) + "\n" for event in events).removesuffix("\n") + end)

    def said(self, event: str, **details: Any) -> list[dict[str, Any]]:
        """Log lines of this event, with these details."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event and details.items() <= line.items()]

    def log(self) -> str:
        return self._log.read_text()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = requests.get(f"{self.page}/status", timeout=60).json()
        return found

    def connection(self, name: str = "hook") -> dict[str, Any]:
        found: dict[str, Any] = self.status()["connections"][name]
        return found

    def idle(self, name: str = "hook") -> bool:
        """Nothing waits that could go."""
        each = self.connection(name)
        return bool(each["waiting"] == each["scheduled"])

    def folding(self) -> int:
        """The process that folds."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def stop(self) -> int:
        """Softly; the exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def serving(root: Path, gateway: str, *more: object, **options: Any) -> Iterator[Service]:
    service = Service(root, gateway, *more, **options)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.kill()


def told(receiver: Receiver, key: str, value: Any) -> list[Message]:
    """Messages that tell this."""
    return [message for message in receiver.messages if message.get("traits", {}).get(key) == value]
