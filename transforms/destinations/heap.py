"""Heap: user properties and events, in bulk. It knows people by their identity only."""

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from transforms.destinations.auth import Body
from transforms.destinations.contract import Batch, Call, Rejected, Request
from transforms.destinations.plain import Item, Plain, flat, text
from transforms.destinations.safety import check_texts

LONGEST = 1_024  # characters of a value


class Heap(Plain):
    slug = "heap"
    name = "Heap"
    page = "https://developers.heap.io/reference/server-side-apis-overview"
    base = "https://{host}/api"
    names = {"user_id": "identity"}
    batch = Batch(1_000)
    auth = Body({"app_id": "{app_id}"})

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """One environment."""

        app_id: Annotated[str, Meta(pattern="^[0-9]+$", description="Id of the environment: Account > Projects.")]
        host: Annotated[
            Literal["heapanalytics.com", "c.eu.heap-api.com"], Meta(description="Where the data is: US or EU.")
        ] = "heapanalytics.com"

        def __post_init__(self) -> None:
            check_texts(self)

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if len(text(call.value)) > LONGEST:
            return Rejected("invalid_value", f"Heap takes {LONGEST} characters of a value")
        return None

    def identify(self, users: Sequence[Item]) -> Request:
        """The bulk form; the sources show the form of one user only, which has the same fields."""
        told = [{**user.ids, "properties": {n: flat(v) for n, v in user.traits.items()}} for user in users]
        return self.post("/add_user_properties", {"users": told})

    def track(self, events: Sequence[Item]) -> Request:
        told = [
            {
                **event.ids,
                "event": event.event,
                "timestamp": event.time,
                "properties": {name: flat(value) for name, value in event.properties.items()},
                "idempotency_key": event.message_id,
            }
            for event in events
        ]
        return self.post("/track", {"events": told})
