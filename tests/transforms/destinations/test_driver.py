"""The driver plays fair: what a transcript does not say fails, and credentials are renewed once."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from schemas.calls import Call
from transforms.destinations.auth import Auth, Session, SigningIn
from transforms.destinations.contract import (
    Batch,
    Conversation,
    Delivered,
    Destination,
    Preparation,
    Request,
    Target,
    all_of,
)
from transforms.destinations.transcripts import Case, connect, play


class AcmeToken(Auth):
    signs_in = True

    def sign_in(self, settings: Any, kept: str, now: float) -> SigningIn:
        reply = yield Request("POST", "https://acme.example/token")
        return Session(reply.json())

    def headers(self, request: Request, settings: Any, session: Session, now: float) -> Mapping[str, str]:
        return {"Authorization": session.token}


class Acme(Destination):
    slug = "acme"
    name = "Acme"
    forms = ("identify", "track")
    identifiers = ("email",)
    limits = ()
    batch = Batch(2)

    class Settings(msgspec.Struct):
        pass

    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        reply = yield Request("GET", "https://acme.example/list")
        self.memory["list"] = reply.json()
        return None

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        yield Request("POST", "https://acme.example/people", json=[call.identifier.id for call in calls])
        return all_of(calls, Delivered())


class SignedAcme(Acme):
    auth = AcmeToken()


JSON = dict[str, Any]

LIST: JSON = {"method": "GET", "url": "https://acme.example/list"}
TOKEN: JSON = {"method": "POST", "url": "https://acme.example/token"}
PEOPLE: JSON = {"method": "POST", "url": "https://acme.example/people", "headers": {"authorization": ""}}
ANA: JSON = {"kind": "identify", "identifier": ["email", "ana@example.com"], "key": "big_spenders", "value": True}


def case(*talk: tuple[JSON, JSON], calls: int = 1, prepare: bool = False) -> Case:
    told = [{"send": send, "reply": reply} for send, reply in talk]
    people = {f"ana{n}": {**ANA, "identifier": ["email", f"ana{n}@example.com"]} for n in range(calls)}
    facts = {"case": "", "covers": "other", "calls": people, "talk": told, "expect": {}, "prepare": prepare}
    return msgspec.convert(facts, Case)


def test_preparation_comes_first_and_its_finds_are_kept() -> None:
    told = case((LIST, {"status": 200, "json": 7}), (PEOPLE, {"status": 200}), prepare=True)
    played = play(connect(Acme, told), told)
    assert ["GET", "POST"] == [sent.method for sent in played.sent]
    assert {"list": 7} == played.memory
    assert {"ana0": "delivered"} == played.outcomes


def test_refused_credentials_are_renewed_and_the_request_is_repeated() -> None:
    old, new = ((TOKEN, {"status": 200, "json": word}) for word in ("old", "new"))
    told = case(old, (PEOPLE, {"status": 401}), new, (PEOPLE, {"status": 200}))
    played = play(connect(SignedAcme, told), told)
    assert ["old", "new"] == [sent.headers["authorization"] for sent in played.sent if sent.headers]
    assert {"ana0": "delivered"} == played.outcomes


@pytest.mark.parametrize("second", [PEOPLE, TOKEN])
def test_second_refusal_stops(second: JSON) -> None:
    token = (TOKEN, {"status": 200, "json": "new"})
    renewal = [] if second is TOKEN else [token]
    told = case(token, (PEOPLE, {"status": 401}), *renewal, (second, {"status": 401}))
    assert {"ana0": "stopped"} == play(connect(SignedAcme, told), told).outcomes


def test_bad_batch_is_halved_by_the_sender() -> None:
    told = case((PEOPLE, {"status": 400}), calls=2)
    assert {"ana0": "halved", "ana1": "halved"} == play(connect(Acme, told), told).outcomes


def test_request_that_the_transcript_does_not_have_fails() -> None:
    with pytest.raises(AssertionError, match="no such request: POST"):
        play(connect(Acme, case()), case())


def test_calls_that_no_request_takes_fail() -> None:
    told = case((PEOPLE, {"status": 200}), calls=3)
    with pytest.raises(AssertionError, match="3 units, but one request takes 2"):
        play(connect(Acme, told), told)
