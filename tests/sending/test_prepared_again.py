"""Preparing a key where the answer got lost: what was made nonetheless is found, and not taken for another's."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from schemas.calls import Call
from tests.sending.delivering import FAST, delivery_of, identify, webhook
from tests.sending.vendor_server import Answer, Seen, VendorServer
from transforms.destinations.contract import Preparation, Request, Target
from transforms.destinations.webhook import Webhook
from transforms.sending.pump import Pump


class Listed(Webhook):
    """Looks for its list, and makes it; a name that is taken is refused."""

    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        found = yield Request("GET", "https://lists.example/lists")
        if found.json():
            return None
        made = yield Request("POST", "https://lists.example/lists", json={"name": "vip"})
        return {} if made.ok and made.object else dict.fromkeys(targets, "the name is taken")


class Lists:
    """The vendor's lists. `lost`: what comes in place of the answer to the first request that makes one."""

    def __init__(self, lost: Answer | None, names: list[str], hidden: bool = False) -> None:
        self.lost, self.names, self.hidden = lost, names, hidden

    def __call__(self, seen: Seen) -> Answer:
        if seen.method == "GET":
            return Answer(json=[] if self.hidden else self.names)
        if not seen.target.endswith("/lists"):
            return Answer()
        if self.names:
            return Answer(409, {"message": "taken"})
        self.names.append(seen.json["name"])
        lost, self.lost = self.lost, None
        return lost or Answer(json={"id": 1})


def delivered(server: VendorServer, lists: Lists) -> Any:
    server.script = lists
    connected = webhook()
    options = replace(FAST, gateway=server.url)
    delivery = delivery_of([identify(n) for n in range(3)], connected, options, destination=Listed(*connected))
    return asyncio.run(Pump(delivery, {}).run())


LOST = (Answer(504), Answer(cut="reset"))  # a gateway gives it up, or the connection breaks off in the answer


@pytest.mark.parametrize("lost", LOST)
def test_a_list_whose_making_had_no_answer_is_found(server: VendorServer, lost: Answer) -> None:
    report = delivered(server, Lists(lost, []))
    assert (3, {}) == (report.delivered, report.blocked)


@pytest.mark.parametrize("lost", [None, *LOST])
def test_a_name_that_another_has_is_asked_for_again_only_after_that(server: VendorServer, lost: Answer | None) -> None:
    report = delivered(server, Lists(lost, [] if lost else ["vip"], hidden=True))
    assert (0, 3) == (report.delivered, report.pending)
    assert {"big_spenders": "the name is taken"} == report.blocked
    assert (2 if lost else 1) == sum(seen.method == "GET" for seen in server.seen)
