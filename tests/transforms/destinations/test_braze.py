"""Sizes that Braze takes: too long to write out in a transcript."""

from typing import Literal

import pytest

from schemas.calls import Call, Identifier
from schemas.secret import Secret
from schemas.workspace import Computation, Connection, Workspace
from transforms.destinations.braze import Braze

SETTINGS = Braze.Settings(endpoint="https://rest.fra-01.braze.eu", api_key=Secret("${BRAZE_API_KEY}"))
VIEWED = Computation("Viewed", "trait", "viewed", "computation-1")
BRAZE = Braze(Workspace("acme-shop", (VIEWED,), ()), Connection("braze", "braze", (), SETTINGS))


def reason(kind: Literal["identify", "track"], user: str, value: object) -> str:
    rejected = BRAZE.check(Call("p1", kind, Identifier("user_id", user), "viewed", value, 0, 1, computation="viewed"))
    return rejected.reason if rejected else ""


@pytest.mark.parametrize(
    ("kind", "items", "expected"),
    [
        ("track", 9_900, ""),
        ("track", 9_997, "too_large"),  # with the rest of the properties
        ("identify", 9_900, ""),
        ("identify", 10_100, "too_large"),
    ],
)
def test_arrays_are_limited_by_their_bytes(kind: Literal["identify", "track"], items: int, expected: str) -> None:
    seen = [{"a": 123}] * items  # of nine bytes each, and a comma
    assert expected == reason(kind, "u1", seen)


@pytest.mark.parametrize(("user", "expected"), [("u" * 987, ""), ("u" * 988, "invalid_identifier")])
def test_external_ids_are_limited_by_their_bytes(user: str, expected: str) -> None:
    assert expected == reason("identify", user, True)


def test_strings_are_limited_by_their_characters() -> None:
    assert "" == reason("identify", "u1", "ü" * 255)
    assert "invalid_value" == reason("identify", "u1", "ü" * 256)
