"""Blueshift: customers and their events, each with a key of its own."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from transforms.destinations.auth import Basic, ByEndpoint
from transforms.destinations.contract import Request, Secret
from transforms.destinations.names import in_ascii
from transforms.destinations.plain import Item, Plain
from transforms.destinations.safety import check_texts

TRAITS = {"first_name": "firstname", "last_name": "lastname", "phone": "phone_number"}
# Names of events have no digits: those of a name are written as words, those of a hash as letters.
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDS = str.maketrans({str(digit): word for digit, word in enumerate(DIGITS)})
LETTERS = str.maketrans("0123456789", "ghijklmnop")


class Blueshift(Plain):
    slug = "blueshift"
    name = "Blueshift"
    page = "https://developer.blueshift.com/reference"
    base = "https://{host}/api/v1"
    names = {"user_id": "customer_id", "email": "email"}
    one_record = {"email": "attach"}
    auth = ByEndpoint(Basic("{user_key}"), {"events": Basic("{event_key}")})

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one account."""

        user_key: Annotated[Secret, Meta(description="User API key: Account settings > API keys.")]
        event_key: Annotated[Secret, Meta(description="Event API key, from the same page.")]
        host: Annotated[
            Literal["api.getblueshift.com", "api.eu.getblueshift.com"],
            Meta(description="Where the account's data is: US or EU."),
        ] = "api.getblueshift.com"

        def __post_init__(self) -> None:
            check_texts(self)

    def trait_at_vendor(self, trait: str) -> str:
        return TRAITS.get(trait, trait)

    def event_at_vendor(self, name: str) -> str:
        return in_ascii(name.translate(WORDS), 64).translate(LETTERS)

    def identify(self, customer: Item) -> Request:
        return self.post("/customers", {**customer.traits, **customer.ids})

    def track(self, event: Item) -> Request:
        told = {**event.properties, "event": event.event, "timestamp": event.time, **event.ids}  # the time: unsure
        return self.post("/event", told, endpoint="events")
