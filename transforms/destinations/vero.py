"""Vero: users and their events."""

from typing import Annotated

from msgspec import Meta, Struct

from transforms.destinations.auth import Body
from transforms.destinations.contract import Request, Secret
from transforms.destinations.plain import Item, Plain


class Vero(Plain):
    slug = "vero"
    name = "Vero"
    page = "https://developers.getvero.com/"
    base = "https://api.getvero.com/api/v2"
    names = {"user_id": "id", "email": "email"}
    one_record = {"email": "attach"}
    auth = Body({"auth_token": "{auth_token}"})

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one project."""

        auth_token: Annotated[Secret, Meta(description="Auth token of the project: Settings > API keys.")]

    def identify(self, user: Item) -> Request:
        return self.post("/users/track", {**user.ids, "data": user.traits})

    def track(self, event: Item) -> Request:
        extras = {"created_at": event.time, "source": "profilecast"}
        body = {"identity": event.ids, "event_name": event.event, "data": event.properties, "extras": extras}
        return self.post("/events/track", body)
