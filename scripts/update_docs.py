"""Writes the generated parts of the docs, between `<!-- name -->` and `<!-- end -->`: `make docs`."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.commands.destinations import OVERVIEW, overview
from scripts import workspace_page
from transforms.destinations import catalogue

ROOT = Path(__file__).resolve().parents[1]
GENERATED = re.compile(r"(?<=<!-- )(?!end )(\w+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def _destinations() -> str:
    rows = [OVERVIEW, ["---"] * len(OVERVIEW), *(overview(destination) for destination in catalogue().values())]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


# What makes the parts of each page, by the name that stands before them.
PAGES: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "README.md": {"destinations": _destinations},
    "docs/workspace.md": workspace_page.PARTS,
}


def updated(page: str) -> str:
    """The text of a page with its parts as the code makes them now."""
    parts = PAGES[page]
    return GENERATED.sub(lambda m: f"{m[1]}{m[2]}{parts[m[1]]()}", (ROOT / page).read_text("utf-8"))


if __name__ == "__main__":
    for page in PAGES:
        (ROOT / page).write_text(updated(page), "utf-8")
