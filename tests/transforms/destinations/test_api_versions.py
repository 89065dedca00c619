"""Versions of vendors' APIs end: a newer one is due in good time."""

from datetime import date, timedelta

import pytest

from schemas.secret import Secret
from schemas.workspace import Connection, Workspace
from transforms.destinations import catalogue
from transforms.destinations.contract import Destination
from transforms.destinations.facebook_custom_audiences import FacebookCustomAudiences

EARLY = timedelta(days=60)
VERSIONED = [kind for kind in catalogue().values() if kind.api_version]


@pytest.mark.parametrize("kind", VERSIONED, ids=[kind.slug for kind in VERSIONED])
def test_no_version_ends_within_60_days(kind: type[Destination]) -> None:
    version = kind.api_version
    assert version
    assert version.source.startswith("https://")
    assert version.ends is None or version.ends - date.today() > EARLY, f"move {kind.slug} on from {version.name}"


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("v27.0", None),
        ("v25.0", date(2027, 2, 23)),
        ("v9.0", date(2026, 11, 10)),
        ("v31.0", None),
    ],
)
def test_facebook_has_the_version_that_the_settings_name(name: str, ends: date | None) -> None:
    settings = FacebookCustomAudiences.Settings(ad_account_id="7", access_token=Secret("${T}"), api_version=name)
    version = FacebookCustomAudiences(Workspace("shop", (), ()), Connection("fb", "facebook", (), settings)).version()
    assert (name, ends) == (version.name, version.ends)
