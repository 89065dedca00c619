"""What Zendesk's transcripts cannot say: rows of jobs in any order, questions of any length, settings."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.destinations.transcripts import secret
from transforms.destinations.zendesk import Zendesk
from transforms.destinations.zendesk_users import MOST, QUERY, User, by_email, by_user, portions

USERS = [
    User("external_id", "U1", email="a@x.io"),
    User("email", "a@x.io"),
    User("external_id", "U2"),
    User("email", "b@x.io"),
    User("external_id", "u3", known={"id": 2, "external_id": "U3", "email": "c@x.io"}),
    User("external_id", "u4", email="d@x.io", known={"id": 9, "email": "d@x.io"}),
]


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """One of some users each, in any order; each names its user in some way, or not at all. `of`: whose it is."""
    made: list[dict[str, Any]] = []
    for n, user in enumerate(USERS):
        names = {user.kind: user.value.lower(), **({"email": user.email} if user.email else {})}
        said = draw(st.sets(st.sampled_from(sorted(names))))
        id_ = {"id": user.known["id"]} if user.known and draw(st.booleans()) else {"id": 100 + n}
        made.append({"of": n, **{name: names[name] for name in said}, **id_})
    return draw(st.permutations(made))[: draw(st.integers(0, len(made)))]


@given(rows())
def test_no_row_is_laid_on_somebody_else(told: list[dict[str, Any]]) -> None:
    found = by_user(told, USERS)
    assert list(found) == [row["of"] for row in found.values()]


def test_a_row_is_known_by_any_name_that_only_one_user_has() -> None:
    told = [
        {"email": "A@x.io", "external_id": "u1"},
        {"email": "a@x.io"},  # of two
        {"email": "B@X.io"},
        {"id": 2, "status": "Updated"},
        {"external_id": "u2", "email": "b@x.io"},  # of both
        {"id": 1, "error": "UserUpdateError"},
    ]
    assert {0: told[0], 3: told[2], 4: told[3]} == by_user(told, USERS)


@given(st.lists(st.text(min_size=1, max_size=300), unique=True))
def test_all_are_asked_for_and_no_question_is_too_long(texts: list[str]) -> None:
    found = list(portions(texts, 15))
    assert texts == [text for portion in found for text in portion]
    assert all(len(portion) <= MOST for portion in found)
    assert all(len(by_email(*portion)) <= QUERY + 100 for portion in found if len(portion) > 1)


CLIENT = {"client_id": "c", "client_secret": "${KEY}"}
TOKEN = {"email": "a@b.co", "api_token": "${KEY}"}


@pytest.mark.parametrize("given_", [CLIENT, TOKEN, {"oauth_token": "${KEY}"}, {**CLIENT, "event_source": "s" * 40}])
def test_one_way_in_is_enough(given_: dict[str, Any]) -> None:
    assert msgspec.convert({"subdomain": "acme", **given_}, Zendesk.Settings, dec_hook=secret)


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({}, "expected one of: client_id and client_secret"),
        ({"client_id": "c"}, "expected one of"),
        ({"api_token": "${KEY}"}, "expected one of"),
        ({**CLIENT, **TOKEN}, "expected one of"),
        ({**CLIENT, "event_source": "s" * 41}, "length <= 40"),
        ({**CLIENT, "event_source": "Zendesk"}, "keeps 'zendesk' for itself"),
    ],
)
def test_settings_that_zendesk_would_refuse(given_: dict[str, Any], words: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert({"subdomain": "acme", **given_}, Zendesk.Settings, dec_hook=secret)
