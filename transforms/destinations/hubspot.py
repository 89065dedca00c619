"""HubSpot: properties of contacts and companies, and custom events, CRM API v3."""

from collections.abc import Collection, Generator, Hashable, Iterator, Mapping, Sequence
from datetime import date
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from schemas.canonical import digest
from schemas.workspace import Connection, EventNames, Workspace
from transforms.destinations.auth import Bearer, RefreshToken
from transforms.destinations.contract import (
    CAPS_TABLE,
    ApiVersion,
    Batch,
    Blocked,
    Call,
    Conversation,
    Delivered,
    Destination,
    Emptying,
    Form,
    Identifier,
    Limit,
    Outcome,
    Preparation,
    Rejected,
    Reply,
    Request,
    Secret,
    Target,
    Verdict,
    all_of,
    by_status,
    form_of,
    refused,
    retry_after,
    timestamp,
)
from transforms.destinations.hubspot_companies import Companies
from transforms.destinations.hubspot_contacts import create_or_update, read, write
from transforms.destinations.hubspot_lists import LISTS, Lists
from transforms.destinations.hubspot_setup import Need, SetUp, missing_fields, own_outcome
from transforms.destinations.hubspot_shapes import (
    ASSOCIATIONS,
    COMPANIES,
    CONTACTS,
    EVENTS,
    PROPERTIES,
    STANDARD,
    TOKEN,
    UNDEFINED,
    Fields,
    field_of,
    gone,
    message_of,
    missing_properties,
    name_of,
    no_property,
    property_name,
    refusal,
    text,
    type_of,
)
from transforms.destinations.personal import is_address
from transforms.destinations.reading import word
from transforms.destinations.safety import check_texts, fingerprint

# The daily quota is filled up at midnight in the account's time zone, which is not known here: ask every hour.
NEXT_DAY = 3600.0
SEND = f"{EVENTS}/send/batch"  # occurrences of events
COUNTED_APART = "events"  # their class of requests
TEN_SECONDS = 10.0  # HubSpot's window, where an answer does not say how long
NEVER_TOLD = (digest(False), digest(None))  # what a vendor has of a key that was never told


class HubSpot(Destination):
    slug = "hubspot"
    name = "HubSpot"
    page = "https://developers.hubspot.com/docs/guides/api/crm/objects/contacts"
    remark = "An account is a company, known by the property `account_id_property`; `enrich: [name]` gives it a name."
    forms = ("identify", "track", "group", "member", "list")
    flush_every: ClassVar[Mapping[Form, float]] = {"list": 3600.0}
    identifiers: tuple[str, ...] = ("email",)
    api_version = ApiVersion(
        "v3", date(2027, 9, 1), "https://developers.hubspot.com/docs/api-reference/legacy/migration-guide"
    )
    limits = (
        Limit(10, source=f"{CAPS_TABLE} (5 objects/s, 2 calls per object)", besides=(COUNTED_APART,)),
        Limit(
            1250,
            1.0,
            COUNTED_APART,
            source="https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines",
        ),
    )
    batch = Batch(100)
    forgets = True

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access by a Service Key or by OAuth, and how people are found."""

        access_token: Annotated[
            Secret | None,
            Meta(
                description="A Service Key, or the token of an older private app: contacts read and write, "
                "contact schemas write, event scopes."
            ),
        ] = None
        refresh_token: Annotated[Secret | None, Meta(description="OAuth refresh token, instead of access_token.")] = (
            None
        )
        client_id: Annotated[str, Meta(description="Client id of the OAuth app.")] = ""
        client_secret: Annotated[Secret | None, Meta(description="Client secret of the OAuth app.")] = None
        user_id_property: Annotated[
            str,
            Meta(
                pattern="^([a-z][a-z0-9_]*)?$",
                description="Contact property that holds the user_id: then people are also found by it. "
                "It must have unique values; it is created where it is missing.",
            ),
        ] = ""
        account_id_property: Annotated[
            str,
            Meta(
                pattern=r"^[a-z][a-z0-9_]*\Z",
                description="Company property that holds the account's id: companies are found by it. It must have "
                "unique values; it is created where it is missing.",
            ),
        ] = "account_id"
        upsert: Annotated[
            bool,
            Meta(description="Write addresses too by batch/upsert, always in one request. HubSpot warns that it may "
                 "not keep the properties that are not sent."),
        ] = False  # fmt: skip

        def __post_init__(self) -> None:
            check_texts(self)
            oauth = (self.refresh_token, self.client_id, self.client_secret)
            if (self.access_token is None) != all(oauth) or (self.access_token and any(oauth)):
                raise ValueError("expected either access_token, or refresh_token, client_id and client_secret")

    settings: Settings

    def __init__(self, workspace: Workspace, connection: Connection) -> None:
        super().__init__(workspace, connection)
        if self.settings.user_id_property:
            self.identifiers = ("email", "user_id")
        self.auth = Bearer("{access_token}") if self.settings.access_token else RefreshToken(TOKEN)
        self._set_up = SetUp()
        self._lists = Lists(self.made.add)
        self._companies = Companies(self.settings.account_id_property, self)

    def tenant(self) -> str:
        """The variable of the token: only the token says which account it is of."""
        settings = self.settings
        secret = settings.access_token or settings.refresh_token
        return f"{self.slug}:{fingerprint(settings.client_id, str(secret) if secret else '')}"

    def name_at_vendor(self, form: Form, key: str) -> str:
        return property_name(key)

    def trait_at_vendor(self, trait: str) -> str:
        return STANDARD.get(trait) or property_name(trait)

    def event_at_vendor(self, name: str) -> str:
        return property_name(name)

    # -- conversations
    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        """Create the contact properties and event definitions that are missing; keep their names."""
        samples = [call for call in targets.values() if call.kind != "group"]
        self._set_up.missing.clear()
        known: list[str] = self.memory.setdefault("properties", [])
        fields = missing_fields((pair for call in samples for pair in self._contact_fields(call)), known)
        if fields:
            yield from self._set_up.properties(fields, known)
        defined: dict[str, dict[str, Any]] = self.memory.setdefault("events", {})
        events: dict[str, Fields] = {}
        for call in samples:
            for label in self._labels(call):
                there = defined.get(label, {}).get("properties", ())
                new = {name: field for name, field in self._event_fields(call) if name not in there}
                if new:
                    events.setdefault(label, {}).update(new)
        if events:
            yield from self._set_up.events(events, defined)
        missing, created = self._set_up.missing, self._set_up.created
        self.made |= {t for t, call in targets.items() if not created.isdisjoint(self._needs_of_all(call))}
        refusals = yield from self._lists.prepare(targets, self.memory)
        refusals |= yield from self._companies.prepare(targets)
        return refusals | {
            target: missing[need].words
            for target, call in targets.items()
            for need in self._needs_of_all(call)
            if need in missing
        }

    def empty(self, key: str, now: float) -> Emptying:
        return (yield from self._lists.empty(key, self.memory))

    def route(self, call: Call) -> str:
        """A request names its people by one property; a list's has one list and one direction."""
        key = f":{call.key}" if call.kind in ("add", "remove") else ""
        return f"{call.kind}:{call.identifier.type}{key}"

    def unit(self, call: Call) -> Hashable:
        """One contact: a batch must not name it twice."""
        if call.kind == "track":
            return super().unit(call)
        return (call.kind, call.identifier.type, name_of(call.identifier))

    def batch_of(self, route: str) -> Batch:
        if route == "track:email":
            return Batch(500)  # https://developers.hubspot.com/docs/guides/api/analytics-and-events/custom-events
        return Batch() if route.startswith("delete") else self.batch

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if call.identifier.type == "email" and not is_address(name_of(call.identifier)):
            return Rejected("invalid_identifier", "this email cannot be right: expected name@host")
        return None

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        if calls[0].identifier.type == "user_id":
            unique = self._set_up.missing.get(("property", self.settings.user_id_property))
            if unique:
                return all_of(calls, unique)
        if form_of(calls[0]) == "list":
            id_property, lost = self._id_property(calls[0].identifier), set[str]()
            outcomes = yield from self._lists.deliver(calls, id_property, self.memory, lost)
            return all_of(calls, self._set_up.lose_property(id_property, self.memory)) if lost else outcomes
        if calls[0].kind == "member":
            id_property, lost = self._id_property(calls[0].identifier), set[str]()
            outcomes = yield from self._companies.belong(calls, id_property, lost)
            return all_of(calls, self._set_up.lose_property(id_property, self.memory)) if lost else outcomes
        deliver = {"track": self._track, "group": self._companies.deliver}.get(calls[0].kind, self._identify)
        return (yield from deliver(calls))

    def _identify(self, calls: Sequence[Call]) -> Conversation:
        lost: set[str] = set()
        contacts: dict[str, dict[str, str]] = {}
        for call in calls:
            fields = {name: text(value) for name, value in self._values(call)}
            contacts.setdefault(name_of(call.identifier), {}).update(fields)
        id_property = self._id_property(calls[0].identifier)
        if self.settings.upsert or id_property != "email":  # of a unique property, HubSpot keeps what is not sent
            inputs = [
                ([value], {"id": value, "idProperty": id_property, "properties": fields})
                for value, fields in contacts.items()
            ]
            results = yield from write("upsert", inputs, lost)
        else:
            known = {name_of(call.identifier) for call in calls if call.before not in NEVER_TOLD}
            results = yield from create_or_update(contacts, contacts.keys() - known, lost)
        missed = Rejected("conflict", "HubSpot says that the contact exists, but does not find it")
        told = [results.get(name_of(call.identifier), missed) for call in calls]
        told = [self._own(call, now, contacts[name_of(call.identifier)]) for call, now in zip(calls, told, strict=True)]
        return self._set_up.settle(calls, told, lost, self.memory, self._needs)

    def _own(self, call: Call, now: Outcome, sent: Mapping[str, str]) -> Outcome:
        key = (self.name_at_vendor("identify", call.key), self.is_audience(call))
        return own_outcome(now, sent, key, [name for name, _ in self._values(call)], "contact")

    def forget(self, calls: Sequence[Call]) -> Conversation:
        """Delete the contact for good. HubSpot also bars an address that it does not know from ever coming in."""
        identifier = calls[0].identifier
        order = {"objectId": name_of(identifier), "idProperty": "email"}
        if identifier.type == "user_id":
            found = yield from read(self.settings.user_id_property, [name_of(identifier)], set())
            if not isinstance(found, dict):
                return all_of(calls, found)
            if not found:
                return all_of(calls, Delivered())
            order = {"objectId": found[name_of(identifier)]}
        reply = yield Request("POST", f"{CONTACTS}/gdpr-delete", json=order)
        gone = reply.status == 404 and word(reply.object, "category") == "OBJECT_NOT_FOUND"
        return all_of(calls, Delivered() if reply.ok or gone else refused(reply))

    # -- replies
    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        status = reply.status
        if reply.ok and status != 204 and not reply.object:
            return Verdict("transient", words=reply.words())
        if status == 423:  # somebody else is writing the same records
            return Verdict("transient", max(2.0, retry_after(reply) or 0.0), reply.words())
        if status == 477:  # the account is being moved to another data centre
            return Verdict("throttled", retry_after(reply), reply.words())
        if status == 429 and reply.object.get("policyName") == "DAILY":
            return Verdict("throttled", retry_after(reply) or NEXT_DAY, reply.words())
        if status == 429 and reply.object.get("policyName") == "TEN_SECONDLY_ROLLING":
            return Verdict("throttled", retry_after(reply) or TEN_SECONDS, reply.words())
        # Not every plan has custom events, not every token may make properties: no reason to stop the others.
        if status == 403 and request.url.startswith((EVENTS, PROPERTIES, COMPANIES, ASSOCIATIONS)):
            return Verdict("answered")
        if status == 404 and request.url.startswith(LISTS):
            return Verdict("answered")
        if status == 409 and items > 1 and request.url.endswith("/upsert"):  # one address is another contact's
            return Verdict("halve", words=reply.words())
        if status in (404, 409) and "category" in reply.object:  # a contact or event that is gone, or there by now
            return Verdict("answered")
        if status == 400 and self._lacks(request, message_of(reply)):
            return Verdict("answered")
        return by_status(reply, items)

    def _lacks(self, request: Request, message: str) -> bool:
        """Whether a request is refused for a property or event that HubSpot does not have."""
        if request.url == SEND:
            return bool(UNDEFINED.search(message))
        by = self.settings.account_id_property if request.url.startswith(COMPANIES) else self.settings.user_id_property
        return bool(missing_properties(message)) or no_property(message, by)

    # -- what calls need
    def _contact_fields(self, call: Call) -> Iterator[tuple[str, dict[str, Any]]]:
        """Definitions of the contact properties that calls like this one need."""
        # Whatever identifier the sample has: other calls of its key will have a user_id.
        if unique := self.settings.user_id_property:
            yield unique, field_of(unique, unique, "") | {"hasUniqueValue": True}
        if call.kind == "identify":
            sync = self.sync(call)
            enrichment = dict.fromkeys(sync.enrich, "") if sync else {}
            for key, name, value in self._named(call, enrichment):
                yield name, field_of(name, key, value)

    def _labels(self, call: Call) -> tuple[str, ...]:
        """The events that calls like this one can be."""
        if call.kind != "track":
            return ()
        sync = self.sync(call)
        names = sync.events if sync else EventNames()
        return (names.computed,) if self.computation(call).kind == "trait" else (names.entered, names.exited)

    def _event_fields(self, call: Call) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, value in self.properties(call).items():
            name = self.name_at_vendor("track", key)
            yield name, {"name": name, "label": key, **type_of(value)}

    def _needs_of_all(self, call: Call) -> Iterator[Need]:
        """What calls like this one need, whatever their identifier, value and enrichment."""
        for name, _ in self._contact_fields(call):
            if name != self.settings.user_id_property:
                yield "property", name
        for label in self._labels(call):
            yield from self._event_needs(call, label)

    def _needs(self, call: Call) -> Iterator[Need]:
        """The properties and events that HubSpot must have before it can take this call."""
        if call.identifier.type == "user_id":
            yield "property", self.settings.user_id_property
        if call.kind == "identify":
            yield from (("property", name) for name, _ in self._values(call))
        if call.kind == "track":
            yield from self._event_needs(call, self.event(call))

    def _event_needs(self, call: Call, label: str) -> Iterator[Need]:
        yield from (("events",), ("event", label), ("event", label, self.name_at_vendor("track", call.key)))

    def _values(self, call: Call) -> Iterator[tuple[str, Any]]:
        """The properties that an identify call sets, by HubSpot's names."""
        yield from ((name, value) for _, name, value in self._named(call, {}))

    def _named(self, call: Call, more: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
        """Our name, HubSpot's name and value of each property that an identify call sets."""
        for trait, value in {**more, **call.traits}.items():
            # An address that is not the contact's first must not become it.
            if trait != call.key and (trait != "email" or call.identifier.type != "email"):
                yield trait, self.trait_at_vendor(trait), value
        yield call.key, self.name_at_vendor("identify", call.key), call.value

    def _id_property(self, identifier: Identifier) -> str:
        return self.settings.user_id_property if identifier.type == "user_id" else "email"

    # -- events
    def _track(self, calls: Sequence[Call]) -> Conversation:
        people = {name_of(call.identifier): {"email": name_of(call.identifier)} for call in calls}
        if calls[0].identifier.type == "user_id":
            id_property, lost = self.settings.user_id_property, set[str]()
            records = yield from read(id_property, list(people), lost)
            if lost:
                return all_of(calls, self._set_up.lose_property(id_property, self.memory))
            if not isinstance(records, dict):
                return all_of(calls, records)
            people = {value: {"objectId": record} for value, record in records.items()}
        events = self.memory.get("events", {})
        results: dict[int, Outcome] = {}
        inputs: dict[int, dict[str, Any]] = {}
        for position, call in enumerate(calls):
            label, person = self.event(call), people.get(name_of(call.identifier))
            if label not in events:
                results[position] = gone(f"event {label!r}")
            elif person is None:
                results[position] = Rejected("not_found", "HubSpot has no contact of this user_id; identify makes one")
            else:
                inputs[position] = self._occurrence(call, events[label]["name"], person)
        if not inputs:
            return [results[position] for position in range(len(calls))]
        reply = yield from self._send(inputs.values())
        if reply.status == 404 and len({self.event(calls[p]) for p in inputs}) > 1:  # which of the events is it?
            for label in dict.fromkeys(self.event(calls[p]) for p in inputs):
                same = {p: one for p, one in inputs.items() if self.event(calls[p]) == label}
                reply = yield from self._send(same.values())
                results |= dict.fromkeys(same, self._sent(reply, label))
        else:
            labels = {self.event(calls[position]) for position in inputs}
            told = {label: self._sent(reply, label) for label in labels}
            results |= {position: told[self.event(calls[position])] for position in inputs}
        return [results[position] for position in range(len(calls))]

    def _occurrence(self, call: Call, name: str, person: Mapping[str, str]) -> dict[str, Any]:
        return {
            "eventName": name,
            **person,
            "occurredAt": timestamp(call.at),
            "uuid": self.message_id(call),
            "properties": {
                self.name_at_vendor("track", key): text(value) for key, value in self.properties(call).items()
            },
        }

    def _send(self, events: Collection[dict[str, Any]]) -> Generator[Request, Reply, Reply]:
        return (yield Request("POST", SEND, json={"inputs": list(events)}, endpoint=COUNTED_APART))

    def _sent(self, reply: Reply, label: str) -> Outcome:
        """What became of the events of one name that a request had."""
        if reply.ok:
            self._set_up.young.seen(("event", label))
            return Delivered()
        if reply.status == 403:
            return Blocked(f"HubSpot does not take events: {message_of(reply)}")
        if reply.status == 404 or (reply.status == 400 and UNDEFINED.search(message_of(reply))):
            return self._set_up.lose_event(label, self.memory, message_of(reply))
        return refusal(reply)
