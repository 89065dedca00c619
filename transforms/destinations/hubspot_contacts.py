"""HubSpot's contacts: found, updated and created, a hundred at a time."""

import re
from collections.abc import Collection, Generator, Mapping, Sequence
from typing import Any

from transforms.destinations.contract import Delivered, Later, Outcome, Rejected, Reply, Request, refused
from transforms.destinations.hubspot_shapes import (
    ADDRESSES,
    CONTACTS,
    done_of,
    errors_of,
    message_of,
    missing_properties,
    no_property,
    reason,
    records_of,
    refusal,
)
from transforms.destinations.reading import word

# "Contact already exists. Existing ID: 101"
EXISTING = re.compile(r"Existing ID: *(\d+)")
ROUNDS = 20  # requests to create contacts within one conversation, at most
# Errors of one contact that reading again settles: it exists by now, or it is gone.
AGAIN = frozenset({"CONFLICT", "OBJECT_ALREADY_EXISTS", "OBJECT_NOT_FOUND"})
BUSY = frozenset({"RATE_LIMITS", "INTERNAL_ERROR"})

Write = tuple[list[str], dict[str, Any]]  # the identifiers of a contact, and what is written


def create_or_update(
    contacts: Mapping[str, dict[str, str]], new: Collection[str], lost: set[str]
) -> Generator[Request, Reply, dict[str, Outcome]]:
    """Create contacts, or update those that exist; outcomes by address.

    Those that are probably `new` are created without a look: HubSpot names the record where one exists. The others are
    looked up; twice where they came or went between reading and writing.
    """
    id_property = "email"
    results = yield from _create([value for value in contacts if value in new], contacts, lost)
    for _ in range(2):
        left = [value for value in contacts if value not in results]
        if not left:
            break
        records = yield from read(id_property, left, lost)
        if not isinstance(records, dict):
            return results | dict.fromkeys(left, records)
        results |= yield from _update({value: records[value] for value in left if value in records}, contacts, lost)
        unknown = [value for value in left if value not in records]
        results |= yield from _create(unknown, contacts, lost)
    return results


def _update(
    records: Mapping[str, str], contacts: Mapping[str, dict[str, str]], lost: set[str]
) -> Generator[Request, Reply, dict[str, Outcome]]:
    """Write what is known of the people to their records."""
    writes: dict[str, Write] = {}  # several addresses may belong to one contact
    for value, record in records.items():
        values, update = writes.setdefault(record, ([], {"id": record, "properties": {}}))
        values.append(value)
        update["properties"] |= contacts[value]
    return (yield from write("update", writes.values(), lost))


def _create(
    values: list[str], contacts: Mapping[str, dict[str, str]], lost: set[str]
) -> Generator[Request, Reply, dict[str, Outcome]]:
    """Create these contacts; those that turn out to exist under another address are updated.

    HubSpot refuses all of a request for one contact that exists, and says the id of that one.
    """
    results: dict[str, Outcome] = {}
    existing: dict[str, str] = {}
    shown: dict[str, dict[str, str]] = {}  # by HubSpot's words: whose addresses these are
    groups = [values] if values else []
    for _ in range(ROUNDS):
        if not groups:
            break
        group = groups.pop()
        writes: list[Write] = [([value], {"properties": {"email": value, **contacts[value]}}) for value in group]
        conflicts: dict[str, str] = {}
        results |= yield from write("create", writes, lost, conflicts)
        if len(conflicts) > 1 and len(set(conflicts.values())) == 1:  # of one of them, or of all
            words = next(iter(conflicts.values()))
            if words not in shown:
                ids = EXISTING.findall(words)
                shown[words] = (yield from _addresses(ids)) if ids else {}
            found = shown[words]
            existing |= {value: found[value] for value in conflicts if value in found}
            left = [value for value in conflicts if value not in found]
            half = len(left) // 2 if len(left) == len(conflicts) else len(left)
            groups += [some for some in (left[half:], left[:half]) if some]
        else:
            existing |= {v: ids[0] for v, said in conflicts.items() if (ids := EXISTING.findall(said))}
    many = Later(words="HubSpot has too many of these contacts already for one go")
    results |= {value: many for group in groups for value in group}
    return results | (yield from _update(existing, contacts, lost))


def _addresses(records: Sequence[str]) -> Generator[Request, Reply, dict[str, str]]:
    """Record ids by all addresses of these records."""
    body = {"properties": list(ADDRESSES), "inputs": [{"id": record} for record in dict.fromkeys(records)]}
    return records_of((yield Request("POST", f"{CONTACTS}/batch/read", json=body)), ADDRESSES)


def make(id_property: str, names: list[str], lost: set[str]) -> Generator[Request, Reply, dict[str, Outcome]]:
    """Make contacts that HubSpot does not have."""
    if id_property == "email":
        return (yield from create_or_update({name: {} for name in names}, names, lost))
    inputs = [([name], {"id": name, "idProperty": id_property, "properties": {}}) for name in names]
    return (yield from write("upsert", inputs, lost))


def read(
    id_property: str, values: Sequence[str], lost: set[str], objects: str = CONTACTS
) -> Generator[Request, Reply, dict[str, str] | Outcome]:
    """Record ids by identifier, of those that exist; or what became of all."""
    names = ADDRESSES if id_property == "email" else (id_property,)
    body = {"idProperty": id_property, "properties": list(names), "inputs": [{"id": value} for value in values]}
    reply = yield Request("POST", f"{objects}/batch/read", json=body)
    if reply.status == 404:  # of a request: nobody is there
        return {}
    if not reply.ok and no_property(message_of(reply), id_property):
        lost.add(id_property)
        return Later(words=message_of(reply))
    if not reply.ok:
        return refusal(reply)
    found = records_of(reply, names)
    return {value: found[value] for value in values if value in found}


def write(
    verb: str,
    contacts: Collection[Write],
    lost: set[str],
    conflicts: dict[str, str] | None = None,
    objects: str = CONTACTS,
) -> Generator[Request, Reply, dict[str, Outcome]]:
    """Outcomes by identifier, without those to be read again; those that exist already go to `conflicts`."""
    trace = "contact" if objects == CONTACTS else "company"
    bodies = [{**body, "objectWriteTraceId": f"{trace}-{n}"} for n, (_, body) in enumerate(contacts)]
    if not bodies:
        return {}
    reply = yield Request("POST", f"{objects}/batch/{verb}", json={"inputs": bodies})
    results: dict[str, Outcome] = {}
    for (values, _), now in zip(contacts, _written(reply, bodies, lost), strict=True):
        if isinstance(now, str):
            if conflicts is not None:
                conflicts |= dict.fromkeys(values, now)
        elif now:
            results |= dict.fromkeys(values, now)
    return results


def _written(reply: Reply, bodies: list[dict[str, Any]], lost: set[str]) -> list[Outcome | str | None]:
    """What became of each contact of a request; None: read again; HubSpot's words: it exists."""
    answer = reply.object
    id_property = word(bodies[0], "idProperty")
    if not reply.ok:
        if id_property and no_property(message_of(reply), id_property):
            lost.add(id_property)
            return [Later(words=message_of(reply))] * len(bodies)
        if reply.status == 409:
            return [message_of(reply)] * len(bodies)
        if reply.status == 404:
            return [None] * len(bodies)
        return [_failed(answer, lost) if reply.status == 400 else refused(reply)] * len(bodies)
    errors = errors_of(answer, bodies)
    results: list[Outcome | str | None] = []
    for error, done in zip(errors, done_of(answer, bodies, errors), strict=True):
        if error and EXISTING.search(word(error, "message")):
            results.append(word(error, "message"))
        elif error:
            results.append(None if word(error, "category") in AGAIN else _failed(error, lost))
        elif done:
            results.append(Delivered())
        else:
            results.append(Later(words="HubSpot does not say what became of the record"))
    return results


def _failed(error: Mapping[str, Any], lost: set[str]) -> Outcome:
    """An error of a request, or of one contact in it."""
    message = word(error, "message")
    lost.update(missing := missing_properties(message))
    if missing or word(error, "category") in BUSY:
        return Later(words=message)
    return Rejected(reason(message), message)
