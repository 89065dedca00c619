"""HubSpot: contacts, their properties, custom events. https://developers.hubspot.com/docs/api-reference"""

import json
import re
from collections.abc import Callable
from typing import Any

from sandbox.memory import Person
from sandbox.vendor import Answer, Cap, Request, Vendor, on
from sandbox.vendors.hubspot_shapes import (
    Item,
    Refusal,
    as_text,
    as_time,
    batch,
    distinct,
    fits,
    ids,
    inputs,
    invalid,
    new_property,
    not_found,
    problem,
)

MAX_EVENTS = 500
MAX_EVENT_PROPERTIES = 50
PORTAL = 4242
BUILT_IN = {
    *("address", "city", "company", "country", "createdate", "email", "firstname", "hs_additional_emails"),
    *("hs_object_id", "jobtitle", "lastmodifieddate", "lastname", "lifecyclestage", "mobilephone", "phone"),
    *("state", "website", "zip"),
}
SHOWN = ("createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname")
DATED = re.compile(
    r"/(crm/objects|crm/properties|events)/\d{4}-\d\d/"
)  # `/crm/objects/2026-03/…` is `/crm/v3/objects/…`


class HubSpot(Vendor):
    slug = "hubspot"
    hosts = (r"api\.hubapi\.com",)
    caps = (Cap(10),)

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._properties = {n: new_property({"name": n, "label": n, "type": "string"}) for n in sorted(BUILT_IN)}
        self._definitions: dict[str, dict[str, Any]] = {}  # of events, by fully qualified name

    def unauthorized(self) -> Answer:
        return problem(401, "INVALID_AUTHENTICATION", "Authentication credentials not found or not valid.")

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        body = {"errorType": "RATE_LIMIT", "policyName": "SECONDLY"}
        answer = problem(429, "RATE_LIMITS", "You have reached your secondly limit.", **body)
        return Answer(429, answer.json, self.quota(cap, 0, at))

    def failed(self, status: int) -> Answer:
        return problem(status, "INTERNAL_ERROR", "internal error")

    def too_large(self) -> Answer:
        return problem(413, "VALIDATION_ERROR", "Request body is too large")

    def unknown(self, request: Request) -> Answer:
        return problem(404, "OBJECT_NOT_FOUND", "No such resource")

    def quota(self, cap: Cap, remaining: int, at: float) -> dict[str, str]:
        return {
            "X-HubSpot-RateLimit-Max": str(cap.requests),
            "X-HubSpot-RateLimit-Remaining": str(remaining),
            "X-HubSpot-RateLimit-Interval-Milliseconds": str(int(cap.seconds * 1000)),
        }

    def place(self, request: Request) -> str:
        def legacy(match: re.Match[str]) -> str:
            head, _, tail = match[1].partition("/")
            return f"/{head}/v3/{tail}/" if tail else f"/{head}/v3/"

        return DATED.sub(legacy, request.path)

    def respond(self, request: Request) -> Answer:
        try:
            return super().respond(request)
        except Refusal as refusal:
            return refusal.answer

    # -- properties
    @on("GET", "/crm/v3/properties/contacts")
    def properties(self, request: Request) -> Answer:
        return Answer(200, {"results": list(self._properties.values())})

    @on("GET", "/crm/v3/properties/contacts/{name}")
    def property(self, request: Request, name: str) -> Answer:
        found = self._properties.get(name)
        return Answer(200, found) if found else problem(404, "OBJECT_NOT_FOUND", f"Property {name} does not exist")

    @on("POST", "/crm/v3/properties/contacts")
    def create_property(self, request: Request) -> Answer:
        made = self._new_property(request.object)
        self._properties[made["name"]] = made
        return Answer(201, made)

    @on("POST", "/crm/v3/properties/contacts/batch/create")
    def create_properties(self, request: Request) -> Answer:
        results, errors = [], []
        for item in inputs(request):
            try:
                made = self._new_property(item)
            except Refusal as refusal:
                errors.append({**refusal.answer.json, "context": {"name": [str(item.get("name"))]}})
                continue
            self._properties[made["name"]] = made
            results.append(made)
        return batch(201, results, errors, request.at)

    def _new_property(self, given: dict[str, Any]) -> dict[str, Any]:
        for key in ("name", "label", "groupName", "type", "fieldType"):
            if not isinstance(given.get(key), str) or not given[key]:
                raise Refusal(400, "VALIDATION_ERROR", f"{key} is required")
        if not re.fullmatch("[a-z][a-z0-9_]*", given["name"]):
            raise Refusal(400, "VALIDATION_ERROR", "a name has lower-case letters, digits and _, a letter first")
        if given["type"] not in ("string", "number", "date", "datetime", "enumeration", "bool"):
            raise Refusal(400, "VALIDATION_ERROR", f"no such type: {given['type']}")
        if given["name"] in self._properties:
            raise Refusal(409, "OBJECT_ALREADY_EXISTS", f"A property named '{given['name']}' already exists.")
        return new_property(given)

    # -- one contact
    @on("POST", "/crm/v3/objects/contacts")
    def create(self, request: Request) -> Answer:
        values = self._values(request.object)
        return Answer(201, self._shown(self._create(values, request.at)))

    @on("PATCH", "/crm/v3/objects/contacts/{key}")
    def update(self, request: Request, key: str) -> Answer:
        values = self._values(request.object)
        person = self._find(key, request.query.get("idProperty"))
        if person is None:
            raise Refusal(404, "OBJECT_NOT_FOUND", "resource not found")
        self._check_person(person)
        self._write(person, values, request.at)
        return Answer(200, self._shown(person))

    @on("GET", "/crm/v3/objects/contacts/{key}")
    def read(self, request: Request, key: str) -> Answer:
        person = self._find(key, request.query.get("idProperty"))
        if person is None:
            raise Refusal(404, "OBJECT_NOT_FOUND", "resource not found")
        return Answer(200, self._shown(person, request.query.get("properties", "").split(",")))

    @on("DELETE", "/crm/v3/objects/contacts/{key}")
    def archive(self, request: Request, key: str) -> Answer:
        if person := self._find(key, None):
            self.people.forget(person)
        return Answer(204)

    @on("POST", "/crm/v3/objects/contacts/gdpr-delete")
    def forget(self, request: Request) -> Answer:
        key = request.object.get("objectId")
        if not isinstance(key, str) or not key:
            raise Refusal(400, "VALIDATION_ERROR", "objectId is required")
        if person := self._find(key, request.object.get("idProperty")):
            self.people.forget(person)
        return Answer(204)

    # -- many contacts
    @on("POST", "/crm/v3/objects/contacts/batch/read")
    def read_many(self, request: Request) -> Answer:
        found = {key: self._find(key, request.object.get("idProperty")) for key in ids(request)}
        missing = [key for key, person in found.items() if person is None]
        distinct = {p.number: p for p in found.values() if p}
        results = [self._shown(p, request.object.get("properties")) for p in distinct.values()]
        return batch(200, results, [not_found(missing)] if missing else [], request.at)

    @on("POST", "/crm/v3/objects/contacts/batch/create")
    def create_many(self, request: Request) -> Answer:
        emails: set[str] = set()

        def check(item: Item) -> dict[str, str]:
            values = self._values(item)
            self._conflict(values)
            email = values.get("email", "").lower()
            if email in emails:
                raise Refusal(409, "CONFLICT", "Contact already exists: two inputs have one email")
            emails.update(filter(None, [email]))
            return values

        return self._write_many(request, check, lambda _, values: (self._create(values, request.at), {}), status=201)

    @on("POST", "/crm/v3/objects/contacts/batch/update")
    def update_many(self, request: Request) -> Answer:
        distinct(ids(request))

        def check(item: Item) -> dict[str, str]:
            if person := self._find(item["id"], item.get("idProperty")):
                self._check_person(person)
            return self._values(item)

        def write(item: Item, values: dict[str, str]) -> tuple[Person, Item] | None:
            person = self._find(item["id"], item.get("idProperty"))
            if person:
                self._write(person, values, request.at)
            return (person, {}) if person else None

        return self._write_many(request, check, write)

    @on("POST", "/crm/v3/objects/contacts/batch/upsert")
    def upsert_many(self, request: Request) -> Answer:
        distinct(ids(request))

        def check(item: Item) -> dict[str, str]:
            if not isinstance(item.get("idProperty"), str):
                raise Refusal(400, "VALIDATION_ERROR", "idProperty is required")
            self._check_value(item["idProperty"], item["id"])
            return {**self._values(item), item["idProperty"]: item["id"]}

        def write(item: Item, values: dict[str, str]) -> tuple[Person, Item]:
            person = self._find(item["id"], item["idProperty"])
            if person is None:
                return self._create(values, request.at), {"new": True}
            self._write(person, {k: v for k, v in values.items() if k != item["idProperty"]}, request.at)
            return person, {"new": False}

        return self._write_many(request, check, write)

    @on("POST", "/crm/v3/objects/contacts/batch/archive")
    def archive_many(self, request: Request) -> Answer:
        for key in ids(request):
            if person := self._find(key, None):
                self.people.forget(person)
        return Answer(204)

    def _write_many(
        self,
        request: Request,
        check: Callable[[Item], dict[str, str]],
        write: Callable[[Item, dict[str, str]], tuple[Person, Item] | None],
        status: int = 200,
    ) -> Answer:
        """Every input is checked before the first is written; `write` gives None where nobody is found.

        Errors are told apart by `objectWriteTraceId`: without it on every input one error refuses all,
        as an unknown property does in any case.
        """
        items = inputs(request)
        traced = all(isinstance(item.get("objectWriteTraceId"), str) for item in items)
        results, errors, missing = [], [], []
        ready: list[tuple[Item, dict[str, str]]] = []
        for item in items:
            try:
                ready.append((item, check(item)))
            except Refusal as refusal:
                if not traced or "PROPERTY_DOESNT_EXIST" in str(refusal):
                    raise
                errors.append({**refusal.answer.json, "context": {"objectWriteTraceId": [item["objectWriteTraceId"]]}})
        for item, values in ready:
            done = write(item, values)
            if done is None:
                missing.append(item["id"])
                continue
            trace = {"objectWriteTraceId": item["objectWriteTraceId"]} if traced else {}
            results.append({**self._shown(done[0], list(values)), **done[1], **trace})
        if missing:
            errors.append(not_found(missing))
        return batch(status, results, errors, request.at)

    # -- contacts, within
    def _find(self, key: str, id_property: str | None) -> Person | None:
        kind = id_property or "hs_object_id"
        return self.people.find(kind, key.strip().lower() if kind == "email" else key)

    def _values(self, item: dict[str, Any]) -> dict[str, str]:
        """The property values of an input, as text, all of them valid. Raises Refusal."""
        given = item.get("properties")
        if not isinstance(given, dict):
            raise Refusal(400, "VALIDATION_ERROR", "properties must be an object")
        values = {name: as_text(value) for name, value in given.items()}
        unknown = [invalid(n, "PROPERTY_DOESNT_EXIST", "does not exist") for n in values if n not in self._properties]
        if unknown:
            raise Refusal(400, "VALIDATION_ERROR", f"Property values were not valid: {json.dumps(unknown)}")
        for name, value in values.items():
            self._check_value(name, value)
        return values

    def _check_value(self, name: str, value: str) -> None:
        if name not in self._properties:
            error = invalid(name, "PROPERTY_DOESNT_EXIST", "does not exist")
        elif name == "email" and (not re.fullmatch(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+", value) or self.refused(value)):
            error = invalid(name, "INVALID_EMAIL", "has an invalid email address")
        elif value and not fits(self._properties[name], value):
            error = invalid(name, "INVALID_VALUE", f"was not a valid {self._properties[name]['type']}")
        else:
            return
        raise Refusal(400, "VALIDATION_ERROR", f"Property values were not valid: {json.dumps([error])}")

    def _check_person(self, person: Person) -> None:
        """Refuse a write to somebody whom a fault refuses, whatever id the write goes by."""
        if email := person.identifiers.get("email"):
            self._check_value("email", email)

    def _conflict(self, values: dict[str, str]) -> None:
        for name, value in values.items():
            unique = name == "email" or self._properties[name].get("hasUniqueValue")
            if unique and (known := self._find(value, name)):
                words = f"Contact already exists. Existing ID: {known.identifiers['hs_object_id']}"
                raise Refusal(409, "CONFLICT", words)

    def _create(self, values: dict[str, str], at: float) -> Person:
        self._conflict(values)
        person = self.people.add()
        self.people.identify(person, "hs_object_id", str(100 + person.number))
        person.values["createdate"] = as_time(at)
        self._write(person, values, at)
        return person

    def _write(self, person: Person, values: dict[str, str], at: float) -> None:
        for name, value in values.items():
            if name == "email":
                self.people.identify(person, name, value.lower())
            elif name == "hs_additional_emails":
                for email in filter(None, value.split(";")):
                    self.people.identify(person, "email", email.strip().lower(), primary=False)
            elif self._properties[name].get("hasUniqueValue"):
                self.people.identify(person, name, value)
        self.people.tell(person, at, values)
        person.values["lastmodifieddate"] = as_time(at)

    def _shown(self, person: Person, wanted: list[str] | None = None) -> dict[str, Any]:
        number = person.identifiers["hs_object_id"]
        names = [*SHOWN, *(n for n in wanted or person.values if n in self._properties)]
        known = {**person.values, "hs_object_id": number}
        return {
            "id": number,
            "properties": {name: known.get(name) for name in dict.fromkeys(names)},
            "createdAt": person.values["createdate"],
            "updatedAt": person.values["lastmodifieddate"],
            "archived": False,
        }

    # -- custom events
    @on("GET", "/events/v3/event-definitions")
    def definitions(self, request: Request) -> Answer:
        return Answer(200, {"total": len(self._definitions), "results": list(self._definitions.values())})

    @on("GET", "/events/v3/event-definitions/{name}")
    def definition(self, request: Request, name: str) -> Answer:
        return Answer(200, self._definition(name))

    @on("POST", "/events/v3/event-definitions")
    def define(self, request: Request) -> Answer:
        given = request.object
        if not given.get("label") or not isinstance(given.get("propertyDefinitions"), list):
            raise Refusal(400, "VALIDATION_ERROR", "label and propertyDefinitions are required")
        name = given.get("name") or re.sub("[^a-z0-9]+", "_", given["label"].lower())
        full = f"pe{PORTAL}_{name}"
        if full in self._definitions:
            raise Refusal(409, "OBJECT_ALREADY_EXISTS", f"An event named '{name}' already exists.")
        self._definitions[full] = {
            "id": str(1000 + len(self._definitions)),
            "name": name,
            "fullyQualifiedName": full,
            "objectTypeId": f"6-{1000 + len(self._definitions)}",
            "labels": {"singular": given["label"]},
            "primaryObject": given.get("primaryObject", "CONTACT"),
            "properties": [new_property(p) for p in given["propertyDefinitions"]],
            "associations": [],
            "archived": False,
        }
        return Answer(201, self._definitions[full])

    @on("POST", "/events/v3/event-definitions/{name}/property")
    def define_property(self, request: Request, name: str) -> Answer:
        definition, given = self._definition(name), request.object
        if not given.get("label") or not given.get("type"):
            raise Refusal(400, "VALIDATION_ERROR", "label and type are required")
        made = new_property(given)
        if made["name"] in {p["name"] for p in definition["properties"]}:
            raise Refusal(409, "OBJECT_ALREADY_EXISTS", f"A property named '{made['name']}' already exists.")
        definition["properties"].append(made)
        return Answer(201, made)

    @on("POST", "/events/v3/send")
    def send(self, request: Request) -> Answer:
        self._check_event(request.object)
        self._keep(request.object, request.at)
        return Answer(204)

    @on("POST", "/events/v3/send/batch")
    def send_many(self, request: Request) -> Answer:
        events = inputs(request, MAX_EVENTS)
        for event in events:
            self._check_event(event)
        for event in events:
            self._keep(event, request.at)
        return Answer(204)

    def _definition(self, name: str) -> dict[str, Any]:
        full = name if name in self._definitions else f"pe{PORTAL}_{name}"
        if full not in self._definitions:
            raise Refusal(404, "OBJECT_NOT_FOUND", f"No event definition named '{name}'")
        return self._definitions[full]

    def _check_event(self, event: dict[str, Any]) -> None:
        definition = self._definitions.get(event.get("eventName", ""))
        if definition is None:
            raise Refusal(400, "VALIDATION_ERROR", "eventName must be the fully qualified name of a definition")
        if not any(event.get(key) for key in ("email", "utk", "objectId")):
            raise Refusal(400, "VALIDATION_ERROR", "One of email, utk or objectId is required")
        if self.refused(event.get("email")):
            raise Refusal(400, "VALIDATION_ERROR", "email is not a valid email address")
        properties = event.get("properties")
        if not isinstance(properties, dict) or len(properties) > MAX_EVENT_PROPERTIES:
            raise Refusal(400, "VALIDATION_ERROR", f"properties must be an object of at most {MAX_EVENT_PROPERTIES}")
        if unknown := sorted(set(properties) - {p["name"] for p in definition["properties"]}):
            raise Refusal(400, "VALIDATION_ERROR", f"Unknown event properties: {', '.join(unknown)}")

    def _keep(self, event: dict[str, Any], at: float) -> None:
        """Keep an event; a repeated uuid of one event type is dropped. An unknown e-mail becomes a contact."""
        name, uuid = event["eventName"], event.get("uuid")
        identifiers = {kind: event[kind] for kind in ("email", "utk", "objectId") if event.get(kind)}
        if email := identifiers.get("email", "").lower():
            identifiers["email"] = email
            if not self.people.find("email", email):
                self._create({"email": email}, at)
        self.events.add(at, name, identifiers, event["properties"], key=(name, uuid) if uuid else None, keep=True)
