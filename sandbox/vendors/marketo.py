"""Marketo: one instance's leads, their fields and activities; companies; tokens. https://experienceleague.adobe.com/en/docs/marketo-developer"""

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from sandbox.memory import Person
from sandbox.vendor import Answer, Cap, Request, Vendor, on
from sandbox.vendors.marketo_companies import Companies
from sandbox.vendors.marketo_lists import Lists

TOKEN = "/identity/oauth/token"
GRANTED = re.compile(r"([0-9a-f]{16}):(\d+)")
LIFE = 3_600
MOST = 300
FIELDS = {
    "id": "integer", "email": "email", "firstName": "string", "lastName": "string", "phone": "phone", "title": "string",
    "address": "text", "city": "string", "state": "string", "postalCode": "string", "country": "string",
    "company": "string", "website": "url", "leadScore": "score",
}  # fmt: skip
TYPES = {
    "boolean",
    "integer",
    "float",
    "string",
    "text",
    "date",
    "datetime",
    "email",
    "phone",
    "url",
    "currency",
    "score",
}
KEYS = {"string", "email", "integer"}  # of which a custom field must be, to look leads up by it
NO_FIELD = "1006"
ACTIVITIES = "/rest/v1/activities/external"


class Marketo(Companies, Vendor):
    """Leads are found by addresses without case."""

    slug = "marketo"
    also = ("marketo-static-lists",)
    hosts = (r"[a-z0-9-]+\.mktorest\.com",)
    caps = (Cap(100, 20.0),)

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._fields = dict(FIELDS)
        self._types: dict[str, dict[str, Any]] = {}  # of activities, by API name
        self._ends: dict[str, float] = {}  # of tokens, in unix seconds
        self._lists = Lists(self.write, self.lead)

    # -- credentials
    @classmethod
    def credential(cls, request: Request) -> str | None:
        return "" if request.path == TOKEN else request.bearer()

    @classmethod
    def account(cls, request: Request) -> str:
        return ""  # the host is the account

    @classmethod
    def authorized(cls, request: Request, known: set[str]) -> bool:
        return request.path != TOKEN or not known or _client(_form(request)) in known

    @classmethod
    def secret(cls, request: Request, settings: Any) -> str | None:
        return _client(_form(request))

    def unauthorized(self) -> Answer:
        """Of the identity endpoint; all others answer 200."""
        return Answer(401, {"error": "invalid_client", "error_description": "Bad client credentials"})

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        return _errors("606", "Max rate limit '100' exceeded with in '20' secs")

    def failed(self, status: int) -> Answer:
        return Answer(status, None)

    def unknown(self, request: Request) -> Answer:
        return _errors("610", "Requested resource not found")

    @on("POST", TOKEN)
    def grant(self, request: Request) -> Answer:
        """The same token for as long as it lives."""
        form = _form(request)
        if form.get("grant_type") != "client_credentials" or not form.get("client_secret"):
            return self.unauthorized()
        client = _client(form)
        old = next((t for t, ends in self._ends.items() if t.startswith(client) and ends > request.at), None)
        token = old or f"{client}:{len(self._ends) + 1}"
        ends = self._ends.setdefault(token, request.at + LIFE)
        body = {"access_token": token, "token_type": "bearer", "expires_in": int(ends - request.at)}
        return Answer(200, {**body, "scope": "api@example.com"})

    def respond(self, request: Request) -> Answer:
        if request.path != TOKEN:
            token = request.bearer() or ""
            if not GRANTED.fullmatch(token) or token not in self._ends:
                return _errors("601", "Access token invalid")
            if self._ends[token] <= request.at:
                return _errors("602", "Access token expired")
        if len(request.body) > (10_000_000 if request.path.startswith("/bulk/") else 1_000_000):
            return Answer(413, None)
        self._lists.finish(request.at)
        return super().respond(request)

    # -- fields
    @on("GET", "/rest/v1/leads/describe.json")
    def describe(self, request: Request) -> Answer:
        shown = [
            {"id": place, "displayName": name, "dataType": kind, "rest": {"name": name, "readOnly": name == "id"}}
            | ({"length": 255} if kind in ("string", "email", "url") else {})
            for place, (name, kind) in enumerate(self._fields.items(), 1)
        ]
        return _good(shown)

    @on("POST", "/rest/v1/leads/schema/fields.json")
    def make_fields(self, request: Request) -> Answer:
        told = []
        for each in _rows(request.object.get("input")):
            name, shown, kind = (str(each.get(key, "")) for key in ("name", "displayName", "dataType"))
            if (
                not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII)
                or kind not in TYPES
                or not re.fullmatch(r"[\w ]+", shown)
            ):
                told.append(_skipped("1003", f"Invalid data: {name!r}"))
            elif name.lower() in {known.lower() for known in self._fields}:
                told.append(_skipped("1017", f"Field '{name}' already exists"))
            else:
                self._fields[name] = kind
                told.append({"name": name, "status": "created"})
        return _good(told)

    # -- leads
    @on("POST", "/rest/v1/leads.json")
    def leads(self, request: Request) -> Answer:
        if request.query.get("_method") == "GET":
            return self._find(_form(request))
        field, leads = request.object.get("lookupField", "email"), request.object.get("input")
        if request.object.get("action", "createOrUpdate") != "createOrUpdate":
            return _errors("1003", "Invalid data")
        if not isinstance(leads, list) or not 0 < len(leads) <= MOST:
            return _errors("1003", f"1 to {MOST} leads are taken")
        if field not in self._fields or self._fields[field] not in KEYS or field in ("firstName", "lastName", "id"):
            return _errors("1011" if field in FIELDS else NO_FIELD, f"Field '{field}' not found")
        unknown = sorted({name for lead in _rows(leads) for name in lead} - {*self._fields})
        if unknown:
            return _errors(NO_FIELD, f"Field '{unknown[0]}' not found")
        return _good([self.write(lead, field, request.at) for lead in _rows(leads)])

    def _find(self, form: dict[str, str]) -> Answer:
        field, values = form.get("filterType", ""), form.get("filterValues", "").split(",")
        if field not in self._fields or len(values) > MOST:
            return _errors("1003", f"Invalid filterType '{field}', or more than {MOST} values")
        found = {value: self.people.find(field, value.lower()) for value in values}
        names = form.get("fields", "id,email").split(",")
        return _good(
            [{name: p.number if name == "id" else p.values.get(name) for name in names} for p in found.values() if p]
        )

    def write(self, lead: dict[str, Any], field: str, at: float) -> dict[str, Any]:
        """Make or change a lead; the row of the answer."""
        key = str(lead.get(field) or "")
        if not key:
            return _skipped("1002", f"Missing value for the required parameter '{field}'")
        if words := self._wrong(lead, field):
            return _skipped("1003" if "email" in words else "1001", words)
        person = self.people.find(field, key.lower())
        status = "updated" if person else "created"
        person = person or self.people.add()
        for name in lead:
            if lead[name] and (name == "email" or name in ("userId", "anonymousId")):
                self.people.identify(person, name, str(lead[name]).lower())
        self.people.tell(person, at, lead)
        return {"id": person.number, "status": status}

    def _wrong(self, lead: dict[str, Any], field: str) -> str:
        if self.refused(str(lead[field])):
            return "Invalid value for email: the address is not valid"
        email = lead.get("email")
        if email and not re.fullmatch(r"[\x21-\x7e]+@[\x21-\x7e]+", str(email)):
            return "Invalid value for email: ASCII only"
        for name, value in lead.items():
            kind = self._fields[name]
            number = kind in ("float", "integer", "currency", "score")
            if value is not None and (kind == "boolean") != isinstance(value, bool):
                return f"Invalid value '{value}'. Required of type '{kind}'"
            if value is not None and number != (isinstance(value, int | float) and not isinstance(value, bool)):
                return f"Invalid value '{value}'. Required of type '{kind}'"
            if kind in ("string", "url") and isinstance(value, str) and len(value) > 255:
                return f"Invalid value '{value[:20]}…'. Required of type '{kind}'"
        return ""

    @on("POST", "/rest/v1/leads/delete.json")
    def delete(self, request: Request) -> Answer:
        told = []
        for each in _rows(request.object.get("input")):
            person = self.lead(each.get("id"))
            if person:
                self.people.forget(person)
            told.append({"id": each["id"], "status": "deleted"} if person else _skipped("1004", "Lead not found"))
        return _good(told)

    def lead(self, id: Any) -> Person | None:
        return self.people.numbered(int(id)) if str(id).isdecimal() else None

    # -- activities
    @on("GET", f"{ACTIVITIES}/types.json")
    def types(self, request: Request) -> Answer:
        return _good(list(self._types.values()))

    @on("POST", f"{ACTIVITIES}/type.json")
    def make_type(self, request: Request) -> Answer:
        """Ten are taken, and each is a draft at first."""
        told = request.object
        if any(not told.get(name) for name in ("apiName", "name", "triggerName", "filterName", "primaryAttribute")):
            return _errors("1002", "Missing value for a required parameter")
        if len(self._types) >= 10:
            return _errors("1027", "Max Activity Type Limit Reached")
        if not re.fullmatch("[A-Za-z0-9]{1,255}", str(told["apiName"])) or told["apiName"] in self._types:
            return _errors("709", "the API name is taken, or has other signs than letters and digits")
        made = self._types[told["apiName"]] = {
            "id": 100_001 + len(self._types),
            **told,
            "status": "draft",
            "attributes": [],
        }
        return _good([made])

    @on("POST", f"{ACTIVITIES}/type/{{name}}/attributes/create.json")
    def make_attributes(self, request: Request, name: str) -> Answer:
        found, wanted = self._types.get(name), _rows(request.object.get("attributes"))
        if found is None:
            return _errors("1013", "Object not found")
        known = {each["apiName"] for each in found["attributes"]}
        if len(known) + len(wanted) > 20 or any(each.get("apiName") in known for each in wanted):
            return _errors("1028", "Max field limit reached, or a field that is there")
        found["attributes"] += wanted
        return _good([found])

    @on("POST", f"{ACTIVITIES}/type/{{name}}/approve.json")
    def approve(self, request: Request, name: str) -> Answer:
        if name not in self._types:
            return _errors("1013", "Object not found")
        self._types[name]["status"] = "approved"
        return _good([self._types[name]])

    @on("POST", f"{ACTIVITIES}.json")
    def add_activities(self, request: Request) -> Answer:
        told = _rows(request.object.get("input"))
        if not 0 < len(told) <= MOST:
            return _errors("1003", f"1 to {MOST} activities are taken")
        return _good([self._add_activity(each, request.at) for each in told])

    def _add_activity(self, told: dict[str, Any], at: float) -> dict[str, Any]:
        kind = next((k for k in self._types.values() if k["id"] == told.get("activityTypeId")), None)
        if kind is None or kind["status"] != "approved":
            return _failed("1003", "Invalid activity type")
        if not told.get("primaryAttributeValue") or not re.match(r"\d{4}-\d\d-\d\dT", str(told.get("activityDate"))):
            return _failed("1002", "Missing value for a required parameter")
        attributes = {each.get("apiName"): each.get("value") for each in _rows(told.get("attributes"))}
        if not attributes.keys() <= {each["apiName"] for each in kind["attributes"]}:
            return _failed(NO_FIELD, "Field not found")
        if len(msgspec.json.encode(told["attributes"])) > 65_536:
            return _failed("1049", "Attributes array too long")
        lead = self.lead(told.get("leadId"))
        if lead is None:
            return _failed("1004", "Lead not found")
        self.events.add(at, str(attributes.get("event", "")), lead.identifiers, attributes)
        return {"id": len(self.events), "marketoGUID": str(len(self.events)), "status": "added"}

    # -- lists
    @on("GET", "/rest/asset/v1/folder/byName.json")
    def folder(self, request: Request) -> Answer:
        return self._lists.folder(request)

    @on("GET", "/rest/asset/v1/staticList/byName.json")
    def list_by_name(self, request: Request) -> Answer:
        return self._lists.list_by_name(request)

    @on("POST", "/rest/asset/v1/staticLists.json")
    def make_list(self, request: Request) -> Answer:
        return self._lists.make_list(request)

    @on("POST", "/rest/asset/v1/staticList/{id}/delete.json")
    def delete_list(self, request: Request, id: str) -> Answer:
        return self._lists.delete_list(request, id)

    @on("DELETE", "/rest/v1/lists/{id}/leads.json")
    def leave(self, request: Request, id: str) -> Answer:
        return self._lists.leave(request, id)

    @on("POST", "/bulk/v1/leads.json")
    def begin_import(self, request: Request) -> Answer:
        return self._lists.begin_import(request)

    @on("GET", "/bulk/v1/leads/batch/{job}.json")
    def import_status(self, request: Request, job: str) -> Answer:
        return self._lists.import_status(request, job)

    @on("GET", "/bulk/v1/leads/batch/{job}/failures.json")
    def import_failures(self, request: Request, job: str) -> Answer:
        return self._lists.import_failures(request, job)

    def told(self, identifier: str | None, at: float) -> dict[str, Any]:
        self._lists.finish(at)
        return {**super().told(identifier, at), "lists": self._lists.shown()}


def _client(form: dict[str, str]) -> str:
    return blake2b(form.get("client_secret", "").encode(), digest_size=8).hexdigest()


def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode(errors="replace")))


def _rows(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _good(result: list[Any]) -> Answer:
    return Answer(200, {"requestId": "e42b#14272d07d78", "success": True, "result": result})


def _errors(code: str, words: str) -> Answer:
    return Answer(200, {"requestId": "e42b#1", "success": False, "errors": [{"code": code, "message": words}]})


def _skipped(code: str, words: str) -> dict[str, Any]:
    return {"status": "skipped", "reasons": [{"code": code, "message": words}]}


def _failed(code: str, words: str) -> dict[str, Any]:
    """Activities say `errors`."""
    return {"status": "skipped", "errors": [{"code": code, "message": words}]}
