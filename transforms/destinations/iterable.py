"""Iterable: fields and events of user profiles. https://api.iterable.com/api/docs

Sources: the API reference; Iterable's own client (Iterable/api-client at 981eeb5). Where they differ on what a bulk
answer names as failed, both are understood.
"""

import re
from collections.abc import Hashable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from msgspec import Meta, Struct

from schemas.outcomes import Later
from transforms.destinations.auth import Header
from transforms.destinations.contract import (
    CAPS_TABLE,
    Batch,
    Blocked,
    Call,
    Conversation,
    Delivered,
    Destination,
    Form,
    Limit,
    Outcome,
    Reason,
    Rejected,
    Reply,
    Request,
    Secret,
    Verdict,
    all_of,
    by_status,
    refused,
    retry_after,
    units,
)
from transforms.destinations.reading import count, items, part, word
from transforms.destinations.safety import breaks_path, fingerprint

API = "https://api.iterable.com/api/docs"
HOSTS = {"us": "https://api.iterable.com", "eu": "https://api.eu.iterable.com"}

# What Iterable's client takes for an address.
EMAIL = re.compile(r"(?!\.)(?!.*\.\.)[A-Za-z0-9_'+.-]*[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9-]*\.)+[A-Za-z]{2,}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
IDENTITY = frozenset({"email", "userId"})  # of a profile; no field of ours may take these names

# `code` of an answer.
CREDENTIALS = frozenset({"BadApiKey", "BadAuthorizationHeader", "Unauthorized"})
PASSING = frozenset({"DatabaseError", "GenericError", "ExternalKeyConflict"})  # the last: unsure
REASONS: dict[str, Reason] = {
    "BatchTooLarge": "too_large",
    "EmailAlreadyExists": "conflict",
    "ForgottenUserError": "forgotten",
    "InvalidEmailAddressError": "invalid_identifier",
    "InvalidUserIdError": "invalid_identifier",
    "NotFound": "not_found",
    "RequestFieldsTypesMismatched": "invalid_value",
    "UnknownEmailError": "not_found",
    "UnknownUserIdError": "not_found",
    "UserIdAlreadyExists": "conflict",
}
UNKNOWN = frozenset({"UnknownEmailError", "UnknownUserIdError"})  # there is no such person; `NotFound` is of a URL
# Lists of a bulk answer, of e-mail addresses (`invalidEmails`) and of user ids (`invalidUserIds`).
FAILURES: dict[str, Reason] = {
    "failed": "refused",
    "invalid": "invalid_identifier",
    "notFound": "not_found",
    "invalidData": "invalid_value",
    "conflict": "conflict",
    "forgotten": "forgotten",
}


class Iterable(Destination):
    slug = "iterable"
    name = "Iterable"
    page = API
    forms = ("identify", "track")
    identifiers = ("email", "user_id")
    one_record = {"user_id": "attach"}
    limits = (
        Limit(500, source=CAPS_TABLE),
        Limit(500, 1.0, "users/update", API),
        Limit(5, 1.0, "users/bulkUpdate", API),
        Limit(2000, 1.0, "events/track", API),
        Limit(10, 1.0, "events/trackBulk", API),
        Limit(100, 1.0, "users/delete", API),
    )
    batch = Batch(1000, 4_000_000)
    forgets = True
    auth = Header("api-key", "{api_key}")

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """An Iterable project."""

        api_key: Annotated[Secret, Meta(description="Server-side key of the project.")]
        data_centre: Annotated[Literal["us", "eu"], Meta(description="Where the project lives.")] = "us"
        project: Annotated[
            Literal["email", "user_id", "hybrid"],
            Meta(description="How the project identifies profiles. Profiles of a hybrid one may have either."),
        ] = "email"
        placeholder_emails: Annotated[
            bool,
            Meta(description="Projects of type email: make profiles for unknown user ids, with a made-up address."),
        ] = False

    settings: Settings

    def understands(self) -> tuple[str, ...]:
        return ("user_id",) if self.settings.project == "user_id" else self.identifiers

    def tenant(self) -> str:
        """The variable of the key: only the key says which project it is of."""
        return f"{self.slug}:{self.settings.data_centre}:{fingerprint(str(self.settings.api_key))}"

    def name_at_vendor(self, form: Form, key: str) -> str:
        """The key without dots, which would nest it, and not one of the two names that make the identity."""
        return f"trait_{key}" if key in IDENTITY else key.replace(".", "_")

    # -- conversations
    def unit(self, call: Call) -> Hashable:
        return super().unit(call) if call.kind == "track" else whom(call)

    def batch_of(self, route: str) -> Batch:
        return Batch(1) if route == "delete" else self.batch

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        kind, name = whom(call)
        if kind == "email" and not EMAIL.fullmatch(name):
            return Rejected("invalid_identifier", "Iterable takes no such e-mail address")
        if call.kind == "delete" and breaks_path(name):
            words = "it cannot be in the URL by which Iterable deletes: delete the person there by hand"
            return Rejected("invalid_identifier", words)
        return None

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        groups = [[calls[p] for p in positions] for positions in units(self, calls).values()]
        if calls[0].kind == "track":
            one, many, array = "events/track", "events/trackBulk", "events"
            objects = [self.occurrence(group[0]) for group in groups]
        else:
            one, many, array = "users/update", "users/bulkUpdate", "users"
            objects = [self.user(group) for group in groups]
        if len(objects) == 1:  # the bulk endpoints have a much lower limit
            reply = yield self.post(one, objects[0])
            return all_of(calls, Delivered()) if succeeded(reply) else self.owners(calls, reply)
        reply = yield self.post(many, {array: objects})
        return self.outcomes(calls, reply) if succeeded(reply) else all_of(calls, rejected(reply))

    def forget(self, calls: Sequence[Call]) -> Conversation:
        kind, name = whom(calls[0])
        path = quote(name, safe="") if kind == "email" else f"byUserId/{quote(name, safe='')}"
        reply = yield Request("DELETE", f"{self.url}/users/{path}", endpoint="users/delete")
        if succeeded(reply) or code(reply) in UNKNOWN:
            return all_of(calls, Delivered())
        return all_of(calls, rejected(reply))

    def post(self, endpoint: str, body: Any) -> Request:
        return Request("POST", f"{self.url}/{endpoint}", json=body, endpoint=endpoint)

    @property
    def url(self) -> str:
        return f"{HOSTS[self.settings.data_centre]}/api"

    # -- objects
    def user(self, calls: Sequence[Call]) -> dict[str, Any]:
        """What several calls say about one profile."""
        kind, name = whom(calls[0])
        user: dict[str, Any] = {kind: name}
        if kind == "userId" and self.settings.project == "email":
            user["preferUserId"] = self.settings.placeholder_emails
        fields: dict[str, Any] = {}
        for call in calls:
            fields.update((self.name_at_vendor("identify", key), dated(value)) for key, value in call.traits.items())
        fields.update((self.name_at_vendor("identify", call.key), dated(call.value)) for call in calls)
        return {**user, "mergeNestedObjects": False, "dataFields": fields}

    def occurrence(self, call: Call) -> dict[str, Any]:
        """An event. Iterable replaces an event that has the same id."""
        kind, name = whom(call)
        return {
            kind: name,
            "eventName": self.event(call),
            "id": self.message_id(call),
            "createdAt": call.at // 1_000_000,
            "dataFields": {
                self.name_at_vendor("track", key): dated(value) for key, value in self.properties(call).items()
            },
        }

    # -- replies
    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        said = code(reply)
        if said in CREDENTIALS:
            return Verdict("credentials", words=reply.words())
        if said == "Forbidden":
            return Verdict("refused", words=reply.words())
        if said == "RateLimitExceeded":
            return Verdict("throttled", retry_after(reply), reply.words())
        if said in PASSING or (reply.ok and not isinstance(reply.json(), dict)):
            return Verdict("transient", words=reply.words())
        if items > 1 and (said in UNKNOWN or (reply.ok and not succeeded(reply))):
            return Verdict("halve", words=reply.words())
        if said in UNKNOWN:
            return Verdict("answered")
        return by_status(reply, items)

    def owners(self, calls: Sequence[Call], reply: Reply) -> list[Outcome]:
        """What became of the calls about one person who was refused: one of them may have set what is wrong."""
        form: Form = "track" if calls[0].kind == "track" else "identify"
        wrong = part(part(reply.object, "params"), "validationErrors")
        sets = [{self.name_at_vendor(form, name) for name in (call.key, *call.traits)} for call in calls]
        known = not wrong.keys().isdisjoint(set().union(*sets))
        results: list[Outcome] = all_of(calls, rejected(reply))
        for position, call in enumerate(calls):
            own = self.name_at_vendor(form, call.key)
            if own in wrong and self.is_audience(call):
                results[position] = Blocked(f"Iterable's field {own!r} does not take true and false: {reply.words()}")
            elif known and wrong.keys().isdisjoint(sets[position]):
                results[position] = Later(words="something else about the person was refused")
        return results

    def outcomes(self, calls: Sequence[Call], reply: Reply) -> list[Outcome]:
        """One outcome per call of a bulk answer, which names what it did not take."""
        answer = reply.object
        failed = failures(answer)
        events, fields = items(answer, "disallowedEventNames"), items(answer, "filteredOutFields")
        named = {whom(call) for call in calls if whom(call) in failed or self.event_of(call) in events}
        unnamed = count(answer, "failCount") > len(named)
        results: list[Outcome] = []
        for call in calls:
            name = self.name_at_vendor("track" if call.kind == "track" else "identify", call.key)
            if why := failed.get(whom(call)):
                results.append(Rejected(*why))
            elif self.event_of(call) in events:
                results.append(Blocked(f"Iterable's project does not take events of the name {self.event_of(call)!r}"))
            elif name in fields:
                results.append(Blocked(f"Iterable's project has no field {name!r}, and takes no new one by itself"))
            else:
                results.append(Delivered(unconfirmed=unnamed))
        return results

    def event_of(self, call: Call) -> str | None:
        return self.event(call) if call.kind == "track" else None


def whom(call: Call) -> tuple[str, str]:
    """A profile's identity: the field and its value."""
    if call.identifier.type == "email":
        return "email", call.identifier.id.strip().lower()
    return "userId", call.identifier.id


def dated(value: Any) -> Any:
    """A value with times as Iterable writes them, or it would keep them as text."""
    if isinstance(value, str) and MOMENT.fullmatch(value):
        try:
            return datetime.fromisoformat(value).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S +00:00")
        except (ValueError, OverflowError):
            return value
    if isinstance(value, dict):
        return {key: dated(item) for key, item in value.items()}
    return [dated(item) for item in value] if isinstance(value, list) else value


def code(reply: Reply) -> str:
    """`code` of an answer; bulk answers have none."""
    return word(reply.object, "code")


def succeeded(reply: Reply) -> bool:
    return reply.ok and code(reply) in ("", "Success")


def rejected(reply: Reply) -> Rejected | Blocked:
    if code(reply) == "UniqueFieldsLimitExceeded":
        return Blocked(f"Iterable's project has no room for another field: {reply.words()}")
    return refused(reply, REASONS.get(code(reply)))


def failures(answer: dict[str, Any]) -> dict[tuple[str, str], tuple[Reason, str]]:
    """Why, by identity; the more telling list stands last in FAILURES and wins."""
    found: dict[tuple[str, str], tuple[Reason, str]] = {}
    for lists in (answer, part(answer, "failedUpdates")):
        for prefix, why in FAILURES.items():
            emails, users = f"{prefix}Emails", f"{prefix}UserIds"
            found.update({("email", str(name).lower()): (why, emails) for name in items(lists, emails)})
            found.update({("userId", str(name)): (why, users) for name in items(lists, users)})
    return found
