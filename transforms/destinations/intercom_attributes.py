"""Intercom's custom attributes, of contacts or of companies: found, or made. A name is one of the two's, not both's."""

from collections.abc import Callable, Generator, Mapping
from typing import Any, Literal

from transforms.destinations.contract import Reply, Request, Target
from transforms.destinations.intercom_contacts import error_of, kind_of
from transforms.destinations.reading import rows, word

Model = Literal["contact", "company"]
OTHERS: Mapping[Model, str] = {"contact": "company data", "company": "people data"}  # as Intercom's words have it

Ask = Callable[..., Request]  # method, path, json, params


def make(
    ask: Ask, model: Model, wanted: Mapping[Target, Mapping[str, Any]], known: dict[str, str]
) -> Generator[Request, Reply, dict[Target, str]]:
    """Find the attributes, and make those that are missing; their types go to `known`.

    `wanted`: of each target, the names of attributes with samples of values. The targets that lack one, and why.
    """
    if all(name in known for told in wanted.values() for name in told):
        return {}
    reply = yield ask("GET", "/data_attributes", params={"model": model})
    if not reply.ok or "data" not in reply.object:
        return dict.fromkeys(wanted, f"Intercom does not show its attributes: {reply.words()}")
    known |= {word(each, "name"): word(each, "data_type") for each in rows(reply.object, "data")}
    refusals: dict[Target, str] = {}
    for target, told in wanted.items():
        for name, value in told.items():
            if name in known:
                continue
            body = {"name": name, "model": model, "data_type": kind_of(value)}
            reply = yield ask("POST", "/data_attributes", json=body)
            words = word(error_of(reply), "message")
            if reply.ok or ("already have" in words and OTHERS[model] not in words):
                known[name] = kind_of(value)
            elif "already have" in words:
                refusals[target] = f"the attribute {name!r} is taken at Intercom, give the sync a `send_as`: {words}"
            else:
                refusals[target] = f"Intercom does not make the attribute {name!r}: {words or reply.words()}"
    return refusals
