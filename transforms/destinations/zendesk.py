"""Zendesk: user fields and profile events of Zendesk Support, API v2."""

from collections.abc import Generator, Hashable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar
from urllib.parse import quote, urlencode, urlsplit

from msgspec import Meta, Struct

from schemas.canonical import canonical
from schemas.outcomes import Later, Reason
from schemas.workspace import Connection, Workspace
from transforms.destinations.auth import Basic, Bearer, ClientCredentials
from transforms.destinations.contract import (
    CAPS_TABLE,
    Batch,
    Blocked,
    Call,
    Conversation,
    Delivered,
    Destination,
    Form,
    Identifier,
    Limit,
    Outcome,
    Preparation,
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
    timestamp,
    units,
)
from transforms.destinations.names import in_ascii
from transforms.destinations.reading import part, rows, word
from transforms.destinations.safety import check_texts
from transforms.destinations.young import Young

# Traits that are attributes of a user; everything else is a user field.
STANDARD = frozenset({"name", "email", "phone", "time_zone", "notes", "details"})
# Longer identifiers are refused in events.
# https://developer.zendesk.com/documentation/custom-data/events/about-the-events-api
EVENT_IDENTIFIER = 60
FIELD_KEY = 100  # letters; a longer one may be refused (unsure)
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
        client_id: Annotated[str, Meta(description="Identifier of an OAuth client; with client_secret.")] = ""
        client_secret: Annotated[Secret | None, Meta(description="Secret of the OAuth client.")] = None
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
            check_texts(self)
            given = [bool(self.api_token), bool(self.oauth_token), bool(self.client_secret or self.client_id)]
            half = bool(self.client_id) != bool(self.client_secret) or (self.api_token and not self.email)
            if sum(given) != 1 or half:
                raise ValueError("expected one of: email and api_token; oauth_token; client_id and client_secret")

    settings: Settings

    def __init__(self, workspace: Workspace, connection: Connection) -> None:
        super().__init__(workspace, connection)
        if self.settings.client_id:
            url = "https://{subdomain}.zendesk.com/oauth/tokens"
            self.auth = ClientCredentials(url, scope="read write", send="json")
        elif self.settings.oauth_token:
            self.auth = Bearer("{oauth_token}")
        else:
            self.auth = Basic("{email}/token", "{api_token}")
        self._young = Young()  # keys of fields that were just made
        self._doubted: set[str] = set()  # fields that an answer did not show
        self._unseen: set[str] = set()  # of these, those that are there all the same: answers do not show every field

    def tenant(self) -> str:
        return f"{self.slug}:{self.settings.subdomain}"

    def limit_group(self) -> str:
        """The account's tokens share its limits."""
        return f"{self.slug}-{self.settings.subdomain}"

    def name_at_vendor(self, form: Form, key: str) -> str:
        return field_key(key) if form == "identify" else key

    def trait_at_vendor(self, trait: str) -> str:
        return trait if trait in STANDARD else field_key(trait)

    def event_at_vendor(self, name: str) -> str:
        return field_key(name.lower())

    # -- conversations
    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        """Create the user fields that are missing; keep the types of all that are needed."""
        fields: dict[str, str] = self.memory.setdefault("fields", {})
        wanted: dict[str, Any] = {}
        titles: dict[str, str] = {}
        for title, value in (pair for call in targets.values() for pair in self._samples(call)):
            key = field_key(title)
            if key not in fields and (value is not None or key not in wanted):
                wanted[key], titles[key] = value, title
        if not wanted:
            return None
        missing = yield from self._make(wanted, titles)
        return {
            target: missing[key]
            for target, call in targets.items()
            for key in (field_key(title) for title, _ in self._samples(call))
            if key in missing
        }

    def _make(self, wanted: Mapping[str, Any], titles: Mapping[str, str]) -> Generator[Request, Reply, dict[str, str]]:
        """Find or create these user fields, each with a value; those that cannot be had, and why."""
        existing = yield from self._existing()
        if isinstance(existing, Blocked):
            return dict.fromkeys(wanted, existing.words)
        failed: dict[str, Reply] = {}
        for key in [key for key in wanted if key not in existing]:
            kind = _type(wanted[key])
            field = {"key": key, "title": titles[key], "type": kind, "active": True, "description": ""}
            reply = yield self._request("POST", FIELDS, json={"user_field": field})
            if reply.ok:
                existing[key] = (kind, True)
                self._young.made(key)
            else:
                failed[key] = reply
        if failed:  # a key is taken by a field that somebody else just made, or by one that was deleted
            again = yield from self._existing()
            existing |= {} if isinstance(again, Blocked) else again
        missing = {}
        for key in wanted:
            if key not in existing:
                missing[key] = f"Zendesk has no user field {key!r}, and does not make one: {failed[key].words()}"
                continue
            kind, active = existing[key]
            if active:
                self.memory["fields"][key] = kind
                self._unseen |= {key} & self._doubted
            else:
                missing[key] = f"the user field {key!r} is deactivated in Zendesk"
        return missing

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
        return None

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        if calls[0].kind == "track":
            reply = yield self._request("POST", EVENTS, json=self._event(calls[0]))
            if reply.status == 403:  # not every plan has events
                return all_of(calls, Blocked(f"Zendesk does not take events: {reply.words()}"))
            return all_of(calls, outcome(reply))
        return (yield from self._identify(calls))

    def _identify(self, calls: Sequence[Call]) -> Conversation:
        positions = list(units(self, calls).values())
        users = [self._user([calls[position] for position in one]) for one in positions]
        if self.settings.bulk:
            results = yield from self._bulk(users)
        else:
            reply = yield self._request("POST", USERS, json={"user": users[0]})
            busy = reply.status == 429
            results = [Later(retry_after(reply), reply.words()) if busy else outcome(reply)]
            if reply.ok:
                gone = {key: self._lose(key) for key in self._unshown(reply, users[0]["user_fields"])}
                return [next((gone[key] for key, _ in self._fields(c) if key in gone), Delivered()) for c in calls]
        found = {position: result for one, result in zip(positions, results, strict=True) for position in one}
        return [found[position] for position in range(len(calls))]

    def _unshown(self, reply: Reply, sent: Mapping[str, Any]) -> list[str]:
        """Fields that the user should have by now and does not show: Zendesk drops values of those it does not have."""
        shown = part(reply.object, "user").get("user_fields")
        if not isinstance(shown, dict):
            return []
        for key in shown:
            self._young.seen(key)
        return [key for key in sent if key not in shown and key not in self._unseen]

    def _lose(self, key: str) -> Outcome:
        """Note that Zendesk does not have a field: not yet, or not any more."""
        if wait := self._young.wait(key):
            return Later(wait, f"Zendesk does not know its new user field {key!r} everywhere yet")
        self.memory.get("fields", {}).pop(key, None)
        self._doubted.add(key)
        return Blocked(f"Zendesk has no user field {key!r} any more", prepare=True)

    def forget(self, calls: Sequence[Call]) -> Conversation:
        """Find the user and delete it. Zendesk keeps deleted users until they are permanently deleted there."""
        kind, value = calls[0].identifier
        if kind == "user_id":
            field, query = "external_id", {"external_id": value}
        else:
            field, query = "email", {"query": f'email:"{value}"'}
        reply = yield self._request("GET", f"/api/v2/users/search?{urlencode(query)}")
        if not reply.ok:
            return all_of(calls, outcome(reply))
        similar = rows(reply.object, "users")
        same = [word(user, "id") for user in similar if word(user, field).lower() == value.strip().lower()]
        if similar and not same:
            words = "Zendesk finds users by it, but as no one's primary address or external id: delete them by hand"
            return all_of(calls, Rejected("not_found", words))
        for user in same:
            reply = yield self._request("DELETE", f"/api/v2/users/{quote(user, safe='')}")
            if not reply.ok and not not_found(reply):
                return all_of(calls, outcome(reply))
        return all_of(calls, Delivered())

    # -- replies
    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        path, status = urlsplit(request.url).path, reply.status
        if reply.ok and reply.body and not reply.object:
            return Verdict("transient", words=reply.words())
        if status == 409:  # somebody else is changing the same record
            return Verdict("transient", retry_after(reply), reply.words())
        if status == 429 and path == USERS and of_one_user(reply):
            return Verdict("answered")
        if status == 404 and not_found(reply) and (path != BULK or items == 1):  # one user, or one job
            return Verdict("answered")
        if 300 <= status < 400 or status == 404:
            words = f"Zendesk has no account {self.settings.subdomain!r}, or no {path}: is the subdomain right?"
            return Verdict("refused", words=f"{words} {reply.words()}")
        if status == 403 and path == BULK:
            return Verdict(
                "stop", words="Zendesk has not allowed bulk imports for this account: ask it, or remove `bulk`"
            )
        # Not every plan has events, not every agent may make fields: no reason to stop the others.
        if status == 403 and path in (FIELDS, EVENTS):
            return Verdict("answered")
        return by_status(reply, items)

    # -- for the conversations
    def _request(self, method: str, path: str, json: Any = None, after: float = 0.0) -> Request:
        return Request(method, f"https://{self.settings.subdomain}.zendesk.com{path}", json=json, after=after)

    def _existing(self) -> Generator[Request, Reply, dict[str, tuple[str, bool]] | Blocked]:
        """Type of each user field by key, and whether it is active."""
        found: dict[str, tuple[str, bool]] = {}
        after = ""
        while True:
            reply = yield self._request("GET", f"{FIELDS}?page%5Bsize%5D=100{after}")
            if not reply.ok:
                return Blocked(f"Zendesk does not show its user fields: {reply.words()}")
            page = reply.object
            for field in rows(page, "user_fields"):
                found[word(field, "key")] = (word(field, "type"), field.get("active") is not False)
            more = part(page, "meta")
            before, cursor = after, word(more, "after_cursor")
            after = f"&page%5Bafter%5D={quote(cursor, safe='')}"
            if not (more.get("has_more") and cursor) or after == before:
                return found

    def _fields(self, call: Call) -> Iterator[tuple[str, Any]]:
        """The user fields that an identify call sets."""
        yield from ((field_key(key), value) for key, value in self._own(call))

    def _own(self, call: Call) -> Iterator[tuple[str, Any]]:
        """The user fields that an identify call sets, by our names."""
        if call.kind == "identify":
            own = {**call.traits, call.key: call.value}
            yield from ((key, value) for key, value in own.items() if key == call.key or key not in STANDARD)

    def _samples(self, call: Call) -> Iterator[tuple[str, Any]]:
        """The user fields of an identify call, with the enrichment that this call happens to lack."""
        if call.kind == "identify":
            sync = self.sync(call)
            enrich = sync.enrich if sync else ()
            yield from ((key, None) for key in enrich if key not in STANDARD)
        yield from self._own(call)

    def _user(self, calls: Sequence[Call]) -> dict[str, Any]:
        types = self.memory.get("fields", {})
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
                "type": self.event_at_vendor(event),
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
        job = part(reply.object, "job_status")
        for after in POLLS:
            number = word(job, "id")
            if not number or job.get("status") not in ("queued", "working"):
                break
            reply = yield self._request("GET", f"/api/v2/job_statuses/{quote(number, safe='')}", after=after)
            job = part(reply.object, "job_status")
        done = {}
        for n, row in enumerate(rows(job, "results")):
            index = row.get("index", n)
            done[index if isinstance(index, int) else n] = row
        ending = f"Zendesk's job is {word(job, 'status') or 'lost'}: {word(job, 'message') or 'no message'}"
        return [row_outcome(done[n]) if n in done else Later(words=ending) for n in range(len(users))]


def _identity(identifier: Identifier) -> tuple[str, str]:
    if identifier.type == "user_id":
        return "external_id", identifier.id
    return "email", identifier.id.strip().lower()


# -- fields
def field_key(name: str) -> str:
    """Letters, digits and _, and not digits only."""
    key = in_ascii(name, FIELD_KEY)
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
    """The outcome of a single write."""
    return Delivered() if reply.ok else refused(reply, reason(reply.words()) if reply.status == 422 else None)


def row_outcome(row: dict[str, Any]) -> Delivered | Rejected:
    """The outcome of one row of a job."""
    if row.get("success", True) and not row.get("error") and word(row, "status").lower() != "failed":
        return Delivered()
    words = " ".join(str(row[key]) for key in ("error", "details") if row.get(key))
    return Rejected(reason(words), words)


def not_found(reply: Reply) -> bool:
    """Whether Zendesk says that it has no such user, or job; a page of somebody else's is no such word."""
    return reply.status == 404 and word(reply.object, "error") == "RecordNotFound"


def of_one_user(reply: Reply) -> bool:
    """Whether it is not the account's quota that is used up: that one user was changed too often."""
    left = [reply.headers.get(name, "0") for name in ("x-rate-limit-remaining", "ratelimit-remaining")]
    return "single unique user" in reply.words() or any(number != "0" for number in left)


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
