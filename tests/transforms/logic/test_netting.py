"""Netting: chains of values before a vendor that takes, refuses and loses them, against what it really has."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.calls import NOBODY, Call, Identifier
from schemas.canonical import digest
from schemas.receipts import Receipt, receipt_of
from transforms.logic.netting import known, needless, opens_nothing, takes_back

ANA = Identifier("email", "ana@x.io")


def call(ask: int, value: Any = True, kind: Any = "identify", **more: Any) -> Call:
    return Call("p1", kind, ANA, "vip", value, 0, ask, slot=1, **more)


def ended(ask: int, fate: Any, value: Any = True, **more: Any) -> Receipt:
    return receipt_of(call(ask, value), fate, 0.0, **more)


@pytest.mark.parametrize(
    ("replaced", "expected"),
    [
        (ended(1, "superseded"), b"false"),
        (ended(1, "superseded", maybe=True), None),
        (ended(1, "delivered"), b"true"),
        (ended(1, "delivered", unsure_until=300.0), None),  # an older value may land behind it
        (ended(1, "rejected"), b"false"),
        (ended(1, "rejected", maybe=True), None),
        (ended(1, "expired", maybe=True), None),
        (ended(1, "expired"), None),
        (None, None),  # in flight, or nobody knows
    ],
)
def test_what_the_vendor_has_ahead_of_a_call_by_the_end_of_what_it_replaces(
    replaced: Receipt | None, expected: bytes | None
) -> None:
    later = call(2, False, replaces=1, before=b"false")
    assert expected == known(later, replaced, later.before)


def test_a_call_that_replaces_nothing_goes_whatever_the_vendor_has() -> None:
    first = call(1, False, before=b"false")
    assert b"false" == known(first, None, None)
    assert not needless(first, b"false")


def test_what_an_unknown_holds_is_never_netted() -> None:
    later = call(2, False, replaces=1, before=None)
    assert not needless(later, known(later, ended(1, "superseded"), later.before))


@pytest.mark.parametrize(
    ("kind", "value", "has", "expected"),
    [
        ("identify", False, b"false", True),
        ("identify", True, b"false", False),
        ("identify", 1.0, digest(1), True),
        ("identify", None, b"null", True),
        ("add", True, b"true", True),
        ("remove", False, b"false", True),
        ("remove", False, None, False),
        ("track", False, b"false", False),
        ("delete", None, b"null", False),
    ],
)
def test_only_a_value_that_the_vendor_has_is_needless(kind: str, value: Any, has: bytes | None, expected: bool) -> None:
    assert expected == needless(call(2, value, kind, replaces=1), has)


ends = st.sampled_from(["waits", "delivered", "rejected", "lost", "lost but landed", "given up but landed"])
chains = st.lists(st.tuples(st.integers(0, 2), ends), min_size=1, max_size=8)


@given(st.integers(0, 2), chains)
def test_what_is_not_sent_the_vendor_has(told, chain) -> None:  # type: ignore[no-untyped-def]
    """Values, each asked while the one before it had no outcome in the ledger; and the vendor, who has what landed."""
    has: Any = told
    replaced: Receipt | None = None
    before: bytes | None = None
    for ask, (value, end) in enumerate(chain, 1):
        now = call(ask, value, replaces=ask - 1, before=digest(told))
        before = known(now, replaced, before)
        maybe = bool(replaced and replaced.maybe and replaced.fate != "delivered")
        if needless(now, before):
            assert digest(has) == digest(value)
            end = "waits"
        if end in ("delivered", "lost but landed", "given up but landed"):
            has = value
        if end == "delivered":
            replaced = receipt_of(now, "delivered", 0.0)
        elif end in ("waits", "given up but landed"):
            replaced = receipt_of(now, "superseded", 0.0, maybe=maybe or end != "waits")
        else:
            replaced = receipt_of(
                now, "rejected" if end == "rejected" else "expired", 0.0, maybe=maybe or end != "rejected"
            )


@given(st.integers(1, 6), st.booleans())
def test_what_began_and_ended_before_anything_was_sent_costs_no_request(times, told) -> None:  # type: ignore[no-untyped-def]
    replaced: Receipt | None = None
    before: bytes | None = None
    for ask in range(1, 2 * times + 1):
        now = call(ask, told if ask % 2 == 0 else not told, replaces=ask - 1, before=digest(told))
        before = known(now, replaced, before)
        replaced = receipt_of(now, "superseded", 0.0)
    assert needless(now, before)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (ended(1, "rejected"), True),
        (ended(1, "superseded"), True),
        (ended(1, "rejected", maybe=True), False),
        (ended(1, "expired"), True),
        (ended(1, "expired", maybe=True), False),
        (ended(1, "delivered"), False),
        (ended(7, "rejected"), False),
        (None, False),
    ],
)
def test_an_exit_whose_entry_was_surely_not_told_opens_nothing(entry: Receipt | None, expected: bool) -> None:
    assert expected == opens_nothing(call(2, False, "track", opens=1), entry)
    assert not opens_nothing(call(2, False, "track"), entry)
    assert not opens_nothing(call(2, False, opens=1), entry)


PHONE = Identifier("phone", "+431")


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({}, True),
        ({"identifier": ANA}, True),
        ({"identifier": ANA, "slot": 1}, True),
        ({"slot": 2}, False),
        ({"identifier": PHONE}, False),
        ({"profile_id": "p2"}, False),
        ({"ask": 5}, False),
        ({"ask": 4}, False),
    ],
)
def test_a_cancel_takes_back_what_was_asked_before_it_in_its_scope(scope: dict[str, Any], expected: bool) -> None:
    cancel = replace(Call("p1", "cancel", NOBODY, "", None, 0, 9), **scope)
    for kind in ("identify", "track", "add", "delete"):
        assert expected == takes_back(cancel, call(5, kind=kind))
    assert not takes_back(cancel, Call("p1", "cancel", NOBODY, "", None, 0, 3))
