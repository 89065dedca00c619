"""Mailchimp: members, merge fields, events and static segments of audiences. https://mailchimp.com/developer/marketing/api/

Every audience that is asked for is there.
"""

import re
from base64 import b64decode
from binascii import Error
from collections.abc import Callable
from hashlib import md5
from typing import Any

from sandbox.memory import Person
from sandbox.vendor import Answer, Cap, Request, Vendor, on

LIST = "/3.0/lists/{audience}"
STATUSES = {"subscribed", "unsubscribed", "cleaned", "pending", "transactional"}
TYPES = {
    "text", "number", "address", "phone", "date", "url", "imageurl", "radio", "dropdown", "birthday", "zip",
}  # fmt: skip
MOST = 500


class Mailchimp(Vendor):
    slug = "mailchimp"
    hosts = (r"[a-z0-9-]+\.api\.mailchimp\.com",)
    caps = (Cap(10),)  # it counts connections at once; so many a second come to the same

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._fields = {
            "FNAME": "text",
            "LNAME": "text",
            "ADDRESS": "address",
            "PHONE": "phone",
            "BIRTHDAY": "birthday",
        }
        self._segments: dict[int, tuple[str, dict[str, Person]]] = {}
        self._status: dict[int, str] = {}  # of members, by number
        self._made = 0

    @classmethod
    def credential(cls, request: Request) -> str | None:
        """The password; any name of a user will do."""
        try:
            given = b64decode(request.authorization("basic") or "").decode()
        except (Error, UnicodeDecodeError):
            return None
        return given.partition(":")[2] or None

    def unauthorized(self) -> Answer:
        return _problem(401, "API Key Invalid")

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        return _problem(429, "Too Many Requests")

    @on("GET", LIST)
    def audience(self, request: Request, audience: str) -> Answer:
        return Answer(200, {"id": audience})

    @on("POST", LIST)
    def batch(self, request: Request, audience: str) -> Answer:
        members, update = request.object.get("members"), request.object.get("update_existing") is True
        if not isinstance(members, list) or not 0 < len(members) <= MOST:
            return _problem(400, f"1 to {MOST} members are taken")
        told: dict[str, list[dict[str, Any]]] = {"new_members": [], "updated_members": [], "errors": []}
        for member in members:
            where, row = self._member(member if isinstance(member, dict) else {}, update, request.at)
            told[where].append(row)
        counts = {"total_created": len(told["new_members"]), "total_updated": len(told["updated_members"])}
        return Answer(200, {**told, **counts, "error_count": len(told["errors"])})

    def _member(self, told: dict[str, Any], update: bool, at: float) -> tuple[str, dict[str, Any]]:
        """Where the answer names a member, and how."""
        email, values, status = str(told.get("email_address", "")), told.get("merge_fields", {}), told.get("status")
        error = {"email_address": email, "error_code": "ERROR_GENERIC"}
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", email) or self.refused(email):
            return "errors", {**error, "error": f"{email} looks fake or invalid, please enter a real email address."}
        for name, value in values.items():
            if self._fields.get(name) == "number" and value != "" and not isinstance(value, int | float):
                return "errors", {**error, "error": "Your merge fields were invalid.", "field": name}
        person = self.people.find("email", email.lower())
        if person and not update:
            words = f"{email} is already a list member, do you want to update?"
            return "errors", {**error, "error": words, "error_code": "ERROR_CONTACT_EXISTS"}
        if status not in STATUSES and (status is not None or not person):
            return "errors", {**error, "error": "The status is not one of a member.", "field": "status"}
        where = "updated_members" if person else "new_members"
        person = person or self.people.add()
        self.people.identify(person, "email", email.lower())
        if status:
            self._status[person.number] = status
        # A tag that the audience has not is passed over.
        self.people.tell(person, at, {name: value for name, value in values.items() if name in self._fields})
        return where, {"email_address": email, "status": self._status[person.number]}

    @on("GET", f"{LIST}/merge-fields")
    def fields(self, request: Request, audience: str) -> Answer:
        return _page(request, "merge_fields", [{"tag": tag, "type": kind} for tag, kind in self._fields.items()])

    @on("POST", f"{LIST}/merge-fields")
    def make_field(self, request: Request, audience: str) -> Answer:
        tag, kind, name = (request.object.get(each) for each in ("tag", "type", "name"))
        if not isinstance(tag, str) or not re.fullmatch("[A-Z0-9_]{1,10}", tag) or tag == "EMAIL":
            return _problem(400, "A tag has 1 to 10 capitals, digits and underscores.")
        if kind not in TYPES or not isinstance(name, str) or not name:
            return _problem(400, "A merge field needs a name and a type.")
        if tag in self._fields:
            return _problem(400, f"A Merge Field with the tag {tag} already exists for this list.")
        self._fields[tag] = kind
        return Answer(200, {"tag": tag, "type": kind, "name": name})

    @on("POST", f"{LIST}/members/{{hash}}/events")
    def event(self, request: Request, audience: str, hash: str) -> Answer:
        body = request.object
        name, told = body.get("name"), body.get("properties", {})
        if not isinstance(name, str) or not 2 <= len(name) <= 30:
            return _problem(400, "The name of an event has 2 to 30 characters.")
        if not isinstance(told, dict) or not all(isinstance(value, str) for value in told.values()):
            return _problem(400, "Properties of an event are strings.")
        emails = [person.identifiers["email"] for person in self.people.having(None)]
        email = next((e for e in emails if md5(e.encode(), usedforsecurity=False).hexdigest() == hash), None)
        if email is None:
            return _problem(404, "Resource Not Found")
        self.events.add(request.at, name, {"email": email}, told)
        return Answer(204)

    @on("GET", f"{LIST}/segments")
    def segments(self, request: Request, audience: str) -> Answer:
        return _page(request, "segments", [{"id": id, "name": name} for id, (name, _) in self._segments.items()])

    @on("POST", f"{LIST}/segments")
    def make_segment(self, request: Request, audience: str) -> Answer:
        """Not idempotent: the same name makes another segment."""
        name = request.object.get("name")
        if not isinstance(name, str) or not name or request.object.get("static_segment") != []:
            return _problem(400, "A static segment has a name and a list of addresses.")
        self._made += 1
        self._segments[self._made] = (name, {})
        return Answer(200, {"id": self._made, "name": name})

    @on("PATCH", f"{LIST}/segments/{{segment}}")
    def write_segment(self, request: Request, audience: str, segment: str) -> Answer:
        """Its name, and who is in it: here nobody."""
        name = request.object.get("name")
        if not isinstance(name, str) or not name or request.object.get("static_segment") != []:
            return _problem(400, "A static segment has a name and a list of addresses.")
        if int(segment) not in self._segments:
            return _problem(404, "Resource Not Found")
        self._segments[int(segment)] = (name, {})
        return Answer(200, {"id": int(segment), "name": name})

    @on("DELETE", f"{LIST}/segments/{{segment}}")
    def delete_segment(self, request: Request, audience: str, segment: str) -> Answer:
        found = self._segments.pop(int(segment), None) if segment.isdigit() else None
        return Answer(204) if found else _problem(404, "Resource Not Found")

    @on("POST", f"{LIST}/segments/{{segment}}")
    def change_segment(self, request: Request, audience: str, segment: str) -> Answer:
        found = self._segments.get(int(segment)) if segment.isdigit() else None
        if found is None:
            return _problem(404, "Resource Not Found")
        joins, leaves = (request.object.get(name, []) for name in ("members_to_add", "members_to_remove"))
        if max(len(joins), len(leaves)) > MOST:
            return _problem(400, f"At most {MOST} members are changed at once.")
        known = {email: person for email in joins if (person := self.people.find("email", email.lower()))}
        found[1].update(known)
        for email in leaves:
            found[1].pop(email, None)
        return Answer(200, {"members_added": [{"email_address": email} for email in known], "error_count": 0})

    def told(self, identifier: str | None, at: float) -> dict[str, Any]:
        lists = [{"name": name, "members": sorted(members)} for name, members in self._segments.values()]
        return {**super().told(identifier, at), "lists": lists}


def _page(request: Request, name: str, found: list[dict[str, Any]]) -> Answer:
    first, many = int(request.query.get("offset", "0")), int(request.query.get("count", "10"))
    return Answer(200, {name: found[first : first + many], "total_items": len(found)})


def _problem(status: int, detail: str) -> Answer:
    return Answer(status, {"title": "Problem", "status": status, "detail": detail})
