"""Customer.io: attributes and events of people, mixed in batches that name those that they do not take.

A person is known by `id` or `email`. An anonymous event has an endpoint of its own and is not sent.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from transforms.destinations.auth import Basic
from transforms.destinations.contract import (
    CAPS_TABLE,
    Batch,
    Call,
    Delivered,
    Limit,
    Outcome,
    Rejected,
    Reply,
    Request,
    Secret,
    Verdict,
    by_status,
    refused,
)
from transforms.destinations.plain import Item, Plain
from transforms.destinations.reading import rows, word

# Attributes that mean something to Customer.io: a key of such a name would change more than itself.
RESERVED = {
    "id", "email", "created_at", "unsubscribed", "anonymous_id", "_update", "_timestamp", "cio_relationships",
    "cio_subscription_preferences",
}  # fmt: skip
# Of an event: they would change to whom, and from whom, a message goes.
RESERVED_OF_EVENTS = {"recipient", "from_address", "reply_to"}


class CustomerIo(Plain):
    slug = "customerio"
    name = "Customer.io"
    page = "https://docs.customer.io/integrations/api/track/"
    base = "https://{host}/api/v2"
    names = {"user_id": "id", "email": "email"}
    one_record = {"email": "attach"}
    auth = Basic("{site_id}", "{api_key}")
    batch = Batch(1_000, 490_000)  # less than 500 kB; the number is what others send, none is written
    limits = (Limit(30, source=CAPS_TABLE),)
    aliases = ("customer-io", "customer.io")
    same_account = ("object_type",)

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one workspace."""

        site_id: Annotated[
            str, Meta(pattern=r"^[A-Za-z0-9]+\Z", description="Site ID: Settings > API credentials > Track API keys.")
        ]
        api_key: Annotated[Secret, Meta(description="Track API key, from the same page.")]
        host: Annotated[
            Literal["track.customer.io", "track-eu.customer.io"],
            Meta(description="Where the account's data is: US or EU."),
        ] = "track.customer.io"
        object_type: Annotated[
            str, Meta(pattern=r"^[0-9]+\Z", description="Of accounts: the number of their object type; the first is 1.")
        ] = "1"

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if call.identifier.type == "user_id" and _size(call.identifier.id) > 150:
            return Rejected("invalid_identifier", "Customer.io takes 150 bytes of an id")
        if call.kind == "track":
            if _size(self.event(call)) > 100:
                return Rejected("invalid_value", "Customer.io takes 100 bytes of an event's name")
            if taken := RESERVED_OF_EVENTS & self.properties(call).keys():
                return Rejected("unsupported", f"Customer.io keeps {min(taken)!r} of an event for itself")
        if call.kind in ("identify", "group"):
            if call.key in RESERVED or _size(call.key) > 150:
                return Rejected("unsupported", f"Customer.io takes no attribute {call.key!r}: give it a `send_as`")
            if _size(call.value) > 1_000:
                return Rejected("too_large", "Customer.io takes 1,000 bytes of an attribute's value")
        return None

    def identify(self, people: Sequence[Item]) -> Request:
        return self._batch(
            [{**_entity(each, "identify"), "attributes": _attributes(each, _whom(each))} for each in people]
        )

    def track(self, events: Sequence[Item]) -> Request:
        """Without an id of its own: Customer.io's must be a ULID, so a repeated event counts twice."""
        told = [{**_entity(each, "event"), "name": each.event, "attributes": each.properties} for each in events]
        return self._batch(told)

    def group(self, accounts: Sequence[Item]) -> Request:
        kind = self.settings.object_type
        told = [
            {
                "type": "object",
                "action": "identify",
                "identifiers": {"object_type_id": kind, "object_id": each.account},
                "attributes": _attributes(each, {}),
            }
            for each in accounts
        ]
        return self._batch(told)

    def delete(self, person: Item) -> Request:
        return self._batch([{"type": "person", "action": "delete", "identifiers": _whom(person)}])

    def _batch(self, entities: list[dict[str, Any]]) -> Request:
        return self.post("/batch", {"batch": entities})

    def read(self, reply: Reply, people: Sequence[Item]) -> Outcome | list[Outcome]:
        if not reply.ok:
            error = next(iter(rows(reply.object, "errors")), {})
            return refused(reply, words=_words(error))
        wrong = _wrong(reply)
        if reply.status == 207 and not wrong:  # of one person: `classify` looks for it
            return refused(reply)
        return [
            Rejected("invalid_value", wrong[str(place)]) if str(place) in wrong else Delivered()
            for place in range(len(people))
        ]

    def classify(self, request: Request, reply: Reply, many: int) -> Verdict:
        if reply.status == 207 and many > 1 and not _wrong(reply):
            return Verdict("halve", words=reply.words())
        return by_status(reply, many)


def _wrong(reply: Reply) -> dict[str, str]:
    """What is wrong with entities, by their place in the batch."""
    return {
        place: _words(row) for row in rows(reply.object, "errors") if (place := word(row, "batch_index")).isdecimal()
    }


def _entity(item: Item, action: str) -> dict[str, Any]:
    return {"type": "person", "action": action, "identifiers": _whom(item), "timestamp": item.seconds}


def _whom(item: Item) -> dict[str, str]:
    """Exactly one identifier: that of the call."""
    return dict([next(iter(item.ids.items()))])


def _attributes(item: Item, whom: Mapping[str, str]) -> dict[str, Any]:
    """An empty text removes an attribute. The other identifier is one as well."""
    told = {name: "" if value is None else value for name, value in item.traits.items()}
    return {**told, **{name: value for name, value in item.ids.items() if name not in whom}}


def _size(value: Any) -> int:
    return len(value.encode("utf-8", "surrogatepass")) if isinstance(value, str) else len(msgspec.json.encode(value))


def _words(error: dict[str, Any]) -> str:
    return ": ".join(each for each in (word(error, "field"), word(error, "message") or word(error, "reason")) if each)
