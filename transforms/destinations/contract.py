"""What a destination is: a declaration, and conversations with the vendor. No I/O, no clock.

A conversation is a generator: it yields a `Request`, is sent the `Reply`, and returns its result.
The sender does the rest: caps, waiting, repeating, credentials that must be renewed, time-outs.

    def deliver(self, calls):
        reply = yield self.post("/contacts/batch", [contact(c) for c in calls])
        return [outcome(row) for row in reply.json()["results"]]
"""

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import msgspec

from schemas.calls import Call, Identifier, Kind, message_id
from schemas.canonical import canonical
from schemas.limits import ApiVersion, Batch, Limit
from schemas.outcomes import Blocked, Delivered, Later, Outcome, Reason, Rejected, Submitted
from schemas.secret import Secret, secrets_in
from schemas.workspace import Computation, Connection, EventNames, Form, Strategy, Sync, Workspace
from transforms.destinations.auth import NO_SESSION, Auth, Session
from transforms.destinations.http import (
    File,
    Reply,
    Request,
    Verdict,
    bounded,
    by_status,
    refused,
    retry_after,
    says_nothing,
)
from transforms.destinations.safety import fingerprint, named
from transforms.logic.message import message, properties, timestamp

# What a conversation keeps between runs (ids of lists and fields): JSON, no secrets, no people.
Memory = dict[str, Any]

# The table of requests per second that the caps of most event destinations come from.
CAPS_TABLE = "https://segment.com/docs/personas/using-personas-data/"


Conversation = Generator[Request, Reply, "list[Outcome]"]


class Target(NamedTuple):
    """The list, field or event that the calls of one key need at the vendor."""

    form: str
    key: str


Preparation = Generator[Request, Reply, "Mapping[Target, str] | None"]
Emptying = Generator[Request, Reply, "bool | str"]


class Destination:
    """Base of all destinations. Class attributes declare; methods converse.

    An instance serves one connection inside a sender; it is never pickled, so it may hold what
    must not leave the process (a token).
    """

    # -- declaration: without defaults where every destination has to say it. What a connection's settings change, its
    # constructor sets on the instance: `identifiers`, `concurrency`, `api_version`, `auth`.
    slug: ClassVar[str]
    name: ClassVar[str]
    page: ClassVar[str]  # the vendor's documentation
    remark: ClassVar[str] = ""  # what one should know before one connects it
    forms: ClassVar[tuple[Form, ...]]  # that it takes; the first is the default of a sync
    Settings: ClassVar[type[msgspec.Struct]]
    identifiers: tuple[str, ...]  # types it understands, in order of precedence; ("*",): every type
    limits: ClassVar[tuple[Limit, ...]]  # the first without endpoint is the connection's cap; () is none
    api_version: ApiVersion | None = None  # that its requests name, where the vendor ends versions
    paced_by: ClassVar[tuple[str, float] | None] = None  # a header that tells the account's own limit, and its seconds
    batch: ClassVar[Batch] = Batch()
    concurrency: int = 2_048  # conversations at once, at most: there are as many as the cap needs
    aliases: ClassVar[tuple[str, ...]] = ()  # other spellings of the slug
    # A required key and the traits that can fill it: any of the alternatives, each joined by
    # blanks; `email:local` is the local part of an e-mail identifier.
    required: ClassVar[Mapping[str, tuple[tuple[str, ...], ...]]] = {}
    same_account: ClassVar[tuple[str, ...]] = ()  # settings that do not say which vendor account it is
    # Where the vendor keeps one record per person: strategies that make one of a person's identifiers, for `init`.
    one_record: ClassVar[Mapping[str, Strategy]] = {}
    columns_first: ClassVar[bool] = False  # fields must be set up by hand before the first sync
    flush_every: ClassVar[Mapping[Form, float]] = {}  # seconds between flushes, by form; others go as they come
    usable_from: ClassVar[int] = 0  # members that a list needs before the vendor does anything with it
    auth: Auth = Auth()  # how the vendor knows who asks
    history: ClassVar[bool] = True  # False: takes only values from after the sync was created
    forgets: ClassVar[bool] = False  # has a deletion call
    deletion_takes: ClassVar[float] = 0.0  # seconds after its answer in which it may still hit what is told anew
    counts_only: ClassVar[bool] = False  # answers how many calls were good, not which; or nothing of them

    def __init__(self, workspace: Workspace, connection: Connection) -> None:
        self.connection = connection.name
        self.settings: Any = connection.settings
        self.namespace = workspace.workspace
        self.computations: dict[str, Computation] = {c.key: c for c in workspace.computations}
        self.syncs: dict[str, Sync] = {s.name or s.computation: s for s in connection.syncs}
        self.memory: Memory = {}  # kept between runs, for this vendor account
        self.made: set[Target] = set()  # what `prepare` made at the vendor, and did not find there
        self.notes: dict[str, int] = {}  # what the run says of this connection, once: words, and of how many calls

    def tenant(self) -> str:
        """Which account at the vendor the settings point at.

        What the vendor was told and what `prepare` made are kept by it, so it must not change with settings that lead
        to the same account. A secret counts by the name of its variable: keys are renewed all the time, and whoever
        moves to another account gives its key another name.
        """
        spelled = msgspec.to_builtins(self.settings, enc_hook=named)
        for name in self.same_account:
            spelled.pop(name)
        return f"{self.slug}:{fingerprint(canonical(spelled).decode())}"

    def limit_group(self) -> str:
        """Whose caps its requests count for: connections with the same answer share them. Reveals secrets."""
        secrets = [secret.reveal() for secret in secrets_in(self.settings)]
        return f"{self.slug}-{fingerprint(*(secrets or [self.connection]))}"

    def can_forget(self, identifier_type: str) -> bool:
        """Whether the vendor can be asked to delete by such an identifier."""
        understood = self.identifiers
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

    def reaches_inside(self) -> bool:
        """Whether its requests may go to private addresses: this machine, its network."""
        return False

    # -- conversations
    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        """Make or find at the vendor what calls of these targets need; keep ids in `self.memory`.

        Called ahead of the first call of a target in this process, and again where one was `Blocked`; each comes with
        one of its calls as a sample. Returns the targets that cannot be had, each with why: their calls wait. What it
        makes and did not find goes into `self.made`: where a call was `Blocked` as `lost`, everybody is told again.
        """
        yield from ()
        return None

    def empty(self, key: str, now: float) -> Emptying:
        """Take everybody out of a list, where the vendor has a request for that: a full refresh fills it anew.

        `now`: seconds since 1970. Returns True when that is done, or under way; the vendor's words, or its status,
        where it does not do it; False where it has no such request, or no such list.
        """
        yield from ()
        return False

    def route(self, call: Call) -> str:
        """Calls with the same route may share a request; those of a list only with its own, in the same direction."""
        return f"{call.kind}:{call.key}" if form_of(call) == "list" else call.kind

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
        if call.kind == "group":  # about an account: it has one identifier, and no required keys of people
            return None if "group" in self.forms else Rejected("unsupported", f"{self.name} takes no 'group'")
        understood = self.identifiers
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

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        """Deliver calls of one route; one outcome per call, in their order."""
        raise AssertionError(f"{self.slug} does not say how it delivers")

    def collect(self, job: str, calls: Sequence[Call]) -> Conversation:
        """Ask what became of calls that were `Submitted` in a job; `Later` where it is lost: they are sent again."""
        raise AssertionError(f"{self.slug} has no jobs")

    def forget(self, calls: Sequence[Call]) -> Conversation:
        """Ask the vendor to delete these identifiers (`kind` is `delete`); where `forgets`."""
        raise AssertionError(f"{self.slug} has no deletion call")

    # -- reading replies
    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        """What a reply means; `items` is how many units the request carried."""
        return by_status(reply, items)

    # -- for the conversations
    def note(self, words: str, calls: int = 0) -> None:
        """Have the run say something that is no outcome. With `calls`, the words go on after their number."""
        self.notes[words] = self.notes.get(words, 0) + calls

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


def target_of(call: Call) -> Target:
    """What a call needs at the vendor."""
    return Target(form_of(call), call.key)


def headers(destination: Destination, request: Request, session: Session = NO_SESSION) -> dict[str, str]:
    """All headers of a request that is sent at the beginning of 1970, credentials too; names in lower case."""
    signed = destination.auth.headers(request, destination.settings, session, 0.0)
    return {**request.all_headers, **{name.lower(): value for name, value in signed.items()}}


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
    "ApiVersion",
    "Auth",
    "Batch",
    "Blocked",
    "Call",
    "Conversation",
    "Delivered",
    "Destination",
    "Emptying",
    "File",
    "Form",
    "Identifier",
    "Kind",
    "Later",
    "Limit",
    "Memory",
    "Outcome",
    "Preparation",
    "Reason",
    "Rejected",
    "Reply",
    "Request",
    "Secret",
    "Session", "Submitted",
    "Target",
    "Verdict",
    "all_of",
    "besides",
    "bounded",
    "by_status",
    "form_of",
    "headers",
    "refused",
    "retry_after",
    "says_nothing",
    "target_of",
    "timestamp",
    "units",
]  # fmt: skip
