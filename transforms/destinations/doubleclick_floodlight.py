"""DoubleClick Floodlight (Campaign Manager 360): activities of devices, by the tag that an app would ask for.

The tag takes everything and says nothing: an advertiser or activity that is wrong has the same answer. Campaign
Manager's own API says more, but needs an activity's numbers and a user's consent.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

from msgspec import Meta, Struct

from transforms.destinations.contract import Call, Rejected, Reply, Request, Verdict, by_status
from transforms.destinations.personal import EXPECTED, device
from transforms.destinations.plain import Item, Plain, text
from transforms.destinations.safety import CONTROLS, check_texts

FORBIDDEN = re.compile(r'["<>#\x00-\x1f\x7f]')  # in a custom variable
LONGEST = 100  # characters of one (unsure)
VARIABLE = "^(u([1-9][0-9]?|100))?$"
TAG = r"^[\w-]+$"
# Where the person's own browser is not known: Floodlight takes an activity by its device (unsure).
AGENTS = {
    "ios.idfa": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)",
    "android.idfa": "Mozilla/5.0 (Linux; Android 15)",
}


class DoubleclickFloodlight(Plain):
    slug = "doubleclick-floodlight"
    name = "DoubleClick Floodlight"
    page = "https://support.google.com/campaignmanager/answer/2823450"
    remark = (
        "Counter activities only, of devices whose advertising id is known. They count at the moment of the request, "
        "and a wrong advertiser or tag is not reported."
    )
    base = "https://ad.doubleclick.net/ddm/activity/"
    names = {"ios.idfa": "dc_rdid", "android.idfa": "dc_rdid"}
    history = False
    counts_only = True

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """The advertiser, and the activities that events are counted as."""

        advertiser_id: Annotated[str, Meta(pattern="^[0-9]+$", description="`src` of the Floodlight tag.")]
        group_tag: Annotated[str, Meta(pattern=TAG, description="`type` of the tag: the activity group's tag string.")]
        activity_tag: Annotated[str, Meta(pattern=TAG, description="`cat` of the tag: the activity's tag string.")]
        activities: Annotated[
            dict[str, str],
            Meta(description="Other activities of this group, by the names of events: `{Audience Exited: left0}`."),
        ] = {}
        key_variable: Annotated[
            str, Meta(pattern=VARIABLE, description="Custom variable of the computation's key; empty: it is not sent.")
        ] = "u1"
        value_variable: Annotated[
            str, Meta(pattern=VARIABLE, description="Custom variable of its value; empty: it is not sent.")
        ] = "u2"

        def __post_init__(self) -> None:
            check_texts(self)
            if wrong := next((tag for tag in self.activities.values() if not re.fullmatch(r"[\w-]+", tag)), None):
                raise ValueError(f"activities: {wrong!r} is no tag string")

    settings: Settings

    def tenant(self) -> str:
        return f"{self.slug}:{self.settings.advertiser_id}"

    def limit_group(self) -> str:
        return f"{self.slug}-{self.settings.advertiser_id}"

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if not device(call.identifier.id):
            return Rejected("invalid_identifier", f"expected {EXPECTED[call.identifier.type]}")
        return None

    def track(self, event: Item) -> Request:
        """The message's id as `ord`: a repeat is the same number. Nothing that tells who it is may be a variable."""
        settings = self.settings
        pairs = {
            "src": settings.advertiser_id,
            "type": settings.group_tag,
            "cat": settings.activities.get(event.event, settings.activity_tag),
            "dc_rdid": device(event.call.identifier.id),
            **self._variables(event),
            "dc_lat": "1" if event.traits.get("ad_tracking_enabled") is False else "0",
            "ord": event.message_id,
        }
        path = ";".join(f"{name}={quote(value, safe='')}" for name, value in pairs.items())
        return self.ask("GET", path, headers={"user-agent": _agent(event)})

    def _variables(self, event: Item) -> dict[str, str]:
        told = {self.settings.key_variable: event.key, self.settings.value_variable: text(event.value)}
        return {
            name: value
            for name, value in told.items()
            if name and value and len(value) <= LONGEST and not FORBIDDEN.search(value)
        }

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        """It may send the asker on to an image: that is an answer."""
        return Verdict("answered") if 300 <= reply.status < 400 else by_status(reply, items)

    def read(self, reply: Reply, items: Any) -> Any:
        sent_on = 300 <= reply.status < 400
        return super().read(Reply(200) if sent_on else reply, items)


def _agent(event: Item) -> str:
    traits: Mapping[str, Any] = event.traits
    known = traits.get("user_agent")
    fine = isinstance(known, str) and known.isascii() and not CONTROLS.search(known)
    return str(known) if known and fine else AGENTS[event.call.identifier.type]
