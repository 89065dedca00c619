"""Retention Science (ReSci): traits of people, and events, one by one.

The vendor's own pages cannot be read any more; what is here is from integrations that partners wrote.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct

from transforms.destinations.auth import Header
from transforms.destinations.contract import (
    CAPS_TABLE,
    Call,
    Delivered,
    Limit,
    Outcome,
    Rejected,
    Reply,
    Request,
    Secret,
    refused,
)
from transforms.destinations.plain import Item, Plain
from transforms.destinations.reading import word

# Traits with names of the vendor's own; any other is taken as it is (unsure: that nothing has to be made for it).
STANDARD = {"first_name": "firstName", "last_name": "lastName"}


class ReSci(Plain):
    slug = "resci"
    name = "Retention Science"
    page = "https://github.com/sperand-io/segment-retention-science"
    remark = "The vendor's own documentation is gone, and the product may be, too: ask before you connect it."
    base = "https://events.retentionscience.com/v2"
    names = {"user_id": "userId", "email": "email", "anonymous_id": "anonymousId"}
    one_record = {"email": "attach", "anonymous_id": "attach"}
    auth = Header("authorization", "ApiKey {api_key}")
    limits = (Limit(200, source=CAPS_TABLE),)

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one site."""

        api_key: Annotated[Secret, Meta(description="API password: the dashboard > API settings.")]

    def trait_at_vendor(self, trait: str) -> str:
        return STANDARD.get(trait, trait)

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if call.identifier.type == "email" and "@" not in call.identifier.id.strip(" @"):
            return Rejected("invalid_identifier", "Retention Science takes no such e-mail address")
        return None

    def identify(self, person: Item) -> Request:
        ids, email = _apart(person)
        return self.post("/identify", {**ids, "traits": {**person.traits, **email}})

    def track(self, event: Item) -> Request:
        """With the address: it ties what happened to somebody who can be written to."""
        ids, email = _apart(event)
        body = {**ids, "event": event.event, "properties": event.properties, "traits": email}
        return self.post("/track", body)

    def read(self, reply: Reply, items: Any) -> Outcome:
        """202: it is in a queue, as it was not done within 300 milliseconds."""
        return Delivered() if reply.ok else refused(reply, words=word(reply.object, "message"))


def _apart(item: Item) -> tuple[dict[str, str], dict[str, str]]:
    """The ids, and the address, which is a trait. A trait that is null is sent so (unsure: whether it is emptied)."""
    ids = {name: value for name, value in item.ids.items() if name != "email"}
    return ids, {name: value for name, value in item.ids.items() if name == "email"}
