"""HubSpot's properties and event definitions: made where they are missing, lost, or not there yet."""

from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from typing import Any
from urllib.parse import quote

from transforms.destinations.contract import Blocked, Call, Delivered, Later, Memory, Outcome, Rejected, Reply, Request
from transforms.destinations.hubspot_shapes import (
    EVENTS,
    PROPERTIES,
    Fields,
    by_name,
    event_definition,
    gone,
    message_of,
    problems,
    property_name,
)
from transforms.destinations.reading import part, rows, word
from transforms.destinations.young import Young

# What a call needs: ("property", name), ("events",), ("event", label), ("event", label, property).
Need = tuple[str, ...]
Needs = Callable[[Call], Iterable[Need]]
Asking = Generator[Request, Reply, None]


class SetUp:
    """What one connection needs at HubSpot, for its contacts or for its companies."""

    def __init__(self, objects: str = "contacts", noun: str = "contact", kept: str = "properties") -> None:
        """`kept`: under which name the connection's memory has the properties."""
        self._url, self._noun, self._kept = f"{PROPERTIES}/{objects}", noun, kept
        self.missing: dict[Need, Blocked] = {}  # what cannot be had, and why
        self.young = Young()  # what was just made
        self.created: set[Need] = set()  # what this process made, and was not lost since

    def lose_property(self, name: str, memory: Memory) -> Outcome:
        """Note that HubSpot does not have a property: not yet, or not any more."""
        if wait := self.young.wait(("property", name)):
            return Later(wait, f"HubSpot does not know its new property {name!r} everywhere yet")
        known = memory.get(self._kept, ())
        memory[self._kept] = [each for each in known if each != name]
        self.created.discard(("property", name))
        return gone(f"{self._noun} property {name!r}", lost=name in known)

    def lose_event(self, label: str, memory: Memory, words: str) -> Outcome:
        """Note that HubSpot does not have an event, or a property of it."""
        if wait := self.young.wait(("event", label)):
            return Later(wait, words)
        known = memory.get("events", {}).pop(label, None)  # it is looked for, or defined, once more
        return gone(f"event {label!r} as it was defined", words, lost=known is not None)

    def settle(
        self, calls: Sequence[Call], told: Sequence[Outcome], lost: Collection[str], memory: Memory, needs: Needs
    ) -> list[Outcome]:
        """Outcomes, where HubSpot turned out to have lost some properties.

        What sets one of them waits until there is one again, and the rest of the request goes once more.
        """
        lost_by_need = {("property", name): self.lose_property(name, memory) for name in lost}
        for call, now in zip(calls, told, strict=True):
            if isinstance(now, Delivered):
                for need in needs(call):
                    self.young.seen(need)
        return [
            next((lost_by_need[need] for need in needs(call) if need in lost_by_need), now)
            if isinstance(now, Later)
            else now
            for call, now in zip(calls, told, strict=True)
        ]

    def properties(self, fields: Fields, known: list[str]) -> Asking:
        """Make the properties that are missing; the names of those that are there go to `known`."""
        reply = yield Request("GET", self._url)
        existing = by_name(reply) if reply.ok else None
        missing = {name: field for name, field in fields.items() if name not in (existing or {})}
        if missing and existing is not None:
            reply = yield Request("POST", f"{self._url}/batch/create", json={"inputs": list(missing.values())})
            if reply.status == 201 and len(rows(reply.object, "results")) >= len(missing):
                existing |= missing
                for name in missing:
                    self.young.made(("property", name))
                    self.created.add(("property", name))
            else:  # only some were made, or somebody else just made them
                existing = by_name((yield Request("GET", self._url)))
        for name, field in fields.items():
            if not existing or name not in existing:
                words = f"HubSpot has no {self._noun} property {name!r}, and does not make one: {message_of(reply)}"
                self.missing["property", name] = Blocked(words)
            elif field.get("hasUniqueValue") and not existing[name].get("hasUniqueValue"):
                words = f"values of HubSpot's {self._noun} property {name!r} are not unique: none is found by it"
                self.missing["property", name] = Blocked(words)
            elif name not in known:
                known.append(name)

    def events(self, wanted: dict[str, Fields], defined: dict[str, dict[str, Any]]) -> Asking:
        """Define the events, and the properties of events, that are missing; what is there goes to `defined`."""
        if not wanted.keys() <= defined.keys():
            existing = yield from self._definitions()
            if isinstance(existing, Blocked):
                self.missing["events",] = existing
                return
            for label in wanted:
                if label not in defined and property_name(label) in existing:
                    defined[label] = existing[property_name(label)]
        for label, fields in wanted.items():
            if label not in defined:
                definition = event_definition(label, property_name(label), fields)
                reply = yield Request("POST", f"{EVENTS}/event-definitions", json=definition)
                if full_name := word(reply.object, "fullyQualifiedName"):
                    defined[label] = {"name": full_name, "properties": sorted(fields)}
                    self.young.made(("event", label))
                else:
                    words = f"HubSpot has no event {label!r}, and does not define one: {message_of(reply)}"
                    self.missing["event", label] = Blocked(words)
                continue
            event = defined[label]
            for name in sorted(fields.keys() - event["properties"]):
                url = f"{EVENTS}/event-definitions/{quote(event['name'], safe='')}/property"
                reply = yield Request("POST", url, json=fields[name])
                if reply.ok or reply.status == 409:
                    event["properties"].append(name)
                    self.young.made(("event", label))
                else:
                    words = f"HubSpot's event {label!r} has no property {name!r}, and gets none: {message_of(reply)}"
                    self.missing["event", label, name] = Blocked(words)

    def _definitions(self) -> Generator[Request, Reply, dict[str, dict[str, Any]] | Blocked]:
        """The account's event definitions by their names without `pe<account>_`."""
        found: dict[str, dict[str, Any]] = {}
        after = ""
        while True:
            reply = yield Request("GET", f"{EVENTS}/event-definitions?includeProperties=true&limit=100{after}")
            if not reply.ok:
                return Blocked(f"HubSpot does not show its events: {message_of(reply)}")
            page = reply.object
            for event in rows(page, "results"):
                names = [name for p in rows(event, "properties") if not (name := word(p, "name")).startswith("hs_")]
                if full_name := word(event, "fullyQualifiedName"):
                    found[full_name.partition("_")[2]] = {"name": full_name, "properties": names}
            before, cursor = after, word(part(part(page, "paging"), "next"), "after")
            after = f"&after={quote(cursor, safe='')}"
            if not cursor or after == before:
                return found


def missing_fields(found: Iterable[tuple[str, dict[str, Any]]], known: Collection[str]) -> Fields:
    """Of these definitions, those that are not known; of several of one name, one that is no text."""
    fields: Fields = {}
    for name, field in found:
        if name not in known and (name not in fields or field["type"] != "string"):
            fields[name] = field
    return fields


def own_outcome(now: Outcome, sent: Collection[str], key: tuple[str, bool], names: Iterable[str], noun: str) -> Outcome:
    """The outcome of a call, from that of its record: other calls may have set what is wrong with that.

    `key`: the property of the call's value, and whether that is always true or false. `names`: all that the call sets.
    """
    if not isinstance(now, Rejected):
        return now
    wrong = {each.name for each in problems(now.words)} & {*sent}
    name, flag = key
    if name in wrong and flag:
        return Blocked(f"the HubSpot property {name!r} does not take true and false: {now.words}")
    if wrong and wrong.isdisjoint(names):
        return Later(words=f"something else about the {noun} was refused")
    return now
