"""Oracle Responsys: columns of people in an extension table, and custom events, as they happen."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

from msgspec import Meta

from schemas.workspace import Form
from transforms.destinations.contract import (
    Blocked,
    Call,
    Conversation,
    Delivered,
    Outcome,
    Preparation,
    Rejected,
    Target,
    all_of,
    besides,
    refused,
    units,
)
from transforms.destinations.names import in_ascii
from transforms.destinations.plain import text
from transforms.destinations.reading import word
from transforms.destinations.responsys_api import COLUMNS, LONGEST, Account, Responsys, whom, words_of

MOST = 500  # characters of a column that is made here
EVENT = 100  # characters of an event's name (unsure)
RECIPIENT = {"user_id": "customerId", "email": "emailAddress", "phone": "mobileNumber"}


class ResponsysEvents(Responsys):
    slug = "responsys"
    name = "Oracle Responsys"
    remark = (
        "The extension table is made with a column for each sync that there is then; a column for a later one is made "
        "by hand, as text with 500 characters. Events are defined by hand: `Audience_Entered`."
    )
    forms = ("identify", "track")

    class Settings(Account, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one account, the profile list, and the table that values are in."""

        table: Annotated[str, Meta(pattern=r"^\w+$", description="Profile extension table of the values.")] = (
            "PROFILECAST"
        )

    settings: Settings

    def name_at_vendor(self, form: Form, key: str) -> str:
        """A column's name, whatever its case."""
        return in_ascii(key, LONGEST, lower=True) if form == "identify" else key

    def event_at_vendor(self, name: str) -> str:
        return in_ascii(name, EVENT)

    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        """Find the extension table, or make it with the columns of all syncs."""
        wanted = [target for target in sorted(targets) if target.form == "identify"]
        table = self.settings.table
        if not wanted or self.memory.get("table") == table:
            return None
        found = yield from self.tables()
        if isinstance(found, str):
            return dict.fromkeys(wanted, found)
        if table.lower() not in found:
            if why := (yield from self.make_table(table, self._columns(targets.values()))):
                return dict.fromkeys(wanted, why)
            self.made.update(wanted)
        self.memory["table"] = table
        return None

    def _columns(self, calls: Any) -> list[str]:
        """Of all identify syncs and what goes along with them, and of these calls."""
        names: dict[str, None] = {}
        for sync in self.syncs.values():
            if "identify" in (sync.forms or self.forms[:1]):
                names |= dict.fromkeys((sync.send_as or sync.computation, *sync.enrich))
        names |= dict.fromkeys(call.key for call in calls if call.kind == "identify")
        return list(dict.fromkeys(self._column(name) for name in names if name not in COLUMNS))

    def _column(self, key: str) -> str:
        return self.name_at_vendor("identify", key).upper()

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if call.kind == "identify" and any(len(text(each)) > MOST for each in (call.value, *call.traits.values())):
            return Rejected("too_large", f"a column of Responsys has room for {MOST} characters")
        return None

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        """Everybody goes into the profile list first; who is refused there, goes no further."""
        if calls[0].kind == "identify" and self.memory.get("table") != self.settings.table:
            return all_of(calls, Blocked("Responsys has no extension table for values", prepare=True))
        places = list(units(self, calls).values())
        listed = yield from self.to_list([calls[each[0]] for each in places])
        known: dict[int, Outcome | None] = {}
        for each, outcome in zip(places, listed, strict=True):
            known |= dict.fromkeys(each, outcome if isinstance(outcome, Rejected | Blocked) else None)
        tell = self._values if calls[0].kind == "identify" else self._events
        return (yield from besides(calls, [known[place] for place in range(len(calls))], tell))

    def _values(self, calls: list[Call]) -> Conversation:
        places = list(units(self, calls).values())
        found = [self._row([calls[place] for place in each]) for each in places]
        told = yield from self.to_table(self.settings.table, found, calls[0].identifier.type)
        if any(isinstance(outcome, Blocked) and outcome.prepare for outcome in told):
            self.memory.pop("table", None)
        outcomes = {place: outcome for each, outcome in zip(places, told, strict=True) for place in each}
        return [outcomes[place] for place in range(len(calls))]

    def _row(self, calls: Sequence[Call]) -> dict[str, str]:
        column, value = whom(calls[0])
        row = {column: value}
        for call in calls:
            own = {name: told for name, told in call.traits.items() if name not in COLUMNS}
            row |= {self._column(name): text(told) for name, told in {**own, call.key: call.value}.items()}
        return row

    def _events(self, calls: list[Call]) -> Conversation:
        """An answer names nobody: it has a row for each recipient, in their order."""
        folder, listed = self.settings.list_folder, self.settings.profile_list
        recipients = []
        for call in calls:
            name: str = RECIPIENT[call.identifier.type]
            recipient = {name: whom(call)[1], "listName": {"folderName": folder, "objectName": listed}}
            data = [{"name": key, "value": text(value)} for key, value in self.properties(call).items()]
            recipients.append({"recipient": recipient, "optionalData": data})
        event = self.event_at_vendor(self.event(calls[0]))
        reply = yield self.ask("POST", f"/events/{quote(event, safe='')}", json={"recipientData": recipients})
        answers = reply.json()
        if not reply.ok:
            return all_of(calls, refused(reply, words=words_of(reply)))
        if not isinstance(answers, list) or len(answers) != len(calls):
            return all_of(calls, Delivered(unconfirmed=True))
        return [_told(each) for each in answers]

    def route(self, call: Call) -> str:
        """A request is about one event."""
        return super().route(call) + (f":{self.event(call)}" if call.kind == "track" else "")


def _told(answer: Any) -> Outcome:
    words = word(answer, "errorMessage")
    if isinstance(answer, dict) and answer.get("success") is False:
        return Rejected("not_found" if "RECIPIENT" in words.upper() else "refused", words)
    return Delivered()
