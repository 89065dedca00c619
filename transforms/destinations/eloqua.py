"""Oracle Eloqua: fields of contacts, and shared contact lists, by imports of the Bulk API. Events are not written."""

from collections.abc import Generator, Hashable, Mapping, Sequence
from typing import Annotated, Any, ClassVar
from urllib.parse import quote, urlsplit

from msgspec import Meta, Struct

from schemas.outcomes import Later, Submitted
from schemas.workspace import Form
from transforms.destinations import personal
from transforms.destinations.contract import (
    Batch,
    Blocked,
    Call,
    Conversation,
    Delivered,
    Destination,
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
    form_of,
    refused,
    says_nothing,
    units,
)
from transforms.destinations.eloqua_shapes import (
    EMAIL,
    Field,
    Pod,
    field_of,
    fields_in,
    fitted,
    plain,
    quoted,
    words_of,
)
from transforms.destinations.names import cut
from transforms.destinations.reading import items, lose, rows, word
from transforms.destinations.safety import check_texts

BULK, REST = "/api/bulk/2.0", "/api/REST/1.0"
LIMITS = "https://docs.oracle.com/en/cloud/saas/marketing/eloqua-develop/Developers/BulkAPI/Reference/bulk-limits.htm"
PAGE = 1_000
POLL = 10.0  # seconds between questions about a sync


class Eloqua(Destination):
    slug = "eloqua"
    name = "Oracle Eloqua"
    page = "https://docs.oracle.com/en/cloud/saas/marketing/eloqua-develop/Developers/BulkAPI/bulk-api.htm"
    remark = "A contact field is found by its name, whatever its case, blanks and signs, and made where it is missing."
    forms = ("identify", "list")
    identifiers = ("email",)
    limits = (Limit(2_000, 3_600.0, "imports", LIMITS),)
    batch = Batch(5_000, 8_000_000, at_once=2, requests=3)  # 32 MB are taken
    flush_every: ClassVar[Mapping[Form, float]] = {"list": 3_600.0}
    forgets = True
    auth = Pod()

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one company's instance."""

        company: Annotated[str, Meta(pattern=r"^[^\\:]+$", description="Company name, as you type it to sign in.")]
        user: Annotated[str, Meta(pattern=r"^[^\\:]+$", description="A user that may use the Bulk API.")]
        password: Annotated[Secret, Meta(description="Password of this user.")]

        def __post_init__(self) -> None:
            check_texts(self)

    settings: Settings

    def tenant(self) -> str:
        return f"{self.slug}:{self.settings.company.lower()}"

    def limit_group(self) -> str:
        return f"{self.slug}-{self.settings.company.lower()}"

    def name_at_vendor(self, form: Form, key: str) -> str:
        """A list's name; fields are found by what is left of theirs without blanks and signs."""
        return cut(key, key, 100) if form == "list" else plain(key)

    # -- fields and lists
    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        """Find the fields, find or make the lists; keep what they are called in imports."""
        refusals: dict[Target, str] = {}
        wanted = {target: call for target, call in sorted(targets.items()) if target.form == "identify"}
        if any(self._missing(call) for call in wanted.values()):
            found = yield from self._fields()
            if isinstance(found, str):
                return dict.fromkeys(wanted, found)
            self.memory["fields"] = found
            for target, call in wanted.items():
                if why := (yield from self._make_fields(target, call)):
                    refusals[target] = why
        for target in sorted(target for target in targets if target.form == "list"):
            if why := (yield from self._have_list(target)):
                refusals[target] = why
        return refusals

    def _missing(self, call: Call) -> str:
        """A name that no field has; "" where all are there."""
        fields: dict[str, Any] = self.memory.get("fields", {})
        return next((name for name in self._told(call) if field_of(fields, name) is None), "")

    def _make_fields(self, target: Target, call: Call) -> Generator[Request, Reply, str]:
        """Make the fields of a call that are missing; why not, or ""."""
        fields: dict[str, list[str]] = self.memory["fields"]
        for name, value in self._told(call).items():
            if field_of(fields, name):
                continue
            kind = "numeric" if isinstance(value, int | float) and not isinstance(value, bool) else "text"
            body = {
                "type": "ContactField",
                "name": name,
                "dataType": kind,
                "displayType": "text",
                "updateType": "always",
            }
            reply = yield self._ask("POST", f"{REST}/assets/contact/field", json=body)
            if not (internal := word(reply.object, "internalName")):
                return f"Eloqua does not make the contact field {name!r}: {words_of(reply)}"
            fields[plain(name)] = [internal, kind]
            if name == call.key:
                self.made.add(target)
        return ""

    def _fields(self) -> Generator[Request, Reply, dict[str, list[str]] | str]:
        """All contact fields; or why there are none."""
        found: dict[str, list[str]] = {}
        offset = 0
        while True:
            page = {"limit": str(PAGE), "offset": str(offset)}
            reply = yield self._ask("GET", f"{BULK}/contacts/fields", params=page)
            if not reply.ok:
                return f"Eloqua does not show the contact fields: {words_of(reply)}"
            found |= fields_in(reply)
            offset += PAGE
            if reply.object.get("hasMore") is not True or not items(reply.object, "items"):
                return found

    def _have_list(self, target: Target) -> Generator[Request, Reply, str]:
        """Why a list cannot be had; "" if it can."""
        lists: dict[str, str] = self.memory.setdefault("lists", {})
        if target.key in lists:
            return ""
        name = self.name_at_vendor("list", target.key)
        query = {"search": f"name={quoted(name)}", "depth": "minimal", "count": "100"}
        reply = yield self._ask("GET", f"{REST}/assets/contact/lists", params=query)
        if not reply.ok:
            return f"Eloqua does not show its contact lists: {words_of(reply)}"
        known = [word(each, "id") for each in rows(reply.object, "elements") if word(each, "name") == name]
        if not known:
            reply = yield self._ask("POST", f"{REST}/assets/contact/list", json={"name": name})
            if not (made := word(reply.object, "id")):
                return f"Eloqua does not make the list {name!r}: {words_of(reply)}"
            self.made.add(target)
            known = [made]
        lists[target.key] = known[0]
        return ""

    # -- imports
    def route(self, call: Call) -> str:
        """Rows of an import have the same columns."""
        return f"{call.kind}:{call.key}"

    def batch_of(self, route: str) -> Batch:
        return Batch() if route.startswith("delete") else self.batch

    def unit(self, call: Call) -> Hashable:
        """One row of an address, in any case: Eloqua drops a second one."""
        return (call.kind, call.key, personal.email(call.identifier.id))

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if not personal.email(call.identifier.id):
            return Rejected("invalid_identifier", "Eloqua takes no such e-mail address: expected name@host")
        return None

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        if form_of(calls[0]) == "list":
            return (yield from self._change(calls))
        told: dict[int, Outcome] = {}
        groups: dict[tuple[str, ...], dict[int, dict[str, str]]] = {}
        for places in units(self, calls).values():
            row = self._row([calls[place] for place in places])
            if isinstance(row, dict):
                groups.setdefault(tuple(sorted(row)), {})[places[0]] = row
            told |= dict.fromkeys(places, row if not isinstance(row, dict) else Delivered())
        for columns, members in groups.items():
            definition = self._definition("profilecast contacts", columns)
            outcome = yield from self._import(",".join(columns), definition, list(members.values()))
            if isinstance(outcome, Blocked) and outcome.prepare:
                self.memory.pop("fields", None)
            emails = {row[EMAIL] for row in members.values()}
            told |= {p: outcome for p, call in enumerate(calls) if told[p] == Delivered() and _email(call) in emails}
        return [told[place] for place in range(len(calls))]

    def _change(self, calls: Sequence[Call]) -> Conversation:
        """Put people on a list, or take them off it. An import makes who is not there: whoever leaves was there."""
        key, action = calls[0].key, "add" if calls[0].kind == "add" else "remove"
        listed = self.memory.get("lists", {}).get(key)
        if listed is None:
            return all_of(calls, Blocked(f"Eloqua has no contact list {key!r}", prepare=True))
        members = [{EMAIL: email} for email in dict.fromkeys(map(_email, calls))]
        actions = [{"action": action, "destination": f"{{{{ContactList[{listed}]}}}}"}]
        definition = {**self._definition(f"profilecast {action} {listed}", (EMAIL,)), "syncActions": actions}
        outcome = yield from self._import(f"{action}:{listed}", definition, members)
        if isinstance(outcome, Blocked) and outcome.prepare:
            lose(self.memory["lists"], key, listed)
        return all_of(calls, outcome)

    def _definition(self, name: str, columns: Sequence[str]) -> dict[str, Any]:
        return {
            "name": name,
            "fields": {column: f"{{{{Contact.Field({column})}}}}" for column in columns},
            "identifierFieldName": EMAIL,
            "updateRule": "always",
            "isSyncTriggeredOnImport": True,
        }

    def _import(
        self, name: str, definition: dict[str, Any], members: list[dict[str, str]]
    ) -> Generator[Request, Reply, Outcome]:
        """Give rows to an import, which is defined once; what became of all of them."""
        known: dict[str, str] = self.memory.setdefault("imports", {})
        if name not in known:
            reply = yield self._ask("POST", f"{BULK}/contacts/imports", json=definition)
            if not (uri := word(reply.object, "uri")):
                return Blocked(f"Eloqua does not define the import: {words_of(reply)}", prepare=True)
            known[name] = uri
        uri = known[name]
        reply = yield self._ask("POST", f"{BULK}{uri}/data", json=members, endpoint="imports")
        if reply.status == 404:
            lose(known, name, uri)
            return Later(words="the import's definition was deleted at Eloqua")
        if not reply.ok:
            return refused(reply, words=words_of(reply))
        sync = word(reply.object, "uri")  # unsure: of an import that syncs by itself, the answer names its sync
        return Submitted(sync, POLL) if sync.startswith("/syncs/") else Delivered(unconfirmed=True)

    def collect(self, job: str, calls: Sequence[Call]) -> Conversation:
        reply = yield self._ask("GET", f"{BULK}{job}")
        match word(reply.object, "status"):
            case "pending" | "active":
                return all_of(calls, Submitted(job, POLL))
            case "success":
                return all_of(calls, Delivered())
            case "warning":
                found = yield from self._rejects(job)
                return [found.get(_email(call), Delivered()) for call in calls]
            case "error":
                return all_of(calls, (yield from self._failed(job, calls[0])))
        return all_of(calls, Later(words=f"Eloqua does not say what became of {job}"))

    def _rejects(self, job: str) -> Generator[Request, Reply, dict[str, Outcome]]:
        """The rows of a sync that were not taken, by address."""
        found: dict[str, Outcome] = {}
        offset = 0
        while True:
            page = {"limit": str(PAGE), "offset": str(offset)}
            reply = yield self._ask("GET", f"{BULK}{job}/rejects", params=page)
            for each in rows(reply.object, "items"):
                values = each.get("fieldValues")
                address = personal.email(word(values, EMAIL))
                reason: Reason = "invalid_identifier" if word(each, "statusCode") == "ELQ-00002" else "invalid_value"
                found[address] = Rejected(reason, word(each, "message") or word(each, "statusCode"))
            offset += PAGE
            if reply.object.get("hasMore") is not True or not items(reply.object, "items"):
                return found

    def _failed(self, job: str, call: Call) -> Generator[Request, Reply, Outcome]:
        """A sync that fails as a whole is the set-up's: what it needs was deleted, or the instance is full."""
        reply = yield self._ask("GET", f"{BULK}{job}/logs", params={"limit": "100"})
        said = [word(each, "message") for each in rows(reply.object, "items") if word(each, "severity") == "error"]
        words = f"Eloqua's import failed: {'; '.join(said) or 'it does not say why'}"
        lists: dict[str, str] = self.memory.get("lists", {})
        listed = lists.get(call.key) if form_of(call) == "list" else None
        if listed:
            reply = yield self._ask("GET", f"{REST}/assets/contact/list/{listed}", params={"depth": "minimal"})
            if reply.status == 404:
                lose(lists, call.key, listed)
                return Blocked(f"the contact list {call.key!r} was deleted at Eloqua", prepare=True, lost=True)
        return Blocked(words)

    def forget(self, calls: Sequence[Call]) -> Conversation:
        """Delete the contact of an address; who is not there is deleted."""
        query = {"search": f"emailAddress={quoted(_email(calls[0]))}", "depth": "minimal", "count": "10"}
        reply = yield self._ask("GET", f"{REST}/data/contacts", params=query)
        if not reply.ok:
            return all_of(calls, refused(reply, words=words_of(reply)))
        for contact in (word(each, "id") for each in rows(reply.object, "elements")):
            reply = yield self._ask("DELETE", f"{REST}/data/contact/{quote(contact, safe='')}")
            if not (reply.ok or reply.status == 404):
                return all_of(calls, refused(reply, words=words_of(reply)))
        return all_of(calls, Delivered())

    # -- rows
    def _told(self, call: Call) -> dict[str, Any]:
        return {**{k: v for k, v in call.traits.items() if k != "email"}, call.key: call.value}

    def _row(self, calls: Sequence[Call]) -> dict[str, str] | Outcome:
        """What an import has of an address; or what is wrong with it."""
        fields: dict[str, Any] = self.memory.get("fields", {})
        row = {EMAIL: _email(calls[0])}
        for name, value in (pair for call in calls for pair in self._told(call).items()):
            field: Field | None = field_of(fields, name)
            if field is None:
                return Blocked(f"Eloqua has no contact field {name!r}", prepare=True)
            fit, why = fitted(value, field.kind)
            if why:
                return Rejected("invalid_value", f"Eloqua's field {name!r} {why}")
            row[field.name] = fit
        return row

    # -- requests and answers
    def _ask(self, method: str, path: str, **more: Any) -> Request:
        return Request(method, path, **more)

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        if says_nothing(request, reply):
            return Verdict("transient", words=reply.words())
        path = urlsplit(request.url).path
        if reply.status == 413:
            return Verdict("stop", words=f"Eloqua has no room left for data to import. {words_of(reply)}")
        if reply.status in (400, 404, 409) and not path.endswith(("/data", "/fields")):
            return Verdict("answered")
        if reply.status == 404 and path.endswith("/data"):
            return Verdict("answered")
        return by_status(reply, items)


def _email(call: Call) -> str:
    return personal.email(call.identifier.id)
