"""`where`: conditions on plain traits, computations and identifiers."""

import pickle
from typing import Any

import pytest
from msgspec.msgpack import encode

from transforms.logic.where import Where, compiled

COMPUTATIONS = {"vip": 0, "plan": 1}
TRAITS = {"country": "DE", "marketing_consent": True, "visits": 3, "score": 2.0, "nickname": None, "tags": ["a", "b"]}
VALUES = {0: True, 1: "gold"}


def holds(where: dict[str, Any], traits: dict[str, Any] = TRAITS, types: tuple[str, ...] = ("email", "phone")) -> bool:
    known = {name: (7, value) for name, value in traits.items()}
    values = {number: (7, value) for number, value in VALUES.items()}
    return compiled(where, COMPUTATIONS).matches(known, values, types)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, True),
        ({"country": "DE"}, True),
        ({"country": "de"}, False),
        ({"country": ["DE", "AT"]}, True),
        ({"country": ["CH", "AT"]}, False),
        ({"country": []}, False),
        ({"country": {"not": "DE"}}, False),
        ({"country": {"not": ["CH", "AT"]}}, True),
        ({"country": {"not": []}}, True),
        ({"country": "DE", "visits": 4}, False),
        ({"country": "DE", "visits": 3}, True),
        ({"tags": "a"}, False),
        ({"tags": {"not": "a"}}, True),
    ],
)
def test_a_trait_is_one_of_what_it_may_be(where: dict[str, Any], expected: bool) -> None:
    assert expected == holds(where)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"visits": 3.0}, True),
        ({"score": 2}, True),
        ({"visits": "3"}, False),
        ({"marketing_consent": True}, True),
        ({"marketing_consent": 1}, False),
        ({"marketing_consent": "true"}, False),
    ],
)
def test_values_are_equal_as_json_values_are(where: dict[str, Any], expected: bool) -> None:
    assert expected == holds(where)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"unheard_of": True}, False),
        ({"unheard_of": False}, False),
        ({"unheard_of": {"not": "free"}}, True),
        ({"unheard_of": None}, True),
        ({"unheard_of": {"not": None}}, False),
        ({"unheard_of": ["free", None]}, True),
        ({"nickname": None}, True),
        ({"country": {"not": None}}, True),
    ],
)
def test_what_is_not_known_is_null(where: dict[str, Any], expected: bool) -> None:
    assert expected == holds(where)


def test_a_key_may_be_a_computation() -> None:
    assert holds({"vip": True})
    assert holds({"plan": ["gold", "silver"]})
    assert not holds({"vip": {"not": True}})


def test_of_a_computation_and_a_trait_of_one_name_it_is_the_computation() -> None:
    assert holds({"plan": "gold"}, {"plan": "free"})
    assert not compiled({"plan": "free"}, COMPUTATIONS).matches({"plan": (7, "free")}, {}, ())


@pytest.mark.parametrize(
    ("has", "expected"),
    [("email", True), ("user_id", False), (["email", "phone"], True), (["email", "user_id"], False), ([], True)],
)
def test_the_person_has_an_identifier_of_each_type(has: Any, expected: bool) -> None:
    assert expected == holds({"has": has})
    assert expected == holds({"has": has, "country": "DE"})


def test_what_is_compiled_travels_to_a_worker() -> None:
    where = compiled({"country": {"not": ["DE", "AT"]}, "vip": True, "has": "email"}, COMPUTATIONS)
    assert where == pickle.loads(pickle.dumps(where))


def test_the_order_in_which_it_is_written_is_nothing() -> None:
    first = compiled({"country": ["DE", "AT"], "visits": 1, "has": ["email", "phone"]}, COMPUTATIONS)
    second = compiled({"has": ["phone", "email"], "visits": 1.0, "country": ["AT", "DE"]}, COMPUTATIONS)
    assert encode(first) == encode(second)


def test_nothing_given_holds_for_everybody() -> None:
    assert Where() == compiled({}, COMPUTATIONS)
