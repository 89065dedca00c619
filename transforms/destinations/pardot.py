"""Pardot (Account Engagement): fields of prospects, and external activities. https://developer.salesforce.com/docs/marketing/pardot/guide"""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from schemas.outcomes import Later
from transforms.destinations.contract import (
    CAPS_TABLE,
    Blocked,
    Call,
    Conversation,
    Delivered,
    Destination,
    Form,
    Limit,
    Outcome,
    Reason,
    Rejected,
    Reply,
    Request,
    Verdict,
    by_status,
    refused,
    timestamp,
)
from transforms.destinations.personal import is_address
from transforms.destinations.plain import flat, text
from transforms.destinations.reading import word
from transforms.destinations.safety import check_texts, fingerprint
from transforms.destinations.salesforce_login import LOGIN, ClientId, ClientSecret, Domain, field_name

GUIDE = "https://developer.salesforce.com/docs/marketing/pardot/guide"
LONGEST = 255  # characters of an address, and of an activity's value
TOMORROW = 3_600.0  # seconds until it is tried again once the requests of a day are used up
# Traits that are fields of every prospect; any other is a custom field.
STANDARD = {
    "email": "email", "first_name": "firstName", "last_name": "lastName", "phone": "phone", "company": "company",
    "title": "jobTitle", "street": "addressOne", "city": "city", "state": "state", "postal_code": "zip",
    "country": "country", "website": "website", "industry": "industry",
}  # fmt: skip
# Codes of answers. https://developer.salesforce.com/docs/marketing/pardot/guide/error-codes.html
NO_SESSION = {"1", "184"}
SET_UP = {"126", "181"}  # how one signs in, and which business unit is meant
TRANSIENT = {"85", "116", "119", "120", "121", "183", "214"}
NO_FIELD = {"130", "153", "154"}
REASONS: dict[str, Reason] = {
    "4": "invalid_identifier", "13": "missing_required_key", "36": "missing_required_key", "10000": "invalid_value",
}  # fmt: skip


class Pardot(Destination):
    slug = "pardot"
    name = "Pardot (Account Engagement)"
    page = f"{GUIDE}/prospect-v5.html"
    remark = (
        "Custom fields are made by hand; behind their names the API has `__c`. A day has 25,000 to 100,000 requests."
    )
    forms = ("identify", "track")
    identifiers = ("email",)
    limits = (Limit(2, source=CAPS_TABLE),)
    concurrency = 4  # 5 requests of a business unit are worked on at once
    columns_first = True
    auth = LOGIN

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one business unit, by the Salesforce org that it belongs to."""

        domain: Domain
        client_id: ClientId
        client_secret: ClientSecret
        business_unit_id: Annotated[
            str,
            Meta(
                pattern="^0Uv[A-Za-z0-9]{15}$",
                description="Of Account Engagement, such as 0Uv000000000001AAA: Setup > Business Unit Setup.",
            ),
        ]
        sandbox: Annotated[bool, Meta(description="Whether it is a sandbox or a demo: these have another host.")] = (
            False
        )
        extension: Annotated[
            str, Meta(description="API name of the marketing app extension that activities belong to.")
        ] = ""
        activities: Annotated[
            dict[str, str],
            Meta(description="API names of its activity types, by the names of events: only these can be sent."),
        ] = {}

        def __post_init__(self) -> None:
            check_texts(self)

    settings: Settings

    def tenant(self) -> str:
        return f"{self.slug}:{self.settings.business_unit_id}"

    def limit_group(self) -> str:
        return f"{self.slug}-{fingerprint(self.settings.business_unit_id)}"

    def name_at_vendor(self, form: Form, key: str) -> str:
        """The name of a custom field, as in Salesforce."""
        return field_name(key)

    def trait_at_vendor(self, trait: str) -> str:
        return STANDARD.get(trait) or super().trait_at_vendor(trait)

    def unit(self, call: Call) -> Any:
        return super().unit(call) if call.kind == "track" else (call.kind, whom(call))

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if not is_address(whom(call)) or len(whom(call)) > LONGEST:
            return Rejected("invalid_identifier", "Pardot takes no such e-mail address")
        if call.kind == "track" and not (self.settings.extension and self.event(call) in self.settings.activities):
            words = f"the settings have no `extension`, or in `activities` no type for {self.event(call)!r}"
            return Rejected("unknown_field", words)
        return None

    # -- calls
    def deliver(self, calls: Sequence[Call]) -> Conversation:
        if calls[0].kind == "track":
            reply = yield self._ask("/external-activities", self._activity(calls[0]))
        else:
            reply = yield self._ask("/objects/prospects/do/upsertLatestByEmail", self._prospect(calls))
        return [self._outcome(call, reply) for call in calls]

    def _prospect(self, calls: Sequence[Call]) -> dict[str, Any]:
        """Of several prospects with the address, the one with the latest activity is changed."""
        fields = {name: value for call in calls for name, value in self._fields(call).items()}
        who = whom(calls[0])
        return {"matchEmail": who, "prospect": {**fields, "email": who}, "secondaryDeletedSearch": True}

    def _fields(self, call: Call) -> dict[str, Any]:
        told = {name: value for name, value in call.traits.items() if name != "email"}
        fields = {STANDARD.get(name) or self._custom(name): fitted(value) for name, value in told.items()}
        return fields | {self._custom(call.key): fitted(call.value)}

    def _custom(self, key: str) -> str:
        return f"{self.name_at_vendor('identify', key)}__c"

    def _activity(self, call: Call) -> dict[str, Any]:
        """A repeated one is there twice."""
        value = call.key if self.is_audience(call) else f"{call.key}: {text(call.value)}"
        return {
            "extension": self.settings.extension,
            "type": self.settings.activities[self.event(call)],
            "value": value[:LONGEST],
            "email": whom(call),
            "activityDate": timestamp(call.at),
        }

    def _ask(self, path: str, body: dict[str, Any]) -> Request:
        host = "pi.demo.pardot.com" if self.settings.sandbox else "pi.pardot.com"
        unit = {"pardot-business-unit-id": self.settings.business_unit_id}
        return Request("POST", f"https://{host}/api/v5{path}", json=body, headers=unit)

    # -- answers
    def _outcome(self, call: Call, reply: Reply) -> Outcome:
        code, words = word(reply.object, "code"), word(reply.object, "message") or reply.words()
        if reply.ok:
            return Delivered(unconfirmed=call.kind == "identify" and not word(reply.object, "id"))
        if code in NO_FIELD and call.kind == "identify":
            return self._no_field(call, words)
        if call.kind == "track" and any(said in words.lower() for said in ("extension", "activity type")):
            return Blocked(f"Pardot: {words}")
        return refused(reply, REASONS.get(code), words)

    def _no_field(self, call: Call, words: str) -> Outcome:
        """A field is missing: the calls that set it wait, the others go again without them."""
        missing = {name.lower() for name in re.findall(r"\w+", words) if name.lower().endswith("__c")}
        if missing and not missing & {name.lower() for name in self._fields(call)}:
            return Later(words=words)
        return Blocked(f"Pardot: {words}; make the field by hand")

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        code, words = word(reply.object, "code"), word(reply.object, "message")
        if reply.status in (400, 403) and reply.body.lstrip().startswith(b"<"):
            words = "it answers in XML: another business unit, or a sandbox's token at the real host"
            return Verdict("refused", words=words)
        if code in NO_SESSION:
            return Verdict("credentials", words=words)
        if code in SET_UP:
            return Verdict("refused", words=words)
        if code in ("66", "122"):  # at once, and in a day
            return Verdict("throttled", TOMORROW if code == "122" else None, words)
        return Verdict("transient", words=words) if code in TRANSIENT else by_status(reply, items)


def whom(call: Call) -> str:
    """Pardot tells addresses apart by case: they are always told in lower case."""
    return call.identifier.id.strip().lower()


def fitted(value: Any) -> Any:
    """Texts and numbers; nothing empties a field (unsure)."""
    return None if value is None else flat(value)
