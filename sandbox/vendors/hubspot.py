"""HubSpot: contacts, companies, their properties, custom events, OAuth. https://developers.hubspot.com/docs/api-reference"""

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qsl

from sandbox.memory import Person
from sandbox.vendor import Answer, Cap, Request, Vendor, on
from sandbox.vendors.hubspot_companies import Companies
from sandbox.vendors.hubspot_schema import Definitions, Properties
from sandbox.vendors.hubspot_shapes import Item, Refusal, as_time, batch, distinct, ids, inputs, not_found, problem

MAX_EVENTS = 500
SHOWN = ("createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname")
# `/crm/objects/2026-03/…` is `/crm/v3/objects/…`
DATED = re.compile(r"/(crm/objects|crm/properties|events)/\d{4}-\d\d/")
SEND = "/events/v3/send/batch"
TOKEN = "/oauth/2026-03/token"
GRANTED = re.compile(r"(granted-[0-9a-f]{16})-\d+")  # an access token of OAuth: its account, and its number there
LIFE = 1800  # seconds, of such a token


class HubSpot(Companies, Vendor):
    slug = "hubspot"
    hosts = (r"api\.hubapi\.com",)
    # A window that slides; of an app in the plans Free and Starter. Occurrences of events are counted apart.
    caps = (Cap(100, 10.0, besides=("events",)), Cap(1250, 1.0, "events"))

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._properties = Properties(self.refused)
        self._definitions = Definitions()
        self._lists: dict[str, str] = {}  # names by id
        self._ends: dict[str, float] = {}  # of the tokens that were granted, in unix seconds

    def endpoint(self, request: Request) -> str:
        return "events" if self.place(request) == SEND else ""

    # -- credentials
    @classmethod
    def credential(cls, request: Request) -> str | None:
        """The access token. A refresh token is none: it lasts."""
        return "" if request.path == TOKEN else request.bearer()

    @classmethod
    def account(cls, request: Request) -> str:
        """The account of a private app's token, or of the refresh token for which OAuth tokens were granted."""
        if request.path == TOKEN:
            return f"granted-{blake2b(_form(request).get('refresh_token', '').encode(), digest_size=8).hexdigest()}"
        token = request.bearer() or ""
        granted = GRANTED.fullmatch(token)
        return granted[1] if granted else token

    @classmethod
    def authorized(cls, request: Request, known: set[str]) -> bool:
        return cls.credential(request) is not None and (not known or cls.account(request) in known)

    @classmethod
    def secret(cls, request: Request, settings: Any) -> str | None:
        """What tells the account, so that a refresh token is not taken for an access token."""
        return cls.account(request)

    @on("POST", TOKEN)
    def grant(self, request: Request) -> Answer:
        """A new access token, for any client; those before it stay good for as long as they were."""
        form = _form(request)
        if form.get("grant_type") != "refresh_token":
            return Answer(400, {"status": "BAD_GRANT_TYPE", "message": "missing or unknown grant type"})
        for field in ("client_id", "client_secret", "refresh_token"):
            if not form.get(field):
                words = f"missing or invalid {field.replace('_', ' ')}"
                return Answer(400, {"status": f"BAD_{field.upper()}", "message": words})
        token = f"{self.account(request)}-{len(self._ends) + 1}"
        self._ends[token] = request.at + LIFE
        body = {"access_token": token, "refresh_token": form["refresh_token"], "expires_in": LIFE}
        return Answer(200, {**body, "token_type": "bearer"})

    # -- answers
    def unauthorized(self) -> Answer:
        return problem(401, "INVALID_AUTHENTICATION", "Authentication credentials not found or not valid.")

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        body = {"errorType": "RATE_LIMIT", "policyName": "TEN_SECONDLY_ROLLING"}
        answer = problem(429, "RATE_LIMITS", "You have reached your ten_secondly_rolling limit.", **body)
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
        token = request.bearer() or ""
        if GRANTED.fullmatch(token) and self._ends.get(token, 0.0) <= request.at:
            return problem(401, "EXPIRED_AUTHENTICATION", "The OAuth token used to make this call expired.")
        try:
            return super().respond(request)
        except Refusal as refusal:
            return refusal.answer

    # -- properties
    @on("GET", "/crm/v3/properties/contacts")
    def properties(self, request: Request) -> Answer:
        return Answer(200, {"results": list(self._properties.declared.values())})

    @on("GET", "/crm/v3/properties/contacts/{name}")
    def property(self, request: Request, name: str) -> Answer:
        found = self._properties.declared.get(name)
        return Answer(200, found) if found else problem(404, "OBJECT_NOT_FOUND", f"Property {name} does not exist")

    @on("POST", "/crm/v3/properties/contacts")
    def create_property(self, request: Request) -> Answer:
        return Answer(201, self._properties.declare(request.object))

    @on("POST", "/crm/v3/properties/contacts/batch/create")
    def create_properties(self, request: Request) -> Answer:
        results, errors = [], []
        for item in inputs(request):
            try:
                results.append(self._properties.declare(item))
            except Refusal as refusal:
                errors.append({**refusal.answer.json, "context": {"name": [str(item.get("name"))]}})
        return batch(201, results, errors, request.at)

    # -- one contact
    @on("POST", "/crm/v3/objects/contacts")
    def create(self, request: Request) -> Answer:
        values = self._properties.values(request.object)
        return Answer(201, self._shown(self._create(values, request.at)))

    @on("PATCH", "/crm/v3/objects/contacts/{key}")
    def update(self, request: Request, key: str) -> Answer:
        values = self._properties.values(request.object)
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
            values = self._properties.values(item)
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
            return self._properties.values(item)

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
            self._properties.check(item["idProperty"], item["id"])
            return {**self._properties.values(item), item["idProperty"]: item["id"]}

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

    def _check_person(self, person: Person) -> None:
        """Refuse a write to somebody whom a fault refuses, whatever id the write goes by."""
        if email := person.identifiers.get("email"):
            self._properties.check("email", email)

    def _conflict(self, values: dict[str, str]) -> None:
        for name, value in values.items():
            if self._properties.unique(name) and (known := self._find(value, name)):
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
            elif self._properties.unique(name):
                self.people.identify(person, name, value)
        self.people.tell(person, at, values)
        person.values["lastmodifieddate"] = as_time(at)

    def _shown(self, person: Person, wanted: list[str] | None = None) -> dict[str, Any]:
        number = person.identifiers["hs_object_id"]
        names = [*SHOWN, *(n for n in wanted or person.values if n in self._properties.declared)]
        known = {**person.values, "hs_object_id": number}
        return {
            "id": number,
            "properties": {name: known.get(name) for name in dict.fromkeys(names)},
            "createdAt": person.values["createdate"],
            "updatedAt": person.values["lastmodifieddate"],
            "archived": False,
        }

    # -- static lists
    @on("GET", "/crm/v3/lists/object-type-id/0-1/name/{name}")
    def find_list(self, request: Request, name: str) -> Answer:
        found = next((each for each, known in self._lists.items() if known.lower() == name.lower()), None)
        return self._shown_list(found) if found else problem(404, "OBJECT_NOT_FOUND", "List does not exist")

    @on("POST", "/crm/v3/lists")
    def create_list(self, request: Request) -> Answer:
        name, kind = request.object.get("name"), request.object.get("processingType")
        if not isinstance(name, str) or kind != "MANUAL" or request.object.get("objectTypeId") != "0-1":
            raise Refusal(400, "VALIDATION_ERROR", "a name, objectTypeId 0-1 and processingType MANUAL are expected")
        if name.lower() in map(str.lower, self._lists.values()):
            answer = problem(400, "VALIDATION_ERROR", "A list with this name exists")
            return Answer(400, {**answer.json, "subCategory": "ILS.DUPLICATE_LIST_NAMES"})
        self._lists[number := str(700 + len(self._lists))] = name
        return self._shown_list(number)

    @on("DELETE", "/crm/v3/lists/{number}")
    def delete_list(self, request: Request, number: str) -> Answer:
        return Answer(204 if self._lists.pop(number, None) else 404)

    @on("DELETE", "/crm/v3/lists/{number}/memberships")
    def empty_list(self, request: Request, number: str) -> Answer:
        if number not in self._lists:
            return problem(404, "OBJECT_NOT_FOUND", "List does not exist")
        for person in self.people.having(None):
            self.people.tell(person, request.at, {f"list {self._lists[number]}": None})
        return Answer(204)

    @on("PUT", "/crm/v3/lists/{number}/memberships/add-and-remove")
    def change_list(self, request: Request, number: str) -> Answer:
        if number not in self._lists:
            return problem(404, "OBJECT_NOT_FOUND", "List does not exist")
        missing = []
        for field, member in (("recordIdsToAdd", True), ("recordIdsToRemove", None)):
            for record in request.object.get(field) or ():
                if person := self._find(str(record), None):
                    self.people.tell(person, request.at, {f"list {self._lists[number]}": member})
                else:
                    missing.append(record)
        return Answer(200, {"recordsIdsAdded": [], "recordIdsRemoved": [], "recordIdsMissing": missing})

    def _shown_list(self, number: str) -> Answer:
        shown = {"listId": number, "name": self._lists[number], "processingType": "MANUAL", "objectTypeId": "0-1"}
        return Answer(200, {"list": shown})

    # -- custom events
    @on("GET", "/events/v3/event-definitions")
    def definitions(self, request: Request) -> Answer:
        found = list(self._definitions.declared.values())
        return Answer(200, {"total": len(found), "results": found})

    @on("GET", "/events/v3/event-definitions/{name}")
    def definition(self, request: Request, name: str) -> Answer:
        return Answer(200, self._definitions.find(name))

    @on("POST", "/events/v3/event-definitions")
    def define(self, request: Request) -> Answer:
        return Answer(201, self._definitions.declare(request.object))

    @on("POST", "/events/v3/event-definitions/{name}/property")
    def define_property(self, request: Request, name: str) -> Answer:
        return Answer(201, self._definitions.declare_property(name, request.object))

    @on("POST", "/events/v3/send")
    def send(self, request: Request) -> Answer:
        return self._send([request.object], request.at)

    @on("POST", SEND)
    def send_many(self, request: Request) -> Answer:
        return self._send(inputs(request, MAX_EVENTS), request.at)

    def _send(self, events: list[Item], at: float) -> Answer:
        """Keep events. All of them are checked before the first one is kept."""
        for event in events:
            self._definitions.check(event)
            if self.refused(event.get("email")):
                raise Refusal(400, "VALIDATION_ERROR", "email is not a valid email address")
        for event in events:
            self._keep(event, at)
        return Answer(204)

    def _keep(self, event: dict[str, Any], at: float) -> None:
        """Keep an event; a repeated uuid of one event type is dropped. An unknown e-mail becomes a contact."""
        name, uuid = event["eventName"], event.get("uuid")
        identifiers = {kind: event[kind] for kind in ("email", "utk", "objectId") if event.get(kind)}
        if email := identifiers.get("email", "").lower():
            identifiers["email"] = email
            if not self.people.find("email", email):
                self._create({"email": email}, at)
        self.events.add(at, name, identifiers, event["properties"], key=(name, uuid) if uuid else None, keep=True)


def _form(request: Request) -> dict[str, str]:
    """The fields of a form; none where the body is no form."""
    if "x-www-form-urlencoded" not in request.headers.get("content-type", ""):
        return {}
    return dict(parse_qsl(request.body.decode("utf-8", "replace")))
