"""Intercom: contacts and companies with custom attributes, and events of contacts. Tags are not written."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from transforms.destinations.auth import Bearer, filled
from transforms.destinations.contract import (
    CAPS_TABLE,
    ApiVersion,
    Batch,
    Blocked,
    Call,
    Conversation,
    Delivered,
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
    by_status,
    refused,
    says_nothing,
)
from transforms.destinations.intercom_attributes import make
from transforms.destinations.intercom_companies import COMPANIES, belong, write
from transforms.destinations.intercom_companies import STANDARD as OF_COMPANIES
from transforms.destinations.intercom_contacts import NAMES, SEARCH, STANDARD, Contacts, error_of, unfit
from transforms.destinations.names import in_ascii
from transforms.destinations.plain import Item, Plain, flat
from transforms.destinations.reading import word
from transforms.destinations.safety import breaks_path

VERSION = "2.16"
MOST = 10  # keys of an event's metadata; Intercom drops the others without a word
LONGEST = 190  # characters of an attribute's name (unsure)


class Intercom(Plain):
    slug = "intercom"
    name = "Intercom"
    page = "https://developers.intercom.com/docs/references/rest-api/api.intercom.io/data-events"
    remark = (
        "A contact that is not there is made, as a user. Events go to contacts only that Intercom has already, and it "
        "drops a second event of a contact with the same name in the same second: give each sync `events` names of "
        "its own. An account is a company, which Intercom shows from its first contact on: tell it of those too, with "
        "`as: [group, member]`."
    )
    base = "https://{host}"
    names = {"user_id": "user_id", "email": "email"}
    one_record = {"email": "attach"}
    auth = Bearer("{access_token}")
    api_version = ApiVersion(VERSION, source="https://developers.intercom.com/docs/build-an-integration/learn-more")
    limits = (Limit(8, source=CAPS_TABLE),)
    batch = Batch(requests=2)  # the contact is looked for

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one workspace."""

        access_token: Annotated[Secret, Meta(description="Access token of your app: Developer Hub > Authentication.")]
        host: Annotated[
            Literal["api.intercom.io", "api.eu.intercom.io", "api.au.intercom.io"],
            Meta(description="Where the workspace's data is: US, EU or Australia."),
        ] = "api.intercom.io"

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._contacts = Contacts(self.ask)

    def name_at_vendor(self, form: Any, key: str) -> str:
        return in_ascii(key, LONGEST) if form in ("identify", "group") else key

    def trait_at_vendor(self, trait: str) -> str:
        return trait if trait in STANDARD else self.name_at_vendor("identify", trait)

    def ask(self, method: str, path: str, **more: Any) -> Request:
        return Request(method, filled(self.base, self.settings) + path, headers={"intercom-version": VERSION}, **more)

    def event_at_vendor(self, name: str) -> str:
        """Intercom has `-` for `.` and `$`."""
        return name.translate({ord("."): "-", ord("$"): "-"})

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if call.kind not in ("track", "group") and breaks_path(call.identifier.id):
            return Rejected("invalid_identifier", "Intercom finds nobody by such an id: it would change the URL")
        if call.kind == "track" and len(self.properties(call)) > MOST:
            return Rejected("unsupported", f"Intercom takes {MOST} properties of an event")
        return None

    def track(self, event: Item) -> Request:
        """Of one identifier: that of the call. Metadata has no booleans, and nothing inside."""
        [(kind, name), *_] = event.ids.items()
        told: dict[str, Any] = {key: flat(value) for key, value in event.properties.items()}
        body = {kind: name, "event_name": event.event, "created_at": event.seconds, "metadata": told}
        return self.post("/events", body)

    def read(self, reply: Reply, items: Any) -> Outcome:
        return Delivered() if reply.ok else refused(reply, words=word(error_of(reply), "message"))

    # -- contacts
    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        """Find the custom attributes, and make those that are missing; keep their types."""
        known: dict[str, str] = self.memory.setdefault("attributes", {})
        calls = sorted(targets.items())
        of_people = {t: self._attributes(call, (*STANDARD, *NAMES)) for t, call in calls if t.form == "identify"}
        refusals = yield from make(self.ask, "contact", of_people, known)
        if of_companies := {t: self._attributes(call, OF_COMPANIES) for t, call in calls if t.form == "group"}:
            known = self.memory.setdefault("company_attributes", {})
            refusals |= yield from make(self.ask, "company", of_companies, known)
        return refusals

    def _attributes(self, call: Call, standard: Collection[str]) -> dict[str, Any]:
        """The custom attributes of a call and of its sync, with samples of values."""
        sync = self.sync(call)
        traits = {**dict.fromkeys(sync.enrich if sync else ()), **call.traits}
        own = {self.trait_at_vendor(name): value for name, value in traits.items() if name not in standard}
        key = self.name_at_vendor("identify", call.key)
        return own if call.kind == "group" and key in standard else own | {key: call.value}

    def identify(self, person: Item) -> Conversation:
        """Change a contact, or make it."""
        known: dict[str, str] = self.memory.get("attributes", {})
        own = {name: value for name, value in person.traits.items() if name in STANDARD}
        custom = {name: value for name, value in person.traits.items() if name not in STANDARD}
        if missing := next((name for name in custom if name not in known), None):
            return [Blocked(f"Intercom has no attribute {missing!r}", prepare=True)]
        fitted, words = unfit(custom, known)
        if words:
            return [Rejected("invalid_value", words)]
        told = yield from self._contacts.write(person.call.identifier, person.ids, {**own, "custom_attributes": fitted})
        if isinstance(told, str):  # an attribute that was archived or deleted
            known.pop(told, None)
            return [Blocked(f"Intercom has no attribute {told!r} any more", prepare=True, lost=True)]
        return [told]

    def group(self, account: Item) -> Conversation:
        """Change a company, or make it."""
        known: dict[str, str] = self.memory.get("company_attributes", {})
        told = yield from write(self.ask, account, known)
        if isinstance(told, str):
            known.pop(told, None)
            return [Blocked(f"Intercom's companies have no attribute {told!r}", prepare=True, lost=True)]
        return [told]

    def member(self, person: Item) -> Conversation:
        """Attach a contact to its companies, or detach it; one that is not there is made."""
        found = yield from self._contacts.find_or_make(person.call.identifier)
        if not isinstance(found, str):
            return [found]
        if not found:
            return [Later(words="Intercom does not say the id of its new contact")]
        return [(yield from belong(self.ask, found, person.value))]

    def delete(self, person: Item) -> Conversation:
        return [(yield from self._contacts.delete(person.call.identifier))]

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        if calls[0].kind == "track":
            return (yield from super().deliver(calls))
        item = self._item(calls)
        converse = {"delete": self.delete, "group": self.group, "member": self.member}.get(calls[0].kind, self.identify)
        [told] = yield from converse(item)
        return [told] * len(calls)

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        """A contact that is not there is no wrong URL."""
        if says_nothing(request, reply) or (request.url.endswith(SEARCH) and reply.ok and not reply.object):
            return Verdict("transient", words=reply.words())
        code = word(error_of(reply), "code")
        if reply.status == 404 and (code in ("not_found", "user_not_found") or "/contacts/" in request.url):
            return Verdict("answered")
        if reply.status in (403, 404) and COMPANIES in request.url:  # the token may not, or a company is not there
            return Verdict("answered")
        return by_status(reply, items)
