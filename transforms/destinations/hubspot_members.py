"""Who belongs to HubSpot's companies: associations of contacts, of a hundred people in one conversation.

    contacts: read, make who is missing ──┐
                                          ├─ associate, and end other associations
    companies: read, make what is missing ┘

https://developers.hubspot.com/docs/api-reference/legacy/crm/associations/associate-records/guide
"""

from collections.abc import Generator, Iterator, Sequence
from typing import Any, TypeVar

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
    all_of,
)
from transforms.destinations.hubspot_contacts import make, read, write
from transforms.destinations.hubspot_shapes import ASSOCIATIONS, COMPANIES, name_of, refusal
from transforms.destinations.reading import items, part, rows, word

T = TypeVar("T")

MOST = 100  # companies, or pairs, of a request; more pairs may be taken (unsure)

Records = dict[str, str]  # record ids, by what people and companies are found by
Pair = tuple[str, str]  # the records of a contact and of a company


def belong(calls: Sequence[Call], contact_by: str, company_by: str, lost: set[str], gone: set[str]) -> Conversation:
    """One outcome per call. `lost` and `gone` get the property of contacts, or of companies, that is not there."""
    values = {name_of(call.identifier): call.value for call in calls}
    contacts, failed = yield from _contacts(contact_by, [*values], lost)
    if isinstance(contacts, Outcome):
        return all_of(calls, contacts)
    told = {account: member for value in values.values() for account, member in value.items() if member}
    every = dict.fromkeys(account for value in values.values() for account in value) | told
    companies = yield from _companies(company_by, every, gone)
    if not isinstance(companies, dict):
        return all_of(calls, _closed(companies))
    results = failed
    for member in (False, True):  # who moves leaves first
        pairs = {
            (contacts[who], companies[account]): who
            for who, value in values.items()
            for account, is_one in value.items()
            if is_one is member and who in contacts and account in companies
        }
        results = {**(yield from _change(pairs, member)), **results}
    for who, value in values.items():
        if any(member and account not in companies for account, member in value.items()):
            results.setdefault(who, Later(words="HubSpot does not find the company that it made"))
    return [results.get(name_of(call.identifier), Delivered()) for call in calls]


def _contacts(
    by: str, names: list[str], lost: set[str]
) -> Generator[Request, Reply, tuple[Records | Outcome, dict[str, Outcome]]]:
    """The records of people, who are made where they are not there; and what became of those who have none."""
    found = yield from read(by, names, lost)
    if not isinstance(found, dict):
        return found, {}
    missing = [name for name in names if name not in found]
    if not missing:
        return found, {}
    made = yield from make(by, missing, lost)
    again = yield from read(by, missing, lost)
    found |= again if isinstance(again, dict) else {}
    absent = Later(words="HubSpot does not find the contact that it made")
    told = {name: made.get(name, absent) for name in missing if name not in found}
    return found, {name: absent if isinstance(now, Delivered) else now for name, now in told.items()}


def _companies(
    by: str, accounts: dict[str, bool | None], gone: set[str]
) -> Generator[Request, Reply, Records | Outcome]:
    """The records of companies; those that have a member are made where they are not there."""
    found: Records = {}
    for some in _portions([*accounts]):
        read_some = yield from read(by, some, gone, COMPANIES)
        if not isinstance(read_some, dict):
            return read_some
        found |= read_some
    missing = [account for account, member in accounts.items() if member and account not in found]
    for some in _portions(missing):
        inputs = [([account], {"id": account, "idProperty": by, "properties": {}}) for account in some]
        made = yield from write("upsert", inputs, gone, objects=COMPANIES)
        for now in made.values():
            if not isinstance(now, Delivered):
                return now
        again = yield from read(by, some, gone, COMPANIES)
        found |= again if isinstance(again, dict) else {}
    return found


def _change(pairs: dict[Pair, str], member: bool) -> Generator[Request, Reply, dict[str, Outcome]]:
    """Associate these, or end it; what became of the people with whom that did not go well."""
    results: dict[str, Outcome] = {}
    for some in _portions([*pairs]):
        if member:
            told: list[dict[str, Any]] = [{"from": {"id": contact}, "to": {"id": company}} for contact, company in some]
        else:
            told = [{"from": {"id": contact}, "to": [{"id": company}]} for contact, company in some]
        path = "associate/default" if member else "archive"
        reply = yield Request("POST", f"{ASSOCIATIONS}/{path}", json={"inputs": told})
        if reply.ok and (errors := rows(reply.object, "errors")):
            named = _named(errors)
            wrong = [pair for pair in some if not named.isdisjoint(pair)] or some
            results |= dict.fromkeys((pairs[pair] for pair in wrong), Later(words=word(errors[0], "message")))
        elif reply.ok:
            continue
        elif member or reply.status != 404:  # who is not associated has left
            results |= dict.fromkeys((pairs[pair] for pair in some), _closed(refusal(reply)))
    return results


def _named(errors: Sequence[dict[str, Any]]) -> set[str]:
    """The records that errors speak of."""
    contexts = [part(error, "context") for error in errors]
    return {str(each) for context in contexts for name in context for each in items(context, name)}


def _closed(outcome: Outcome) -> Outcome:
    """The token may not: nobody's fault."""
    if isinstance(outcome, Rejected) and outcome.reason == "forbidden":
        return Blocked(f"HubSpot does not take companies (scope crm.objects.companies.write): {outcome.words}")
    return outcome


def _portions(all_of_them: Sequence[T]) -> Iterator[Sequence[T]]:
    return (all_of_them[first : first + MOST] for first in range(0, len(all_of_them), MOST))
