"""Zendesk: fields of users and organizations, and profile events, of Zendesk Support, API v2."""

import re
from collections.abc import Generator, Hashable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar
from urllib.parse import quote, quote_plus, urlsplit

from msgspec import Meta, Struct

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
    Later,
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
from transforms.destinations.reading import part, rows, word
from transforms.destinations.safety import check_texts
from transforms.destinations.zendesk_fields import FIELDS, OF_ORGANIZATIONS, Fields, field_key, field_value
from transforms.destinations.zendesk_organizations import MEMBERSHIPS, ORGANIZATIONS, SEARCH, Organizations
from transforms.destinations.zendesk_users import (
    CREATE_MANY,
    JOBS,
    MOST,
    UPDATE_MANY,
    USERS,
    Again,
    User,
    Users,
    by_email,
    by_external_ids,
    not_found,
    of_one_user,
    outcome,
)

# Traits that are attributes of a user; everything else is a user field.
STANDARD = frozenset({"name", "email", "phone", "time_zone", "notes", "details"})
# Longer identifiers are refused in events.
# https://developer.zendesk.com/documentation/custom-data/events/about-the-events-api
EVENT_IDENTIFIER = 60
SOURCE = 40  # letters of `source`; Zendesk keeps "zendesk" for itself

EVENTS = "/api/v2/user_profiles/events"
PROFILES = "/api/v2/user_profiles"
DELETED = "/api/v2/deleted_users"
ONE_USER = re.compile(rf"{USERS}|/api/v2/users/\d+|{DELETED}/\d+")
FOR_GOOD = "deletion for good"  # a limit of its own
DELETIONS = "https://developer.zendesk.com/api-reference/ticketing/users/users/#permanently-delete-user"

Forgetting = Generator[Request, Reply, Rejected | None]  # why it cannot be


class Zendesk(Destination):
    slug = "zendesk"
    name = "Zendesk"
    page = "https://developer.zendesk.com/api-reference/ticketing/users/users/"
    remark = (
        "An account is an organization, known by its external id. Without `enrich: [name]` a new one is called by the "
        "account's id."
    )
    forms = ("identify", "track", "group", "member")
    identifiers = ("user_id", "email")
    one_record = {"email": "attach"}
    limits = (Limit(50, source=CAPS_TABLE), Limit(700, 600.0, FOR_GOOD, DELETIONS))
    paced_by = ("x-rate-limit", 60.0)  # Zendesk's own limits are lower than the cap, by plan: 200 to 2,500 a minute
    concurrency = 30  # jobs that may be queued or running
    required: ClassVar[Mapping[str, tuple[tuple[str, ...], ...]]] = {
        "name": (("name",), ("first_name", "last_name"), ("email:local",))
    }
    forgets = True

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """The account, and access to it as an admin: an OAuth client, or what Zendesk had before."""

        subdomain: Annotated[
            str, Meta(pattern="^[a-z0-9][a-z0-9-]*$", description="`acme` where the account is acme.zendesk.com.")
        ]
        client_id: Annotated[
            str,
            Meta(
                description="Identifier of a confidential OAuth client that an admin has made: Admin Center > Apps and "
                "integrations > APIs > OAuth clients."
            ),
        ] = ""
        client_secret: Annotated[
            Secret | None, Meta(description="Secret of that client. Tokens are asked for with it, and renewed.")
        ] = None
        oauth_token: Annotated[
            Secret | None, Meta(description="OAuth access token, instead of a client. Most end within days: for a try.")
        ] = None
        email: Annotated[str, Meta(description="Address of the admin whom the API token belongs to.")] = ""
        api_token: Annotated[
            Secret | None,
            Meta(
                description="API token, instead of a client. Zendesk gives out no new ones, and all end on 2027-04-30."
            ),
        ] = None
        bulk: Annotated[
            bool,
            Meta(
                description="Make new users by background jobs too, 100 per request. Zendesk has to allow bulk imports "
                "first. (Users whom Zendesk knows are always changed so.)"
            ),
        ] = False
        event_source: Annotated[
            str,
            Meta(min_length=1, max_length=SOURCE, description="`source` of events and their profiles; not `zendesk`."),
        ] = "profilecast"
        profile_type: Annotated[
            str, Meta(min_length=1, description="`type` of the profiles that events belong to.")
        ] = "customer"

        def __post_init__(self) -> None:
            check_texts(self)
            given = [bool(self.api_token), bool(self.oauth_token), bool(self.client_secret or self.client_id)]
            half = bool(self.client_id) != bool(self.client_secret) or (self.api_token and not self.email)
            if sum(given) != 1 or half:
                raise ValueError("expected one of: client_id and client_secret; oauth_token; email and api_token")
            if self.event_source.lower() == "zendesk":
                raise ValueError("event_source: Zendesk keeps 'zendesk' for itself")

    settings: Settings

    def __init__(self, workspace: Workspace, connection: Connection) -> None:
        super().__init__(workspace, connection)
        if self.settings.client_id:
            url = "https://{subdomain}.zendesk.com/oauth/tokens"
            # Whether scopes by resource ("users:write") cover events, fields and jobs is not documented.
            self.auth = ClientCredentials(url, scope="read write", send="json")
        elif self.settings.oauth_token:
            self.auth = Bearer("{oauth_token}")
        else:
            self.auth = Basic("{email}/token", "{api_token}")
        self._at_vendor = Fields(self._request)
        self._organizations = Organizations(self._request, self)
        self._users = Users(self._request, self.settings.bulk)

    def tenant(self) -> str:
        return f"{self.slug}:{self.settings.subdomain}"

    def limit_group(self) -> str:
        """The account's tokens share its limits."""
        return f"{self.slug}-{self.settings.subdomain}"

    def name_at_vendor(self, form: Form, key: str) -> str:
        return field_key(key) if form in ("identify", "group") else key

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
        refusals = yield from self._organizations.prepare(targets)
        if not wanted:
            return refusals
        missing = yield from self._at_vendor.make(wanted, titles, self.memory)
        for target, call in targets.items():
            keys = [field_key(title) for title, _ in self._samples(call)]
            if words := [missing[key] for key in keys if key in missing]:
                refusals[target] = words[0]
            if not self._at_vendor.created.isdisjoint(keys):
                self.made.add(target)
        return refusals

    def unit(self, call: Call) -> Hashable:
        """One user; Zendesk compares external ids and addresses without regard to case."""
        if call.kind == "track":
            return super().unit(call)
        return (call.kind, call.identifier.type, call.identifier.id.strip().lower())

    def batch_of(self, route: str) -> Batch:
        """One conversation asks who is known for many users; those who are new may take a request each (`batch`)."""
        return Batch(MOST, each=1) if route == "identify" else self.batch

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if call.kind not in ("delete", "group") and not str(call.traits["name"]).strip():
            return Rejected("missing_required_key", "Zendesk requires a 'name' that is not blank")
        if call.kind == "track" and len(call.identifier.id) > EVENT_IDENTIFIER:
            return Rejected(
                "invalid_identifier", f"Zendesk's events take identifiers of up to {EVENT_IDENTIFIER} letters"
            )
        return None

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        if calls[0].kind == "group":
            return (yield from self._organizations.deliver(calls))
        if calls[0].kind == "member":
            told = yield from self._organizations.belong(self._user(calls), self._users, calls[-1].value)
            return all_of(calls, told)
        if calls[0].kind == "track":
            reply = yield self._request("POST", EVENTS, json=self._event(calls[0]))
            if reply.status == 403:  # not every plan has events
                return all_of(calls, Blocked(f"Zendesk does not take events: {reply.words()}"))
            return all_of(calls, outcome(reply))
        return (yield from self._identify(calls))

    def _identify(self, calls: Sequence[Call]) -> Conversation:
        groups = list(units(self, calls).values())
        users = [self._user([calls[n] for n in group]) for group in groups]
        yield from self._users.find(users)
        keys = {key for call in calls for key, _ in self._fields(call)}
        known = next((user.known for user in users if user.known), {})
        lost = self._at_vendor.missed(known, keys, self.memory)
        for user, group in zip(users, groups, strict=True):
            self._fill(user, [calls[n] for n in group if not self._lost(calls[n], lost)])
        written = [user for user in users if user.fields]
        for shown in (yield from self._users.write(written)):
            lost |= self._at_vendor.missed(shown, keys - lost.keys(), self.memory)
        results = {n: user.result for user, group in zip(users, groups, strict=True) for n in group}
        return [_settled(results[n], self._lost(call, lost)) for n, call in enumerate(calls)]

    def _lost(self, call: Call, lost: Mapping[str, Outcome]) -> Outcome | None:
        """What becomes of a call whose field Zendesk does not have."""
        return next((lost[key] for key, _ in self._fields(call) if key in lost), None)

    def forget(self, calls: Sequence[Call]) -> Conversation:
        """Delete the profile of its events, which alone deletes these, and then the user for good."""
        failed = yield from self._forget_events(calls[0])
        if failed:
            return all_of(calls, failed)
        field, value = _identity(calls[0].identifier)
        reply = yield self._request("GET", by_external_ids(value) if field == "external_id" else by_email(value))
        if not reply.ok:
            return all_of(calls, outcome(reply))
        similar = rows(reply.object, "users")
        same = [user for user in similar if word(user, field).lower() == value.strip().lower()]
        if similar and not same:
            words = "Zendesk finds users by it, but as no one's primary address or external id: delete them by hand"
            return all_of(calls, Rejected("not_found", words))
        for user in same:
            failed = yield from self._forget_user(user)
            if failed:
                return all_of(calls, failed)
        return all_of(calls, Delivered())

    def _forget_events(self, call: Call) -> Forgetting:
        """Delete the profile that this connection's events have made."""
        kind, value = _identity(call.identifier)
        if len(value) > EVENT_IDENTIFIER:
            return None
        identity = f"{self.settings.event_source}:{self.settings.profile_type}:{kind}:{value}"
        reply = yield self._request("GET", f"{PROFILES}?identifier={quote_plus(identity)}")
        profile = word(part(reply.object, "profile"), "id")
        if not reply.ok or not profile:
            return None if reply.ok or reply.status in (403, 404) else refused(reply)
        reply = yield self._request("DELETE", f"{PROFILES}/{quote(profile, safe='')}")
        return None if reply.ok or reply.status == 404 else refused(reply)

    def _forget_user(self, user: dict[str, Any]) -> Forgetting:
        """Delete a user, and then for good. `active` is false between the two, where the second had no answer."""
        number = quote(word(user, "id"), safe="")
        if user.get("active") is not False:
            reply = yield self._request("DELETE", f"/api/v2/users/{number}")
            if not reply.ok and not not_found(reply):
                return refused(reply)
        reply = yield self._request("DELETE", f"{DELETED}/{number}", endpoint=FOR_GOOD)
        if reply.ok or not_found(reply):
            return None
        words = f"deleted, but not for good, which Zendesk does by itself after 30 days: {reply.words()}"
        return refused(reply, words=words)

    # -- replies
    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        path, status = urlsplit(request.url).path, reply.status
        if reply.ok and not reply.object and (reply.body or request.method == "GET"):
            return Verdict("transient", words=reply.words())
        if status == 409:  # somebody else is changing the same record
            return Verdict("transient", retry_after(reply), reply.words())
        too_often = status == 429 and request.method != "DELETE" and of_one_user(reply)
        of_many = status == 403 and items > 1 and not isinstance(request, Again) and request.method in ("POST", "PUT")
        if ONE_USER.fullmatch(path) and (too_often or of_many or status in (400, 413, 422)):
            return Verdict("answered")  # though many are in the conversation
        if status == 404 and not_found(reply) and (path not in JOBS or items == 1):  # one user, or one job
            return Verdict("answered")
        if status in (403, 404) and path.startswith(PROFILES) and request.method != "POST" and reply.object:
            return Verdict("answered")  # there is none, or the plan has none
        if 300 <= status < 400 or status == 404:
            words = f"Zendesk has no account {self.settings.subdomain!r}, or no {path}: is the subdomain right?"
            # A profile that is not there is no error: an answer that does not say so in JSON is asked for again.
            again = path == PROFILES and request.method == "GET"
            return Verdict("transient" if again else "refused", words=f"{words} {reply.words()}")
        if status == 403 and path == CREATE_MANY:
            return Verdict(
                "stop", words="Zendesk has not allowed bulk imports for this account: ask it, or remove `bulk`"
            )
        # Not every plan has events, not every agent may make fields, update many or delete for good: no reason to stop.
        by_permission = (FIELDS, EVENTS, UPDATE_MANY, ORGANIZATIONS, OF_ORGANIZATIONS, MEMBERSHIPS, SEARCH)
        if status == 403 and (path in by_permission or path.startswith(DELETED)):
            return Verdict("answered")
        return by_status(reply, items)

    # -- for the conversations
    def _request(self, method: str, path: str, json: Any = None, after: float = 0.0, endpoint: str = "") -> Request:
        url = f"https://{self.settings.subdomain}.zendesk.com{path}"
        return Request(method, url, json=json, after=after, endpoint=endpoint)

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

    def _user(self, calls: Sequence[Call]) -> User:
        """Who it is; `_fill` adds what is told."""
        kind, value = _identity(calls[0].identifier)
        return User(kind, value, calls[-1].traits["name"], word(calls[-1].traits, "email") if kind != "email" else "")

    def _fill(self, user: User, calls: Sequence[Call]) -> None:
        """Write these calls into their user."""
        types = self.memory.get("fields", {})
        for call in calls:
            apart = ("name", "email", call.key)
            user.attributes |= {k: v for k, v in call.traits.items() if k in STANDARD and k not in apart}
            user.fields |= {key: field_value(value, types.get(key, "")) for key, value in self._fields(call)}

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


def _identity(identifier: Identifier) -> tuple[str, str]:
    if identifier.type == "user_id":
        return "external_id", identifier.id
    return "email", identifier.id.strip().lower()


def _settled(result: Outcome | None, lost: Outcome | None) -> Outcome:
    """The outcome of a call: its user's, unless Zendesk took the user without this call's field, or was not asked."""
    if lost and not isinstance(result, Rejected | Later):
        return lost
    assert result, "every user without a lost field is written"
    return result
