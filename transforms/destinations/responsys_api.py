"""Oracle Responsys: what both of its destinations have in common. Signing in, members of the list, merges and answers.

A merge is told who is meant by one column, takes 200 records, and answers for each of them in their order.
"""

import re
from collections.abc import Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Struct

from transforms.destinations import personal
from transforms.destinations.auth import Auth, Session, SigningIn, filled
from transforms.destinations.contract import (
    Batch,
    Blocked,
    Call,
    Delivered,
    Destination,
    Limit,
    Outcome,
    Rejected,
    Reply,
    Request,
    Secret,
    Verdict,
    by_status,
    refused,
)
from transforms.destinations.plain import text
from transforms.destinations.reading import items, part, word
from transforms.destinations.safety import check_texts

PAGE = "https://docs.oracle.com/en/cloud/saas/marketing/responsys-rest-api/index.html"
MOST = 200  # records in a merge
HOUR = 3_600.0  # a token lives about two hours (unsure)
MINUTE = 60.0  # after which a function's limit is a new one
LONGEST = 30  # characters of a column's name
# Identifiers and the columns that they are in, in order of precedence.
COLUMNS = {"user_id": "CUSTOMER_ID_", "email": "EMAIL_ADDRESS_", "phone": "MOBILE_NUMBER_"}
Merging = Generator[Request, Reply, list[Outcome]]
# Columns of the profile list that traits fill.
TRAITS = {
    "city": "CITY_", "state": "STATE_", "country": "COUNTRY_", "zip": "POSTAL_CODE_", "postal_code": "POSTAL_CODE_",
    "street": "POSTAL_STREET_1_",
}  # fmt: skip


@dataclass(frozen=True)
class Token(Auth):
    """A token for a user and password, which requests carry as it is; and the place where the account is."""

    signs_in: ClassVar[bool] = True

    def sign_in(self, settings: Any, kept: str, now: float) -> SigningIn:
        form = {
            "user_name": filled("{user}", settings),
            "password": filled("{password}", settings),
            "auth_type": "password",
        }
        reply = yield Request("POST", f"https://{settings.host}/rest/api/v1.3/auth/token", form=form)
        base = word(reply.object, "endPoint").rstrip("/")
        base = base if _endpoint(base) else f"https://{settings.host}"
        return Session(word(reply.object, "authToken"), base, expires=now + 2 * HOUR, renew_at=now + 1.5 * HOUR)

    def refused(self, reply: Reply) -> Verdict:
        if reply.ok and not word(reply.object, "authToken"):
            return Verdict("transient", words=reply.words())
        return super().refused(reply)

    def headers(self, request: Request, settings: Any, session: Session, now: float) -> Mapping[str, str]:
        return {"authorization": session.token}


def _endpoint(url: str) -> bool:
    return bool(re.fullmatch(r"https://[\w.-]+\.(oraclecloud\.com|responsys\.net|rsys\d?\.net)", url))


class Account(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Access to one account, and the profile list that people are in."""

    host: Annotated[
        str,
        Meta(
            pattern=r"^[\w-]+(\.[\w-]+)+$",
            description="Account > Global settings > WS End Point, such as acme-api.responsys.ocs.oraclecloud.com.",
        ),
    ]
    user: Annotated[str, Meta(description="A user with the role of the web services API.")]
    password: Annotated[Secret, Meta(description="Password of this user.")]
    profile_list: Annotated[str, Meta(pattern=r"^\w+$", description="Name of the profile list.")] = "CONTACTS_LIST"
    list_folder: Annotated[str, Meta(pattern=r"^[\w! -]+$", description="Folder of the profile list.")] = "!MasterData"
    folder: Annotated[str, Meta(pattern=r"^[\w! -]+$", description="Folder of what is made there.")] = "profilecast"
    opted_in: Annotated[
        bool, Meta(description="Whether somebody new to the profile list may be written to; by default nobody may.")
    ] = False

    def __post_init__(self) -> None:
        check_texts(self)


class Responsys(Destination):
    """Base of both."""

    page = PAGE
    identifiers = tuple(COLUMNS)
    one_record = {"email": "attach", "phone": "attach"}
    limits = (Limit(3, source="https://segment.com/docs/personas/using-personas-data/"),)
    batch = Batch(MOST, 1_000_000, at_once=1, requests=2)
    concurrency = 2  # Oracle wants one request after the other
    auth = Token()
    Settings = Account
    settings: Account

    def tenant(self) -> str:
        return f"{self.slug}:{self.settings.host.lower()}:{self.settings.profile_list}"

    def limit_group(self) -> str:
        """Oracle counts by account."""
        return f"responsys-{self.settings.host.lower()}"

    def unit(self, call: Call) -> Hashable:
        return super().unit(call) if call.kind == "track" else (call.kind, *whom(call))

    def route(self, call: Call) -> str:
        """A merge finds all of its records by one column."""
        return f"{super().route(call)}:{call.identifier.type}"

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if not whom(call)[1]:
            return Rejected("invalid_identifier", f"this {call.identifier.type} cannot be right")
        return None

    def ask(self, method: str, path: str, **more: Any) -> Request:
        return Request(method, f"/rest/api/v1.3{path}", **more)

    @property
    def list_path(self) -> str:
        return f"/lists/{self.settings.profile_list}"

    # -- the profile list, and extension tables
    def to_list(self, people: Sequence[Call]) -> Merging:
        """Put people into the profile list, as an extension table and an event demand; what became of each."""
        rule = {
            "htmlValue": "H", "textValue": "T", "optinValue": "I", "optoutValue": "O", "insertOnNoMatch": True,
            "updateOnMatch": "REPLACE_ALL", "matchColumnName1": COLUMNS[people[0].identifier.type],
            "matchColumnName2": None, "matchOperator": "NONE", "rejectRecordIfChannelEmpty": None,
            "defaultPermissionStatus": "OPTIN" if self.settings.opted_in else "OPTOUT",
        }  # fmt: skip
        more = {"mergeRule": rule}
        return (yield from self._merge(f"{self.list_path}/members", [row_of(call) for call in people], more))

    def to_table(self, table: str, found: Sequence[Mapping[str, str]], kind: str) -> Merging:
        """Values into an extension table; here the column has no `_` at its end, and the rule is beside the data."""
        rule = {
            "insertOnNoMatch": True,
            "updateOnMatch": "REPLACE_ALL",
            "matchColumnName1": COLUMNS[kind].rstrip("_"),
        }
        return (yield from self._merge(f"{self.list_path}/listExtensions/{table}/members", found, rule))

    def _merge(self, path: str, found: Sequence[Mapping[str, str]], rule: Mapping[str, Any]) -> Merging:
        """Rows of one shape are a request: in a wider one, what is not known of somebody would be emptied."""
        told: list[Outcome] = [Delivered()] * len(found)
        shapes: dict[tuple[str, ...], list[int]] = {}
        for place, row in enumerate(found):
            shapes.setdefault(tuple(row), []).append(place)
        for columns, places in shapes.items():
            rows = [list(found[place].values()) for place in places]
            data = {"fieldNames": list(columns), "records": rows, "mapTemplateName": None}
            request = self.ask("POST", path, json={"recordData": data, **rule})
            reply = yield request
            outcomes = merged(reply, len(places)) if reply.ok else [_refused(request, reply)] * len(places)
            for place, outcome in zip(places, outcomes, strict=True):
                told[place] = outcome
        return told

    def tables(self) -> Generator[Request, Reply, set[str] | str]:
        """The names of the list's extension tables; or why they are not shown."""
        reply = yield self.ask("GET", f"{self.list_path}/listExtensions")
        body = reply.json()
        if not reply.ok or not isinstance(body, list):
            return f"Responsys does not show the extension tables of {self.settings.profile_list}: {words_of(reply)}"
        return {word(part(each, "profileExtension"), "objectName").lower() for each in body}

    def make_table(self, table: str, columns: Sequence[str]) -> Generator[Request, Reply, str]:
        """Why a table cannot be made; "" if it was."""
        fields = [{"fieldName": column, "fieldType": "STR500"} for column in columns]
        where = {"objectName": table, "folderName": self.settings.folder}
        body = {"profileExtension": where, "fields": fields}
        reply = yield self.ask("POST", f"{self.list_path}/listExtensions", json=body)
        return "" if reply.ok else f"Responsys does not make the extension table {table!r}: {words_of(reply)}"

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        code, words = word(reply.object, "errorCode"), words_of(reply)
        if code == "API_LIMIT_EXCEEDED" or reply.status == 429:
            return Verdict("throttled", MINUTE, words)
        if "Not a valid authentication token" in words or code == "INVALID_TOKEN":
            return Verdict("credentials", words=words)
        if code in ("API_BLOCKED", "ASYNC_API_DISABLED_FOR_USER"):
            return Verdict("stop", words=f"Responsys has closed this API to the user. {words}")
        if reply.status in (400, 404) and (request.url.endswith("/listExtensions") or _set_up(request, reply)):
            return Verdict("answered")
        return by_status(reply, items)


def _refused(request: Request, reply: Reply) -> Outcome:
    if _set_up(request, reply):
        gone = reply.status == 404
        words = f"Responsys has no such extension table, or column: {words_of(reply)}"
        return Blocked(words, prepare=gone, lost=gone)
    return refused(reply, words=words_of(reply))


def _set_up(request: Request, reply: Reply) -> bool:
    """Whether a refused merge is the table's fault: it is not there, or has no such column (unsure: in which words)."""
    if not request.url.endswith("/members") or "/listExtensions/" not in request.url:
        return False
    columns = request.json["recordData"]["fieldNames"][1:]
    return reply.status == 404 or any(column in words_of(reply) for column in columns)


def whom(call: Call) -> tuple[str, str]:
    """The column of a call's identifier, and its value there; "" if it cannot be right."""
    kind, value = call.identifier.type, call.identifier.id.strip()
    fit = personal.email(value) if kind == "email" else re.sub(r"\D", "", value) if kind == "phone" else value
    return COLUMNS.get(kind, kind), fit


def row_of(call: Call) -> dict[str, str]:
    """What the profile list has of a person."""
    column, value = whom(call)
    row = {column: value}
    for name, told in call.traits.items():
        if name in COLUMNS and isinstance(told, str):
            other = msgspec.structs.replace(call, identifier=call.identifier._replace(type=name, id=told))
            row.setdefault(*whom(other))
        elif name in TRAITS and told is not None:
            row.setdefault(TRAITS[name], text(told))
    return {name: value for name, value in row.items() if value}


def merged(reply: Reply, many: int) -> list[Outcome]:
    """What became of each record: an id, or why it was not merged. Unsure: the words that a refusal begins with."""
    answers = items(part(reply.object, "recordData"), "records")
    if len(answers) != many:
        return [Delivered(unconfirmed=True)] * many
    return [_merged(each) for each in answers]


def _merged(record: Any) -> Outcome:
    words = str(record[0]) if isinstance(record, list) and record else ""
    return Rejected("invalid_value", words) if words.upper().startswith("MERGEFAILED") else Delivered()


def words_of(reply: Reply) -> str:
    detail, title = word(reply.object, "detail"), word(reply.object, "title")
    return detail or title or ("" if reply.ok else reply.words())
