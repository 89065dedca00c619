"""Google Analytics 4: user properties and events, by the Measurement Protocol. It answers 2xx to whatever comes."""

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct

from schemas.workspace import Form
from transforms.destinations.auth import Query
from transforms.destinations.contract import Call, Rejected, Request, Secret
from transforms.destinations.names import in_ascii
from transforms.destinations.plain import Item, Plain, flat, text
from transforms.destinations.safety import check_texts

# User properties travel with an event only; its name is ours.
CARRIER = "profile_updated"


class GoogleAnalytics(Plain):
    slug = "google-analytics"
    name = "Google Analytics 4"
    page = "https://developers.google.com/analytics/devguides/collection/protocol/ga4"
    base = "https://www.google-analytics.com/mp"
    names = {"user_id": "user_id", "anonymous_id": "client_id"}
    one_record = {"anonymous_id": "attach"}
    counts_only = True
    remark = "of what a person is told at once, Google keeps 25 user properties: sync no more"
    auth = Query({"measurement_id": "{measurement_id}", "api_secret": "{api_secret}"})

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one web data stream."""

        measurement_id: Annotated[str, Meta(pattern=r"^[\w-]+$", description="Measurement ID of the stream: G-....")]
        api_secret: Annotated[
            Secret, Meta(description="Admin > Data streams > the stream > Measurement Protocol API secrets.")
        ]

        def __post_init__(self) -> None:
            check_texts(self)

    def name_at_vendor(self, form: Form, key: str) -> str:
        return in_ascii(key, 24 if form == "identify" else 40)

    def event_at_vendor(self, name: str) -> str:
        return in_ascii(name, 40)

    def check(self, call: Call) -> Rejected | None:
        """Google cuts or drops what is too long without a word."""
        most = 36 if call.kind == "identify" else 100
        if rejected := super().check(call):
            return rejected
        if len(text(call.value)) > most:
            return Rejected("invalid_value", f"Google Analytics takes {most} characters of such a value")
        return None

    def identify(self, user: Item) -> Request:
        properties = {name: {"value": flat(value)} for name, value in user.traits.items()}
        return self._collect(user, CARRIER, {}, {"user_properties": properties})

    def track(self, event: Item) -> Request:
        params = {in_ascii(name, 40): flat(value) for name, value in event.properties.items()}
        return self._collect(event, event.event, params, {})

    def _collect(self, item: Item, event: str, params: dict[str, Any], more: Mapping[str, Any]) -> Request:
        """Without a time: Google drops what is older than 72 hours. A user without browser is a client of its own."""
        ids = {"client_id": item.ids.get("user_id", ""), **item.ids}
        return self.post("/collect", {**ids, "events": [{"name": event, "params": params}], **more})
