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
    Blocked,
    Call,
    Conversation,
    Delivered,
    Destination,
    Form,
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
    besides,
    by_status,
    refused,
    retry_after,
    timestamp,
)
from transforms.destinations.names import in_ascii
from transforms.destinations.reading import items, part, rows, word
from transforms.destinations.safety import check_texts, fingerprint
from transforms.destinations.young import Young

API = "https://api.hubapi.com"
TOKEN = f"{API}/oauth/v1/token"
CONTACTS = f"{API}/crm/v3/objects/contacts"
PROPERTIES = f"{API}/crm/v3/properties/contacts"
EVENTS = f"{API}/events/v3"
ADDRESSES = ("email", "hs_additional_emails")
# HubSpot's own names of traits that every contact has.
STANDARD = {"first_name": "firstname", "last_name": "lastname", "postal_code": "zip"}
CHOICES = [
    {"label": label, "value": label.lower(), "displayOrder": order, "hidden": False}
    for order, label in enumerate(("True", "False"), 1)
]
# How people fill a property in, by its type.
INPUTS = {"enumeration": "booleancheckbox", "number": "number", "string": "text"}
NAME = 100  # characters, of a property or event
# "Contact already exists. Existing ID: 101"
EXISTING = re.compile(r"Existing ID: *(\d+)")
ROUNDS = 20  # requests to create contacts within one conversation, at most
# Errors of one contact that reading again settles: it exists by now, or it is gone.
AGAIN = frozenset({"CONFLICT", "OBJECT_ALREADY_EXISTS", "OBJECT_NOT_FOUND"})
BUSY = frozenset({"RATE_LIMITS", "INTERNAL_ERROR"})
# The daily quota is filled up at midnight in the account's time zone, which is not known here: ask every hour.
NEXT_DAY = 3600.0

# What HubSpot says of events and their properties that it does not have; there is no code for it.
UNDEFINED = re.compile(
    r"(event|propert).*(unknown|not exist|n't exist|DOESNT_EXIST|not found|fully qualified)|unknown (event|propert)",
    re.I | re.S,
)

Fields = dict[str, dict[str, Any]]  # definitions of properties by name
Need = tuple[str, ...]  # what a call needs at HubSpot: ("property", name), ("events",), ("event", label, property)
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
            check_texts(self)
            oauth = (self.refresh_token, self.client_id, self.client_secret)
            if (self.access_token is None) != all(oauth) or (self.access_token and any(oauth)):
                raise ValueError("expected either access_token, or refresh_token, client_id and client_secret")

    settings: Settings

    def __init__(self, workspace: Workspace, connection: Connection) -> None:
        super().__init__(workspace, connection)
        self._token = ""  # of OAuth
        self._missing: dict[Need, Blocked] = {}  # properties and events that cannot be had, and why
        self._young = Young()  # needs that were just made

    def understands(self) -> tuple[str, ...]:
        return ("email", "user_id") if self.settings.user_id_property else ("email",)

    def tenant(self) -> str:
        """A token names its account by itself only; that of OAuth lasts for as long as the app is installed."""
        settings = self.settings
        secret = settings.access_token or settings.refresh_token
        return f"{self.slug}:{fingerprint(settings.client_id, secret.reveal() if secret else '')}"

    def name_at_vendor(self, form: Form, key: str) -> str:
        return property_name(key)

    def trait_at_vendor(self, trait: str) -> str:
        return STANDARD.get(trait) or property_name(trait)

    def event_at_vendor(self, name: str) -> str:
        return property_name(name)

    # -- conversations
    def prepare(self, samples: Sequence[Call], memory: Memory) -> Preparation:
        """Create the contact properties and event definitions that are missing; keep their names."""
        yield from self._sign_in()
        for need in (need for call in samples for need in self._needs(call)):
            self._missing.pop(need, None)
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
        return None

    def deliver(self, calls: Sequence[Call], memory: Memory) -> Conversation:
        yield from self._sign_in()
        missing = [self._blocked(call) for call in calls]
        converse = self._track if calls[0].kind == "track" else self._identify
        return (yield from besides(calls, missing, lambda left: converse(left, memory)))

    def _blocked(self, call: Call) -> Blocked | None:
        return next((self._missing[need] for need in self._needs(call) if need in self._missing), None)

    def _identify(self, calls: Sequence[Call], memory: Memory) -> Conversation:
        lost: set[str] = set()
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
            results = yield from self._write("upsert", inputs, lost)
        else:
            results = yield from self._read_and_write(id_property, contacts, lost)
        missed = Rejected("conflict", "HubSpot says that the contact exists, but does not find it")
        told = [results.get(_value(call.identifier), missed) for call in calls]
        # A property is gone: what sets it waits until there is one again, the rest of the request goes once more.
        gone = {("property", name): self._lose(name, memory) for name in lost}
        for call, now in zip(calls, told, strict=True):
            if isinstance(now, Delivered):
                for need in self._needs(call):
                    self._young.seen(need)
        return [
            next((gone[need] for need in self._needs(call) if need in gone), now)
            if isinstance(now, Later)
            else self._own(call, now, contacts[_value(call.identifier)])
            for call, now in zip(calls, told, strict=True)
        ]

    def _own(self, call: Call, now: Outcome, sent: Mapping[str, str]) -> Outcome:
        """What became of a call, of what became of the contact: other calls may have set what is wrong with it."""
        if not isinstance(now, Rejected):
            return now
        wrong = sent.keys() & {each.name for each in problems(now.words)}
        own = self.name_at_vendor("identify", call.key)
        if own in wrong and self.is_audience(call):
            return Blocked(f"the HubSpot property {own!r} does not take true and false: {now.words}")
        if wrong and wrong.isdisjoint(name for name, _ in self._values(call)):
            return Later(words="something else about the contact was refused")
        return now

    def _lose(self, name: str, memory: Memory) -> Outcome:
        """HubSpot does not have a property: not yet, or not any more."""
        if wait := self._young.wait(("property", name)):
            return Later(wait, f"HubSpot does not know its new property {name!r} everywhere yet")
        memory["properties"] = [each for each in memory.get("properties", ()) if each != name]
        return _gone(f"contact property {name!r}")

    def forget(self, calls: Sequence[Call], memory: Memory) -> Conversation:
        """Delete the contact for good. HubSpot also bars an address that it does not know from ever coming in."""
        yield from self._sign_in()
        identifier = calls[0].identifier
        order = {"objectId": _value(identifier), "idProperty": "email"}
        if identifier.type == "user_id":
            found = yield from self._read(self.settings.user_id_property, [_value(identifier)], set())
            if not isinstance(found, dict):
                return all_of(calls, found)
            if not found:
                return all_of(calls, Delivered())
            order = {"objectId": found[_value(identifier)]}
        reply = yield Request("POST", f"{CONTACTS}/gdpr-delete", json=order)
        gone = reply.status == 404 and word(reply.object, "category") == "OBJECT_NOT_FOUND"
        return all_of(calls, Delivered() if reply.ok or gone else refused(reply))

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
        self._token = word(reply.object, "access_token")

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
        # Not every plan has custom events, not every token may make properties: no reason to stop the others.
        if status == 403 and request.url.startswith((EVENTS, PROPERTIES)):
            return Verdict("answered")
        if status in (404, 409) and "category" in reply.object:  # a contact or event that is gone, or there by now
            return Verdict("answered")
        if status == 400 and self._set_up(request, _message(reply)):
            return Verdict("answered")
        return by_status(reply, items)

    def _set_up(self, request: Request, message: str) -> bool:
        """Whether a request is refused for a property or event that HubSpot does not have."""
        if request.url == f"{EVENTS}/send/batch":
            return bool(UNDEFINED.search(message))
        return bool(missing_properties(message)) or self._no_user_id(message)

    def _no_user_id(self, message: str) -> bool:
        name = self.settings.user_id_property
        return bool(name) and bool(re.search(rf"\b{name}\b.*exist", message, re.I | re.S))

    # -- properties and events
    def _prepare_properties(self, fields: Fields, known: list[str]) -> Preparation:
        reply = yield Request("GET", PROPERTIES)
        existing = _by_name(reply) if reply.ok else None
        missing = {name: field for name, field in fields.items() if name not in (existing or {})}
        if missing and existing is not None:
            reply = yield Request("POST", f"{PROPERTIES}/batch/create", json={"inputs": list(missing.values())})
            if reply.status == 201 and len(rows(reply.object, "results")) >= len(missing):
                existing |= missing
                for name in missing:
                    self._young.made(("property", name))
            else:  # only some were made, or somebody else just made them
                existing = _by_name((yield Request("GET", PROPERTIES)))
        for name, field in fields.items():
            if not existing or name not in existing:
                words = f"HubSpot has no contact property {name!r}, and does not make one: {_message(reply)}"
                self._missing["property", name] = Blocked(words)
            elif field.get("hasUniqueValue") and not existing[name].get("hasUniqueValue"):
                words = f"the values of the HubSpot property {name!r} are not unique: nobody can be found by it"
                self._missing["property", name] = Blocked(words)
            elif name not in known:
                known.append(name)

    def _prepare_events(self, events: dict[str, Fields], defined: dict[str, dict[str, Any]]) -> Preparation:
        if not events.keys() <= defined.keys():
            existing = yield from self._definitions()
            if isinstance(existing, Blocked):
                self._missing["events",] = existing
                return
            for label in events:
                if label not in defined and self.event_at_vendor(label) in existing:
                    defined[label] = existing[self.event_at_vendor(label)]
        for label, fields in events.items():
            if label not in defined:
                definition = _event_definition(label, self.event_at_vendor(label), fields)
                reply = yield Request("POST", f"{EVENTS}/event-definitions", json=definition)
                if full_name := word(reply.object, "fullyQualifiedName"):
                    defined[label] = {"name": full_name, "properties": sorted(fields)}
                    self._young.made(("event", label))
                else:
                    words = f"HubSpot has no event {label!r}, and does not define one: {_message(reply)}"
                    self._missing["event", label] = Blocked(words)
                continue
            event = defined[label]
            for name in sorted(fields.keys() - event["properties"]):
                url = f"{EVENTS}/event-definitions/{quote(event['name'], safe='')}/property"
                reply = yield Request("POST", url, json=fields[name])
                if reply.ok or reply.status == 409:
                    event["properties"].append(name)
                    self._young.made(("event", label))
                else:
                    words = f"HubSpot's event {label!r} has no property {name!r}, and gets none: {_message(reply)}"
                    self._missing["event", label, name] = Blocked(words)

    def _definitions(self) -> Generator[Request, Reply, dict[str, dict[str, Any]] | Blocked]:
        """The account's event definitions by their names without `pe<account>_`."""
        found: dict[str, dict[str, Any]] = {}
        after = ""
        while True:
            reply = yield Request("GET", f"{EVENTS}/event-definitions?includeProperties=true&limit=100{after}")
            if not reply.ok:
                return Blocked(f"HubSpot does not show its events: {_message(reply)}")
            page = reply.object
            for event in rows(page, "results"):
                names = [name for p in rows(event, "properties") if not (name := word(p, "name")).startswith("hs_")]
                if full_name := word(event, "fullyQualifiedName"):
                    found[full_name.partition("_")[2]] = {"name": full_name, "properties": names}
            cursor = word(part(part(page, "paging"), "next"), "after")
            if not cursor:
                return found
            after = f"&after={quote(cursor, safe='')}"

    def _contact_fields(self, call: Call) -> Iterator[tuple[str, dict[str, Any]]]:
        """Definitions of the contact properties that calls like this one need."""
        # Whatever identifier the sample has: other calls of its key will have a user_id.
        if unique := self.settings.user_id_property:
            yield unique, _contact_field(unique, unique, "") | {"hasUniqueValue": True}
        if call.kind == "identify":
            sync = self.sync(call)
            enrichment = dict.fromkeys(sync.enrich, "") if sync else {}
            for key, name, value in self._named(call, enrichment):
                yield name, _contact_field(name, key, value)

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
            yield name, {"name": name, "label": key, **_type(value)}

    def _needs(self, call: Call) -> Iterator[Need]:
        """What HubSpot must have for this call to be of use."""
        if call.identifier.type == "user_id":
            yield "property", self.settings.user_id_property
        if call.kind == "identify":
            yield from (("property", name) for name, _ in self._values(call))
        if call.kind == "track":
            event, name = self.event(call), self.name_at_vendor("track", call.key)
            yield from (("events",), ("event", event), ("event", event, name))

    def _values(self, call: Call) -> Iterator[tuple[str, Any]]:
        """The properties that an identify call sets, of HubSpot's names."""
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

    # -- reading and writing
    def _read_and_write(
        self, id_property: str, contacts: Mapping[str, dict[str, str]], lost: set[str]
    ) -> Generator[Request, Reply, dict[str, Outcome]]:
        """Update the contacts that exist, create the others; outcomes by identifier.

        Twice for those that came or went between reading and writing.
        """
        results: dict[str, Outcome] = {}
        for _ in range(2):
            left = [value for value in contacts if value not in results]
            if not left:
                break
            records = yield from self._read(id_property, left, lost)
            if not isinstance(records, dict):
                return results | dict.fromkeys(left, records)
            results |= yield from self._update(
                {value: records[value] for value in left if value in records}, contacts, lost
            )
            unknown = [value for value in left if value not in records]
            results |= yield from self._create(id_property, unknown, contacts, lost)
        return results

    def _update(
        self, records: Mapping[str, str], contacts: Mapping[str, dict[str, str]], lost: set[str]
    ) -> Generator[Request, Reply, dict[str, Outcome]]:
        """Write what is known of the people to their records."""
        writes: dict[str, Write] = {}  # several addresses may belong to one contact
        for value, record in records.items():
            values, update = writes.setdefault(record, ([], {"id": record, "properties": {}}))
            values.append(value)
            update["properties"] |= contacts[value]
        return (yield from self._write("update", writes.values(), lost))

    def _create(
        self, id_property: str, values: list[str], contacts: Mapping[str, dict[str, str]], lost: set[str]
    ) -> Generator[Request, Reply, dict[str, Outcome]]:
        """Create these contacts; those that turn out to exist under another address are updated.

        HubSpot refuses all of a request for one contact that exists, and says the id of that one.
        """
        results: dict[str, Outcome] = {}
        existing: dict[str, str] = {}
        shown: dict[str, dict[str, str]] = {}  # by HubSpot's words: whose addresses these are
        groups = [values] if values else []
        for _ in range(ROUNDS):
            if not groups:
                break
            group = groups.pop()
            writes: list[Write] = [
                ([value], {"properties": {id_property: value, **contacts[value]}}) for value in group
            ]
            conflicts: dict[str, str] = {}
            results |= yield from self._write("create", writes, lost, conflicts)
            if len(conflicts) > 1 and len(set(conflicts.values())) == 1:  # of one of them, or of all
                words = next(iter(conflicts.values()))
                if words not in shown:
                    ids = EXISTING.findall(words) if id_property == "email" else []
                    shown[words] = (yield from self._addresses(ids)) if ids else {}
                found = shown[words]
                existing |= {value: found[value] for value in conflicts if value in found}
                left = [value for value in conflicts if value not in found]
                half = len(left) // 2 if len(left) == len(conflicts) else len(left)
                groups += [some for some in (left[half:], left[:half]) if some]
            elif id_property == "email":
                existing |= {v: ids[0] for v, said in conflicts.items() if (ids := EXISTING.findall(said))}
            else:  # the record may be another person's, with the same address
                results |= {value: Rejected("conflict", said) for value, said in conflicts.items()}
        many = Later(words="HubSpot has too many of these contacts already for one go")
        results |= {value: many for group in groups for value in group}
        return results | (yield from self._update(existing, contacts, lost))

    def _addresses(self, records: Sequence[str]) -> Generator[Request, Reply, dict[str, str]]:
        """Record ids by all addresses of these records."""
        body = {"properties": list(ADDRESSES), "inputs": [{"id": record} for record in dict.fromkeys(records)]}
        return _records((yield Request("POST", f"{CONTACTS}/batch/read", json=body)), ADDRESSES)

    def _read(
        self, id_property: str, values: Sequence[str], lost: set[str]
    ) -> Generator[Request, Reply, dict[str, str] | Outcome]:
        """Record ids by identifier, of those that exist; or what became of all."""
        names = ADDRESSES if id_property == "email" else (id_property,)
        body = {"idProperty": id_property, "properties": list(names), "inputs": [{"id": value} for value in values]}
        reply = yield Request("POST", f"{CONTACTS}/batch/read", json=body)
        if reply.status == 404:  # of a request: nobody is there
            return {}
        if not reply.ok and self._no_user_id(_message(reply)):
            lost.add(id_property)
            return Later(words=_message(reply))
        if not reply.ok:
            return refusal(reply)
        found = _records(reply, names)
        return {value: found[value] for value in values if value in found}

    def _write(
        self, verb: str, contacts: Collection[Write], lost: set[str], conflicts: dict[str, str] | None = None
    ) -> Generator[Request, Reply, dict[str, Outcome]]:
        """Outcomes by identifier, without those to be read again; those that exist already go to `conflicts`."""
        bodies = [{**body, "objectWriteTraceId": f"contact-{n}"} for n, (_, body) in enumerate(contacts)]
        if not bodies:
            return {}
        reply = yield Request("POST", f"{CONTACTS}/batch/{verb}", json={"inputs": bodies})
        results: dict[str, Outcome] = {}
        for (values, _), now in zip(contacts, self._written(reply, bodies, lost), strict=True):
            if isinstance(now, str):
                if conflicts is not None:
                    conflicts |= dict.fromkeys(values, now)
            elif now:
                results |= dict.fromkeys(values, now)
        return results

    def _written(self, reply: Reply, bodies: list[dict[str, Any]], lost: set[str]) -> list[Outcome | str | None]:
        """What became of each contact of a request; None: read again; HubSpot's words: it exists."""
        answer = reply.object
        if not reply.ok:
            if reply.status == 409:
                return [_message(reply)] * len(bodies)
            if reply.status == 404:
                return [None] * len(bodies)
            return [self._failed(answer, lost) if reply.status == 400 else refused(reply)] * len(bodies)
        errors = _errors(answer, bodies)
        results: list[Outcome | str | None] = []
        for error, done in zip(errors, _done(answer, bodies, errors), strict=True):
            if error and EXISTING.search(word(error, "message")):
                results.append(word(error, "message"))
            elif error:
                results.append(None if word(error, "category") in AGAIN else self._failed(error, lost))
            elif done:
                results.append(Delivered())
            else:
                results.append(Later(words="HubSpot does not say what became of the contact"))
        return results

    def _failed(self, error: Mapping[str, Any], lost: set[str]) -> Outcome:
        """An error of a request, or of one contact in it."""
        message = word(error, "message")
        lost.update(missing := missing_properties(message))
        if missing or word(error, "category") in BUSY:
            return Later(words=message)
        return Rejected(reason(message), message)

    # -- events
    def _track(self, calls: Sequence[Call], memory: Memory) -> Conversation:
        people = {_value(call.identifier): {"email": _value(call.identifier)} for call in calls}
        if calls[0].identifier.type == "user_id":
            id_property, lost = self.settings.user_id_property, set[str]()
            records = yield from self._read(id_property, list(people), lost)
            if lost:
                return all_of(calls, self._lose(id_property, memory))
            if not isinstance(records, dict):
                return all_of(calls, records)
            people = {value: {"objectId": record} for value, record in records.items()}
        events = memory.get("events", {})
        results: dict[int, Outcome] = {}
        inputs: dict[int, dict[str, Any]] = {}
        for position, call in enumerate(calls):
            label, person = self.event(call), people.get(_value(call.identifier))
            if label not in events:
                results[position] = _gone(f"event {label!r}")
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
                results |= dict.fromkeys(same, self._sent(reply, label, memory))
        else:
            labels = {self.event(calls[position]) for position in inputs}
            told = {label: self._sent(reply, label, memory) for label in labels}
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
        return (yield Request("POST", f"{EVENTS}/send/batch", json={"inputs": list(events)}))

    def _sent(self, reply: Reply, label: str, memory: Memory) -> Outcome:
        """What became of the events of one name that a request had."""
        if reply.ok:
            self._young.seen(("event", label))
            return Delivered()
        if reply.status == 403:
            return Blocked(f"HubSpot does not take events: {_message(reply)}")
        if reply.status == 404 or (reply.status == 400 and UNDEFINED.search(_message(reply))):
            if wait := self._young.wait(("event", label)):
                return Later(wait, _message(reply))
            memory.get("events", {}).pop(label, None)  # it is looked for, or defined, once more
            return _gone(f"event {label!r} as it was defined", _message(reply))
        return refusal(reply)


# -- names and values
def property_name(name: str) -> str:
    """Lower-case letters, digits and _, a letter first."""
    plain = in_ascii(name, NAME - 2, lower=True)
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


def _contact_field(name: str, key: str, value: Any) -> dict[str, Any]:
    kind = _type(value)
    return {"name": name, "label": key, "groupName": "contactinformation", **kind, "fieldType": INPUTS[kind["type"]]}


def _event_definition(label: str, name: str, fields: Fields) -> dict[str, Any]:
    return {
        "label": label,
        "name": name,
        "primaryObject": "CONTACT",
        "includeDefaultProperties": True,
        "propertyDefinitions": list(fields.values()),
    }


# -- replies
def _errors(answer: Mapping[str, Any], bodies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | None]:
    """What is said against each contact of a request, by its trace id or its id."""
    found: dict[str, dict[str, Any]] = {}
    for error in rows(answer, "errors"):
        context = part(error, "context")
        names = [*items(context, "objectWriteTraceId"), *items(context, "ids")]
        found |= {str(name): error for name in names}
    return [found.get(body["objectWriteTraceId"]) or found.get(body.get("id", "")) for body in bodies]


def _done(answer: Mapping[str, Any], bodies: Sequence[Mapping[str, Any]], errors: Sequence[object]) -> list[bool]:
    """Which contacts were written: those that a result names, and the rest if as many results name nobody.

    A result has the trace id, or the record id alone. One that is repeated counts once.
    """
    every = rows(answer, "results")
    results = {name for record in every if (name := word(record, "objectWriteTraceId") or word(record, "id"))}
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
    """The properties that do not exist."""
    return [problem.name for problem in problems(message) if problem.error == "PROPERTY_DOESNT_EXIST"]


def problems(message: str) -> "list[_Problem]":
    """What is wrong with which property: the message ends in a JSON list of that."""
    start, end = message.find("["), message.rfind("]")
    try:
        return msgspec.json.decode(message[start : end + 1], type=list[_Problem])
    except (msgspec.DecodeError, UnicodeEncodeError):
        return []


class _Problem(Struct):
    error: str = ""
    name: str = ""


def _message(reply: Reply) -> str:
    return word(reply.object, "message") or reply.words()


def _gone(what: str, words: str = "") -> Blocked:
    """Made once more before this is believed."""
    return Blocked(f"HubSpot has no {what}{': ' if words else ''}{words}", prepare=True)


def _by_name(reply: Reply) -> Fields:
    return {name: field for field in rows(reply.object, "results") if (name := word(field, "name"))}


def _records(reply: Reply, names: Sequence[str]) -> dict[str, str]:
    """Record ids by the values of these properties; a contact may have several addresses."""
    found: dict[str, str] = {}
    for record in rows(reply.object, "results"):
        for name in names:
            own = word(part(record, "properties"), name)
            for value in own.lower().split(";") if name in ADDRESSES else [own]:
                if value.strip() and word(record, "id"):
                    found[value.strip()] = word(record, "id")
    return found
