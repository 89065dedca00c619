"""Marketo: one instance, its answers, and its people. https://experienceleague.adobe.com/en/docs/marketo-developer"""

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta, Struct

from transforms.destinations.auth import ClientCredentials
from transforms.destinations.contract import (
    CAPS_TABLE,
    Batch,
    Call,
    Destination,
    Limit,
    Reason,
    Rejected,
    Reply,
    Request,
    Secret,
    Verdict,
    by_status,
    refused,
)
from transforms.destinations.reading import count, items, rows, word
from transforms.destinations.safety import check_texts, fingerprint

GUIDE = "https://experienceleague.adobe.com/en/docs/marketo-developer/marketo/rest"
# Identifiers, as leads have them; `userId` and `anonymousId` are custom fields.
NAMES = {"email": "email", "user_id": "userId", "anonymous_id": "anonymousId"}
MOST = 300  # leads, ids or activities in a request
LONGEST = 255  # characters of a text field, and of an identifier
WINDOW = 20.0  # seconds in which 100 requests of an instance are taken, from everybody
TOMORROW = 3_600.0  # seconds until it is tried again once the instance has used up its requests of a day

# Codes of answers that are about all of a request; HTTP says 200. https://experienceleague.adobe.com/…/error-codes
NO_SESSION = {"600", "601", "602"}
DENIED = {"603", "605", "610", "616", "703"}
TRANSIENT = {"500", "502", "604", "608", "611", "614", "713", "719"}
NO_FIELD = "1006"
SYNCED = "1018"  # a CRM is synced with the instance, and alone writes its companies
NO_LEAD, NO_OBJECT, NOT_LISTED = "1004", "1013", "1015"
BUSY = {"1016", "1019", "1029"}  # too many imports, or one into this list already
# They speak of a field or a list, and never of one of the people in the request.
OF_ALL = {NO_FIELD, NO_OBJECT, *BUSY}
REASONS: dict[str, Reason] = {
    "1001": "invalid_value", "1002": "missing_required_key", "1003": "invalid_value", NO_LEAD: "not_found",
    "1005": "conflict", "1007": "conflict", "1008": "forbidden", "1010": "forbidden", SYNCED: "forbidden",
    "1021": "forbidden", "1049": "too_large",
}  # fmt: skip


@dataclass(frozen=True)
class Token(ClientCredentials):
    """The same token is given out until it ends, with the seconds that are left: none of them may be left."""

    def refused(self, reply: Reply) -> Verdict:
        if reply.ok and "expires_in" in reply.object and count(reply.object, "expires_in") < 1:
            return Verdict("transient", words="the token is at its end: a new one comes in a moment")
        return super().refused(reply)


class Access(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Access to one instance."""

    account_id: Annotated[
        str,
        Meta(pattern="^[A-Za-z0-9-]+$", description="Munchkin account id, such as 123-ABC-456: Admin > Munchkin."),
    ]
    client_id: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9-]+$",
            description="Of a custom service whose user may read and write leads, their fields, activities and lists: "
            "Admin > LaunchPoint.",
        ),
    ]
    client_secret: Annotated[Secret, Meta(description="Client secret of that service.")]

    def __post_init__(self) -> None:
        check_texts(self)


class Account(Destination):
    """What leads and lists have in common."""

    # The vendor's own limit is the same: 100 in 20 seconds, of all integrations together.
    limits = (Limit(5, source=CAPS_TABLE),)
    concurrency = 8  # 10 requests of an instance are worked on at once
    batch = Batch(MOST, 900_000)
    auth = Token("https://{account_id}.mktorest.com/identity/oauth/token")

    def tenant(self) -> str:
        return f"marketo:{self.settings.account_id.lower()}"

    def limit_group(self) -> str:
        """Leads and lists of one instance are counted together."""
        return f"marketo-{fingerprint(self.settings.account_id.lower())}"

    def unit(self, call: Call) -> Any:
        return super().unit(call) if call.kind == "track" else (call.kind, call.identifier.type, whom(call))

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        value = whom(call)
        if len(value) > LONGEST:
            return Rejected("invalid_identifier", f"an identifier has at most {LONGEST} characters at Marketo")
        if call.identifier.type == "email" and not (value.isascii() and re.fullmatch(r"[^@\s,]+@[^@\s,]+", value)):
            return Rejected("invalid_identifier", "Marketo takes no such e-mail address: ASCII only")
        if call.kind == "delete" and "," in value:
            return Rejected("unsupported", "Marketo cannot look up an identifier with a comma in it")
        return None

    def ask(self, method: str, path: str, **more: Any) -> Request:
        return Request(method, f"https://{self.settings.account_id}.mktorest.com{path}", **more)

    def find(self, calls: Sequence[Call]) -> Generator[Request, Reply, tuple[dict[str, list[int]], Reply | None]]:
        """The ids of leads by identifier, in lower case; there may be several. And an answer that was no good."""
        field = NAMES[calls[0].identifier.type]
        found: dict[str, list[int]] = {}
        form = {"filterType": field, "filterValues": ",".join(dict.fromkeys(map(whom, calls))), "fields": f"id,{field}"}
        while True:
            reply = yield self.ask("POST", "/rest/v1/leads.json", params={"_method": "GET"}, form=form)
            if not good(reply):
                return found, None if code_of(reply) == "702" else reply
            for lead in rows(reply.object, "result"):
                if id := count(lead, "id"):
                    found.setdefault(word(lead, field).lower(), []).append(id)
            after = word(reply.object, "nextPageToken")
            if not after or after == form.get("nextPageToken") or not rows(reply.object, "result"):
                return found, None
            form["nextPageToken"] = after

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        code = code_of(reply)
        if not reply.ok or not code:
            return by_status(reply, items)
        words = words_of(reply)
        if code in NO_SESSION:
            return Verdict("credentials", words=words)
        if code in (*DENIED, SYNCED) and "/rest/v1/companies" in request.url:  # they are closed, and people go on
            return Verdict("answered")
        if code in DENIED:
            return Verdict("refused", words=words)
        if code in ("606", "607", "615"):
            return Verdict("throttled", {"606": WINDOW, "607": TOMORROW}.get(code), words)
        if code in TRANSIENT:
            return Verdict("transient", words=words)
        return Verdict("halve", words=words) if items > 1 and code not in OF_ALL | {"702"} else Verdict("answered")


def whom(call: Call) -> str:
    """Marketo compares addresses without case."""
    return call.identifier.id.strip().lower() if call.identifier.type == "email" else call.identifier.id


def good(reply: Reply) -> bool:
    """HTTP says 200 nearly always."""
    return reply.ok and reply.object.get("success") is True


def said_nothing(reply: Reply) -> bool:
    """An answer that is good by its status, and is no JSON."""
    return reply.ok and reply.json() is None


def code_of(reply: Reply) -> str:
    """The code of an error that is about all of a request; "" where there is none."""
    return "" if good(reply) else word(next(iter(rows(reply.object, "errors")), {}), "code")


def words_of(reply: Reply) -> str:
    return "; ".join(word(error, "message") for error in rows(reply.object, "errors")) or reply.words()


def unread(reply: Reply) -> Rejected:
    """All of a request is refused."""
    return refused(reply, REASONS.get(code_of(reply)), words_of(reply))


def reason_of(row: Mapping[str, Any]) -> tuple[str, str]:
    """Code and words of why a record was passed over; activities say `errors`, all others `reasons`."""
    told = next(iter([*rows(row, "reasons"), *rows(row, "errors")]), {})
    return word(told, "code"), word(told, "message")


def by_place(reply: Reply, many: int) -> list[dict[str, Any]] | None:
    """The rows of an answer that has as many as were sent, in their order; else None."""
    found = items(reply.object, "result")
    return [row if isinstance(row, dict) else {} for row in found] if len(found) == many else None
