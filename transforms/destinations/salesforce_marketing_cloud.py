"""Salesforce Marketing Cloud: rows of one data extension, and events of journeys. https://developer.salesforce.com/docs/marketing/marketing-cloud"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta

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
    Verdict,
    all_of,
    besides,
    refused,
    units,
)
from transforms.destinations.names import in_ascii
from transforms.destinations.plain import flat
from transforms.destinations.reading import word
from transforms.destinations.salesforce_marketing_cloud_account import (
    GUIDE,
    KEY,
    Access,
    Account,
    Column,
    address,
    fitted,
    misfit,
    whom,
    words_of,
)

# Names that no column of ours may take.
TAKEN = {"email", "contact_key", "contact key"}
EVENTS = "/interaction/v1/events"


class MarketingCloud(Account):
    slug = "salesforce-marketing-cloud"
    name = "Salesforce Marketing Cloud"
    page = GUIDE
    remark = "The data extension and its columns are made where they are not there; who is mailed from it is a contact."
    forms = ("identify", "track")
    batch = Batch(50, 1_000_000)

    class Settings(Access, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one business unit, and what is there."""

        data_extension: Annotated[
            str, Meta(pattern="^[A-Za-z0-9 _-]+$", description="Its name; a row per person, with a column per key.")
        ] = "profilecast"
        events: Annotated[
            dict[str, str],
            Meta(description="Event definition keys of journeys, by the names of events: only these can be sent."),
        ] = {}

    settings: Settings

    def tenant(self) -> str:
        return f"{super().tenant()}:{self.settings.data_extension.lower()}"

    def name_at_vendor(self, form: Form, key: str) -> str:
        """The name of a column: none that the row has anyway, and no `_` first."""
        if form == "track":
            return key
        name = in_ascii(key, 100)
        return f"t_{name}" if name.lower() in TAKEN or name.startswith("_") else name

    def trait_at_vendor(self, trait: str) -> str:
        return "Email" if trait == "email" else super().trait_at_vendor(trait)

    # -- what the calls need
    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        """Find or make the data extension, then the columns that are missing."""
        wanted = {target: self._columns(call) for target, call in sorted(targets.items()) if target.form == "identify"}
        columns = {name: value for told in wanted.values() for name, value in told.items()}
        known = self.memory.setdefault("columns", {})
        if not wanted or ("extension" in self.memory and all(name.lower() in known for name in columns)):
            return None
        name = self.settings.data_extension
        if "extension" not in self.memory:
            found, why = yield from self.find_extension(name)
            if not found and not why:
                found, why = yield from self.make_extension(name, columns)
                self.made |= {*wanted} if found else set()
            if not found:
                return dict.fromkeys(wanted, why)
            self.memory["extension"] = found
        extension = self.memory["extension"]
        there = yield from self.columns_of(extension)
        if there is None:
            self._lose(extension)
            return dict.fromkeys(wanted, f"Marketing Cloud does not show the columns of {name!r}")
        missing = {name: value for name, value in columns.items() if name.lower() not in there}
        why = (yield from self.add_columns(extension, missing)) if missing else ""
        if missing and not why:
            there = yield from self.await_columns(extension, {*missing})
            self.made |= {target for target in wanted if self.name_at_vendor("identify", target.key) in missing}
        self.memory["columns"] = known | {n.lower(): there[n.lower()] for n in columns if n.lower() in there}
        words = why or "Marketing Cloud is still making a column: it is looked for in the next run"
        return {t: words for t, told in wanted.items() if any(n.lower() not in self.memory["columns"] for n in told)}

    def _columns(self, call: Call) -> dict[str, Any]:
        """Columns of a call and of its sync, with samples of values."""
        sync = self.sync(call)
        traits = {**dict.fromkeys(sync.enrich if sync else ()), **call.traits}
        told = {self.trait_at_vendor(name): value for name, value in traits.items()} | {"Email": ""}
        return told | {self.name_at_vendor("identify", call.key): call.value}

    def _lose(self, extension: str) -> None:
        """The data extension was deleted: forget it, unless another was made meanwhile."""
        if self.memory.get("extension") == extension:
            self.memory.pop("extension")
            self.memory.pop("columns", None)

    # -- calls
    def batch_of(self, route: str) -> Batch:
        return Batch() if route == "track" else self.batch

    def unit(self, call: Call) -> Any:
        return super().unit(call) if call.kind == "track" else (call.kind, whom(call))

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if call.kind == "track" and self.event(call) not in self.settings.events:
            words = f"`events` of the settings has no event definition key for {self.event(call)!r}"
            return Rejected("unknown_field", words)
        return None

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        if calls[0].kind == "track":
            return (yield from self._enter(calls[0]))
        return (yield from besides(calls, [self._unfit(call) for call in calls], self._save))

    def _unfit(self, call: Call) -> Outcome | None:
        """What needs no request: a column that is not prepared, or a value that one does not take."""
        known: dict[str, Column] = self.memory.get("columns", {})
        told = self._told(call)
        missing = next((name for name in told if name.lower() not in known), None)
        if missing or "extension" not in self.memory:
            return Blocked(f"the data extension has no column {missing or KEY!r}", prepare=True)
        own = self.name_at_vendor("identify", call.key)
        # A trait that is not known is left out.
        wrong = (misfit(v, known[n.lower()]) for n, v in told.items() if n == own or v is not None)
        return next(filter(None, wrong), None)

    def _told(self, call: Call) -> dict[str, Any]:
        told = {self.trait_at_vendor(name): value for name, value in call.traits.items()} | address(call)
        return told | {self.name_at_vendor("identify", call.key): call.value}

    def _save(self, calls: list[Call]) -> Conversation:
        """An answer of 400 names no row, and those before it are saved: it is looked for by halving."""
        known, extension = self.memory["columns"], self.memory["extension"]
        body = []
        for places in units(self, calls).values():
            told = {name: value for place in places for name, value in self._told(calls[place]).items()}
            values = {known[name.lower()][0]: fitted(value, known[name.lower()]) for name, value in told.items()
                      if value is not None or known[name.lower()][1].lower() == "text"}  # fmt: skip
            body.append({"keys": {KEY: whom(calls[places[0]])}, "values": values})
        reply = yield self.ask("POST", f"/hub/v1/dataevents/{extension}/rowset", json=body)
        if reply.status == 404:
            self._lose(extension)
            return all_of(calls, Blocked("the data extension was deleted at Marketing Cloud", prepare=True, lost=True))
        if not reply.ok:
            return all_of(calls, refused(reply, "invalid_value" if reply.status == 400 else None, words_of(reply)))
        saved = reply.json()
        return all_of(calls, Delivered(unconfirmed=not isinstance(saved, list) or len(saved) != len(body)))

    def _enter(self, call: Call) -> Conversation:
        """An event of a journey. A repeated one lets the contact enter twice, where the journey allows it."""
        told = {name: flat(value) for name, value in self.properties(call).items() if value is not None}
        key = self.settings.events[self.event(call)]
        body = {"ContactKey": whom(call), "EventDefinitionKey": key, "Data": {**told, **address(call)}}
        reply = yield self.ask("POST", EVENTS, json=body)
        if reply.status == 404 or (reply.status == 400 and "eventdefinition" in words_of(reply).lower()):
            return [Blocked(f"Marketing Cloud takes no event of {key!r}: {words_of(reply)}")]
        if not reply.ok:
            return [refused(reply, "invalid_value" if reply.status == 400 else None, words_of(reply))]
        return [Delivered(unconfirmed=not word(reply.object, "eventInstanceId"))]

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        if reply.status == 404 and request.url.endswith(EVENTS):
            return Verdict("answered")
        return super().classify(request, reply, items)
