"""HubSpot's companies: accounts, by a property that holds the account's id, a hundred at a time."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

from transforms.destinations.contract import (
    Blocked,
    Call,
    Conversation,
    Destination,
    Outcome,
    Rejected,
    Reply,
    Request,
    Target,
    all_of,
)
from transforms.destinations.hubspot_contacts import write
from transforms.destinations.hubspot_members import belong
from transforms.destinations.hubspot_setup import Need, SetUp, missing_fields, own_outcome
from transforms.destinations.hubspot_shapes import COMPANIES, field_of, property_name, text

KEPT = "company_properties"  # in the memory of the connection
# HubSpot's own names of traits that every company has; `name`, `domain`, `website` and others are called the same.
STANDARD = {"postal_code": "zip", "street": "address", "employees": "numberofemployees"}


class Companies:
    """The companies of one connection."""

    def __init__(self, id_property: str, owner: Destination) -> None:
        """`id_property`: companies are found by it, as its values are unique."""
        self._by, self._owner = id_property, owner
        self._set_up = SetUp("companies", "company", KEPT)

    def prepare(self, targets: Mapping[Target, Call]) -> Generator[Request, Reply, dict[Target, str]]:
        """Create the company properties that are missing; keep their names. The targets that lack one, and why."""
        accounts = {target: call for target, call in targets.items() if target.form in ("group", "member")}
        if not accounts:
            return {}
        self._set_up.missing.clear()
        known: list[str] = self._owner.memory.setdefault(KEPT, [])
        fields = missing_fields((pair for call in accounts.values() for pair in self._fields(call)), known)
        if fields:
            yield from self._set_up.properties(fields, known)
        refusals: dict[Target, str] = {}
        for target, call in accounts.items():
            needs: list[Need] = [("property", name) for name, _ in self._fields(call)]
            if missing := [need for need in needs if need in self._set_up.missing]:
                refusals[target] = self._set_up.missing[missing[0]].words
            if not self._set_up.created.isdisjoint(needs[1:]):  # the first is the id's
                self._owner.made.add(target)
        return refusals

    def _fields(self, call: Call) -> Iterator[tuple[str, dict[str, Any]]]:
        """Definitions of the properties that calls like this one need; first that of the id."""
        yield self._by, field_of(self._by, self._by, "", "companyinformation") | {"hasUniqueValue": True}
        if call.kind == "member":
            return
        sync = self._owner.sync(call)
        for key, name, value in _named(call, dict.fromkeys(sync.enrich, "") if sync else {}):
            yield name, field_of(name, key, value, "companyinformation")

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        companies: dict[str, dict[str, str]] = {}
        for call in calls:
            fields = {name: text(value) for _, name, value in _named(call)}
            companies.setdefault(call.identifier.id, {}).update(fields)
        inputs = [
            ([account], {"id": account, "idProperty": self._by, "properties": fields})
            for account, fields in companies.items()
        ]
        lost: set[str] = set()
        results = yield from write("upsert", inputs, lost, objects=COMPANIES)
        missed = Rejected("conflict", "HubSpot neither finds the company nor makes it")
        told = [self._own(call, results.get(call.identifier.id, missed), companies) for call in calls]
        return self._set_up.settle(calls, told, lost, self._owner.memory, self._needs)

    def belong(self, calls: Sequence[Call], id_property: str, lost: set[str]) -> Conversation:
        """Associate contacts with their companies, and with the others no more; `lost` as in `Lists.deliver`."""
        gone: set[str] = set()
        outcomes = yield from belong(calls, id_property, self._by, lost, gone)
        return all_of(calls, self._set_up.lose_property(self._by, self._owner.memory)) if gone else outcomes

    def _own(self, call: Call, now: Outcome, sent: Mapping[str, Mapping[str, str]]) -> Outcome:
        if isinstance(now, Rejected) and now.reason == "forbidden":  # the token has no such scope: nobody's fault
            return Blocked(f"HubSpot does not take companies (scope crm.objects.companies.write): {now.words}")
        key = (property_name(call.key), self._owner.is_audience(call))
        return own_outcome(now, sent[call.identifier.id], key, [name for _, name, _ in _named(call)], "company")

    def _needs(self, call: Call) -> Iterator[Need]:
        yield "property", self._by
        yield from (("property", name) for _, name, _ in _named(call))


def _named(call: Call, more: Mapping[str, Any] | None = None) -> Iterator[tuple[str, str, Any]]:
    """Our name, HubSpot's name and value of each property that a call sets."""
    for trait, value in {**(more or {}), **call.traits}.items():
        if trait != call.key:
            yield trait, STANDARD.get(trait) or property_name(trait), value
    yield call.key, property_name(call.key), call.value
