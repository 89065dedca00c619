"""Drip: subscribers and events, in batches that Drip works on after its answer: it names nobody."""

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from schemas.workspace import Form
from transforms.destinations.auth import Basic
from transforms.destinations.contract import Batch, Request, Secret
from transforms.destinations.names import in_ascii
from transforms.destinations.plain import Item, Plain
from transforms.destinations.safety import check_texts

# Fields of a subscriber; any other trait is a custom field.
STANDARD = {"first_name", "last_name", "phone", "time_zone", "user_id"}


class Drip(Plain):
    slug = "drip"
    name = "Drip"
    page = "https://developer.drip.com/"
    base = "https://api.getdrip.com/v2/{account_id}"
    names = {"email": "email"}
    batch = Batch(1_000)
    counts_only = True
    auth = Basic("{api_token}")

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one account."""

        account_id: Annotated[str, Meta(pattern=r"^\w+$", description="Account ID: Settings > Account.")]
        api_token: Annotated[Secret, Meta(description="API token: User settings > User info.")]

        def __post_init__(self) -> None:
            check_texts(self)

    def name_at_vendor(self, form: Form, key: str) -> str:
        """Names of custom fields are of letters, digits and `_`; how long they may be is unsure."""
        return in_ascii(key, 255) if form == "identify" else key

    def identify(self, people: Sequence[Item]) -> Request:
        told = [_subscriber(person) for person in people]
        return self.post("/subscribers/batches", {"batches": [{"subscribers": told}]})

    def track(self, events: Sequence[Item]) -> Request:
        told = [
            {**event.ids, "action": event.event, "occurred_at": event.time, "properties": event.properties}
            for event in events
        ]
        # Their batches are as those of subscribers (unsure: the facts have `/events` only, and one event in it).
        return self.post("/events/batches", {"batches": [{"events": told}]})


def _subscriber(person: Item) -> dict[str, Any]:
    own = {name: value for name, value in person.traits.items() if name in STANDARD}
    custom = {name: value for name, value in person.traits.items() if name not in STANDARD}
    return {**person.ids, **own, "custom_fields": custom}
