"""Intercom: events of contacts that it knows. Contacts and their attributes are not written."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from transforms.destinations.auth import Bearer
from transforms.destinations.contract import (
    CAPS_TABLE,
    ApiVersion,
    Call,
    Delivered,
    Limit,
    Outcome,
    Rejected,
    Reply,
    Request,
    Secret,
    Verdict,
    by_status,
    refused,
)
from transforms.destinations.plain import Item, Plain, flat
from transforms.destinations.reading import rows, word

VERSION = "2.16"
MOST = 10  # keys of an event's metadata; Intercom drops the others without a word


class Intercom(Plain):
    slug = "intercom"
    name = "Intercom"
    page = "https://developers.intercom.com/docs/references/rest-api/api.intercom.io/data-events"
    remark = (
        "Events only, of contacts that Intercom has already. It drops a second event of a contact with the same name "
        "in the same second: give each sync `events` names of its own."
    )
    base = "https://{host}"
    names = {"user_id": "user_id", "email": "email"}
    one_record = {"email": "none"}
    auth = Bearer("{access_token}")
    api_version = ApiVersion(VERSION, source="https://developers.intercom.com/docs/build-an-integration/learn-more")
    limits = (Limit(8, source=CAPS_TABLE),)

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one workspace."""

        access_token: Annotated[Secret, Meta(description="Access token of your app: Developer Hub > Authentication.")]
        host: Annotated[
            Literal["api.intercom.io", "api.eu.intercom.io", "api.au.intercom.io"],
            Meta(description="Where the workspace's data is: US, EU or Australia."),
        ] = "api.intercom.io"

    def event_at_vendor(self, name: str) -> str:
        """Intercom has `-` for `.` and `$`."""
        return name.translate({ord("."): "-", ord("$"): "-"})

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if len(self.properties(call)) > MOST:
            return Rejected("unsupported", f"Intercom takes {MOST} properties of an event")
        return None

    def track(self, event: Item) -> Request:
        """Of one identifier: that of the call. Metadata has no booleans, and nothing inside."""
        [(kind, name), *_] = event.ids.items()
        told: dict[str, Any] = {key: flat(value) for key, value in event.properties.items()}
        body = {kind: name, "event_name": event.event, "created_at": event.seconds, "metadata": told}
        return self.post("/events", body, headers={"intercom-version": VERSION})

    def read(self, reply: Reply, items: Any) -> Outcome:
        return Delivered() if reply.ok else refused(reply, words=word(_error(reply), "message"))

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        """A contact that is not there is no wrong URL."""
        if reply.status == 404 and word(_error(reply), "code") in ("not_found", "user_not_found"):
            return Verdict("answered")
        return by_status(reply, items)


def _error(reply: Reply) -> dict[str, Any]:
    return next(iter(rows(reply.object, "errors")), {})
