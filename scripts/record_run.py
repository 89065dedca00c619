"""Records two runs of a first workspace on the sandbox as a picture: `python -m scripts.record_run`.

What is in the picture is what the commands printed. It has no fonts and nothing else from elsewhere.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from io import StringIO
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "run.svg"
WIDTH = 118
MONDAY = """\
{"type": "profile", "profile_id": "p1", "at": "2026-01-05T09:00:00Z", "external_ids": [{"type": "user_id", "id": "u1"}]}
{"type": "audience", "profile_id": "p1", "at": "2026-01-05T09:05:00Z", "computation": "big_spenders", "member": true}
"""
TUESDAY = """\
{"type": "audience", "profile_id": "p1", "at": "2026-01-06T09:00:00Z", "computation": "big_spenders", "member": false}
"""


def main() -> None:
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    with tempfile.TemporaryDirectory() as folder:
        _play(console, Path(folder))
    PICTURE.write_text(fonts_out(console.export_svg(title="profilecast", unique_id="run")), "utf-8")


def fonts_out(picture: str) -> str:
    """Rich's picture, without what it would fetch."""
    picture = re.sub(r"@font-face \{.*?\}\n", "", picture, flags=re.DOTALL)
    return re.sub(r"<!-- Generated.*?-->", "", picture).replace("Fira Code", "ui-monospace, Menlo, Consolas")


def _play(console: Console, folder: Path) -> None:
    environment = {**os.environ, "BRAZE_API_KEY": "any-value", "COLUMNS": str(WIDTH), "PYTHONPATH": str(ROOT)}
    environment["XDG_STATE_HOME"] = str(folder / "user")

    def profilecast(words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "pipeline", *shlex.split(words)]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)

    def show(words: str, output: str) -> None:
        console.print(f"[bold green]$[/] [bold]{words}[/]", highlight=False)
        console.print(output.rstrip(), markup=False, highlight=False, soft_wrap=False)
        console.print()

    profilecast("init --destination braze")
    (folder / "events").mkdir()
    sandbox = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "sandbox", "--quiet", "--port", "0", "--ready-file", "ready"],
        cwd=folder,
        env=environment,
    )
    try:
        while not (folder / "ready").exists():
            time.sleep(0.05)
        address = (folder / "ready").read_text().strip()
        for name, events, new in (("monday", MONDAY, " --new-state"), ("tuesday", TUESDAY, "")):
            (folder / "events" / f"{name}.jsonl").write_text(events)
            words = f"run --events 'events/*' --state state{new}"
            show(f"profilecast {words}", profilecast(f"{words} --gateway {address}").stdout)
        show("profilecast why user_id:u1 --state state", profilecast("why user_id:u1 --state state").stdout)
    finally:
        sandbox.terminate()
        sandbox.wait()


if __name__ == "__main__":
    main()
