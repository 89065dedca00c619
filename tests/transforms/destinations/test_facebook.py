"""How long Facebook may not know an audience that it has just made."""

import msgspec

from schemas.calls import Call, Identifier
from schemas.outcomes import Blocked, Later, Outcome
from schemas.secret import Secret
from schemas.workspace import Computation, Connection, Workspace
from transforms.destinations.contract import Reply, target_of
from transforms.destinations.facebook_custom_audiences import FacebookCustomAudiences

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
