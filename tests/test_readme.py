"""The README's first workspace, followed to the letter."""

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


@pytest.mark.skipif(not shutil.which("curl"), reason="the README uses curl")
def test_a_first_workspace_does_what_the_readme_says(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    chapter = readme[readme.index("## A first workspace") : readme.index("## Destinations")]
    begin = "set -eu; trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"
    blocks = re.findall(r"```bash\n(.*?)```", chapter, re.DOTALL)
    here = [block for block in blocks if "to the real vendor" not in block]
    script = "\n".join([begin, *here, "wait"])
    port = str(free_port())
    script = script.replace("profilecast sandbox", f"profilecast sandbox --port {port}").replace("8808", port)
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
    assert ["Done: 3 calls delivered.", "Done: 2 calls delivered."] == re.findall(r"Done: .*", done.stdout)
    # made, delivered, rejected, waiting, requests: one request each time
    assert [["3", "3", "0", "0", "1"], ["2", "2", "0", "0", "1"]] == [
        line.split()[1:6] for line in done.stdout.splitlines() if re.match(r"braze +\d", line)
    ]
