"""What vendors know, in a form that can be compared: without the numbers, order, times and repeats of their own."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from msgspec import json

_NUMBERED = ("activecampaign",)  # shows fields by numbers, which they get as they are made
_PARTS = ("name", "identifiers", "properties")  # of an event
_BY_THE_WAY: Mapping[str, Collection[str]] = {  # what vendors add of their own
    "hubspot": ("createdate", "lastmodifieddate", "hs_object_id"),
    "amazon-s3": ("object",),
    "zendesk": ("id",),
    "intercom": ("id",),
}


class State(NamedTuple):
    """Of one or more accounts at a vendor."""

    people: set[bytes]  # each with identifiers and values
    events: set[bytes]
    lists: dict[str, set[bytes]]  # members by name; of those that have any
    companies: set[bytes]  # as people


def state(accounts: Iterable[Mapping[str, Any]], leaving_out: Collection[str] = ()) -> State:
    """Of what `told` of the sandbox gives; `leaving_out` these values."""
    found = State(set(), set(), {}, set())
    for account in accounts:
        slug = account["destination"]
        dropped = {*_BY_THE_WAY.get(slug, ()), *leaving_out}
        for name, those in (("people", found.people), ("companies", found.companies)):
            for each in account.get(name, ()):
                values = sorted(each["values"].values()) if slug in _NUMBERED else each["values"]
                those.add(_shown(dropped, each["identifiers"], values))
        found.events.update(_shown(dropped, *(each[part] for part in _PARTS)) for each in account["events"])
        for each in account.get("lists", ()):
            if each["members"]:
                found.lists.setdefault(each["name"], set()).update(_shown(dropped, one) for one in each["members"])
    return found


def _shown(dropped: Collection[str], *parts: Any) -> bytes:
    kept = [{k: v for k, v in e.items() if k not in dropped} if isinstance(e, dict) else e for e in parts]
    return json.encode(kept, order="deterministic")
