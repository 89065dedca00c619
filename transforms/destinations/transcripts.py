"""Transcripts of conversations with vendors, and a tiny model of the sender that plays them. No I/O but the files.

Their format is described in `tests/data/destinations/README.md`.
"""

import json
import re
from base64 import b64encode
from collections.abc import Generator, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import msgspec
import yaml
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from schemas.calls import Call, Identifier, Kind
from schemas.canonical import digest
from schemas.outcomes import Blocked, Delivered, Later, Outcome, Rejected, Submitted
from schemas.secret import Secret
from schemas.workspace import Computation, Connection, Sync, Workspace
from transforms.destinations.auth import NO_SESSION
from transforms.destinations.contract import (
    Destination,
    Memory,
    Reply,
    Request,
    Session,
    Target,
    Verdict,
    headers,
    target_of,
    units,
)
from transforms.destinations.http import held
from transforms.destinations.plain import Plain

WAIVED = "not_applicable.yaml"

Question = Literal[
    "success", "partial_failure", "status_400", "status_401", "status_403", "status_404", "status_409", "status_413",
    "status_429_with_delay", "status_429_without_delay", "status_5xx", "timeout", "garbage_body", "missing_identifier",
    "prepare", "forget", "other",
]  # fmt: skip

COMPUTATIONS = (
    Computation("Big Spenders", "audience", "big_spenders", "computation-1"),
    Computation("First-time shopper", "audience", "first_time_shopper", "computation-2"),
    Computation("Total revenue", "trait", "total_revenue", "computation-3"),
    Computation("Last viewed category", "trait", "last_viewed_category", "computation-4"),
)


# -- the files
class Told(Struct, frozen=True, forbid_unknown_fields=True):
    """A call as a transcript writes it."""

    kind: Kind
    identifier: Identifier
    key: str = ""
    value: Any = None
    at: str = "1998-03-31T00:00:00Z"
    traits: dict[str, Any] = {}
    computation: str = ""  # its key, where the vendor knows it by another
    new: bool = False  # the vendor was never told this of the identifier


class Send(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A request; of its headers, those that matter to the case."""

    method: str
    url: str
    headers: dict[str, str] = {}
    json: Any = UNSET
    content: str | UnsetType = UNSET


class Answer(Struct, frozen=True, forbid_unknown_fields=True):
    """A reply."""

    status: int
    headers: dict[str, str] = {}
    json: Any = UNSET
    body: str = ""


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """A request and what the vendor says to it."""

    send: Send
    reply: Answer | None = None
    means: str = "answered"
    timeout: bool = False
    refused: bool = False  # the connection


class Case(Struct, frozen=True, forbid_unknown_fields=True):
    """One conversation, and what has to come of it."""

    case: str
    covers: Question
    calls: dict[str, Told]
    talk: list[Step]
    expect: dict[str, str]
    settings: dict[str, Any] = {}
    memory: Memory = {}
    prepare: bool = False
    job: str = ""  # that the calls are in: `collect` asks about it
    memory_after: Memory | None = None


class _JSONLike(yaml.SafeLoader):
    """YAML whose plain scalars are read as JSON would: times stay text, only true and false are bool."""


_JSONLike.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":bool"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_JSONLike.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))


def read(path: Path) -> Any:
    """One YAML file of a transcript folder."""
    return yaml.load(path.read_text("utf-8"), Loader=_JSONLike)


def cases(kind: type[Destination], folder: Path) -> Iterator[tuple[str, Case]]:
    """The cases of one destination, each with the name of its file; and of a plain one those that follow from them."""
    written = [*_written(folder)]
    yield from written
    if issubclass(kind, Plain):
        answered = {case.covers for _, case in written} | {*_waived(folder)}
        success = next((case for _, case in written if case.covers == "success"), None)
        if success:
            yield from (("derived", case) for case in derived(kind, success) if case.covers not in answered - {"other"})


def _written(folder: Path) -> Iterator[tuple[str, Case]]:
    for path in sorted(folder.glob("*.yaml")):
        if path.name == WAIVED:
            continue
        for number, item in enumerate(read(path) or [], 1):
            try:
                yield path.stem, msgspec.convert(item, Case)
            except msgspec.ValidationError as error:
                raise ValueError(f"{path}, case {number}: {error}") from error


def not_applicable(kind: type[Destination], folder: Path) -> dict[str, str]:
    """The questions that a destination cannot have, each with the reason."""
    found = _waived(folder)
    if issubclass(kind, Plain):
        if kind.batch.items == 1:
            found["partial_failure"] = "one call per request"
        if kind.prepare is Destination.prepare:
            found["prepare"] = "nothing has to be there"
        if not kind.forgets:
            found["forget"] = "it has no method `delete`"
    return found


def _waived(folder: Path) -> dict[str, str]:
    path = folder / WAIVED
    return msgspec.convert(read(path), dict[str, str]) if path.exists() else {}


# -- what follows from a success
def derived(kind: type[Plain], success: Case) -> Iterator[Case]:
    """The answers that mean the same at every vendor that is read by its status, each to the success case's request."""
    *before, last = success.talk
    many = len({(call.kind, call.identifier, call.kind == "track" and call.at) for call in success.calls.values()}) > 1
    whole = "halved" if many else ""

    def case(about: str, covers: Question, *talk: Step, to: str = "") -> Case:
        expect = dict.fromkeys(success.calls, to) if to else success.expect
        return replace(success, case=about, covers=covers, talk=[*before, *talk], expect=expect, memory_after=None)

    def said(status: int, means: str, **headers: str) -> Step:
        return replace(last, reply=Answer(status, headers), means=means)

    refused: list[tuple[Question, int, str]] = [
        ("status_400", 400, "rejected refused"), ("status_409", 409, "rejected conflict"),
        ("status_413", 413, "rejected too_large"),
    ]  # fmt: skip
    for covers, status, outcome in refused:
        yield case(f"HTTP {status}", covers, said(status, "halve" if many else "answered"), to=whole or outcome)
    again = [*before, said(401, "credentials")] if kind.auth.signs_in else []
    yield case("HTTP 401", "status_401", said(401, "credentials"), *again, to="stopped")
    yield case("HTTP 403", "status_403", said(403, "refused"), to="refused")
    yield case("HTTP 404", "status_404", said(404, "refused"), to="refused")
    yield case("HTTP 408", "other", said(408, "transient"), last)
    yield case("HTTP 429 with a delay", "status_429_with_delay", said(429, "throttled 7", **{"retry-after": "7"}), last)
    yield case("HTTP 429", "status_429_without_delay", said(429, "throttled"), last)
    yield case("HTTP 503", "status_5xx", said(503, "transient"), last)
    yield case("no answer", "timeout", replace(last, reply=None, timeout=True), to="unanswered")
    if kind.read is Plain.read:
        page = replace(last, reply=Answer(200, body="<html>thanks"))
        yield case("an answer that is no JSON", "garbage_body", page)
    someone = replace(next(iter(success.calls.values())), identifier=Identifier("of-nobody", "7"))
    yield replace(
        success, case="an identifier that it does not understand", covers="missing_identifier", talk=[],
        calls={"someone": someone}, expect={"someone": "rejected invalid_identifier"}, memory_after=None,
    )  # fmt: skip


def variables(settings: Any) -> dict[str, str]:
    """The environment that the settings refer to: `secret-NAME` for every `${NAME}`, a key for `${…PRIVATE_KEY}`."""
    names = re.findall(r"\$\{(\w+)\}", json.dumps(settings))
    return {name: private_key() if name.endswith("PRIVATE_KEY") else f"secret-{name}" for name in names}


@cache
def private_key() -> str:
    """In PEM on one line, as it stands in key files; another one in every process."""
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key  # only here: it takes long to load
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode().strip().replace("\n", "\\n")


def secret(wanted: type, value: Any) -> Any:
    """For `msgspec.convert`: a `Secret` from its reference."""
    if wanted is Secret:
        return Secret(value)
    raise NotImplementedError(wanted)


def connect(kind: type[Destination], case: Case) -> Destination:
    """The destination of the one connection that a case speaks of."""
    settings = msgspec.convert(case.settings, kind.Settings, dec_hook=secret)
    connection = Connection(kind.slug, kind.slug, syncs(kind), settings)
    return kind(Workspace("acme-shop", COMPUTATIONS, (connection,)), connection)


def syncs(kind: type[Destination]) -> tuple[Sync, ...]:
    """Every computation in every form that the destination takes it in."""
    forms = {c.key: tuple(form for form in kind.forms if form != "list" or c.kind == "audience") for c in COMPUTATIONS}
    return tuple(Sync(key, forms=taken) for key, taken in forms.items() if taken)


def calls(case: Case) -> dict[str, Call]:
    """The calls of a case by their names, which are also their profiles."""
    made = {}
    for ask, (name, told) in enumerate(case.calls.items(), 1):
        of = told.computation or told.key
        made[name] = Call(
            name, told.kind, told.identifier, told.key, told.value, _micros(told.at), ask,
            computation=of, sync=of, traits=told.traits,
            before=digest(False) if told.new else None,
        )  # fmt: skip
    return made


def _micros(at: str) -> int:
    return round(datetime.fromisoformat(at).timestamp() * 1_000_000)


# -- what is asked of every destination
def faults(destination: Destination, case: Case) -> list[str]:
    """In what a conversation differs from its transcript."""
    try:
        played = play(destination, case)
    except AssertionError as error:
        return [str(error)]
    expected = [filled(step, destination, calls(case)) for step in case.talk]
    pairs = [
        ("requests", [msgspec.to_builtins(step.send) for step in expected], msgspec.to_builtins(played.sent)),
        ("meanings", [step.means for step in case.talk if step.reply], played.meanings),
        ("outcomes", case.expect, played.outcomes),
        ("memory", case.memory_after if case.memory_after is not None else played.memory, played.memory),
    ]
    found = [f"{what}: expected {wanted}, got {got}" for what, wanted, got in pairs if _json(wanted) != _json(got)]
    shown = " ".join([repr(destination.settings), destination.tenant(), destination.limit_group(), *played.spoken])
    return found + [f"the secret {name} is shown" for name, text in variables(case.settings).items() if text in shown]


def unanswered(kind: type[Destination], folder: Path) -> list[str]:
    """Questions that no case answers, and no reason waives."""
    answered = {case.covers for _, case in cases(kind, folder)}
    return sorted(set(get_args(Question)) - {"other"} - answered - not_applicable(kind, folder).keys())


def _json(value: Any) -> bytes:
    """Equal for JSON, not for Python: true is not 1."""
    return msgspec.json.encode(value, order="deterministic")


# -- the play
class _End(Exception):
    """The conversation ends here, and with it every call: `stopped`, `refused`, `halved` or `unanswered`."""


class Unwritten(AssertionError):
    """The destination asked for what the transcript does not have."""


@dataclass
class Played:
    """What came of a case, in the words of the transcript."""

    sent: list[Send] = field(default_factory=list)
    meanings: list[str] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)
    memory: Memory = field(default_factory=dict)
    spoken: list[str] = field(default_factory=list)  # all that may be printed or stored


T = TypeVar("T")


def play(destination: Destination, case: Case) -> Played:
    """Do with the calls of a case what the sender does; its vendor answers from the transcript."""
    destination.memory = deepcopy(case.memory)
    played = Played(memory=destination.memory)
    everyone = calls(case)
    vendor = _Vendor(destination, case.talk, everyone, played)
    results: dict[str, Outcome | str] = {}
    for name, call in everyone.items():
        if rejected := destination.check(call):
            results[name] = rejected
    fit = {name: call for name, call in everyone.items() if name not in results}
    try:
        told: Sequence[Outcome | str] = _deliver(destination, list(fit.values()), case.prepare, vendor, case.job)
    except _End as end:
        told = [str(end)] * len(fit)
    results.update(zip(fit, told, strict=True))
    played.outcomes = {name: _text(results[name]) for name in everyone}
    played.spoken += [repr(results), json.dumps(played.memory)]
    return played


def _deliver(destination: Destination, fit: list[Call], prepare: bool, vendor: "_Vendor", job: str) -> list[Outcome]:
    if not fit:
        return []
    routes = {destination.route(call) for call in fit}
    assert len(routes) == 1, f"the calls of a case share a request; these have the routes {sorted(routes)}"
    units_of, most = len(units(destination, fit)), destination.batch_of(*routes).items
    assert units_of <= most, f"{units_of} units, but one request takes {most}"
    told = _once(destination, fit, prepare, vendor, job)
    blocked = [call for call, now in zip(fit, told, strict=True) if isinstance(now, Blocked) and now.prepare]
    if not (prepare and blocked):
        return told
    again = iter(_once(destination, blocked, True, vendor))
    return [next(again) if isinstance(now, Blocked) and now.prepare else now for now in told]


def _once(destination: Destination, fit: list[Call], prepare: bool, vendor: "_Vendor", job: str = "") -> list[Outcome]:
    refusals: Mapping[Target, str] = {}
    if prepare:
        preparing = destination.prepare({target_of(call): call for call in fit})
        found: Mapping[Target, str] | None = vendor.converse(preparing, 1)
        refusals = found or {}
    refused = [Blocked(refusals[target_of(call)]) if target_of(call) in refusals else None for call in fit]
    good = [call for call, words in zip(fit, refused, strict=True) if not words]
    told: Iterator[Outcome] = iter(())
    if good:
        converse = destination.forget if good[0].kind == "delete" else destination.deliver
        talk = destination.collect(job, good) if job else converse(good)
        told = iter(vendor.converse(talk, len(units(destination, good))))
    return [words or next(told) for words in refused]


class _Vendor:
    """Takes requests as the sender does, and answers with the next entry of the transcript."""

    def __init__(self, destination: Destination, talk: list[Step], calls: dict[str, Call], played: Played) -> None:
        self.destination = destination
        self.played = played
        self.session: Session | None = None  # there is none while it is begun
        self.steps = iter([filled(step, destination, calls) for step in talk])

    def converse(self, conversation: Generator[Request, Reply, T], items: int, renewing: bool = False) -> T:
        """Hold one conversation to its end."""
        return held(conversation, lambda request: self.exchange(request, items, renewing))

    def exchange(self, request: Request, items: int, renewing: bool) -> Reply:
        """Send one request until there is an answer for the conversation."""
        auth = self.destination.auth
        if not (renewing or self.session):
            self.sign_in()
        renewed = renewing or not auth.signs_in
        while True:
            reply = self.send(request)
            verdict = auth.refused(reply) if renewing else self.destination.classify(request, reply, items)
            self.played.meanings.append(_meaning(verdict))
            self.played.spoken.append(verdict.words)
            match verdict.meaning:
                case "answered":
                    return reply
                case "throttled" | "transient":
                    continue
                case "credentials" if not renewed:
                    self.sign_in()
                    renewed = True
                case "credentials" | "stop":
                    raise _End("stopped")
                case "refused":
                    raise _End("refused")
                case "halve":
                    assert items > 1, "a batch of one cannot be halved: its answer is for the conversation"
                    raise _End("halved")

    def sign_in(self) -> None:
        """Begin a session with the vendor."""
        self.session = None if self.destination.auth.signs_in else NO_SESSION
        if self.destination.auth.signs_in:
            signing_in = self.destination.auth.sign_in(self.destination.settings, "", 0.0)
            self.session = self.converse(signing_in, 1, renewing=True)

    def send(self, request: Request) -> Reply:
        """One attempt."""
        if self.session:
            request = self.destination.auth.complete(request, self.destination.settings, self.session)
        step = next(self.steps, None)
        if step is None:
            asked = f"{request.method} {request.full_url} {request.body()!r}"
            raise Unwritten(f"the transcript has no such request: {asked}")
        self.played.sent.append(_sent(self.destination, request, self.session, step.send))
        self.played.spoken.append(repr(request))
        if step.timeout or step.refused:
            raise _End("unanswered")
        assert step.reply, f"the transcript has no reply to {request.method} {request.full_url}"
        body = step.reply.body.encode() if step.reply.json is UNSET else msgspec.json.encode(step.reply.json)
        return Reply(step.reply.status, {name.lower(): v for name, v in step.reply.headers.items()}, body)


def _sent(destination: Destination, request: Request, session: Session | None, expected: Send) -> Send:
    travels = headers(destination, request, session) if session else request.all_headers
    named = {name: travels.get(name.lower(), "(none)") for name in expected.headers}
    body = request.body()
    if body is None:
        return Send(request.method, request.full_url, named)
    if request.json is not None:
        return Send(request.method, request.full_url, named, json=msgspec.json.decode(body))
    content = body.decode()
    if request.multipart is not None:
        content = content.replace(content.partition("\r\n")[0], "--<boundary>").replace("\r\n", "\n")
    return Send(request.method, request.full_url, named, content=unsigned(content))


def unsigned(content: str) -> str:
    """A body with `<jwt>` in place of a token that was signed at some moment."""
    return re.sub(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+", "<jwt>", content)


def filled(step: Step, destination: Destination, calls: dict[str, Call]) -> Step:
    """A step with the message ids that it refers to, `<message_id ana>`, and `<base64 …>` of what it says in clear."""
    text = msgspec.json.encode(step).decode()
    text = re.sub(r"<message_id (\w+)>", lambda match: destination.message_id(calls[match[1]]), text)
    text = re.sub(r'"<base64 ((?:[^"\\]|\\.)*)>"', lambda match: _base64(f'"{match[1]}"'), text)
    return msgspec.json.decode(text, type=Step)


def _base64(text: str) -> str:
    """Of a JSON text, as JSON text."""
    return f'"{b64encode(json.loads(text).encode()).decode()}"'


def _meaning(verdict: Verdict) -> str:
    return verdict.meaning if verdict.after is None else f"{verdict.meaning} {verdict.after:g}"


def _text(result: Outcome | str) -> str:
    match result:
        case Delivered(unconfirmed):
            return "delivered unconfirmed" if unconfirmed else "delivered"
        case Rejected(reason):
            return f"rejected {reason}"
        case Submitted(job, after):
            return f"submitted {job} {after:g}"
        case Later(after):
            return "later" if after is None else f"later {after:g}"
        case Blocked(_, prepare, lost):
            return "blocked lost" if lost else "blocked prepare" if prepare else "blocked"
        case ending:
            return ending
