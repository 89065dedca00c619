"""Writes the generated part of README.md, the table of destinations: `make docs`."""

import re
from pathlib import Path

from pipeline.commands.destinations import OVERVIEW, overview
from transforms.destinations import catalogue

README = Path(__file__).resolve().parents[1] / "README.md"
GENERATED = re.compile(r"(?<=<!-- destinations -->\n).*?(?=<!-- end -->)", re.DOTALL)


def updated(readme: str) -> str:
    """The text with the table as the declarations make it now."""
    return GENERATED.sub(lambda _: _table(), readme)


def _table() -> str:
    rows = [OVERVIEW, ["---"] * len(OVERVIEW), *(overview(destination) for destination in catalogue().values())]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    README.write_text(updated(README.read_text()))
