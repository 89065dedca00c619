"""Play event files as if they happened now: their lines go, in order, to a file that `profilecast serve` watches.

    python -m examples.cdnow.play out/events/news/*.jsonl --into out/events/live/news.jsonl --seconds 60 --status URL
    python -m examples.cdnow.play out/events/news/*.jsonl --into kafka://localhost:9092/profiles --seconds 60

or to a topic. With `--status`, what the service, or a sender, says of itself is shown meanwhile.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.live import Live
from rich.table import Table

_STEP = 0.5  # seconds
_HEADS = ("waiting", "scheduled", "delivered", "rejected", "superseded")


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    lines = [line for path in options.files for line in path.read_bytes().splitlines(keepends=True)]
    console = Console()
    shown = Live(console=console, refresh_per_second=4) if options.status and console.is_terminal else nullcontext()
    with _into(options.into) as write, shown as live:
        for part, count in _parts(lines, options.seconds):
            write(part)
            if live is not None:
                live.update(_table(options.status, count, len(lines)))
            time.sleep(_STEP)
    if options.status:
        _wait_until_told(options.status, options.patience)
        console.print(_table(options.status, len(lines), len(lines)))


@contextmanager
def _into(place: str) -> Iterator[Callable[[list[bytes]], object]]:
    """What writes lines there."""
    if place.startswith("kafka://"):
        from examples.cdnow.topic import writer

        yield writer(place)
        return
    path = Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        yield lambda lines: file.write(b"".join(lines))


def _parts(lines: list[bytes], seconds: float) -> Iterator[tuple[list[bytes], int]]:
    """About equal parts for each step, and how many lines were played with each."""
    steps = max(1, round(seconds / _STEP))
    for step in range(steps):
        start, end = len(lines) * step // steps, len(lines) * (step + 1) // steps
        yield lines[start:end], end


def _wait_until_told(url: str, patience: float) -> None:
    """Until nothing waits that could go, or the patience is over."""
    end, before = time.monotonic() + patience, -1
    while time.monotonic() < end:
        time.sleep(2.0)
        waiting = sum(each["waiting"] for each in _status(url)["connections"].values())
        if waiting == before:
            return
        before = waiting


def _table(url: str, played: int, of: int) -> Table:
    status = _status(url)
    table = Table(title=f"{played:,} of {of:,} events played", title_justify="left", pad_edge=False, box=None)
    table.add_column("connection")
    for head in (*_HEADS, "requests/s", "cap"):
        table.add_column(head, justify="right")
    for name, each in status["connections"].items():
        numbers = [f"{each[head]:,}" for head in _HEADS]
        table.add_row(name, *numbers, f"{each['requests_per_second']:.1f}", each["cap"])
    return table


def _status(url: str) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(url, timeout=10).json()
    return found


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.cdnow.play", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="JSON Lines, oldest first")
    parser.add_argument("--into", required=True, metavar="FILE|kafka://…", help="where the lines go")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long it takes (%(default)s)")
    parser.add_argument("--status", default="", metavar="URL", help="of the service: http://127.0.0.1:8807/status")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for what is still to be told")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
