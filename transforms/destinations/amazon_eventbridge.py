"""Amazon EventBridge: every call as its neutral message, the detail of an event on a bus of one's own.

The events of a partner (`aws.partner/…`) can be put by that partner only.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from transforms.destinations.auth import SigV4
from transforms.destinations.aws import Access, Aws, by_place
from transforms.destinations.contract import Batch, Limit, Outcome, Reply, Request, refused
from transforms.destinations.plain import Item


class AmazonEventBridge(Aws):
    slug = "amazon-eventbridge"
    name = "Amazon EventBridge"
    page = "https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html"
    base = "https://events.{region}.amazonaws.com"
    auth = SigV4("events")
    # In regions with the lowest quota.
    limits = (Limit(400, source="https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html"),)
    # Bytes: what accounts that Amazon has not raised take.
    batch = Batch(10, 256_000)

    class Settings(Access, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """The bus, and the key of a user who may events:PutEvents to it."""

        event_bus: Annotated[str, Meta(pattern=r"^[/._A-Za-z0-9-]{1,256}$", description="Name of the event bus.")] = (
            "default"
        )
        source: Annotated[
            str, Meta(pattern=r"^(?!aws)[._/A-Za-z0-9-]{1,256}$", description="The `source` of the events, for rules.")
        ] = "profilecast"

    def identify(self, told: Sequence[Item]) -> Request:
        return self.call("AWSEvents.PutEvents", {"Entries": [self._entry(each) for each in told]})

    track = group = delete = identify

    def _entry(self, told: Item) -> dict[str, Any]:
        """`DetailType` is the type of the message: identify, track or delete."""
        return {
            "Time": told.at / 1_000_000,
            "Source": self.settings.source,
            "DetailType": told.call.kind,
            "Detail": self.encoded(told).decode(),
            "EventBusName": self.settings.event_bus,
        }

    def read(self, reply: Reply, items: Sequence[Item]) -> Outcome | list[Outcome]:
        return by_place(reply, "Entries", "EventId", items) if reply.ok else refused(reply)
