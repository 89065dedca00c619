"""Braze: `/users/track`, `identify` and `delete`. https://www.braze.com/docs/api/endpoints/user_data/"""

from collections.abc import Callable, Iterator
from datetime import datetime
from math import ceil
from typing import Any

import msgspec

from sandbox.memory import Person
from sandbox.vendor import Answer, Cap, Request, Vendor, on

ARRAYS = ("attributes", "events", "purchases")  # in the order in which they are processed
MAX_OBJECTS = 75  # of the three arrays together
MAX_DELETED = 50
# What may be deleted by, and the kind of identifier it is.
DELETED = {
    "external_ids": "external_id", "braze_ids": "braze_id", "user_aliases": "user_alias",
    "email_addresses": "email", "phone_numbers": "phone",
}  # fmt: skip
PRIORITIES = {"identified", "unidentified", "most_recently_updated"}
IDENTIFY_ONLY = frozenset({"least_recently_updated"})
MAX_IDENTIFIED = 50
# What may be identified, and the kind of identifier it is.
IDENTIFIED = {
    "aliases_to_identify": "user_alias", "emails_to_identify": "email", "phone_numbers_to_identify": "phone",
}  # fmt: skip
SETTLES = 300.0  # seconds after a deletion in which a profile made anew goes with it: the worst that Braze warns of
ELEMENTS = 25  # of an array; the others are cut off without a word
PROPERTIES = 100_000  # bytes of an event's properties
IDENTIFIERS = ("external_id", "user_alias", "braze_id", "email", "phone")
NOT_ATTRIBUTES = ("_update_existing_only", "external_id", "user_alias", "braze_id")
NO_IDENTIFIER = "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required"
NO_DATA = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."


class Braze(Vendor):
    slug = "braze"
    hosts = (r"rest\.[a-z]+-\d\d\.braze\.(com|eu)",)
    caps = (Cap(100), Cap(3000, 3.0, "track"), Cap(20_000, 60.0, "shared"))
    max_bytes = 4 * 1024 * 1024

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._deleted: dict[tuple[str, str], float] = {}  # when, by kind and value of the identifier

    def unauthorized(self) -> Answer:
        return Answer(401, {"message": "Error authenticating credentials: invalid API key"})

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        # A fraction of a second is rounded up: a client that waits so long is never early.
        return Answer(
            429,
            {"message": "Rate limit exceeded"},
            {**self.quota(cap, 0, at), "X-RateLimit-Retry-After": str(max(1, ceil(wait)))},
        )

    def quota(self, cap: Cap, remaining: int, at: float) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(cap.requests),
            "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset": str(int(at + cap.seconds) + 1),
        }

    def endpoint(self, request: Request) -> str:
        return "track" if request.path == "/users/track" else "shared"

    @on("POST", "/users/track")
    def track(self, request: Request) -> Answer:
        given = {name: request.object.get(name, []) for name in ARRAYS}
        if not all(isinstance(items, list) for items in given.values()) or not any(given.values()):
            return Answer(400, {"message": NO_DATA})
        if sum(map(len, given.values())) > MAX_OBJECTS:
            return Answer(400, {"message": f"A request may hold at most {MAX_OBJECTS} objects in all."})
        errors: list[dict[str, Any]] = []
        counts: dict[str, int] = {}
        for name, items in given.items():
            for index, item in enumerate(items):
                identifiers = _identifiers(item) if isinstance(item, dict) else {}
                if words := self._wrong(name, item, identifiers):
                    errors.append({"type": words, "input_array": name, "index": index})
                    continue
                counts[f"{name}_processed"] = counts.get(f"{name}_processed", 0) + 1
                self._take(name, item, identifiers, request.at)
        if not counts:
            return Answer(400, {"message": NO_DATA, "errors": errors})
        return Answer(201, {"message": "success", **counts, **({"errors": errors} if errors else {})})

    @on("POST", "/users/delete")
    def delete(self, request: Request) -> Answer:
        given = [name for name in DELETED if name in request.object]
        if len(given) != 1 or not isinstance(request.object[given[0]], list):
            return Answer(400, {"message": f"Exactly one of {', '.join(DELETED)} is required."})
        values, kind = request.object[given[0]], DELETED[given[0]]
        if not 0 < len(values) <= MAX_DELETED:
            return Answer(400, {"message": f"Between 1 and {MAX_DELETED} users may be deleted in one request."})
        if kind in ("email", "phone"):
            if not all(isinstance(value, dict) and _prioritized(value.get("prioritization")) for value in values):
                return Answer(400, {"message": "'prioritization' is required with every address and number."})
            values = [_text(value.get(kind)).lower() for value in values]
        found = [self.people.find(kind, _text(value)) for value in values]
        for person in filter(None, found):
            self._deleted.update(dict.fromkeys(person.known_as, request.at))
            self.people.forget(person)
        return Answer(201, {"deleted": sum(p is not None for p in found), "message": "success"})

    @on("POST", "/users/identify")
    def identify(self, request: Request) -> Answer:
        given = {name: request.object[name] for name in IDENTIFIED if name in request.object}
        if not given or not all(isinstance(items, list) and items for items in given.values()):
            return Answer(400, {"message": f"One of {', '.join(IDENTIFIED)} is required."})
        if any(len(items) > MAX_IDENTIFIED for items in given.values()):
            return Answer(400, {"message": f"At most {MAX_IDENTIFIED} users may be identified in one request."})
        pairs = list(_pairs(given))
        if not all(user and value for user, _, value in pairs):
            return Answer(400, {"message": "'external_id' and what identifies the other profile are required."})
        for user, kind, value in pairs:
            self._merge(user, kind, value, request.at)
        counts = {f"{name.partition('_to_')[0]}_processed": len(items) for name, items in given.items()}
        return Answer(201, {**counts, "message": "success"})

    def _merge(self, user: str, kind: str, value: str, at: float) -> None:
        """The profile found by `value` becomes part of the user's; fields of the user's stay."""
        other, known = self.people.find(kind, value), self.people.find("external_id", user)
        if other is None or other is known or "external_id" in other.identifiers:
            return
        if known is None:
            self.people.identify(other, "external_id", user)
            return
        label = value.partition(":")[0]
        if kind == "user_alias" and known.identifiers.get(kind, "").startswith(f"{label}:"):
            return  # a user has one alias of a label
        told = {key: value for key, value in other.values.items() if key not in known.values}
        self.people.forget(other)
        for name, identifier in other.identifiers.items():
            self.people.identify(known, name, identifier, primary=name not in known.identifiers)
        self.people.tell(known, at, told)

    def _wrong(self, array: str, item: Any, identifiers: dict[str, str]) -> str | None:
        """What is wrong with an object of an array; None: nothing."""
        if not isinstance(item, dict):
            return "an object is expected"
        if not identifiers:
            return NO_IDENTIFIER
        if not all(identifiers.values()) or len(identifiers.get("external_id", "").encode()) >= 988:
            return f"'{next(iter(identifiers))}' is not valid"
        if self.refused(*identifiers.values()) or not _email(item.get("email", "a@b")):
            return "'email' is not a valid email address"
        if array == "attributes":
            return None
        named = "name" if array == "events" else "product_id"
        if not item.get(named) or not isinstance(item[named], str):
            return f"'{named}' is required"
        if not _time(item.get("time")):
            return "'time' must be an ISO 8601 date"
        properties = item.get("properties", {})
        if not isinstance(properties, dict) or any(not 0 < len(k) <= 255 or k.startswith("$") for k in properties):
            return "'properties' is not valid"
        nested = any(isinstance(value, dict | list) for value in properties.values())
        if nested and len(msgspec.json.encode(properties)) > PROPERTIES:
            return f"'properties' may have at most {PROPERTIES} bytes"
        return None

    def _take(self, array: str, item: dict[str, Any], identifiers: dict[str, str], at: float) -> None:
        if any(at - self._deleted.get(known, -SETTLES) < SETTLES for known in identifiers.items()):
            return
        person = self._person(identifiers, item.get("_update_existing_only"))
        if array == "attributes":
            if person:
                self.people.tell(person, at, {k: _cut(v) for k, v in item.items() if k not in NOT_ATTRIBUTES})
        elif person or set(identifiers) != {"user_alias"}:
            self.events.add(at, item.get("name") or item["product_id"], identifiers, item.get("properties", {}))

    def _person(self, identifiers: dict[str, str], existing_only: Any) -> Person | None:
        """The profile meant. An alias alone makes one only if `_update_existing_only` is false, by name."""
        strongest = next(k for k in IDENTIFIERS if k in identifiers)
        person = self.people.find(strongest, identifiers[strongest])
        if person is None:
            if existing_only is True or (strongest == "user_alias" and existing_only is not False):
                return None
            person = self.people.add()
        for kind, value in identifiers.items():
            self.people.identify(person, kind, value)
        return person


def _cut(value: Any) -> Any:
    """An array as it is kept; one of objects is not cut."""
    plain = isinstance(value, list) and not any(isinstance(each, dict) for each in value)
    return value[:ELEMENTS] if plain else value


def _pairs(given: dict[str, list[Any]]) -> Iterator[tuple[str, str, str]]:
    """Of each that is to be identified: the external id, and the kind and value of the other identifier; or ""."""
    for name, items in given.items():
        kind = IDENTIFIED[name]
        for item in items:
            fields = item if isinstance(item, dict) else {}
            fine = kind == "user_alias" or _prioritized(fields.get("prioritization"), IDENTIFY_ONLY)
            value = _text(fields.get(kind))
            yield _text(fields.get("external_id")), kind, (value if kind == "user_alias" else value.lower()) * fine


def _prioritized(value: Any, also: frozenset[str] = frozenset()) -> bool:
    """An ordered list; only one of `identified` and `unidentified`."""
    given = set(map(str, value)) if isinstance(value, list) else set()
    return bool(given) and given <= PRIORITIES | also and not {"identified", "unidentified"} <= given


def _identifiers(item: dict[str, Any]) -> dict[str, str]:
    found = {kind: _text(item[kind]) for kind in IDENTIFIERS if item.get(kind) is not None}
    if "email" in found:
        found["email"] = found["email"].lower()
    return found


def _text(value: Any) -> str:
    """An identifier as text: an alias is `label:name`. Empty where it is ill formed."""
    if isinstance(value, dict):
        name, label = value.get("alias_name"), value.get("alias_label")
        return f"{label}:{name}" if name and label else ""
    return value if isinstance(value, str) else ""


def _email(value: Any) -> bool:
    return value is None or (isinstance(value, str) and "@" in value.strip("@") and " " not in value)


def _time(value: Any) -> bool:
    try:
        return isinstance(value, str) and len(value) >= 10 and bool(datetime.fromisoformat(value))
    except ValueError:
        return False
