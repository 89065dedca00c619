"""What a HubSpot account has declared: contact properties and event definitions."""

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sandbox.vendors.hubspot_shapes import Item, Refusal, as_text, invalid

PORTAL = 4242
MAX_EVENT_PROPERTIES = 50
BUILT_IN = {
    *("address", "city", "company", "country", "createdate", "email", "firstname", "hs_additional_emails"),
    *("hs_object_id", "jobtitle", "lastmodifieddate", "lastname", "lifecyclestage", "mobilephone", "phone"),
    *("state", "website", "zip"),
}
OF_COMPANIES = {
    *("address", "city", "country", "createdate", "description", "domain", "hs_object_id", "industry", "name"),
    *("hs_lastmodifieddate", "lifecyclestage", "numberofemployees", "phone", "state", "website", "zip"),
}
TYPES = ("string", "number", "date", "datetime", "enumeration", "bool")


class Properties:
    """Properties of contacts or companies, and which values they take. Raises Refusal."""

    def __init__(self, refuses: Callable[[str], bool], built_in: set[str] = BUILT_IN) -> None:
        """`refuses(email)`: it is an invalid one."""
        self._refuses = refuses
        self.declared = {n: new_property({"name": n, "label": n, "type": "string"}) for n in sorted(built_in)}

    def declare(self, given: Item) -> Item:
        for key in ("name", "label", "groupName", "type", "fieldType"):
            if not isinstance(given.get(key), str) or not given[key]:
                raise Refusal(400, "VALIDATION_ERROR", f"{key} is required")
        if not re.fullmatch("[a-z][a-z0-9_]*", given["name"]):
            raise Refusal(400, "VALIDATION_ERROR", "a name has lower-case letters, digits and _, a letter first")
        if given["type"] not in TYPES:
            raise Refusal(400, "VALIDATION_ERROR", f"no such type: {given['type']}")
        if given["name"] in self.declared:
            raise Refusal(409, "OBJECT_ALREADY_EXISTS", f"A property named '{given['name']}' already exists.")
        self.declared[given["name"]] = made = new_property(given)
        return made

    def unique(self, name: str) -> bool:
        """Whether no two records have one value of it."""
        return name == "email" or bool(self.declared[name].get("hasUniqueValue"))

    def values(self, item: Item) -> dict[str, str]:
        """The property values of an input, as text, all of them valid."""
        given = item.get("properties")
        if not isinstance(given, dict):
            raise Refusal(400, "VALIDATION_ERROR", "properties must be an object")
        values = {name: as_text(value) for name, value in given.items()}
        if unknown := [name for name in values if name not in self.declared]:
            raise _not_valid(*(_no_such(name) for name in unknown))
        for name, value in values.items():
            self.check(name, value)
        return values

    def check(self, name: str, value: str) -> None:
        if name not in self.declared:
            raise _not_valid(_no_such(name))
        if name == "email" and (not re.fullmatch(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+", value) or self._refuses(value)):
            raise _not_valid(invalid(name, "INVALID_EMAIL", "has an invalid email address"))
        if value and not _fits(self.declared[name], value):
            raise _not_valid(invalid(name, "INVALID_VALUE", f"was not a valid {self.declared[name]['type']}"))


class Definitions:
    """Event definitions by fully qualified name. Raises Refusal."""

    def __init__(self) -> None:
        self.declared: dict[str, Item] = {}

    def find(self, name: str) -> Item:
        """The definition of this name: either of its two."""
        found = self.declared.get(name) or self.declared.get(f"pe{PORTAL}_{name}")
        if found is None:
            raise Refusal(404, "OBJECT_NOT_FOUND", f"No event definition named '{name}'")
        return found

    def declare(self, given: Item) -> Item:
        if not given.get("label") or not isinstance(given.get("propertyDefinitions"), list):
            raise Refusal(400, "VALIDATION_ERROR", "label and propertyDefinitions are required")
        name = given.get("name") or re.sub("[^a-z0-9]+", "_", given["label"].lower())
        full = f"pe{PORTAL}_{name}"
        if full in self.declared:
            raise Refusal(409, "OBJECT_ALREADY_EXISTS", f"An event named '{name}' already exists.")
        number = 1000 + len(self.declared)
        self.declared[full] = {
            "id": str(number),
            "name": name,
            "fullyQualifiedName": full,
            "objectTypeId": f"6-{number}",
            "labels": {"singular": given["label"]},
            "primaryObject": given.get("primaryObject", "CONTACT"),
            "properties": [new_property(p) for p in given["propertyDefinitions"]],
            "associations": [],
            "archived": False,
        }
        return self.declared[full]

    def declare_property(self, name: str, given: Item) -> Item:
        definition = self.find(name)
        if not given.get("label") or not given.get("type"):
            raise Refusal(400, "VALIDATION_ERROR", "label and type are required")
        made = new_property(given)
        if made["name"] in {p["name"] for p in definition["properties"]}:
            raise Refusal(409, "OBJECT_ALREADY_EXISTS", f"A property named '{made['name']}' already exists.")
        definition["properties"].append(made)
        return made

    def check(self, event: Item) -> None:
        """Whether an event is one that is defined, about somebody, with properties that are defined."""
        definition = self.declared.get(event.get("eventName", ""))
        if definition is None:
            raise Refusal(400, "VALIDATION_ERROR", "eventName must be the fully qualified name of a definition")
        if not any(event.get(key) for key in ("email", "utk", "objectId")):
            raise Refusal(400, "VALIDATION_ERROR", "One of email, utk or objectId is required")
        properties = event.get("properties")
        if not isinstance(properties, dict) or len(properties) > MAX_EVENT_PROPERTIES:
            raise Refusal(400, "VALIDATION_ERROR", f"properties must be an object of at most {MAX_EVENT_PROPERTIES}")
        if unknown := sorted(set(properties) - {p["name"] for p in definition["properties"]}):
            raise Refusal(400, "VALIDATION_ERROR", f"Unknown event properties: {', '.join(unknown)}")


def new_property(given: Item) -> Item:
    name = given.get("name") or re.sub("[^a-z0-9]+", "_", given["label"].lower())
    return {"groupName": "contactinformation", "fieldType": "text", "options": [], **given, "name": name}


def _no_such(name: str) -> Item:
    return invalid(name, "PROPERTY_DOESNT_EXIST", "does not exist")


def _not_valid(*problems: Item) -> Refusal:
    return Refusal(400, "VALIDATION_ERROR", f"Property values were not valid: {json.dumps(problems)}")


def _fits(declared: dict[str, Any], value: str) -> bool:
    try:
        match declared["type"]:
            case "number":
                float(value)
            case "enumeration":
                allowed = {option["value"] for option in declared["options"]}
                return set(value.split(";")) <= allowed
            case "bool":
                return value in ("true", "false")
            case "date" | "datetime" if not value.isdigit():
                datetime.fromisoformat(value)
    except ValueError:
        return False
    return True
