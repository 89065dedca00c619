"""Requests and replies of HTTP, as conversations have them, and what a status means. No I/O."""

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Struct
from urllib3.filepost import encode_multipart_formdata

from schemas.outcomes import Reason, Rejected
from transforms.logic.hints import plausible, wait

T = TypeVar("T")


class File(NamedTuple):
    """A file in a multipart body."""

    name: str
    content: bytes
    type: str = "application/octet-stream"


class Request(Struct, frozen=True, dict=True):
    """One HTTP request. Its body is one of `json`, `form`, `multipart` and `content`."""

    method: str
    url: str  # the vendor's own, whole; one that begins with `/` is under the base URL that signing in brought
    json: Any = None
    form: Mapping[str, str] | None = None  # urlencoded
    multipart: Mapping[str, str | File] | None = None
    content: bytes | None = None
    params: Mapping[str, str] = {}  # added to the URL
    headers: Mapping[str, str] = {}
    endpoint: str = ""  # the class of `Limit.endpoint` it counts for
    after: float = 0.0  # seconds to wait before it is sent: polls

    def __repr__(self) -> str:
        """The method and the host only: people and credentials may be in the rest."""
        return f"Request({self.method!r}, {urlsplit(self.url).hostname or ''!r})"

    @property
    def full_url(self) -> str:
        """The URL with its parameters."""
        if not self.params:
            return self.url
        return f"{self.url}{'&' if '?' in self.url else '?'}{urlencode(self.params)}"

    def body(self) -> bytes | None:
        """The exact bytes that travel; encoded once."""
        return self._encoded[0]

    @property
    def all_headers(self) -> dict[str, str]:
        """Its headers with the type of its body; names in lower case."""
        kind = self._encoded[1]
        return {
            **({"content-type": kind} if kind else {}),
            **{name.lower(): value for name, value in self.headers.items()},
        }

    @cached_property
    def _encoded(self) -> tuple[bytes | None, str]:
        """The body and its type."""
        if self.json is not None:
            return msgspec.json.encode(self.json), "application/json"
        if self.form is not None:
            return urlencode(self.form).encode(), "application/x-www-form-urlencoded"
        if self.multipart is not None:
            return encode_multipart_formdata(self.multipart)
        return self.content, ""


class Reply(Struct, frozen=True):
    """The vendor's answer, whole. Header names are lower case."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON; None where it is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    @property
    def object(self) -> dict[str, Any]:
        """The body as a JSON object; empty where it is none."""
        body = self.json()
        return body if isinstance(body, dict) else {}

    def words(self) -> str:
        """The body as text for people, cut."""
        return self.body[:500].decode("utf-8", "replace")


@dataclass(frozen=True)
class Verdict:
    """What a reply means for the sender, where the conversation is not the one to say.

    A status code is evidence, not a verdict: the sender weighs it (`transforms.logic.blame`).

    `answered`: the conversation reads it. `throttled`: hold the connection for `after` seconds,
    then repeat the request. `transient`: repeat with backoff; a batch that keeps getting it alone is
    divided. `halve`: the batch was refused as a whole for what may be in it: find the bad item by
    halving; a batch of one is rejected in the vendor's words. `credentials` and `refused`: the
    vendor says no to who asks, or to what is asked of it (401, 403, 404 of a URL): the connection
    stops if nobody succeeds; where others do, it is the record's. `stop`: surely not the record's
    (terms, version retired, quota of the account): the connection stops now, and its calls wait.
    """

    meaning: Literal["answered", "throttled", "transient", "credentials", "refused", "stop", "halve"]
    after: float | None = None  # seconds, where the vendor says how long
    words: str = ""


def bounded(verdict: Verdict) -> Verdict:
    """The verdict without a delay that is not plausible: then the sender's own backoff decides."""
    return verdict if verdict.after is None else replace(verdict, after=plausible(verdict.after))


def by_status(reply: Reply, items: int) -> Verdict:
    """The meaning of a status code where the vendor has no habits of its own.

    An error that names nobody, of a request about many, is not each one's: it is looked for by halving.
    """
    status = reply.status
    if status == 429:
        return Verdict("throttled", retry_after(reply), reply.words())
    if status == 401:
        return Verdict("credentials", words=reply.words())
    if status in (403, 404, 405, 410) or 300 <= status < 400:  # of who asks, or of the URL, as far as can be seen here
        return Verdict("refused", words=reply.words())
    if status == 408 or status >= 500:
        return Verdict("transient", retry_after(reply), reply.words())
    if status >= 400 and items > 1:
        return Verdict("halve", words=reply.words())
    return Verdict("answered")


def says_nothing(request: Request, reply: Reply) -> bool:
    """Whether a question has an answer that is good by its status, and no JSON: it is not one that there is nothing."""
    return request.method == "GET" and reply.ok and reply.json() is None


def retry_after(reply: Reply) -> float | None:
    """`Retry-After` in seconds, where it is plausible."""
    return wait(reply.headers.get("retry-after", ""), reply.headers)


_REASONS: dict[int, Reason] = {
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    413: "too_large",
    422: "invalid_value",
}


def refused(reply: Reply, reason: Reason | None = None, words: str = "") -> Rejected:
    """A rejection in the vendor's own words; the reason by status where none is given."""
    return Rejected(reason or _REASONS.get(reply.status, "refused"), words or reply.words())


def held(conversation: Generator[Request, Reply, T], answer: Callable[[Request], Reply]) -> T:
    """Hold a conversation to its end, without I/O of its own. What `answer` raises ends it."""
    with closing(conversation):
        try:
            request = next(conversation)
            while True:
                request = conversation.send(answer(request))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
