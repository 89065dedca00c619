"""HubSpot's answers to a batch: of many shapes, and for many people, more than transcripts should tell."""

from random import Random
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.calls import Call, Identifier
from schemas.outcomes import Delivered, Later, Outcome, Rejected
from schemas.secret import Secret
from schemas.workspace import Connection, Workspace
from transforms.destinations.contract import Reply, Request
from transforms.destinations.hubspot import HubSpot

Fate = Literal["result", "error", "silence"]

SETTINGS = HubSpot.Settings(access_token=Secret("${HUBSPOT_TOKEN}"), upsert=True)
OUTCOMES: dict[Fate, type[Outcome]] = {"result": Delivered, "error": Rejected, "silence": Later}


def upsert(fates: list[Fate], traced: bool, chance: Random) -> list[Outcome]:
    """What becomes of contacts with these fates; the answer is in disorder, and repeats itself."""
    hubspot = HubSpot(Workspace("acme-shop", (), ()), Connection("hubspot", "hubspot", (), SETTINGS))
    people = [Identifier("email", f"person-{n}@example.com") for n in range(len(fates))]
    calls = [Call(f"p{n}", "identify", person, "vip", True, 0, n + 1) for n, person in enumerate(people)]
    conversation = hubspot.deliver(calls)
    inputs = next(conversation).json["inputs"]
    lists: dict[str, list[dict[str, Any]]] = {"results": [], "errors": []}
    for n, fate in enumerate(fates):
        trace = inputs[n]["objectWriteTraceId"]
        if fate == "result":
            lists["results"].append({"id": str(100 + n), **({"objectWriteTraceId": trace} if traced else {})})
        if fate == "error":
            error = {"category": "VALIDATION_ERROR", "message": "no", "context": {"objectWriteTraceId": [trace]}}
            lists["errors"].append(error)
    for found in lists.values():
        found += chance.choices(found, k=chance.randrange(4)) if found else []
        chance.shuffle(found)
    try:
        conversation.send(Reply(207, body=msgspec.json.encode(lists)))
    except StopIteration as end:
        outcomes: list[Outcome] = end.value
        return outcomes
    raise AssertionError("an upsert is one request")


fates = st.lists(st.sampled_from(list(OUTCOMES)), min_size=1, max_size=8)


@given(fates, st.randoms(use_true_random=False))
def test_results_with_traces_are_of_the_contacts_that_they_name(fates: list[Fate], chance: Random) -> None:
    assert [OUTCOMES[fate] for fate in fates] == [type(each) for each in upsert(fates, True, chance)]


@given(fates, st.randoms(use_true_random=False))
def test_results_without_traces_are_those_of_all_or_nobody_knows_whose(fates: list[Fate], chance: Random) -> None:
    written = Later if "silence" in fates else Delivered
    expected = [Rejected if fate == "error" else written for fate in fates]
    assert expected == [type(each) for each in upsert(fates, False, chance)]


# -- second addresses
class Merged:
    """Contact 100 has some second addresses, which reading by `email` does not find; it may show them."""

    def __init__(self, seconds: set[str], shows: bool) -> None:
        self.seconds, self.shows = seconds, shows
        self.created: list[str] = []
        self.updated: list[str] = []

    def answer(self, request: Request) -> Reply:
        verb, inputs = request.url.rpartition("/")[2], request.json["inputs"]
        if verb == "read":
            found = self.shows and [{"id": "100"}] == inputs
            known = {"email": "new@example.com", "hs_additional_emails": ";".join(sorted(self.seconds))}
            return _reply(200, {"results": [{"id": "100", "properties": known}] if found else []})
        if verb == "create":
            addresses = [each["properties"]["email"] for each in inputs]
            if self.seconds.intersection(addresses):
                words = "Contact already exists. Existing ID: 100"
                return _reply(409, {"status": "error", "category": "CONFLICT", "message": words})
            self.created += addresses
        else:
            self.updated += [each["id"] for each in inputs]
        results = [{"id": "1", "objectWriteTraceId": each["objectWriteTraceId"]} for each in inputs]
        return _reply(201, {"results": results})


def _reply(status: int, body: dict[str, Any]) -> Reply:
    return Reply(status, body=msgspec.json.encode(body))


@pytest.mark.parametrize(("seconds", "shows", "most"), [(1, True, 5), (2, True, 5), (1, False, 16), (2, False, 24)])
def test_second_addresses_cost_few_requests_and_reject_nobody(seconds: int, shows: bool, most: int) -> None:
    settings = HubSpot.Settings(access_token=Secret("${HUBSPOT_TOKEN}"))
    hubspot = HubSpot(Workspace("acme-shop", (), ()), Connection("hubspot", "hubspot", (), settings))
    people = [f"person-{n}@example.com" for n in range(60)]
    calls = [Call(f"p{n}", "identify", Identifier("email", one), "vip", True, 0, n + 1) for n, one in enumerate(people)]
    vendor = Merged(set(people[17 : 17 + seconds]), shows)
    conversation = hubspot.deliver(calls)
    requests, request = 1, next(conversation)
    while True:
        reply = vendor.answer(request)
        assert "answered" == hubspot.classify(request, reply, len(calls)).meaning
        try:
            request = conversation.send(reply)
        except StopIteration as end:
            outcomes = end.value
            break
        requests += 1
    assert [Delivered()] * 60 == outcomes
    assert sorted(set(people) - vendor.seconds) == sorted(vendor.created)
    assert ["100"] == vendor.updated
    assert requests <= most
