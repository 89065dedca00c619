"""Google's rules for what its lists are matched by, and what the settings need."""

import msgspec
import pytest

from schemas.secret import Secret
from transforms.destinations.google_ads_members import address, email
from transforms.destinations.google_ads_remarketing_lists import GoogleAdsRemarketingLists
from transforms.destinations.google_errors import GoogleError
from transforms.destinations.http import Reply


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("cloudy.sanfrancisco+shopping@gmail.com", "cloudysanfrancisco@gmail.com"),
        ("user.name+NYC@Example.com", "user.name+nyc@example.com"),
        ("Jefferson.Loves.hiking@googlemail.com", "jeffersonloveshiking@googlemail.com"),
        (" ana @ example.com", "ana@example.com"),
        ("+x@gmail.com", ""),
        ("...@gmail.com", ""),
        ("ana", ""),
    ],
)
def test_addresses_as_google_publishes_them(written: str, expected: str) -> None:
    assert expected == email(written)


@pytest.mark.parametrize("missing", ["first_name", "last_name", "country", "zip"])
def test_a_postal_address_is_whole_or_left_out(missing: str) -> None:
    whole = {"first_name": "Ana", "last_name": "Lee", "country": "us", "zip": "94045-1234"}
    [found] = address(whole)
    assert ("US", "94045") == (found["address"]["regionCode"], found["address"]["postalCode"])
    assert [] == address({name: value for name, value in whole.items() if name != missing})


def test_devices_need_their_app() -> None:
    settings = {"customer_id": "1", "client_email": "a@b.c", "private_key": "${KEY}", "consent": "granted"}
    with pytest.raises(msgspec.ValidationError, match="app_id"):
        msgspec.convert(
            {**settings, "match_by": "ios"}, GoogleAdsRemarketingLists.Settings, dec_hook=lambda _, text: Secret(text)
        )


@pytest.mark.parametrize("delay", ["7", "-1s", "0s", "xs", "999999s"])
def test_a_wait_that_is_none_is_not_believed(delay: str) -> None:
    body = msgspec.json.encode({"error": {"details": [{"retryDelay": delay}]}})
    assert GoogleError(Reply(429, body=body)).wait is None
