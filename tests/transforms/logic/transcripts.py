"""Transcripts of the rules (`tests/data/rules/*.yaml`): read, and played on a job.

A case has `syncs` (by vendor of `vendors.py` and computation, with the options of a workspace file)
and `runs`. A run has `events` of one person, `at` hours, and the `calls` it must make, in any order:

    mailer identify u1 score=10 @1 with {"plan": "gold"} -> rejected

is vendor, form, identifier, key and value; then, where it matters, the hour of the call and its
traits; and what becomes of it (delivered where nothing is said). A run may have an `hour` (by
default one after the other), other `syncs` from then on, `held` vendors and expected `counts`.
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

from schemas.calls import Identifier
from schemas.workspace import Computation, Connection, Sync, Workspace
from tests.transforms.logic.job import Event, Job, Made, at, hour
from tests.transforms.logic.vendors import VENDORS
from transforms.logic.detect import micros
from transforms.logic.ledger import Fate

FOLDER = Path(__file__).parents[2] / "data" / "rules"
COMPUTATIONS = (
    Computation("Score", "trait", "score", "score"),
    Computation("VIP", "audience", "vip", "vip"),
)
IDENTIFIER_TYPES = {"u": "user_id", "+": "phone", "x": "loyalty"}  # by the first letter; with @: email
FATES = {
    "delivered": Fate.DELIVERED,
    "rejected": Fate.REJECTED,
    "rejected maybe": Fate.REJECTED_MAYBE,
    "missing key": Fate.REJECTED_FOR_NOW,
    "maybe": Fate.MAYBE,
    "expired": Fate.EXPIRED,
    "expired maybe": Fate.EXPIRED_MAYBE,
    "pending": Fate.PENDING,
}
CALL = re.compile(
    r"(?P<vendor>\w+) (?P<kind>\w+) (?P<id>\S+)(?: (?P<key>\w+)=(?P<value>.*?))?(?: @(?P<at>\S+))?"
    r"(?: with (?P<traits>\{.*?\}))?(?: -> (?P<fate>[\w ]+))?"
)

Syncs = dict[str, dict[str, dict[str, Any]]]


class Run(Struct, forbid_unknown_fields=True):
    """One run, what it is told and what it must do."""

    events: list[dict[str, Any]] = []
    calls: list[str] = []
    hour: float | None = None
    syncs: Syncs | None = None
    held: list[str] = []
    counts: dict[str, dict[str, int]] = {}


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
    fate: Fate

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
        made = job.run(_workspace(syncs), [_event(event) for event in run.events], now, run.held)
        rest, fates = [_expected(line) for line in run.calls], []
        for each in made:
            match = next((expected for expected in rest if expected.is_of(each)), None)
            assert match, f"run {number} must not make {each}"
            rest.remove(match)
            fates.append(match.fate)
        assert [] == [expected.text for expected in rest], f"run {number}"
        job.settle(fates)
        for vendor, counts in run.counts.items():
            assert counts == job.counts(vendor), f"run {number}"


def _workspace(syncs: Syncs) -> Workspace:
    connections = tuple(
        Connection(
            vendor,
            vendor,
            tuple(msgspec.convert({"computation": key, **options}, Sync) for key, options in chosen.items()),
            VENDORS[vendor].Settings(),
        )
        for vendor, chosen in syncs.items()
    )
    return Workspace("shop", COMPUTATIONS, connections)


def _event(short: Mapping[str, Any]) -> Event:
    head = {"profile_id": "ana", "at": at(short["at"])}
    if "delete" in short:
        return {"type": "delete", **head}
    if "score" in short:
        return {"type": "trait", "computation": "score", "value": short["score"], **head}
    if "vip" in short:
        return {"type": "audience", "computation": "vip", "member": short["vip"], **head}
    external_ids = [_identifier(text)._asdict() for text in short.get("ids", [])]
    return {"type": "profile", "external_ids": external_ids, "traits": short.get("traits", {}), **head}


def _identifier(text: str) -> Identifier:
    return Identifier("email" if "@" in text else IDENTIFIER_TYPES[text[0]], text)


def _expected(line: str) -> Expected:
    said = CALL.fullmatch(line)
    assert said, f"not a call: {line}"
    value = json.loads(said["value"]) if said["value"] else None
    traits = json.loads(said["traits"] or "{}")
    what = (said["vendor"], said["kind"], _identifier(said["id"]), said["key"] or "", value, traits)
    when = micros(hour(float(said["at"]))) if said["at"] else None
    return Expected(line, what, when, FATES[said["fate"] or "delivered"])
