"""CleverTap: profiles and events, up to 1,000 in an upload. Those that it does not take come back in the answer."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from schemas.canonical import canonical
from transforms.destinations.auth import Header
from transforms.destinations.contract import Batch, Delivered, Later, Outcome, Rejected, Reply, Request, Secret, refused
from transforms.destinations.plain import Item, Plain
from transforms.destinations.reading import items, part, word
from transforms.destinations.safety import check_texts

TRAITS = {"email": "Email", "phone": "Phone", "name": "Name"}  # that CleverTap sends messages by


class CleverTap(Plain):
    slug = "clevertap"
    name = "CleverTap"
    page = "https://developer.clevertap.com/docs/upload-user-profiles-api"
    base = "https://{region}.api.clevertap.com/1"
    names = {"user_id": "identity"}
    batch = Batch(1_000)
    auth = Header("x-clevertap-passcode", "{passcode}")

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one project."""

        account_id: Annotated[str, Meta(min_length=1, description="Project ID: Settings > Project.")]
        passcode: Annotated[Secret, Meta(description="Passcode, from the same page.")]
        region: Annotated[
            str,
            Meta(pattern="^[a-z0-9]+$", description="`eu1`, `in1`, `sg1`, `us1`: how its dashboard's URL begins."),
        ]

        def __post_init__(self) -> None:
            check_texts(self)

    def trait_at_vendor(self, trait: str) -> str:
        return TRAITS.get(trait, trait)

    def identify(self, people: Sequence[Item]) -> Request:
        return self._send("/upload", {"d": [_profile(person) for person in people]})

    def track(self, events: Sequence[Item]) -> Request:
        return self._send("/upload", {"d": [_event(event) for event in events]})

    def delete(self, person: Item) -> Request:
        return self._send("/delete/profiles.json", {"identity": [person.ids["identity"]]})  # a list: unsure

    def _send(self, path: str, told: Any) -> Request:
        return self.post(path, told, headers={"x-clevertap-account-id": self.settings.account_id})

    def read(self, reply: Reply, told: Sequence[Item]) -> Outcome | list[Outcome]:
        """What is not taken is listed, each with the record as it was sent."""
        if not reply.ok:
            return refused(reply)
        failed = items(reply.object, "unprocessed")
        if word(reply.object, "status") == "success" and not failed:
            return Delivered()
        words = {_mark(part(each, "record")): word(each, "error") or reply.words() for each in failed}
        marks = [_mark(_event(item) if item.event else _profile(item)) for item in told]
        good: Outcome = Delivered()
        if not words or not words.keys() <= {*marks}:  # the list names nobody, or somebody who was not sent
            partial = word(reply.object, "status") == "partial"
            good = Delivered(unconfirmed=True) if partial else Later(words=reply.words())
        return [Rejected("invalid_value", words[mark]) if mark in words else good for mark in marks]


def _profile(person: Item) -> dict[str, Any]:
    return {"type": "profile", **person.ids, "ts": person.seconds, "profileData": person.traits}


def _event(event: Item) -> dict[str, Any]:
    return {"type": "event", **event.ids, "ts": event.seconds, "evtName": event.event, "evtData": event.properties}


def _mark(record: Mapping[str, Any]) -> bytes:
    """What tells a record from others in an upload: of a profile the identity, of an event all that is sent."""
    names = ("identity", "ts", "evtName", "evtData") if "evtName" in record else ("identity",)
    return canonical([record.get(name) for name in names])
