"""Mailchimp: merge fields, events and static segments of one audience. https://mailchimp.com/developer/marketing/api/"""

from collections.abc import Generator, Mapping, Sequence
from hashlib import md5
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct

from transforms.destinations.auth import Basic
from transforms.destinations.contract import (
    CAPS_TABLE,
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
    says_nothing,
    timestamp,
    units,
)
from transforms.destinations.names import cut, in_ascii
from transforms.destinations.plain import text
from transforms.destinations.reading import count, lose, rows, word
from transforms.destinations.safety import check_texts

API = "https://mailchimp.com/developer/marketing/api/"
# Fields that every audience begins with, by the traits that fill them.
STANDARD = {"first_name": "fname", "last_name": "lname"}
# Tags with a meaning of their own in Mailchimp's mails (unsure: from its help pages), and those of other types.
RESERVED = {
    "address",
    "archive",
    "birthday",
    "date",
    "email",
    "forward",
    "interests",
    "phone",
    "rewards",
    "to",
    "unsub",
}
MOST = 255  # characters of a text field (unsure)
PAGE = 1_000
SILENT = {"unsubscribed", "cleaned", "archived"}  # members whom Mailchimp writes to no more
# What the words of an error in an answer of 200 mean.
WORDS: dict[str, Reason] = {
    "compliance state": "forbidden",
    "forgotten": "forgotten",
    "permanently deleted": "forgotten",
    "fake or invalid": "invalid_identifier",
    "valid email": "invalid_identifier",
}

Written = Generator[Request, Reply, "dict[str, Outcome] | Rejected"]


class Mailchimp(Destination):
    slug = "mailchimp"
    name = "Mailchimp"
    page = API
    remark = "Tags of merge fields have 10 letters: longer keys end in a hash, unless `send_as` gives a short name."
    forms = ("identify", "track", "list")
    identifiers = ("email",)
    limits = (Limit(10, source=CAPS_TABLE),)
    concurrency = (
        9  # 10 simultaneous connections are taken: https://mailchimp.com/developer/marketing/docs/fundamentals/
    )
    batch = Batch(500, 2_000_000)
    flush_every: ClassVar[Mapping[Form, float]] = {"list": 3600.0}
    auth = Basic("profilecast", "{api_key}")

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one audience."""

        api_key: Annotated[Secret, Meta(description="API key: Profile > Extras > API keys.")]
        data_centre: Annotated[str, Meta(pattern="^[a-z0-9-]+$", description="What stands after `-` in the API key.")]
        audience_id: Annotated[str, Meta(pattern="^[A-Za-z0-9]+$", description="Audience > Settings: Audience ID.")]
        new_members: Annotated[
            Literal["subscribed", "pending", "transactional", "unsubscribed"],
            Meta(description="What somebody new to the audience becomes. pending: they are asked by e-mail first."),
        ]

        def __post_init__(self) -> None:
            check_texts(self)

    settings: Settings

    def tenant(self) -> str:
        return f"{self.slug}:{self.settings.data_centre}:{self.settings.audience_id}"

    def name_at_vendor(self, form: Form, key: str) -> str:
        """The tag of a merge field in lower case, or the name of a segment."""
        if form == "list":
            return cut(key, key, 100)
        if form == "track":
            return key
        name = in_ascii(key, 10, lower=True)
        return f"t_{name}"[:10] if name in RESERVED or name in STANDARD.values() else name

    def trait_at_vendor(self, trait: str) -> str:
        return STANDARD.get(trait) or super().trait_at_vendor(trait)

    def event_at_vendor(self, name: str) -> str:
        """2 to 30 letters."""
        return in_ascii(name, 30).ljust(2, "_")

    # -- what the calls need
    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        """Find or make the merge fields and static segments; keep types of the ones, ids of the others."""
        fields: dict[str, str] = self.memory.setdefault("fields", {})
        segments: dict[str, int] = self.memory.setdefault("segments", {})
        wanted = {t: c for t, c in sorted(targets.items()) if t.form == "identify"}
        lists = [t for t in sorted(targets) if t.form == "list" and t.key not in segments]
        refusals: dict[Target, str] = {}
        if any(name not in fields for call in wanted.values() for name, _, _ in self._fields(call)):
            found = yield from self._pages("merge-fields", {}, "merge_fields")
            fields |= {word(each, "tag").lower(): word(each, "type") for each in found}
        for target, call in wanted.items():
            for name, shown, value in self._fields(call):
                if name not in fields and (why := (yield from self._make_field(name, shown, value))):
                    refusals[target] = why
        if lists:
            found = yield from self._pages("segments", {"type": "static"}, "segments")
            there = {word(each, "name"): count(each, "id") for each in reversed(found)}
            for target in lists:
                name = self.name_at_vendor("list", target.key)
                if not there.get(name):
                    reply = yield self._ask("POST", "segments", json={"name": name, "static_segment": []})
                    there[name] = count(reply.object, "id")
                    if there[name]:
                        self.made.add(target)
                    else:
                        refusals[target] = f"Mailchimp does not make the segment {name!r}: {_words(reply)}"
                        continue
                segments[target.key] = there[name]
        return refusals

    def empty(self, key: str, now: float) -> Emptying:
        """A segment that is gone shows when somebody is put into it."""
        segment = self.memory.get("segments", {}).get(key)
        if not segment:
            return False
        body = {"name": self.name_at_vendor("list", key), "static_segment": []}
        reply = yield self._ask("PATCH", f"segments/{segment}", json=body)
        if reply.status == 404:
            return False
        return reply.ok or _words(reply) or f"HTTP {reply.status}"

    def _fields(self, call: Call) -> list[tuple[str, str, Any]]:
        """Names of the merge fields of a call, the keys they are shown by, and samples of values."""
        sync = self.sync(call)
        traits = {**dict.fromkeys(sync.enrich if sync else ()), **call.traits}
        told = [(self.trait_at_vendor(key), key, value) for key, value in traits.items() if key != "email"]
        return [*told, (self.name_at_vendor("identify", call.key), call.key, call.value)]

    def _make_field(self, name: str, shown: str, value: Any) -> Generator[Request, Reply, str]:
        """Make a merge field; why not, or ""."""
        kind = "number" if isinstance(value, int | float) and not isinstance(value, bool) else "text"
        body = {"tag": name.upper(), "name": cut(shown, shown, 50), "type": kind}
        reply = yield self._ask("POST", "merge-fields", json=body)
        if not reply.ok:
            return f"Mailchimp does not make the merge field {name.upper()!r} of {shown!r}: {_words(reply)}"
        self.memory["fields"][name] = kind
        return ""

    def _pages(
        self, path: str, params: Mapping[str, str], name: str
    ) -> Generator[Request, Reply, list[dict[str, Any]]]:
        found: list[dict[str, Any]] = []
        while True:
            page = {**params, "count": str(PAGE), "offset": str(len(found))}
            reply = yield self._ask("GET", path, params=page)
            found += rows(reply.object, name)
            if len(rows(reply.object, name)) < PAGE:
                return found

    # -- calls
    def unit(self, call: Call) -> Any:
        return super().unit(call) if call.kind == "track" else (call.kind, whom(call))

    def batch_of(self, route: str) -> Batch:
        return Batch() if route == "track" else self.batch

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if "@" not in call.identifier.id.strip(" @"):
            return Rejected("invalid_identifier", "Mailchimp takes no such e-mail address")
        if call.kind == "identify" and len(text(call.value)) > MOST:
            return Rejected("too_large", f"a merge field of Mailchimp has room for {MOST} characters")
        return None

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        match calls[0].kind:
            case "track":
                return (yield from self._event(calls))
            case "identify":
                return (yield from self._identify(calls))
            case _:
                return (yield from self._change(calls))

    def _identify(self, calls: Sequence[Call]) -> Conversation:
        fields = self.memory.get("fields", {})
        if missing := next((c.key for c in calls if self.name_at_vendor("identify", c.key) not in fields), None):
            return all_of(calls, Blocked(f"Mailchimp's audience has no merge field of {missing!r}", prepare=True))
        members = {}
        for places in units(self, calls).values():
            told: dict[str, Any] = {}
            for call in (calls[place] for place in places):
                told |= {n.upper(): _value(value, fields.get(n, "text")) for n, _, value in self._told(call)}
            members[whom(calls[places[0]])] = told
        outcomes = yield from self._write(members)
        return [outcomes if isinstance(outcomes, Rejected) else outcomes[whom(call)] for call in calls]

    def _told(self, call: Call) -> list[tuple[str, str, Any]]:
        known = {self.trait_at_vendor(key) for key in call.traits} | {self.name_at_vendor("identify", call.key)}
        return [each for each in self._fields(call) if each[0] in known]

    def _write(self, members: Mapping[str, Mapping[str, Any]], update: bool = True) -> Written:
        """Make who is new with the status of the settings, then change the others without a word of their status.

        That a member keeps its status where none is sent is said of single writes; of batches it is unsure.
        """
        new = [{**_member(*each), "status": self.settings.new_members} for each in members.items()]
        reply = yield self._batch(new, update=False)
        if not reply.ok:
            return refused(reply, words=_words(reply))
        told = _outcomes(reply)
        read = bool(reply.object)  # otherwise everybody may have been there
        there = {e: members[e] for e in (_existing(reply) if read else members) if e in members}
        told |= dict.fromkeys(there, Delivered())
        if there and update:
            reply = yield self._batch([_member(*each) for each in there.items()], update=True)
            why = None if reply.ok else refused(reply, words=_words(reply))
            told |= dict.fromkeys(there, why or Delivered(unconfirmed=True))
            told |= _outcomes(reply)
        return {email: told.get(email, Delivered(unconfirmed=True)) for email in members}

    def _batch(self, members: list[dict[str, Any]], update: bool) -> Request:
        body = {"members": members, "update_existing": update}
        return self._ask("POST", "", json=body, params={"skip_merge_validation": "true"})

    def _event(self, calls: Sequence[Call]) -> Conversation:
        [call] = calls
        told = {name: text(value) for name, value in self.properties(call).items()}
        body = {"name": self.event_at_vendor(self.event(call)), "properties": told, "occurred_at": timestamp(call.at)}
        digest = md5(whom(call).encode(), usedforsecurity=False).hexdigest()
        reply = yield self._ask("POST", f"members/{digest}/events", json=body)
        if reply.status == 404:  # of the member, or of the audience: then the next request is refused
            yield self._ask("GET", "", params={"fields": "id"})
            return [Rejected("not_found", "the audience has no such member: an event makes none")]
        return [Delivered() if reply.ok else refused(reply, words=_words(reply))]

    def _change(self, calls: Sequence[Call]) -> Conversation:
        """Put members into a static segment, or take them out. Who is to be put there is made a member first."""
        key, joins = calls[0].key, calls[0].kind == "add"
        segment = self.memory.get("segments", {}).get(key)
        if segment is None:
            return all_of(calls, Blocked(f"Mailchimp's audience has no segment {key!r}", prepare=True))
        emails = list(dict.fromkeys(map(whom, calls)))
        told: dict[str, Outcome] = {}
        if joins:
            written = yield from self._write({email: {} for email in emails}, update=False)
            if isinstance(written, Rejected):
                return all_of(calls, written)
            told |= written
            emails = [email for email in emails if not isinstance(told[email], Rejected)]
        if emails:
            body = {"members_to_add": emails if joins else [], "members_to_remove": [] if joins else emails}
            reply = yield self._ask("POST", f"segments/{segment}", json=body)
            if reply.status == 404:
                lose(self.memory["segments"], key, segment)
                return all_of(calls, Blocked(f"the segment {key!r} was deleted at Mailchimp", prepare=True, lost=True))
            told |= dict.fromkeys(emails, _segment_outcome(reply))
        return [told[whom(call)] for call in calls]

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        if says_nothing(request, reply):
            return Verdict("transient", words=reply.words())
        if reply.status == 404 and (request.url.endswith("/events") or "/segments/" in request.url):
            return Verdict("answered")
        if reply.status == 403 and not reply.object:  # too much at once, says something ahead of the API
            return Verdict("throttled", words=reply.words())
        return by_status(reply, items)

    def _ask(self, method: str, path: str, **more: Any) -> Request:
        base = f"https://{self.settings.data_centre}.api.mailchimp.com/3.0/lists/{self.settings.audience_id}"
        return Request(method, f"{base}/{path}" if path else base, **more)


def whom(call: Call) -> str:
    return call.identifier.id.strip().lower()


def _member(email: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"email_address": email, **({"merge_fields": fields} if fields else {})}


def _value(value: Any, kind: str) -> Any:
    """As a merge field of this type takes it; nothing empties it."""
    if kind == "number" and isinstance(value, int | float):
        return int(value) if isinstance(value, bool) else value
    return value[:10] if kind == "date" and isinstance(value, str) else text(value)


def _existing(reply: Reply) -> list[str]:
    """Who was in the audience before."""
    errors = rows(reply.object, "errors")
    return [word(e, "email_address").lower() for e in errors if word(e, "error_code") == "ERROR_CONTACT_EXISTS"]


def _outcomes(reply: Reply) -> dict[str, Outcome]:
    """What an answer says of each address."""
    told: dict[str, Outcome] = {}
    for member in [*rows(reply.object, "new_members"), *rows(reply.object, "updated_members")]:
        told[word(member, "email_address").lower()] = Delivered()
        status = word(member, "status")
        if status in SILENT and member in rows(reply.object, "updated_members"):
            words = f"the member is {status}: Mailchimp writes to them no more"
            told[word(member, "email_address").lower()] = Rejected("forbidden", words)
    for error in rows(reply.object, "errors"):
        words, field = word(error, "error"), word(error, "field")
        reason: Reason = "invalid_value" if field and field.lower() != "email_address" else "refused"
        reason = next((why for said, why in WORDS.items() if said in words.lower()), reason)
        told[word(error, "email_address").lower()] = Rejected(reason, words)
    return told


def _segment_outcome(reply: Reply) -> Outcome:
    """Addresses that are not in the audience are passed over without a word."""
    if not reply.ok:
        return refused(reply, words=_words(reply))
    return Delivered(unconfirmed=bool(count(reply.object, "error_count")) or "error_count" not in reply.object)


def _words(reply: Reply) -> str:
    return word(reply.object, "detail") or reply.words()
