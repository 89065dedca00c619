"""A broker and engines on this machine, for tests and `run_streaming.sh`. `scripts/install_engines.sh` gets them."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".engines"
PRISM = ["--runner=PrismRunner", f"--prism_location={PLACE / 'prism'}"]  # options of Beam
_PATIENCE = 90.0  # seconds until a server is there


class EngineFailed(Exception):
    """A server did not come up; the text is what it printed."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def java() -> list[str]:
    """The beginning of a command. Code is compiled quickly and not well: these servers live for minutes."""
    found = shutil.which("java")
    if found is None:
        raise EngineFailed("java is not on the PATH")
    return [found, "-XX:TieredStopAtLevel=1"]


def jars(*names: str) -> str:
    """A class path of what was installed under these names."""
    return ":".join(f"{PLACE / name}/*" for name in names)


class Server:
    """A process that serves, with a log of its own; it is stopped when the block ends."""

    def __init__(self, command: Sequence[str], log: Path, up: Callable[[], bool]) -> None:
        self._command, self._log, self._up = list(command), log, up
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + _PATIENCE
        while not self._up():
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise EngineFailed(self._log.read_text("utf-8", "replace")[-3_000:])
            time.sleep(0.1)

    def stop(self, hard: bool = False) -> None:
        """End it, and what it started; `hard` is a kill -9."""
        if self.process.poll() is None:
            self.process.kill() if hard else self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        with suppress(ProcessLookupError):  # a pool of workers leaves them to themselves
            os.killpg(self.process.pid, signal.SIGKILL)

    def restart(self, after: float) -> None:
        """Kill it with a kill -9, and start it again when so many seconds have passed."""
        self.stop(hard=True)
        time.sleep(after)
        self.start()


def listens(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(0.5)
        return client.connect_ex(("127.0.0.1", port)) == 0
