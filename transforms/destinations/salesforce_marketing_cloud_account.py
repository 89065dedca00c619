"""Salesforce Marketing Cloud: an account, its data extensions and their columns. https://developer.salesforce.com/docs/marketing/marketing-cloud"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from transforms.destinations.auth import ClientCredentials, SigningIn, filled
from transforms.destinations.contract import (
    CAPS_TABLE,
    Call,
    Destination,
    Limit,
    Rejected,
    Reply,
    Request,
    Secret,
    Verdict,
    by_status,
)
from transforms.destinations.personal import is_address
from transforms.destinations.plain import text
from transforms.destinations.reading import count, rows, word
from transforms.destinations.safety import check_texts, fingerprint
from transforms.logic.hints import wait

GUIDE = "https://developer.salesforce.com/docs/marketing/marketing-cloud"
OBJECTS = "/data/v1/customobjects"
KEY = "Contact Key"  # the only primary key of our data extensions
LONGEST = 254  # characters of a contact key, and of an address
TEXT = 4_000  # characters of a text column
BLOCKED, LONG = "50200", 600.0  # the code of an account that is blocked for a while; seconds until the next try
POLLS, POLL = 10, 3.0  # how often it is asked for columns that are being made, and after how many seconds
NUMBERS = {"number", "decimal"}
TEXTS = {"text", "emailaddress", "phone", "locale"}

Column = list[Any]  # its name, type, and length (0: none)
Columns = Mapping[str, Any]  # values by the names of columns that are needed


@dataclass(frozen=True)
class Login(ClientCredentials):
    """Client credentials, and the business unit that is meant."""

    def sign_in(self, settings: Any, kept: str, now: float) -> SigningIn:
        unit = {"account_id": settings.account_id} if settings.account_id else {}
        client = {
            "client_id": filled(self.client_id, settings),
            "client_secret": filled(self.client_secret, settings),
        }
        reply = yield Request(
            "POST", filled(self.url, settings), json={"grant_type": "client_credentials", **client, **unit}
        )
        return msgspec.structs.replace(self.session(reply, now), refresh_token="")


class Access(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Access to one business unit."""

    subdomain: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9-]+$",
            description="What stands first in the package's base URIs: Setup > Installed Packages.",
        ),
    ]
    client_id: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9-]+$",
            description="Of a server-to-server component of that package; it may read and write data extensions.",
        ),
    ]
    client_secret: Annotated[Secret, Meta(description="Client secret of that component.")]
    account_id: Annotated[
        str, Meta(pattern="^[0-9]*$", description="MID of the business unit; without it, the package's own.")
    ] = ""
    folder: Annotated[
        int, Meta(ge=0, description="Number of the folder (category) in which data extensions are made; 0: the first.")
    ] = 0

    def __post_init__(self) -> None:
        check_texts(self)


class Account(Destination):
    """What rows and lists have in common."""

    identifiers = ("user_id", "email")
    one_record = {"email": "attach"}
    limits = (Limit(20, source=CAPS_TABLE),)
    auth = Login("https://{subdomain}.auth.marketingcloudapis.com/v2/token")

    def tenant(self) -> str:
        return f"salesforce-marketing-cloud:{self.settings.subdomain.lower()}:{self.settings.account_id}"

    def limit_group(self) -> str:
        return f"salesforce-marketing-cloud-{fingerprint(self.settings.subdomain.lower())}"

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        value = whom(call)
        if ":" in value or len(value) > LONGEST:
            words = f"a contact key has at most {LONGEST} characters, and no colon, at Marketing Cloud"
            return Rejected("invalid_identifier", words)
        if call.identifier.type == "email" and not is_address(value):
            return Rejected("invalid_identifier", "Marketing Cloud takes no such e-mail address")
        return None

    def ask(self, method: str, path: str, **more: Any) -> Request:
        return Request(method, f"https://{self.settings.subdomain}.rest.marketingcloudapis.com{path}", **more)

    # -- data extensions
    def find_extension(self, name: str) -> Generator[Request, Reply, tuple[str, str]]:
        """The id of the data extension of this name, "" where there is none; and why that cannot be known."""
        page = 1
        while True:
            params = {"$search": name, "$page": str(page), "$pageSize": "100"}
            reply = yield self.ask("GET", OBJECTS, params=params)
            if not reply.ok or "items" not in reply.object:
                return "", f"Marketing Cloud does not show its data extensions: {words_of(reply)}"
            found = rows(reply.object, "items")
            for each in found:
                if word(each, "name").lower() == name.lower() and word(each, "id"):
                    return word(each, "id"), ""
            if len(found) < 100:
                return "", ""
            page += 1

    def make_extension(self, name: str, columns: Columns) -> Generator[Request, Reply, tuple[str, str]]:
        """Make a data extension from which mails can be sent; its id, and why there is none."""
        told = {KEY: field(KEY, "Text", LONGEST, key=True), "Email": field("Email", "EmailAddress", LONGEST)}
        told |= {each: new_field(each, value) for each, value in columns.items() if each not in told}
        body = {
            "name": name,
            "isSendable": True,
            "sendableCustomObjectField": KEY,
            "sendableSubscriberField": "_SubscriberKey",  # or "Subscriber Key": unsure
            "fields": [{**each, "ordinal": place} for place, each in enumerate(told.values())],
            **({"categoryId": self.settings.folder} if self.settings.folder else {}),
        }
        reply = yield self.ask("POST", OBJECTS, json=body)
        found = word(reply.object, "id")
        return found, "" if found else f"Marketing Cloud does not make the data extension {name!r}: {words_of(reply)}"

    def columns_of(self, extension: str, after: float = 0.0) -> Generator[Request, Reply, dict[str, Column] | None]:
        """The columns of a data extension, by name in lower case; None where they are not shown."""
        reply = yield self.ask("GET", f"{OBJECTS}/{quote(extension, safe='')}/fields", after=after)
        if not reply.ok or "fields" not in reply.object:
            return None
        found = [[word(row, "name"), word(row, "type"), count(row, "length")] for row in rows(reply.object, "fields")]
        return {str(each[0]).lower(): each for each in found}

    def add_columns(self, extension: str, columns: Columns) -> Generator[Request, Reply, str]:
        """Have columns made, which takes a moment; why not, or "". That they are `fields` of the body is unsure."""
        body = {"fields": [new_field(name, value) for name, value in columns.items()]}
        reply = yield self.ask("POST", f"/data/v1/customobjectsasync/{quote(extension, safe='')}/fields", json=body)
        return "" if reply.ok else f"Marketing Cloud makes no columns {', '.join(columns)}: {words_of(reply)}"

    def await_columns(self, extension: str, names: set[str]) -> Generator[Request, Reply, dict[str, Column]]:
        """The columns of a data extension, once these are there."""
        found: dict[str, Column] = {}
        for _ in range(POLLS):
            found = (yield from self.columns_of(extension, POLL)) or {}
            if {name.lower() for name in names} <= found.keys():
                break
        return found

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        code, words = word(reply.object, "errorcode"), words_of(reply)
        if reply.status == 429:
            told = reply.headers.get("retry-after") or word(reply.object, "retryAfter")
            return Verdict("throttled", LONG if code == BLOCKED else wait(told, reply.headers), words)
        # Rows that were locked, and not one that is wrong.
        locked = "Unable to save rows for data extension ID" in words and not rows(reply.object, "additionalErrors")
        if reply.status == 400 and locked:
            return Verdict("transient", words=words)
        if reply.status == 404 and ("/data/v1/" in request.url or "/hub/v1/" in request.url):
            return Verdict("answered")
        return by_status(reply, items)


def whom(call: Call) -> str:
    """The contact key."""
    return call.identifier.id.strip().lower() if call.identifier.type == "email" else call.identifier.id


def address(call: Call) -> dict[str, str]:
    """The column of the address: the one that the person is known by, or one that goes along."""
    if call.identifier.type == "email":
        return {"Email": whom(call)}
    given = call.traits.get("email")
    return {"Email": given} if isinstance(given, str) and given else {}


def field(name: str, kind: str, length: int = 0, scale: int = 0, key: bool = False) -> dict[str, Any]:
    """A column of a data extension that is to be made."""
    flags = ("isTemplateField", "isHidden", "isReadOnly", "isInheritable", "isOverridable", "mustOverride")
    return {
        "name": name,
        "type": kind,
        **({"length": length} if length else {}),
        **({"scale": scale} if scale else {}),
        "isNullable": not key,
        "isPrimaryKey": key,
        **dict.fromkeys(flags, False),
    }


def new_field(name: str, value: Any) -> dict[str, Any]:
    """A column for values like this one."""
    if isinstance(value, bool):
        return field(name, "Boolean")
    return field(name, "Decimal", 18, 4) if isinstance(value, int | float) else field(name, "Text", TEXT)


def misfit(value: Any, column: Column) -> Rejected | None:
    """Why a column does not take a value. Only a text can be emptied: a row with a null in it is not saved."""
    name, kind, most = column[0], column[1].lower(), column[2]
    if value is None and kind not in TEXTS:
        return Rejected("unsupported", f"Marketing Cloud cannot empty the column {name!r}: only texts can be")
    if kind == "boolean" and not isinstance(value, bool):
        return Rejected("invalid_value", f"Marketing Cloud's column {name!r} takes true and false only")
    if kind in NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float)):
        return Rejected("invalid_value", f"Marketing Cloud's column {name!r} takes numbers only")
    if kind == "number" and isinstance(value, float) and not value.is_integer():
        return Rejected("invalid_value", f"Marketing Cloud's column {name!r} takes whole numbers only")
    if kind in TEXTS and most and len(text(value)) > most:
        return Rejected("too_large", f"Marketing Cloud's column {name!r} has room for {most} characters")
    return None


def fitted(value: Any, column: Column) -> Any:
    """As a column of this type takes it."""
    kind = column[1].lower()
    if kind == "number" and isinstance(value, float):
        return int(value)
    return value if kind in ("boolean", *NUMBERS) else text(value)


def words_of(reply: Reply) -> str:
    """What the answer says, and what it says of columns and rows."""
    body = reply.object
    said = [word(body, "message"), *(word(each, "message") for each in rows(body, "additionalErrors"))]
    said += [word(each, "message") for each in rows(body, "resultMessages")]
    return "; ".join(filter(None, said)) or reply.words()
