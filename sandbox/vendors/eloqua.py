"""Eloqua: where an instance is, contact fields and lists, imports and their syncs.

https://docs.oracle.com/en/cloud/saas/marketing/eloqua-develop
"""

import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox.vendor import Answer, Request, Vendor, on

POD = "https://secure.p03.eloqua.com"
BULK, REST = "/api/bulk/2.0", "/api/REST/1.0"
STATEMENT = re.compile(r"\{\{Contact\.Field\((C_\w+)\)\}\}")
STANDARD = ("C_EmailAddress", "C_FirstName", "C_LastName", "C_City", "C_Country", "C_Title", "C_Address1", "C_BusPhone")
KINDS = ("text", "numeric", "number", "largeText")
MOST_FIELDS, LONGEST = 100, 250
WORKS = 2.0  # seconds until a sync has ended


@dataclass
class Sync:
    """An import at work: its rows are judged when it is made."""

    since: float
    rejects: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""


class Eloqua(Vendor):
    """One company's instance; the place where it is told and the instance share no state."""

    slug = "eloqua"
    hosts = (r"login\.eloqua\.com", r"secure\.p\d\d\.eloqua\.com")
    max_bytes = 32_000_000

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._fields = dict.fromkeys(STANDARD, "text")
        self._named = {name: name.removeprefix("C_") for name in STANDARD}
        self._lists: dict[str, tuple[str, set[str]]] = {}  # names and members, by id
        self._made = 0  # lists, those too that were deleted
        self._imports: list[dict[str, Any]] = []
        self._syncs: list[Sync] = []

    @classmethod
    def credential(cls, request: Request) -> str | None:
        """The password; the user must name the company."""
        try:
            user, _, password = b64decode(request.authorization("basic") or "", validate=True).decode().partition(":")
        except ValueError:
            return None
        return password if "\\" in user and password else None

    def unauthorized(self) -> Answer:
        return Answer(401, "Not authenticated.")

    @on("GET", "/id")
    def where(self, request: Request) -> Answer:
        apis = {"rest": {"standard": POD + "/API/REST/{version}/", "bulk": POD + "/API/Bulk/{version}/"}}
        return Answer(200, {"site": {"id": 1, "name": "Acme"}, "urls": {"base": POD, "apis": apis}})

    # -- fields and lists
    @on("GET", f"{BULK}/contacts/fields")
    def fields(self, request: Request) -> Answer:
        start, most = int(request.query.get("offset", "0")), int(request.query.get("limit", "1000"))
        found = [
            {
                "name": self._named[name],
                "internalName": name,
                "dataType": kind,
                "statement": f"{{{{Contact.Field({name})}}}}",
            }
            for name, kind in self._fields.items()
        ]
        return Answer(200, {"items": found[start : start + most], "hasMore": start + most < len(found)})

    @on("POST", f"{REST}/assets/contact/field")
    def add_field(self, request: Request) -> Answer:
        body = request.object
        name = body.get("name")
        if (
            not isinstance(name, str)
            or not name
            or body.get("dataType") not in ("text", "numeric", "number", "largeText")
        ):
            return _invalid("name")
        if name in self._named.values():
            return _invalid("name", "UniquenessRequirement")
        internal = "C_" + re.sub(r"\W", "_", name) + "1"
        self._fields[internal], self._named[internal] = body["dataType"], name
        return Answer(201, {**body, "id": str(100_000 + len(self._fields)), "internalName": internal})

    @on("GET", f"{REST}/assets/contact/lists")
    def lists(self, request: Request) -> Answer:
        wanted = re.fullmatch(r"name='((?:[^']|'')*)'", request.query.get("search", ""))
        if not wanted:
            return _invalid("search")
        name = wanted[1].replace("''", "'")
        found = [{"id": id, "name": its} for id, (its, _) in self._lists.items() if its == name]
        return Answer(200, {"elements": found, "total": len(found)})

    @on("POST", f"{REST}/assets/contact/list")
    def add_list(self, request: Request) -> Answer:
        name = request.object.get("name")
        if not isinstance(name, str) or not name or any(name == its for its, _ in self._lists.values()):
            return _invalid("name")
        self._made += 1
        made = str(40 + self._made)
        self._lists[made] = (name, set())
        return Answer(201, {"id": made, "name": name})

    @on("GET", f"{REST}/assets/contact/list/{{number}}")
    def show_list(self, request: Request, number: str) -> Answer:
        return Answer(200, {"id": number, "name": self._lists[number][0]}) if number in self._lists else Answer(404)

    @on("DELETE", f"{REST}/assets/contact/list/{{number}}")
    def delete_list(self, request: Request, number: str) -> Answer:
        return Answer(200) if self._lists.pop(number, None) else Answer(404)

    # -- contacts
    @on("GET", f"{REST}/data/contacts")
    def contacts(self, request: Request) -> Answer:
        wanted = re.fullmatch(r"emailAddress='((?:[^']|'')*)'", request.query.get("search", ""))
        person = self.people.find("email", wanted[1].replace("''", "'").lower()) if wanted else None
        found = [{"id": str(person.number)}] if person else []
        return Answer(200, {"elements": found, "total": len(found)}) if wanted else _invalid("search")

    @on("DELETE", f"{REST}/data/contact/{{number}}")
    def delete_contact(self, request: Request, number: str) -> Answer:
        person = next((each for each in self.people.having(None) if str(each.number) == number), None)
        if person is None:
            return Answer(404)
        self.people.forget(person)
        for _, members in self._lists.values():
            members.discard(person.identifiers["email"])
        return Answer(200)

    # -- imports
    @on("POST", f"{BULK}/contacts/imports")
    def define(self, request: Request) -> Answer:
        body = request.object
        told = body.get("fields")
        if (
            not isinstance(told, dict)
            or not 0 < len(told) <= MOST_FIELDS
            or body.get("identifierFieldName") not in told
        ):
            return _invalid("fields")
        for statement in told.values():
            found = STATEMENT.fullmatch(str(statement))
            if not found or found[1] not in self._fields:
                return _invalid(str(statement))
        for action in body.get("syncActions") or []:
            target = re.fullmatch(r"\{\{ContactList\[(\d+)\]\}\}", str(action.get("destination")))
            if not target or target[1] not in self._lists or action.get("action") not in ("add", "remove"):
                return _invalid("syncActions")
        self._imports.append(body)
        return Answer(201, {**body, "uri": f"/contacts/imports/{len(self._imports)}"})

    @on("POST", f"{BULK}/contacts/imports/{{number}}/data")
    def data(self, request: Request, number: str) -> Answer:
        given = request.json
        if not number.isdigit() or not 0 < int(number) <= len(self._imports):
            return Answer(404)
        definition = self._imports[int(number) - 1]
        if not isinstance(given, list) or not given or not all(isinstance(each, dict) for each in given):
            return _invalid("data")
        sync = Sync(request.at)
        self._syncs.append(sync)
        for index, each in enumerate(given):
            self._take(sync, definition, index, each, request.at)
        uri = f"/syncs/{len(self._syncs)}"
        if definition.get("isSyncTriggeredOnImport") is not True:
            return Answer(204)
        return Answer(201, {"syncedInstanceUri": f"/contacts/imports/{number}", "status": "pending", "uri": uri})

    def _take(self, sync: Sync, definition: dict[str, Any], index: int, told: dict[str, Any], at: float) -> None:
        address = str(told.get(definition["identifierFieldName"], "")).lower()
        code = self._code(definition, told, address)
        if code:
            reject = {
                "fieldValues": told,
                "statusCode": code,
                "message": f"{code}: the row is not valid.",
                "recordIndex": index,
            }
            sync.rejects.append(reject)
            return
        for action in definition.get("syncActions") or []:
            number = action["destination"].strip("{}").removeprefix("ContactList[").rstrip("]")
            if number not in self._lists:
                sync.error = f"The contact list {number} does not exist."
                return
            members = self._lists[number][1]
            (members.add if action["action"] == "add" else members.discard)(address)
        person = self.people.find("email", address) or self.people.add()
        self.people.identify(person, "email", address)
        self.people.tell(person, at, {name: value for name, value in told.items() if name != "C_EmailAddress"})

    def _code(self, definition: dict[str, Any], told: dict[str, Any], address: str) -> str:
        """Why a row is not taken; "" if it is."""
        if "@" not in address or self.refused(address):
            return "ELQ-00002"
        if told.keys() - definition["fields"].keys() or not all(isinstance(value, str) for value in told.values()):
            return "ELQ-00032"
        for name, value in told.items():
            internal = STATEMENT.fullmatch(definition["fields"][name])
            kind = self._fields[internal[1]] if internal else "text"
            number = kind in ("numeric", "number") and value
            if (number and not re.fullmatch(r"-?\d+(\.\d{1,4})?", value)) or (kind == "text" and len(value) > LONGEST):
                return "ELQ-00026" if name == definition["identifierFieldName"] else "ELQ-00061"
        return ""

    @on("GET", f"{BULK}/syncs/{{number}}")
    def sync(self, request: Request, number: str) -> Answer:
        found = self._sync(number)
        if found is None:
            return Answer(404)
        ended = "error" if found.error else "warning" if found.rejects else "success"
        status = ended if request.at - found.since >= WORKS else "active"
        return Answer(200, {"uri": f"/syncs/{number}", "status": status})

    @on("GET", f"{BULK}/syncs/{{number}}/rejects")
    def rejects(self, request: Request, number: str) -> Answer:
        found = self._sync(number)
        start, most = int(request.query.get("offset", "0")), int(request.query.get("limit", "1000"))
        all_of = found.rejects if found else []
        return Answer(200, {"items": all_of[start : start + most], "hasMore": start + most < len(all_of)})

    @on("GET", f"{BULK}/syncs/{{number}}/logs")
    def logs(self, request: Request, number: str) -> Answer:
        found = self._sync(number)
        said = [{"severity": "error", "message": found.error}] if found and found.error else []
        return Answer(200, {"items": said, "hasMore": False})

    def _sync(self, number: str) -> Sync | None:
        return self._syncs[int(number) - 1] if number.isdigit() and 0 < int(number) <= len(self._syncs) else None

    def told(self, identifier: str | None, at: float) -> dict[str, Any]:
        lists = [{"name": name, "members": sorted(members)} for name, members in self._lists.values()]
        return {**super().told(identifier, at), "lists": lists}


def _invalid(place: str, kind: str = "") -> Answer:
    requirement = {"type": kind or "ValidRequirement"}
    return Answer(400, [{"type": "ObjectValidationError", "property": place, "requirement": requirement}])
