"""Webhook: every call as its neutral message, to any URL. A connection's receiver is its own vendor."""

import hmac
from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from transforms.destinations.contract import (
    Batch,
    Call,
    Conversation,
    Delivered,
    Destination,
    Memory,
    Rejected,
    Reply,
    Request,
    Secret,
    Verdict,
    all_of,
    by_status,
    refused,
)

# The URL itself is wrong: it moved, it is gone, or nothing there takes a POST.
WRONG_URL = frozenset({301, 302, 303, 307, 308, 404, 405, 410})
# Headers that carry credentials: plain headers are no place for them.
CREDENTIALS = ("authorization", "cookie", "proxy-authorization", "x-api-key")


class Webhook(Destination):
    slug = "webhook"
    name = "Webhook"
    page = "https://segment.com/docs/connections/destinations/catalog/webhooks/"  # the form of message and signature
    forms = ("identify", "track")
    aliases = ("webhooks",)
    identifiers = ("*",)
    limits = ()  # a receiver that has one is given a `cap` in the workspace
    forgets = True

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Where the messages go, and how the receiver knows who sent them."""

        url: Annotated[str, Meta(pattern="^(https?://|$)", description="Where every message is posted.")] = ""
        secret_url: Annotated[
            Secret | None, Meta(description="In place of `url`, where the URL itself is secret: it holds a token.")
        ] = None
        headers: Annotated[dict[str, str], Meta(description="Sent with every request, as they are.")] = {}
        secret_headers: Annotated[
            dict[str, Secret], Meta(description="The same, for values that are secret, such as Authorization.")
        ] = {}
        shared_secret: Annotated[
            Secret | None,
            Meta(description="Signs every request: X-Signature is the hex HMAC-SHA1 of the body's bytes."),
        ] = None
        batch: Annotated[
            int, Meta(ge=0, le=1000, description="Messages in one request, as an array; 0: one, as an object.")
        ] = 0
        private_addresses: Annotated[
            bool, Meta(description="The URL may point into this machine's own network; otherwise it is refused.")
        ] = False

        def __post_init__(self) -> None:
            if bool(self.url) == bool(self.secret_url):
                raise ValueError("expected either url or secret_url")
            if any(name.lower() in CREDENTIALS for name in self.headers):
                raise ValueError(f"headers that are secret ({', '.join(CREDENTIALS)}) go into secret_headers")

    settings: Settings

    def account(self) -> Hashable:
        return self._url

    @property
    def _url(self) -> str:
        return self.settings.secret_url.reveal() if self.settings.secret_url else self.settings.url

    def reaches_inside(self) -> bool:
        return self.settings.private_addresses

    # -- conversations
    def unit(self, call: Call) -> Hashable:
        """Every call is a message of its own."""
        return id(call)

    def batch_of(self, route: str) -> Batch:
        return Batch(self.settings.batch or 1)

    def deliver(self, calls: Sequence[Call], memory: Memory) -> Conversation:
        messages = [self.message(call) for call in calls]
        body = messages if self.settings.batch else messages[0]
        reply = yield Request("POST", self._url, json=body, headers=self.settings.headers)
        return all_of(calls, outcome(reply))

    forget = deliver  # a message of type `delete`

    # -- credentials
    def signed(self, request: Request) -> Mapping[str, str]:
        headers = {name: value.reveal() for name, value in self.settings.secret_headers.items()}
        if self.settings.shared_secret:
            key = self.settings.shared_secret.reveal().encode()
            headers["x-signature"] = hmac.new(key, request.body() or b"", "sha1").hexdigest()
        return headers

    # -- replies
    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        if reply.status in WRONG_URL:
            return Verdict("stop", words=f"status {reply.status}: is the url of {self.connection} right?")
        if reply.status == 501:
            return Verdict("answered")
        return by_status(reply, items)


def outcome(reply: Reply) -> Delivered | Rejected:
    """The receiver's status decides; its body is for people."""
    if reply.ok:
        return Delivered()
    # 501: this type of message is not supported (the convention of partners' webhooks).
    return refused(reply, "unsupported" if reply.status == 501 else None)
