"""Pendo: custom metadata of visitors that Pendo has seen; the fields must exist there.

Its track events need another key, and its segments an id each: neither is sent.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from transforms.destinations.auth import Header
from transforms.destinations.contract import (
    Batch,
    Delivered,
    Outcome,
    Rejected,
    Reply,
    Request,
    Secret,
    Verdict,
    by_status,
    refused,
)
from transforms.destinations.plain import Item, Plain
from transforms.destinations.reading import count, items


class Pendo(Plain):
    slug = "pendo"
    name = "Pendo"
    page = "https://engageapi.pendo.io/"
    base = "https://{host}/api/v1"
    names = {"user_id": "visitorId"}
    columns_first = True
    batch = Batch(1_000)
    auth = Header("x-pendo-integration-key", "{integration_key}")

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one subscription."""

        integration_key: Annotated[
            Secret, Meta(description="Integration key with write access: Settings > Integrations.")
        ]
        host: Annotated[
            Literal["app.pendo.io", "us1.app.pendo.io", "app.eu.pendo.io", "app.jpn.pendo.io", "app.au.pendo.io"],
            Meta(description="Host of the subscription's Pendo."),
        ] = "app.pendo.io"

    def identify(self, visitors: Sequence[Item]) -> Request:
        told = [{**visitor.ids, "values": visitor.traits} for visitor in visitors]
        return self.post("/metadata/visitor/custom/value", told)

    def read(self, reply: Reply, visitors: Sequence[Item]) -> Outcome | list[Outcome]:
        if not reply.ok:
            return refused(reply)
        missing = items(reply.object, "missing")
        unknown = Rejected("not_found", "Pendo has not seen this visitor")
        good: Outcome = Delivered()
        if count(reply.object, "failed") > len(missing):  # of one visitor: `classify` looks for it
            good = Rejected("invalid_value", reply.words())
        return [unknown if visitor.ids["visitorId"] in missing else good for visitor in visitors]

    def classify(self, request: Request, reply: Reply, many: int) -> Verdict:
        """Failures are counted; only those who are missing are named as well."""
        if reply.ok and many > 1 and count(reply.object, "failed") > len(items(reply.object, "missing")):
            return Verdict("halve", words=reply.words())
        return by_status(reply, many)
