"""Zendesk Support: users, organizations, their fields, background jobs, the Events API. https://developer.zendesk.com/api-reference/"""

import base64
import binascii
import re
from collections import deque
from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import ceil
from typing import Any

from sandbox.memory import Person
from sandbox.vendor import Answer, Cap, Request, Vendor, on
from sandbox.vendors.zendesk_organizations import Organizations
from sandbox.vendors.zendesk_shapes import (
    FIELD_TYPES,
    OWN_ID,
    STANDARD,
    Errors,
    Plain,
    as_dict,
    bad_event,
    bad_profile,
    error,
    event_error,
    fits,
    invalid,
    lower,
    not_found,
    row,
    shown,
    update_row,
)

MAX_USERS = 100  # of one bulk request, one question
MAX_JOBS = 30  # queued or working
QUEUED, WORKING = 0.5, 0.5  # seconds that a job spends in each
MAX_UPDATES, PER = 5, 60.0  # of one user; those of jobs are not counted (unsure)
TOKENS = "/oauth/tokens"
GRANTED = re.compile(r"(granted-[0-9a-f]{16})-\d+")  # an access token: its client, and its number
LIFE = 86_400  # seconds, of a token whose life was not asked for (unsure)


class Job:
    """Something done to users in the background: `work` does it when the job completes, and makes the rows."""

    def __init__(self, number: int, users: list[dict[str, Any]], at: float, work: "Work") -> None:
        self.id = f"{number:032x}"
        self.users = users
        self.at = at
        self.work = work
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


Work = Callable[[int, dict[str, Any], float], dict[str, Any]]  # position, user, when


class Zendesk(Organizations, Vendor):
    slug = "zendesk"
    hosts = (r"[a-z0-9-]+\.zendesk\.com",)
    caps = (Cap(50), Cap(700, 600.0, "deletion for good"))

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._fields: dict[str, dict[str, Any]] = {}
        self._keys: set[str] = set()  # of fields, also of those that were deleted: they are not given out again
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()  # queued or working
        self._ends: dict[str, float] = {}  # of the tokens that were granted, in unix seconds
        self._deleted: set[str] = set()  # ids of users who are deleted, but not for good
        self._updates: dict[int, deque[float]] = {}  # of each user, when
        self._profiles: dict[str, tuple[str, dict[str, Any]]] = {}  # by identifier query: its id, and what it is

    # -- credentials
    @classmethod
    def credential(cls, request: Request) -> str | None:
        """The API token of `{agent}/token:{token}`, or an OAuth token; a client's secret is none: it lasts."""
        if request.path == TOKENS:
            return ""
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

    @classmethod
    def authorized(cls, request: Request, known: set[str]) -> bool:
        secret = cls.secret(request, None)
        granted = GRANTED.fullmatch(request.bearer() or "")
        if secret is None or not known:
            return secret is not None
        return secret in known or bool(granted and granted[1] in {_client(each) for each in known})

    @classmethod
    def secret(cls, request: Request, settings: Any) -> str | None:
        if request.path == TOKENS:
            return str(request.object.get("client_secret", ""))
        return cls.credential(request)

    @on("POST", TOKENS)
    def grant(self, request: Request) -> Answer:
        """A new access token for a confidential client; those before it stay good for as long as they were."""
        asked = request.object
        if asked.get("grant_type") != "client_credentials":
            return _oauth(400, "unsupported_grant_type", "The authorization grant type is not supported.")
        if not (asked.get("client_id") and asked.get("client_secret")):
            return _oauth(401, "invalid_client", "Client authentication failed due to unknown client.")
        scopes = str(asked.get("scope", "")).split()
        if not scopes or not all(re.fullmatch(r"([a-z_]+:)?(read|write)|impersonate", scope) for scope in scopes):
            return _oauth(400, "invalid_scope", "The requested scope is invalid, unknown, or malformed.")
        life = asked.get("expires_in", LIFE)
        if not (isinstance(life, int) and 300 < life < 172_800):
            return _oauth(400, "invalid_request", "expires_in: more than 300 and less than 172800")
        token = f"{_client(str(asked['client_secret']))}-{len(self._ends) + 1}"
        self._ends[token] = request.at + life
        body = {"access_token": token, "token_type": "bearer", "scope": asked["scope"], "expires_in": life}
        return Answer(201, body)

    # -- answers
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
        """Whatever the cap, told by the minute."""
        minute = 60 / cap.seconds
        return {
            "X-Rate-Limit": str(round(cap.requests * minute)),
            "X-Rate-Limit-Remaining": str(round(remaining * minute)),
        }

    def endpoint(self, request: Request) -> str:
        return "deletion for good" if request.path.startswith("/api/v2/deleted_users/") else ""

    def place(self, request: Request) -> str:
        return request.path.removesuffix(".json")

    def respond(self, request: Request) -> Answer:
        token = request.bearer() or ""
        if GRANTED.fullmatch(token) and self._ends.get(token, 0.0) <= request.at:
            words = "The access token provided is expired, revoked, malformed or invalid for other reasons."
            return _oauth(401, "invalid_token", words)
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
        given = as_dict(request.object.get("user_field"))
        key, kind = given.get("key"), given.get("type", "text")
        if not isinstance(key, str) or not re.fullmatch(r"\w+", key) or key.isdigit():
            return invalid({"key": [error("InvalidFormat", "Key: is invalid")]})
        if key in self._keys:
            return invalid({"key": [error("DuplicateValue", f"Key: {key} has already been taken")]})
        if not given.get("title") or kind not in FIELD_TYPES:
            wrong = "title" if not given.get("title") else "type"
            return invalid({wrong: [error("BlankValue", f"{wrong.title()}: is missing or unknown")]})
        self._fields[key] = {**given, "id": 7000 + len(self._keys), "key": key, "type": kind}
        self._keys.add(key)
        return Answer(201, {"user_field": self._fields[key]})

    @on("DELETE", "/api/v2/user_fields/{number}")
    def delete_field(self, request: Request, number: str) -> Answer:
        key = next((key for key, each in self._fields.items() if str(each["id"]) == number), None)
        if key is None:
            return not_found()
        del self._fields[key]
        return Answer(204)

    # -- users
    @on("POST", "/api/v2/users/create_or_update")
    def create_or_update(self, request: Request) -> Answer:
        user = request.object.get("user")
        if not isinstance(user, dict):
            return Answer(400, {"error": "BadRequest", "description": "Parameter user is required"})
        known = self._find(user)
        if known and (too_often := self._too_often(known, request.at)):
            return too_often
        done = self._upsert(user, request.at)
        if isinstance(done, dict):
            return invalid(done)
        person, created = done
        location = {"Location": f"https://{request.host}/api/v2/users/{OWN_ID + person.number}.json"}
        return Answer(201 if created else 200, {"user": shown(person, self._fields)}, location)

    @on("POST", "/api/v2/users/create_or_update_many")
    def create_or_update_many(self, request: Request) -> Answer:
        return self._start(request, request.object.get("users"), self._upsert_one)

    @on("PUT", "/api/v2/users/update_many")
    def update_many(self, request: Request) -> Answer:
        """The same change for those of the query, or for each its own."""
        for name in ("ids", "external_ids"):
            if named := request.query.get(name):
                same = as_dict(request.object.get("user"))
                key = name.removesuffix("s")
                return self._start(request, [{**same, key: each} for each in named.split(",")], self._update_one)
        return self._start(request, request.object.get("users"), self._update_one)

    @on("GET", "/api/v2/users/show_many")
    def show_many(self, request: Request) -> Answer:
        kind = "id" if "ids" in request.query else "external_id"
        values = request.query.get(f"{kind}s", "").split(",")
        if len(values) > MAX_USERS:  # what Zendesk answers then is not documented
            return Answer(400, {"error": "TooManyIds", "description": f"At most {MAX_USERS} users in one request"})
        return self._found([self.people.find(kind, value.lower()) for value in values])

    @on("GET", "/api/v2/users/search")
    def search(self, request: Request) -> Answer:
        """By an external id, or by any of several addresses. New users are found at once here, in Zendesk not."""
        if "external_id" in request.query:
            return self._found([self.people.find("external_id", request.query["external_id"].lower())])
        addresses = re.findall(r'email:"?([^"\s]+)"?', request.query.get("query", ""))
        return self._found([self.people.find("email", address.lower()) for address in addresses])

    @on("GET", "/api/v2/users/me")
    def me(self, request: Request) -> Answer:
        return Answer(200, {"user": {"id": 1, "name": "Agent", "role": "admin", "active": True}})

    @on("GET", "/api/v2/users/{number}")
    def show(self, request: Request, number: str) -> Answer:
        person = self.people.find("id", number)
        return Answer(200, {"user": shown(person, self._fields)}) if person else not_found()

    @on("PUT", "/api/v2/users/{number}")
    def update(self, request: Request, number: str) -> Answer:
        person = self.people.find("id", number)
        if person is None:
            return not_found()
        if too_often := self._too_often(person, request.at):
            return too_often
        wrong = self._change(person, as_dict(request.object.get("user")), request.at)
        return invalid(wrong) if wrong else Answer(200, {"user": shown(person, self._fields)})

    @on("DELETE", "/api/v2/users/{number}")
    def delete(self, request: Request, number: str) -> Answer:
        """The record goes; the id is remembered until it is deleted for good."""
        person = self.people.find("id", number)
        if person is None:
            return not_found()
        self.people.forget(person)
        self._deleted.add(number)
        return Answer(200, {"user": {**shown(person, self._fields), "active": False}})

    @on("DELETE", "/api/v2/deleted_users/{number}")
    def delete_for_good(self, request: Request, number: str) -> Answer:
        if number not in self._deleted:
            return not_found()
        self._deleted.remove(number)
        return Answer(200, {"deleted_user": {"id": int(number), "active": False}})

    def _found(self, people: Sequence[Person | None]) -> Answer:
        each = {person.number: shown(person, self._fields) for person in people if person}
        return Answer(200, {"users": list(each.values()), "count": len(each), "next_page": None})

    def _too_often(self, person: Person, at: float) -> Answer | None:
        times = self._updates.setdefault(person.number, deque(maxlen=MAX_UPDATES))
        if len(times) == MAX_UPDATES and at - times[0] < PER:
            headers = {"Retry-After": str(ceil(PER - (at - times[0]))), "Content-Type": "text/plain"}
            return Plain(429, None, headers, "You have exceeded the rate limit for updating a single unique user.")
        times.append(at)
        return None

    def _find(self, user: dict[str, Any]) -> Person | None:
        external = self.people.find("external_id", str(user.get("external_id", "")).lower())
        return external or self.people.find("email", lower(user.get("email")))

    def _upsert(self, user: dict[str, Any], at: float) -> tuple[Person, bool] | Errors:
        """Write one user; the person and whether it is new, or what is wrong with it."""
        if not lower(user.get("email")) and not user.get("external_id"):
            return {"base": [error("BlankValue", "Email or external_id is required")]}
        known = self._find(user)
        if not known and not user.get("name"):
            return {"name": [error("BlankValue", "Name: is too short (minimum is 1 characters)")]}
        if wrong := self._wrong(user, known):
            return wrong
        person = known or self._new()
        self._tell(person, user, at)
        return person, not known

    def _change(self, person: Person, user: dict[str, Any], at: float) -> Errors:
        """Change somebody who is known; what is wrong with it."""
        wrong = self._wrong(user, person)
        if not wrong:
            self._tell(person, user, at)
        return wrong

    def _wrong(self, user: dict[str, Any], person: Person | None) -> Errors:
        email, external = lower(user.get("email")), user.get("external_id")
        if person and self.refused(person.identifiers.get("email"), person.identifiers.get("external_id")):
            return {"base": [error("Suspended", "This user is suspended")]}
        if email and (not re.fullmatch(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+", email) or self.refused(email)):
            return {"email": [error("InvalidValue", f"Email: {email} is not properly formatted")]}
        if external and self.refused(str(external)):
            return {"external_id": [error("InvalidValue", "External ID: is invalid")]}
        for kind, value in (("email", email), ("external_id", str(external or "").lower())):
            if person and self.people.find(kind, value) not in (None, person):
                return {kind: [error("DuplicateValue", f"{kind}: {value} is already being used by another user")]}
        fields = as_dict(user.get("user_fields"))
        bad = [k for k, value in fields.items() if k in self._fields and not fits(self._fields[k]["type"], value)]
        return {key: [error("InvalidValue", f"{key}: is invalid")] for key in bad}

    def _tell(self, person: Person, user: dict[str, Any], at: float) -> None:
        if email := lower(user.get("email")):  # of somebody who has an address it becomes a second one
            self.people.identify(person, "email", email, primary=False)
        if external := user.get("external_id"):
            self.people.identify(person, "external_id", str(external).lower())
            person.identifiers["external_id"] = str(external)
        fields = {k: v for k, v in as_dict(user.get("user_fields")).items() if k in self._fields}
        self.people.tell(person, at, {**{k: user[k] for k in STANDARD if k in user}, **fields})

    def _new(self) -> Person:
        person = self.people.add()
        self.people.identify(person, "id", str(OWN_ID + person.number))
        return person

    # -- jobs
    def _start(self, request: Request, users: Any, work: Work) -> Answer:
        if not isinstance(users, list) or not users or not all(isinstance(user, dict) for user in users):
            return Answer(400, {"error": "BadRequest", "description": "Parameter users is required: an array of users"})
        if len(users) > MAX_USERS:
            return Answer(400, {"error": "TooManyUsers", "description": f"At most {MAX_USERS} users in one request"})
        if len(self._waiting) >= MAX_JOBS:
            words = f"Only {MAX_JOBS} jobs may be queued or running. Try again when some have completed."
            return Answer(429, {"error": "TooManyJobs", "description": words})
        job = Job(len(self._jobs) + 1, users, request.at, work)
        self._jobs[job.id] = job
        self._waiting.append(job)
        return Answer(200, {"job_status": job.shown(request.host, request.at)})

    def _upsert_one(self, position: int, user: dict[str, Any], at: float) -> dict[str, Any]:
        return row(position, self._upsert(user, at))

    def _update_one(self, position: int, user: dict[str, Any], at: float) -> dict[str, Any]:
        """By id where there is one: then an external id is a change."""
        external = str(user.get("external_id", "")).lower()
        by_id = "id" in user
        person = self.people.find("id", str(user["id"])) if by_id else self.people.find("external_id", external)
        if person is None:
            return update_row(position, {"base": [error("RecordNotFound", "Not found")]})
        return update_row(position, self._change(person, user, at) or person)

    @on("GET", "/api/v2/job_statuses/show_many")
    def show_jobs(self, request: Request) -> Answer:
        found = [self._jobs[key] for key in request.query.get("ids", "").split(",") if key in self._jobs]
        return Answer(200, {"job_statuses": [job.shown(request.host, request.at) for job in found]})

    @on("GET", "/api/v2/job_statuses/{key}")
    def show_job(self, request: Request, key: str) -> Answer:
        job = self._jobs.get(key)
        return Answer(200, {"job_status": job.shown(request.host, request.at)}) if job else not_found()

    def _work(self, at: float) -> None:
        """Complete the jobs whose time has come. No page promises an order of their rows: it is the other way round."""
        while self._waiting and at - self._waiting[0].at >= QUEUED + WORKING:
            job = self._waiting.popleft()
            job.results = [job.work(n, user, job.at) for n, user in enumerate(job.users)][::-1]

    # -- events
    @on("POST", "/api/v2/user_profiles/events")
    def track(self, request: Request) -> Answer:
        event, profile = as_dict(request.object.get("event")), as_dict(request.object.get("profile"))
        if words := bad_event(event) or bad_profile(profile):
            return event_error(400, words)
        identifiers = {item["type"]: item["value"] for item in profile["identifiers"]}
        if self.refused(*identifiers.values()):
            return event_error(400, "profile.identifiers: a value is not valid")
        found = {kind: value.lower() for kind, value in identifiers.items() if kind in ("email", "external_id")}
        person = self.people.find_any(found)
        if person is None:
            person = self._new()
            self.people.tell(person, request.at, {"name": profile.get("name", "")})
        for kind, value in found.items():
            self.people.identify(person, kind, value)
        self.events.add(request.at, event["type"], identifiers, event["properties"])
        number = str(OWN_ID + person.number)
        queries = [f"{profile['source']}:{profile['type']}:{kind}:{value}" for kind, value in identifiers.items()]
        own = next((self._profiles[each][0] for each in queries if each in self._profiles), f"profile-{number}")
        self._profiles |= dict.fromkeys(queries, (own, {**profile, "user_id": number}))
        return Answer(202, {"status": "received", "profile_id": own, "user_id": number})

    @on("GET", "/api/v2/user_profiles")
    def profile(self, request: Request) -> Answer:
        number, profile = self._profiles.get(request.query.get("identifier", ""), ("", {}))
        return Answer(200, {"profile": {**profile, "id": number}}) if number else event_error(404, "Not found")

    @on("DELETE", "/api/v2/user_profiles/{number}")
    def delete_profile(self, request: Request, number: str) -> Answer:
        """With all of its events; its user stays."""
        gone = [query for query, (own, _) in self._profiles.items() if own == number]
        for query in gone:
            for item in self._profiles.pop(query)[1]["identifiers"]:
                self.events.forget(item["value"])
        return Answer(204) if gone else event_error(404, "Not found")


def _client(secret: str) -> str:
    """What tokens of this client begin with."""
    return f"granted-{blake2b(secret.encode(), digest_size=8).hexdigest()}"


def _oauth(status: int, code: str, words: str) -> Answer:
    return Answer(status, {"error": code, "error_description": words})
