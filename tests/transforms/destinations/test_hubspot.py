"""HubSpot's answers to a batch: of many shapes, more than transcripts should tell."""

from random import Random
from typing import Any, Literal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from schemas.calls import Call, Identifier
from schemas.outcomes import Delivered, Later, Outcome, Rejected
from schemas.secret import Secret
from schemas.workspace import Connection, Workspace
from transforms.destinations.contract import Reply
from transforms.destinations.hubspot import HubSpot

Fate = Literal["result", "error", "silence"]

SETTINGS = HubSpot.Settings(access_token=Secret("${HUBSPOT_TOKEN}"), upsert=True)
OUTCOMES: dict[Fate, type[Outcome]] = {"result": Delivered, "error": Rejected, "silence": Later}


def upsert(fates: list[Fate], traced: bool, chance: Random) -> list[Outcome]:
    """What becomes of contacts with these fates; the answer is in disorder, and repeats itself."""
    hubspot = HubSpot(Workspace("acme-shop", (), ()), Connection("hubspot", "hubspot", (), SETTINGS))
    people = [Identifier("email", f"person-{n}@example.com") for n in range(len(fates))]
    calls = [Call(f"p{n}", "identify", person, "vip", True, 0, n + 1) for n, person in enumerate(people)]
    conversation = hubspot.deliver(calls, {})
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
