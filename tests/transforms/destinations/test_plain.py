"""Plain destinations: what they share and no vendor's transcripts show by themselves."""

from typing import Any

import pytest

from schemas.secret import Secret
from schemas.workspace import Connection, Workspace
from transforms.destinations.contract import Delivered, Reply
from transforms.destinations.heap import Heap
from transforms.destinations.plain import flat, text
from transforms.destinations.totango import Totango
from transforms.destinations.zapier import Zapier


@pytest.mark.parametrize(
    ("value", "as_text", "as_flat"),
    [
        ("é", "é", "é"),
        (7, "7", 7),
        (4.5, "4.5", 4.5),
        (True, "true", "true"),
        (None, "", ""),
        (["a", 1], '["a",1]', '["a",1]'),
        ({"a": None}, '{"a":null}', '{"a":null}'),
    ],
)
def test_values_for_vendors_that_take_texts_or_numbers(value: Any, as_text: str, as_flat: Any) -> None:
    assert (as_text, as_flat, type(as_flat)) == (text(value), flat(value), type(flat(value)))


@pytest.mark.parametrize(("kind", "settings"), [
    (Heap, Heap.Settings(app_id="7")), (Totango, Totango.Settings(service_id=Secret("${KEY}"))),
])  # fmt: skip
def test_a_good_answer_confirms_where_the_vendor_looks_at_what_it_is_sent(kind: Any, settings: Any) -> None:
    destination = kind(Workspace("shop", (), ()), Connection("one", kind.slug, (), settings))
    assert Delivered(unconfirmed=kind is Totango) == destination.read(Reply(200), [])


def test_a_vendor_without_identifiers_of_its_own_understands_every_type() -> None:
    assert ("*",) == Zapier.identifiers
