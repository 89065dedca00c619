"""Salesforce: what records, queries and errors look like."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from transforms.destinations.contract import Reason, Rejected, Reply
from transforms.destinations.plain import text
from transforms.destinations.reading import items, rows, word

Record = dict[str, Any]

LONGEST_QUERY = 8_000  # characters of addresses in a URL: 16,384 bytes are taken of all of it (unsure)

# Traits that are fields of every lead, contact and account; any other is a custom field.
STANDARD: Mapping[str, Mapping[str, str]] = {
    "Lead": {
        "email": "Email", "first_name": "FirstName", "last_name": "LastName", "company": "Company", "phone": "Phone",
        "title": "Title", "street": "Street", "city": "City", "state": "State", "postal_code": "PostalCode",
        "country": "Country", "website": "Website", "industry": "Industry",
    },
    "Contact": {
        "email": "Email", "first_name": "FirstName", "last_name": "LastName", "phone": "Phone", "title": "Title",
        "street": "MailingStreet", "city": "MailingCity", "state": "MailingState", "postal_code": "MailingPostalCode",
        "country": "MailingCountry",
    },
    "Account": {
        "name": "Name", "phone": "Phone", "website": "Website", "industry": "Industry", "description": "Description",
        "employees": "NumberOfEmployees", "street": "BillingStreet", "city": "BillingCity", "state": "BillingState",
        "postal_code": "BillingPostalCode", "country": "BillingCountry",
    },
}  # fmt: skip
# What a new record must have, where nothing is known of it.
FILLED = {"Lead": {"LastName": "n/a", "Company": "n/a"}, "Contact": {"LastName": "n/a"}}

REASONS: dict[str, Reason] = {
    "INVALID_EMAIL_ADDRESS": "invalid_identifier", "STRING_TOO_LONG": "too_large",
    "DUPLICATES_DETECTED": "conflict", "DUPLICATE_VALUE": "conflict", "DUPLICATE_EXTERNAL_ID": "conflict",
    "CANNOT_UPDATE_CONVERTED_LEAD": "conflict", "REQUIRED_FIELD_MISSING": "missing_required_key",
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": "invalid_value", "INVALID_TYPE_ON_FIELD_IN_RECORD": "invalid_value",
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": "invalid_value", "JSON_PARSER_ERROR": "invalid_value",
    "NUMBER_OUTSIDE_VALID_RANGE": "invalid_value", "INSUFFICIENT_ACCESS_OR_READONLY": "forbidden",
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": "forbidden",
}  # fmt: skip
NO_FIELD = {"INVALID_FIELD", "INVALID_FIELD_FOR_INSERT_UPDATE"}
LOCKED = ("UNABLE_TO_LOCK_ROW", "Too many SOQL queries")  # also inside the words of a trigger's error
GONE = {"ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY"}  # deleted since it was looked up


def fitted(value: Any) -> Any:
    """Booleans, numbers and texts as they are; nothing empties a field; what has parts is told as text."""
    return value if value is None or isinstance(value, bool | int | float) else text(value)


def first_error(reply: Reply) -> Record:
    """Errors come as a list."""
    return next(iter(rows({"errors": reply.json()}, "errors")), {})


def record(kind: str, fields: Record) -> Record:
    return {"attributes": {"type": kind}, **fields}


def one(kind: str, found: list[Record]) -> tuple[str, str] | Rejected:
    """Which record is meant, by kind and id: a lead that is open, before the contact that one became."""
    leads = [each for each in found if each.get("IsConverted") is not True] or found
    if len(leads) > 1:
        return Rejected("conflict", f"{len(leads)} records have this address: which is meant cannot be told")
    contact = word(leads[0], "ConvertedContactId")
    return ("Contact", contact) if leads[0].get("IsConverted") is True and contact else (kind, word(leads[0], "Id"))


def lacks(told: Any, filled: Mapping[str, str]) -> bool:
    """Whether a record was refused only because it is new, and lacks what can be filled in."""
    errors = rows(told, "errors")
    missing = {str(field) for error in errors for field in items(error, "fields")}
    return (
        bool(errors) and {word(e, "statusCode") for e in errors} == {"REQUIRED_FIELD_MISSING"} and missing <= {*filled}
    )


def portions(addresses: list[str]) -> list[list[str]]:
    """Portions that fit into a URL."""
    found: list[list[str]] = [[]]
    size = 0
    for each in addresses:
        size += len(quote(escaped(each))) + 9
        if size > LONGEST_QUERY:
            found.append([])
            size = 0
        found[-1].append(each)
    return found


def escaped(value: str) -> str:
    """In a literal of SOQL."""
    return value.replace("\\", "\\\\").replace("'", "\\'")
