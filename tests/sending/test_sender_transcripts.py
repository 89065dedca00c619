"""The transcripts of all destinations, spoken by the real sender over HTTP, with a server that knows them by heart."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace

import msgspec
import pytest
from msgspec import UNSET, structs
from transforms.batches import Batches
from transforms.sender import Delivery

from schemas.report import Report
from schemas.workspace import Connection, Sync, Workspace
from tests.sending.delivering import FAST, Journal, Outbox
from tests.sending.skipping import SkippingLoop, run
from tests.sending.vendor_server import Answer, Seen, vendor
from tests.transforms.destinations.driver import COMPUTATIONS, Case, Send, Step, calls, cases, filled, secret, variables
from transforms.destinations import catalogue
from transforms.destinations.contract import Destination
from transforms.logic.lanes import Item
from transforms.sending.pump import KEPT, Channel


def repeats_a_key(case: Case) -> bool:
    """The sender never puts such calls into one request."""
    keys = [(call.kind, call.identifier, call.key) for call in case.calls.values()]
    return len(keys) > len(set(keys))


CASES = [
    pytest.param(kind, case, id=f"{slug}/{file}: {case.case}")
    for slug, kind in catalogue().items()
    for file, case in cases(slug)
    if not repeats_a_key(case)
]


async def _prepared(self: Batches, batch: list[Item]) -> None:
    """What the calls need is there already."""


class _Vendor:
    """Answers with the next step, and notes what should have been asked; asked for more, it calls `end`."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = list(steps)
        self.end: Callable[[], object] = lambda: None
        self.expected: list[Send] = []
        self.actual: list[Send] = []

    def __call__(self, seen: Seen) -> Answer:
        if not self.steps:
            self.end()
            return Answer(503)
        step = self.steps.pop(0)
        self.expected.append(step.send)
        self.actual.append(_sent(seen, step.send))
        if step.timeout or step.refused:
            return Answer(cut="hang" if step.timeout else "reset")
        assert step.reply
        body = step.reply.body.encode() if step.reply.json is UNSET else msgspec.json.encode(step.reply.json)
        return Answer(step.reply.status, body=body, headers=step.reply.headers)


def _sent(seen: Seen, expected: Send) -> Send:
    named = {name: seen.headers.get(name.lower(), "(none)") for name in expected.headers}
    url = f"{expected.url.partition('://')[0]}://{seen.target}"
    if not seen.body:
        return Send(seen.method, url, named)
    if expected.content is not UNSET:
        return Send(seen.method, url, named, content=seen.body.decode())
    return Send(seen.method, url, named, json=seen.json)


def deliver(kind: type[Destination], case: Case, monkeypatch: pytest.MonkeyPatch) -> tuple[_Vendor, Journal, Report]:
    for name, value in variables(case.settings).items():
        monkeypatch.setenv(name, value)
    syncs = tuple(
        Sync(c.key, ("identify", "track")) for c in COMPUTATIONS if kind.kind == "event" or c.kind == "audience"
    )
    connection = Connection(kind.slug, kind.slug, syncs, msgspec.convert(case.settings, kind.Settings, dec_hook=secret))
    workspace = Workspace("acme-shop", COMPUTATIONS, (connection,))
    told = calls(case)
    # Who has one identifier in common is one person here.
    owners = {call.identifier: call.profile_id for call in reversed(told.values()) if call.kind == "identify"}
    script = _Vendor([filled(step, kind(workspace, connection), told) for step in case.talk])
    loop, journal = SkippingLoop(), Journal()
    with vendor(script) as server:
        # Longer than the longest delay of a transcript.
        options = replace(FAST, gateway=server.url, retry_for=7200.0, give_up_after=1e9, read_timeout=30.0)
        mine = [structs.replace(c, profile_id=owners.get(c.identifier, c.profile_id)) for c in told.values()]
        outbox = Outbox(mine)
        delivery = Delivery(workspace, connection, outbox, journal, deepcopy(case.memory), options)
        if not case.prepare:
            monkeypatch.setattr(Batches, "_prepare", _prepared)
        channel = Channel(delivery, {}, loop.time)
        script.end = lambda: loop.call_soon_threadsafe(channel.stop)
        report = run(channel.run(), loop)
    return script, journal, report


def told_apart(case: Case) -> set[int]:
    """Calls that were refused as one object: the sender goes on with each alone, the transcript does not."""
    objects = [(call.kind, call.identifier, call.kind == "track" and call.at) for call in calls(case).values()]
    expected = list(case.expect.values())
    return {n for n, each in enumerate(objects) if objects.count(each) > 1 and expected[n] == "rejected invalid_value"}


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_transcript(kind: type[Destination], case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor, journal, report = deliver(kind, case, monkeypatch)
    assert msgspec.to_builtins(vendor.expected) == msgspec.to_builtins(vendor.actual)
    assert [] == vendor.steps, "the sender did not say all of the transcript"
    expected = dict(enumerate(case.expect.values()))
    outcomes = {n: _text(journal, n) for n in expected}
    apart = told_apart(case)
    assert {
        n: text if text.startswith(("delivered", "rejected")) and n not in apart else "pending"
        for n, text in expected.items()
    } == outcomes
    assert ("stopped" not in case.expect.values()) or report.stopped
    secrets = [value for value in variables(case.settings).values() if value in f"{report}{journal}"]
    assert [] == secrets
    if case.memory_after is not None:
        assert case.memory_after == {key: v for key, v in journal.memories[-1].items() if key != KEPT}


def _text(journal: Journal, ref: int) -> str:
    match journal.final.get(ref):
        case None:
            return "pending"
        case outcome if type(outcome).__name__ == "Delivered":
            return "delivered unconfirmed" if outcome.unconfirmed else "delivered"  # type: ignore[union-attr]
        case outcome:
            return f"rejected {outcome.reason}"  # type: ignore[union-attr]
