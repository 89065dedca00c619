"""Iterable: fields and events of user profiles, and static lists of them. https://api.iterable.com/api/docs

Source: the vendor's description and client (Iterable/api-client at 981eeb5, `api-docs.json`). Where they differ on what
a bulk answer names as failed, both are understood.

Always in bulk, one person too: Iterable processes single and bulk requests apart, and one may overtake the other.
"""

import re
from collections.abc import Generator, Hashable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote

from msgspec import Meta, Struct

from schemas.outcomes import Later
from schemas.workspace import Connection, Workspace
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
    Preparation,
    Reason,
    Rejected,
    Reply,
    Request,
    Secret,
    Target,
    Verdict,
    all_of,
    by_status,
    refused,
    retry_after,
    units,
)
from transforms.destinations.reading import count, items, lose, part, rows, word
from transforms.destinations.safety import breaks_path, fingerprint
from transforms.destinations.young import Young

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
DELETED = UNKNOWN | {"ForgottenUserError"}  # in the answer to a deletion
# Lists of a bulk answer, of e-mail addresses (`invalidEmails`) and of user ids (`invalidUserIds`).
FAILURES: dict[str, Reason] = {
    "failed": "refused",
    "invalid": "invalid_identifier",
    "notFound": "not_found",
    "invalidData": "invalid_value",
    "conflict": "conflict",
    "forgotten": "forgotten",
}
NOT_THERE = frozenset({"not_found", "forgotten"})  # of a person who is to leave a list: so is nothing left to do
NO_SUCH_LIST = "invalidListId"  # in `msg`, with `BadParams`; for a moment also of a list that was just made


class Iterable(Destination):
    slug = "iterable"
    name = "Iterable"
    page = API
    forms = ("identify", "track", "list")
    identifiers: tuple[str, ...] = ("email", "user_id")
    one_record = {"user_id": "attach"}
    limits = (
        Limit(500, source=CAPS_TABLE),
        Limit(5, 1.0, "users/bulkUpdate", API),
        Limit(10, 1.0, "events/trackBulk", API),
        Limit(5, 1.0, "lists/change", f"{API}: none is stated; as users/bulkUpdate"),
        Limit(100, 1.0, "lists", API),
        Limit(100, 1.0, "users/delete", API),
        Limit(3, 1.0, "users/forget", API),
        Limit(1000, 86_400.0, "users/forget", API),
    )
    batch = Batch(1000, 4_000_000)
    flush_every: ClassVar[Mapping[Form, float]] = {"list": 3600.0}
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
        deletion: Annotated[
            Literal["delete", "forget"],
            Meta(
                description="What a deletion asks for. forget: Iterable takes nothing about the person any more, ever; "
                "1,000 a day."
            ),
        ] = "delete"

    settings: Settings

    def __init__(self, workspace: Workspace, connection: Connection) -> None:
        super().__init__(workspace, connection)
        if self.settings.project == "user_id":
            self.identifiers = ("user_id",)
        self._young = Young()  # lists, by id

    def tenant(self) -> str:
        """The variable of the key: only the key says which project it is of."""
        return f"{self.slug}:{self.settings.data_centre}:{fingerprint(str(self.settings.api_key))}"

    def name_at_vendor(self, form: Form, key: str) -> str:
        """The key; as a field's without dots, which would nest it, and none of the two names that make the identity."""
        if form == "list":
            return key
        return f"trait_{key}" if key in IDENTITY else key.replace(".", "_")

    # -- conversations
    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        """Find the static lists by name, create those that are missing; keep their ids."""
        lists = self.memory.setdefault("lists", {})
        wanted = {t: call for t, call in sorted(targets.items()) if t.form == "list" and t.key not in lists}
        if not wanted:
            return None
        existing = yield from self._existing()
        if isinstance(existing, Blocked):  # creating is not idempotent: without the lists, nothing is created
            return dict.fromkeys(wanted, existing.words)
        refusals = {}
        for target, call in wanted.items():
            key = target.key
            if key in existing:
                lists[key] = existing[key]
                continue
            reply = yield self.post("lists", {"name": key, "description": self._description(call)}, "lists")
            if made := count(reply.object, "listId"):
                lists[key] = made
                self.made.add(target)
                self._young.made(made)
            else:
                refusals[target] = f"Iterable does not make the list {key!r}: {reply.words()}"
        return refusals

    def unit(self, call: Call) -> Hashable:
        match call.kind:
            case "track":
                return super().unit(call)
            case "add" | "remove":
                return (call.kind, call.key, whom(call))
            case _:
                return whom(call)

    def batch_of(self, route: str) -> Batch:
        return Batch(1) if route == "delete" else self.batch

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        kind, name = whom(call)
        if kind == "email" and not EMAIL.fullmatch(name):
            return Rejected("invalid_identifier", "Iterable takes no such e-mail address")
        if call.kind == "delete" and self.settings.deletion == "delete" and breaks_path(name):
            words = "it cannot be in the URL by which Iterable deletes: delete the person there by hand"
            return Rejected("invalid_identifier", words)
        return None

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        if calls[0].kind in ("add", "remove"):
            return (yield from self._change(calls))
        groups = [[calls[p] for p in positions] for positions in units(self, calls).values()]
        if calls[0].kind == "track":
            endpoint, body = "events/trackBulk", {"events": [self.occurrence(group[0]) for group in groups]}
        else:
            endpoint, body = "users/bulkUpdate", {"users": [self.user(group) for group in groups]}
        reply = yield self.post(endpoint, body, endpoint)
        if succeeded(reply):
            return self.outcomes(calls, reply)
        return self.owners(calls, reply) if len(groups) == 1 else all_of(calls, rejected(reply))

    def _change(self, calls: Sequence[Call]) -> Conversation:
        """Put people on a list, or take them off it."""
        key, leave = calls[0].key, calls[0].kind == "remove"
        listed = self.memory.get("lists", {}).get(key)
        if listed is None:
            return all_of(calls, Blocked(f"Iterable has no list {key!r}", prepare=True))
        people = [self.identity(calls[positions[0]], leave) for positions in units(self, calls).values()]
        body: dict[str, Any] = {"listId": listed, "subscribers": people}
        if leave:
            body["channelUnsubscribe"] = False  # said aloud: true ends all messages to the person
        reply = yield self.post(f"lists/{'un' if leave else ''}subscribe", body, "lists/change")
        if no_such_list(reply):
            return all_of(calls, self._gone(key, listed, reply))
        if not succeeded(reply):
            return all_of(calls, rejected(reply))
        self._young.seen(listed)
        told = self.outcomes(calls, reply)
        gone = [leave and isinstance(outcome, Rejected) and outcome.reason in NOT_THERE for outcome in told]
        return [Delivered() if left else outcome for left, outcome in zip(gone, told, strict=True)]

    def _gone(self, key: str, listed: int, reply: Reply) -> Outcome:
        """Note that a list is not there: not yet, or not any more."""
        if wait := self._young.wait(listed):
            return Later(wait, reply.words())
        if listed not in self._young:
            lose(self.memory["lists"], key, listed)
            return Blocked(f"the list {key!r} ({listed}) was deleted at Iterable", prepare=True, lost=True)
        return Blocked(f"Iterable made the list {key!r} ({listed}) and does not know it since: {reply.words()}")

    def _existing(self) -> Generator[Request, Reply, dict[str, int] | Blocked]:
        """Ids of the project's static lists by name; the first of two with one name."""
        reply = yield Request("GET", f"{self.url}/lists", endpoint="lists")
        if not succeeded(reply) or "lists" not in reply.object:
            return Blocked(f"Iterable does not show the project's lists: {reply.words()}")
        found: dict[str, int] = {}
        for each in rows(reply.object, "lists"):
            if word(each, "listType") == "Standard" and count(each, "id"):
                found.setdefault(word(each, "name"), count(each, "id"))
        return found

    def forget(self, calls: Sequence[Call]) -> Conversation:
        kind, name = whom(calls[0])
        if self.settings.deletion == "forget":
            reply = yield self.post("users/forget", {kind: name}, "users/forget")
        else:
            path = quote(name, safe="") if kind == "email" else f"byUserId/{quote(name, safe='')}"
            reply = yield Request("DELETE", f"{self.url}/users/{path}", endpoint="users/delete")
        if succeeded(reply) or code(reply) in DELETED:
            return all_of(calls, Delivered())
        return all_of(calls, rejected(reply))

    def post(self, path: str, body: Any, endpoint: str) -> Request:
        return Request("POST", f"{self.url}/{path}", json=body, endpoint=endpoint)

    @property
    def url(self) -> str:
        return f"{HOSTS[self.settings.data_centre]}/api"

    # -- objects
    def user(self, calls: Sequence[Call]) -> dict[str, Any]:
        """What several calls say about one profile."""
        fields: dict[str, Any] = {}
        for call in calls:
            fields.update((self.name_at_vendor("identify", key), dated(value)) for key, value in call.traits.items())
        fields.update((self.name_at_vendor("identify", call.key), dated(call.value)) for call in calls)
        return {**self.identity(calls[0]), "mergeNestedObjects": False, "dataFields": fields}

    def identity(self, call: Call, only_known: bool = False) -> dict[str, Any]:
        """Whom it is about, and whether an unknown person is made."""
        kind, name = whom(call)
        if kind == "email" or only_known or self.settings.project != "email":
            return {kind: name}
        return {kind: name, "preferUserId": self.settings.placeholder_emails}

    def _description(self, call: Call) -> str:
        return f"{self.computation(call).name}: members are kept by profilecast"

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
        if no_such_list(reply):
            return Verdict("answered")
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


def no_such_list(reply: Reply) -> bool:
    return code(reply) == "BadParams" and NO_SUCH_LIST in word(reply.object, "msg")


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
