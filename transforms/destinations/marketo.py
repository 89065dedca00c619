"""Marketo: fields of leads and companies, and custom activities of one type. https://experienceleague.adobe.com/en/docs/marketo-developer"""

import re
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from schemas.outcomes import Later
from schemas.workspace import Connection, Workspace
from transforms.destinations.contract import (
    Blocked,
    Call,
    Conversation,
    Delivered,
    Form,
    Outcome,
    Preparation,
    Rejected,
    Reply,
    Request,
    Target,
    all_of,
    besides,
    timestamp,
    units,
)
from transforms.destinations.marketo_account import (
    GUIDE,
    LONGEST,
    MOST,
    NAMES,
    NO_FIELD,
    NO_LEAD,
    REASONS,
    Access,
    Account,
    by_place,
    code_of,
    good,
    reason_of,
    said_nothing,
    unread,
    whom,
    words_of,
)
from transforms.destinations.marketo_companies import LONGEST_ID, Companies
from transforms.destinations.marketo_shapes import ACTIVITY, ATTRIBUTES, STANDARD, TAKEN, fitted, misfit
from transforms.destinations.names import in_ascii
from transforms.destinations.plain import text
from transforms.destinations.reading import count, part, rows, word

TYPES = "/rest/v1/activities/external"

SAID = Delivered(unconfirmed=True)  # where an answer is good by its status, and cannot be read


class Marketo(Account):
    slug = "marketo"
    name = "Marketo"
    page = GUIDE
    remark = (
        "Fields of leads (`userId` and `anonymousId` too) and one type of custom activity are made; fields stay for "
        "good. An account is a company; fields of companies are made by hand. Which leads belong to it is not told."
    )
    forms = ("identify", "track", "group")
    identifiers = tuple(NAMES)
    one_record = {"user_id": "attach", "anonymous_id": "none"}
    forgets = True

    class Settings(Access, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one instance."""

    def __init__(self, workspace: Workspace, connection: Connection) -> None:
        super().__init__(workspace, connection)
        self._companies = Companies(self)

    def name_at_vendor(self, form: Form, key: str) -> str:
        """The API name of a field: a letter first; none that every lead has."""
        if form == "track":
            return key
        name = in_ascii(key, 100)
        return f"t_{name}" if name.lower() in TAKEN or not name[:1].isalpha() else name

    def trait_at_vendor(self, trait: str) -> str:
        return STANDARD.get(trait) or NAMES.get(trait) or super().trait_at_vendor(trait)

    # -- what the calls need
    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        """Find or make fields, and the type of activity; keep names and types of fields, and the id of the other."""
        refusals = yield from self._companies.prepare(targets)
        wanted = {target: self._fields(call) for target, call in sorted(targets.items()) if target.form != "group"}
        if not wanted:
            return refusals
        known: dict[str, list[Any]] = self.memory.setdefault("fields", {})
        if any(name.lower() not in known for told in wanted.values() for name in told):
            reply = yield self.ask("GET", "/rest/v1/leads/describe.json")
            if not good(reply):
                return refusals | dict.fromkeys(wanted, f"Marketo does not show the fields of leads: {words_of(reply)}")
            names = {name.lower() for told in wanted.values() for name in told}
            for each in rows(reply.object, "result"):
                if (name := word(part(each, "rest"), "name")).lower() in names:
                    known[name.lower()] = [name, word(each, "dataType"), count(each, "length")]
        before = {*known}
        for target, told in wanted.items():
            for name, value in told.items():
                if name.lower() not in known and (why := (yield from self._make_field(name, value))):
                    refusals[target] = why
                    break
                if name == self.name_at_vendor("identify", target.key) and name.lower() not in before:
                    self.made.add(target)
        events = [target for target in wanted if target.form == "track" and target not in refusals]
        if events and not self.memory.get("activity") and (why := (yield from self._make_activity())):
            refusals |= dict.fromkeys(events, why)
        return refusals

    def _fields(self, call: Call) -> dict[str, Any]:
        """Fields of a call, with samples of their values; the one that a lead is known by is one of them."""
        told: dict[str, Any] = {NAMES[call.identifier.type]: ""}
        if call.kind == "identify":
            sync = self.sync(call)
            traits = {**dict.fromkeys(sync.enrich if sync else ()), **call.traits}
            told |= {self.trait_at_vendor(name): value for name, value in traits.items()}
            told[self.name_at_vendor("identify", call.key)] = call.value
        return told

    def _make_field(self, name: str, value: Any) -> Generator[Request, Reply, str]:
        """Make a field; why not, or ""."""
        kind = "boolean" if isinstance(value, bool) else "float" if isinstance(value, int | float) else "string"
        kind = "text" if isinstance(value, list | dict) else kind
        body = {"displayName": name.replace("_", " ").strip(), "name": name, "dataType": kind}
        reply = yield self.ask("POST", "/rest/v1/leads/schema/fields.json", json={"input": [body]})
        row = next(iter(rows(reply.object, "result")), {})
        if not good(reply) or word(row, "status") not in ("created", "updated"):
            return f"Marketo does not make the field {name!r}: {reason_of(row)[1] or words_of(reply)}"
        self.memory["fields"][name.lower()] = [name, kind, LONGEST if kind == "string" else 0]
        return ""

    def _make_activity(self) -> Generator[Request, Reply, str]:
        """Make the type of activity, or what is missing of it, and approve it; why not, or ""."""
        own, words = f"{TYPES}/type/{ACTIVITY['apiName']}", ""
        for attempt in ("find", "make"):
            reply = yield self.ask("GET", f"{TYPES}/types.json")
            found = next((r for r in rows(reply.object, "result") if word(r, "apiName") == ACTIVITY["apiName"]), {})
            if count(found, "id") and word(found, "status").startswith("approved"):
                self.memory["activity"] = count(found, "id")
                return ""
            if attempt == "make" or not good(reply):
                break
            steps = [] if found else [self.ask("POST", f"{TYPES}/type.json", json=ACTIVITY)]
            steps += [
                self.ask("POST", f"{own}/attributes/create.json", json={"attributes": ATTRIBUTES}),
                self.ask("POST", f"{own}/approve.json"),
            ]
            for step in steps:
                reply = yield step
                words = words if good(reply) else words_of(reply)
        return f"Marketo has no type of activity {ACTIVITY['name']!r}: {words or words_of(reply)}"

    # -- calls
    def route(self, call: Call) -> str:
        """All leads of a request are known by the same field."""
        return f"{call.kind}:{call.identifier.type}"

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if call.kind == "group" and len(call.identifier.id) > LONGEST_ID:
            return Rejected("invalid_identifier", f"an account's id has at most {LONGEST_ID} characters at Marketo")
        if call.kind == "track" and len(self.event(call)) > LONGEST:
            return Rejected("too_large", f"the name of an event has at most {LONGEST} characters at Marketo")
        return None

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        if calls[0].kind == "group":
            return (yield from self._companies.deliver(calls))
        write = self._track if calls[0].kind == "track" else self._identify
        return (yield from besides(calls, [self._unfit(call) for call in calls], write))

    def _unfit(self, call: Call) -> Outcome | None:
        """What needs no request: a field or type that is not prepared, or a value that a field does not take."""
        known = self.memory.get("fields", {})
        told = {NAMES[call.identifier.type]: whom(call), **(self._told(call) if call.kind == "identify" else {})}
        for name, value in told.items():
            field = known.get(name.lower())
            if field is None:
                return Blocked(f"Marketo's leads have no field {name!r}", prepare=True)
            if wrong := misfit(value, field):
                return wrong
        if call.kind == "track" and not self.memory.get("activity"):
            return Blocked(f"Marketo has no type of activity {ACTIVITY['name']!r}", prepare=True)
        return None

    def _told(self, call: Call) -> dict[str, Any]:
        """What a call sets, by the names of fields."""
        told = {self.trait_at_vendor(name): value for name, value in call.traits.items()}
        return told | {self.name_at_vendor("identify", call.key): call.value}

    def _identify(self, calls: list[Call]) -> Conversation:
        known = self.memory["fields"]
        groups = [[calls[place] for place in places] for places in units(self, calls).values()]
        leads = []
        for group in groups:
            sets = {name: value for call in group for name, value in self._told(call).items()}
            by = {NAMES[group[0].identifier.type]: whom(group[0])}
            fields = {known[name.lower()][0]: fitted(value, known[name.lower()][1]) for name, value in sets.items()}
            leads.append(fields | by)
        told = yield from self._write(leads, NAMES[calls[0].identifier.type])
        if isinstance(told, Reply):
            return all_of(calls, SAID) if said_nothing(told) else [self._refused(call, told) for call in calls]
        rows_of = {whom(group[0]): row for group, row in zip(groups, told, strict=True)}
        return [self._outcome(call, rows_of[whom(call)]) for call in calls]

    def _write(self, leads: list[dict[str, Any]], by: str) -> Generator[Request, Reply, "list[dict[str, Any]] | Reply"]:
        """Make or change leads; a row for each, in their order."""
        body = {"action": "createOrUpdate", "lookupField": by, "input": leads}
        reply = yield self.ask("POST", "/rest/v1/leads.json", json=body)
        found = by_place(reply, len(leads)) if good(reply) else None
        return reply if found is None else found

    def _track(self, calls: list[Call]) -> Conversation:
        """Activities are of leads by id: whoever is not there yet is made. A repeated activity is there twice."""
        by = NAMES[calls[0].identifier.type]
        people = list(dict.fromkeys(map(whom, calls)))
        told = yield from self._write([{by: who} for who in people], by)
        if isinstance(told, Reply):
            return [self._refused(call, told) for call in calls]
        leads = dict(zip(people, told, strict=True))
        known = [None if count(leads[whom(c)], "id") else self._outcome(c, leads[whom(c)], made=True) for c in calls]
        ids = {who: count(row, "id") for who, row in leads.items()}
        return (yield from besides(calls, known, lambda left: self._add(left, ids)))

    def _add(self, calls: list[Call], ids: Mapping[str, int]) -> Conversation:
        activities = [self._activity(call, ids[whom(call)]) for call in calls]
        reply = yield self.ask("POST", f"{TYPES}.json", json={"input": activities})
        found = by_place(reply, len(calls)) if good(reply) else None
        if found is None:
            return all_of(calls, SAID) if said_nothing(reply) else [self._refused(call, reply) for call in calls]
        return [self._outcome(call, row) for call, row in zip(calls, found, strict=True)]

    def _activity(self, call: Call, lead: int) -> dict[str, Any]:
        told = {
            "event": self.event(call),
            "value": text(call.value)[:LONGEST],
            "properties": text(self.properties(call)),
        }
        return {
            "leadId": lead,
            "activityDate": timestamp(call.at),
            "activityTypeId": self.memory["activity"],
            "primaryAttributeValue": call.key,
            "attributes": [{"apiName": name, "value": value} for name, value in told.items()],
        }

    def forget(self, calls: Sequence[Call]) -> Conversation:
        """Every lead with such an identifier is deleted; who is not there is forgotten already."""
        found, failed = yield from self.find(calls)
        if failed:
            return [self._refused(call, failed) for call in calls]
        ids = list(dict.fromkeys(id for call in calls for id in found.get(whom(call).lower(), ())))
        wrong: dict[int, Outcome] = {}
        for first in range(0, len(ids), MOST):
            some = ids[first : first + MOST]
            reply = yield self.ask("POST", "/rest/v1/leads/delete.json", json={"input": [{"id": id} for id in some]})
            if not good(reply):
                return [self._refused(call, reply) for call in calls]
            for row in rows(reply.object, "result"):
                code, words = reason_of(row)
                if word(row, "status") != "deleted" and code != NO_LEAD:
                    wrong[count(row, "id")] = Rejected(REASONS.get(code, "refused"), words)
        own = [[wrong[id] for id in found.get(whom(call).lower(), ()) if id in wrong] for call in calls]
        return [outcomes[0] if outcomes else Delivered() for outcomes in own]

    # -- answers
    def _outcome(self, call: Call, row: Mapping[str, Any], made: bool = False) -> Outcome:
        """What a row of the answer says of a call. `made`: it should have had an id."""
        if word(row, "status") in ("created", "updated", "added") and not made:
            return Delivered()
        code, words = reason_of(row)
        if not code:
            return Later(words="Marketo does not say what became of the lead")
        return self._no_field(call, words) if code == NO_FIELD else Rejected(REASONS.get(code, "refused"), words)

    def _refused(self, call: Call, reply: Reply) -> Outcome:
        """What an answer that is about all says of a call."""
        if reply.ok and not code_of(reply):
            return Later(words="Marketo's answer has not a row for each record")
        return self._no_field(call, words_of(reply)) if code_of(reply) == NO_FIELD else unread(reply)

    def _no_field(self, call: Call, words: str) -> Outcome:
        """A field was deleted or hidden: it is looked for again; calls without it go again without those that wait."""
        own = {name.lower() for name in self._fields(call)}
        named = {name.lower() for name in re.findall(r"'(\w+)'", words)} or own
        if not own & named:
            return Later(words=words)
        known = self.memory.get("fields", {})
        lost = [known.pop(name, None) for name in own & named]
        return Blocked(f"Marketo: {words}", prepare=True, lost=any(lost))
