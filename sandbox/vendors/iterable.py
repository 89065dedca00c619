"""Iterable, a project keyed by e-mail: profiles, events and their bulk forms. https://api.iterable.com/api/docs"""

import re
from collections.abc import Callable
from typing import Any

from sandbox.memory import Person
from sandbox.vendor import Answer, Cap, Request, Vendor, on

MAX_ITEMS = 1000
DATE = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?( ?(Z|[+-]\d\d:?\d\d))?)?")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
PROFILE = {"email": "string", "userId": "string", "phoneNumber": "string", "firstName": "string", "lastName": "string"}


class Iterable(Vendor):
    slug = "iterable"
    hosts = (r"api(\.eu)?\.iterable\.com",)
    caps = (Cap(500), Cap(5, endpoint="users/bulkUpdate"), Cap(10, endpoint="events/trackBulk"))
    max_bytes = 4 * 1024 * 1024

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._types: dict[str, dict[str, str]] = {"": dict(PROFILE)}  # of fields, by event name; "" is the profile

    @classmethod
    def credential(cls, request: Request) -> str | None:
        given = request.headers.get("api-key") or request.headers.get("api_key") or ""
        return given if re.fullmatch(r"\S+", given) else None

    def unauthorized(self) -> Answer:
        return _answer(401, "BadApiKey", "Invalid API key")

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        return _answer(429, "RateLimitExceeded", "Too many requests")

    def failed(self, status: int) -> Answer:
        return _answer(status, "GenericError", "An error occurred. Please try again later.")

    def too_large(self) -> Answer:
        return _answer(413, "BatchTooLarge", "The request is larger than 4 MB")

    def unknown(self, request: Request) -> Answer:
        return _answer(404, "NotFound", "No such resource")

    def endpoint(self, request: Request) -> str:
        return request.path.removeprefix("/api/")

    # -- profiles
    @on("POST", "/api/users/update")
    def update(self, request: Request) -> Answer:
        user = request.object
        if words := _bad_fields(user):
            return _answer(400, "BadParams", words)
        if wrong := self._mismatch([("", user.get("dataFields", {}))]):
            return wrong
        match self._update(user, request.at):
            case "invalidEmails":
                return _answer(400, "InvalidEmailAddressError", "Invalid email")
            case "invalidUserIds":
                return _answer(400, "InvalidUserIdError", "Invalid userId")
            case "notFoundUserIds":
                return _answer(400, "UnknownUserIdError", "No user with this userId")
        return _answer(200, "Success")

    @on("POST", "/api/users/bulkUpdate")
    def bulk_update(self, request: Request) -> Answer:
        users = request.object.get("users")
        if wrong := _bad_batch(users, "users"):
            return wrong
        assert isinstance(users, list)
        if wrong := self._mismatch([("", user.get("dataFields", {})) for user in users]):
            return wrong
        return _bulk([(user, self._update(user, request.at)) for user in users])

    def _update(self, user: dict[str, Any], at: float) -> str:
        """Write one profile; the name of the list of failures it belongs to, or ""."""
        email, user_id = _email(user), user.get("userId")
        if failure := self._invalid(email, user_id):
            return failure
        person = self._find(email, user_id)
        if person is None:
            if not email and not user.get("preferUserId"):
                return "notFoundUserIds"
            person = self.people.add()
        fields = user.get("dataFields", {})
        # A project keyed by e-mail gives a known e-mail its userId inside dataFields.
        for kind, value in (("email", email), ("userId", user_id or fields.get("userId"))):
            if value:
                self.people.identify(person, kind, value)
        self.people.tell(person, at, fields)
        return ""

    @on("GET", "/api/users/getFields")
    def fields(self, request: Request) -> Answer:
        return Answer(200, {"fields": self._types[""]})

    @on("GET", "/api/users/byUserId/{user_id}")
    def by_user_id(self, request: Request, user_id: str) -> Answer:
        return _shown(self.people.find("userId", user_id))

    @on("DELETE", "/api/users/byUserId/{user_id}")
    def delete_by_user_id(self, request: Request, user_id: str) -> Answer:
        return self._delete("userId", user_id, "UnknownUserIdError")

    @on("GET", "/api/users/{email}")
    def by_email(self, request: Request, email: str) -> Answer:
        return _shown(self.people.find("email", email.lower()))

    @on("DELETE", "/api/users/{email}")
    def delete_by_email(self, request: Request, email: str) -> Answer:
        return self._delete("email", email.lower(), "UnknownEmailError")

    def _delete(self, kind: str, value: str, otherwise: str) -> Answer:
        person = self.people.find(kind, value)
        if person is None:
            return _answer(400, otherwise, f"No user with this {kind}")
        self.people.forget(person)
        return _answer(200, "Success")

    # -- events
    @on("POST", "/api/events/track")
    def track(self, request: Request) -> Answer:
        event = request.object
        if words := _bad_fields(event) or _bad_event(event):
            return _answer(400, "BadParams", words)
        if wrong := self._mismatch([(event["eventName"], event.get("dataFields", {}))]):
            return wrong
        match self._track(event, request.at):
            case "invalidEmails":
                return _answer(400, "InvalidEmailAddressError", "Invalid email")
            case "invalidUserIds":
                return _answer(400, "InvalidUserIdError", "Invalid userId")
        return _answer(200, "Success")

    @on("POST", "/api/events/trackBulk")
    def track_bulk(self, request: Request) -> Answer:
        events = request.object.get("events")
        if wrong := _bad_batch(events, "events"):
            return wrong
        assert isinstance(events, list)
        for position, event in enumerate(events):
            if words := _bad_event(event):
                return _answer(400, "BadParams", f"events[{position}]: {words}")
        if wrong := self._mismatch([(e["eventName"], e.get("dataFields", {})) for e in events]):
            return wrong
        return _bulk([(event, self._track(event, request.at)) for event in events])

    def _track(self, event: dict[str, Any], at: float) -> str:
        """Keep one event, which never makes a profile; an event with a known id is replaced."""
        email, user_id = _email(event), event.get("userId")
        if failure := self._invalid(email, user_id):
            return failure
        identifiers = {k: v for k, v in (("email", email), ("userId", user_id)) if v}
        self.events.add(at, event["eventName"], identifiers, event.get("dataFields", {}), key=event.get("id"))
        return ""

    # -- credential tests
    @on("GET", "/api/lists")
    def lists(self, request: Request) -> Answer:
        return Answer(200, {"lists": []})

    @on("GET", "/api/webhooks")
    def webhooks(self, request: Request) -> Answer:
        return Answer(200, {"webhooks": []})

    def _find(self, email: str | None, user_id: str | None) -> Person | None:
        return self.people.find_any({k: v for k, v in (("email", email), ("userId", user_id)) if v})

    def _invalid(self, email: str | None, user_id: str | None) -> str:
        if email is not None and (not EMAIL.fullmatch(email) or self.refused(email)):
            return "invalidEmails"
        return "invalidUserIds" if email is None and self.refused(user_id) else ""

    def _mismatch(self, items: list[tuple[str, dict[str, Any]]]) -> Answer | None:
        """Fields get their type by the first value; one value of another type refuses the whole request."""
        learnt: dict[str, dict[str, str]] = {}
        wrong: dict[str, Any] = {}
        for owner, fields in items:
            known = learnt.setdefault(owner, dict(self._types.get(owner, {})))
            for name, value in fields.items():
                incoming = _type(value)
                if incoming is None:
                    continue
                expected = known.setdefault(name, incoming)
                if expected != incoming and not (expected == "string" and incoming == "date"):
                    wrong[name] = {
                        "incomingTypes": [incoming],
                        "expectedType": expected,
                        "category": "user" if owner == "" else "customEvent",
                        "offendingValue": value,
                        "_type": "UnexpectedType",
                    }
        if wrong:
            return _answer(400, "RequestFieldsTypesMismatched", "Fields have other types", {"validationErrors": wrong})
        self._types.update(learnt)
        return None


def _answer(status: int, code: str, words: str = "", params: Any = None) -> Answer:
    return Answer(status, {"msg": words, "code": code, "params": params})


def _email(item: dict[str, Any]) -> str | None:
    email = item.get("email")
    return email.strip().lower() if isinstance(email, str) else None


def _bad_fields(item: dict[str, Any]) -> str | None:
    """What is wrong with the shape of a profile or event; None: nothing."""
    for name, kind in (("email", str), ("userId", str), ("dataFields", dict), ("preferUserId", bool)):
        if name in item and not isinstance(item[name], kind):
            return f"Invalid value for {name}"
    return None if item.get("email") or item.get("userId") else "email or userId is required"


def _bad_event(event: dict[str, Any]) -> str | None:
    if not isinstance(event.get("eventName"), str) or not event["eventName"]:
        return "eventName is required"
    if not isinstance(event.get("createdAt", 0), int):
        return "createdAt must be an integer: unix seconds"
    if not isinstance(event.get("id", ""), str) or len(event.get("id", "")) > 512:
        return "id must be a string of at most 512 characters"
    return None


def _bad_batch(items: Any, name: str) -> Answer | None:
    if not isinstance(items, list) or not items:
        return _answer(400, "BadParams", f"{name} must be an array that is not empty")
    if len(items) > MAX_ITEMS:
        return _answer(400, "BatchTooLarge", f"At most {MAX_ITEMS} {name} in one request")
    for position, item in enumerate(items):
        if words := _bad_fields(item) if isinstance(item, dict) else "an object is expected":
            return _answer(400, "BadParams", f"{name}[{position}]: {words}")
    return None


def _bulk(results: list[tuple[dict[str, Any], str]]) -> Answer:
    """The answer of a bulk call: counts, and the identifiers of what failed, by reason."""
    kinds = ("invalid", "notFound", "invalidData", "conflict", "forgotten")
    failures: dict[str, list[str]] = {f"{kind}{what}": [] for kind in kinds for what in ("Emails", "UserIds")}
    for item, failure in results:
        if failure:
            failures[failure].append(item["email"] if failure.endswith("Emails") else item["userId"])
    failed = sum(map(len, failures.values()))
    return Answer(
        200,
        {
            "successCount": len(results) - failed,
            "failCount": failed,
            "invalidEmails": failures["invalidEmails"],
            "invalidUserIds": failures["invalidUserIds"],
            "filteredOutFields": [],
            "createdFields": [],
            "disallowedEventNames": [],
            "failedUpdates": failures,
        },
    )


def _shown(person: Person | None) -> Answer:
    if person is None:
        return Answer(200, {})
    return Answer(200, {"user": {**person.identifiers, "dataFields": person.values}})


def _type(value: Any) -> str | None:
    """The type of a field as inferred; None has none. Whole and broken numbers are not told apart."""
    match value:
        case None:
            return None
        case bool():
            return "boolean"
        case int() | float():
            return "double"
        case str():
            return "date" if DATE.fullmatch(value) else "string"
        case list():
            return next((t for item in value if (t := _type(item))), None)
        case _:
            return "object"
