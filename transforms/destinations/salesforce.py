"""Salesforce: fields of leads or contacts, and of accounts, two hundred records a request. https://developer.salesforce.com/docs/platform/api-rest"""

import re
from collections.abc import Generator, Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from schemas.outcomes import Later
from transforms.destinations.contract import (
    CAPS_TABLE,
    ApiVersion,
    Batch,
    Blocked,
    Call,
    Conversation,
    Delivered,
    Destination,
    Form,
    Limit,
    Outcome,
    Rejected,
    Reply,
    Request,
    Verdict,
    by_status,
    refused,
    units,
)
from transforms.destinations.personal import is_address
from transforms.destinations.plain import text
from transforms.destinations.reading import items, rows, word
from transforms.destinations.safety import check_texts, fingerprint
from transforms.destinations.salesforce_login import LOGIN, ClientId, ClientSecret, Domain, field_name
from transforms.destinations.salesforce_shapes import (
    FILLED,
    GONE,
    LOCKED,
    NO_FIELD,
    REASONS,
    STANDARD,
    Record,
    escaped,
    first_error,
    fitted,
    lacks,
    one,
    portions,
    record,
)

GUIDE = "https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/"
VERSION = "v62.0"
RECORDS = f"/services/data/{VERSION}/composite/sobjects"
QUERY = f"/services/data/{VERSION}/query/"
NO_ACCOUNTS = "NOT_FOUND"  # of a URL: no such object, or no such external id
LONGEST_ADDRESS = 80  # characters of Salesforce's e-mail fields
TOMORROW = 3_600.0  # seconds until it is tried again once the org has used up its requests of 24 hours

Writing = Generator[Request, Reply, dict[str, Any]]  # by person, the answer's row; or the answer, or an outcome
Found = Generator[Request, Reply, "dict[str, list[Record]] | Reply"]


class Salesforce(Destination):
    slug = "salesforce"
    name = "Salesforce"
    page = GUIDE
    remark = (
        "Fields are made by hand, as Checkbox, Number or Text; Salesforce puts `__c` behind their names. Without "
        "`enrich: [name]` a new account is called by its id. Which people belong to it is not told."
    )
    forms = ("identify", "group")
    identifiers = ("email",)
    limits = (Limit(5, source=CAPS_TABLE),)
    api_version = ApiVersion(VERSION, None, f"{GUIDE}api_rest_eol.htm")
    batch = Batch(200, 2_000_000, requests=2)
    concurrency = 20  # 25 requests that take long may be under way in an org
    columns_first = True
    auth = LOGIN

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one org, and what people are there."""

        domain: Domain
        client_id: ClientId
        client_secret: ClientSecret
        object: Annotated[
            Literal["Lead", "Contact"],
            Meta(description="What people are there. Of a lead that was converted, the contact is changed."),
        ] = "Lead"
        user_id_field: Annotated[
            str,
            Meta(
                pattern="^([A-Za-z][A-Za-z0-9_]*__c)?$",
                description="A custom field of it, unique and External ID: people are known by user id then, and not "
                "by e-mail address.",
            ),
        ] = ""
        account_id_field: Annotated[
            str,
            Meta(
                pattern=r"^[A-Za-z][A-Za-z0-9_]*__c\Z",
                description="Of accounts: a custom field of Account, unique and External ID, that holds the account's "
                "id.",
            ),
        ] = "Account_Id__c"

        def __post_init__(self) -> None:
            check_texts(self)

    settings: Settings

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        if self.settings.user_id_field:
            self.identifiers = ("user_id",)

    def tenant(self) -> str:
        return f"{self.slug}:{self.settings.domain}:{self.settings.object}:{self.settings.user_id_field.lower()}"

    def limit_group(self) -> str:
        return f"{self.slug}-{fingerprint(self.settings.domain)}"

    # -- names
    def name_at_vendor(self, form: Form, key: str) -> str:
        """The name of a custom field as one types it."""
        return field_name(key)

    def trait_at_vendor(self, trait: str) -> str:
        return STANDARD[self.settings.object].get(trait) or super().trait_at_vendor(trait)

    def unit(self, call: Call) -> Any:
        return (call.kind, whom(call))

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        value = whom(call)
        if call.identifier.type == "email" and not is_address(value):
            return Rejected("invalid_identifier", "Salesforce takes no such e-mail address")
        most = LONGEST_ADDRESS if call.identifier.type == "email" else 255
        if len(value) > most:
            return Rejected("invalid_identifier", f"such an identifier has at most {most} characters at Salesforce")
        return None

    # -- calls
    def deliver(self, calls: Sequence[Call]) -> Conversation:
        told_of = {whom(calls[p[0]]): [calls[place] for place in p] for p in units(self, calls).values()}
        if calls[0].kind == "group":
            told = yield from self._upsert(told_of, "Account", self.settings.account_id_field)
        elif self.settings.user_id_field:
            told = yield from self._upsert(told_of, self.settings.object, self.settings.user_id_field)
        else:
            told = yield from self._match(told_of)
        return [self._outcome(call, told[whom(call)]) for call in calls]

    def _upsert(self, people: Mapping[str, list[Call]], kind: str, by: str) -> Writing:
        """Write by external id. Who is new lacks what a record must have: that is filled in, for them alone."""
        path = f"{RECORDS}/{kind}/{by}"
        records = {who: record(kind, {**self._fields(kind, told), by: who}) for who, told in people.items()}
        told = yield from self._write("PATCH", path, records)
        if any(isinstance(each, Reply) and each.ok and each.json() is None for each in told.values()):
            return dict.fromkeys(people, Later(words="Salesforce's answer cannot be read: who is new may not be there"))
        fills = {who: FILLED.get(kind) or {"Name": who} for who in people}
        new = {who: {**fills[who], **records[who]} for who in people if lacks(told[who], fills[who])}
        return told | (yield from self._write("PATCH", path, new))

    def _match(self, people: Mapping[str, list[Call]]) -> Writing:
        """Look the addresses up, change who is there, make the others."""
        kind = self.settings.object
        found = yield from self._find(list(people))
        if isinstance(found, Reply):
            return dict.fromkeys(people, Later(words="the answer to a query says nothing") if found.ok else found)
        told: dict[str, Any] = {}
        there: dict[str, Record] = {}
        taken = {""}
        for who in (each for each in people if each in found):
            meant = one(kind, found[who])
            if isinstance(meant, Rejected):
                told[who] = meant
            elif meant[1] in taken:
                told[who] = Later(words="another address leads to the same contact: its values go first")
            else:
                taken.add(meant[1])
                there[who] = {**record(meant[0], self._fields(meant[0], people[who])), "id": meant[1]}
        new = {
            who: record(kind, {**FILLED[kind], **self._fields(kind, calls), "Email": who})
            for who, calls in people.items()
            if who not in found
        }
        told |= yield from self._write("PATCH", RECORDS, there)
        return told | (yield from self._write("POST", RECORDS, new))

    def _find(self, addresses: list[str]) -> Found:
        """The records of each address; a reply that is no answer to it."""
        kind = self.settings.object
        fields = "Id, Email" + (", IsConverted, ConvertedContactId" if kind == "Lead" else "")
        found: dict[str, list[Record]] = {}
        for some in portions(addresses):
            which = ",".join(f"'{escaped(each)}'" for each in some)
            soql = f"SELECT {fields} FROM {kind} WHERE Email IN ({which})"
            asked = Request("GET", QUERY, params={"q": soql})
            while True:
                reply = yield asked
                if not reply.ok or "records" not in reply.object:
                    return reply
                for each in rows(reply.object, "records"):
                    found.setdefault(word(each, "Email").lower(), []).append(each)
                after = word(reply.object, "nextRecordsUrl")
                if not after.startswith(QUERY) or after == asked.url:
                    break
                asked = Request("GET", after)
        return found

    def _write(self, method: str, path: str, records: Mapping[str, Record]) -> Writing:
        """The answer's row about each record; the answer itself where it has none."""
        if not records:
            return {}
        reply = yield Request(method, path, json={"allOrNone": False, "records": list(records.values())})
        told = reply.json()
        if not reply.ok or not isinstance(told, list) or len(told) != len(records):
            return dict.fromkeys(records, reply)
        return dict(zip(records, told, strict=True))

    def _fields(self, kind: str, calls: Sequence[Call]) -> Record:
        """Fields of a record of this kind; a converted lead's contact has not all standard ones of the lead."""
        standard = STANDARD[kind]
        others = STANDARD[self.settings.object if kind != "Account" else kind]
        fields: Record = {}
        for call in calls:
            for trait, value in call.traits.items():
                known_by = trait == call.identifier.type  # who it is about: no value
                nameless = kind == "Account" and trait == "name" and not text(value).strip()  # it must have one
                if not known_by and not nameless and (trait in standard or trait not in others):
                    fields[standard.get(trait) or self._custom(trait)] = fitted(value)
            fields[self._custom(call.key)] = fitted(call.value)
        return fields

    def _custom(self, key: str) -> str:
        return f"{self.name_at_vendor('identify', key)}__c"

    # -- answers
    def _outcome(self, call: Call, told: Any) -> Outcome:
        """What a row of the answer, or all of it, says of a call."""
        if isinstance(told, Rejected | Later):
            return told
        if isinstance(told, Reply):
            error = first_error(told)
            if told.ok:
                return Delivered(unconfirmed=True) if told.json() is None else Later(words=told.words())
            return self._error(call, error, word(error, "errorCode")) if error else refused(told)
        if isinstance(told, dict) and told.get("success") is True:
            return Delivered()
        errors = rows(told, "errors")
        if not errors:
            return Later(words="Salesforce does not say what became of the record")
        return self._error(call, errors[0], word(errors[0], "statusCode"))

    def _error(self, call: Call, error: Record, code: str) -> Outcome:
        words = word(error, "message") or code
        if any(said in code or said in words for said in LOCKED) or code in GONE:
            return Later(words=words)
        if code == NO_ACCOUNTS and call.kind == "group":
            by = self.settings.account_id_field
            return Blocked(f"Salesforce has no accounts for us by {by}, make it, unique and External ID: {words}")
        if code in NO_FIELD:
            return self._no_field(call, error, words)
        return Rejected(REASONS.get(code, "refused"), words)

    def _no_field(self, call: Call, error: Record, words: str) -> Outcome:
        """A field is missing, or hidden from the app's user: the calls that set it wait, the others go without them."""
        said = {*re.findall(r"\w+", words), *map(str, items(error, "fields"))}
        missing = {name.lower() for name in said if name.lower().endswith("__c")}
        groups, settings = call.kind == "group", self.settings
        own = {*self._fields("Account" if groups else settings.object, [call])}
        own.add(settings.account_id_field if groups else settings.user_id_field)
        if missing and not missing & {name.lower() for name in own}:
            return Later(words=words)
        return Blocked(f"{words}: make the field, and let the app's user edit it")

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        error = first_error(reply)
        code, words = word(error, "errorCode"), word(error, "message")
        if reply.status == 403 and code == "REQUEST_LIMIT_EXCEEDED":
            return Verdict("throttled", None if "concurrent" in words.lower() else TOMORROW, words)
        if reply.status == 400 and any(said in code or said in words for said in LOCKED):
            return Verdict("transient", words=words)
        if reply.status == 400 and code in NO_FIELD:
            return Verdict("answered")
        if reply.status == 404 and code == NO_ACCOUNTS and request.url.startswith(f"{RECORDS}/Account/"):
            return Verdict("answered")  # the field of their ids is missing, and people go on
        return by_status(reply, items)


def whom(call: Call) -> str:
    """Salesforce compares addresses without case."""
    return call.identifier.id.strip().lower() if call.identifier.type == "email" else call.identifier.id
