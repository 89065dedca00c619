"""Pardot: prospects by address, external activities. https://developer.salesforce.com/docs/marketing/pardot/guide

Every custom field and activity type that is asked for is there, unless its name begins with `Missing`.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from sandbox.memory import Person
from sandbox.vendor import Answer, Cap, Request, Vendor, on

V5 = "/api/v5"
TOKEN = re.compile(r"00D-[0-9a-f]{16}!\d+")  # a session of Salesforce
UNIT = re.compile(r"0Uv[A-Za-z0-9]{15}")
FIELDS = {
    "email", "firstName", "lastName", "salutation", "phone", "company", "jobTitle", "industry", "city", "state", "zip",
    "country", "website", "addressOne", "addressTwo", "annualRevenue", "campaignId", "comments", "department",
    "employees", "fax", "isDoNotEmail", "isDoNotCall",
}  # fmt: skip
DAY = 86_400


class Pardot(Vendor):
    """Addresses are told apart by case."""

    slug = "pardot"
    hosts = (r"pi(\.demo)?\.pardot\.com",)
    caps = (Cap(5),)
    daily = 100_000

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._asked: dict[int, int] = {}  # requests by day
        self._deleted: list[Person] = []  # in the recycle bin

    @classmethod
    def credential(cls, request: Request) -> str | None:
        """A session, that Salesforce has given out; which one is known only there."""
        token = request.bearer() or ""
        return token if TOKEN.fullmatch(token) else None

    @classmethod
    def account(cls, request: Request) -> str:
        return request.headers.get("pardot-business-unit-id", "")

    def unauthorized(self) -> Answer:
        return _error(401, 184, "access_token is invalid, unknown, or malformed")

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        return _error(429, 66, "You have exceeded your concurrent access limit.")

    def respond(self, request: Request) -> Answer:
        if not UNIT.fullmatch(self.account(request)):
            return Answer(400, msgspec.Raw(b'<?xml version="1.0"?><rsp stat="fail"><err code="181"/></rsp>'))
        day = int(request.at // DAY)
        self._asked[day] = self._asked.get(day, 0) + 1
        if self._asked[day] > self.daily:
            return _error(400, 122, "Daily API rate limit met")
        if request.headers.get("content-type") != "application/json":
            return _error(400, 151, "the content type is not application/json")
        return super().respond(request)

    @on("POST", f"{V5}/objects/prospects/do/upsertLatestByEmail")
    def upsert(self, request: Request) -> Answer:
        email, told = str(request.object.get("matchEmail") or ""), request.object.get("prospect")
        if not email or not isinstance(told, dict):
            return _error(400, 13, "matchEmail and prospect are needed")
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", email) or len(email) > 255 or self.refused(email):
            return _error(400, 4, "Invalid prospect email address")
        for name, value in told.items():
            if name not in FIELDS and (not name.endswith("__c") or name.startswith("Missing")):
                return _error(400, 154, f"Invalid property: {name}")
            if not isinstance(value, str | int | float | None) or (isinstance(value, bool) and name.endswith("__c")):
                return _error(400, 10000, f"{name} is not valid")
        person = self.people.find("email", email) or self._back(email, request.object)
        created, person = person is None, person or self.people.add()
        self.people.identify(person, "email", str(told.get("email") or email))
        self.people.tell(person, request.at, told)
        return Answer(201 if created else 200, {"id": person.number, "email": person.identifiers["email"]})

    def _back(self, email: str, told: dict[str, Any]) -> Person | None:
        """One from the recycle bin, where it is looked through too."""
        found = next((each for each in self._deleted if each.identifiers["email"] == email), None)
        if found is None or told.get("secondaryDeletedSearch") is not True:
            return None
        self._deleted.remove(found)
        back = self.people.add()
        self.people.tell(back, 0.0, found.values)
        return back

    @on("DELETE", f"{V5}/objects/prospects/{{id}}")
    def delete(self, request: Request, id: str) -> Answer:
        found = next((each for each in self.people.having(None) if str(each.number) == id), None)
        if found is None:
            return _error(404, 109, "not found")
        self.people.forget(found)
        self._deleted.append(found)
        return Answer(204)

    @on("POST", f"{V5}/external-activities")
    def activity(self, request: Request) -> Answer:
        told = request.object
        if any(
            not isinstance(told.get(name), str) or not told[name] for name in ("extension", "type", "value", "email")
        ):
            return _error(400, 13, "extension, type, value and email are needed")
        if told["extension"].startswith("Missing") or told["type"].startswith("Missing"):
            return _error(400, 10000, "the extension or activity type is not there, or not active")
        if not re.match(r"\d{4}-\d\d-\d\dT", str(told.get("activityDate"))) or self.refused(told["email"]):
            return _error(400, 10000, "activityDate or email is not valid")
        self.events.add(request.at, told["type"], {"email": told["email"]}, {"value": told["value"]})
        return Answer(201, {"id": len(self.events)})


def _error(status: int, code: int, words: str) -> Answer:
    return Answer(status, {"code": code, "message": words})
