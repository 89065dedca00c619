"""HubSpot: contact properties and custom events, CRM API v3."""

import re
from collections.abc import Collection, Generator, Hashable, Iterator, Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Meta, Struct

from schemas.canonical import canonical
from schemas.outcomes import Later, Reason
from schemas.workspace import Connection, EventNames, Workspace
from transforms.destinations.contract import (
    CAPS_TABLE,
    Batch,
    Call,
    Conversation,
    Delivered,
    Destination,
    Identifier,
    Limit,
    Memory,
    Outcome,
    Preparation,
    Rejected,
    Reply,
    Request,
    Secret,
    Verdict,
    all_of,
    by_status,
    refused,
    retry_after,
    timestamp,
)

API = "https://api.hubapi.com"
TOKEN = f"{API}/oauth/v1/token"
CONTACTS = f"{API}/crm/v3/objects/contacts"
PROPERTIES = f"{API}/crm/v3/properties/contacts"
EVENTS = f"{API}/events/v3"
# HubSpot's own names of traits that every contact has.
STANDARD = {"first_name": "firstname", "last_name": "lastname", "postal_code": "zip"}
CHOICES = [
    {"label": label, "value": label.lower(), "displayOrder": order, "hidden": False}
    for order, label in enumerate(("True", "False"), 1)
]
# How people fill a property in, by its type.
INPUTS = {"enumeration": "booleancheckbox", "number": "number", "string": "text"}
# Errors of one contact that reading again settles: it exists by now, or it is gone.
AGAIN = frozenset({"CONFLICT", "OBJECT_ALREADY_EXISTS", "OBJECT_NOT_FOUND"})
BUSY = frozenset({"RATE_LIMITS", "INTERNAL_ERROR"})
# The daily quota is filled up at midnight in the account's time zone, which is not known here: ask every hour.
NEXT_DAY = 3600.0

Fields = dict[str, dict[str, Any]]  # definitions of properties by name
Write = tuple[list[str], dict[str, Any]]  # the identifiers of a contact, and what is written


class HubSpot(Destination):
    slug = "hubspot"
    name = "HubSpot"
    page = "https://developers.hubspot.com/docs/guides/api/crm/objects/contacts"
    forms = ("identify", "track")
    identifiers = ("email",)
    limits = (Limit(10, source=f"{CAPS_TABLE} (5 objects/s, 2 calls per object)"),)
    batch = Batch(100)
    forgets = True
    renews = True

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access by the token of a private app, or by OAuth; and how people are found."""

        access_token: Annotated[
            Secret | None,
            Meta(description="Token of a private app: contacts read and write, contact schemas write, event scopes."),
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
        upsert: Annotated[
            bool,
            Meta(description="Write by batch/upsert, one request where there are three. HubSpot warns that it may "
                 "not keep the properties that are not sent."),
        ] = False  # fmt: skip

        def __post_init__(self) -> None:
            oauth = (self.refresh_token, self.client_id, self.client_secret)
            if (self.access_token is None) != all(oauth) or (self.access_token and any(oauth)):
                raise ValueError("expected either access_token, or refresh_token, client_id and client_secret")

    settings: Settings

    def __init__(self, workspace: Workspace, connection: Connection) -> None:
        super().__init__(workspace, connection)
        self._token = ""  # of OAuth
        self._refused: dict[tuple[str, ...], Rejected] = {}  # properties and events that cannot be had, and why

    def understands(self) -> tuple[str, ...]:
        return ("email", "user_id") if self.settings.user_id_property else ("email",)

    # -- conversations
    def prepare(self, samples: Sequence[Call], memory: Memory) -> Preparation:
        """Create the contact properties and event definitions that are missing; keep their names."""
        yield from self._sign_in()
        known: list[str] = memory.setdefault("properties", [])
        fields: Fields = {}
        for name, field in (pair for call in samples for pair in self._contact_fields(call)):
            if name not in known and (name not in fields or field["type"] != "string"):
                fields[name] = field
        if fields:
            yield from self._prepare_properties(fields, known)
        defined: dict[str, dict[str, Any]] = memory.setdefault("events", {})
        events: dict[str, Fields] = {}
        for call in samples:
            for label in self._labels(call):
                there = defined.get(label, {}).get("properties", ())
                new = {name: field for name, field in self._event_fields(call) if name not in there}
                if new:
                    events.setdefault(label, {}).update(new)
        if events:
            yield from self._prepare_events(events, defined)

    def route(self, call: Call) -> str:
        """A request names its people by one property."""
        return f"{call.kind}:{call.identifier.type}"

    def unit(self, call: Call) -> Hashable:
        """One contact: a batch must not name it twice."""
        if call.kind == "track":
            return super().unit(call)
        return (call.kind, call.identifier.type, _value(call.identifier))

    def batch_of(self, route: str) -> Batch:
        if route == "track:email":
            return Batch(500)  # https://developers.hubspot.com/docs/guides/api/analytics-and-events/custom-events
        return Batch() if route.startswith("delete") else self.batch

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if call.identifier.type == "email" and not re.fullmatch(r"[^@\s]+@[^@\s]+", _value(call.identifier)):
            return Rejected("invalid_identifier", "this email cannot be right: expected name@host")
        return next((self._refused[need] for need in self._needs(call) if need in self._refused), None)

    def deliver(self, calls: Sequence[Call], memory: Memory) -> Conversation:
        yield from self._sign_in()
        if calls[0].kind == "track":
            return (yield from self._track(calls, memory))
        contacts: dict[str, dict[str, str]] = {}
        for call in calls:
            fields = {name: text(value) for name, value in self._values(call)}
            contacts.setdefault(_value(call.identifier), {}).update(fields)
        id_property = self._id_property(calls[0].identifier)
        if self.settings.upsert:
            inputs = [
                ([value], {"id": value, "idProperty": id_property, "properties": fields})
                for value, fields in contacts.items()
            ]
            results = yield from self._write("upsert", inputs, memory)
        else:
            results = yield from self._read_and_write(id_property, contacts, memory)
        missed = Rejected("conflict", "HubSpot says that the contact exists, but does not find it")
        told = [results.get(_value(call.identifier), missed) for call in calls]
        # A property turned out to be missing: that ends the calls that set it, and the others go once more.
        return [
            (self.check(call) or now) if isinstance(now, Later) else now for call, now in zip(calls, told, strict=True)
        ]

    def forget(self, calls: Sequence[Call], memory: Memory) -> Conversation:
        """Delete the contact for good. HubSpot also bars an address that it does not know from ever coming in."""
        yield from self._sign_in()
        identifier = calls[0].identifier
        order = {"objectId": _value(identifier), "idProperty": "email"}
        if identifier.type == "user_id":
            found = yield from self._read(self.settings.user_id_property, [_value(identifier)])
            if isinstance(found, Rejected):
                return all_of(calls, found)
            if not found:
                return all_of(calls, Delivered())
            order = {"objectId": found[_value(identifier)]}
        reply = yield Request("POST", f"{CONTACTS}/gdpr-delete", json=order)
        return all_of(calls, Delivered() if reply.ok or reply.status == 404 else refused(reply))

    # -- credentials
    def signed(self, request: Request) -> Mapping[str, str]:
        if request.url == TOKEN:
            return {}
        token = self.settings.access_token.reveal() if self.settings.access_token else self._token
        return {"authorization": f"Bearer {token}"}

    def renew(self) -> Preparation:
        """A new access token of OAuth; that of a private app does not change."""
        settings = self.settings
        if settings.refresh_token is None or settings.client_secret is None:
            return
        form = {
            "grant_type": "refresh_token",
            "client_id": settings.client_id,
            "client_secret": settings.client_secret.reveal(),
            "refresh_token": settings.refresh_token.reveal(),
        }
        kind = {"content-type": "application/x-www-form-urlencoded"}
        reply = yield Request("POST", TOKEN, content=urlencode(form).encode(), headers=kind)
        self._token = str(reply.object.get("access_token", ""))

    def _sign_in(self) -> Preparation:
        if not (self.settings.access_token or self._token):
            yield from self.renew()

    # -- replies
    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        status = reply.status
        if reply.ok and status != 204 and not reply.object:
            return Verdict("transient", words=reply.words())
        if request.url == TOKEN and status in (400, 401, 403):
            return Verdict("stop", words="HubSpot does not renew the access: are refresh token and client right?")
        if status == 423:  # somebody else is writing the same records
            return Verdict("transient", max(2.0, retry_after(reply) or 0.0), reply.words())
        if status == 477:  # the account is being moved to another data centre
            return Verdict("throttled", retry_after(reply), reply.words())
        if status == 429 and reply.object.get("policyName") == "DAILY":
            return Verdict("throttled", retry_after(reply) or NEXT_DAY, reply.words())
        if status == 403 and request.url.startswith(EVENTS):  # not every plan has custom events
            return Verdict("answered")
        # One contact exists by now (each half reads again), or one event is gone.
        if items > 1 and (status, request.url) in ((409, f"{CONTACTS}/batch/create"), (404, f"{EVENTS}/send/batch")):
            return Verdict("halve", words=reply.words())
        if status == 400 and missing_properties(_message(reply)):
            return Verdict("answered")
        return by_status(reply, items)

    # -- properties and events
    def _prepare_properties(self, fields: Fields, known: list[str]) -> Preparation:
        reply = yield Request("GET", PROPERTIES)
        existing = _by_name(reply)
        missing = {name: field for name, field in fields.items() if name not in existing}
        if missing:
            reply = yield Request("POST", f"{PROPERTIES}/batch/create", json={"inputs": list(missing.values())})
            if reply.status == 201:
                existing |= missing
            else:  # only some were made, or somebody else just made them
                existing = _by_name((yield Request("GET", PROPERTIES)))
        for name, field in fields.items():
            if name not in existing:
                self._refused["property", name] = refused(reply, "unknown_field", _message(reply))
            elif field.get("hasUniqueValue") and not existing[name].get("hasUniqueValue"):
                words = f"the values of the HubSpot property {name!r} are not unique: nobody can be found by it"
                self._refused["property", name] = Rejected("unknown_field", words)
            else:
                known.append(name)

    def _prepare_events(self, events: dict[str, Fields], defined: dict[str, dict[str, Any]]) -> Preparation:
        if not events.keys() <= defined.keys():
            existing = yield from self._definitions()
            if isinstance(existing, Rejected):
                self._refused["events",] = existing
                return
            for label in events:
                if label not in defined and property_name(label) in existing:
                    defined[label] = existing[property_name(label)]
        for label, fields in events.items():
            if label not in defined:
                reply = yield Request("POST", f"{EVENTS}/event-definitions", json=_event_definition(label, fields))
                full_name = reply.object.get("fullyQualifiedName")
                if full_name:
                    defined[label] = {"name": full_name, "properties": sorted(fields)}
                else:
                    self._refused["event", label] = refused(reply, "unknown_field", _message(reply))
                continue
            event = defined[label]
            for name in sorted(fields.keys() - event["properties"]):
                url = f"{EVENTS}/event-definitions/{event['name']}/property"
                reply = yield Request("POST", url, json=fields[name])
                if reply.ok or reply.status == 409:
                    event["properties"].append(name)
                else:
                    self._refused["event", label, name] = refused(reply, "unknown_field", _message(reply))

    def _definitions(self) -> Generator[Request, Reply, dict[str, dict[str, Any]] | Rejected]:
        """The account's event definitions by their names without `pe<account>_`."""
        found: dict[str, dict[str, Any]] = {}
        after = ""
        while True:
            reply = yield Request("GET", f"{EVENTS}/event-definitions?includeProperties=true&limit=100{after}")
            if not reply.ok:
                return refusal(reply)
            page = reply.object
            for event in page.get("results") or []:
                names = [p["name"] for p in event.get("properties") or [] if not p["name"].startswith("hs_")]
                full_name = event["fullyQualifiedName"]
                found[full_name.partition("_")[2]] = {"name": full_name, "properties": names}
            cursor = ((page.get("paging") or {}).get("next") or {}).get("after")
            if not cursor:
                return found
            after = f"&after={quote(cursor, safe='')}"

    def _contact_fields(self, call: Call) -> Iterator[tuple[str, dict[str, Any]]]:
        """Definitions of the contact properties that calls like this one need."""
        # Whatever identifier the sample has: other calls of its key will have a user_id.
        if unique := self.settings.user_id_property:
            yield unique, _contact_field(unique, "") | {"hasUniqueValue": True}
        if call.kind == "identify":
            sync = self.sync(call)
            enrichment = dict.fromkeys(sync.enrich, "") if sync else {}
            for name, value in self._values(call, enrichment):
                yield name, _contact_field(name, value)

    def _labels(self, call: Call) -> tuple[str, ...]:
        """The events that calls like this one can be."""
        if call.kind != "track":
            return ()
        sync = self.sync(call)
        names = sync.events if sync else EventNames()
        return (names.computed,) if self.computation(call).kind == "trait" else (names.entered, names.exited)

    def _event_fields(self, call: Call) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, value in self.properties(call).items():
            name = property_name(key)
            yield name, {"name": name, "label": name, **_type(value)}

    def _needs(self, call: Call) -> Iterator[tuple[str, ...]]:
        """What must not be refused for this call to be of use."""
        if call.identifier.type == "user_id":
            yield "property", self.settings.user_id_property
        if call.kind == "identify":
            yield from (("property", name) for name, _ in self._values(call))
        if call.kind == "track":
            event = self.event(call)
            yield from (("events",), ("event", event), ("event", event, property_name(call.key)))

    def _values(self, call: Call, more: Mapping[str, Any] = {}) -> Iterator[tuple[str, Any]]:
        """The properties that an identify call sets, of HubSpot's names."""
        for trait, value in {**more, **call.traits}.items():
            # An address that is not the contact's first must not become it.
            if trait != call.key and (trait != "email" or call.identifier.type != "email"):
                yield STANDARD.get(trait) or property_name(trait), value
        yield property_name(call.key), call.value

    def _id_property(self, identifier: Identifier) -> str:
        return self.settings.user_id_property if identifier.type == "user_id" else "email"

    # -- reading and writing
    def _read_and_write(
        self, id_property: str, contacts: Mapping[str, dict[str, str]], memory: Memory
    ) -> Generator[Request, Reply, dict[str, Outcome]]:
        """Update the contacts that exist, create the others; outcomes by identifier.

        Twice for those that came or went between reading and writing.
        """
        results: dict[str, Outcome] = {}
        for _ in range(2):
            left = [value for value in contacts if value not in results]
            if not left:
                break
            records = yield from self._read(id_property, left)
            if isinstance(records, Rejected):
                return results | dict.fromkeys(left, records)
            # Several addresses may belong to one contact.
            known: dict[str, Write] = {}
            unknown: list[Write] = []
            for value in left:
                if record := records.get(value):
                    values, update = known.setdefault(record, ([], {"id": record, "properties": {}}))
                    values.append(value)
                    update["properties"] |= contacts[value]
                else:
                    unknown.append(([value], {"properties": {id_property: value, **contacts[value]}}))
            results |= yield from self._write("update", known.values(), memory)
            results |= yield from self._write("create", unknown, memory)
        return results

    def _read(self, id_property: str, values: Sequence[str]) -> Generator[Request, Reply, dict[str, str] | Rejected]:
        """Record ids by identifier, of those that exist."""
        names = ["email", "hs_additional_emails"] if id_property == "email" else [id_property]
        body = {"idProperty": id_property, "properties": names, "inputs": [{"id": value} for value in values]}
        reply = yield Request("POST", f"{CONTACTS}/batch/read", json=body)
        if not reply.ok:
            return refusal(reply)
        found: dict[str, str] = {}
        for record in reply.object.get("results") or []:
            for name in names:
                own = record["properties"].get(name) or ""
                for value in own.lower().split(";") if id_property == "email" else [own]:
                    found[value.strip()] = record["id"]
        return {value: found[value] for value in values if value in found}

    def _write(
        self, verb: str, contacts: Collection[Write], memory: Memory
    ) -> Generator[Request, Reply, dict[str, Outcome]]:
        """Outcomes by identifier, without those to be read again."""
        bodies = [{**body, "objectWriteTraceId": f"contact-{n}"} for n, (_, body) in enumerate(contacts)]
        if not bodies:
            return {}
        reply = yield Request("POST", f"{CONTACTS}/batch/{verb}", json={"inputs": bodies})
        results = self._written(reply, bodies, memory)
        return {value: now for (values, _), now in zip(contacts, results, strict=True) if now for value in values}

    def _written(self, reply: Reply, bodies: list[dict[str, Any]], memory: Memory) -> list[Outcome | None]:
        """What became of each contact of a request; None: read again."""
        answer = reply.object
        if not reply.ok:
            if reply.status in (404, 409):
                return [None] * len(bodies)
            return [self._failed(answer, memory) if reply.status == 400 else refused(reply)] * len(bodies)
        errors = _errors(answer, bodies)
        results: list[Outcome | None] = []
        for error, done in zip(errors, _done(answer, bodies, errors), strict=True):
            if error:
                results.append(None if error.get("category") in AGAIN else self._failed(error, memory))
            elif done:
                results.append(Delivered())
            else:
                results.append(Later(words="HubSpot does not say what became of the contact"))
        return results

    def _failed(self, error: Mapping[str, Any], memory: Memory) -> Outcome:
        """An error of a request, or of one contact in it."""
        message = str(error.get("message", ""))
        for name in (missing := missing_properties(message)):
            words = f"HubSpot has no contact property {name!r} any more: the next run creates it; then replay"
            self._refused["property", name] = Rejected("unknown_field", words)
            if name in memory.get("properties", ()):
                memory["properties"].remove(name)
        if missing or error.get("category") in BUSY:
            return Later(words=message)
        return Rejected(reason(message), message)

    def _track(self, calls: Sequence[Call], memory: Memory) -> Conversation:
        people = {_value(call.identifier): {"email": _value(call.identifier)} for call in calls}
        if calls[0].identifier.type == "user_id":
            records = yield from self._read(self.settings.user_id_property, list(people))
            if isinstance(records, Rejected):
                return all_of(calls, records)
            people = {value: {"objectId": record} for value, record in records.items()}
        events = memory.get("events", {})
        results: dict[int, Outcome] = {}
        inputs: dict[int, dict[str, Any]] = {}
        for position, call in enumerate(calls):
            event, person = events.get(self.event(call)), people.get(_value(call.identifier))
            if event is None:
                results[position] = Rejected("unknown_field", f"HubSpot has no event {self.event(call)!r}")
            elif person is None:
                results[position] = Rejected("not_found", "HubSpot has no contact of this user_id; identify makes one")
            else:
                inputs[position] = {
                    "eventName": event["name"],
                    **person,
                    "occurredAt": timestamp(call.at),
                    "uuid": self.message_id(call),
                    "properties": {property_name(key): text(value) for key, value in self.properties(call).items()},
                }
        if inputs:
            reply = yield Request("POST", f"{EVENTS}/send/batch", json={"inputs": list(inputs.values())})
            results |= dict.fromkeys(
                inputs, Delivered() if reply.ok else self._unsent(reply, self.event(calls[0]), events)
            )
        return [results[position] for position in range(len(calls))]

    def _unsent(self, reply: Reply, event: str, events: dict[str, Any]) -> Rejected:
        """A request of events that was refused; with 404 it was one event."""
        rejected = refusal(reply)
        if reply.status == 403:
            self._refused["events",] = rejected
        if reply.status == 404:
            rejected = Rejected("unknown_field", f"HubSpot has no event {event!r} any more: the next run defines it")
            self._refused["event", event] = rejected
            events.pop(event, None)
        return rejected


# -- names and values
def property_name(name: str) -> str:
    """Lower-case letters, digits and _, a letter first."""
    plain = re.sub("[^a-z0-9_]", "_", name.lower())
    return plain if plain[:1].isalpha() else f"p_{plain}"


def text(value: Any) -> str:
    """HubSpot takes every value as text; "" clears a property."""
    if value is None:
        return ""
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        return ";".join(text(item) for item in value)
    return value if isinstance(value, str) else canonical(value).decode()


def _value(identifier: Identifier) -> str:
    return identifier.id.strip().lower() if identifier.type == "email" else identifier.id


def _type(value: Any) -> dict[str, Any]:
    """Of a property that takes such values."""
    if isinstance(value, bool):
        return {"type": "enumeration", "options": CHOICES}
    return {"type": "number" if isinstance(value, int | float) else "string"}


def _contact_field(name: str, value: Any) -> dict[str, Any]:
    kind = _type(value)
    return {"name": name, "label": name, "groupName": "contactinformation", **kind, "fieldType": INPUTS[kind["type"]]}


def _event_definition(label: str, fields: Fields) -> dict[str, Any]:
    return {
        "label": label,
        "name": property_name(label),
        "primaryObject": "CONTACT",
        "includeDefaultProperties": True,
        "propertyDefinitions": list(fields.values()),
    }


# -- replies
def _errors(answer: Mapping[str, Any], bodies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | None]:
    """What is said against each contact of a request, by its trace id or its id."""
    found: dict[str, dict[str, Any]] = {}
    for error in answer.get("errors") or []:
        context = error.get("context") or {}
        found |= dict.fromkeys([*context.get("objectWriteTraceId", ()), *context.get("ids", ())], error)
    return [found.get(body["objectWriteTraceId"]) or found.get(body.get("id", "")) for body in bodies]


def _done(answer: Mapping[str, Any], bodies: Sequence[Mapping[str, Any]], errors: Sequence[object]) -> list[bool]:
    """Which contacts were written: those that a result names, and the rest if as many results name nobody.

    A result has the trace id, or the record id alone. One that is repeated counts once.
    """
    results = {record.get("objectWriteTraceId") or record["id"] for record in answer.get("results") or []}
    # The `id` beside an `idProperty` is no record id.
    names = [{body["objectWriteTraceId"], "" if "idProperty" in body else body.get("id", "")} for body in bodies]
    named = [not results.isdisjoint(own) for own in names]
    left = sum(not (known or error) for known, error in zip(named, errors, strict=True))
    all_done = len(results.difference(*names)) >= left
    return [known or all_done for known in named]


def reason(message: str) -> Reason:
    """Why values were refused, from the codes in HubSpot's message."""
    if "PROPERTY_DOESNT_EXIST" in message:
        return "unknown_field"
    return "invalid_identifier" if "INVALID_EMAIL" in message else "invalid_value"


def refusal(reply: Reply) -> Rejected:
    """Of a whole request."""
    return refused(reply, reason(_message(reply)) if reply.status == 400 else None, _message(reply))


def missing_properties(message: str) -> list[str]:
    """The properties that do not exist: the message ends in a JSON list of what is wrong."""
    start, end = message.find("["), message.rfind("]")
    try:
        problems = msgspec.json.decode(message[start : end + 1], type=list[_Problem])
    except msgspec.DecodeError:
        return []
    return [problem.name for problem in problems if problem.error == "PROPERTY_DOESNT_EXIST"]


class _Problem(Struct):
    error: str = ""
    name: str = ""


def _message(reply: Reply) -> str:
    return str(reply.object.get("message") or reply.words())


def _by_name(reply: Reply) -> Fields:
    return {field["name"]: field for field in reply.object.get("results") or []}
