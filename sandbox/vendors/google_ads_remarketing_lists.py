"""Google Ads: Customer Match lists by the Data Manager API. https://developers.google.com/data-manager/api"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sandbox.google import error, told_by
from sandbox.vendor import Answer, Cap, Request, Vendor, on

SCOPE = "https://www.googleapis.com/auth/datamanager"
DAY = 86_400
MOST, MOST_IDENTIFIERS = 10_000, 10
WORKS = 60.0  # seconds until a request is processed
HASH = re.compile("[0-9a-f]{64}")
DEVICE = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
DATA = {"CONTACT_ID": "userData", "MOBILE_ID": "mobileData", "USER_ID": "userIdData"}
TAKEN = {"destinations", "audienceMembers", "validateOnly", "encoding", "encryptionInfo"}


@dataclass
class UserList:
    """A list and its members, found by any of their identifiers."""

    fields: dict[str, Any]
    members: dict[frozenset[str], float] = field(default_factory=dict)  # with when they came
    _known: dict[str, set[frozenset[str]]] = field(default_factory=dict)

    def add(self, member: frozenset[str], at: float) -> None:
        self.members[member] = at
        for identifier in member:
            self._known.setdefault(identifier, set()).add(member)

    def remove(self, member: frozenset[str], at: float) -> None:
        """Whoever has any of the identifiers."""
        for gone in set().union(*(self._known.get(identifier, ()) for identifier in member)):
            self.members.pop(gone, None)
            for identifier in gone:
                self._known[identifier].discard(gone)

    @property
    def kind(self) -> str:
        kind: str = self.fields["ingestedUserListInfo"]["uploadKeyTypes"][0]
        return kind


class GoogleAds(Vendor):
    """The customers that one service account is a user of."""

    slug = "google-ads-remarketing-lists"
    hosts = (r"datamanager\.googleapis\.com",)
    caps = (Cap(300, 60.0),)

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._lists: dict[tuple[str, str], UserList] = {}  # by customer and id
        self._made = 0  # lists, those too that were deleted
        self._requests: dict[str, float] = {}  # when each was taken

    @classmethod
    def credential(cls, request: Request) -> str | None:
        token = request.bearer()
        return token if token and told_by(token) else None

    @classmethod
    def account(cls, request: Request) -> str:
        return str(told_by(cls.credential(request) or "").get("iss", ""))

    @classmethod
    def authorized(cls, request: Request, known: set[str]) -> bool:
        told = told_by(cls.credential(request) or "")
        return bool(told) and told["until"] > request.at and SCOPE in told.get("scopes", ())

    def unauthorized(self) -> Answer:
        return error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        answer = error(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Ingestion requests'.")
        retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{max(wait, 0.001):.3f}s"}
        return Answer(429, {"error": {**answer.json["error"], "details": [retry]}})

    def failed(self, status: int) -> Answer:
        return error(status, "UNAVAILABLE", "The service is currently unavailable.")

    def unknown(self, request: Request) -> Answer:
        return error(404, "NOT_FOUND", "Requested entity was not found.")

    # -- lists
    @on("GET", "/v1/accountTypes/GOOGLE_ADS/accounts/{customer}/userLists")
    def show(self, request: Request, customer: str) -> Answer:
        wanted = re.fullmatch(r'display_name = "((?:[^"\\]|\\.)*)"', request.query.get("filter", ""))
        if not wanted:
            return _invalid("INVALID_FORMAT", "filter", "The filter is not understood.")
        name = re.sub(r"\\(.)", r"\1", wanted[1])
        known = [each.fields for (owner, _), each in self._lists.items() if owner == customer]
        return Answer(200, {"userLists": [each for each in known if each["displayName"] == name]})

    @on("POST", "/v1/accountTypes/GOOGLE_ADS/accounts/{customer}/userLists")
    def make(self, request: Request, customer: str) -> Answer:
        body = request.object
        name, info = body.get("displayName"), body.get("ingestedUserListInfo")
        if not isinstance(name, str) or not name or not isinstance(info, dict):
            return _invalid("REQUIRED_FIELD_MISSING", "user_list", "Required field is missing.")
        kinds = info.get("uploadKeyTypes")
        if not isinstance(kinds, list) or len(kinds) != 1 or kinds[0] not in DATA:
            return _invalid(
                "INVALID_ENUM_VALUE", "user_list.ingested_user_list_info.upload_key_types", "One is needed."
            )
        device = info.get("mobileIdInfo") or {}
        if kinds == ["MOBILE_ID"] and not (device.get("keySpace") in ("IOS", "ANDROID") and device.get("appId")):
            return _invalid("REQUIRED_FIELD_MISSING", "user_list.ingested_user_list_info.mobile_id_info", "Incomplete.")
        days = re.fullmatch(r"(\d+)s", str(body.get("membershipDuration", "0s")))
        if not days or int(days[1]) % DAY:
            return _invalid("INVALID_FORMAT", "user_list.membership_duration", "It must be whole days.")
        if any(owner == customer and each.fields["displayName"] == name for (owner, _), each in self._lists.items()):
            return _invalid("INVALID_ARGUMENT", "user_list.display_name", "There is a list of this name.")
        self._made += 1
        number = str(8_100_000_000 + self._made)
        path = f"accountTypes/GOOGLE_ADS/accounts/{customer}/userLists/{number}"
        fields = {"membershipStatus": "OPEN", **body, "id": number, "name": path, "readOnly": False}
        self._lists[customer, number] = UserList(fields)
        return Answer(200, fields)

    @on("DELETE", "/v1/accountTypes/GOOGLE_ADS/accounts/{customer}/userLists/{number}")
    def remove(self, request: Request, customer: str, number: str) -> Answer:
        return Answer(200, {}) if self._lists.pop((customer, number), None) else self.unknown(request)

    # -- members
    @on("POST", "/v1/audienceMembers:ingest")
    def ingest(self, request: Request) -> Answer:
        terms = request.object.get("termsOfService")
        if not isinstance(terms, dict) or terms.get("customerMatchTermsOfServiceStatus") != "ACCEPTED":
            return _invalid("TERMS_AND_CONDITIONS_NOT_SIGNED", "terms_of_service", "Terms are not accepted.")
        return self._change(request, {*TAKEN, "consent", "termsOfService"}, adds=True)

    @on("POST", "/v1/audienceMembers:remove")
    def leave(self, request: Request) -> Answer:
        return self._change(request, TAKEN, adds=False)

    @on("POST", "/v1/audienceMembers:removeAll")
    def leave_all(self, request: Request) -> Answer:
        """Whoever came until a time."""
        if unknown := sorted(request.object.keys() - {"destinations", "removeAsOfTime", "validateOnly"}):
            return _invalid("INVALID_ARGUMENT", unknown[0], f"Unknown name {unknown[0]!r}.")
        found = self._list_of(request.object)
        if isinstance(found, Answer):
            return found
        try:
            until = datetime.fromisoformat(str(request.object["removeAsOfTime"])).timestamp()
        except (KeyError, ValueError):
            return _invalid("INVALID_FORMAT", "remove_as_of_time", "Not a time.")
        for member in [member for member, at in found.members.items() if at <= until]:
            found.remove(member, request.at)
        return self._taken(request)

    def _change(self, request: Request, taken: set[str], adds: bool) -> Answer:
        body = request.object
        if unknown := sorted(body.keys() - taken):
            return _invalid("INVALID_ARGUMENT", unknown[0], f"Unknown name {unknown[0]!r}.")
        found = self._list_of(body)
        if isinstance(found, Answer):
            return found
        members = body.get("audienceMembers")
        if not isinstance(members, list) or not 1 <= len(members) <= MOST:
            return _invalid("TOO_MANY_AUDIENCE_MEMBERS", "audience_members", f"1 to {MOST} members are taken.")
        if found.kind == "CONTACT_ID" and body.get("encoding") != "HEX":
            return _invalid("REQUIRED_FIELD_MISSING", "encoding", "Required field is missing.")
        told = [_identifiers(found.kind, each) for each in members]
        wrong = [
            (number, each if isinstance(each, str) else "INVALID_AUDIENCE_MEMBER")
            for number, each in enumerate(told)
            if isinstance(each, str) or self.refused(*sorted(each))
        ]
        if wrong:
            return _violations([(reason, f"audience_members[{number}]", "Not valid.") for number, reason in wrong])
        for each in told:
            assert isinstance(each, frozenset)
            change = found.add if adds else found.remove
            change(each, request.at)
        return self._taken(request)

    def _taken(self, request: Request) -> Answer:
        job = f"request-{len(self._requests) + 1}"
        self._requests[job] = request.at
        return Answer(200, {"requestId": job})

    def _list_of(self, body: dict[str, Any]) -> UserList | Answer:
        destinations = body.get("destinations")
        if not isinstance(destinations, list) or len(destinations) != 1 or not isinstance(destinations[0], dict):
            return _invalid("REQUIRED_FIELD_MISSING", "destinations", "Required field is missing.")
        account = destinations[0].get("operatingAccount")
        if not isinstance(account, dict) or account.get("accountType") != "GOOGLE_ADS":
            return _invalid("INVALID_DESTINATION", "destinations[0].operating_account", "Not valid.")
        known = self._lists.get((str(account.get("accountId")), str(destinations[0].get("productDestinationId"))))
        words = "User list is not valid."
        return known or _invalid("INVALID_USER_LIST_ID", "destinations[0].product_destination_id", words)

    @on("GET", "/v1/requestStatus:retrieve")
    def status(self, request: Request) -> Answer:
        taken = self._requests.get(request.query.get("requestId", ""))
        if taken is None:
            return _invalid("INVALID_REQUEST_ID", "request_id", "The request ID is not valid.")
        status = "SUCCESS" if request.at - taken >= WORKS else "PROCESSING"
        return Answer(200, {"requestStatusPerDestination": [{"requestStatus": status}]})

    # -- what it was told
    def told(self, identifier: str | None, at: float) -> dict[str, Any]:
        lists = [
            {
                "name": each.fields["displayName"],
                "members": sorted(sorted(known) for known in each.members if identifier is None or identifier in known),
            }
            for each in self._lists.values()
        ]
        return {**super().told(identifier, at), "lists": lists}

    def counts(self) -> dict[str, int]:
        return {"lists": len(self._lists), "members": sum(len(each.members) for each in self._lists.values())}


def _identifiers(kind: str, member: Any) -> frozenset[str] | str:
    """All of a member; or the reason why it is none."""
    data = member.get(DATA[kind]) if isinstance(member, dict) else None
    if not isinstance(data, dict) or len(member) != 1:
        return "MULTIPLE_DATA_TYPES_NOT_ALLOWED" if isinstance(member, dict) and len(member) > 1 else "INVALID_FORMAT"
    if kind == "USER_ID":
        return frozenset({data["userId"]}) if data.get("userId") else "REQUIRED_FIELD_MISSING"
    if kind == "MOBILE_ID":
        ids = data.get("mobileIds")
        fine = isinstance(ids, list) and ids and all(isinstance(each, str) and DEVICE.fullmatch(each) for each in ids)
        return frozenset(ids) if fine and ids else "INVALID_MOBILE_ID_FORMAT"
    rows = data.get("userIdentifiers")
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_IDENTIFIERS:
        return "TOO_MANY_USER_IDENTIFIERS"
    found: set[str] = set()
    for row in rows:
        if not isinstance(row, dict) or len(row) != 1:
            return "INVALID_FORMAT"
        [(name, value)] = row.items()
        reason = _address(value) if name == "address" else "" if _hash(name, value) else "INVALID_SHA256_FORMAT"
        if reason:
            return reason
        found.add("|".join(map(str, value.values())) if name == "address" else value)
    return frozenset(found)


def _hash(name: str, value: Any) -> bool:
    return name in ("emailAddress", "phoneNumber") and isinstance(value, str) and bool(HASH.fullmatch(value))


def _address(value: Any) -> str:
    """Why it is no address; "" if it is one."""
    if not isinstance(value, dict) or set(value) != {"givenName", "familyName", "regionCode", "postalCode"}:
        return "REQUIRED_FIELD_MISSING"
    if not all(HASH.fullmatch(str(value[name])) for name in ("givenName", "familyName")):
        return "INVALID_SHA256_FORMAT"
    return "" if re.fullmatch("[A-Z]{2}", str(value["regionCode"])) else "INVALID_COUNTRY_CODE"


def _invalid(reason: str, place: str, words: str) -> Answer:
    return _violations([(reason, place, words)])


def _violations(wrong: list[tuple[str, str, str]]) -> Answer:
    """An answer of 400 that names the first reason, and each place."""
    answer = error(400, "INVALID_ARGUMENT", "There was a problem with the request.")
    details = [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": wrong[0][0]},
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [
                {"field": place, "description": words, "reason": reason} for reason, place, words in wrong
            ],
        },
    ]  # fmt: skip
    return Answer(400, {"error": {**answer.json["error"], "details": details}})
