"""Normalising and hashing, by the examples that the vendors publish, and what cannot be right."""

from collections.abc import Callable

import pytest

from transforms.destinations import facebook_rows, personal


@pytest.mark.parametrize(
    ("written", "rule", "published"),
    [
        # Meta's guide to customer lists
        ("Mary@Example.com ", personal.email, "f1904cf1a9d73a55fa5de0ac823c4403ded71afd4c3248d00bdcd0866552bb79"),
        ("1 (555) 987-6543", facebook_rows.phone, "1ef970831d7963307784fa8688e8fce101a15685d62aa765fed23f3a2c576a4e"),
        # the address of Google's samples
        ("test@gmail.com", personal.email, "87924606b4131a8aceeeae8868531fbb9712aaa07a5d3a756b26ce0f5d6ca674"),
    ],
)
def test_published_hashes(written: str, rule: Callable[[str], str], published: str) -> None:
    assert published == personal.hashed(written, rule)


def test_what_is_hashed_already_stays() -> None:
    known = personal.hashed("ana@example.com", personal.email)
    assert known == personal.hashed(f" {known.upper()}\n", personal.email)


@pytest.mark.parametrize("written", ["", "   ", "ana", "ana@", "@b.co", "a b@c.de", "a@b@c"])
def test_no_address(written: str) -> None:
    assert "" == personal.email(written)
    assert "" == personal.hashed(written, personal.email)


@pytest.mark.parametrize(
    ("written", "region", "expected"),
    [
        ("(800)555-0100", "US", "+18005550100"),  # Google's page on formatting
        ("+1 800 555 0100", "", "+18005550100"),
        ("18005550100", "", "+18005550100"),
        ("0044 20 7031 3000", "", "+442070313000"),
        ("+44 (0)20 7031 3000", "", "+442070313000"),
        ("020 7031 3000", "GB", "+442070313000"),
        ("+49 30 123456", "US", "+4930123456"),  # who writes the country is not of the default one
        ("030 123456", "", ""),
        ("030 123456", "DE", "+4930123456"),
        ("+39 06 6982 1234", "", "+390669821234"),  # Italy keeps its zero
        ("555", "US", ""),
        ("+", "", ""),
        ("call me", "", ""),
        ("", "DE", ""),
    ],
)
def test_numbers_of_phones(written: str, region: str, expected: str) -> None:
    assert expected == personal.phone(written, region)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("  Mary ", "mary"),
        ("O'Neil-Smith", "oneilsmith"),
        ("de la  Cruz", "de la cruz"),
        ("Jose\u0301", "jos\u00e9"),
        ("정", "정"),
        ("Valéry", "valéry"),
        ("...", ""),
    ],
)
def test_names(written: str, expected: str) -> None:
    assert expected == personal.name(written)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("AEBE52E7-03EE-455A-B3C4-E57283966239", "aebe52e7-03ee-455a-b3c4-e57283966239"),
        ("00000000-0000-0000-0000-000000000000", ""),
        ("aebe52e703ee455ab3c4e57283966239", ""),
        ("", ""),
    ],
)
def test_devices(written: str, expected: str) -> None:
    assert expected == personal.device(written)


def test_countries_and_postcodes() -> None:
    assert ["gb", "us", "de", "", ""] == [personal.country(each) for each in ("UK", "usa", " DE ", "Germany", "")]
    assert ["94035", "94035", "sw1a1aa", "100-0001"] == [
        personal.postcode("94035-1234", "us"),
        personal.postcode("940351234", ""),
        personal.postcode(" SW1A 1AA", "gb"),
        personal.postcode("100-0001", "jp"),
    ]


def test_a_trait_is_found_by_any_of_its_names() -> None:
    traits: dict[str, object] = {
        "postal_code": None,
        "ZipCode": 94035,
        "zip": "1",
        "firstName": " Ana ",
        "country": True,
    }
    assert "94035" == personal.trait(traits, personal.POSTCODE)
    assert "Ana" == personal.trait(traits, personal.FIRST_NAME)
    assert "" == personal.trait(traits, personal.COUNTRY)
