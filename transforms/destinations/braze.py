"""Braze: attributes and custom events of user profiles. https://www.braze.com/docs/api/endpoints/user_data

Sources: Braze's own pages and OpenAPI files (https://www.braze.com/docs/assets/api/openapi/users_track.yaml,
users_identify, users_delete), read in November 2026; api_limits, event_object, user_attributes_object, errors. Where
they differ the narrower form is used: 75 objects in all.

An anonymous id that goes along with calls for a user id (`identifiers: {anonymous_id: attach}`) becomes part of that
user: a profile that was made for it is merged into the user's. Braze keeps one alias of a label for a user, so only the
first anonymous id of a person is merged.
"""

import re
from collections.abc import Hashable, Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from transforms.destinations.auth import Bearer
from transforms.destinations.contract import (
    CAPS_TABLE,
    Batch,
    Call,
    Conversation,
    Delivered,
    Destination,
    Form,
    Limit,
    Outcome,
    Rejected,
    Reply,
    Request,
    Secret,
    Verdict,
    all_of,
    by_status,
    refused,
    retry_after,
    timestamp,
    units,
)
from transforms.destinations.names import cut
from transforms.destinations.reading import count, items, rows, word
from transforms.destinations.safety import check_texts, fingerprint, url_fault
from transforms.logic.hints import wait

# Fields of a profile that a trait of the same name may fill, and what they take (user_attributes_object).
STANDARD = {
    "country": r"[A-Z]{2}",
    "dob": r"\d{4}-\d\d-\d\d",
    "email": r".+@.+",
    "first_name": r".+",
    "gender": r"[MFONP]",
    "home_city": r".+",
    "language": r"[a-z]{2}",
    "last_name": r".+",
    "phone": r"\+\d{7,15}",
    "time_zone": r"\w+/.+",
}
# Names with a meaning of their own, which no value of ours may take.
RESERVED_ATTRIBUTES = frozenset(STANDARD) | {
    "_update_existing_only", "alias_label", "alias_name", "braze_id", "current_location", "date_of_first_session",
    "date_of_last_session", "email_click_tracking_disabled", "email_open_tracking_disabled", "email_subscribe",
    "external_id", "facebook", "image_url", "marked_email_as_spam_at", "push_subscribe", "push_token_import",
    "push_tokens", "subscription_groups", "twitter", "user_alias",
}  # fmt: skip
RESERVED_PROPERTIES = frozenset({"currency", "event_name", "price", "quantity", "time"})
# An object with only these keys changes an attribute instead of being its value.
OPERATIONS = frozenset({"add", "inc", "remove", "update", "$add", "$remove", "$update"})

STRING = 255  # characters
IDENTIFIER = 987  # bytes
NESTED = 100_000  # bytes of an array or object, and of all properties of an event
MERGED = 50  # people in a request
SHARED = "shared"  # the endpoint class of `identify` and `delete`
# Of several profiles with one address: those without an external id first, of these the one that was changed last.
PRIORITY = ("unidentified", "most_recently_updated")
# How `/users/delete` takes each type of identifier; one of them in a request.
DELETED = {
    "user_id": "external_ids",
    "anonymous_id": "user_aliases",
    "email": "email_addresses",
    "phone": "phone_numbers",
}


class Braze(Destination):
    slug = "braze"
    name = "Braze"
    page = "https://www.braze.com/docs/api/endpoints/user_data/post_user_track/"
    forms = ("identify", "track")
    identifiers = ("user_id", "email", "phone", "anonymous_id")
    one_record = {"email": "attach", "phone": "attach", "anonymous_id": "none"}
    limits = (
        Limit(100, source=CAPS_TABLE),
        Limit(3000, 3.0, "track", source="https://www.braze.com/docs/api/api_limits/"),
        Limit(20_000, 60.0, SHARED, source="https://www.braze.com/docs/api/endpoints/user_data/post_user_identify/"),
    )
    batch = Batch(75, 4_000_000)
    forgets = True
    deletion_takes = 300.0  # api_limits: "allow for a 5-minute delay between subsequent calls" of two endpoints
    auth = Bearer("{api_key}")

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """A Braze workspace."""

        endpoint: Annotated[
            str, Meta(pattern="^https?://", description="REST endpoint of your instance: https://rest.iad-01.braze.com")
        ]
        api_key: Annotated[
            Secret,
            Meta(
                description="REST API key with the permission users.track; for deletions users.delete; where anonymous "
                "ids go along with user ids, users.identify."
            ),
        ]
        alias_label: Annotated[
            str,
            Meta(min_length=1, description="Label of the aliases made of anonymous ids. Do not change it later."),
        ] = "anonymous_id"
        existing_only: Annotated[
            bool, Meta(description="Change known profiles only; Braze ignores calls about others without a word.")
        ] = False
        objects: Annotated[
            int, Meta(ge=1, le=75, description="Objects in one request. Some contracts allow 50 only.")
        ] = 75
        array_elements: Annotated[
            int, Meta(ge=25, le=500, description="Elements that your arrays may have; Braze raises it on request.")
        ] = 25

        def __post_init__(self) -> None:
            check_texts(self)
            if fault := url_fault(self.endpoint):
                raise ValueError(f"endpoint {fault}")

    settings: Settings

    def tenant(self) -> str:
        """The instance, the alias label and the key's variable: only the key says which account it is."""
        label, key = self.settings.alias_label, str(self.settings.api_key)
        return f"{self.slug}:{urlsplit(self.settings.endpoint).netloc.lower()}:{fingerprint(label, key)}"

    def name_at_vendor(self, form: Form, key: str) -> str:
        reserved = RESERVED_PROPERTIES if form == "track" else RESERVED_ATTRIBUTES
        return cut(renamed(key, reserved), key, STRING)

    def trait_at_vendor(self, trait: str) -> str:
        """The name of the trait, where it does not fill the standard field of that name."""
        return self.name_at_vendor("identify", trait) if trait not in STANDARD else trait

    # -- conversations
    def route(self, call: Call) -> str:
        # A deletion takes one type of identifier at a time; attributes and events travel together.
        return f"delete {call.identifier.type}" if call.kind == "delete" else "track"

    def unit(self, call: Call) -> Hashable:
        """One person; addresses and numbers are the same however they are written."""
        whom = (call.identifier.type, str(self.name_of(call)))
        return (call.kind, whom, call.key, call.at) if call.kind == "track" else (call.kind, whom)

    def batch_of(self, route: str) -> Batch:
        return Batch(self.settings.objects, self.batch.bytes) if route == "track" else Batch(50)

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if len(call.identifier.id.encode()) > IDENTIFIER:
            return Rejected("invalid_identifier", f"more than {IDENTIFIER} bytes")
        if call.identifier.type == "phone" and not re.fullmatch(STANDARD["phone"], phone(call.identifier.id)):
            return Rejected("invalid_identifier", "a phone number has the form +14155550100")
        if call.kind == "delete":
            return None
        if call.kind == "track":
            return unfit(call.key, call.value, self.properties(call))
        values = {call.key: call.value, **call.traits}
        return next(filter(None, (self.unfit_attribute(key, value) for key, value in values.items())), None)

    def unfit_attribute(self, key: str, value: Any) -> Rejected | None:
        if isinstance(value, dict) and value and OPERATIONS.issuperset(value):
            return Rejected("invalid_value", f"{key[:STRING]}: only {', '.join(value)} is an operation, not a value")
        most = self.settings.array_elements
        if isinstance(value, list) and len(value) > most and not any(isinstance(each, dict) for each in value):
            return Rejected("too_large", f"{key}: more than {most} elements, of which Braze would drop some")
        return unfit(key, value, value)

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        merges = self.merges(calls)
        for start in range(0, len(merges), MERGED):
            body = {"aliases_to_identify": merges[start : start + MERGED], "merge_behavior": "merge"}
            reply = yield self.post("identify", body, SHARED)
            if not accepted(reply):
                return all_of(calls, refused(reply))
        arrays: dict[str, list[dict[str, Any]]] = {"attributes": [], "events": []}
        places: list[tuple[str, int]] = [("", 0)] * len(calls)
        for positions in units(self, calls).values():
            first = calls[positions[0]]
            array = "events" if first.kind == "track" else "attributes"
            for position in positions:
                places[position] = (array, len(arrays[array]))
            told = self.occurrence(first) if first.kind == "track" else self.attributes([calls[p] for p in positions])
            arrays[array].append({**told, **self.identity(first)})
        reply = yield self.post("track", {name: objects for name, objects in arrays.items() if objects}, "track")
        return outcomes(reply, places)

    def forget(self, calls: Sequence[Call]) -> Conversation:
        kind = calls[0].identifier.type
        whom = [self.name_of(calls[positions[0]]) for positions in units(self, calls).values()]
        if kind in ("email", "phone"):
            whom = [{kind: name, "prioritization": PRIORITY} for name in whom]
        reply = yield self.post("delete", {DELETED[kind]: whom}, SHARED)
        if not reply.ok:
            return all_of(calls, refused(reply))
        # Only a count comes back; a profile that was not there is not counted.
        return all_of(calls, Delivered(unconfirmed=count(reply.object, "deleted") != len(whom)))

    def post(self, path: str, body: Any, endpoint: str) -> Request:
        return Request("POST", f"{self.settings.endpoint.rstrip('/')}/users/{path}", json=body, endpoint=endpoint)

    # -- objects
    def identity(self, call: Call) -> dict[str, Any]:
        field = {"user_id": "external_id", "anonymous_id": "user_alias"}.get(call.identifier.type, call.identifier.type)
        identity: dict[str, Any] = {field: self.name_of(call)}
        if self.settings.existing_only:
            identity["_update_existing_only"] = True
        elif field == "user_alias":
            identity["_update_existing_only"] = False  # said aloud, or an unknown alias is ignored
        return identity

    def name_of(self, call: Call) -> Any:
        match call.identifier.type:
            case "email":
                return call.identifier.id.strip().lower()
            case "phone":
                return phone(call.identifier.id)
            case "anonymous_id":
                return self.alias(call.identifier.id)
            case _:
                return call.identifier.id

    def alias(self, anonymous_id: str) -> dict[str, str]:
        return {"alias_name": anonymous_id, "alias_label": self.settings.alias_label}

    def merges(self, calls: Sequence[Call]) -> list[dict[str, Any]]:
        """The anonymous ids that go along with calls for user ids. Where Braze has no such alias, nothing is merged."""
        pairs = {(call.identifier.id, id) for call in calls if (id := anonymous_id(call))}
        return [{"external_id": user, "user_alias": self.alias(anonymous)} for user, anonymous in sorted(pairs)]

    def attributes(self, calls: Sequence[Call]) -> dict[str, Any]:
        """What several calls say about one identifier; null removes an attribute."""
        told: dict[str, Any] = {}
        for call in calls:
            merged = "anonymous_id" if anonymous_id(call) else None
            own = ((key, value) for key, value in call.traits.items() if key != merged)
            told.update((name, value) for key, value in own for name in self.attributes_of(key, value))
        told.update((self.name_at_vendor("identify", call.key), call.value) for call in calls)
        return told

    def attributes_of(self, trait: str, value: Any) -> tuple[str, ...]:
        """A profile trait fills the standard field of its name if its form is right. Null empties what it filled."""
        own = self.name_at_vendor("identify", trait)
        if trait in STANDARD and value is None:
            return trait, own
        fits = trait in STANDARD and isinstance(value, str) and re.fullmatch(STANDARD[trait], value)
        return (trait,) if fits else (own,)

    def occurrence(self, call: Call) -> dict[str, Any]:
        """A custom event. Its properties have no null."""
        named = {self.name_at_vendor("track", key): value for key, value in self.properties(call).items()}
        properties = {key: value for key, value in named.items() if value is not None}
        return {"name": self.event(call), "time": timestamp(call.at), "properties": properties}

    # -- replies
    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        if reply.ok and not isinstance(reply.json(), dict):
            return Verdict("transient", words=reply.words())
        if reply.status == 429:
            return Verdict("throttled", delay(reply), reply.words())
        if reply.ok and not accepted(reply) and items > 1:
            return Verdict("halve", words=reply.words())
        if reply.status == 400 and len(errors(reply)) >= items:  # each object is named
            return Verdict("answered")
        return by_status(reply, items)


def renamed(key: str, reserved: frozenset[str]) -> str:
    """A key that has a meaning of its own at Braze goes by another name."""
    return f"trait_{key}" if key in reserved or key.startswith("$") else key


def phone(text: str) -> str:
    return re.sub(r"[\s().-]", "", text)


def anonymous_id(call: Call) -> str:
    """The anonymous id that goes along with a call for a user id; "" where there is none."""
    given = call.traits.get("anonymous_id") if call.identifier.type == "user_id" else None
    return given if isinstance(given, str) else ""


def unfit(key: str, value: Any, whole: Any) -> Rejected | None:
    """Why Braze would not take a value. `whole`: what is measured, where the value is an array or object."""
    if wrong := fault(value):
        return Rejected("invalid_value", f"{key[:STRING]}: {wrong}")
    if isinstance(value, dict | list) and len(msgspec.json.encode(whole)) > NESTED:
        return Rejected("too_large", f"{key}: more than {NESTED:,} bytes")
    return None


def fault(value: Any) -> str:
    """What Braze would not take; "" if nothing."""
    if isinstance(value, str):
        return f"more than {STRING} characters" if len(value) > STRING else ""
    if not isinstance(value, dict | list):
        return ""
    inner = [*value, *value.values()] if isinstance(value, dict) else value
    if None in inner:
        return "null inside of an array or object"  # Braze would drop every nested value of the request
    return next(filter(None, map(fault, inner)), "")


def outcomes(reply: Reply, places: Sequence[tuple[str, int]]) -> list[Outcome]:
    """One outcome per place; errors name the place of what was not accepted."""
    wrong = errors(reply)
    if accepted(reply):
        fine = Delivered(unconfirmed=len(items(reply.object, "errors")) > len(wrong))  # of what, one does not say
        return [rejected(wrong[place]) if place in wrong else fine for place in places]
    return [rejected(wrong[place]) if place in wrong else refused(reply) for place in places]


def accepted(reply: Reply) -> bool:
    """Whether Braze took the request; in maintenance it is only queued."""
    return reply.ok and word(reply.object, "message") in ("success", "queued")


def rejected(words: str) -> Rejected:
    """A rejection by Braze's text: there is nothing else to tell one error from another."""
    lower = words.lower()
    if "external_id" in lower or "alias" in lower or "email" in lower or "phone" in lower:
        return Rejected("invalid_identifier", words)
    return Rejected("invalid_value", words)


def errors(reply: Reply) -> dict[tuple[str, int], str]:
    """The texts of `errors` by the array and index that they name."""
    found = [item for item in rows(reply.object, "errors") if isinstance(item.get("index"), int)]
    return {(word(item, "input_array"), item["index"]): word(item, "type") or "not accepted" for item in found}


def delay(reply: Reply) -> float | None:
    """Seconds to wait. `X-RateLimit-Reset` is a time by the docs; clients have seen a number of seconds."""
    told = [reply.headers.get(name, "") for name in ("x-ratelimit-retry-after", "x-ratelimit-reset")]
    return next(filter(None, (wait(each, reply.headers) for each in told)), None) or retry_after(reply)
