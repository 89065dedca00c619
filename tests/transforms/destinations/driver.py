"""The transcripts of this project's destinations, by slug."""

from collections.abc import Iterator
from pathlib import Path

from transforms.destinations import catalogue, transcripts
from transforms.destinations.transcripts import Case

DATA = Path(__file__).parents[2] / "data" / "destinations"


def cases(slug: str) -> Iterator[tuple[str, Case]]:
    """Each with the name of its file."""
    return transcripts.cases(catalogue()[slug], DATA / slug)


def not_applicable(slug: str) -> dict[str, str]:
    """The questions that it cannot have, each with the reason."""
    return transcripts.not_applicable(catalogue()[slug], DATA / slug)
