"""Slack: a sentence in a channel about what happened to somebody, by an incoming webhook."""

from typing import Annotated

from msgspec import Meta, Struct

from transforms.destinations.contract import Limit, Request, Secret
from transforms.destinations.plain import Item, Plain, text

_LIMITS = "https://docs.slack.dev/apis/web-api/rate-limits"


class Slack(Plain):
    slug = "slack"
    name = "Slack"
    page = "https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks"
    base = "https://hooks.slack.com/services/{webhook}"
    names = {kind: kind for kind in ("user_id", "email", "phone", "anonymous_id")}
    one_record = {"email": "attach", "phone": "attach", "anonymous_id": "none"}  # one message, and not one for each
    limits = (Limit(1, source=_LIMITS),)

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """The channel that is told."""

        webhook: Annotated[
            Secret,
            Meta(description="The incoming webhook: what follows https://hooks.slack.com/services/ in its URL."),
        ]

    def track(self, event: Item) -> Request:
        [(kind, who)] = event.ids.items()
        what = f"{event.key} = {text(event.value)}"
        return self.post("", {"text": _plain(f"{event.event}: {what}, for {kind} {who}")})


def _plain(words: str) -> str:
    """Without Slack's own signs, so that no value mentions a channel or makes a link."""
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
