"""The README's first workspace, followed to the letter, up to the real vendor: a second sandbox."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def commands(chapter: str) -> str:
    return "\n".join(re.findall(r"```bash\n(.*?)```", chapter, re.DOTALL))


@pytest.mark.skipif(not shutil.which("curl"), reason="the README uses curl")
def test_a_first_workspace_does_what_the_readme_says(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    chapter = readme[readme.index("## A first workspace") : readme.index("## From the sandbox")]
    vendor = readme[readme.index("## From the sandbox") : readme.index("## Destinations")]
    begin = "set -eu; trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"
    port, other = str(free_port()), str(free_port())
    lines = commands(chapter).replace("profilecast sandbox", f"profilecast sandbox --port {port}").replace("8808", port)
    real = f"profilecast sandbox --workspace workspace.yaml --port {other} &"  # nobody is told anything in a test
    to_it = re.sub(r" *#.*", f" --gateway http://127.0.0.1:{other}", commands(vendor))
    script = "\n".join([begin, lines, "wait", real, to_it, "kill %1", "wait"])
    home = tmp_path / "profilecast"
    (home / ".venv" / "bin").mkdir(parents=True)
    (home / ".venv" / "bin" / "activate").touch()
    command = home / ".venv" / "bin" / "profilecast"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pipeline "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join((str(command.parent), str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", script], cwd=home, env=environment, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    ends = re.findall(r"(?:Done|Nothing was sent): .*", done.stdout)
    assert ["Done: 3 calls delivered.", "Done: 2 calls delivered.", "Done: 1 call delivered."] == ends[:3]
    assert ["Nothing was sent: there is no news for any connection."] == ends[3:]
    # made, delivered, rejected, waiting, requests: one request each time
    assert [["3", "3", "0", "0", "1"], ["2", "2", "0", "0", "1"], ["1", "1", "0", "0", "1"]] == [
        line.split()[1:6] for line in done.stdout.splitlines() if re.match(r"braze +\d", line)
    ]
