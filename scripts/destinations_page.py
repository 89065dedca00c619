"""docs/destinations.md: what a first sync takes at every destination."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.foreseen import PEOPLE, Foreseen, foresee
from pipeline.commands.destinations import cap
from sandbox.examples import environment
from scripts.events_page import table
from transforms.destinations import catalogue
from transforms.destinations.contract import Destination
from transforms.destinations.partners import PartnerWebhook

PAGE = Path(__file__).resolve().parents[1] / "docs" / "destinations.md"
HEAD = ("destination", "form", "cap", "calls in a request", "requests for 1,000 people", "hours for 1,000,000 people")
Row = tuple[str, ...]

_TEXT = """\
# Figures of all destinations

How many requests a first sync takes, and how long, for the same people at each destination. {number} destinations; \
what each takes, and under which settings, says `profilecast destinations SLUG`. `make docs` writes this page.

The workspace has one audience with everybody in it, and one trait that everybody has. Of five people, two have a \
second address: 1.4 identifiers a person. Both are sent in the destination's first form; a list is sent the audience \
alone. So 1,000 people are 2,800 calls, or 1,400 of a list.

*Requests* are those of full batches, with everything that a batch needs: who looks a person up before it writes has \
two, a job that is asked about has one more. *Hours* are the time that the vendor's published caps leave, all of them: \
those of an endpoint, of a minute and of a day too. Without a published cap there is none to wait for (–), and the \
vendor's answers decide. [Benchmarks](../benchmarks/destinations.md) count the requests of the real sender.

The figures come from the destinations' own code: one full batch of each kind is talked through with the sandbox.

{table}
{partners} partners take the webhook's messages at an endpoint of their own, one call in a request, and publish no \
cap: 2,800 requests for 1,000 people. They are {slugs}.
"""


def page() -> str:
    kinds = catalogue().values()
    partners = [kind.slug for kind in kinds if issubclass(kind, PartnerWebhook)]
    own = rows(kind for kind in kinds if not issubclass(kind, PartnerWebhook))
    return _TEXT.format(
        number=len(kinds), table=table(HEAD, own), partners=len(partners), slugs=", ".join(partners)
    )  # fmt: skip


def rows(kinds: Iterable[type[Destination]]) -> Iterator[Row]:
    for kind in kinds:
        yield row(kind, foreseen(kind))


def foreseen(kind: type[Destination]) -> Foreseen:
    """With secrets of the sandbox in the environment."""
    os.environ.update(environment(kind))
    return foresee(kind)


def row(kind: type[Destination], sync: Foreseen) -> Row:
    calls = sync.calls(PEOPLE) / sync.requests(PEOPLE)
    hours = sync.seconds(PEOPLE) / 3600
    in_1000 = sync.requests(PEOPLE) * 1000 / PEOPLE
    return (kind.slug, kind.forms[0], cap(kind), _short(calls), _short(in_1000), _short(hours) if hours else "–")


def _short(number: float) -> str:
    """With as many places as say something."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2g}"
