"""Salesforce Marketing Cloud Lists: a data extension per audience. https://developer.salesforce.com/docs/marketing/marketing-cloud"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

from schemas.outcomes import Later, Submitted
from transforms.destinations.contract import (
    Batch,
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
    refused,
)
from transforms.destinations.names import in_ascii
from transforms.destinations.reading import items, lose, part, word
from transforms.destinations.salesforce_marketing_cloud_account import (
    GUIDE,
    KEY,
    Access,
    Account,
    address,
    whom,
    words_of,
)

MEMBER = "Member"  # the column that says whether somebody is in the audience
POLL = 10.0  # seconds between questions about a job
PAGE = 2_500  # rows of a job's results in an answer
RERUN = "Rerun the transaction."  # how the words end about a row that was locked


class MarketingCloudLists(Account):
    slug = "salesforce-marketing-cloud-lists"
    name = "Salesforce Marketing Cloud Lists"
    page = f"{GUIDE}/references/mc_rest_data_extensions"
    remark = (
        "Each audience is a data extension, to be filtered by `Member`: who has left stays in it with false. "
        "The account must have the asynchronous API."
    )
    forms = ("list",)
    # 30,000 rows are taken in a job; one job at a time into a data extension, for rows that two write are locked.
    batch = Batch(28_000, 5_000_000, at_once=1, requests=2)
    flush_every: ClassVar[Mapping[Form, float]] = {"list": 3600.0}

    class Settings(Access, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one business unit."""

    def name_at_vendor(self, form: Form, key: str) -> str:
        return in_ascii(key, 100)

    def unit(self, call: Call) -> Any:
        return (call.kind, call.key, whom(call))

    # -- what the calls need
    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        """Find the data extensions by name, make those that are missing; keep their ids."""
        lists: dict[str, str] = self.memory.setdefault("lists", {})
        refusals: dict[Target, str] = {}
        for target in (each for each in sorted(targets) if each.key not in lists):
            name = self.name_at_vendor("list", target.key)
            found, why = yield from self.find_extension(name)
            if found:
                why = yield from self._unfit(found, name)
            elif not why:
                found, why = yield from self.make_extension(name, {MEMBER: True})
                if found:
                    self.made.add(target)
            if why:
                refusals[target] = why
            else:
                lists[target.key] = found
        return refusals

    def _unfit(self, extension: str, name: str) -> Generator[Request, Reply, str]:
        """Why a data extension that is there cannot be the list, or "". One that somebody made lacks columns."""
        there = yield from self.columns_of(extension)
        if there is None:
            return f"Marketing Cloud does not show the columns of {name!r}"
        missing = [each for each in (KEY, "Email", MEMBER) if each.lower() not in there]
        return f"the data extension {name!r} has no column {missing[0]!r}: rename or complete it" if missing else ""

    # -- calls
    def deliver(self, calls: Sequence[Call]) -> Conversation:
        """In the order of contact keys: that of the results of the job."""
        key = calls[0].key
        listed = self.memory.get("lists", {}).get(key)
        if listed is None:
            return all_of(calls, Blocked(f"Marketing Cloud has no data extension of {key!r}", prepare=True))
        people = _by_key(calls)
        body = {"items": [_row(of_one) for of_one in people.values()]}
        reply = yield self.ask("PUT", f"/data/v1/async/dataextensions/{quote(listed, safe='')}/rows", json=body)
        if reply.status == 404:
            lose(self.memory["lists"], key, listed)
            return all_of(calls, Blocked("the data extension was deleted at Marketing Cloud", prepare=True, lost=True))
        if not reply.ok:
            return all_of(calls, refused(reply, "invalid_value" if reply.status == 400 else None, words_of(reply)))
        job = word(reply.object, "requestId")
        return all_of(calls, Submitted(job, POLL) if job else Delivered(unconfirmed=True))

    def collect(self, job: str, calls: Sequence[Call]) -> Conversation:
        path = f"/data/v1/async/{quote(job, safe='')}"
        reply = yield self.ask("GET", f"{path}/status")
        if reply.status == 404:
            return all_of(calls, Later(words=f"Marketing Cloud does not know the job {job!r} any more"))
        now = part(reply.object, "status")
        if word(now, "requestStatus") not in ("Complete", "Error"):  # there is none until the job is picked up
            return all_of(calls, Submitted(job, POLL))
        if word(now, "requestStatus") == "Complete" and now.get("hasErrors") is False:
            return all_of(calls, Delivered())
        found = yield from self._results(path)
        people = _by_key(calls)
        if not found:
            return all_of(calls, Later(words=f"Marketing Cloud does not say what became of the job {job!r}"))
        if len(found) != len(people):
            self.note("rows were in jobs of which Marketing Cloud does not say whose rows failed", len(people))
            return all_of(calls, Delivered(unconfirmed=True))
        told = {who: _outcome(row) for who, row in zip(people, found, strict=True)}
        return [told[whom(call)] for call in calls]

    def _results(self, path: str) -> Generator[Request, Reply, list[Any]]:
        """What became of the rows of a job, in the order in which they were sent."""
        found: list[Any] = []
        page = 1
        while True:
            reply = yield self.ask("GET", f"{path}/results", params={"$page": str(page), "$pageSize": str(PAGE)})
            some = items(reply.object, "items")
            found += some
            if len(some) < PAGE:
                return found
            page += 1


def _by_key(calls: Sequence[Call]) -> dict[str, list[Call]]:
    """Calls by contact key, in the order of the keys: the same whatever their own order is."""
    found: dict[str, list[Call]] = {}
    for call in sorted(calls, key=whom):
        found.setdefault(whom(call), []).append(call)
    return found


def _row(calls: Sequence[Call]) -> dict[str, Any]:
    given = {name: value for call in calls for name, value in address(call).items()}
    return {KEY: whom(calls[0]), **given, MEMBER: calls[0].kind == "add"}


def _outcome(row: Any) -> Outcome:
    words = word(row, "message")
    if word(row, "status") == "OK":
        return Delivered()
    if words.endswith(RERUN) or not word(row, "status"):
        return Later(words=words or "Marketing Cloud does not say what became of the row")
    return Rejected("invalid_value", words)
