"""Airship: attributes of named users, one by one; custom events, many at once. Attributes are set up by hand."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import quote

from msgspec import Meta, Struct

from transforms.destinations.auth import Bearer
from transforms.destinations.contract import Batch, Call, Rejected, Request, Secret
from transforms.destinations.names import in_ascii
from transforms.destinations.plain import Item, Plain, flat
from transforms.destinations.safety import breaks_path, check_texts


class Airship(Plain):
    slug = "airship"
    name = "Airship"
    page = "https://docs.airship.com/api/ua/"
    base = "https://{host}/api"
    names = {"user_id": "named_user_id"}
    columns_first = True
    auth = Bearer("{token}")

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one project."""

        token: Annotated[Secret, Meta(description="Bearer token of the project: Settings > Tokens.")]
        app_key: Annotated[str, Meta(min_length=1, description="App key of the project.")]
        host: Annotated[
            Literal["go.urbanairship.com", "go.airship.eu"], Meta(description="Where the project's data is: US or EU.")
        ] = "go.urbanairship.com"

        def __post_init__(self) -> None:
            check_texts(self)

    def batch_of(self, route: str) -> Batch:
        return Batch(100, 5_000_000) if route == "track" else Batch()

    def event_at_vendor(self, name: str) -> str:
        return in_ascii(name, 255, lower=True)  # without blanks; how long is unsure

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if breaks_path(call.identifier.id):
            return Rejected("invalid_identifier", "Airship cannot be asked about such a named user")
        return None

    def identify(self, user: Item) -> Request:
        told = [_attribute(name, value, user.time) for name, value in user.traits.items()]
        path = f"/named_users/{quote(user.ids['named_user_id'], safe='')}/attributes"
        return self._send(path, {"attributes": told})

    def track(self, events: Sequence[Item]) -> Request:
        return self._send("/custom-events", [_event(event) for event in events])

    def _send(self, path: str, told: Any) -> Request:
        headers = {"accept": "application/vnd.urbanairship+json; version=3", "x-ua-appkey": self.settings.app_key}
        return self.post(path, told, headers=headers)


def _attribute(name: str, value: Any, time: str) -> Mapping[str, Any]:
    """Attributes are texts, numbers and dates: true is a text."""
    if value is None:
        return {"action": "remove", "key": name, "timestamp": time}
    return {"action": "set", "key": name, "value": flat(value), "timestamp": time}


def _event(event: Item) -> Mapping[str, Any]:
    body = {"name": event.event, "properties": event.properties}
    return {"occurred": event.time, "user": event.ids, "body": body}
