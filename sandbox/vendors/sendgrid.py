"""SendGrid: contacts, custom fields, lists, import jobs. https://www.twilio.com/docs/sendgrid/api-reference/contacts"""

import re
from collections.abc import Callable
from typing import Any

from sandbox.memory import Person
from sandbox.vendor import Answer, Cap, Request, Vendor, on

IDS = ("email", "phone_number_id", "external_id", "anonymous_id")
MARKETING = "/v3/marketing"
LOOKED_UP = 100
TYPES = {"Text": str, "Number": (int, float), "Date": str}


class SendGrid(Vendor):
    slug = "sendgrid"
    also = ("sendgrid-lists",)
    hosts = (r"api(\.eu)?\.sendgrid\.com",)
    caps = (Cap(100),)
    max_bytes = 6 * 1024 * 1024

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._fields: dict[str, tuple[str, str]] = {}  # name and type, by id
        self._lists: dict[str, tuple[str, dict[int, Person]]] = {}
        self._jobs: list[dict[str, Any]] = []
        self._lists_made = 0

    def unauthorized(self) -> Answer:
        return _errors(401, "authorization required")

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        answer = _errors(429, "too many requests")
        return Answer(429, answer.json, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(at + wait) + 1)})

    # -- contacts
    @on("PUT", f"{MARKETING}/contacts")
    def upsert(self, request: Request) -> Answer:
        """All or nothing where an identifier is not valid; errors of fields are told by the job."""
        contacts, lists = request.object.get("contacts"), request.object.get("list_ids", [])
        if not isinstance(contacts, list) or not 0 < len(contacts) <= 30_000:
            return _errors(400, "1 to 30000 contacts are taken", "contacts")
        if missing := [each for each in lists if each not in self._lists]:
            return _errors(404, f"list {missing[0]} does not exist", "list_ids")
        wrong = [(place, words) for place, each in enumerate(contacts) if (words := self._wrong(each))]
        if wrong:
            errors = [{"field": f"contacts[{place}].email", "message": words} for place, words in wrong]
            return Answer(400, {"errors": errors})
        failed = sum(not self._write(each, lists, request.at) for each in contacts)
        results = {"requested_count": len(contacts), "updated_count": len(contacts) - failed, "errored_count": failed}
        return self._job("upsert", results)

    def _wrong(self, contact: Any) -> str:
        given: dict[str, Any] = {
            name: contact.get(name) for name in IDS if isinstance(contact, dict) and contact.get(name)
        }
        if not given:
            return "an identifier is required"
        if not all(isinstance(value, str) and len(value) <= 254 for value in given.values()):
            return "an identifier is a text of at most 254 characters"
        if "email" in given and not re.fullmatch(r"[^@\s]+@[^@\s]+", given["email"]):
            return f"email '{given['email']}' is not valid"
        if "phone_number_id" in given and not re.fullmatch(r"\+[1-9]\d{1,14}", given["phone_number_id"]):
            return f"phone_number_id '{given['phone_number_id']}' is not valid"
        return f"email '{next(iter(given.values()))}' is not valid" if self.refused(*given.values()) else ""

    def _write(self, contact: dict[str, Any], lists: list[str], at: float) -> bool:
        """Whether a contact is taken: its fields are there, and of their types."""
        values = {name: value for name, value in contact.items() if name not in (*IDS, "custom_fields")}
        for id, value in contact.get("custom_fields", {}).items():
            name, kind = self._fields.get(id, ("", ""))
            if not name or isinstance(value, bool) or not isinstance(value, (TYPES[kind], type(None))):  # type: ignore[arg-type]
                return False
            values[name] = value
        ids = {name: contact[name].lower() if name == "email" else contact[name] for name in IDS if contact.get(name)}
        person = self.people.find_any(ids)
        if person and not set(person.identifiers) <= set(ids):
            return False  # an update carries all identifiers that the contact has
        person = person or self.people.add()
        for name, value in ids.items():
            self.people.identify(person, name, value)
        self.people.tell(person, at, values)
        for each in lists:
            self._lists[each][1][person.number] = person
        return True

    def _job(self, kind: str, results: dict[str, Any]) -> Answer:
        wrong, asked = results.get("errored_count", 0), results.get("requested_count", 0)
        status = "completed" if not wrong else "failed" if wrong == asked else "errored"
        self._jobs.append({"id": f"job-{len(self._jobs) + 1}", "job_type": kind, "status": status, "results": results})
        return Answer(202, {"job_id": self._jobs[-1]["id"]})

    @on("GET", f"{MARKETING}/contacts/imports/{{job}}")
    def job(self, request: Request, job: str) -> Answer:
        found = next((each for each in self._jobs if each["id"] == job), None)
        return Answer(200, found) if found else _errors(404, "resource not found")

    @on("POST", f"{MARKETING}/contacts/search/identifiers/{{kind}}")
    def search(self, request: Request, kind: str) -> Answer:
        asked = request.object.get("identifiers")
        if kind not in IDS or not isinstance(asked, list) or not 0 < len(asked) <= LOOKED_UP:
            return _errors(400, f"1 to {LOOKED_UP} identifiers of one type are looked up")
        found = {each: self.people.find(kind, each.lower() if kind == "email" else each) for each in asked}
        if not any(found.values()):
            return _errors(404, "no contacts found")
        shown = {
            each: {"contact": {"id": f"c-{person.number}", **person.identifiers}} if person else {"error": "not found"}
            for each, person in found.items()
        }
        return Answer(200, {"result": shown})

    # -- fields
    @on("GET", f"{MARKETING}/field_definitions")
    def fields(self, request: Request) -> Answer:
        own = [{"id": id, "name": name, "field_type": kind} for id, (name, kind) in self._fields.items()]
        return Answer(200, {"custom_fields": own, "reserved_fields": []})

    @on("POST", f"{MARKETING}/field_definitions")
    def make_field(self, request: Request) -> Answer:
        name, kind = request.object.get("name"), request.object.get("field_type")
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_]\w{0,99}", name, re.ASCII) or kind not in TYPES:
            return _errors(400, "invalid field definition", "name")
        if name.lower() in {"email", "first_name", "last_name", *(known.lower() for known, _ in self._fields.values())}:
            return _errors(400, "a field of this name exists", "name")
        id = f"e{len(self._fields) + 1}_{kind[0]}"
        self._fields[id] = (name, kind)
        return Answer(200, {"id": id, "name": name, "field_type": kind})

    # -- lists
    @on("GET", f"{MARKETING}/lists")
    def lists(self, request: Request) -> Answer:
        shown = [{"id": id, "name": name, "contact_count": len(found)} for id, (name, found) in self._lists.items()]
        first, size = int(request.query.get("page_token", "0")), int(request.query.get("page_size", "100"))
        after = f"https://{request.host}{MARKETING}/lists?page_size={size}&page_token={first + size}"
        more = {"next": after} if first + size < len(shown) else {}
        return Answer(200, {"result": shown[first : first + size], "_metadata": {"count": len(shown), **more}})

    @on("POST", f"{MARKETING}/lists")
    def make_list(self, request: Request) -> Answer:
        name = request.object.get("name")
        if not isinstance(name, str) or not 0 < len(name) <= 100 or name in {each for each, _ in self._lists.values()}:
            return _errors(400, "invalid list name", "name")
        self._lists_made += 1
        id = f"list-{self._lists_made}"
        self._lists[id] = (name, {})
        return Answer(201, {"id": id, "name": name, "contact_count": 0})

    @on("DELETE", f"{MARKETING}/lists/{{id}}")
    def delete_list(self, request: Request, id: str) -> Answer:
        return Answer(204) if self._lists.pop(id, None) else _errors(404, "resource not found")

    @on("DELETE", f"{MARKETING}/lists/{{id}}/contacts")
    def leave(self, request: Request, id: str) -> Answer:
        """The contacts stay in the account."""
        if id not in self._lists:
            return _errors(404, "resource not found")
        ids = [each for each in request.query.get("contact_ids", "").split(",") if each]
        if not ids:
            return _errors(400, "contact_ids is required", "contact_ids")
        for each in ids:
            self._lists[id][1].pop(int(each.removeprefix("c-")), None)
        return self._job("delete", {"requested_count": len(ids)})

    def told(self, identifier: str | None, at: float) -> dict[str, Any]:
        lists = [
            {"name": name, "members": [p.identifiers for p in found.values()]} for name, found in self._lists.values()
        ]
        return {**super().told(identifier, at), "lists": lists}


def _errors(status: int, message: str, field: str | None = None) -> Answer:
    return Answer(status, {"errors": [{"field": field, "message": message}]})
