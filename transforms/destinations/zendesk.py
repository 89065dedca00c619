"""Zendesk: user fields and profile events of Zendesk Support, API v2."""

import re
from base64 import b64encode
from collections.abc import Generator, Hashable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar
from urllib.parse import quote, urlencode, urlsplit

from msgspec import Meta, Struct

from schemas.canonical import canonical
from schemas.outcomes import Later, Reason
from schemas.workspace import Connection, Workspace
from transforms.destinations.contract import (
    CAPS_TABLE,
    Batch,
    Call,
    Conversation,
    Delivered,
    Destination,
    Identifier,
    Limit,
    Memory,
    Outcome,
    Preparation,
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

# Traits that are attributes of a user; everything else is a user field.
STANDARD = frozenset({"name", "email", "phone", "time_zone", "notes", "details"})
# Longer identifiers are refused in events.
# https://developer.zendesk.com/documentation/custom-data/events/about-the-events-api
EVENT_IDENTIFIER = 60
# Seconds between looks at a job, ten minutes in all; its status is kept for an hour.
POLLS = (1.0, 1.0, 2.0, 4.0, 8.0, *[15.0] * 39)

USERS = "/api/v2/users/create_or_update"
BULK = "/api/v2/users/create_or_update_many"
EVENTS = "/api/v2/user_profiles/events"
FIELDS = "/api/v2/user_fields"


class Zendesk(Destination):
    slug = "zendesk"
    name = "Zendesk"
    page = "https://developer.zendesk.com/api-reference/ticketing/users/users/"
    forms = ("identify", "track")
    identifiers = ("user_id", "email")
    one_record = {"email": "attach"}
    # Zendesk's own limits are lower and per minute, by plan (200 to 2,500): it answers them with 429 and a delay.
    limits = (Limit(50, source=CAPS_TABLE),)
    required: ClassVar[Mapping[str, tuple[tuple[str, ...], ...]]] = {
        "name": (("name",), ("first_name", "last_name"), ("email:local",))
    }
    forgets = True

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """The account, and an admin's access to it: an API token with its e-mail address, or an OAuth token."""

        subdomain: Annotated[
            str, Meta(pattern="^[a-z0-9][a-z0-9-]*$", description="`acme` where the account is acme.zendesk.com.")
        ]
        email: Annotated[str, Meta(description="Address of the admin whom the API token belongs to.")] = ""
        api_token: Annotated[Secret | None, Meta(description="API token: Admin Center > Apps and integrations.")] = None
        oauth_token: Annotated[Secret | None, Meta(description="OAuth access token, instead of an API token.")] = None
        bulk: Annotated[
            bool,
            Meta(
                description="Write 100 users per request, as background jobs. Zendesk has to allow bulk imports first."
            ),
        ] = False
        event_source: Annotated[str, Meta(min_length=1, description="`source` of events and their profiles.")] = (
            "profilecast"
        )
        profile_type: Annotated[
            str, Meta(min_length=1, description="`type` of the profiles that events belong to.")
        ] = "customer"

        def __post_init__(self) -> None:
            if (self.api_token is None) == (self.oauth_token is None) or (self.api_token and not self.email):
                raise ValueError("expected either email and api_token, or oauth_token")

    settings: Settings

    def __init__(self, workspace: Workspace, connection: Connection) -> None:
        super().__init__(workspace, connection)
        self._refused: dict[str, Rejected] = {}  # user fields that cannot be had, and why

    # -- conversations
    def prepare(self, samples: Sequence[Call], memory: Memory) -> Preparation:
        """Create the user fields that are missing; keep the types of all that are needed."""
        fields: dict[str, str] = memory.setdefault("fields", {})
        wanted: dict[str, Any] = {}
        for key, value in (pair for call in samples for pair in self._samples(call)):
            if key not in fields and (value is not None or key not in wanted):
                wanted[key] = value
        if not wanted:
            return
        existing = yield from self._existing()
        failed: dict[str, Reply] = {}
        for key in [key for key in wanted if key not in existing]:
            field = {"key": key, "title": key, "type": _type(wanted[key]), "active": True, "description": ""}
            reply = yield self._request("POST", FIELDS, json={"user_field": field})
            if reply.ok:
                existing[key] = (_type(wanted[key]), True)
            else:
                failed[key] = reply
        if failed:  # a key is taken by a field that somebody else just made, or by one that was deleted
            existing |= yield from self._existing()
        for key in wanted:
            if key not in existing:
                self._refused[key] = refused(failed[key], "unknown_field")
                continue
            kind, active = existing[key]
            if active:
                fields[key] = kind
            else:
                self._refused[key] = Rejected("unknown_field", f"the user field {key!r} is deactivated in Zendesk")

    def at_once(self) -> int:
        return 30 if self.settings.bulk else super().at_once()  # jobs that may be queued or running

    def unit(self, call: Call) -> Hashable:
        """One user; Zendesk compares external ids and addresses without regard to case."""
        if call.kind == "track":
            return super().unit(call)
        return (call.kind, call.identifier.type, call.identifier.id.strip().lower())

    def batch_of(self, route: str) -> Batch:
        return Batch(100) if self.settings.bulk and route == "identify" else Batch()

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if call.kind != "delete" and not str(call.traits["name"]).strip():
            return Rejected("missing_required_key", "Zendesk requires a 'name' that is not blank")
        if call.kind == "track" and len(call.identifier.id) > EVENT_IDENTIFIER:
            return Rejected(
                "invalid_identifier", f"Zendesk's events take identifiers of up to {EVENT_IDENTIFIER} letters"
            )
        return next((self._refused[key] for key, _ in self._fields(call) if key in self._refused), None)

    def deliver(self, calls: Sequence[Call], memory: Memory) -> Conversation:
        if calls[0].kind == "track":
            reply = yield self._request("POST", EVENTS, json=self._event(calls[0]))
            return all_of(calls, outcome(reply))
        positions = list(units(self, calls).values())
        users = [self._user([calls[position] for position in one], memory) for one in positions]
        if self.settings.bulk:
            results = yield from self._bulk(users)
        else:
            reply = yield self._request("POST", USERS, json={"user": users[0]})
            busy = reply.status == 429
            results = [Later(retry_after(reply), reply.words()) if busy else outcome(reply)]
        found = {position: result for one, result in zip(positions, results, strict=True) for position in one}
        return [found[position] for position in range(len(calls))]

    def forget(self, calls: Sequence[Call], memory: Memory) -> Conversation:
        """Find the user and delete it. Zendesk keeps deleted users until they are permanently deleted there."""
        kind, value = calls[0].identifier
        if kind == "user_id":
            field, query = "external_id", {"external_id": value}
        else:
            field, query = "email", {"query": f'email:"{value}"'}
        reply = yield self._request("GET", f"/api/v2/users/search?{urlencode(query)}")
        if not reply.ok:
            return all_of(calls, outcome(reply))
        similar = reply.object.get("users") or []
        same = [user for user in similar if str(user.get(field) or "").lower() == value.strip().lower()]
        if similar and not same:
            words = "Zendesk finds users by it, but as no one's primary address or external id: delete them by hand"
            return all_of(calls, Rejected("not_found", words))
        for user in same:
            reply = yield self._request("DELETE", f"/api/v2/users/{user['id']}")
            if not reply.ok and reply.status != 404:
                return all_of(calls, outcome(reply))
        return all_of(calls, Delivered())

    # -- credentials
    def signed(self, request: Request) -> Mapping[str, str]:
        if self.settings.oauth_token:
            return {"authorization": f"Bearer {self.settings.oauth_token.reveal()}"}
        assert self.settings.api_token
        pair = f"{self.settings.email}/token:{self.settings.api_token.reveal()}"
        return {"authorization": f"Basic {b64encode(pair.encode()).decode()}"}

    # -- replies
    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        path, status = urlsplit(request.url).path, reply.status
        if reply.ok and reply.body and not reply.object:
            return Verdict("transient", words=reply.words())
        if status == 409:  # somebody else is changing the same record
            return Verdict("transient", retry_after(reply), reply.words())
        # Not the account's quota: that one user was changed too often.
        if status == 429 and path == USERS and reply.headers.get("x-rate-limit-remaining", "0") != "0":
            return Verdict("answered")
        if 300 <= status < 400 or (status == 404 and path in (USERS, BULK, FIELDS)):
            return Verdict("stop", words=f"Zendesk has no account {self.settings.subdomain!r}: is the subdomain right?")
        if status == 403 and path == BULK:
            return Verdict(
                "stop", words="Zendesk has not allowed bulk imports for this account: ask it, or remove `bulk`"
            )
        # Staff may not be changed or deleted by everyone, and not every plan has events: no reason to stop the others.
        if status == 403 and path != FIELDS:
            return Verdict("answered")
        return by_status(reply, items)

    # -- for the conversations
    def _request(self, method: str, path: str, json: Any = None, after: float = 0.0) -> Request:
        return Request(method, f"https://{self.settings.subdomain}.zendesk.com{path}", json=json, after=after)

    def _existing(self) -> Generator[Request, Reply, dict[str, tuple[str, bool]]]:
        """Type of each user field by key, and whether it is active."""
        found: dict[str, tuple[str, bool]] = {}
        after = ""
        while True:
            reply = yield self._request("GET", f"{FIELDS}?page%5Bsize%5D=100{after}")
            page = reply.object
            for field in page.get("user_fields") or []:
                found[field["key"]] = (field["type"], field.get("active", True))
            more = page.get("meta") or {}
            if not more.get("has_more"):
                return found
            after = f"&page%5Bafter%5D={quote(more['after_cursor'], safe='')}"

    def _fields(self, call: Call) -> Iterator[tuple[str, Any]]:
        """The user fields that an identify call sets."""
        if call.kind == "identify":
            own = {**call.traits, call.key: call.value}
            yield from ((field_key(key), value) for key, value in own.items() if key == call.key or key not in STANDARD)

    def _samples(self, call: Call) -> Iterator[tuple[str, Any]]:
        """The same, with the enrichment that this call happens to lack."""
        if call.kind == "identify":
            sync = self.sync(call)
            enrich = sync.enrich if sync else ()
            yield from ((field_key(key), None) for key in enrich if key not in STANDARD)
        yield from self._fields(call)

    def _user(self, calls: Sequence[Call], memory: Memory) -> dict[str, Any]:
        types = memory.get("fields", {})
        user: dict[str, Any] = {"skip_verify_email": True}
        fields: dict[str, Any] = {}
        for call in calls:
            user |= {key: value for key, value in call.traits.items() if key in STANDARD and key != call.key}
            fields |= {key: field_value(value, types.get(key, "")) for key, value in self._fields(call)}
        kind, value = _identity(calls[0].identifier)
        return {**user, kind: value, "user_fields": fields}

    def _event(self, call: Call) -> dict[str, Any]:
        kind, value = _identity(call.identifier)
        event = self.event(call)
        return {
            "event": {
                "source": self.settings.event_source,
                "type": field_key(event.lower()),
                "description": event,
                "created_at": timestamp(call.at),
                "properties": self.properties(call),
            },
            "profile": {
                "source": self.settings.event_source,
                "type": self.settings.profile_type,
                "name": call.traits["name"],
                "identifiers": [{"type": kind, "value": value}],
            },
        }

    def _bulk(self, users: list[dict[str, Any]]) -> Generator[Request, Reply, list[Outcome]]:
        """Write the users by a job and wait for it; one outcome per user."""
        reply = yield self._request("POST", BULK, json={"users": users})
        if not reply.ok:
            return [outcome(reply)] * len(users)
        job = reply.object.get("job_status") or {}
        for after in POLLS:
            if job.get("status") not in ("queued", "working"):
                break
            reply = yield self._request("GET", f"/api/v2/job_statuses/{job['id']}", after=after)
            job = reply.object.get("job_status") or {}
        rows = job.get("results")
        done = {row.get("index", n): row for n, row in enumerate(rows if isinstance(rows, list) else [])}
        ending = f"Zendesk's job is {job.get('status') or 'lost'}: {job.get('message') or 'no message'}"
        return [row_outcome(done[n]) if n in done else Later(words=ending) for n in range(len(users))]


def _identity(identifier: Identifier) -> tuple[str, str]:
    if identifier.type == "user_id":
        return "external_id", identifier.id
    return "email", identifier.id.strip().lower()


# -- fields
def field_key(name: str) -> str:
    """Letters, digits and _, and not digits only."""
    key = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"field_{key}" if key.isdigit() else key


def field_value(value: Any, kind: str) -> Any:
    """A value in the form that a field of this type takes."""
    if value is None or isinstance(value, str):
        return value
    if kind in ("text", "textarea", "regexp") or isinstance(value, list | dict):
        return canonical(value).decode()
    return value


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "checkbox"
    return "decimal" if isinstance(value, int | float) else "text"


# -- replies
def outcome(reply: Reply) -> Delivered | Rejected:
    """Of a single write."""
    return Delivered() if reply.ok else refused(reply, reason(reply.words()) if reply.status == 422 else None)


def row_outcome(row: dict[str, Any]) -> Delivered | Rejected:
    """Of one row of a job."""
    if row.get("success", True) and not row.get("error"):
        return Delivered()
    words = " ".join(str(row[key]) for key in ("error", "details") if row.get(key))
    return Rejected(reason(words), words)


def reason(words: str) -> Reason:
    """Why a user was refused: the vendor says it in words and in the names of fields."""
    text = words.lower()
    if "duplicatevalue" in text or "already" in text:
        return "conflict"
    if "suspended" in text or "permission" in text:
        return "forbidden"
    if "email" in text or "external" in text:
        return "invalid_identifier"
    return "invalid_value"
