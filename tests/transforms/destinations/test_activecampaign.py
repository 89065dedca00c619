"""ActiveCampaign: what several keys need at once."""

from schemas.calls import Call, Identifier
from schemas.secret import Secret
from schemas.workspace import Connection, Workspace
from transforms.destinations.activecampaign import ActiveCampaign
from transforms.destinations.contract import Reply, Target, target_of
from transforms.destinations.transcripts import COMPUTATIONS, syncs


def call(kind: str, key: str) -> Call:
    return Call("ana", kind, Identifier("email", "a@b.co"), key, True, 0, 1, computation=key, sync=key)  # type: ignore[arg-type]


def prepared(calls: list[Call], *replies: Reply) -> tuple[ActiveCampaign, dict[Target, str]]:
    settings = ActiveCampaign.Settings(host="acme.api-us1.com", api_key=Secret("${KEY}"))
    connection = Connection("ac", "activecampaign", syncs(ActiveCampaign), settings)
    destination = ActiveCampaign(Workspace("shop", COMPUTATIONS, (connection,)), connection)
    talk = destination.prepare({target_of(each): each for each in calls})
    try:
        next(talk)
        for reply in replies:
            talk.send(reply)
    except StopIteration as done:
        return destination, dict(done.value)
    raise AssertionError("more is asked than there are replies")


def test_a_name_that_cannot_be_made_holds_every_key_that_uses_it() -> None:
    calls = [call("track", "big_spenders"), call("track", "total_revenue"), call("track", "first_time_shopper")]
    known = Reply(200, body=b'{"eventTrackingEvents":[{"name":"Trait Computed"},{"name":"Audience Exited"}]}')
    _, refused = prepared(calls, known, Reply(422, body=b"too many"))
    words = "ActiveCampaign has no event 'Audience Entered': too many"
    assert {("track", "big_spenders"): words, ("track", "first_time_shopper"): words} == refused


def test_fields_that_are_made_are_said() -> None:
    made = Reply(201, body=b'{"field":{"id":"7"}}')
    destination, refused = prepared([call("identify", "big_spenders")], Reply(200), made, Reply(201))
    assert ({}, {("identify", "big_spenders")}) == (refused, destination.made)
    assert {"fields": {"big_spenders": "7"}} == destination.memory
