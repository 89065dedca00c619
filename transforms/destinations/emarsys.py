"""Emarsys: contacts with fields, contact lists, external events; each of them has a number, which the settings give."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b, sha1
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from schemas.workspace import Form
from transforms.destinations.auth import Auth, Session
from transforms.destinations.contract import (
    Batch,
    Call,
    Delivered,
    Outcome,
    Rejected,
    Reply,
    Request,
    Secret,
    form_of,
    refused,
)
from transforms.destinations.plain import Item, Plain, flat, text
from transforms.destinations.reading import part, word
from transforms.destinations.safety import check_texts

EMAIL = "3"  # the field that contacts are found by
UNKNOWN = "2008"  # no contact with such an e-mail address (unsure)

Numbers = dict[str, int]


class Wsse(Auth):
    """A digest of a nonce, the time and the secret; the nonce is one of the request and the time."""

    def headers(self, request: Request, settings: Any, session: Session, now: float) -> Mapping[str, str]:
        created = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        nonce = blake2b(f"{now} {request.full_url} ".encode() + (request.body() or b""), digest_size=16).hexdigest()
        made = sha1(f"{nonce}{created}{settings.secret.reveal()}".encode()).hexdigest()
        digest = b64encode(made.encode()).decode()
        names = f'Username="{settings.user}", PasswordDigest="{digest}", Nonce="{nonce}", Created="{created}"'
        return {"x-wsse": f"UsernameToken {names}"}


class Emarsys(Plain):
    slug = "emarsys"
    name = "Emarsys"
    page = "https://dev.emarsys.com/docs/core-api-reference"
    base = "https://api.emarsys.net/api/v2"
    names = {"email": EMAIL}
    batch = Batch(1_000, 8_000_000)
    columns_first = True
    flush_every: ClassVar[Mapping[Form, float]] = {"list": 3_600.0}
    auth = Wsse()

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one account, and the numbers of what it has."""

        user: Annotated[str, Meta(pattern='^[^"]+$', description="API user: Management > Security settings.")]
        secret: Annotated[Secret, Meta(description="Secret of the API user.")]
        fields: Annotated[Numbers, Meta(description="Field IDs, by key and by trait.")] = {}
        events: Annotated[Numbers, Meta(description="IDs of external events, by name of event.")] = {}
        lists: Annotated[Numbers, Meta(description="IDs of contact lists, by key of audience.")] = {}

        def __post_init__(self) -> None:
            check_texts(self)

    def batch_of(self, route: str) -> Batch:
        return Batch() if route == "track" else self.batch

    def name_at_vendor(self, form: Form, key: str) -> str:
        return str(self.settings.fields.get(key, key)) if form == "identify" else key

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        form = form_of(call)
        if form == "identify":
            numbers, used = self.settings.fields, {call.key, *call.traits} - self.names.keys()
        elif form == "track":
            numbers, used = self.settings.events, {self.event(call)}
        else:
            numbers, used = self.settings.lists, {call.key}
        missing = sorted(used - numbers.keys())
        return Rejected("unknown_field", f"the settings have no number of {missing[0]!r}") if missing else None

    def identify(self, contacts: Sequence[Item]) -> Request:
        told = [{**_values(contact.traits), **contact.ids} for contact in contacts]
        return self.ask(
            "PUT", "/contact/", params={"create_if_not_exists": "1"}, json={"key_id": EMAIL, "contacts": told}
        )

    def track(self, event: Item) -> Request:
        told = {"key_id": EMAIL, "external_id": event.ids[EMAIL], "data": event.properties}
        return self.post(f"/event/{self.settings.events.get(event.event)}/trigger", told)

    def add(self, contacts: Sequence[Item]) -> Request:
        return self._list(contacts, "add")

    def remove(self, contacts: Sequence[Item]) -> Request:
        return self._list(contacts, "delete")

    def _list(self, contacts: Sequence[Item], what: str) -> Request:
        told = {"key_id": EMAIL, "external_ids": [contact.ids[EMAIL] for contact in contacts]}
        return self.post(f"/contactlist/{self.settings.lists.get(contacts[0].key)}/{what}", told)

    def read(self, reply: Reply, items: Sequence[Item]) -> Outcome | list[Outcome]:
        """Contacts that are not taken are named in `data.errors` of an answer that is good (its form: unsure)."""
        if not reply.ok or word(reply.object, "replyCode") not in ("", "0"):
            return refused(reply)
        errors = part(part(reply.object, "data"), "errors")
        emails = [item.ids[EMAIL] for item in items]
        good = Delivered(unconfirmed=not errors.keys() <= {*emails})  # somebody is named who was not sent
        return [_rejected(errors[email]) if email in errors else good for email in emails]


def _values(traits: Mapping[str, Any]) -> dict[str, Any]:
    return {field: flat(value) for field, value in traits.items()}


def _rejected(error: Any) -> Rejected:
    unknown = isinstance(error, dict) and UNKNOWN in error
    return Rejected("not_found" if unknown else "invalid_value", text(error))
