"""OneSignal: tags of users, and custom events. Addresses are not sent: they would subscribe people to messages."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from msgspec import Meta, Struct

from transforms.destinations.auth import Header
from transforms.destinations.contract import (
    Batch,
    Call,
    Delivered,
    Outcome,
    Rejected,
    Reply,
    Request,
    Secret,
    Verdict,
    by_status,
    refused,
)
from transforms.destinations.plain import Item, Plain, text
from transforms.destinations.reading import items, word
from transforms.destinations.safety import breaks_path, check_texts


class OneSignal(Plain):
    slug = "onesignal"
    name = "OneSignal"
    page = "https://documentation.onesignal.com/reference/rest-api-overview"
    base = "https://api.onesignal.com/apps/{app_id}"
    names = {"user_id": "external_id"}
    batch = Batch(400, 1_000_000)  # of events; 1 MB, of at most 2,024 bytes each
    auth = Header("authorization", "Key {api_key}")

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one app."""

        app_id: Annotated[str, Meta(pattern=r"^[\w-]+$", description="App ID: Settings > Keys & IDs.")]
        api_key: Annotated[Secret, Meta(description="App API key, from the same page.")]

        def __post_init__(self) -> None:
            check_texts(self)

    def batch_of(self, route: str) -> Batch:
        return self.batch if route == "track" else Batch()

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if call.kind == "delete" and breaks_path(call.identifier.id):
            return Rejected("invalid_identifier", "OneSignal cannot be asked about such an external id")
        if call.kind == "track" and len(self.event(call)) > 128:
            return Rejected("invalid_value", "OneSignal takes 128 characters of an event's name")
        return None

    def identify(self, user: Item) -> Request:
        """Makes the user, or changes one (unsure: its page speaks of subscriptions). A tag without text is removed."""
        tags = {name: text(value) for name, value in user.traits.items()}
        return self.post("/users", {"identity": user.ids, "properties": {"tags": tags}})

    def track(self, events: Sequence[Item]) -> Request:
        return self.post("/custom_events", {"events": [_event(event) for event in events]})

    def delete(self, user: Item) -> Request:
        return self.ask("DELETE", f"/users/by/external_id/{quote(user.ids['external_id'], safe='')}")

    def read(self, reply: Reply, told: Sequence[Item]) -> Outcome | list[Outcome]:
        """Events that are not taken are named in an answer that is good; which field names them is not documented."""
        if reply.status == 404:
            return Delivered()  # `classify` lets only that of a deletion through: nobody is there
        if not reply.ok:
            return refused(reply)
        if not told[0].event:
            return Delivered()
        failed = items(reply.object, "errors")
        found = [next((row for row in failed if _names(row, item)), None) for item in told]
        unclear = len(failed) > sum(row is not None for row in found)
        good: Outcome = Delivered(unconfirmed=unclear)
        return [good if row is None else Rejected("not_found", text(row)) for row in found]

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        if request.method == "DELETE" and reply.status == 404:
            return Verdict("answered")
        return by_status(reply, items)


def _event(event: Item) -> Mapping[str, Any]:
    return {
        "name": event.event,
        **event.ids,
        "timestamp": event.time,
        "idempotency_key": str(UUID(event.message_id)),
        "properties": event.properties,
    }


def _names(row: Any, event: Item) -> bool:
    """Whether an error is about this event."""
    known = (event.ids["external_id"], str(UUID(event.message_id)))
    return any(word(row, name) in known for name in ("idempotency_key", "external_id", "event_user_id"))
