"""ActiveCampaign: contacts with custom fields, and tracked events. Fields and names of events are made ahead."""

from collections.abc import Generator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from transforms.destinations.auth import Body, ByEndpoint, Header
from transforms.destinations.contract import (
    Blocked,
    Call,
    Conversation,
    Limit,
    Outcome,
    Preparation,
    Rejected,
    Reply,
    Request,
    Secret,
    Target,
    Verdict,
    besides,
    says_nothing,
)
from transforms.destinations.plain import Item, Plain, text
from transforms.destinations.reading import part, rows, word
from transforms.destinations.safety import check_texts

EVENTS = "https://trackcmp.net/event"
# Attributes of a contact; any other trait is a custom field.
STANDARD = {"first_name": "firstName", "last_name": "lastName", "phone": "phone"}
PAGE = 100


class ActiveCampaign(Plain):
    slug = "activecampaign"
    name = "ActiveCampaign"
    page = "https://developers.activecampaign.com/reference/overview"
    base = "https://{host}/api/3"
    names = {"email": "email"}
    limits = (Limit(5, source="https://developers.activecampaign.com/reference/rate-limits"),)
    auth = ByEndpoint(
        Header("api-token", "{api_key}"), {"events": Body({"actid": "{event_account}", "key": "{event_key}"})}
    )

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one account."""

        host: Annotated[
            str, Meta(pattern=r"^[\w.-]+$", description="Of the API URL: acme.api-us1.com; Settings > Developer.")
        ]
        api_key: Annotated[Secret, Meta(description="API key, from the same page.")]
        event_account: Annotated[str, Meta(pattern=r"^\w*$", description="`actid` of event tracking.")] = ""
        event_key: Annotated[
            Secret | None, Meta(description="Event key: Website > Event tracking. Only for the form track.")
        ] = None

        def __post_init__(self) -> None:
            check_texts(self)

    def check(self, call: Call) -> Rejected | None:
        if call.kind == "track" and not (self.settings.event_account and self.settings.event_key):
            return Rejected("unsupported", "ActiveCampaign takes events with `event_account` and `event_key` only")
        return super().check(call)

    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        """Make the custom fields and the names of events that are not there."""
        contacts = {target: call for target, call in targets.items() if target.form == "identify"}
        if contacts:
            yield from self._make_fields(contacts)
        blocked = {target: found.words for target, call in contacts.items() if (found := self._blocked(call))}
        events = {target: self._events(call) for target, call in targets.items() if target.form == "track"}
        failed = (yield from self._make_events(set().union(*events.values()))) if events else {}
        return blocked | {target: failed[name] for target, names in events.items() for name in names if name in failed}

    def _make_events(self, names: set[str]) -> Generator[Request, Reply, dict[str, str]]:
        """Why names cannot be had."""
        known = {word(row, "name") for row in (yield from self._all("eventTrackingEvents"))}
        failed = {}
        for name in sorted(names - known):
            reply = yield self.post("/eventTrackingEvents", {"eventTrackingEvent": {"name": name}})
            if not reply.ok:
                failed[name] = f"ActiveCampaign has no event {name!r}: {reply.words()}"
        return failed

    def _make_fields(self, contacts: Mapping[Target, Call]) -> Generator[Request, Reply, None]:
        found = yield from self._all("fields")
        known = self.memory["fields"] = {word(each, name).lower(): word(each, "id")
                                         for name in ("title", "perstag") for each in found}  # fmt: skip
        for target, call in contacts.items():
            for name in self._missing(call):
                made = {"type": "text", "title": name, "perstag": name.upper(), "visible": 1}
                field = word(part((yield self.post("/fields", {"field": made})).object, "field"), "id")
                if field:
                    known[name.lower()] = field
                    if name not in call.traits:
                        self.made.add(target)
                    # A field shows on contacts of every list by a relation to list 0.
                    yield self.post("/fieldRels", {"fieldRel": {"field": field, "relid": "0"}})

    def _all(self, what: str) -> Generator[Request, Reply, list[dict[str, Any]]]:
        """All rows of a collection."""
        found: list[dict[str, Any]] = []
        while True:
            reply = yield self.ask("GET", f"/{what}", params={"limit": str(PAGE), "offset": str(len(found))})
            page = rows(reply.object, what)
            found += page
            if len(page) < PAGE:
                return found

    def _events(self, call: Call) -> set[str]:
        """The names of the events of a call's key."""
        return {self.event(msgspec.structs.replace(call, value=value)) for value in (True, False)}

    def _missing(self, call: Call) -> list[str]:
        fields = self.memory.get("fields", {})
        names = (self.name_at_vendor("identify", call.key), *call.traits)
        return [name for name in names if name not in STANDARD | self.names and name.lower() not in fields]

    def _blocked(self, call: Call) -> Blocked | None:
        missing = self._missing(call) if call.kind == "identify" else []
        return Blocked(f"ActiveCampaign has no custom field {missing[0]!r}", prepare=True) if missing else None

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        return (yield from besides(calls, [self._blocked(call) for call in calls], super().deliver))

    def identify(self, contact: Item) -> Request:
        own = {STANDARD[name]: value for name, value in contact.traits.items() if name in STANDARD}
        fields = self.memory["fields"]
        values = [
            {"field": fields[name.lower()], "value": _value(value)}
            for name, value in contact.traits.items()
            if name not in STANDARD
        ]
        return self.post("/contact/sync", {"contact": {**contact.ids, **own, "fieldValues": values}})

    def track(self, event: Item) -> Request:
        form = {"event": event.event, "eventdata": text(event.properties), "visit": text(event.ids)}
        return Request("POST", EVENTS, form=form, endpoint="events")

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        if says_nothing(request, reply):  # of fields: one that is not seen would be made a second time
            return Verdict("transient", words=reply.words())
        return super().classify(request, reply, items)

    def read(self, reply: Reply, items: Sequence[Item]) -> Outcome | Sequence[Outcome]:
        """An event that is not taken has an answer of 200 too, with `success` 0 (unsure)."""
        if reply.ok and items[0].event and word(reply.object, "success") == "0":
            return Rejected("refused", word(reply.object, "message"))
        return super().read(reply, items)


def _value(value: Any) -> str:
    """Several values are written `||a||b||`."""
    return f"||{'||'.join(map(text, value))}||" if isinstance(value, list) and value else text(value)
