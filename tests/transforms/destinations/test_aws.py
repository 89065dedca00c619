"""Destinations at Amazon Web Services: what their settings say where something is missing or wrong."""

import pytest
from msgspec import ValidationError, convert

from transforms.destinations.aws import Access, extra_fault


class Open(Access, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without a secret."""

    secret_access_key: str = ""  # type: ignore[assignment]


def test_without_the_extra_it_is_said_what_to_install() -> None:
    assert "" == extra_fault()
    said = "what signs requests to Amazon is not installed; install it: pip install 'apache-beam[aws]'"
    assert said == extra_fault(lambda module: None)


@pytest.mark.parametrize("region", ["eu-west-1", "us-gov-west-1", "ap-southeast-2"])
def test_regions(region: str) -> None:
    assert region == convert({"region": region, "access_key_id": "AKID"}, Open).region


@pytest.mark.parametrize("region", ["cn-north-1", "eu-west", "eu-west-1.evil.example/", "eu-west-1\n", ""])
def test_what_is_no_region_here(region: str) -> None:
    with pytest.raises(ValidationError):
        convert({"region": region, "access_key_id": "AKID"}, Open)
