"""Facebook Custom Audiences: hashed members of customer-list audiences, through Meta's Marketing API."""

import hmac
import re
from collections.abc import Generator, Hashable, Mapping, Sequence
from datetime import date
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Meta, Struct

from schemas.outcomes import Later
from schemas.workspace import Connection, Workspace
from transforms.destinations.auth import with_params
from transforms.destinations.contract import (
    ApiVersion,
    Auth,
    Batch,
    Blocked,
    Call,
    Conversation,
    Delivered,
    Destination,
    Form,
    Identifier,
    Outcome,
    Preparation,
    Rejected,
    Reply,
    Request,
    Secret,
    Session,
    Target,
    Verdict,
    all_of,
    by_status,
    refused,
    retry_after,
)
from transforms.destinations.facebook_rows import FINDING, Cell, Row, cell, leaving, row, table
from transforms.destinations.personal import EXPECTED
from transforms.destinations.reading import count, lose, part, rows, word
from transforms.destinations.safety import check_texts
from transforms.destinations.young import Young

# Said of rows without any of FINDING. They go all the same: the account may have tied the user id to one.
UNMATCHED = (
    "of people of whom no address, number or device is known: Facebook matches nobody by a user id, unless this ad "
    "account tied it to one of these in the last 90 days, and hardly anybody by names and places"
)

# Error codes, mostly inside an HTTP 400.
# https://developers.facebook.com/docs/graph-api/guides/error-handling
# https://developers.facebook.com/docs/graph-api/overview/rate-limiting (80000-80014: limits by business use case)
THROTTLED = frozenset({4, 17, 32, 341, 368, 613, *range(80000, 80015)})
TRANSIENT = frozenset({1, 2, 2650, 5000, 21009})  # 2650: the audience is being changed
TOO_MUCH = re.compile("reduce the amount of data", re.I)  # code 1 too, but the same request will not do
RETIRED = frozenset({2635})  # this version of the API
TOKEN = frozenset({102, 190})
PERMISSIONS = frozenset({3, 10, *range(200, 300)})
TERMS = frozenset({2655, 1870090})  # the Custom Audience Terms are not accepted
GONE = frozenset({33, 803, 1487366})  # the audience was deleted, or this token does not see it
# The audience is not shared with the account; it may not be edited, or not be uploaded to.
CLOSED = frozenset({1487301, 1713228, 1713230, 1713231})
# A version of the Marketing API lives for about 13 months; its end is announced when another follows.
CHANGELOG = "https://developers.facebook.com/documentation/ads-commerce/marketing-api/marketing-api-changelog/versions"
VERSIONS = {
    each.name: each
    for each in (
        ApiVersion("v24.0", date(2026, 11, 10), CHANGELOG),
        ApiVersion("v25.0", date(2027, 2, 23), CHANGELOG),
        ApiVersion("v26.0", None, CHANGELOG),
        ApiVersion("v27.0", None, CHANGELOG),
    )
}
NEWEST = "v27.0"
PAGES = (200, 50, 20, 5)  # audiences in an answer; Meta recommends 20 where more are too much


def version_of(name: str) -> ApiVersion:
    """The end of one that is not in the table is not known, unless it came before all that are."""
    oldest = next(iter(VERSIONS.values()))
    ended = float(name[1:]) < float(oldest.name[1:])
    return VERSIONS.get(name) or ApiVersion(name, oldest.ends if ended else None, CHANGELOG)


class _Token(Auth):
    """The access token, and where the app demands it a proof that the app knows its secret."""

    def complete(self, request: Request, settings: Any, session: Session) -> Request:
        if not settings.app_secret:
            return request
        secret, token = settings.app_secret.reveal(), settings.access_token.reveal()
        proof = hmac.new(secret.encode(), token.encode(), "sha256").hexdigest()
        return with_params(request, {"appsecret_proof": proof})

    def headers(self, request: Request, settings: Any, session: Session, now: float) -> Mapping[str, str]:
        return {"authorization": f"Bearer {settings.access_token.reveal()}"}


class FacebookCustomAudiences(Destination):
    slug = "facebook-custom-audiences"
    name = "Facebook Custom Audiences"
    page = "https://developers.facebook.com/docs/marketing-api/reference/custom-audience/users"
    forms = ("list",)
    aliases = ("personas-facebook-custom-audiences", "personas-facebook-ads")
    identifiers = ("email", "phone", "ios.idfa", "android.idfa", "user_id")
    # A row has all keys of its person, as Meta advises; several addresses are several rows.
    one_record = {"phone": "attach", "ios.idfa": "attach", "android.idfa": "attach", "user_id": "attach"}
    api_version = VERSIONS[NEWEST]
    limits = ()  # Meta counts by business use case and says when to go on
    batch = Batch(items=10_000, bytes=4_000_000)
    concurrency = 4
    flush_every: ClassVar[Mapping[Form, float]] = {"list": 3600.0}
    usable_from = 100
    forgets = True
    counts_only = True
    auth = _Token()

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """The ad account that owns the audiences, and the access to it."""

        ad_account_id: Annotated[
            str, Meta(pattern="^(act_)?[0-9]+$", description="Ad account, with or without `act_` in front.")
        ]
        access_token: Annotated[
            Secret,
            Meta(description="Token with ads_management; of a system user, because it need not expire."),
        ]
        app_secret: Annotated[
            Secret | None,
            Meta(description="Secret of the app, where it demands an appsecret_proof with every request."),
        ] = None
        api_version: Annotated[str, Meta(pattern=r"^v[0-9]+\.[0-9]+$", description="Version of the Marketing API.")] = (
            NEWEST
        )
        customer_file_source: Annotated[
            Literal["USER_PROVIDED_ONLY", "PARTNER_PROVIDED_ONLY", "BOTH_USER_AND_PARTNER_PROVIDED"],
            Meta(description="Where the people's data comes from, as declared to Meta for new audiences."),
        ] = "USER_PROVIDED_ONLY"
        phone_region: Annotated[
            str,
            Meta(
                pattern="^([A-Z]{2})?$",
                description="Country (US) of numbers without +; by default these must start with their country code.",
            ),
        ] = ""

        def __post_init__(self) -> None:
            check_texts(self)

    settings: Settings

    def __init__(self, workspace: Workspace, connection: Connection) -> None:
        super().__init__(workspace, connection)
        self.api_version = version_of(self.settings.api_version)
        self._young = Young()  # audiences, by id

    def tenant(self) -> str:
        return f"{self.slug}:{self._account()}"

    def limit_group(self) -> str:
        """Meta counts by ad account."""
        return f"{self.slug}-{self._account()}"

    # -- conversations
    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        """Find the audiences by name, create those that are missing; keep their ids."""
        audiences = self.memory.setdefault("audiences", {})
        wanted = {target: call for target, call in targets.items() if target.key not in audiences}
        if not wanted:
            return None
        existing = yield from self._existing()
        if isinstance(existing, Blocked):  # creating is not idempotent: without the list, nothing is created
            return dict.fromkeys(wanted, existing.words)
        refusals = {}
        for target, call in sorted(wanted.items()):
            key = target.key
            if key in existing:
                audiences[key] = existing[key]
                continue
            reply = yield self._request("POST", f"{self._account()}/customaudiences", json=self._audience(call))
            if made := word(reply.object, "id"):
                audiences[key] = made
                self.made.add(target)
                self._young.made(made)
            else:
                refusals[target] = f"Facebook does not make the audience {key!r}: {_words(reply)}"
        return refusals

    def unit(self, call: Call) -> Hashable:
        """A row of one request: addresses that normalise to the same hash are one."""
        return (call.kind, call.key, self._cell(call.identifier) or call.identifier)

    def check(self, call: Call) -> Rejected | None:
        """The vendor only counts what is wrong in an upload, so every row is judged here."""
        if rejected := super().check(call):
            return rejected
        if self._cell(call.identifier) is None:
            kind = call.identifier.type
            return Rejected("invalid_identifier", f"this {kind} cannot be right: expected {EXPECTED[kind]}")
        return None

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        # No `session`, which works though the guide lists it: batches would have to be numbered, and the last one be
        # named, within 90 minutes, while these go side by side, again, and in halves. It tells no row's fate either.
        key, adds = calls[0].key, calls[0].kind == "add"
        audience = self.memory.get("audiences", {}).get(key)
        if audience is None:
            return all_of(calls, Blocked(f"Facebook has no audience {key!r}", prepare=True))
        members = self._rows(calls)
        method = "POST" if adds else "DELETE"
        reply = yield self._request(method, f"{audience}/users", json={"payload": table(members)})
        codes = _codes(reply)
        if not GONE.isdisjoint(codes):
            return all_of(calls, self._gone(key, audience, reply))
        if not CLOSED.isdisjoint(codes):
            return all_of(calls, Blocked(f"Facebook lets nobody change the audience {key!r}: {_words(reply)}"))
        if reply.ok:
            self._young.seen(audience)
            self._note_version(reply)
        result = outcome(reply)
        alone = sum(FINDING.isdisjoint(each) for each in members)
        if adds and alone and isinstance(result, Delivered):
            self.note(UNMATCHED, alone)
        return all_of(calls, result)

    def _gone(self, key: str, audience: str, reply: Reply) -> Outcome:
        """Note that the audience is not there: not yet, or not any more."""
        if wait := self._young.wait(audience):
            return Later(wait, _words(reply))
        if audience not in self._young:
            lose(self.memory["audiences"], key, audience)
            words = f"the audience {key!r} ({audience}) was deleted at Facebook, or the token does not see it any more"
            return Blocked(words, prepare=True, lost=True)
        return Blocked(f"Facebook made the audience {key!r} ({audience}) and does not know it since: {_words(reply)}")

    def forget(self, calls: Sequence[Call]) -> Conversation:
        """Remove the identifiers from all audiences of the account, those too that this connection does not know."""
        payload = table(self._rows(calls))
        reply = yield self._request("DELETE", f"{self._account()}/usersofanyaudience", json={"payload": payload})
        self._note_version(reply)
        return all_of(calls, outcome(reply))

    # -- replies
    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        codes, words = _codes(reply), _words(reply)
        if not RETIRED.isdisjoint(codes):
            version = self.settings.api_version
            return Verdict("stop", words=f"Facebook has retired {version}: raise api_version in the settings. {words}")
        path = urlsplit(request.url).path
        audience = path.endswith("/users")
        members = audience or path.endswith("/usersofanyaudience")
        if reply.status == 413 or (codes[:1] == [1] and TOO_MUCH.search(words)):
            return Verdict("halve" if members and items > 1 else "answered", words=words)
        if reply.status >= 500 or (reply.ok and not reply.object):
            return Verdict("transient", retry_after(reply), words)
        if not codes:
            return by_status(reply, items)
        if not THROTTLED.isdisjoint(codes):
            return Verdict("throttled", regained(reply), words)
        # An audience that is closed, or not there, is told by its subcode, whatever the code says.
        if audience and not {*codes}.isdisjoint(GONE | CLOSED):
            return Verdict("answered")
        if part(reply.object, "error").get("is_transient") is True or not TRANSIENT.isdisjoint(codes):
            return Verdict("transient", retry_after(reply), words)
        if not TOKEN.isdisjoint(codes) or reply.status == 401:
            return Verdict("credentials", words=f"Facebook does not accept the access token; make a new one. {words}")
        if not TERMS.isdisjoint(codes):
            return Verdict("stop", words=f"the account's owner has to accept the Custom Audience Terms. {words}")
        if not PERMISSIONS.isdisjoint(codes[:1]) or not GONE.isdisjoint(codes):
            return Verdict("stop", words=f"the token may not use {self._account()}. {words}")
        # It names nobody: not each person's refusal.
        return Verdict("halve", words=words) if members and items > 1 else Verdict("answered")

    # -- for the conversations
    def _existing(self) -> Generator[Request, Reply, dict[str, str] | Blocked]:
        """Ids of the account's audiences by name; the first of two with one name."""
        found: dict[str, str] = {}
        after, sizes = "", iter(PAGES)
        limit = next(sizes)
        while True:
            query = f"fields=id,name,subtype&limit={limit}{after}"
            reply = yield self._request("GET", f"{self._account()}/customaudiences", query)
            if TOO_MUCH.search(_words(reply)) and (smaller := next(sizes, 0)):
                limit = smaller
                continue
            if not reply.ok:
                return Blocked(f"Facebook does not show the account's audiences: {_words(reply)}")
            page = reply.object
            for audience in rows(page, "data"):
                if audience.get("subtype", "CUSTOM") == "CUSTOM" and word(audience, "id"):
                    found.setdefault(word(audience, "name"), word(audience, "id"))
            paging = part(page, "paging")
            before, cursor = after, word(part(paging, "cursors"), "after")
            after = f"&after={quote(cursor, safe='')}"
            # `next` is complete, but it carries the token.
            if not (paging.get("next") and cursor) or after == before:
                return found

    def _audience(self, call: Call) -> dict[str, str]:
        return {
            "name": call.key,
            "subtype": "CUSTOM",
            "description": f"{self.computation(call).name}: members are kept by profilecast",
            "customer_file_source": self.settings.customer_file_source,
        }

    def _rows(self, calls: Sequence[Call]) -> list[Row]:
        """One row for each identifier, with what its calls know; without one that cannot be right."""
        found: dict[Cell, Row] = {}
        keys = row if calls[0].kind == "add" else leaving
        for call in calls:
            if told := self._cell(call.identifier):
                found[told] = {**keys(call, self.settings.phone_region), **found.get(told, {})}
        return list(found.values())

    def _request(self, method: str, path: str, query: str = "", json: Any = None) -> Request:
        url = f"https://graph.facebook.com/{self.settings.api_version}/{path}"
        return Request(method, f"{url}?{query}" if query else url, json=json)

    def _account(self) -> str:
        return f"act_{self.settings.ad_account_id.removeprefix('act_')}"

    def _cell(self, identifier: Identifier) -> Cell | None:
        return cell(identifier, self.settings.phone_region)

    def _note_version(self, reply: Reply) -> None:
        """Meta answered a call of a version that has ended as if it were of the next."""
        if warning := reply.headers.get("x-ad-api-version-warning"):
            self.note(f"raise api_version in the settings; Facebook says: {warning[:200]}")


# -- replies
def outcome(reply: Reply) -> Delivered | Rejected:
    """Meta says how many rows it took and how many were invalid, never which.

    Only where all are invalid is that known of every one. Otherwise all count as delivered,
    unconfirmed: the rows were judged before they were sent.
    """
    if not reply.ok:
        return refused(reply, "forbidden" if not CLOSED.isdisjoint(_codes(reply)) else None, _words(reply))
    received, invalid = count(reply.object, "num_received"), count(reply.object, "num_invalid_entries")
    if received and invalid >= received:
        return Rejected("invalid_identifier", f"Facebook finds {invalid} of {received} entries invalid")
    return Delivered(unconfirmed=True)


def regained(reply: Reply) -> float | None:
    """Seconds until Meta takes requests again; the header has minutes, by business and use case."""
    try:
        usage = msgspec.json.decode(reply.headers.get("x-business-use-case-usage", ""), type=dict[str, list[_Usage]])
    except (msgspec.DecodeError, UnicodeEncodeError):
        return retry_after(reply)
    minutes = max((use.estimated_time_to_regain_access for uses in usage.values() for use in uses), default=0.0)
    return minutes * 60 or retry_after(reply)


class _Usage(Struct):
    estimated_time_to_regain_access: float = 0.0


def _codes(reply: Reply) -> list[int]:
    """Code and subcode of the error; none where there is no error."""
    error = part(reply.object, "error")
    return [count(error, "code"), count(error, "error_subcode")] if error else []


def _words(reply: Reply) -> str:
    error = part(reply.object, "error")
    if not error:
        return "" if reply.ok else reply.words()
    code, subcode = _codes(reply)
    return f"{word(error, 'error_user_msg') or word(error, 'message')} (code {code}, subcode {subcode})"
