"""What the fake Zendesk says, and what it takes: errors, users, rows of jobs, values of fields."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from sandbox.memory import Person
from sandbox.vendor import Answer

MAX_IDENTIFIER = 60  # characters, of the Events API
MAX_SOURCE = 40
OWN_ID = 900_000  # users' ids start here
STANDARD = ("name", "phone", "time_zone", "organization_id", "role", "tags", "notes", "details", "verified")
FIELD_TYPES = frozenset(
    ("text", "textarea", "checkbox", "date", "integer", "decimal", "regexp", "dropdown", "lookup", "multiselect")
)

Errors = dict[str, list[dict[str, str]]]


@dataclass(frozen=True)
class Plain(Answer):
    """An answer that is no JSON."""

    text: str = ""

    def body(self) -> bytes:
        return self.text.encode()


def row(position: int, done: tuple[Person, bool] | Errors) -> dict[str, Any]:
    """A row of `create_or_update_many`, as users show it in the forum: who failed has a position for an id, no name."""
    if isinstance(done, dict):
        return failed_row(position, done)
    person, created = done
    names = {name: person.identifiers.get(name) for name in ("email", "external_id")}
    return {"id": OWN_ID + person.number, "status": "Created" if created else "Updated", **names}


def update_row(position: int, done: Person | Errors) -> dict[str, Any]:
    """A row of `update_many`."""
    if isinstance(done, dict):
        return failed_row(position, done)
    return {"id": OWN_ID + done.number, "action": "update", "status": "Updated", "success": True}


def failed_row(position: int, wrong: Errors) -> dict[str, Any]:
    words = "; ".join(e["description"] for errors in wrong.values() for e in errors)
    return {"id": position, "error": "UserUpdateError", "details": words, "status": "Failed"}


def invalid(details: Errors) -> Answer:
    return Answer(422, {"error": "RecordInvalid", "description": "Record validation errors", "details": details})


def error(code: str, words: str) -> dict[str, str]:
    return {"description": words, "error": code}


def not_found() -> Answer:
    return Answer(404, {"error": "RecordNotFound", "description": "Not found"})


def event_error(status: int, words: str) -> Answer:
    return Answer(status, {"errors": [{"code": "InvalidRequest", "id": "0", "title": words}]})


def bad_event(event: dict[str, Any]) -> str | None:
    if not all(isinstance(event.get(key), str) and event[key] for key in ("source", "type")):
        return "event.source and event.type are required"
    if event["source"].lower() == "zendesk" or len(event["source"]) > MAX_SOURCE:
        return f"event.source: has at most {MAX_SOURCE} characters, and is not zendesk"
    return None if isinstance(event.get("properties"), dict) else "event.properties is required: an object"


def bad_profile(profile: dict[str, Any]) -> str | None:
    if not all(isinstance(profile.get(key), str) and profile[key] for key in ("source", "type")):
        return "profile.source and profile.type are required"
    items = profile.get("identifiers")
    if not isinstance(items, list) or not items:
        return "profile.identifiers is required: an array that is not empty"
    for item in items:
        if not all(isinstance(as_dict(item).get(key), str) for key in ("type", "value")):
            return "profile.identifiers: each needs a type and a value"
        if not 0 < len(item["value"]) <= MAX_IDENTIFIER:
            return f"profile.identifiers: a value has at most {MAX_IDENTIFIER} characters"
    return None


def shown(person: Person, fields: Iterable[str]) -> dict[str, Any]:
    """A user, with all the fields of the account."""
    values = person.values
    return {
        "id": OWN_ID + person.number,
        "email": person.identifiers.get("email"),
        "external_id": person.identifiers.get("external_id"),
        "active": True,
        **{key: values[key] for key in STANDARD if key in values},
        "user_fields": {key: values.get(key) for key in fields},
    }


def fits(kind: str, value: Any) -> bool:
    if value is None:
        return True
    match kind:
        case "checkbox":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "decimal":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "date":
            return isinstance(value, str) and _date(value)
        case "multiselect":
            return isinstance(value, list)
        case _:
            return isinstance(value, str | int | float)


def _date(value: str) -> bool:
    try:
        return bool(date.fromisoformat(value[:10]))
    except ValueError:
        return False


def lower(value: Any) -> str:
    return value.strip().lower() if isinstance(value, str) else ""


def as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
