"""MoEngage: customers and their events, each in a request of its own."""

from typing import Annotated

from msgspec import Meta, Struct

from transforms.destinations.auth import Basic
from transforms.destinations.contract import Limit, Request, Secret
from transforms.destinations.plain import Item, Plain
from transforms.destinations.safety import check_texts

_README = "https://github.com/rudderlabs/rudder-transformer, src/v0/destinations/moengage/README.md"


class MoEngage(Plain):
    slug = "moengage"
    name = "MoEngage"
    page = "https://developers.moengage.com/"
    base = "https://api-0{data_centre}.moengage.com/v1"
    names = {"user_id": "customer_id"}
    limits = (
        Limit(10_000, 60.0, endpoint="customers", source=_README),
        Limit(30_000, 60.0, endpoint="events", source=_README),
    )
    auth = Basic("{app_id}", "{api_key}")

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one app."""

        app_id: Annotated[
            str, Meta(pattern=r"^[\w-]+$", description="App ID (workspace ID): Settings > Account > APIs.")
        ]
        api_key: Annotated[Secret, Meta(description="Data API key, from the same page.")]
        data_centre: Annotated[int, Meta(ge=1, le=5, description="The number in the dashboard's address.")]

        def __post_init__(self) -> None:
            check_texts(self)

    def identify(self, customer: Item) -> Request:
        body = {"type": "customer", **customer.ids, "attributes": customer.traits}
        return self.post(f"/customer/{self.settings.app_id}", body, endpoint="customers")

    def track(self, event: Item) -> Request:
        action = {
            "action": event.event,
            "attributes": event.properties,
            "current_time": event.seconds,
            "user_timezone_offset": 0,
        }
        body = {"type": "event", **event.ids, "actions": [action]}
        return self.post(f"/event/{self.settings.app_id}", body, endpoint="events")
