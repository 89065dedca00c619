"""Marketo's companies: accounts, by `externalCompanyId`, three hundred in a request.

Their fields are made by hand: the API only shows them. An instance that a CRM is synced with lets nobody write them.
https://experienceleague.adobe.com/en/docs/marketo-developer/marketo/rest/lead-database/companies
"""

import re
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from transforms.destinations.contract import (
    Blocked,
    Call,
    Conversation,
    Delivered,
    Later,
    Outcome,
    Rejected,
    Reply,
    Request,
    Target,
    all_of,
    besides,
    units,
)
from transforms.destinations.marketo_account import (
    DENIED,
    NO_FIELD,
    REASONS,
    SYNCED,
    Account,
    by_place,
    code_of,
    good,
    reason_of,
    said_nothing,
    unread,
    words_of,
)
from transforms.destinations.marketo_shapes import fitted, misfit
from transforms.destinations.reading import count, rows, word

COMPANIES = "/rest/v1/companies"
BY = "externalCompanyId"
LONGEST_ID = 100  # characters of it
# Traits that are fields of every company; any other is a custom field.
STANDARD = {
    "name": "company", "phone": "mainPhone", "website": "website", "industry": "industry", "revenue": "annualRevenue",
    "employees": "numberOfEmployees", "street": "billingStreet", "city": "billingCity", "state": "billingState",
    "postal_code": "billingPostalCode", "country": "billingCountry",
}  # fmt: skip
KEPT = "company_fields"  # in the memory of the connection


class Companies:
    """The companies of one connection."""

    def __init__(self, owner: Account) -> None:
        self._owner = owner

    @property
    def _known(self) -> dict[str, list[Any]]:
        """Name, type and length of fields, by their names in lower case."""
        found: dict[str, list[Any]] = self._owner.memory.get(KEPT, {})
        return found

    def prepare(self, targets: Mapping[Target, Call]) -> Generator[Request, Reply, dict[Target, str]]:
        """Find the fields of companies; the targets that lack one, and why."""
        wanted = {target: self._names(call) for target, call in sorted(targets.items()) if target.form == "group"}
        names = {name.lower() for own in wanted.values() for name in own} - self._known.keys()
        if not names:
            return {}
        reply = yield self._owner.ask("GET", f"{COMPANIES}/describe.json")
        if not good(reply):
            return dict.fromkeys(wanted, f"Marketo does not show the fields of companies: {words_of(reply)}")
        known = self._owner.memory.setdefault(KEPT, {})
        for each in (field for company in rows(reply.object, "result") for field in rows(company, "fields")):
            if (name := word(each, "name")).lower() in names:
                known[name.lower()] = [name, word(each, "dataType"), count(each, "length")]
        refusals: dict[Target, str] = {}
        for target, own in wanted.items():
            if missing := next((name for name in own if name.lower() not in known), ""):
                refusals[target] = (
                    f"Marketo's companies have no field {missing!r}: make it by hand, Admin > Field Management, "
                    "object Company"
                )
        return refusals

    def _names(self, call: Call) -> list[str]:
        """The fields that calls like this one need."""
        sync = self._owner.sync(call)
        traits = dict.fromkeys([*(sync.enrich if sync else ()), *call.traits])
        return [BY, *map(self._name, traits), self._owner.name_at_vendor("group", call.key)]

    def _name(self, trait: str) -> str:
        return STANDARD.get(trait) or self._owner.name_at_vendor("group", trait)

    def _told(self, call: Call) -> dict[str, Any]:
        """What a call sets, by the names of fields."""
        told = {self._name(name): value for name, value in call.traits.items()}
        return told | {self._owner.name_at_vendor("group", call.key): call.value}

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        return (yield from besides(calls, [self._unfit(call) for call in calls], self._write))

    def _unfit(self, call: Call) -> Outcome | None:
        """What needs no request: a field that is not prepared, or a value that a field does not take."""
        for name, value in {BY: call.identifier.id, **self._told(call)}.items():
            field = self._known.get(name.lower())
            if field is None:
                return Blocked(f"Marketo's companies have no field {name!r}", prepare=True)
            if wrong := misfit(value, field):
                return wrong
        return None

    def _write(self, calls: list[Call]) -> Conversation:
        places = units(self._owner, calls).values()
        companies = [self._company([calls[place] for place in each]) for each in places]
        body = {"action": "createOrUpdate", "dedupeBy": "dedupeFields", "input": companies}
        reply = yield self._owner.ask("POST", f"{COMPANIES}.json", json=body)
        found = by_place(reply, len(companies)) if good(reply) else None
        if found is None:
            said = said_nothing(reply)
            return all_of(calls, Delivered(unconfirmed=True)) if said else [self._refused(c, reply) for c in calls]
        row_of = {place: row for each, row in zip(places, found, strict=True) for place in each}
        return [self._outcome(call, row_of[place]) for place, call in enumerate(calls)]

    def _company(self, calls: Sequence[Call]) -> dict[str, Any]:
        told = {name: value for call in calls for name, value in self._told(call).items()}
        fields = {name: self._known[name.lower()] for name in told}
        return {fields[name][0]: fitted(value, fields[name][1]) for name, value in told.items()} | {
            BY: calls[0].identifier.id
        }

    # -- answers
    def _outcome(self, call: Call, row: Mapping[str, Any]) -> Outcome:
        if word(row, "status") in ("created", "updated"):
            return Delivered()
        code, words = reason_of(row)
        if not code:
            return Later(words="Marketo does not say what became of the company")
        return self._of_all(call, code, words) or Rejected(REASONS.get(code, "refused"), words)

    def _refused(self, call: Call, reply: Reply) -> Outcome:
        """What an answer that is about all says of a call."""
        if reply.ok and not code_of(reply):
            return Later(words="Marketo's answer has not a row for each company")
        return self._of_all(call, code_of(reply), words_of(reply)) or unread(reply)

    def _of_all(self, call: Call, code: str, words: str) -> Outcome | None:
        """What is not this company's fault: a field is gone, or nobody may write companies."""
        if code == SYNCED:
            return Blocked(f"a CRM is synced with this Marketo instance, so only that writes its companies: {words}")
        if code in DENIED:
            return Blocked(f"Marketo does not let this user write companies (permission Read-Write Company): {words}")
        if code != NO_FIELD:
            return None
        own = {name.lower() for name in self._told(call)}
        named = {name.lower() for name in re.findall(r"'(\w+)'", words)} or own
        if not own & named:
            return Later(words=words)
        lost = [self._known.pop(name, None) for name in own & named]
        return Blocked(f"Marketo: {words}", prepare=True, lost=any(lost))
