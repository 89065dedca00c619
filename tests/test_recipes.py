"""The recipes do as written what they say, on a part of the example."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.pipeline.running import free_port

ROOT = Path(__file__).parents[1]


def test_from_a_warehouse_to_braze(tmp_path: Path) -> None:
    recipe = (ROOT / "docs" / "recipes" / "tables.md").read_text("utf-8")
    script = "\n".join(re.findall(r"```bash\n(.*?)```", recipe, re.DOTALL))
    port = str(free_port())
    script = script.replace("profilecast sandbox", f"profilecast sandbox --port {port}").replace("8808", port)
    script = re.sub(r"(--until \S+)$", r"\1 --customers 120", script, flags=re.MULTILINE)
    script = script.replace("--customers 100", "--customers 10")
    begin = "set -eu; trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
    for name, before in (("profilecast", "-m pipeline"), ("python", "")):
        command = tmp_path / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" {before} "$@"\n')
        command.chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", begin + script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    changed = [int(number) for number in re.findall(r"customers: (\d+) rows are new, changed or gone", done.stdout)]
    rows = int(re.findall(r"duckdb: (\d+) customers", done.stdout)[0])
    assert rows == changed[0]
    assert 0 < changed[1] < rows
    assert 0 == changed[2]
    assert "It ended with 3." in done.stdout
    assert "rows are gone" in done.stderr
    assert 2 == len(re.findall(r"^Done: \d+ calls delivered\.", done.stdout, re.MULTILINE))
    assert "Nothing was sent: there is no news for any connection." in done.stdout
