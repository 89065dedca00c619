"""Facebook Custom Audiences Website: events of a pixel, from which audiences are made there by rules.

By the Conversions API, which takes all events of a request or none.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from schemas.workspace import Connection, Workspace
from transforms.destinations.auth import Bearer
from transforms.destinations.contract import (
    Batch,
    Call,
    Identifier,
    Rejected,
    Reply,
    Request,
    Secret,
    Verdict,
    by_status,
    retry_after,
)
from transforms.destinations.facebook_custom_audiences import (
    GONE,
    NEWEST,
    PERMISSIONS,
    RETIRED,
    THROTTLED,
    TOKEN,
    TRANSIENT,
    VERSIONS,
    regained,
    version_of,
)
from transforms.destinations.facebook_rows import phone
from transforms.destinations.personal import email, hashed
from transforms.destinations.plain import Item, Plain
from transforms.destinations.reading import count, part, word
from transforms.destinations.safety import check_texts


class FacebookCustomAudiencesWebsite(Plain):
    slug = "facebook-custom-audiences-website"
    name = "Facebook Custom Audiences Website"
    page = "https://developers.facebook.com/docs/marketing-api/conversions-api"
    base = "https://graph.facebook.com/{api_version}/{pixel_id}"
    aliases = ("personas-facebook-custom-audiences-website",)
    names = {"email": "em", "phone": "ph", "user_id": "external_id"}
    api_version = VERSIONS[NEWEST]
    history = False  # an event older than seven days makes Meta refuse its whole request
    batch = Batch(1_000)
    auth = Bearer("{access_token}")

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """The pixel, and the access to it."""

        pixel_id: Annotated[str, Meta(pattern="^[0-9]+$", description="Id of the pixel (dataset): Events Manager.")]
        access_token: Annotated[
            Secret, Meta(description="Token of the Conversions API: Events Manager > the pixel > Settings.")
        ]
        api_version: Annotated[str, Meta(pattern=r"^v[0-9]+\.[0-9]+$", description="Version of the Graph API.")] = (
            NEWEST
        )

        def __post_init__(self) -> None:
            check_texts(self)

    def __init__(self, workspace: Workspace, connection: Connection) -> None:
        super().__init__(workspace, connection)
        self.api_version = version_of(self.settings.api_version)

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if not _hashed(call.identifier):
            return Rejected("invalid_identifier", "expected name@host, or a number with + and its country code")
        return None

    def track(self, events: Sequence[Item]) -> Request:
        return self.post("/events", {"data": [_event(event) for event in events]})

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        """By the codes of the error, mostly inside an HTTP 400."""
        error = part(reply.object, "error")
        codes, words = {count(error, "code"), count(error, "error_subcode")}, word(error, "message")
        if not RETIRED.isdisjoint(codes):
            return Verdict("stop", words=f"Facebook has retired this api_version of the settings. {words}")
        if not THROTTLED.isdisjoint(codes):
            return Verdict("throttled", regained(reply), words)
        if error.get("is_transient") is True or not TRANSIENT.isdisjoint(codes):
            return Verdict("transient", retry_after(reply), words)
        if not TOKEN.isdisjoint(codes):
            return Verdict("credentials", words=f"Facebook does not accept the access token; make a new one. {words}")
        if count(error, "code") in PERMISSIONS or not GONE.isdisjoint(codes):
            return Verdict("stop", words=f"there is no such pixel, or the token may not use it. {words}")
        return by_status(reply, items)


def _event(event: Item) -> dict[str, Any]:
    """An event of a website would have to name page and browser (unsure: rules see those that are system_generated)."""
    identifier = event.call.identifier
    [name] = event.ids
    return {
        "event_name": event.event,
        "event_time": event.seconds,
        "event_id": event.message_id,
        "action_source": "system_generated",
        "user_data": {name: [_hashed(identifier)]},
        "custom_data": event.properties,
    }


def _hashed(identifier: Identifier) -> str:
    """What Meta makes itself of what is typed on the page, so that both match; "" if it cannot be right."""
    rules: dict[str, Callable[[str], str]] = {"email": email, "phone": phone}
    return hashed(identifier.id, rules.get(identifier.type, str))
