"""Marketo: fields of leads, their types and values, and the one type of activity."""

from collections.abc import Sequence
from typing import Any

from transforms.destinations.contract import Rejected
from transforms.destinations.marketo_account import NAMES
from transforms.destinations.plain import text

# Traits that are fields of every lead; any other is a custom field.
STANDARD = {
    "first_name": "firstName", "last_name": "lastName", "phone": "phone", "title": "title", "address": "address",
    "city": "city", "state": "state", "postal_code": "postalCode", "country": "country", "company": "company",
    "website": "website",
}  # fmt: skip
# Names that no field of ours may take.
TAKEN = {name.lower() for name in (*STANDARD.values(), *NAMES.values())} | {
    "id", "cookies", "createdat", "updatedat", "leadscore", "leadsource", "rating", "priority", "urgency", "industry",
    "unsubscribed", "emailinvalid", "donotcall", "dateofbirth", "mobilephone", "department", "salutation",
}  # fmt: skip
NUMBERS = {"float", "currency", "percent", "integer", "score"}

# An instance has room for ten types of custom activities: there is one, and the computation's key is its main value.
ACTIVITY = {
    "apiName": "profilecastEvent",
    "name": "Profilecast Event",
    "triggerName": "Has Profilecast Event",
    "filterName": "Had Profilecast Event",
    "primaryAttribute": {"apiName": "computation", "name": "Computation"},
}
ATTRIBUTES = [
    {"apiName": "event", "name": "Event", "dataType": "string"},
    {"apiName": "value", "name": "Value", "dataType": "string"},
    {"apiName": "properties", "name": "Properties", "dataType": "text"},
]


def misfit(value: Any, field: Sequence[Any]) -> Rejected | None:
    """Why a field does not take a value."""
    name, kind, most = field
    if kind == "boolean" and not isinstance(value, bool | None):
        return Rejected("invalid_value", f"Marketo's field {name!r} takes true and false only")
    if kind in NUMBERS and value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        return Rejected("invalid_value", f"Marketo's field {name!r} takes numbers only")
    if kind in ("integer", "score") and isinstance(value, float) and not value.is_integer():
        return Rejected("invalid_value", f"Marketo's field {name!r} takes whole numbers only")
    if kind not in ("boolean", *NUMBERS) and most and len(text(value)) > most:
        return Rejected("too_large", f"Marketo's field {name!r} has room for {most} characters")
    return None


def fitted(value: Any, kind: str) -> Any:
    """As a field of this type takes it; nothing empties it."""
    if value is None or kind == "boolean":
        return value
    if kind in ("integer", "score"):
        return int(value)
    if kind in NUMBERS:
        return value
    return text(value)[:10] if kind == "date" else text(value)
