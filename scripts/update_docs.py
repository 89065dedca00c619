"""Writes the generated parts of the docs, between `<!-- name -->` and `<!-- end -->`: `make docs`."""

import logging
import re
from pathlib import Path

logging.getLogger().setLevel(logging.ERROR)  # Beam warns of extras that are not installed, when it is imported

from pipeline.commands.destinations import OVERVIEW, overview
from pipeline.metrics import METRICS
from scripts import beam_metrics, destinations_page, events_page, streaming_steps, workspace_page
from transforms.destinations import catalogue
from transforms.destinations.partners import PARTNERS, PartnerWebhook

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
GENERATED = (README, *(ROOT / "docs" / name for name in ("events.md", "operations.md", "workspace.md")))


def updated(page: str) -> str:
    """The text with its generated parts as the code makes them now."""
    return _PART.sub(lambda part: f"{part['head']}{_PARTS[part['name']]()}", page)


def _destinations() -> str:
    own = (overview(kind) for kind in catalogue().values() if not issubclass(kind, PartnerWebhook))
    partners = ", ".join(partner.slug for partner in PARTNERS)
    alike = f"{len(PARTNERS)} partners take the webhook's messages at an endpoint of their own"
    return f"{events_page.table(OVERVIEW, own)}\n{alike}: {partners}.\n"


def _metrics() -> str:
    rows = ((f"`{each.shown}`", each.kind, ", ".join(each.labels), each.says) for each in METRICS)
    return events_page.table(("name", "type", "labels", "what it is"), rows)


_PARTS = {
    "destinations": _destinations,
    "events": events_page.events,
    "columns": events_page.columns,
    "reasons": events_page.reasons,
    "metrics": _metrics,
    **workspace_page.PARTS,
}
_PART = re.compile(rf"(?P<head><!-- (?P<name>{'|'.join(_PARTS)}) -->\n).*?(?=<!-- end -->)", re.DOTALL)


if __name__ == "__main__":
    for path in GENERATED:
        path.write_text(updated(path.read_text("utf-8")), "utf-8")
    for written in (destinations_page, streaming_steps, beam_metrics):
        written.PAGE.write_text(written.page(), "utf-8")
