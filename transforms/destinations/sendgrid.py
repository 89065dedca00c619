"""SendGrid: fields of marketing contacts, by import jobs. https://www.twilio.com/docs/sendgrid/api-reference/contacts"""

import re
from collections.abc import Generator, Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, quote, urlsplit

from msgspec import Meta, Struct

from schemas.outcomes import Later, Submitted
from transforms.destinations.auth import Bearer
from transforms.destinations.contract import (
    CAPS_TABLE,
    Batch,
    Blocked,
    Call,
    Conversation,
    Delivered,
    Destination,
    Limit,
    Outcome,
    Preparation,
    Rejected,
    Reply,
    Request,
    Secret,
    Target,
    Verdict,
    all_of,
    besides,
    by_status,
    refused,
    units,
)
from transforms.destinations.names import in_ascii
from transforms.destinations.personal import is_address
from transforms.destinations.plain import text
from transforms.destinations.reading import count, part, rows, word
from transforms.destinations.safety import fingerprint
from transforms.logic.hints import wait

API = "https://www.twilio.com/docs/sendgrid/api-reference"
HOSTS = {"global": "https://api.sendgrid.com", "eu": "https://api.eu.sendgrid.com"}
POLL = 10.0  # seconds between questions about a job
# Identifiers, as contacts have them. One that a contact was made with must be in every update of it.
NAMES = {"email": "email", "phone": "phone_number_id", "user_id": "external_id", "anonymous_id": "anonymous_id"}
PHONE = re.compile(r"\+[1-9]\d{1,14}")
LONGEST = 254  # characters of an identifier
MOST = 1_000  # characters of a text field (unsure)
# Fields that every contact has, and how many characters they take; of the last one the length is unsure.
RESERVED = {
    "first_name": 50, "last_name": 50, "address_line_1": 100, "address_line_2": 100, "city": 60,
    "state_province_region": 50, "country": 50, "postal_code": 50,
}  # fmt: skip
# Names that no field of ours may take.
TAKEN = {
    *RESERVED, *NAMES.values(), "phone_number", "whatsapp", "line", "facebook", "unique_name", "alternate_emails",
    "contact_id", "created_at", "updated_at", "list_ids", "segment_ids",
}  # fmt: skip


class Contacts(Destination):
    """What contacts and lists have in common: the account, identifiers, import jobs."""

    identifiers = tuple(NAMES)
    one_record = {"phone": "none", "user_id": "none", "anonymous_id": "none"}
    limits = (Limit(100, source=CAPS_TABLE),)
    batch = Batch(5_000, 5_500_000, requests=2)  # 30,000 and 6 MB are taken; a smaller job says more about its contacts
    auth = Bearer("{api_key}")

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one account."""

        api_key: Annotated[Secret, Meta(description="API key with full access to Marketing: Settings > API Keys.")]
        region: Annotated[Literal["global", "eu"], Meta(description="eu: a regional subuser's account.")] = "global"

    settings: Settings

    def tenant(self) -> str:
        """The variable of the key: only the key says which account it is of."""
        return f"sendgrid:{self.settings.region}:{fingerprint(str(self.settings.api_key))}"

    def limit_group(self) -> str:
        """Contacts and lists of one key are counted together."""
        return f"sendgrid-{fingerprint(self.settings.api_key.reveal())}"

    def unit(self, call: Call) -> Any:
        return (call.kind, whom(call))

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        kind, value = whom(call)
        if len(value) > LONGEST:
            return Rejected("invalid_identifier", f"an identifier has at most {LONGEST} characters at SendGrid")
        if kind == "email" and not is_address(value):
            return Rejected("invalid_identifier", "SendGrid takes no such e-mail address")
        if kind == "phone_number_id" and not PHONE.fullmatch(value):
            return Rejected("invalid_identifier", "SendGrid takes phone numbers with + and the country only (E.164)")
        return None

    # -- jobs
    def upsert(self, calls: Sequence[Call], contacts: Sequence[dict[str, Any]], lists: Sequence[str]) -> Conversation:
        """Write a contact per unit of the calls. One that is refused by name stays out of the next attempt."""
        places = list(units(self, calls).values())
        left = dict(enumerate(contacts))
        told: dict[int, Outcome] = {}
        while left:
            body = {"list_ids": list(lists), "contacts": list(left.values())}
            reply = yield self.ask("PUT", "/marketing/contacts", json=body)
            wrong = wrong_contacts(list(left.values()), reply)
            if wrong and reply.status == 400:
                numbers = list(left)
                for place, words in wrong.items():
                    told[numbers[place]] = Rejected("invalid_value", words)
                    del left[numbers[place]]
                continue
            return self._each(calls, places, told, self._accepted(reply))
        return self._each(calls, places, told, Delivered())

    def _each(
        self, calls: Sequence[Call], places: list[list[int]], told: Mapping[int, Outcome], others: Outcome
    ) -> list[Outcome]:
        by_place = {place: told.get(number, others) for number, each in enumerate(places) for place in each}
        return [by_place[place] for place in range(len(calls))]

    def _accepted(self, reply: Reply) -> Outcome:
        if reply.status == 404:
            return self.no_list(reply)
        if not reply.ok:
            return refused(reply, words=words_of(reply))
        job = word(reply.object, "job_id")
        return Submitted(job, POLL) if job else Delivered(unconfirmed=True)

    def no_list(self, reply: Reply) -> Outcome:
        """What an answer of 404 means that the conversation reads."""
        return refused(reply, words=words_of(reply))

    def collect(self, job: str, calls: Sequence[Call]) -> Conversation:
        """The file that names a job's errors is at another host, and is not fetched: a job tells how many they are."""
        reply = yield self.ask("GET", f"/marketing/contacts/imports/{quote(job, safe='')}")
        status, results = word(reply.object, "status"), part(reply.object, "results")
        if reply.status == 404:
            return all_of(calls, Later(words=f"SendGrid does not know the import job {job!r} any more"))
        if status == "pending":
            return all_of(calls, Submitted(job, POLL))
        if status == "completed":
            return all_of(calls, Delivered())
        if status not in ("errored", "failed"):
            return all_of(calls, Later(words=f"SendGrid does not say what became of the import job {job!r}"))
        failed = count(results, "errored_count")
        if status == "failed" or failed >= len(units(self, calls)):
            return all_of(calls, Rejected("invalid_value", f"SendGrid took no contact of the import job {job!r}"))
        self.note("contacts were not taken by SendGrid's import jobs, which do not say which", failed)
        return all_of(calls, Delivered(unconfirmed=True))

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        if reply.status == 429:
            after = wait(reply.headers.get("x-ratelimit-reset", ""), reply.headers)
            return Verdict("throttled", after, words_of(reply))
        body = request.json if isinstance(request.json, dict) else {}
        if reply.status == 400 and wrong_contacts(body.get("contacts", []), reply):
            return Verdict("answered")
        of_something = "/imports/" in request.url or "/search/" in request.url or "/lists/" in request.url
        if reply.status == 404 and (of_something or body.get("list_ids")):
            return Verdict("answered")
        return by_status(reply, items)

    def ask(self, method: str, path: str, **more: Any) -> Request:
        return Request(method, f"{HOSTS[self.settings.region]}/v3{path}", **more)

    def pages(self, path: str) -> Generator[Request, Reply, list[dict[str, Any]] | Reply]:
        """All that is shown under a path; a reply that shows nothing."""
        found: list[dict[str, Any]] = []
        page = {"page_size": "1000"}
        while True:
            reply = yield self.ask("GET", path, params=page)
            if not reply.ok or "result" not in reply.object:
                return reply
            found += rows(reply.object, "result")
            after = parse_qs(urlsplit(word(part(reply.object, "_metadata"), "next")).query).get("page_token", [""])[0]
            if not after or after == page.get("page_token"):
                return found
            page["page_token"] = after


class SendGrid(Contacts):
    slug = "sendgrid"
    name = "SendGrid"
    page = f"{API}/contacts"
    remark = "A contact is told by the identifier that it was made with: name only one type of them in the workspace."
    forms = ("identify",)

    def name_at_vendor(self, form: Any, key: str) -> str:
        """A field's name begins with a letter or `_`, and is none that every contact has."""
        name = in_ascii(key, 94)
        return f"trait_{name}" if name.lower() in TAKEN or name[:1].isdigit() else name

    def trait_at_vendor(self, trait: str) -> str:
        return trait if trait in RESERVED else self.name_at_vendor("identify", trait)

    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        """Find the custom fields by name, whatever its case, and make those that are missing."""
        fields: dict[str, list[str]] = self.memory.setdefault("fields", {})
        wanted = {t: self._fields(call) for t, call in sorted(targets.items())}
        refusals: dict[Target, str] = {}
        if all(name.lower() in fields for told in wanted.values() for name in told):
            return refusals
        reply = yield self.ask("GET", "/marketing/field_definitions")
        if not reply.ok:
            return dict.fromkeys(wanted, f"SendGrid does not show the account's fields: {words_of(reply)}")
        for each in rows(reply.object, "custom_fields"):
            fields[word(each, "name").lower()] = [word(each, "id"), word(each, "field_type")]
        for target, told in wanted.items():
            for name, value in told.items():
                if name.lower() in fields:
                    continue
                kind = "Number" if isinstance(value, int | float) and not isinstance(value, bool) else "Text"
                body = {"name": name, "field_type": kind}
                reply = yield self.ask("POST", "/marketing/field_definitions", json=body)
                if made := word(reply.object, "id"):
                    fields[name.lower()] = [made, kind]
                else:
                    refusals[target] = f"SendGrid does not make the field {name!r}: {words_of(reply)}"
        return refusals

    def _fields(self, call: Call) -> dict[str, Any]:
        """Custom fields of a call and of its sync, with samples of values."""
        sync = self.sync(call)
        traits = {**dict.fromkeys(sync.enrich if sync else ()), **call.traits}
        told = {self.trait_at_vendor(k): value for k, value in traits.items() if k not in RESERVED and k not in NAMES}
        return told | {self.name_at_vendor("identify", call.key): call.value}

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if len(text(call.value)) > MOST:
            return Rejected("too_large", f"a field of SendGrid has room for {MOST} characters")
        for name, most in RESERVED.items():
            if len(text(call.traits.get(name))) > most:
                return Rejected("too_large", f"SendGrid's {name} has room for {most} characters")
        return None

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        """A value of another type than its field would be an error that the job does not name."""
        return (yield from besides(calls, [self._unfit(call) for call in calls], self._write))

    def _unfit(self, call: Call) -> Outcome | None:
        name = self.name_at_vendor("identify", call.key)
        field = self.memory.get("fields", {}).get(name.lower())
        if field is None:
            return Blocked(f"SendGrid has no field {name!r}", prepare=True)
        if field[1] == "Number" and not isinstance(call.value, int | float | None):
            return Rejected("invalid_value", f"SendGrid's field {name!r} takes numbers only")
        return None

    def _write(self, calls: list[Call]) -> Conversation:
        contacts = [self._contact([calls[place] for place in each]) for each in units(self, calls).values()]
        return (yield from self.upsert(calls, contacts, []))

    def _contact(self, calls: Sequence[Call]) -> dict[str, Any]:
        kind, value = whom(calls[0])
        contact: dict[str, Any] = {kind: value}
        custom: dict[str, Any] = {}
        for call in calls:
            traits = call.traits
            contact |= {
                NAMES[k]: traits[k] for k in NAMES if isinstance(traits.get(k), str) and NAMES[k] not in contact
            }
            contact |= {name: text(traits[name]) for name in RESERVED if name in traits}
            known = {self.trait_at_vendor(key) for key in traits} | {self.name_at_vendor("identify", call.key)}
            for name, told in self._fields(call).items():
                field = self.memory["fields"].get(name.lower())
                if field and name in known:
                    custom[field[0]] = fitted(told, field[1])
        return {**contact, "custom_fields": custom}


def whom(call: Call) -> tuple[str, str]:
    """A contact's identifier, as SendGrid calls and keeps it."""
    name = NAMES.get(call.identifier.type, call.identifier.type)
    return name, call.identifier.id.strip().lower() if name == "email" else call.identifier.id


def fitted(value: Any, kind: str) -> Any:
    """As a field of this type takes it; nothing empties it (unsure)."""
    if value is None:
        return None
    if kind == "Number":
        return int(value) if isinstance(value, bool) else value
    if kind == "Date" and isinstance(value, str):
        try:
            return date.fromisoformat(value[:10]).strftime("%m/%d/%Y")
        except ValueError:
            return value
    return text(value)


def wrong_contacts(contacts: Sequence[Mapping[str, Any]], reply: Reply) -> dict[int, str]:
    """Which contacts an answer of 400 names, by place or by address, and what it says of them."""
    found: dict[int, str] = {}
    for error in rows(reply.object, "errors"):
        words = word(error, "message")
        place = re.search(r"contacts\[(\d+)\]", word(error, "field"))
        if place and int(place[1]) < len(contacts):
            found[int(place[1])] = words
        quoted = {each.lower() for each in re.findall(r"'([^']+)'", words)}
        if not place and quoted:
            known = (i for i, contact in enumerate(contacts) if quoted & {str(contact.get(n)) for n in NAMES.values()})
            found |= dict.fromkeys(known, words)
    return found


def words_of(reply: Reply) -> str:
    return "; ".join(word(error, "message") for error in rows(reply.object, "errors")) or reply.words()
