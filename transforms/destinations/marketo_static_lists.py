"""Marketo Static Lists: a static list per audience. https://experienceleague.adobe.com/en/docs/marketo-developer"""

import csv
import io
from collections.abc import Generator, Mapping, Sequence
from typing import Annotated, ClassVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Meta

from schemas.outcomes import Later, Submitted
from transforms.destinations.contract import (
    Batch,
    Blocked,
    Call,
    Conversation,
    Delivered,
    File,
    Form,
    Outcome,
    Preparation,
    Rejected,
    Reply,
    Request,
    Target,
    all_of,
)
from transforms.destinations.marketo_account import (
    BUSY,
    GUIDE,
    MOST,
    NO_LEAD,
    NO_OBJECT,
    NOT_LISTED,
    REASONS,
    Access,
    Account,
    code_of,
    good,
    reason_of,
    said_nothing,
    unread,
    whom,
    words_of,
)
from transforms.destinations.names import cut
from transforms.destinations.reading import count, lose, rows, word

POLL = 10.0  # seconds between questions about an import: 5 to 30 are asked for
WAIT = 60.0  # seconds until another import is tried, where there are too many


class MarketoStaticLists(Account):
    slug = "marketo-static-lists"
    name = "Marketo Static Lists"
    page = f"{GUIDE}/lead-database/list-membership"
    remark = "The lists are made: do not make them by hand. Who is put on one and is not known becomes a lead."
    forms = ("list",)
    identifiers = ("email",)
    flush_every: ClassVar[Mapping[Form, float]] = {"list": 3600.0}

    class Settings(Access, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one instance, and where its lists are made."""

        folder: Annotated[
            str, Meta(min_length=1, description="Name of a folder that is there: Lead Database > Group Lists.")
        ]

    def name_at_vendor(self, form: Form, key: str) -> str:
        return cut(key, key, 100)

    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        """Find the lists by name, make those that are missing; keep their ids."""
        lists: dict[str, int] = self.memory.setdefault("lists", {})
        refusals: dict[Target, str] = {}
        for target in (each for each in sorted(targets) if each.key not in lists):
            name = self.name_at_vendor("list", target.key)
            reply = yield self.ask("GET", "/rest/asset/v1/staticList/byName.json", params={"name": name})
            if good(reply) and not rows(reply.object, "result"):
                reply = yield from self._make(name)
                if count(next(iter(rows(reply.object, "result")), {}), "id"):
                    self.made.add(target)
            if found := count(next(iter(rows(reply.object, "result")), {}), "id"):
                lists[target.key] = found
            else:
                refusals[target] = f"Marketo does not make the list {name!r}: {words_of(reply)}"
        return refusals

    def _make(self, name: str) -> Generator[Request, Reply, Reply]:
        folder = self.settings.folder
        reply = yield self.ask("GET", "/rest/asset/v1/folder/byName.json", params={"name": folder})
        found = next(iter(rows(reply.object, "result")), {})
        if not count(found, "id"):
            words = f"there is no folder {folder!r} in its Lead Database"
            return Reply(200, {}, msgspec.json.encode({"errors": [{"message": words}]})) if good(reply) else reply
        place = msgspec.json.encode({"id": count(found, "id"), "type": "Folder"}).decode()
        return (yield self.ask("POST", "/rest/asset/v1/staticLists.json", form={"folder": place, "name": name}))

    def batch_of(self, route: str) -> Batch:
        """Ten imports wait at most, and a list takes one at a time: they are few, and big."""
        return Batch(300_000, 9_000_000, at_once=1, requests=2) if route.startswith("add:") else self.batch

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        key = calls[0].key
        listed = self.memory.get("lists", {}).get(key)
        if listed is None:
            return all_of(calls, Blocked(f"Marketo has no list {key!r}", prepare=True))
        told = yield from (self._join if calls[0].kind == "add" else self._leave)(listed, calls)
        if any(isinstance(outcome, Blocked) for outcome in told):
            lose(self.memory["lists"], key, listed)
        return told

    def _join(self, listed: int, calls: Sequence[Call]) -> Conversation:
        """An import makes leads that are not there, and puts all of them on the list."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([["email"], *([who] for who in dict.fromkeys(map(whom, calls)))])
        reply = yield self.ask(
            "POST",
            "/bulk/v1/leads.json",
            params={"format": "csv", "lookupField": "email", "listId": str(listed)},
            multipart={"file": File("leads.csv", out.getvalue().encode(), "text/csv")},
        )
        job = word(next(iter(rows(reply.object, "result")), {}), "batchId")
        if said_nothing(reply):  # what it imports would come after a leave that is told meanwhile
            return all_of(calls, Later(words="Marketo does not say which import it makes of them"))
        return all_of(calls, Submitted(job, POLL) if good(reply) and job else self._refused(reply))

    def collect(self, job: str, calls: Sequence[Call]) -> Conversation:
        path = f"/bulk/v1/leads/batch/{quote(job, safe='')}"
        reply = yield self.ask("GET", f"{path}.json")
        found = next(iter(rows(reply.object, "result")), {})
        status = word(found, "status")
        if status in ("Queued", "Importing"):
            return all_of(calls, Submitted(job, POLL))
        if status != "Complete":
            why = word(found, "message") or words_of(reply)
            return all_of(calls, Later(words=f"Marketo's import {job!r} has failed or is lost: {why}"))
        if not count(found, "numOfRowsFailed"):
            return all_of(calls, Delivered())
        reply = yield self.ask("GET", f"{path}/failures.json")
        failed = failures(reply)
        others = Delivered(unconfirmed=len({whom(c) for c in calls} & {*failed}) < count(found, "numOfRowsFailed"))
        return [Rejected("invalid_value", failed[who]) if (who := whom(c)) in failed else others for c in calls]

    def _leave(self, listed: int, calls: Sequence[Call]) -> Conversation:
        """Who leaves is named by id. Who is no lead, or not on the list, has left already."""
        found, failed = yield from self.find(calls)
        if failed:
            silent = failed.ok and not code_of(failed)
            return all_of(calls, Later(words="Marketo does not show the leads") if silent else unread(failed))
        people = {id: who for who, ids in found.items() for id in ids}
        told: dict[str, Outcome] = {}
        for first in range(0, len(people), MOST):
            some = [*people][first : first + MOST]
            query = urlencode([("id", id) for id in some])
            reply = yield self.ask("DELETE", f"/rest/v1/lists/{listed}/leads.json?{query}")
            if not good(reply):
                return all_of(calls, self._refused(reply))
            for row in rows(reply.object, "result"):
                code, words = reason_of(row)
                if word(row, "status") != "removed" and code not in (NO_LEAD, NOT_LISTED):
                    told[people.get(count(row, "id"), "")] = Rejected(REASONS.get(code, "refused"), words)
        return [told.get(whom(call), Delivered()) for call in calls]

    def _refused(self, reply: Reply) -> Outcome:
        """What an answer says that is not as it should be."""
        code = code_of(reply)
        if said_nothing(reply):
            return Delivered(unconfirmed=True)
        if code == NO_OBJECT:
            return Blocked("the list was deleted at Marketo", prepare=True, lost=True)
        if code in BUSY:
            return Later(WAIT, words_of(reply))
        return Later(words="Marketo does not say what became of it") if reply.ok and not code else unread(reply)


def failures(reply: Reply) -> dict[str, str]:
    """Why rows of an import failed, by address: the file as it was sent, with a column more."""
    try:
        lines = list(csv.reader(io.StringIO(reply.body.decode("utf-8-sig", "replace"))))
    except csv.Error:
        return {}
    places = [place for place, name in enumerate(lines[0]) if name == "email"] if lines else []
    return {line[places[0]].lower(): line[-1] for line in lines[1:] if places and len(line) > places[0]}
