"""A shop: a place with a workspace, events and a receiver, where runs are made."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.pipeline import running
from tests.pipeline.running import Event, Receiver


class Shop:
    """Runs of one state directory against one receiver."""

    def __init__(self, root: Path, receiver: Receiver) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        self.receiver = receiver
        self.state = root / "state"
        self.workspace = running.workspace(root / "workspace.yaml", "hook")
        self._files = 0

    def arguments(self, *events: Event, files: tuple[Path, ...] = ()) -> list[str]:
        """Of a run with these events."""
        given = [str(path) for path in files]
        if events:
            self._files += 1
            given.append(str(running.write_events(self.root / f"events-{self._files}.jsonl", *events)))
        return [*self.common(), *(["--events", *given] if given else [])]

    def common(self) -> list[str]:
        new = [] if (self.state / "state.db").exists() else ["--new-state"]
        return ["--workspace", str(self.workspace), "--state", str(self.state), "--gateway", self.receiver.url, *new]

    def run(self, *events: Event, files: tuple[Path, ...] = (), more: tuple[str, ...] = ()) -> int:
        """The exit code of `profilecast run`."""
        return main(["run", *self.arguments(*events, files=files), *more])

    def main(self, *arguments: str) -> int:
        """The exit code of `profilecast`."""
        return main(arguments)

    def replay(self, *more: str) -> int:
        """The exit code of `profilecast replay`."""
        return main(["replay", *(each for each in self.common() if each != "--new-state"), *more])


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running.receiving() as receiver:
        yield receiver


@pytest.fixture
def shop(tmp_path: Path, receiver: Receiver) -> Shop:
    return Shop(tmp_path, receiver)
