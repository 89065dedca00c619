"""SendGrid Lists: a marketing list per audience. https://www.twilio.com/docs/sendgrid/api-reference/lists"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

from transforms.destinations.contract import (
    Batch,
    Blocked,
    Call,
    Conversation,
    Delivered,
    Form,
    Later,
    Outcome,
    Preparation,
    Reply,
    Target,
    all_of,
    refused,
    units,
)
from transforms.destinations.names import cut
from transforms.destinations.reading import lose, part, word
from transforms.destinations.sendgrid import API, Contacts, whom, words_of

LOOKED_UP = 100  # identifiers of one type in a request


class SendGridLists(Contacts):
    slug = "sendgrid-lists"
    name = "SendGrid Lists"
    page = f"{API}/lists"
    remark = "A contact is told by the identifier that it was made with: name only one type of them in the workspace."
    forms = ("list",)
    flush_every: ClassVar[Mapping[Form, float]] = {"list": 3600.0}

    def name_at_vendor(self, form: Form, key: str) -> str:
        return cut(key, key, 100)

    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        """Find the lists by name, make those that are missing; keep their ids."""
        lists: dict[str, str] = self.memory.setdefault("lists", {})
        wanted = [target for target in sorted(targets) if target.key not in lists]
        if not wanted:
            return None
        found = yield from self.pages("/marketing/lists")
        if isinstance(found, Reply):
            return dict.fromkeys(wanted, f"SendGrid does not show the account's lists: {words_of(found)}")
        there = {word(each, "name"): word(each, "id") for each in reversed(found)}
        refusals: dict[Target, str] = {}
        for target in wanted:
            name = self.name_at_vendor("list", target.key)
            if not there.get(name):
                reply = yield self.ask("POST", "/marketing/lists", json={"name": name})
                if not word(reply.object, "id"):
                    refusals[target] = f"SendGrid does not make the list {name!r}: {words_of(reply)}"
                    continue
                there[name] = word(reply.object, "id")
                self.made.add(target)
            lists[target.key] = there[name]
        return refusals

    def route(self, call: Call) -> str:
        """Who leaves is looked up by one type of identifier."""
        return super().route(call) + (f":{call.identifier.type}" if call.kind == "remove" else "")

    def batch_of(self, route: str) -> Batch:
        return Batch(LOOKED_UP, self.batch.bytes) if route.startswith("remove:") else self.batch

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        key = calls[0].key
        listed = self.memory.get("lists", {}).get(key)
        if listed is None:
            return all_of(calls, Blocked(f"SendGrid has no list {key!r}", prepare=True))
        if calls[0].kind == "remove":
            told = yield from self._leave(listed, calls)
        else:
            contacts = [_contact(calls[places[0]]) for places in units(self, calls).values()]
            told = yield from self.upsert(calls, contacts, [listed])
        if any(isinstance(outcome, Blocked) for outcome in told):
            lose(self.memory["lists"], key, listed)
        return told

    def no_list(self, reply: Reply) -> Outcome:
        return Blocked("the list was deleted at SendGrid", prepare=True, lost=True)

    def _leave(self, listed: str, calls: Sequence[Call]) -> Conversation:
        """Who is not known is on no list. That a job of removals can be asked about is unsure: 202 is believed."""
        kind, _ = whom(calls[0])
        people = list(dict.fromkeys(whom(call)[1] for call in calls))
        reply = yield self.ask("POST", f"/marketing/contacts/search/identifiers/{kind}", json={"identifiers": people})
        if not reply.ok and reply.status != 404:
            return all_of(calls, refused(reply, words=words_of(reply)))
        if reply.ok and not reply.object:
            return all_of(calls, Later(words="SendGrid's answer to a search cannot be read"))
        result = part(reply.object, "result")
        ids = [id for each in result if (id := word(part(part(result, each), "contact"), "id"))]
        if not ids:
            return all_of(calls, Delivered())
        path = f"/marketing/lists/{quote(listed, safe='')}/contacts"
        reply = yield self.ask("DELETE", path, params={"contact_ids": ",".join(ids)})
        if reply.status == 404:
            return all_of(calls, self.no_list(reply))
        return all_of(calls, Delivered() if reply.ok else refused(reply, words=words_of(reply)))


def _contact(call: Call) -> dict[str, Any]:
    name, value = whom(call)
    return {name: value}
