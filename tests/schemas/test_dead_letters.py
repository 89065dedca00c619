"""Masked dead letters: nothing of the person is in them, in whatever spelling a vendor repeats it."""

from typing import Any

import pytest

from schemas.dead_letters import DeadLetter, mask, without


@pytest.mark.parametrize(
    ("personal", "words", "expected"),
    [
        ("Ada@Example.com", "ada@example.com is none", "*** is none"),
        ("ada@example.com", "no ada%40example.com here", "no *** here"),
        (4711, "4711 is more than 47110", "*** is more than 47110"),
        ({"tags": ["vegan"], "income": 93000}, "tags vegan; income 93000", "tags ***; income ***"),
        ("Al", "Al has no Album", "*** has no Album"),
        (None, "true, null and 12 of them", "true, null and 12 of them"),
        (True, "must be true", "must be true"),
        ("", "bob.lee+x@example.co.uk or +1 (415) 555-0100", "*** or ***"),
    ],
)
def test_words_are_kept_without_the_person(personal: Any, words: str, expected: str) -> None:
    assert expected == without(words, personal)


def test_a_masked_letter_of_a_call_shows_neither_value_nor_traits() -> None:
    call = {"profile_id": "p", "identifier": ["email", "ada@x.com"], "value": 4711, "traits": {"city": "Oslo"}}
    letter = DeadLetter(step="Deliver", reason="refused", payload=call, answer="ADA@X.com in oslo has 4711")
    masked = mask(letter)
    assert "*** in *** has ***" == masked.answer
    assert ("***", {"city": "***"}) == (masked.payload["value"], masked.payload["traits"])
