"""Iterable, a project keyed by e-mail: profiles, events, static lists. https://api.iterable.com/api/docs"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox.memory import Person
from sandbox.vendor import Answer, Cap, Request, Vendor, on

MAX_ITEMS = 1000
DATE = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?( ?(Z|[+-]\d\d:?\d\d))?)?")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
DAY = 86_400.0
PROFILE = {"email": "string", "userId": "string", "phoneNumber": "string", "firstName": "string", "lastName": "string"}


@dataclass
class StaticList:
    """People on a list, each by the number of the profile."""

    id: int
    name: str
    description: str
    created: float
    members: dict[int, Person] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        made = int(self.created * 1000)
        words = {"description": self.description} if self.description else {}
        return {"id": self.id, "name": self.name, **words, "createdAt": made, "listType": "Standard"}


class Iterable(Vendor):
    slug = "iterable"
    hosts = (r"api(\.eu)?\.iterable\.com",)
    caps = (
        Cap(500), Cap(5, endpoint="users/bulkUpdate"), Cap(10, endpoint="events/trackBulk"), Cap(100, endpoint="lists"),
        Cap(100, endpoint="users"), Cap(3, endpoint="users/forget"), Cap(1000, DAY, "users/forget"),
    )  # fmt: skip
    max_bytes = 4 * 1024 * 1024

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._types: dict[str, dict[str, str]] = {"": dict(PROFILE)}  # of fields, by event name; "" is the profile
        self._lists: dict[int, StaticList] = {}
        self._lists_made = 0
        self._forgotten: set[tuple[str, str]] = set()  # kind and value

    @classmethod
    def account(cls, request: Request) -> str:
        """A project. Keys of one are told by what stands before their last dot: `acme.first`, `acme.second`."""
        key = cls.credential(request) or ""
        return key.rpartition(".")[0] or key

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
        """Lists are counted where they are shown, people (by path) where they are shown or deleted."""
        path = request.path.removeprefix("/api/")
        if request.method == "POST":
            return path if path != "lists" else ""
        return path.partition("/")[0]

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
            case "forgottenEmails" | "forgottenUserIds":
                return _answer(409, "ForgottenUserError", "The user was forgotten")
            case "notMade":
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
        person = self._written(user, at)
        return person if isinstance(person, str) else ""

    def _written(self, user: dict[str, Any], at: float) -> Person | str:
        """The profile, made and changed as the item says; or the name of a list of failures."""
        email, user_id = _email(user), user.get("userId")
        if failure := self._invalid(email, user_id):
            return failure
        person = self._find(email, user_id)
        if person is None:
            if not email and not user.get("preferUserId"):
                return "notMade"
            person = self.people.add()
        fields = user.get("dataFields", {})
        # A project keyed by e-mail gives a known e-mail its userId inside dataFields.
        for kind, value in (("email", email), ("userId", user_id or fields.get("userId"))):
            if value:
                self.people.identify(person, kind, value)
        if fields:
            self.people.tell(person, at, fields)
        return person

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
        self._remove(person)
        return _answer(200, "Success")

    @on("POST", "/api/users/forget")
    def forget(self, request: Request) -> Answer:
        """Delete a profile and take nothing about its identifiers any more; a project keyed by e-mail: by e-mail."""
        email = _email(request.object)
        if not email or request.object.get("userId"):
            return _answer(400, "BadParams", "email is required")
        person = self.people.find("email", email)
        self._forgotten.update({("email", email), *(person.known_as if person else ())})
        if person:
            self._remove(person)
        return _answer(200, "Success")

    def _remove(self, person: Person) -> None:
        self.people.forget(person)
        for each in self._lists.values():
            each.members.pop(person.number, None)

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
            case "forgottenEmails" | "forgottenUserIds":
                return _answer(409, "ForgottenUserError", "The user was forgotten")
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

    # -- static lists
    @on("GET", "/api/lists")
    def lists(self, request: Request) -> Answer:
        return Answer(200, {"lists": [each.shown() for each in self._lists.values()]})

    @on("POST", "/api/lists")
    def create_list(self, request: Request) -> Answer:
        """Not idempotent: the same name makes another list."""
        name = request.object.get("name")
        if not isinstance(name, str) or not name:
            return _answer(400, "BadParams", "name is required")
        self._lists_made += 1
        made = StaticList(self._lists_made, name, str(request.object.get("description") or ""), request.at)
        self._lists[made.id] = made
        return Answer(200, {"listId": made.id})

    @on("DELETE", "/api/lists/{list_id}")
    def delete_list(self, request: Request, list_id: str) -> Answer:
        found = self._lists.pop(int(list_id), None) if list_id.isdigit() else None
        return _answer(200, "Success") if found else _no_list(list_id)

    @on("POST", "/api/lists/subscribe")
    def subscribe(self, request: Request) -> Answer:
        return self._change(request, self._join)

    @on("POST", "/api/lists/unsubscribe")
    def unsubscribe(self, request: Request) -> Answer:
        if request.object.get("channelUnsubscribe"):
            return _answer(400, "BadParams", "the sandbox does not unsubscribe people from messages")
        return self._change(request, self._leave)

    def _change(self, request: Request, change: Callable[[StaticList, dict[str, Any], float], str]) -> Answer:
        people = request.object.get("subscribers")
        if wrong := _bad_batch(people, "subscribers"):
            return wrong
        assert isinstance(people, list)
        listed = request.object.get("listId")
        found = self._lists.get(listed) if isinstance(listed, int) else None
        if found is None:
            return _no_list(listed)
        if wrong := self._mismatch([("", person.get("dataFields", {})) for person in people]):
            return wrong
        return _bulk([(person, change(found, person, request.at)) for person in people])

    def _join(self, listed: StaticList, item: dict[str, Any], at: float) -> str:
        person = self._written(item, at)
        if isinstance(person, str):
            return "notFoundUserIds" if person == "notMade" else person
        listed.members[person.number] = person
        return ""

    def _leave(self, listed: StaticList, item: dict[str, Any], at: float) -> str:
        email, user_id = _email(item), item.get("userId")
        if failure := self._invalid(email, user_id):
            return failure
        person = self._find(email, user_id)
        if person is None:
            return "notFoundEmails" if email else "notFoundUserIds"
        listed.members.pop(person.number, None)
        return ""

    def told(self, identifier: str | None, at: float) -> dict[str, Any]:
        return {
            **super().told(identifier, at),
            "lists": [self._shown_list(each, identifier) for each in self._lists.values()],
        }

    def _shown_list(self, listed: StaticList, identifier: str | None) -> dict[str, Any]:
        wanted = {person.number for person in self.people.having(identifier)}
        members = [person.identifiers for number, person in listed.members.items() if number in wanted]
        return {"id": listed.id, "name": listed.name, "members": members}

    def counts(self) -> dict[str, int]:
        members = sum(len(each.members) for each in self._lists.values())
        return {**super().counts(), "lists": len(self._lists), "members": members}

    # -- credential tests
    @on("GET", "/api/webhooks")
    def webhooks(self, request: Request) -> Answer:
        return Answer(200, {"webhooks": []})

    def _find(self, email: str | None, user_id: str | None) -> Person | None:
        return self.people.find_any({k: v for k, v in (("email", email), ("userId", user_id)) if v})

    def _invalid(self, email: str | None, user_id: str | None) -> str:
        if email is not None and (not EMAIL.fullmatch(email) or self.refused(email)):
            return "invalidEmails"
        if email is None and self.refused(user_id):
            return "invalidUserIds"
        if email is not None:
            return "forgottenEmails" if ("email", email) in self._forgotten else ""
        return "forgottenUserIds" if ("userId", user_id) in self._forgotten else ""

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


def _no_list(listed: Any) -> Answer:
    return _answer(400, "BadParams", f"error.lists.invalidListId({listed})")


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
    """The answer of a bulk call: counts, and the identifiers of what failed, by reason.

    Who is unknown and is not to be made is named by calls about lists only; others just count it (unsure).
    """
    kinds = ("invalid", "notFound", "invalidData", "conflict", "forgotten")
    failures: dict[str, list[str]] = {f"{kind}{what}": [] for kind in kinds for what in ("Emails", "UserIds")}
    for item, failure in results:
        if failure in failures:
            failures[failure].append(item["email"] if failure.endswith("Emails") else item["userId"])
    failed = sum(bool(failure) for _, failure in results)
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
