"""docs/destinations.md says what the destinations' code says; and what is foreseen is what the real sender does."""

import pytest

from benchmarks.destinations import compare
from sandbox.examples import connected
from scripts.destinations_page import PAGE, foreseen, row
from transforms.destinations import catalogue
from transforms.destinations.contract import Destination
from transforms.destinations.partners import PartnerWebhook

KINDS = catalogue()
LINES = PAGE.read_text("utf-8").splitlines()
SMALL = 100  # calls in a batch: those of the largest take seconds to fill
OWN = [kind for kind in KINDS.values() if not issubclass(kind, PartnerWebhook)]


def test_every_destination_is_on_the_page() -> None:
    assert [kind.slug for kind in OWN] == [line.split("|")[1].strip() for line in LINES if line.startswith("|")][2:]
    text = " ".join(LINES)
    assert [] == [slug for slug, kind in KINDS.items() if issubclass(kind, PartnerWebhook) and slug not in text]
    assert f" {len(KINDS)} destinations" in text


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.slug) for kind in OWN if kind.batch.items <= SMALL])
def test_the_figures_are_those_of_the_code(kind: type[Destination], monkeypatch: pytest.MonkeyPatch) -> None:
    sync = foreseen(kind)
    assert f"| {' | '.join(row(kind, sync))} |" in LINES, "the page is old: make docs"
    workspace, connection = connected(kind, kind.forms[:1])
    destination = kind(workspace, connection)
    asked = {route.name: destination.batch_of(route.name).asked(route.objects) for route in sync.routes}
    assert {route.name: route.asked.total() for route in sync.routes} == asked, "see Batch.requests"


@pytest.mark.parametrize("slug", ["hubspot", "marketo", "facebook-custom-audiences", "intercom", "webhook"])
def test_the_real_sender_makes_the_requests_that_were_foreseen(slug: str) -> None:
    found = compare(KINDS[slug], people=100)
    assert found.delivered == found.calls
    assert found.apart <= 0.02 or abs(found.sent - found.foreseen) <= 2, found
