"""Delighted: people and what is known of them, one by one. An event would send a survey: there are none.

Whether Delighted goes on after 2026 is unsure.
"""

from typing import Annotated

from msgspec import Meta, Struct

from transforms.destinations.auth import Basic
from transforms.destinations.contract import Request, Secret
from transforms.destinations.plain import Item, Plain


class Delighted(Plain):
    slug = "delighted"
    name = "Delighted"
    page = "https://app.delighted.com/docs/api"
    base = "https://api.delighted.com/v1"
    names = {"email": "email", "phone": "phone_number"}
    one_record = {"phone": "attach"}
    auth = Basic("{api_key}")

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one project."""

        api_key: Annotated[Secret, Meta(description="API key of the project: Settings > API.")]

    def identify(self, person: Item) -> Request:
        """`send` false: without it a survey goes out."""
        own = {name: value for name, value in person.traits.items() if name == "name"}
        properties = {name: value for name, value in person.traits.items() if name != "name"}
        return self.post("/people.json", {**person.ids, **own, "send": False, "properties": properties})
