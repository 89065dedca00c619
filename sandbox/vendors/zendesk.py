"""Zendesk Support: users, their fields, background jobs, the Events API. https://developer.zendesk.com/api-reference/"""

import base64
import binascii
import re
from collections import deque
from collections.abc import Callable
from datetime import date
from math import ceil
from typing import Any

from sandbox.memory import Person
from sandbox.vendor import Answer, Cap, Request, Vendor, on

MAX_USERS = 100  # of one bulk request
MAX_JOBS = 30  # queued or working
QUEUED, WORKING = 0.5, 0.5  # seconds that a job spends in each
MAX_IDENTIFIER = 60  # characters, of the Events API
FIELD_TYPES = frozenset(
    ("text", "textarea", "checkbox", "date", "integer", "decimal", "regexp", "dropdown", "lookup", "multiselect")
)
OWN_ID = 900_000  # users' ids start here
STANDARD = ("name", "phone", "time_zone", "organization_id", "role", "tags", "notes", "details", "verified")

Errors = dict[str, list[dict[str, str]]]


class Job:
    """A bulk import in the background: its users are written when it completes."""

    def __init__(self, number: int, users: list[dict[str, Any]], at: float) -> None:
        self.id = f"{number:032x}"
        self.users = users
        self.at = at
        self.results: list[dict[str, Any]] | None = None

    def shown(self, host: str, at: float) -> dict[str, Any]:
        done = self.results is not None
        status = "completed" if done else "queued" if at - self.at < QUEUED else "working"
        return {
            "id": self.id,
            "url": f"https://{host}/api/v2/job_statuses/{self.id}.json",
            "status": status,
            "total": len(self.users),
            "progress": len(self.users) if done else 0,
            "message": None,
            "results": self.results,
        }


class Zendesk(Vendor):
    slug = "zendesk"
    hosts = (r"[a-z0-9-]+\.zendesk\.com",)
    caps = (Cap(50),)

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._fields: dict[str, dict[str, Any]] = {}
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()  # queued or working

    @classmethod
    def credential(cls, request: Request) -> str | None:
        """The API token of `{agent}/token:{token}`, or an OAuth token."""
        if token := request.bearer():
            return token
        try:
            pair = base64.b64decode(request.authorization("basic") or "", validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        agent, _, token = pair.partition(":")
        return token if token and agent.endswith("/token") and "@" in agent else None

    @classmethod
    def account(cls, request: Request) -> str:
        return ""  # the subdomain is the account; its tokens share the cap

    def unauthorized(self) -> Answer:
        return Answer(401, {"error": "Couldn't authenticate you"})

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        body = {"error": "APIRateLimitExceeded", "description": "Number of allowed API requests exceeded"}
        return Answer(429, body, {**self.quota(cap, 0, at), "Retry-After": str(max(1, ceil(wait)))})

    def failed(self, status: int) -> Answer:
        return Answer(status, {"error": "InternalError", "description": "Please try again later"})

    def unknown(self, request: Request) -> Answer:
        return Answer(404, {"error": "InvalidEndpoint", "description": "Not found"})

    def quota(self, cap: Cap, remaining: int, at: float) -> dict[str, str]:
        return {"X-Rate-Limit": str(cap.requests), "X-Rate-Limit-Remaining": str(remaining)}

    def place(self, request: Request) -> str:
        return request.path.removesuffix(".json")

    def respond(self, request: Request) -> Answer:
        self._work(request.at)
        return super().respond(request)

    def told(self, identifier: str | None, at: float) -> dict[str, Any]:
        self._work(at)
        return super().told(identifier, at)

    # -- fields
    @on("GET", "/api/v2/user_fields")
    def fields(self, request: Request) -> Answer:
        found = list(self._fields.values())
        return Answer(200, {"user_fields": found, "count": len(found), "next_page": None, "meta": {"has_more": False}})

    @on("POST", "/api/v2/user_fields")
    def create_field(self, request: Request) -> Answer:
        given = _dict(request.object.get("user_field"))
        key, kind = given.get("key"), given.get("type", "text")
        if not isinstance(key, str) or not re.fullmatch(r"\w+", key) or key.isdigit():
            return _invalid({"key": [_error("InvalidFormat", "Key: is invalid")]})
        if key in self._fields:
            return _invalid({"key": [_error("DuplicateValue", f"Key: {key} has already been taken")]})
        if not given.get("title") or kind not in FIELD_TYPES:
            wrong = "title" if not given.get("title") else "type"
            return _invalid({wrong: [_error("BlankValue", f"{wrong.title()}: is missing or unknown")]})
        self._fields[key] = {**given, "id": 7000 + len(self._fields), "key": key, "type": kind}
        return Answer(201, {"user_field": self._fields[key]})

    # -- users
    @on("POST", "/api/v2/users/create_or_update")
    def create_or_update(self, request: Request) -> Answer:
        user = request.object.get("user")
        if not isinstance(user, dict):
            return Answer(400, {"error": "BadRequest", "description": "Parameter user is required"})
        done = self._upsert(user, request.at)
        if isinstance(done, dict):
            return _invalid(done)
        person, created = done
        location = {"Location": f"https://{request.host}/api/v2/users/{OWN_ID + person.number}.json"}
        return Answer(201 if created else 200, {"user": _shown(person)}, location)

    @on("POST", "/api/v2/users/create_or_update_many")
    def create_or_update_many(self, request: Request) -> Answer:
        users = request.object.get("users")
        if not isinstance(users, list) or not users or not all(isinstance(user, dict) for user in users):
            return Answer(400, {"error": "BadRequest", "description": "Parameter users is required: an array of users"})
        if len(users) > MAX_USERS:
            return Answer(400, {"error": "TooManyUsers", "description": f"At most {MAX_USERS} users in one request"})
        if len(self._waiting) >= MAX_JOBS:
            words = f"Only {MAX_JOBS} jobs may be queued or running. Try again when some have completed."
            return Answer(429, {"error": "TooManyJobs", "description": words})
        job = Job(len(self._jobs) + 1, users, request.at)
        self._jobs[job.id] = job
        self._waiting.append(job)
        return Answer(200, {"job_status": job.shown(request.host, request.at)})

    @on("GET", "/api/v2/users/search")
    def search(self, request: Request) -> Answer:
        kind, _, value = request.query.get("query", "").partition(":")
        if "external_id" in request.query:
            kind, value = "external_id", request.query["external_id"]
        found = self.people.find(kind, value.strip('"').lower())
        return Answer(200, {"users": [_shown(found)] if found else [], "count": int(bool(found)), "next_page": None})

    @on("GET", "/api/v2/users/me")
    def me(self, request: Request) -> Answer:
        return Answer(200, {"user": {"id": 1, "name": "Agent", "role": "admin", "active": True}})

    @on("GET", "/api/v2/users/{number}")
    def show(self, request: Request, number: str) -> Answer:
        person = self.people.find("id", number)
        return Answer(200, {"user": _shown(person)}) if person else _not_found()

    @on("DELETE", "/api/v2/users/{number}")
    def delete(self, request: Request, number: str) -> Answer:
        """The record goes; the id is remembered until it is deleted for good."""
        person = self.people.find("id", number)
        if person is None:
            return _not_found()
        self.people.forget(person)
        return Answer(200, {"user": {**_shown(person), "active": False}})

    @on("DELETE", "/api/v2/deleted_users/{number}")
    def delete_for_good(self, request: Request, number: str) -> Answer:
        return Answer(200, {"deleted_user": {"id": number, "active": False}})

    def _upsert(self, user: dict[str, Any], at: float) -> tuple[Person, bool] | Errors:
        """Write one user; the person and whether it is new, or what is wrong with it."""
        email, external = _lower(user.get("email")), user.get("external_id")
        if not email and not external:
            return {"base": [_error("BlankValue", "Email or external_id is required")]}
        if email and (not re.fullmatch(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+", email) or self.refused(email)):
            return {"email": [_error("InvalidValue", f"Email: {email} is not properly formatted")]}
        if external and self.refused(str(external)):
            return {"external_id": [_error("InvalidValue", "External ID: is invalid")]}
        by_email = self.people.find("email", email) if email else None
        by_id = self.people.find("external_id", str(external).lower()) if external else None
        if by_id and by_email and by_id is not by_email:
            return {"email": [_error("DuplicateValue", f"Email: {email} is already being used by another user")]}
        known = by_id or by_email
        if not known and not user.get("name"):
            return {"name": [_error("BlankValue", "Name: is too short (minimum is 1 characters)")]}
        fields = {k: v for k, v in _dict(user.get("user_fields")).items() if k in self._fields}
        if wrong := [key for key, value in fields.items() if not _fits(self._fields[key]["type"], value)]:
            return {key: [_error("InvalidValue", f"{key}: is invalid")] for key in wrong}
        person = known or self._new()
        if email:
            self.people.identify(person, "email", email, primary=not by_id)
        if external:
            self.people.identify(person, "external_id", str(external).lower())
            person.identifiers["external_id"] = str(external)
        self.people.tell(person, at, {**{k: user[k] for k in STANDARD if k in user}, **fields})
        return person, not known

    def _new(self) -> Person:
        person = self.people.add()
        self.people.identify(person, "id", str(OWN_ID + person.number))
        return person

    # -- jobs
    @on("GET", "/api/v2/job_statuses/show_many")
    def show_jobs(self, request: Request) -> Answer:
        found = [self._jobs[key] for key in request.query.get("ids", "").split(",") if key in self._jobs]
        return Answer(200, {"job_statuses": [job.shown(request.host, request.at) for job in found]})

    @on("GET", "/api/v2/job_statuses/{key}")
    def show_job(self, request: Request, key: str) -> Answer:
        job = self._jobs.get(key)
        return Answer(200, {"job_status": job.shown(request.host, request.at)}) if job else _not_found()

    def _work(self, at: float) -> None:
        """Complete the jobs whose time has come, in their order."""
        while self._waiting and at - self._waiting[0].at >= QUEUED + WORKING:
            job = self._waiting.popleft()
            done = [self._upsert(user, job.at) for user in job.users]
            job.results = [_result(index, result) for index, result in enumerate(done)]

    # -- events
    @on("POST", "/api/v2/user_profiles/events")
    def track(self, request: Request) -> Answer:
        event, profile = _dict(request.object.get("event")), _dict(request.object.get("profile"))
        if words := _bad_event(event) or _bad_profile(profile):
            return _event_error(words)
        identifiers = {item["type"]: item["value"] for item in profile["identifiers"]}
        if self.refused(*identifiers.values()):
            return _event_error("profile.identifiers: a value is not valid")
        found = {kind: value.lower() for kind, value in identifiers.items() if kind in ("email", "external_id")}
        person = self.people.find_any(found)
        if person is None:
            person = self._new()
            self.people.tell(person, request.at, {"name": profile.get("name", "")})
        for kind, value in found.items():
            self.people.identify(person, kind, value)
        self.events.add(request.at, event["type"], identifiers, event["properties"])
        number = OWN_ID + person.number
        return Answer(202, {"status": "received", "profile_id": f"profile-{number}", "user_id": str(number)})


def _result(index: int, done: tuple[Person, bool] | Errors) -> dict[str, Any]:
    if isinstance(done, dict):
        words = "; ".join(e["description"] for errors in done.values() for e in errors)
        return {"index": index, "success": False, "error": "RecordInvalid", "details": words}
    person, created = done
    return {"id": OWN_ID + person.number, "status": "Created" if created else "Updated", "success": True}


def _invalid(details: Errors) -> Answer:
    return Answer(422, {"error": "RecordInvalid", "description": "Record validation errors", "details": details})


def _error(code: str, words: str) -> dict[str, str]:
    return {"description": words, "error": code}


def _not_found() -> Answer:
    return Answer(404, {"error": "RecordNotFound", "description": "Not found"})


def _event_error(words: str) -> Answer:
    return Answer(400, {"errors": [{"code": "InvalidRequest", "id": "0", "title": words}]})


def _bad_event(event: dict[str, Any]) -> str | None:
    if not all(isinstance(event.get(key), str) and event[key] for key in ("source", "type")):
        return "event.source and event.type are required"
    return None if isinstance(event.get("properties"), dict) else "event.properties is required: an object"


def _bad_profile(profile: dict[str, Any]) -> str | None:
    if not all(isinstance(profile.get(key), str) and profile[key] for key in ("source", "type")):
        return "profile.source and profile.type are required"
    items = profile.get("identifiers")
    if not isinstance(items, list) or not items:
        return "profile.identifiers is required: an array that is not empty"
    for item in items:
        if not all(isinstance(_dict(item).get(key), str) for key in ("type", "value")):
            return "profile.identifiers: each needs a type and a value"
        if not 0 < len(item["value"]) <= MAX_IDENTIFIER:
            return f"profile.identifiers: a value has at most {MAX_IDENTIFIER} characters"
    return None


def _shown(person: Person) -> dict[str, Any]:
    values = person.values
    return {
        "id": OWN_ID + person.number,
        "email": person.identifiers.get("email"),
        "external_id": person.identifiers.get("external_id"),
        "active": True,
        **{key: values[key] for key in STANDARD if key in values},
        "user_fields": {key: value for key, value in values.items() if key not in STANDARD},
    }


def _fits(kind: str, value: Any) -> bool:
    if value is None:
        return True
    match kind:
        case "checkbox":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "decimal":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "date":
            return isinstance(value, str) and _date(value)
        case "multiselect":
            return isinstance(value, list)
        case _:
            return isinstance(value, str | int | float)


def _date(value: str) -> bool:
    try:
        return bool(date.fromisoformat(value[:10]))
    except ValueError:
        return False


def _lower(value: Any) -> str:
    return value.strip().lower() if isinstance(value, str) else ""


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
