"""Webhook: every call as its neutral message, to any URL. A connection's receiver is its own vendor."""

import hmac
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from msgspec import Meta, Struct

from schemas.workspace import Connection, Workspace
from transforms.destinations.auth import basic
from transforms.destinations.contract import (
    Auth,
    Batch,
    Call,
    Conversation,
    Delivered,
    Destination,
    Rejected,
    Reply,
    Request,
    Secret,
    Session,
    Verdict,
    all_of,
    by_status,
    refused,
)
from transforms.destinations.safety import CONTROLS, breaks_path, check_texts, fingerprint, url_fault

# Headers that carry credentials: plain headers are no place for them.
CREDENTIALS = ("authorization", "cookie", "proxy-authorization", "x-api-key")
# Headers that say where a message ends, how it is written and what becomes of the connection: the sender's own.
FRAMING = (
    "accept-encoding", "connection", "content-encoding", "content-length", "expect", "host", "keep-alive",
    "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
)  # fmt: skip
PLACE = re.compile(r"\{([^{}]*)\}")  # of the identifier in `url`: `https://crm.example/users/{email}`
ANY = "identifier"  # the name of a place that takes every type
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2


def url_of(settings: Any) -> str:
    """Where the messages go. Reveals a secret."""
    url: str = settings.secret_url.reveal() if settings.secret_url else settings.url
    return url


class _Signature(Auth):
    """The secret headers, the user that the URL names, and a signature of the body."""

    def headers(self, request: Request, settings: Any, session: Session, now: float) -> Mapping[str, str]:
        headers = {name.lower(): value.reveal() for name, value in settings.secret_headers.items()}
        user, _, password = urlsplit(url_of(settings)).netloc.rpartition("@")[0].partition(":")
        if user and "authorization" not in headers:
            headers["authorization"] = basic(unquote(user), unquote(password))
        if settings.shared_secret:
            key = settings.shared_secret.reveal().encode()
            headers["x-signature"] = hmac.new(key, request.body() or b"", "sha1").hexdigest()
        return headers


class Webhook(Destination):
    slug = "webhook"
    name = "Webhook"
    page = "https://segment.com/docs/connections/destinations/catalog/webhooks/"  # the form of message and signature
    forms = ("identify", "track", "group")
    aliases = ("webhooks", "tray-io")
    identifiers = ("*",)
    limits = ()  # a receiver that has one is given a `cap` in the workspace
    forgets = True
    auth = _Signature()

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Where the messages go, and how the receiver knows who sent them."""

        url: Annotated[
            str,
            Meta(
                pattern="^(https?://|$)",
                description="Where every message goes; {identifier}, or {email} and the like, is whom it is about.",
            ),
        ] = ""
        secret_url: Annotated[
            Secret | None, Meta(description="In place of `url`, where the URL itself is secret: it holds a token.")
        ] = None
        method: Annotated[Literal["POST", "PUT", "PATCH", "DELETE"], Meta(description="Of every request.")] = "POST"
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
            check_texts(self)
            if bool(self.url) == bool(self.secret_url):
                raise ValueError("expected either url or secret_url")
            if self.url and (fault := url_fault(self.url)):
                raise ValueError(f"url {fault} (take secret_url, or Authorization in secret_headers)")
            if fault := _places_fault(self.url, self.batch):
                raise ValueError(f"url {fault}")
            if any(name.lower() in CREDENTIALS for name in self.headers):
                raise ValueError(f"headers that are secret ({', '.join(CREDENTIALS)}) go into secret_headers")
            names = [*self.headers, *self.secret_headers]
            for name in names:
                if wrong := _header_fault(name, self.headers.get(name, "")):
                    raise ValueError(wrong)
            if len({name.lower() for name in names}) < len(names):
                raise ValueError("headers and secret_headers name one header twice")
            if self.shared_secret and "x-signature" in {name.lower() for name in names}:
                raise ValueError("X-Signature is made of shared_secret: remove the header, or shared_secret")

    settings: Settings

    def __init__(self, workspace: Workspace, connection: Connection) -> None:
        super().__init__(workspace, connection)
        if named := set(PLACE.findall(self.settings.url)) - {ANY}:
            self.identifiers = tuple(named)

    def tenant(self) -> str:
        """A receiver is known by its URL, any part of which may be secret."""
        host = f"{urlsplit(self.settings.url).netloc.lower()}:" if self.settings.url else ""
        return f"{self.slug}:{host}{fingerprint(self.settings.url or str(self.settings.secret_url))}"

    def limit_group(self) -> str:
        return f"{self.slug}-{fingerprint(url_of(self.settings))}"

    def _address(self, call: Call) -> str:
        """The URL for a call, without the user that it may name, which `auth` makes a header of."""
        parts = urlsplit(url_of(self.settings))
        address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
        if not self._names_whom():
            return address
        return PLACE.sub(lambda place: quote(call.identifier.id, safe=""), address)

    def _names_whom(self) -> bool:
        return bool(PLACE.search(self.settings.url))

    def reaches_inside(self) -> bool:
        return self.settings.private_addresses

    # -- conversations
    def unit(self, call: Call) -> Hashable:
        """Every call is a message of its own."""
        return id(call)

    def batch_of(self, route: str) -> Batch:
        return Batch(self.settings.batch or 1)

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        if call.kind == "group" and self.identifiers != ("*",):
            return Rejected("unsupported", "this connection's `url` has a place for people's identifiers alone")
        if self._names_whom() and breaks_path(call.identifier.id):
            return Rejected("invalid_identifier", "it cannot be in a URL, as this connection's `url` wants it")
        return None

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        messages = [self.message(call) for call in calls]
        body = messages if self.settings.batch else messages[0]
        url, method = self._address(calls[0]), self.settings.method
        reply = yield Request(method, url, json=body, headers=self.settings.headers)
        return all_of(calls, outcome(reply))

    forget = deliver  # a message of type `delete`

    # -- replies
    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        if reply.status == 501:
            return Verdict("answered")
        verdict = by_status(reply, items)
        if verdict.meaning == "refused" and reply.status != 403:
            words = f"status {reply.status}: is the url of {self.connection} right? {reply.words()}".rstrip()
            return Verdict("refused", words=words)
        return verdict


def outcome(reply: Reply) -> Delivered | Rejected:
    """The receiver's status decides; its body is for people."""
    if reply.ok:
        return Delivered()
    # 501: this type of message is not supported (the convention of partners' webhooks).
    return refused(reply, "unsupported" if reply.status == 501 else None)


def _places_fault(url: str, batch: int) -> str:
    """Why nobody's identifier can be put into the URL; "" if it can, or need not be."""
    names = set(PLACE.findall(url))
    if re.search("[{}]", PLACE.sub("", url)) or "" in names:
        return "has a brace without a name in it: expected {identifier}, {email} and the like"
    if PLACE.search(urlsplit(url).netloc):
        return "names its host or user by the identifier: it can only be in the path or the query"
    if len(names) > 1:
        return f"names {' and '.join(sorted(names))}: a message is about one identifier"
    if names and batch:
        return "names the identifier, so that each request has one message: remove batch"
    return ""


def _header_fault(name: str, value: str) -> str:
    """Why a header would break the message, or is the sender's own; "" if nothing."""
    if not TOKEN.fullmatch(name):
        return f"{name!r} cannot be the name of a header"
    if name.lower() in FRAMING:
        return f"the header {name} is the sender's own: it says how a message is framed"
    if CONTROLS.search(value.replace("\t", " ")) or value != value.strip():
        return f"the header {name} has a line break, another control character, or a blank at its end"
    return ""
