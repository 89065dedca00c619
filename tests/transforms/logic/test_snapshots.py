"""A job that takes a state over ends with what was known last, in whatever order records of different keys come."""

from itertools import combinations

import pytest

from schemas.state import Entry, Known, ProfileState, encode_profile
from transforms.logic.snapshots import newer


def ada(value: int = 0, deleted: int | None = None) -> bytes:
    known = [Known("email", "ada@example.com", 10, 10)]
    return encode_profile(ProfileState(ids=known, values={1: (10, value)}, deleted=deleted))


def leaving(at: int) -> bytes:
    """Deleted, and vendors are still to be told."""
    forgotten = [Known("email", "ada@example.com", -1, -1)]
    return encode_profile(ProfileState(ids=forgotten, ledger={1: {0: Entry(told=True)}}, deleted=at))


def gone(at: int) -> bytes:
    return encode_profile(ProfileState(deleted=at))


def taken_over(*states: bytes) -> bytes:
    held = b""
    for state in states:
        held = newer(held, state)
    return held


def test_of_states_of_one_key_the_last_one_counts() -> None:
    assert ada(3) == taken_over(ada(1), ada(2), ada(3))
    assert ada(1) == taken_over(ada(3), ada(1))
    assert ada(7, deleted=20) == taken_over(ada(9, deleted=20), ada(7, deleted=20))


def test_nothing_is_no_state() -> None:
    assert (ada(), ada(), b"") == (newer(b"", ada()), newer(ada(), b""), newer(b"", b""))


# Each life of a person, as it was written; the tombstone of a deletion is a record of another key.
LIVES = [
    ([ada(1), leaving(20)], [gone(20)], gone(20)),
    ([ada(1), ada(2), leaving(20), ada(3, deleted=20)], [gone(20)], ada(3, deleted=20)),
    ([ada(1), ada(3, deleted=20), leaving(30)], [gone(20), gone(30)], gone(30)),
    ([ada(1), leaving(20)], [], leaving(20)),
]


@pytest.mark.parametrize(("own", "tombstones", "expected"), LIVES)
def test_a_deletion_counts_whatever_comes_first(own: list[bytes], tombstones: list[bytes], expected: bytes) -> None:
    number = len(own) + len(tombstones)
    for places in combinations(range(number), len(own)):
        first, second = iter(own), iter(tombstones)
        assert expected == taken_over(*(next(first if place in places else second) for place in range(number)))
