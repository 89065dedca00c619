"""Appcues: what users did and what is known of them, one activity per user. Its API asks for no credentials."""

from typing import Annotated, Any
from urllib.parse import quote

from msgspec import Meta, Struct

from transforms.destinations.contract import Call, Rejected, Request
from transforms.destinations.plain import Item, Plain
from transforms.destinations.safety import breaks_path, check_texts


class Appcues(Plain):
    slug = "appcues"
    name = "Appcues"
    page = "https://docs.appcues.com/dev-api-data/public-api-overview"
    base = "https://api.appcues.com/v1/accounts/{account_id}"
    names = {"user_id": "user_id"}

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """One account."""

        account_id: Annotated[str, Meta(pattern=r"^[\w-]+$", description="Account ID: Settings > Account.")]

        def __post_init__(self) -> None:
            check_texts(self)

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if breaks_path(call.identifier.id):
            return Rejected("invalid_identifier", "Appcues cannot be told about such a user id")
        return None

    def identify(self, user: Item) -> Request:
        return self._activity(user, profile_update=user.traits)

    def track(self, event: Item) -> Request:
        told = {"name": event.event, "timestamp": event.seconds, "attributes": event.properties}  # seconds: unsure
        return self._activity(event, events=[told])

    def _activity(self, item: Item, **told: Any) -> Request:
        path = f"/users/{quote(item.ids['user_id'], safe='')}/activity"
        return self.post(path, {"request_id": item.message_id, **told})
