"""Blueshift: names of events."""

import pytest

from schemas.secret import Secret
from schemas.workspace import Connection, Workspace
from transforms.destinations.blueshift import Blueshift


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Audience Entered", "Audience_Entered"), ("Tier 2.5 Entered", "Tier_two_five_Entered")],
)
def test_names_of_events_have_no_blanks_dots_and_digits(name: str, expected: str) -> None:
    settings = Blueshift.Settings(user_key=Secret("${A}"), event_key=Secret("${B}"))
    connection = Connection("blueshift", "blueshift", (), settings)
    destination = Blueshift(Workspace("shop", (), ()), connection)
    assert expected == destination.event_at_vendor(name)
    long = destination.event_at_vendor("1 é" * 100)
    assert (64, False) == (len(long), any(letter.isdigit() for letter in long))
