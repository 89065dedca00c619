"""Canonical values: what is equal, what wins a tie, and that equal facts are equal bytes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.canonical import canonical, digest, ordered, rank
from schemas.state import ProfileState, decode_profile, encode_profile

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def same(one: Any, other: Any) -> bool:
    """Equal as JSON, the slow way."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return bool(one == other)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        (0, -0.0, True),
        (0, None, False),
        ("1", 1, False),
        (2**53, float(2**53), True),
        (10**19, 1e19, True),
        (2.5, 2.5, True),
        ([1, 2], [2, 1], False),
        ({"a": 1, "b": [2.0]}, {"b": [2], "a": 1.0}, True),
    ],
)
def test_values_are_equal_as_json_is(one: Any, other: Any, equal: bool) -> None:
    assert equal == (canonical(one) == canonical(other))
    assert equal == (digest(one) == digest(other))


@given(JSON, JSON)
def test_two_values_have_one_form_when_they_are_equal(one: Any, other: Any) -> None:
    assert same(one, other) == (canonical(one) == canonical(other))


@given(JSON)
def test_the_digest_is_short(value: Any) -> None:
    assert len(digest(value)) <= 16


def test_a_tie_has_one_winner_even_between_equal_values() -> None:
    assert rank(2) > rank(10)
    assert rank(1.0) > rank(1)
    assert rank({"a": 1, "b": 2}) == rank({"b": 2, "a": 1})


@given(JSON)
def test_order_changes_the_order_of_keys_only(value: Any) -> None:
    assert canonical(value) == canonical(ordered(value))
    assert repr(ordered(ordered(value))) == repr(ordered(value))


def test_a_profile_is_the_same_bytes_whatever_was_known_first() -> None:
    one = ProfileState(traits={"a": (1, 1), "b": (1, 2)}, values={1: (1, 1), 2: (2, 2)})
    other = ProfileState(traits={"b": (1, 2), "a": (1, 1)}, values={2: (2, 2), 1: (1, 1)})
    assert encode_profile(one) == encode_profile(other)
    assert one == decode_profile(encode_profile(other))
