"""Totango: attributes and activities of users, as parameters of a pixel, which answers nothing about them."""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct

from transforms.destinations.auth import Query
from transforms.destinations.contract import Request, Secret
from transforms.destinations.plain import Item, Plain, text

ACCOUNT = "account_id"  # a trait: Totango knows a user only as one of an account


class Totango(Plain):
    slug = "totango"
    name = "Totango"
    page = "https://support.totango.com/hc/en-us/articles/204174135"
    base = "https://sdr.totango.com"
    names = {"user_id": "sdr_u"}
    required = {ACCOUNT: ((ACCOUNT,), ("company_id",), ("group_id",))}
    counts_only = True
    auth = Query({"sdr_s": "{service_id}"})

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one service."""

        service_id: Annotated[Secret, Meta(description="Service ID: Settings > Developers.")]

    def identify(self, user: Item) -> Request:
        attributes = {name: value for name, value in user.traits.items() if name != ACCOUNT}
        return self._pixel(user, {f"sdr_u.{name}": text(value) for name, value in attributes.items()})

    def track(self, event: Item) -> Request:
        """An activity has no properties: the key is its module. Totango's clock is its time."""
        return self._pixel(event, {"sdr_a": event.event, "sdr_m": event.key})

    def _pixel(self, item: Item, told: Mapping[str, str]) -> Request:
        params = {"sdr_o": text(item.traits.get(ACCOUNT)), **item.ids, **told}
        return self.ask("GET", "/pixel.gif/", params=params)
