"""HubSpot's names, values and answers, as its API has them: what is only read and written, and decides nothing."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from schemas.canonical import canonical
from schemas.outcomes import Reason
from transforms.destinations.contract import Blocked, Identifier, Rejected, Reply, refused
from transforms.destinations.names import in_ascii
from transforms.destinations.reading import items, part, rows, word

API = "https://api.hubapi.com"
TOKEN = f"{API}/oauth/2026-03/token"
CONTACTS = f"{API}/crm/v3/objects/contacts"
COMPANIES = f"{API}/crm/v3/objects/companies"
ASSOCIATIONS = f"{API}/crm/v4/associations/contacts/companies/batch"
PROPERTIES = f"{API}/crm/v3/properties"
EVENTS = f"{API}/events/v3"

ADDRESSES = ("email", "hs_additional_emails")
# HubSpot's own names of traits that every contact has.
STANDARD = {"first_name": "firstname", "last_name": "lastname", "postal_code": "zip"}
CHOICES = [
    {"label": label, "value": label.lower(), "displayOrder": order, "hidden": False}
    for order, label in enumerate(("True", "False"), 1)
]
# How people fill a property in, by its type.
INPUTS = {"enumeration": "booleancheckbox", "number": "number", "string": "text"}
NAME = 100  # characters, of a property or event
# What HubSpot says of events and their properties that it does not have; there is no code for it.
UNDEFINED = re.compile(
    r"(event|propert).*(unknown|not exist|n't exist|DOESNT_EXIST|not found|fully qualified)|unknown (event|propert)",
    re.I | re.S,
)

Fields = dict[str, dict[str, Any]]  # definitions of properties by name


# -- names and values
def property_name(name: str) -> str:
    """Lower-case letters, digits and _, a letter first."""
    plain = in_ascii(name, NAME - 2, lower=True)
    return plain if plain[:1].isalpha() else f"p_{plain}"


def text(value: Any) -> str:
    """HubSpot takes every value as text; "" clears a property."""
    if value is None:
        return ""
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        return ";".join(text(item) for item in value)
    return value if isinstance(value, str) else canonical(value).decode()


def name_of(identifier: Identifier) -> str:
    return identifier.id.strip().lower() if identifier.type == "email" else identifier.id


def type_of(value: Any) -> dict[str, Any]:
    """The type of a property that takes such values."""
    if isinstance(value, bool):
        return {"type": "enumeration", "options": CHOICES}
    return {"type": "number" if isinstance(value, int | float) else "string"}


def field_of(name: str, key: str, value: Any, group: str = "contactinformation") -> dict[str, Any]:
    """The definition of a property that takes such values."""
    kind = type_of(value)
    return {"name": name, "label": key, "groupName": group, **kind, "fieldType": INPUTS[kind["type"]]}


def event_definition(label: str, name: str, fields: Fields) -> dict[str, Any]:
    return {
        "label": label,
        "name": name,
        "primaryObject": "CONTACT",
        "includeDefaultProperties": True,
        "propertyDefinitions": list(fields.values()),
    }


# -- replies
def errors_of(answer: Mapping[str, Any], bodies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | None]:
    """What is said against each contact of a request, by its trace id or its id."""
    found: dict[str, dict[str, Any]] = {}
    for error in rows(answer, "errors"):
        context = part(error, "context")
        names = [*items(context, "objectWriteTraceId"), *items(context, "ids")]
        found |= {str(name): error for name in names}
    return [found.get(body["objectWriteTraceId"]) or found.get(body.get("id", "")) for body in bodies]


def done_of(answer: Mapping[str, Any], bodies: Sequence[Mapping[str, Any]], errors: Sequence[object]) -> list[bool]:
    """Which contacts were written: those that a result names, and the rest if as many results name nobody.

    A result has the trace id, or the record id alone. One that is repeated counts once.
    """
    every = rows(answer, "results")
    results = {name for record in every if (name := word(record, "objectWriteTraceId") or word(record, "id"))}
    # The `id` beside an `idProperty` is no record id.
    names = [{body["objectWriteTraceId"], "" if "idProperty" in body else body.get("id", "")} for body in bodies]
    named = [not results.isdisjoint(own) for own in names]
    left = sum(not (known or error) for known, error in zip(named, errors, strict=True))
    all_done = len(results.difference(*names)) >= left
    return [known or all_done for known in named]


def reason(message: str) -> Reason:
    """Why values were refused, from the codes in HubSpot's message."""
    if "PROPERTY_DOESNT_EXIST" in message:
        return "unknown_field"
    return "invalid_identifier" if "INVALID_EMAIL" in message else "invalid_value"


def refusal(reply: Reply) -> Rejected:
    """The rejection of a whole request."""
    return refused(reply, reason(message_of(reply)) if reply.status == 400 else None, message_of(reply))


def missing_properties(message: str) -> list[str]:
    """The properties that do not exist."""
    return [problem.name for problem in problems(message) if problem.error == "PROPERTY_DOESNT_EXIST"]


def no_property(message: str, name: str) -> bool:
    """Whether HubSpot says that there is none of this name to find people by."""
    return bool(name) and bool(re.search(rf"\b{name}\b.*exist", message, re.I | re.S))


def problems(message: str) -> "list[Problem]":
    """What is wrong with which property: the message ends in a JSON list of that."""
    start, end = message.find("["), message.rfind("]")
    try:
        return msgspec.json.decode(message[start : end + 1], type=list[Problem])
    except (msgspec.DecodeError, UnicodeEncodeError):
        return []


class Problem(Struct):
    error: str = ""
    name: str = ""


def message_of(reply: Reply) -> str:
    return word(reply.object, "message") or reply.words()


def gone(what: str, words: str = "", lost: bool = False) -> Blocked:
    """The outcome of a call whose property or event is not there: it is made before this is believed."""
    return Blocked(f"HubSpot has no {what}{': ' if words else ''}{words}", prepare=True, lost=lost)


def by_name(reply: Reply) -> Fields:
    return {name: field for field in rows(reply.object, "results") if (name := word(field, "name"))}


def records_of(reply: Reply, names: Sequence[str]) -> dict[str, str]:
    """Record ids by the values of these properties; a contact may have several addresses."""
    found: dict[str, str] = {}
    for record in rows(reply.object, "results"):
        for name in names:
            own = word(part(record, "properties"), name)
            for value in own.lower().split(";") if name in ADDRESSES else [own]:
                if value.strip() and word(record, "id"):
                    found[value.strip()] = word(record, "id")
    return found
