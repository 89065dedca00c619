"""HubSpot's static lists of contacts: found by name, made where they are missing, and who is in them."""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from transforms.destinations.contract import (
    Blocked,
    Call,
    Conversation,
    Delivered,
    Emptying,
    Later,
    Memory,
    Outcome,
    Reply,
    Request,
    Target,
    all_of,
)
from transforms.destinations.hubspot_contacts import make, read
from transforms.destinations.hubspot_shapes import API, message_of, name_of, refusal
from transforms.destinations.reading import items, lose, part, word
from transforms.destinations.young import Young

LISTS = f"{API}/crm/v3/lists"
CONTACTS = "0-1"  # HubSpot's object type


class Lists:
    """The lists of one connection, by key."""

    def __init__(self, made: Callable[[Target], None]) -> None:
        """`made` is called with each list that had to be made."""
        self._made, self._young = made, Young()

    def prepare(self, targets: Mapping[Target, Call], memory: Memory) -> Generator[Request, Reply, dict[Target, str]]:
        """Find the lists by name, make those that are missing; those that cannot be had, and why."""
        wanted = sorted(target for target in targets if target.form == "list")
        lists = memory.setdefault("lists", {}) if wanted else {}
        refusals = {}
        for target in [target for target in wanted if target.key not in lists]:
            found = yield from self._find(target.key)
            if not found:
                body = {"name": target.key, "objectTypeId": CONTACTS, "processingType": "MANUAL"}
                reply = yield Request("POST", LISTS, json=body)
                if found := word(part(reply.object, "list"), "listId"):
                    self._young.made(found)
                    self._made(target)
                else:  # somebody else may just have made it
                    found = yield from self._find(target.key)
            if found:
                lists[target.key] = found
            else:
                refusals[target] = f"HubSpot does not make the list {target.key!r}: {message_of(reply)}"
        return refusals

    def _find(self, name: str) -> Generator[Request, Reply, str]:
        reply = yield Request("GET", f"{LISTS}/object-type-id/{CONTACTS}/name/{quote(name, safe='')}")
        return word(part(reply.object, "list"), "listId")

    def empty(self, key: str, memory: Memory) -> Emptying:
        """HubSpot does it for up to 100,000 members. A list that is gone shows when somebody is put into it."""
        listed = memory.get("lists", {}).get(key)
        if not listed:
            return False
        reply = yield Request("DELETE", f"{LISTS}/{quote(listed, safe='')}/memberships")
        if reply.status == 404:
            return False
        return reply.ok or message_of(reply) or f"HTTP {reply.status}"

    def deliver(self, calls: Sequence[Call], id_property: str, memory: Memory, lost: set[str]) -> Conversation:
        """Bring people into a list, or out of it. HubSpot names members by their records.

        `lost` gets the property by which people are found, where HubSpot does not have it any more.
        """
        key, comes = calls[0].key, calls[0].kind == "add"
        listed = memory.get("lists", {}).get(key)
        if listed is None:
            return all_of(calls, Blocked(f"HubSpot has no list {key!r}", prepare=True))
        names = list(dict.fromkeys(name_of(call.identifier) for call in calls))
        records = yield from read(id_property, names, lost)
        if not isinstance(records, dict):
            return all_of(calls, records)
        missing = [name for name in names if name not in records]
        results: dict[str, Outcome] = {}
        if comes and missing:
            results = yield from make(id_property, missing, lost)
            again = yield from read(id_property, missing, lost)
            records |= again if isinstance(again, dict) else {}
        known = [records[name] for name in names if name in records]
        told: Outcome = Delivered()
        if known:
            what = "recordIdsToAdd" if comes else "recordIdsToRemove"
            told = yield from self._change(key, listed, what, known, memory)
        absent = Later(words="HubSpot does not find the contact that it made") if comes else Delivered()
        return [
            told if name in records else results[name] if _is_final(results.get(name)) else absent
            for name in (name_of(call.identifier) for call in calls)
        ]

    def _change(
        self, key: str, listed: str, what: str, records: list[str], memory: Memory
    ) -> Generator[Request, Reply, Outcome]:
        body: dict[str, Any] = {"recordIdsToAdd": [], "recordIdsToRemove": [], what: list(dict.fromkeys(records))}
        reply = yield Request("PUT", f"{LISTS}/{quote(listed, safe='')}/memberships/add-and-remove", json=body)
        if reply.ok:
            self._young.seen(listed)
            gone = items(reply.object, "recordIdsMissing")
            return Later(words="HubSpot does not know all of these records any more") if gone else Delivered()
        if reply.status != 404:
            return refusal(reply)
        if wait := self._young.wait(listed):
            return Later(wait, message_of(reply))
        lose(memory["lists"], key, listed)
        return Blocked(f"the list {key!r} ({listed}) was deleted at HubSpot", prepare=True, lost=True)


def _is_final(outcome: Outcome | None) -> bool:
    return outcome is not None and not isinstance(outcome, Delivered)
