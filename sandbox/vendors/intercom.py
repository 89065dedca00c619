"""Intercom: contacts, companies, their attributes, events. https://developers.intercom.com/docs/references/rest-api/"""

from collections.abc import Callable
from typing import Any

from sandbox.memory import Person
from sandbox.plain import PlainVendor, Takes, bearer
from sandbox.vendor import Answer, Cap, Request, on
from sandbox.vendors.intercom_companies import KINDS, Companies, invalid_values

VERSION = "2.16"
STANDARD = ("name", "phone", "avatar", "signed_up_at", "unsubscribed_from_emails")


class Intercom(Companies, PlainVendor):
    """Events are taken of anybody: whom Intercom does not know, it refuses (not imitated)."""

    slug = "intercom"
    hosts = (r"api(\.eu|\.au)?\.intercom\.io",)
    caps = (Cap(1_666, 10.0),)
    secret_in = bearer()
    takes = (
        Takes(
            "POST", "/events", ids={"user_id": str, "email": str, "id": str}, traits="metadata", event="event_name",
            needs={"created_at": int}, headers={"intercom-version": VERSION}, status=202,
        ),
    )  # fmt: skip

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._attributes: dict[str, str] = {}  # of contacts: types by name

    def respond(self, request: Request) -> Answer:
        if request.headers.get("intercom-version") != VERSION:
            return self.invalid("The requested version is another one.")
        name, arguments = self._find_endpoint(request.method, request.path)
        if name == "unknown":
            return super().respond(request)
        answer: Answer = getattr(self, name)(request, *arguments)
        return answer

    def invalid(self, words: str) -> Answer:
        return _error(400, "parameter_invalid", words)

    def unauthorized(self) -> Answer:
        return _error(401, "unauthorized", "Access Token Invalid")

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        answer = _error(429, "rate_limit_exceeded", "Exceeded rate limit of 1666 in 10_seconds")
        return Answer(429, answer.json, {"X-RateLimit-Reset": str(int(at + wait) + 1)})

    # -- attributes
    @on("GET", "/data_attributes")
    def attributes(self, request: Request) -> Answer:
        model = request.query.get("model", "contact")
        types = self._columns if model == "company" else self._attributes
        data = [{"name": name, "data_type": kind, "model": model} for name, kind in types.items()]
        return Answer(200, {"type": "list", "data": data})

    @on("POST", "/data_attributes")
    def add_attribute(self, request: Request) -> Answer:
        """A name is an attribute of people or of companies, not of both."""
        name, kind, model = (request.object.get(each) for each in ("name", "data_type", "model"))
        if model not in ("contact", "company") or kind not in KINDS or not isinstance(name, str) or not name:
            return self.invalid("model, name and data_type are needed")
        for data, types in (("people", self._attributes), ("company", self._columns)):
            if name in types:
                return self.invalid(f"You already have '{name}' in your {data} data.")
        (self._columns if model == "company" else self._attributes)[name] = kind
        return Answer(200, {"type": "data_attribute", "name": name, "data_type": kind, "model": model})

    # -- contacts
    @on("GET", "/contacts/find_by_external_id/{external}")
    def by_external_id(self, request: Request, external: str) -> Answer:
        person = self.people.find("external_id", external)
        return Answer(200, _shown(person)) if person else _missing()

    @on("POST", "/contacts/search")
    def search(self, request: Request) -> Answer:
        query = request.object.get("query")
        fields = ("email", "external_id")
        if not isinstance(query, dict) or query.get("operator") != "=" or query.get("field") not in fields:
            return self.invalid("the query is not understood")
        person = self.people.find(query["field"], str(query.get("value")))
        data = [_shown(person)] if person else []
        return Answer(200, {"type": "list", "data": data, "total_count": len(data)})

    @on("POST", "/contacts")
    def create(self, request: Request) -> Answer:
        body = request.object
        ids = {name: body[name] for name in ("external_id", "email") if body.get(name)}
        if not ids:
            return self.invalid("email or external_id is needed")
        if known := self.people.find_any(ids):
            return _error(409, "conflict", f"A contact matching those details already exists with id={known.number}")
        if words := self._unfit(body):
            return self.invalid(words)
        return self._keep(self.people.add(), request)

    @on("GET", "/contacts/{contact}")
    def show(self, request: Request, contact: str) -> Answer:
        person = self._person(contact)
        return Answer(200, _shown(person)) if person else _missing()

    @on("PUT", "/contacts/{contact}")
    def update(self, request: Request, contact: str) -> Answer:
        person = self._person(contact)
        if not person:
            return _missing()
        words = self._unfit(request.object)
        return self.invalid(words) if words else self._keep(person, request)

    @on("DELETE", "/contacts/{contact}")
    def delete(self, request: Request, contact: str) -> Answer:
        person = self._person(contact)
        if not person:
            return _missing()
        self.people.forget(person)
        return Answer(200, {"id": contact, "type": "contact", "deleted": True})

    def _person(self, contact: str) -> Person | None:
        return next((each for each in self.people.having(None) if str(each.number) == contact), None)

    def _unfit(self, body: dict[str, Any]) -> str:
        if self.refused(body.get("external_id"), body.get("email")):
            return "the identifier is not valid"
        return invalid_values(body.get("custom_attributes") or {}, self._attributes)

    def _keep(self, person: Person, request: Request) -> Answer:
        body = request.object
        for name in ("external_id", "email"):
            if body.get(name):
                self.people.identify(person, name, body[name])
        own = {name: body[name] for name in STANDARD if name in body}
        self.people.tell(person, request.at, {**own, **(body.get("custom_attributes") or {})})
        return Answer(200, _shown(person))


def _shown(person: Person) -> dict[str, Any]:
    ids = {"external_id": None, "email": None, **person.identifiers}
    return {"type": "contact", "id": str(person.number), "role": "user", **ids, "custom_attributes": person.values}


def _missing() -> Answer:
    return _error(404, "not_found", "User Not Found")


def _error(status: int, code: str, words: str) -> Answer:
    return Answer(status, {"type": "error.list", "errors": [{"code": code, "message": words}]})
