"""Zapier: every call as its neutral message, to the webhook that begins a Zap."""

from collections.abc import Hashable
from typing import Annotated

from msgspec import Meta, Struct

from transforms.destinations.contract import Call, Request, Secret
from transforms.destinations.plain import ANY, Item, Plain


class Zapier(Plain):
    slug = "zapier"
    name = "Zapier"
    page = "https://help.zapier.com/hc/en-us/articles/8496288690317-Trigger-Zap-workflows-from-webhooks"
    base = "https://hooks.zapier.com/hooks/catch/{hook}"
    names = ANY
    limits = ()

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """The Zap that is told."""

        hook: Annotated[
            Secret, Meta(description="The catch hook: what follows https://hooks.zapier.com/hooks/catch/ in its URL.")
        ]

    def unit(self, call: Call) -> Hashable:
        """Every call is a message of its own."""
        return id(call)

    def track(self, told: Item) -> Request:
        return self.post("/", self.message(told.call))

    identify = delete = track  # a message of type `identify`, or `delete`
