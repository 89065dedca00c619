"""Zendesk's organizations and their fields. https://developer.zendesk.com/api-reference/ticketing/organizations/

An organization is found by its id or its external id, without regard to case, and never by its name; of a name there
is one organization. Values of fields that are not there are dropped without a word.
"""

import re
from collections.abc import Callable
from typing import Any

from sandbox.memory import People, Person
from sandbox.vendor import Answer, Request, Vendor, on
from sandbox.vendors.zendesk_shapes import FIELD_TYPES, Errors, as_dict, error, fits, invalid, lower, not_found

FIRST = 57_000  # ids start here
STANDARD = ("name", "details", "notes", "tags", "domain_names", "shared_tickets", "shared_comments")


class Organizations(Vendor):
    """The part of Zendesk that has organizations."""

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._organizations = People()
        self._columns: dict[str, dict[str, Any]] = {}

    def told(self, identifier: str | None, at: float) -> dict[str, Any]:
        found = [each.shown() for each in self._organizations.having(identifier)]
        return {**super().told(identifier, at), "companies": found}

    # -- fields
    @on("GET", "/api/v2/organization_fields")
    def organization_fields(self, request: Request) -> Answer:
        found = list(self._columns.values())
        return Answer(200, {"organization_fields": found, "count": len(found), "meta": {"has_more": False}})

    @on("POST", "/api/v2/organization_fields")
    def create_organization_field(self, request: Request) -> Answer:
        given = as_dict(request.object.get("organization_field"))
        key, kind = given.get("key"), given.get("type", "text")
        if not isinstance(key, str) or not re.fullmatch(r"\w+", key) or key.isdigit():
            return invalid({"key": [error("InvalidFormat", "Key: is invalid")]})
        if key in self._columns:
            return invalid({"key": [error("DuplicateValue", f"Key: {key} has already been taken")]})
        if not given.get("title") or kind not in FIELD_TYPES:
            return invalid({"title": [error("BlankValue", "Title: cannot be blank, and the type must be known")]})
        self._columns[key] = {**given, "id": 8000 + len(self._columns), "key": key, "type": kind}
        return Answer(201, {"organization_field": self._columns[key]})

    # -- organizations
    @on("POST", "/api/v2/organizations/create_or_update")
    def write_organization(self, request: Request) -> Answer:
        given = as_dict(request.object.get("organization"))
        if not given:
            return Answer(400, {"error": "BadRequest", "description": "Parameter organization is required"})
        known = self._organization(given)
        if wrong := self._wrong_organization(given, known):
            return invalid(wrong)
        organization = known or self._organizations.add()
        self._tell_organization(organization, given, request.at)
        return Answer(200 if known else 201, {"organization": self._shown_organization(organization)})

    @on("GET", "/api/v2/organizations/search")
    def search_organizations(self, request: Request) -> Answer:
        kind = "external_id" if "external_id" in request.query else "name"
        found = self._organizations.find(kind, lower(request.query.get(kind)))
        shown = [self._shown_organization(found)] if found else []
        return Answer(200, {"organizations": shown, "count": len(shown)})

    @on("GET", "/api/v2/organizations/{number}")
    def show_organization(self, request: Request, number: str) -> Answer:
        found = self._organizations.find("id", number)
        return Answer(200, {"organization": self._shown_organization(found)}) if found else not_found()

    # -- who belongs to them
    @on("POST", "/api/v2/organization_memberships")
    def join_organization(self, request: Request) -> Answer:
        given = as_dict(request.object.get("organization_membership"))
        user, organization = given.get("user_id"), given.get("organization_id")
        if not isinstance(user, int) or not isinstance(organization, int):
            return Answer(400, {"error": "BadRequest", "description": "user_id and organization_id are numbers"})
        person, found = self.people.find("id", str(user)), self._organizations.find("id", str(organization))
        if person is None or found is None:
            return not_found()
        name = f"organization {found.identifiers['external_id']}"
        if name in person.values:
            return invalid({"user_id": [error("DuplicateValue", "User has already been assigned to this one")]})
        self.people.tell(person, request.at, {name: True})
        return Answer(201, {"organization_membership": {"id": 1, **given}})

    @on("DELETE", "/api/v2/users/{user}/organizations/{number}")
    def leave_organization(self, request: Request, user: str, number: str) -> Answer:
        person, found = self.people.find("id", user), self._organizations.find("id", number)
        name = f"organization {found.identifiers['external_id']}" if found else ""
        if person is None or name not in person.values:
            return not_found()
        self.people.tell(person, request.at, {name: None})
        return Answer(204)

    # -- within
    def _organization(self, given: dict[str, Any]) -> Person | None:
        by_id = self._organizations.find("id", str(given.get("id", "")))
        return by_id or self._organizations.find("external_id", str(given.get("external_id", "")).lower())

    def _wrong_organization(self, given: dict[str, Any], known: Person | None) -> Errors:
        name = given.get("name")
        if not str(name or "").strip() and (known is None or "name" in given):
            return {"name": [error("BlankValue", "Name: cannot be blank")]}
        if name and self._organizations.find("name", lower(name)) not in (None, known):
            return {"name": [error("DuplicateValue", f"Name: {name} has already been taken")]}
        if self.refused(str(given.get("external_id", ""))):
            return {"external_id": [error("InvalidValue", "External ID: is invalid")]}
        values = as_dict(given.get("organization_fields"))
        bad = [k for k, v in values.items() if k in self._columns and not fits(self._columns[k]["type"], v)]
        return {key: [error("InvalidValue", f"{key}: is invalid")] for key in bad}

    def _tell_organization(self, organization: Person, given: dict[str, Any], at: float) -> None:
        self._organizations.identify(organization, "id", str(FIRST + organization.number))
        if external := given.get("external_id"):
            self._organizations.identify(organization, "external_id", str(external).lower())
            organization.identifiers["external_id"] = str(external)
        if name := given.get("name"):
            self._organizations.identify(organization, "name", lower(name))
        values = {k: v for k, v in as_dict(given.get("organization_fields")).items() if k in self._columns}
        self._organizations.tell(organization, at, {**{k: given[k] for k in STANDARD if k in given}, **values})

    def _shown_organization(self, organization: Person) -> dict[str, Any]:
        values = organization.values
        return {
            "id": FIRST + organization.number,
            "external_id": organization.identifiers.get("external_id"),
            **{name: values[name] for name in STANDARD if name in values},
            "organization_fields": {key: values.get(key) for key in self._columns},
        }
