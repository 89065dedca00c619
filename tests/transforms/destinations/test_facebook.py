"""How long Facebook may not know an audience that it has just made; what the run says of it; what rows hold."""

from hashlib import sha256
from typing import Any

import msgspec
import pytest

from schemas.calls import Call, Identifier
from schemas.outcomes import Blocked, Delivered, Later, Outcome
from schemas.secret import Secret
from schemas.workspace import Computation, Connection, Workspace
from transforms.destinations.contract import Reply, target_of
from transforms.destinations.facebook_custom_audiences import FacebookCustomAudiences
from transforms.destinations.facebook_rows import US_STATES, row

SETTINGS = FacebookCustomAudiences.Settings(ad_account_id="act_7", access_token=Secret("${FB_TOKEN}"))
VIPS = (Computation("VIPs", "audience", "vips", "c1"),)
CALL = Call("p1", "add", Identifier("user_id", "u1"), "vips", True, 0, 1, computation="vips", sync="vips")
UNKNOWN = Reply(400, body=b'{"error":{"message":"Some of the aliases you requested do not exist","code":803}}')


def made() -> FacebookCustomAudiences:
    """A connection that has made its audience."""
    facebook = FacebookCustomAudiences(Workspace("shop", VIPS, ()), Connection("fb", "facebook", (), SETTINGS))
    preparation = facebook.prepare({target_of(CALL): CALL})
    next(preparation)
    preparation.send(Reply(200, body=b'{"data":[]}'))
    try:
        preparation.send(Reply(200, body=msgspec.json.encode({"id": "900"})))
    except StopIteration:
        return facebook
    raise AssertionError("two requests make an audience")


def upload(facebook: FacebookCustomAudiences, reply: Reply) -> Outcome:
    conversation = facebook.deliver([CALL])
    next(conversation)
    try:
        conversation.send(reply)
    except StopIteration as end:
        [outcome] = end.value
        return outcome
    raise AssertionError("an upload is one request")


def test_a_young_audience_is_waited_for_some_minutes_and_then_blocked_with_its_people() -> None:
    facebook = made()
    told = []
    while isinstance(outcome := upload(facebook, UNKNOWN), Later):
        told.append(outcome.after or 0.0)
    assert isinstance(outcome, Blocked)
    assert not outcome.prepare
    assert sorted(told) == told
    assert 60 <= sum(told) <= 600
    assert {"vips": "900"} == facebook.memory["audiences"], "another of its name would be a second audience"


def test_an_audience_that_was_seen_is_young_no_more() -> None:
    facebook = made()
    upload(facebook, Reply(200, body=b'{"num_received":1,"num_invalid_entries":0}'))
    outcome = upload(facebook, UNKNOWN)
    assert isinstance(outcome, Blocked)
    assert outcome.prepare


def test_rows_of_a_user_id_alone_are_counted_for_the_run_to_say() -> None:
    facebook = made()
    outcome = upload(facebook, Reply(200, body=b'{"num_received":1,"num_invalid_entries":0}'))
    assert Delivered(unconfirmed=True) == outcome
    assert [1] == list(facebook.notes.values())
    upload(facebook, Reply(200, body=b'{"num_received":1,"num_invalid_entries":0}'))
    [(words, number)] = facebook.notes.items()
    assert 2 == number
    assert "by a user id" in words


def test_an_answer_of_another_version_is_said_once() -> None:
    facebook = made()
    warned = {"x-ad-api-version-warning": "The call has been auto-upgraded to v28.0 as v27.0 has been deprecated"}
    for _ in range(2):
        upload(facebook, Reply(200, warned, b'{"num_received":1,"num_invalid_entries":0}'))
    said = [words for words in facebook.notes if "auto-upgraded to v28.0" in words]
    assert 1 == len(said)
    assert "api_version" in said[0]


def hashed(text: str) -> str:
    return sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("traits", "column", "clear"),
    [
        ({"state": "California"}, "ST", "ca"),
        ({"state": "CA", "country": "US"}, "ST", "ca"),
        ({"state": "Georgia", "country": "IT"}, "ST", "georgia"),
        ({"zip": "94035-1234", "country": "us"}, "ZIP", "94035"),
        ({"zip": 94035}, "ZIP", "94035"),
        ({"zip": "SW1A 1AA", "country": "UK"}, "ZIP", "sw1a1"),
        ({"zip": "100-0001", "country": "jp"}, "ZIP", "100-0001"),
        ({"country": "GB"}, "COUNTRY", "gb"),
        ({"country": "uk"}, "COUNTRY", "gb"),
        ({"last_name": "Müller-Lüdenscheidt"}, "LN", "müllerlüdenscheidt"),
        ({"first_name": "Mary  Ann."}, "FN", "mary ann"),
        ({"city": "Zürich"}, "CT", "zurich"),
        ({"date_of_birth": "1980-07-04"}, "DOBD", "04"),
        ({"gender": "M"}, "GEN", "m"),
    ],
)
def test_traits_are_normalised_as_meta_documents_them(traits: dict[str, Any], column: str, clear: str) -> None:
    call = msgspec.structs.replace(CALL, traits=traits)
    assert hashed(clear) == row(call)[column]


@pytest.mark.parametrize(
    "traits",
    [
        {"date_of_birth": "1880-07-04"},
        {"date_of_birth": "04.07.1980"},
        {"gender": "x"},
        {"country": "Germany"},
        {"city": ""},
        {"first_name": None},
        {"zip": True},
        {"state": ["ca"]},
    ],
)
def test_what_cannot_be_right_is_left_out(traits: dict[str, Any]) -> None:
    assert {"EXTERN_ID": "u1"} == row(msgspec.structs.replace(CALL, traits=traits))


def test_every_state_has_its_two_letters() -> None:
    assert 52 == len(US_STATES) == len(set(US_STATES.values()))


def test_a_late_word_about_the_list_that_was_lost_does_not_lose_the_one_that_was_made_since() -> None:
    facebook = made()
    upload(facebook, Reply(200, body=b'{"num_received":1,"num_invalid_entries":0}'))
    conversation = facebook.deliver([CALL])
    next(conversation)
    facebook.memory["audiences"]["vips"] = "910"  # made again while the request was under way
    try:
        conversation.send(UNKNOWN)
    except StopIteration as end:
        [outcome] = end.value
    assert isinstance(outcome, Blocked)
    assert outcome.prepare
    assert {"vips": "910"} == facebook.memory["audiences"]
