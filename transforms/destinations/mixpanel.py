"""Mixpanel: profiles in bulk, which are only counted; events by import, which names those that it does not take."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from transforms.destinations.auth import Basic
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
from transforms.destinations.reading import rows, word

# Traits that Mixpanel shows in places of their own.
RESERVED = {name: f"${name}" for name in ("email", "phone", "name", "first_name", "last_name", "avatar")}
GROUPS = Batch(200, 1_000_000)  # of `/groups` no number is written: the least that Mixpanel takes of anything


class Mixpanel(Plain):
    slug = "mixpanel"
    name = "Mixpanel"
    page = "https://developer.mixpanel.com/reference/ingestion-api"
    base = "https://{host}"
    names = {"user_id": "distinct_id", "anonymous_id": "distinct_id"}
    one_record = {"anonymous_id": "none"}
    batch = Batch(2_000, 10_000_000)
    same_account = ("group_key",)
    auth = Basic("{api_secret}")  # of `/import`; `/engage` does not look at it

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one project."""

        token: Annotated[Secret, Meta(description="Token of the project: Settings > Project details.")]
        api_secret: Annotated[Secret, Meta(description="API secret of the project, from the same page.")]
        host: Annotated[
            Literal["api.mixpanel.com", "api-eu.mixpanel.com", "api-in.mixpanel.com"],
            Meta(description="Where the project's data is: US, EU or India."),
        ] = "api.mixpanel.com"
        group_key: Annotated[
            str, Meta(pattern=r"^[$A-Za-z0-9_ -]+\Z", description="Of accounts: a group key of the project settings.")
        ] = "company"

    def trait_at_vendor(self, trait: str) -> str:
        return RESERVED.get(trait, trait)

    def identify(self, people: Sequence[Item]) -> Request:
        """Without an address: `$ip` 0 keeps Mixpanel from placing people where this machine is."""
        told = [self._update(each, {"$ip": "0", "$set": each.traits}) for each in people]
        return self.post("/engage", told, params={"verbose": "1"})

    def track(self, events: Sequence[Item]) -> Request:
        return self.post("/import", [_event(event) for event in events], params={"strict": "1"})

    def group(self, accounts: Sequence[Item]) -> Request:
        told = [
            {
                "$token": self.settings.token.reveal(),
                "$group_key": self.settings.group_key,
                "$group_id": each.account,
                "$set": each.traits,
            }
            for each in accounts
        ]
        return self.post("/groups", told, params={"verbose": "1"})

    def batch_of(self, route: str) -> Batch:
        return GROUPS if route == "group" else super().batch_of(route)

    def delete(self, person: Item) -> Request:
        """The profile; events have to be deleted in Mixpanel's own privacy pages."""
        return self.post("/engage", [self._update(person, {"$delete": ""})], params={"verbose": "1"})

    def _update(self, person: Item, change: Mapping[str, Any]) -> dict[str, Any]:
        return {"$token": self.settings.token.reveal(), "$distinct_id": person.ids["distinct_id"], **change}

    def read(self, reply: Reply, items: Sequence[Item]) -> Outcome | list[Outcome]:
        failed = _failed(reply)
        if failed:
            return [failed.get(item.message_id, Delivered()) for item in items]
        if not reply.ok or reply.object.get("status") == 0:
            return refused(reply, words=word(reply.object, "error"))
        # One good profile is enough for a good answer.
        return Delivered(unconfirmed=len(items) > 1 and not items[0].event)

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        if reply.status == 400 and _failed(reply):
            return Verdict("answered")  # the others are stored
        if reply.ok and reply.object.get("status") == 0 and items > 1:
            return Verdict("halve", words=word(reply.object, "error"))
        return by_status(reply, items)


def _event(event: Item) -> dict[str, Any]:
    own = {**event.ids, "time": event.at // 1_000, "$insert_id": event.message_id}
    return {"event": event.event, "properties": {**event.properties, **own}}


def _failed(reply: Reply) -> dict[str, Outcome]:
    """What is wrong with events, by what each was sent under."""
    return {
        word(row, "insert_id"): Rejected("invalid_value", f"{word(row, 'field')}: {word(row, 'message')}")
        for row in rows(reply.object, "failed_records")
        if word(row, "insert_id")
    }
