"""Transcripts of the rules (`tests/data/rules/*.yaml`): read, and played on a job.

A case has `syncs` and `runs`. `syncs` names connections, each with its syncs by name: of the computation of that
name unless the options say `computation`; the options are those of a workspace file. Under `connection` stand the
connection's own: `destination` (a vendor of `vendors.py`, by default of the connection's name), `account`, `where`, …

A run has `events` of one person (`who`: by default ana) or one `account`, `at` hours, and the `calls` that it must
send; those of one connection in this order:

    mailer identify u1 score=10 @1 with {"plan": "gold"} -> rejected

is connection, form, identifier, key and value; then, where it matters, the hour of the call and its traits; and what
becomes of it (delivered where nothing is said). A run may have an `hour` (by default one after the other), other
`syncs` from then on, `held` connections, those that must have found `no_identifier`, and `says` of what is noticed.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from schemas.calls import Call, Identifier
from schemas.workspace import Computation, Connection, Sync, Workspace
from tests.transforms.logic.job import Event, Job, Made, at, hour
from tests.transforms.logic.plain_sender import Outcome
from tests.transforms.logic.vendors import VENDORS
from transforms.logic.detect import micros
from transforms.logic.plan import ACCOUNT

FOLDER = Path(__file__).parents[2] / "data" / "rules"
COMPUTATIONS = (
    Computation("Score", "trait", "score", "score"),
    Computation("VIP", "audience", "vip", "vip"),
    Computation("Seats", "trait", "seats", "seats", "account"),
    Computation("At risk", "audience", "at_risk", "at_risk", "account"),
)
IDENTIFIER_TYPES = {"u": "user_id", "+": "phone", "x": "loyalty"}  # by the first letter; with @: email
CALL = re.compile(
    r"(?P<connection>\w+) (?P<kind>\w+) (?P<id>\S+)(?: (?P<key>\w+)=(?P<value>.*?))?(?: @(?P<at>\S+))?"
    r"(?: with (?P<traits>\{.*?\}))?(?: -> (?P<outcome>[\w ]+))?"
)

Syncs = dict[str, dict[str, dict[str, Any]]]


class Run(Struct, forbid_unknown_fields=True):
    """One run, what it is told and what it must do."""

    events: list[dict[str, Any]] = []
    calls: list[str] = []
    hour: float | None = None
    syncs: Syncs | None = None
    held: list[str] = []
    no_identifier: list[str] = []
    says: list[str] = []


class Case(Struct, forbid_unknown_fields=True):
    """One transcript."""

    case: str
    syncs: Syncs
    runs: list[Run]


def cases() -> Iterator[tuple[str, Case]]:
    """Every transcript, with a name for people."""
    for path in sorted(FOLDER.glob("*.yaml")):
        for case in msgspec.convert(yaml.safe_load(path.read_text()), list[Case]):
            yield f"{path.stem}: {case.case}", case


@dataclass
class Expected:
    """A call as a transcript says it."""

    text: str
    what: tuple[Any, ...]
    at: int | None
    outcome: Outcome

    def is_of(self, made: Made) -> bool:
        connection, call = made
        what = (connection, call.kind, call.identifier, call.key, call.value, dict(call.traits))
        return repr(self.what) == repr(what) and self.at in (None, call.at)


def play(case: Case, job: Job) -> None:
    """Run by run: the calls must be those that the transcript says, and end as it says."""
    syncs = case.syncs
    for number, run in enumerate(case.runs, 1):
        syncs = run.syncs or syncs
        now = hour(number if run.hour is None else run.hour)
        made = job.run(workspace_of(syncs), [event_of(event) for event in run.events], now, run.held)
        rest, outcomes = [_expected(line) for line in run.calls], []
        for each in made:
            match = next((expected for expected in rest if expected.is_of(each)), None)
            assert match, f"run {number} must not make {_line(each)}"
            rest.remove(match)
            outcomes.append(match.outcome)
        assert [] == [expected.text for expected in rest], f"run {number}"
        assert {*run.no_identifier} <= job.no_identifier, f"run {number}"
        said = " ".join(notice.words for notice in job.notices)
        assert [] == [words for words in run.says if words not in said], f"run {number} says: {said}"
        job.settle(outcomes)


def workspace_of(syncs: Syncs) -> Workspace:
    return Workspace("shop", COMPUTATIONS, tuple(_connection(name, dict(chosen)) for name, chosen in syncs.items()))


def _connection(name: str, chosen: dict[str, dict[str, Any]]) -> Connection:
    options = dict(chosen.pop("connection", {}))
    kind = VENDORS[options.pop("destination", name)]
    settings = kind.Settings(account=options.pop("account", "shop"))
    syncs = tuple(_sync(key, each, kind.forms[0]) for key, each in chosen.items())
    return msgspec.convert(
        {"name": name, "destination": kind.slug, **options, "syncs": syncs, "settings": settings}, Connection
    )


def _sync(name: str, options: Mapping[str, Any], form: str) -> Sync:
    named = {"name": name} if "computation" in options else {"computation": name}
    return msgspec.convert({"as": [form], **named, **options}, Sync)


def event_of(short: Mapping[str, Any]) -> Event:
    head = {"profile_id": short.get("who", "ana"), "at": at(short["at"])}
    if "account" in short:
        return _event_of_account(short, {"account_id": short["account"], "at": head["at"]})
    if "delete" in short:
        return {"type": "delete", **head}
    if "score" in short:
        return {"type": "trait", "computation": "score", "value": short["score"], **head}
    if "vip" in short:
        return {"type": "audience", "computation": "vip", "member": short["vip"], **head}
    ids = {
        field: [_identifier(text)._asdict() for text in short.get(name, [])]
        for name, field in (("ids", "external_ids"), ("removed", "removed_ids"))
    }
    return {"type": "profile", **ids, "traits": short.get("traits", {}), **head}


def _event_of_account(short: Mapping[str, Any], head: dict[str, Any]) -> Event:
    if "seats" in short:
        return {"type": "trait", "computation": "seats", "value": short["seats"], **head}
    if "at_risk" in short:
        return {"type": "audience", "computation": "at_risk", "member": short["at_risk"], **head}
    for word, member in (("joins", True), ("leaves", False)):
        if word in short:
            return {"type": "account_member", "profile_id": short[word], "member": member, **head}
    return {"type": "account", "traits": short["traits"], **head}


def _identifier(text: str) -> Identifier:
    return Identifier("email" if "@" in text else IDENTIFIER_TYPES[text[0]], text)


def _expected(line: str) -> Expected:
    said = CALL.fullmatch(line)
    assert said, f"not a call: {line}"
    value = json.loads(said["value"]) if said["value"] else None
    traits = json.loads(said["traits"] or "{}")
    whom = Identifier(ACCOUNT, said["id"]) if said["kind"] == "group" else _identifier(said["id"])
    what = (said["connection"], said["kind"], whom, said["key"] or "", value, traits)
    when = micros(hour(float(said["at"]))) if said["at"] else None
    return Expected(line, what, when, said["outcome"] or "delivered")  # type: ignore[arg-type]


def _line(made: Made) -> str:
    """The call as a transcript would say it."""
    connection, call = made
    when = (call.at - micros(hour(0))) / 3.6e9
    traits = f" with {json.dumps(call.traits)}" if call.traits else ""
    return f"{connection} {call.kind} {call.identifier.id}{_value(call)} @{when:g}{traits}"


def _value(call: Call) -> str:
    return f" {call.key}={json.dumps(call.value)}" if call.key else ""
