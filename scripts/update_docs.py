"""Writes the generated parts of the docs, between `<!-- name -->` and `<!-- end -->`: `make docs`."""

import re
from pathlib import Path

from pipeline.commands.destinations import OVERVIEW, overview
from scripts import events_page, workspace_page
from transforms.destinations import catalogue
from transforms.destinations.partners import PARTNERS, PartnerWebhook

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
GENERATED = (README, ROOT / "docs" / "events.md", ROOT / "docs" / "workspace.md")


def updated(page: str) -> str:
    """The text with its generated parts as the code makes them now."""
    return _PART.sub(lambda part: f"{part['head']}{_PARTS[part['name']]()}", page)


def _destinations() -> str:
    own = (overview(kind) for kind in catalogue().values() if not issubclass(kind, PartnerWebhook))
    partners = ", ".join(partner.slug for partner in PARTNERS)
    alike = f"{len(PARTNERS)} partners take the webhook's messages at an endpoint of their own"
    return f"{events_page.table(OVERVIEW, own)}\n{alike}: {partners}.\n"


_PARTS = {
    "destinations": _destinations,
    "events": events_page.events,
    "columns": events_page.columns,
    "reasons": events_page.reasons,
    **workspace_page.PARTS,
}
_PART = re.compile(rf"(?P<head><!-- (?P<name>{'|'.join(_PARTS)}) -->\n).*?(?=<!-- end -->)", re.DOTALL)


if __name__ == "__main__":
    for path in GENERATED:
        path.write_text(updated(path.read_text("utf-8")), "utf-8")
