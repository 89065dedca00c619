"""Facebook Custom Audiences: hashed members of customer-list audiences, through Meta's Marketing API."""

import hmac
import re
from collections.abc import Generator, Hashable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

import msgspec
import phonenumbers
from msgspec import Meta, Struct

from schemas.workspace import Connection, Workspace
from transforms.destinations.contract import (
    Batch,
    Call,
    Conversation,
    Delivered,
    Destination,
    Identifier,
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
)

# Columns of a member, and what fills them; a row has one of them, the others are "".
COLUMNS = {"user_id": "EXTERN_ID", "email": "EMAIL", "phone": "PHONE", "ios.idfa": "MADID", "android.idfa": "MADID"}
SCHEMA = tuple(dict.fromkeys(COLUMNS.values()))
EXPECTED = {
    "user_id": "an id that is not blank",
    "email": "name@host",
    "phone": "a possible number with its country code",
    "ios.idfa": "an advertising id that is not all zeros",
    "android.idfa": "an advertising id that is not all zeros",
}

# Error codes, mostly inside an HTTP 400.
# https://developers.facebook.com/docs/graph-api/guides/error-handling
# https://developers.facebook.com/docs/graph-api/overview/rate-limiting (80000-80014: limits by business use case)
THROTTLED = frozenset({4, 17, 32, 341, 368, 613, *range(80000, 80015)})
TRANSIENT = frozenset({1, 2, 5000, 21009})
TOKEN = frozenset({102, 190})
PERMISSIONS = frozenset({3, 10, *range(200, 300)})
TERMS = frozenset({2655, 1870090})  # the Custom Audience Terms are not accepted
GONE = frozenset({33, 1487366})  # the audience was deleted, or this token does not see it
CLOSED = frozenset({1487301, 1713230})  # the audience is not shared with the account; its uploads are blocked
INVALID = 100


class FacebookCustomAudiences(Destination):
    slug = "facebook-custom-audiences"
    name = "Facebook Custom Audiences"
    page = "https://developers.facebook.com/docs/marketing-api/reference/custom-audience/users"
    forms = ("list",)
    aliases = ("personas-facebook-custom-audiences", "personas-facebook-ads")
    identifiers = ("email", "phone", "ios.idfa", "android.idfa", "user_id")
    limits = ()  # Meta counts by business use case and says when to go on
    batch = Batch(items=10_000, bytes=4_000_000)
    concurrency = 4
    flush_every = 3600.0
    forgets = True
    counts_only = True

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
        api_version: Annotated[str, Meta(pattern=r"^v[0-9]+\.[0-9]+$", description="Version of the Graph API.")] = (
            "v24.0"
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

    settings: Settings

    def __init__(self, workspace: Workspace, connection: Connection) -> None:
        super().__init__(workspace, connection)
        self._refused: dict[str, Rejected] = {}  # keys without an audience, and why

    # -- conversations
    def prepare(self, samples: Sequence[Call], memory: Memory) -> Preparation:
        """Find the audiences by name, create those that are missing; keep their ids."""
        audiences = memory.setdefault("audiences", {})
        wanted = sorted({call.key for call in samples if call.kind != "delete"} - audiences.keys())
        if not wanted:
            return
        existing = yield from self._existing()
        for key in wanted:
            # Creating is not idempotent: without the list, nothing is created.
            if isinstance(existing, Rejected):
                self._refused[key] = existing
            elif key in existing:
                audiences[key] = existing[key]
            else:
                reply = yield self._request("POST", f"{self._account()}/customaudiences", json=self._audience(key))
                made = reply.object.get("id")
                if made:
                    audiences[key] = str(made)
                else:
                    self._refused[key] = refused(reply, "unknown_field", _words(reply))

    def route(self, call: Call) -> str:
        """One audience and one direction per request."""
        return f"{call.kind}:{call.key}"

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

    def deliver(self, calls: Sequence[Call], memory: Memory) -> Conversation:
        key = calls[0].key
        audience = memory.get("audiences", {}).get(key)
        if audience is None:
            return all_of(calls, self._without_audience(key))
        reply = yield self._members("POST" if calls[0].kind == "add" else "DELETE", audience, calls)
        if not GONE.isdisjoint(_codes(reply)):
            memory["audiences"].pop(key, None)
            self._refused[key] = Rejected("unknown_field", _gone(key, audience))
            return all_of(calls, self._refused[key])
        return all_of(calls, outcome(reply))

    def forget(self, calls: Sequence[Call], memory: Memory) -> Conversation:
        """Remove the identifiers from every audience that this connection keeps."""
        result: Outcome = Delivered()
        for audience in sorted(memory.get("audiences", {}).values()):
            reply = yield self._members("DELETE", audience, calls)
            if GONE.isdisjoint(_codes(reply)) and not isinstance(result, Rejected):
                result = outcome(reply)
        return all_of(calls, result)

    # -- credentials
    def signed(self, request: Request) -> Mapping[str, str]:
        return {"authorization": f"Bearer {self.settings.access_token.reveal()}"}

    # -- replies
    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        codes, error, words = _codes(reply), reply.object.get("error"), _words(reply)
        if reply.status >= 500 or (reply.ok and not reply.object):
            return Verdict("transient", retry_after(reply), words)
        if not isinstance(error, dict):
            return by_status(reply, items)
        if not THROTTLED.isdisjoint(codes):
            return Verdict("throttled", regained(reply), words)
        if error.get("is_transient") or not TRANSIENT.isdisjoint(codes):
            return Verdict("transient", retry_after(reply), words)
        if not TOKEN.isdisjoint(codes) or reply.status == 401:
            return Verdict("credentials", words=f"Facebook does not accept the access token; make a new one. {words}")
        if not TERMS.isdisjoint(codes):
            return Verdict("stop", words=f"the account's owner has to accept the Custom Audience Terms. {words}")
        members = urlsplit(request.url).path.endswith("/users")
        if not PERMISSIONS.isdisjoint(codes[:1]) or (not members and not GONE.isdisjoint(codes)):
            return Verdict("stop", words=f"the token may not use {self._account()}. {words}")
        if members and items > 1 and (INVALID in codes or reply.status == 413) and not {*codes} & (GONE | CLOSED):
            return Verdict("halve", words=words)
        return Verdict("answered")

    # -- for the conversations
    def _existing(self) -> Generator[Request, Reply, dict[str, str] | Rejected]:
        """Ids of the account's audiences by name; the first of two with one name."""
        found: dict[str, str] = {}
        after = ""
        while True:
            query = f"fields=id,name,subtype&limit=200{after}"
            reply = yield self._request("GET", f"{self._account()}/customaudiences", query)
            if not reply.ok:
                return refused(reply, "unknown_field", _words(reply))
            page = reply.object
            for audience in page.get("data") or []:
                if audience.get("subtype", "CUSTOM") == "CUSTOM":
                    found.setdefault(audience["name"], str(audience["id"]))
            paging = page.get("paging") or {}
            # `next` is complete, but it carries the token.
            if not paging.get("next"):
                return found
            after = f"&after={quote(paging['cursors']['after'], safe='')}"

    def _audience(self, key: str) -> dict[str, str]:
        return {
            "name": key,
            "subtype": "CUSTOM",
            "description": f"{self.computations[key].name}: members are kept by profilecast",
            "customer_file_source": self.settings.customer_file_source,
        }

    def _members(self, method: str, audience: str, calls: Sequence[Call]) -> Request:
        cells = dict.fromkeys(self._cell(call.identifier) for call in calls)
        rows = [[cell[1] if column == cell[0] else "" for column in SCHEMA] for cell in cells if cell]
        return self._request(method, f"{audience}/users", json={"payload": {"schema": SCHEMA, "data": rows}})

    def _request(self, method: str, path: str, query: str = "", json: Any = None) -> Request:
        if self.settings.app_secret:
            secret, token = self.settings.app_secret.reveal(), self.settings.access_token.reveal()
            proof = hmac.new(secret.encode(), token.encode(), "sha256").hexdigest()
            query = f"{query}&appsecret_proof={proof}".lstrip("&")
        url = f"https://graph.facebook.com/{self.settings.api_version}/{path}"
        return Request(method, f"{url}?{query}" if query else url, json=json)

    def _account(self) -> str:
        return f"act_{self.settings.ad_account_id.removeprefix('act_')}"

    def _cell(self, identifier: Identifier) -> tuple[str, str] | None:
        value = normalised(identifier, self.settings.phone_region)
        return (COLUMNS[identifier.type], value) if value else None

    def _without_audience(self, key: str) -> Rejected:
        return self._refused.get(key) or Rejected("unknown_field", f"Facebook has no audience {key!r}")


# -- members
def normalised(identifier: Identifier, region: str = "") -> str:
    """What stands in a row: normalised, and hashed where Meta wants it; "" if it cannot be right.

    https://developers.facebook.com/docs/marketing-api/audiences/guides/custom-audiences (hashing and normalization)
    """
    plain = identifier.id.strip()
    match identifier.type:
        case "user_id":
            return plain
        case "ios.idfa" | "android.idfa":
            return _device(plain.lower())
    hashed = plain.lower()
    if re.fullmatch("[0-9a-f]{64}", hashed):
        return hashed
    clear = _phone(plain, region) if identifier.type == "phone" else _email(plain.lower())
    return sha256(clear.encode()).hexdigest() if clear else ""


def _email(address: str) -> str:
    return address if re.fullmatch(r"[^@\s]+@[^@\s]+", address) else ""


def _device(number: str) -> str:
    # All zeros is what a phone says whose owner does not want to be tracked.
    fine = re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", number) and number.strip("0-")
    return number if fine else ""


@lru_cache(maxsize=1 << 15)
def _phone(number: str, region: str) -> str:
    """Digits with country code, without leading zeros."""
    local = not number.startswith(("+", "00")) and (region or number.startswith("0"))
    international = "+" + re.sub(r"\D", "", number).lstrip("0")
    try:
        parsed = phonenumbers.parse(number if local else international, region or None)
    except phonenumbers.NumberParseException:
        return ""
    if not phonenumbers.is_possible_number(parsed):
        return ""
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164).lstrip("+")


# -- replies
def outcome(reply: Reply) -> Delivered | Rejected:
    """Meta says how many rows it took and how many were invalid, never which.

    Only where all are invalid is that known of every one. Otherwise all count as delivered,
    unconfirmed: the rows were judged before they were sent.
    """
    if not reply.ok:
        return refused(reply, "forbidden" if not CLOSED.isdisjoint(_codes(reply)) else None, _words(reply))
    answer = reply.object
    received, invalid = answer.get("num_received") or 0, answer.get("num_invalid_entries") or 0
    if received and invalid >= received:
        return Rejected("invalid_identifier", f"Facebook finds {invalid} of {received} entries invalid")
    return Delivered(unconfirmed=True)


def regained(reply: Reply) -> float | None:
    """Seconds until Meta takes requests again; the header has minutes, by business and use case."""
    try:
        usage = msgspec.json.decode(reply.headers.get("x-business-use-case-usage", ""), type=dict[str, list[_Usage]])
    except msgspec.DecodeError:
        return retry_after(reply)
    minutes = max((use.estimated_time_to_regain_access for uses in usage.values() for use in uses), default=0.0)
    return minutes * 60 or retry_after(reply)


class _Usage(Struct):
    estimated_time_to_regain_access: float = 0.0


def _codes(reply: Reply) -> list[int]:
    """Code and subcode of the error."""
    error = reply.object.get("error")
    return [error.get("code", 0), error.get("error_subcode", 0)] if isinstance(error, dict) else []


def _words(reply: Reply) -> str:
    error = reply.object.get("error")
    if not isinstance(error, dict):
        return reply.words()
    code, subcode = _codes(reply)
    return f"{error.get('error_user_msg') or error.get('message', '')} (code {code}, subcode {subcode})"


def _gone(key: str, audience: str) -> str:
    return (
        f"the audience {key!r} ({audience}) was deleted at Facebook, or the token does not see it any more: "
        "the next run finds or creates one of this name; replay the connection to fill it"
    )
