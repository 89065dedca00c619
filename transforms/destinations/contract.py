"""What a destination is: a declaration, and conversations with the vendor. No I/O, no clock.

A conversation is a generator: it yields a `Request`, is sent the `Reply`, and returns its result.
The sender does the rest: caps, waiting, repeating, credentials that must be renewed, time-outs.

    def deliver(self, calls, memory):
        reply = yield self.post("/contacts/batch", [contact(c) for c in calls])
        return [outcome(row) for row in reply.json()["results"]]
"""

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from schemas.calls import Call, Identifier, Kind, message_id
from schemas.canonical import canonical
from schemas.limits import Batch, Limit
from schemas.outcomes import Blocked, Delivered, Later, Outcome, Reason, Rejected
from schemas.secret import Secret, secrets_in
from schemas.workspace import Computation, Connection, EventNames, Form, Strategy, Sync, Workspace
from transforms.destinations.safety import fingerprint, named
from transforms.logic.hints import plausible, wait
from transforms.logic.message import message, properties, timestamp

# What a conversation keeps between runs (ids of lists and fields): JSON, no secrets, no people.
Memory = dict[str, Any]

# The table of requests per second that the caps of most event destinations come from.
CAPS_TABLE = "https://segment.com/docs/personas/using-personas-data/"


class Request(Struct, frozen=True, dict=True):
    """One HTTP request: full vendor URL; `json` or `content` is the body."""

    method: str
    url: str
    json: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] = {}
    endpoint: str = ""  # the class of `Limit.endpoint` it counts for, besides the connection's cap
    after: float = 0.0  # seconds to wait before it is sent: polls

    def __repr__(self) -> str:
        """The method and the host only: people and credentials may be in the rest."""
        return f"Request({self.method!r}, {urlsplit(self.url).hostname or ''!r})"

    def body(self) -> bytes | None:
        """The exact bytes that travel; encoded once."""
        return self._body

    @cached_property
    def _body(self) -> bytes | None:
        return self.content if self.json is None else msgspec.json.encode(self.json)


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


Conversation = Generator[Request, Reply, "list[Outcome]"]
Preparation = Generator[Request, Reply, None]


class Destination:
    """Base of all destinations. Class attributes declare; methods converse.

    An instance serves one connection inside a sender; it is never pickled, so it may hold what
    must not leave the process (a token).
    """

    # -- declaration: without defaults where every destination has to say it
    slug: ClassVar[str]
    name: ClassVar[str]
    page: ClassVar[str]  # the vendor's documentation
    forms: ClassVar[tuple[Form, ...]]  # that it takes; the first is the default of a sync
    Settings: ClassVar[type[msgspec.Struct]]
    identifiers: ClassVar[tuple[str, ...]]  # types it understands, in order of precedence; ("*",): every type
    limits: ClassVar[tuple[Limit, ...]]  # the first without endpoint is the connection's cap; () is none
    batch: ClassVar[Batch] = Batch()
    concurrency: ClassVar[int] = 2_048  # conversations at once, at most: there are as many as the cap needs
    aliases: ClassVar[tuple[str, ...]] = ()  # other spellings of the slug
    # A required key and the traits that can fill it: any of the alternatives, each joined by
    # blanks; `email:local` is the local part of an e-mail identifier.
    required: ClassVar[Mapping[str, tuple[tuple[str, ...], ...]]] = {}
    # Where the vendor keeps one record per person: strategies that make one of a person's identifiers, for `init`.
    one_record: ClassVar[Mapping[str, Strategy]] = {}
    columns_first: ClassVar[bool] = False  # fields must be set up by hand before the first sync
    flush_every: ClassVar[float] = 0.0  # seconds between flushes of the list form: 3600
    history: ClassVar[bool] = True  # False: takes only values from after the sync was created
    forgets: ClassVar[bool] = False  # has a deletion call
    counts_only: ClassVar[bool] = False  # answers how many calls were good, not which

    def __init__(self, workspace: Workspace, connection: Connection) -> None:
        self.connection = connection.name
        self.settings: Any = connection.settings
        self.namespace = workspace.workspace
        self.computations: dict[str, Computation] = {c.key: c for c in workspace.computations}
        self.syncs: dict[str, Sync] = {s.name or s.computation: s for s in connection.syncs}

    def understands(self) -> tuple[str, ...]:
        """`identifiers` as this connection's settings make them, in order of precedence."""
        return self.identifiers

    def tenant(self) -> str:
        """Which account at the vendor the settings point at.

        What the vendor was told and what `prepare` made are kept by it, so it must not change with settings that lead
        to the same account. A secret counts by the name of its variable: keys are renewed all the time, and whoever
        moves to another account gives its key another name.
        """
        spelled = msgspec.to_builtins(self.settings, enc_hook=named)
        return f"{self.slug}:{fingerprint(canonical(spelled).decode())}"

    def limit_group(self) -> str:
        """Whose caps its requests count for: connections with the same answer share them. Reveals secrets."""
        secrets = [secret.reveal() for secret in secrets_in(self.settings)]
        return f"{self.slug}-{fingerprint(*(secrets or [self.connection]))}"

    def can_forget(self, identifier_type: str) -> bool:
        """Whether the vendor can be asked to delete by such an identifier."""
        understood = self.understands()
        return self.forgets and (identifier_type in understood or "*" in understood)

    def name_at_vendor(self, form: Form, key: str) -> str:
        """How the vendor calls what a call of this key sets; see `transforms.destinations.names`."""
        return key

    def trait_at_vendor(self, trait: str) -> str:
        """How the vendor calls a trait of the profile that travels with identify calls."""
        return self.name_at_vendor("identify", trait)

    def event_at_vendor(self, name: str) -> str:
        """How the vendor calls an event of this name."""
        return name

    def at_once(self) -> int:
        """`concurrency` as this connection's settings make it."""
        return self.concurrency

    def reaches_inside(self) -> bool:
        """Whether its requests may go to private addresses: this machine, its network."""
        return False

    # -- conversations
    def prepare(self, samples: Sequence[Call], memory: Memory) -> Preparation:
        """Make or find at the vendor what calls like these need; keep ids in `memory`.

        `samples` has one call of every (kind, key) that is about to be delivered for the first
        time in this process, or that was `Blocked`; `memory` may already hold what it needs from
        an earlier run. What cannot be had is said by `deliver`, as `Blocked`, without a request.
        """
        yield from ()

    def route(self, call: Call) -> str:
        """Calls with the same route may share a request."""
        return call.kind

    def unit(self, call: Call) -> Hashable:
        """What this call becomes part of: calls with one unit travel in one vendor object."""
        if call.kind == "track":
            return (call.kind, call.identifier, call.key, call.at)
        return (call.kind, call.identifier)

    def batch_of(self, route: str) -> Batch:
        """How much one request of this route takes."""
        return self.batch

    def check(self, call: Call) -> Rejected | None:
        """Refuse a call before it costs a request. An override asks this one first."""
        understood = self.understands()
        if call.identifier.type not in understood and "*" not in understood:
            return Rejected("invalid_identifier", f"{self.name} does not understand {call.identifier.type!r}")
        if call.kind == "delete" and not self.can_forget(call.identifier.type):
            return Rejected("unsupported", f"{self.name} has no deletion by {call.identifier.type!r}")
        if call.kind != "delete" and form_of(call) not in self.forms:
            return Rejected("unsupported", f"{self.name} takes no {call.kind!r}")
        for key in self.required:
            if key not in call.traits and call.kind != "delete":
                return Rejected("missing_required_key", f"{self.name} requires {key!r}")
        return None

    def deliver(self, calls: Sequence[Call], memory: Memory) -> Conversation:
        """Deliver calls of one route; one outcome per call, in their order."""
        raise AssertionError(f"{self.slug} does not say how it delivers")

    def forget(self, calls: Sequence[Call], memory: Memory) -> Conversation:
        """Ask the vendor to delete these identifiers (`kind` is `delete`); where `forgets`."""
        raise AssertionError(f"{self.slug} has no deletion call")

    # -- credentials
    def signed(self, request: Request) -> Mapping[str, str]:
        """Headers that carry the credentials, made at the moment of sending. Reveals secrets."""
        return {}

    def renew(self) -> Preparation:
        """Fetch a new token, after the vendor refused the old one. Default: there is none."""
        yield from ()

    renews: ClassVar[bool] = False  # `renew` can help

    # -- reading replies
    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        """What a reply means; `items` is how many units the request carried."""
        return by_status(reply, items)

    # -- for the conversations
    def computation(self, call: Call) -> Computation:
        return self.computations[call.computation]

    def is_audience(self, call: Call) -> bool:
        """Whether its value is always true or false: a vendor that does not take it will not take anybody's."""
        found = self.computations.get(call.computation)
        return found is not None and found.kind == "audience"

    def sync(self, call: Call) -> Sync | None:
        """The sync that asked for a call; None where the workspace has it no more."""
        return self.syncs.get(call.sync)

    def event(self, call: Call) -> str:
        """The name of a `track` call's event."""
        sync = self.sync(call)
        names = sync.events if sync else EventNames()
        if self.computation(call).kind == "trait":
            return names.computed
        return names.entered if call.value else names.exited

    def properties(self, call: Call) -> dict[str, Any]:
        """The properties of a `track` call, as everywhere."""
        return properties(call, self.computation(call))

    def message(self, call: Call) -> dict[str, Any]:
        """The vendor-neutral message, for vendors that take it as it is."""
        event = self.event(call) if call.kind == "track" else ""
        return message(call, self.computations.get(call.computation), event, self.namespace, self.connection)

    def message_id(self, call: Call) -> str:
        return message_id(self.connection, call)


def form_of(call: Call) -> Form:
    """The form that a call belongs to; not of `delete` and `cancel`."""
    return "list" if call.kind in ("add", "remove") else call.kind  # type: ignore[return-value]


def headers(destination: Destination, request: Request) -> dict[str, str]:
    """All headers that the conversation asks for, credentials too; names in lower case."""
    kind = {} if request.json is None else {"content-type": "application/json"}
    asked = {**kind, **request.headers, **destination.signed(request)}
    return {name.lower(): value for name, value in asked.items()}


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


def all_of(calls: Sequence[Call], outcome: Outcome) -> list[Outcome]:
    """The same outcome for every call of a batch."""
    return [outcome] * len(calls)


def besides(
    calls: Sequence[Call], known: Sequence[Outcome | None], deliver: Callable[[list[Call]], Conversation]
) -> Conversation:
    """Deliver the calls whose outcome is not known yet; the outcomes of all."""
    left = [call for call, outcome in zip(calls, known, strict=True) if outcome is None]
    told = iter((yield from deliver(left)) if left else ())
    return [outcome or next(told) for outcome in known]


def units(destination: Destination, calls: Sequence[Call]) -> dict[Hashable, list[int]]:
    """Positions of the calls of each unit: one vendor object each, in order of first appearance."""
    found: dict[Hashable, list[int]] = {}
    for position, call in enumerate(calls):
        found.setdefault(destination.unit(call), []).append(position)
    return found


__all__ = [
    "CAPS_TABLE",
    "Batch", "Blocked", "Call", "Conversation", "Delivered", "Destination", "Form", "Identifier", "Kind", "Later",
    "Limit", "Memory", "Outcome", "Preparation", "Reason", "Rejected", "Reply", "Request", "Secret", "Verdict",
    "all_of", "besides", "bounded", "by_status", "form_of", "headers", "refused", "retry_after", "timestamp", "units",
]  # fmt: skip
