"""AppsFlyer: in-app events of one app, from server to server. They say nothing of people who have no AppsFlyer ID."""

from typing import Annotated

from msgspec import Meta, Struct

from transforms.destinations.auth import Header
from transforms.destinations.contract import Request, Secret
from transforms.destinations.plain import Item, Plain, text
from transforms.destinations.safety import check_texts


class AppsFlyer(Plain):
    slug = "appsflyer"
    name = "AppsFlyer"
    page = "https://dev.appsflyer.com/hc/reference/s2s-events-api3-post"
    base = "https://api3.appsflyer.com/inappevent/{app_id}"
    names = {"appsflyer_id": "appsflyer_id"}  # others may only go along with it, and nothing goes along with events
    auth = Header("authentication", "{token}")

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one app."""

        app_id: Annotated[str, Meta(pattern=r"^[\w.]+$", description="Of the app; with `id` ahead if for iOS.")]
        token: Annotated[Secret, Meta(description="S2S token: Security center > Manage your AppsFlyer API tokens.")]

        def __post_init__(self) -> None:
            check_texts(self)

    def track(self, event: Item) -> Request:
        told = {"eventName": event.event, "eventValue": text(event.properties)}
        return self.post("", {**event.ids, **told, "eventTime": event.time.replace("T", " ").rstrip("Z")})
