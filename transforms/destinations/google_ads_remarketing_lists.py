"""Google Ads Remarketing Lists: members of Customer Match lists, through Google's Data Manager API.

Uploads by the Google Ads API itself are closed to whoever did not use them before April 2026.
"""

from collections.abc import Generator, Hashable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from schemas.outcomes import Later, Submitted
from schemas.workspace import Connection, Workspace
from transforms.destinations.auth import JwtBearer
from transforms.destinations.contract import (
    Batch,
    Blocked,
    Call,
    Conversation,
    Delivered,
    Destination,
    Emptying,
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
    says_nothing,
    units,
)
from transforms.destinations.google_ads_members import MATCHED, Kind, member, normal
from transforms.destinations.google_errors import DATED, GoogleError
from transforms.destinations.names import cut
from transforms.destinations.personal import EXPECTED
from transforms.destinations.reading import items, lose, part, rows, word
from transforms.destinations.safety import check_texts

TOKENS = "https://oauth2.googleapis.com/token"
API = "https://datamanager.googleapis.com/v1"
SCOPE = "https://www.googleapis.com/auth/datamanager"
LIMITS = "https://developers.google.com/data-manager/api/devguides/limits"
POLL = 1_800.0  # seconds between questions about a request; Google needs hours sometimes
CLOCKS = 30.0  # seconds by which the clock of this machine may be ahead of Google's
LONGEST = 255  # characters of a list's name (unsure)
FIRST_PARTY = {"dataSourceType": "DATA_SOURCE_TYPE_FIRST_PARTY"}
GONE = frozenset({"INVALID_USER_LIST_ID", "NOT_FOUND"})
CLOSED = frozenset({"INVALID_USER_LIST_TYPE", "DATA_PARTNER_USER_LIST_MUTATE_NOT_ALLOWED"})
SETUP = frozenset({"TERMS_AND_CONDITIONS_NOT_SIGNED", "PERMISSION_DENIED", "INVALID_DESTINATION", "SERVICE_DISABLED"})


class GoogleAdsRemarketingLists(Destination):
    slug = "google-ads-remarketing-lists"
    name = "Google Ads Remarketing Lists"
    page = "https://developers.google.com/data-manager/api/devguides/audiences/overview"
    remark = (
        "Customer Match. A list is matched by one kind of identifiers for good: a connection each for contacts and "
        "for devices. Its first processing takes a day."
    )
    forms = ("list",)
    aliases = ("adwords-remarketing-lists", "personas-google-ads-remarketing-lists")
    identifiers: tuple[str, ...] = ("email", "phone", "ios.idfa", "android.idfa", "user_id")
    one_record = {"phone": "attach"}
    limits = (Limit(300, 60.0, source=LIMITS), Limit(100_000, 86_400.0, source=LIMITS))
    batch = Batch(10_000, 8_000_000, requests=2)
    concurrency = 4
    flush_every: ClassVar[Mapping[Form, float]] = {"list": 6 * 3_600.0}
    usable_from = 100
    forgets = True
    counts_only = True
    auth = JwtBearer(TOKENS, claims={"iss": "{client_email}", "scope": SCOPE, "aud": TOKENS})

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """The Google Ads account that owns the lists, and a service account that is a user of it."""

        customer_id: Annotated[str, Meta(pattern="^[0-9-]+$", description="Customer id, with or without hyphens.")]
        client_email: Annotated[
            str,
            Meta(
                pattern=r"^[^@\s]+@[^@\s]+$",
                description="The service account, client_email of its key file, such as a@b.iam.gserviceaccount.com. "
                "Its project needs the Data Manager API.",
            ),
        ]
        private_key: Annotated[
            Secret,
            Meta(description="Of the same file: private_key, as it stands there, on one line with every \\n in it."),
        ]
        consent: Annotated[
            Literal["unspecified", "granted"],
            Meta(
                description="granted: everybody who is sent agreed to the use of their data for ads and for "
                "personalised ads, which Google demands of people in the EEA. Leave others out with `where`."
            ),
        ]
        manager_id: Annotated[
            str, Meta(pattern="^[0-9-]*$", description="Manager account that the service account is a user of, if any.")
        ] = ""
        match_by: Annotated[
            Kind,
            Meta(description="What the lists are matched by: e-mail and phone, devices, or ids of your own."),
        ] = "contact"
        app_id: Annotated[
            str,
            Meta(description="With `ios` and `android`: the app that the ids come from, as its store has it."),
        ] = ""
        phone_region: Annotated[
            str,
            Meta(
                pattern="^([A-Z]{2})?$",
                description="Country (US) of numbers without +; by default these must start with their country code.",
            ),
        ] = ""
        membership_days: Annotated[
            int, Meta(ge=1, le=540, description="Days after which Google drops a member of a new list by itself.")
        ] = 540

        def __post_init__(self) -> None:
            check_texts(self)
            if self.match_by in ("ios", "android") and not self.app_id:
                raise ValueError(f"match_by: {self.match_by} needs app_id, the app that the device ids come from")

    settings: Settings

    def __init__(self, workspace: Workspace, connection: Connection) -> None:
        super().__init__(workspace, connection)
        self.identifiers, self._kind = MATCHED[self.settings.match_by]

    def tenant(self) -> str:
        return f"{self.slug}:{_digits(self.settings.customer_id)}:{self.settings.match_by}"

    def limit_group(self) -> str:
        """Google counts by the project, which is in the service account's address."""
        return f"{self.slug}-{self.settings.client_email.partition('@')[2]}"

    def name_at_vendor(self, form: Form, key: str) -> str:
        return cut(key, key, LONGEST)

    # -- lists
    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        """Find the lists by name, make those that are missing; keep their ids."""
        lists: dict[str, str] = self.memory.setdefault("lists", {})
        refusals: dict[Target, str] = {}
        for target, call in sorted(targets.items()):
            if target.key in lists:
                continue
            found = yield from self._find(self.name_at_vendor("list", target.key))
            if isinstance(found, Rejected):
                refusals[target] = found.words
                continue
            if not found:
                reply = yield self._ask("POST", self._lists(), json=self._list(call), headers=self._manager())
                found = word(reply.object, "id")
                if not found:
                    refusals[target] = f"Google Ads does not make the list {target.key!r}: {GoogleError(reply).words}"
                    continue
                self.made.add(target)
            lists[target.key] = found
        return refusals

    def _find(self, name: str) -> Generator[Request, Reply, str | Rejected]:
        """The id of the list of this name; "" where there is none; or why it will not do."""
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        query = {"filter": f'display_name = "{quoted}"', "pageSize": "1000"}
        reply = yield self._ask("GET", self._lists(), params=query, headers=self._manager())
        if not reply.ok:
            return Rejected("refused", f"Google Ads does not show the account's lists: {GoogleError(reply).words}")
        known = [each for each in rows(reply.object, "userLists") if word(each, "displayName") == name]
        fit = [each for each in known if self._kind in items(part(each, "ingestedUserListInfo"), "uploadKeyTypes")]
        its = next((each for each in fit if each.get("readOnly") is not True), None)
        if its and word(its, "membershipStatus") != "CLOSED":
            return word(its, "id")
        why = "is closed" if its else f"is not matched by {self.settings.match_by}, or not this account's to change"
        return Rejected("refused", f"Google Ads has a list {name!r} that {why}: rename it there") if known else ""

    def _list(self, call: Call) -> dict[str, Any]:
        device = {"keySpace": self.settings.match_by.upper(), "appId": self.settings.app_id, **FIRST_PARTY}
        kinds = {"CONTACT_ID": ("contactIdInfo", FIRST_PARTY), "USER_ID": ("userIdInfo", FIRST_PARTY)}
        name, info = kinds.get(self._kind, ("mobileIdInfo", device))
        return {
            "displayName": self.name_at_vendor("list", call.key),
            "description": f"{self.computation(call).name}: members are kept by profilecast",
            "membershipStatus": "OPEN",
            "membershipDuration": f"{self.settings.membership_days * 86_400}s",
            "ingestedUserListInfo": {"uploadKeyTypes": [self._kind], name: info},
        }

    def empty(self, key: str, now: float) -> Emptying:
        """Google takes out whoever was uploaded earlier, some hours later: who is uploaded after that stays."""
        listed = self.memory.get("lists", {}).get(key)
        if not listed:
            return False
        at = datetime.fromtimestamp(now - CLOCKS, UTC).isoformat().replace("+00:00", "Z")
        body = {"destinations": [self._owner(listed)], "removeAsOfTime": at}
        reply = yield self._ask("POST", "/audienceMembers:removeAll", json=body)
        return reply.ok or GoogleError(reply).words or f"HTTP {reply.status}"

    # -- members
    def unit(self, call: Call) -> Hashable:
        """A member; identifiers that are one when normalised are one."""
        return (call.kind, call.key, call.identifier.type, self._normal(call))

    def check(self, call: Call) -> Rejected | None:
        """One member of a wrong form refuses a whole request, so each is judged here."""
        if rejected := super().check(call):
            return rejected
        kind = call.identifier.type
        if not self._normal(call):
            return Rejected("invalid_identifier", f"this {kind} cannot be right: expected {EXPECTED[kind]}")
        return None

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        key, verb = calls[0].key, "ingest" if calls[0].kind == "add" else "remove"
        listed = self.memory.get("lists", {}).get(key)
        if listed is None:
            return all_of(calls, Blocked(f"Google Ads has no list {key!r}", prepare=True))
        places = list(units(self, calls).values())
        members = {number: self._member(calls[each[0]]) for number, each in enumerate(places)}
        told, reply = yield from self._change(verb, listed, members)
        others = self._taken(key, listed, reply, GoogleError(reply)) if reply else Delivered(unconfirmed=True)
        outcomes = {place: told.get(number, others) for number, each in enumerate(places) for place in each}
        return [outcomes[place] for place in range(len(calls))]

    def _change(
        self, verb: str, listed: str, members: Mapping[int, dict[str, Any]]
    ) -> Generator[Request, Reply, tuple[dict[int, Outcome], Reply | None]]:
        """Members whom Google names in a refusal, and what it said of the others: they go again without these."""
        told: dict[int, Outcome] = {}
        while left := {number: each for number, each in members.items() if number not in told}:
            body = self._body(verb, listed, list(left.values()))
            reply = yield self._ask("POST", f"/audienceMembers:{verb}", json=body)
            error = GoogleError(reply)
            named = {} if reply.ok else {n: error.members[i] for i, n in enumerate(left) if i in error.members}
            if not named:
                return told, reply
            told |= {number: Rejected("invalid_value", words) for number, words in named.items()}
        return told, None

    def _taken(self, key: str, listed: str, reply: Reply, error: GoogleError) -> Outcome:
        """What became of everybody in a request."""
        if not GONE.isdisjoint(error.reasons):
            lose(self.memory["lists"], key, listed)
            return Blocked(f"the list {key!r} ({listed}) was deleted at Google Ads", prepare=True, lost=True)
        if not CLOSED.isdisjoint(error.reasons):
            return Blocked(f"Google Ads lets nobody change the list {key!r}: {error.words}")
        if not reply.ok:
            return refused(reply, words=error.words)
        if ignored := len(rows(reply.object, "fieldWarnings")):
            self.note("fields of members are not used by Google Ads, which has a warning for each", ignored)
        job = word(reply.object, "requestId")
        return Submitted(job, POLL) if job else Delivered(unconfirmed=True)

    def forget(self, calls: Sequence[Call]) -> Conversation:
        """Take the identifiers off all lists that this connection keeps; a list that is gone has nobody."""
        places = list(units(self, calls).values())
        members = {number: self._member(calls[each[0]]) for number, each in enumerate(places)}
        lists: dict[str, str] = self.memory.get("lists", {})
        others: Outcome = Delivered(unconfirmed=bool(lists))
        told: dict[int, Outcome] = {}
        for key, listed in sorted(lists.items()):
            named, reply = yield from self._change("remove", listed, members)
            told |= named
            if reply is None or reply.ok:
                continue
            error = GoogleError(reply)
            if GONE.isdisjoint(error.reasons):
                others = refused(reply, words=error.words)
                break
            lose(lists, key, listed)
        outcomes = {place: told.get(number, others) for number, each in enumerate(places) for place in each}
        return [outcomes[place] for place in range(len(calls))]

    def collect(self, job: str, calls: Sequence[Call]) -> Conversation:
        """A request says how many members failed, and for what; not who."""
        reply = yield self._ask("GET", "/requestStatus:retrieve", params={"requestId": job})
        lost = Later(words=f"Google Ads does not say what became of the request {job!r}")
        status = next(iter(rows(reply.object, "requestStatusPerDestination")), {})
        errors = rows(part(status, "errorInfo"), "errorCounts")
        why = ", ".join(word(each, "reason").removeprefix("PROCESSING_ERROR_REASON_") for each in errors)
        match word(status, "requestStatus"):
            case "PROCESSING" | "REQUEST_STATUS_UNKNOWN":
                return all_of(calls, Submitted(job, POLL))
            case "SUCCESS":
                return all_of(calls, Delivered(unconfirmed=True))
            case "PARTIAL_SUCCESS":
                failed = sum(int(number) for each in errors if (number := word(each, "recordCount")).isdecimal())
                self.note(f"members were not taken by Google Ads, which does not say who: {why}", failed)
                return all_of(calls, Delivered(unconfirmed=True))
            case "FAILED" if why != "INTERNAL_ERROR":
                reason: Reason = "forbidden" if "CONSENT" in why else "refused"
                return all_of(calls, Rejected(reason, f"Google Ads took nobody of a request: {why or 'no reason'}"))
        return all_of(calls, lost)

    def _member(self, call: Call) -> dict[str, Any]:
        return member(call, self.identifiers, self.settings.phone_region)

    def _normal(self, call: Call) -> str:
        return normal(*call.identifier, self.settings.phone_region)

    # -- requests and answers
    def _body(self, verb: str, listed: str, members: list[dict[str, Any]]) -> dict[str, Any]:
        body: dict[str, Any] = {"destinations": [self._owner(listed)], "audienceMembers": members}
        if self._kind == "CONTACT_ID":
            body["encoding"] = "HEX"
        if verb == "ingest":
            body["termsOfService"] = {"customerMatchTermsOfServiceStatus": "ACCEPTED"}
            if self.settings.consent == "granted":
                body["consent"] = dict.fromkeys(("adUserData", "adPersonalization"), "CONSENT_GRANTED")
        return body

    def _owner(self, listed: str) -> dict[str, Any]:
        owner = {"operatingAccount": _account(self.settings.customer_id), "productDestinationId": listed}
        if self.settings.manager_id:
            owner["loginAccount"] = _account(self.settings.manager_id)
        return owner

    def _ask(self, method: str, path: str, **more: Any) -> Request:
        return Request(method, API + path, **more)

    def _lists(self) -> str:
        return f"/accountTypes/GOOGLE_ADS/accounts/{_digits(self.settings.customer_id)}/userLists"

    def _manager(self) -> dict[str, str]:
        manager = _digits(self.settings.manager_id)
        return {"login-account": f"accountTypes/GOOGLE_ADS/accounts/{manager}"} if manager else {}

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        if says_nothing(request, reply):
            return Verdict("transient", words=reply.words())
        error = GoogleError(reply)
        path = urlsplit(request.url).path
        if not SETUP.isdisjoint(error.reasons):
            return Verdict("stop", words=f"Google Ads does not let this account be changed: {error.words}")
        if reply.status == 429:
            return Verdict("throttled", error.wait or retry_after(reply), error.words)
        if not DATED.isdisjoint(error.reasons):
            return Verdict("transient", error.wait or retry_after(reply), error.words)
        about_list = not (GONE | CLOSED).isdisjoint(error.reasons)
        if path.endswith((":ingest", ":remove")) and (about_list or error.members):
            return Verdict("answered")
        if path.endswith(":retrieve") and reply.status in (400, 404):
            return Verdict("answered")
        return by_status(reply, items)


def _account(written: str) -> dict[str, str]:
    return {"accountType": "GOOGLE_ADS", "accountId": _digits(written)}


def _digits(written: str) -> str:
    return written.replace("-", "")
