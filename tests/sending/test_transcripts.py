"""The transcripts of all destinations, spoken by the real sender over HTTP, with a server that knows them by heart."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace

import msgspec
import pytest
from msgspec import UNSET, structs

from sandbox.virtual_time import VirtualLoop, run
from schemas.calls import Call
from schemas.report import Report
from schemas.workspace import Connection, Workspace
from tests.sending.delivering import FAST, delivery_of
from tests.sending.memory_log import MemoryLog
from tests.sending.vendor_server import Answer, Seen, vendor
from tests.transforms.destinations.driver import cases
from transforms.destinations import catalogue
from transforms.destinations.contract import Destination
from transforms.destinations.transcripts import (
    COMPUTATIONS,
    Case,
    Send,
    Step,
    calls,
    filled,
    secret,
    syncs,
    unsigned,
    variables,
)
from transforms.sending import pump as pump_module
from transforms.sending.log import Mark, Waiting
from transforms.sending.needs import MEMORY, Needs
from transforms.sending.pump import Pump


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
            return Answer(500, cut="hang" if step.timeout else "reset")
        assert step.reply
        body = step.reply.body.encode() if step.reply.json is UNSET else msgspec.json.encode(step.reply.json)
        return Answer(step.reply.status, body=body, headers=step.reply.headers)


def _sent(seen: Seen, expected: Send) -> Send:
    named = {name: seen.headers.get(name.lower(), "(none)") for name in expected.headers}
    url = f"{expected.url.partition('://')[0]}://{seen.target}"
    if not seen.body:
        return Send(seen.method, url, named)
    if expected.content is not UNSET:
        return Send(seen.method, url, named, content=unsigned(unbounded(seen)))
    return Send(seen.method, url, named, json=seen.json)


def unbounded(seen: Seen) -> str:
    """A body as transcripts have it: in one of several parts, without what happens to stand between them."""
    content = seen.body.decode()
    if not seen.headers.get("content-type", "").startswith("multipart/"):
        return content
    return content.replace(content.partition("\r\n")[0], "--<boundary>").replace("\r\n", "\n")


async def _prepared(self: Needs, calls: Sequence[Call]) -> None:
    """What the calls need is there already."""


def deliver(kind: type[Destination], case: Case, monkeypatch: pytest.MonkeyPatch) -> tuple[_Vendor, MemoryLog, Report]:
    for name, value in variables(case.settings).items():
        monkeypatch.setenv(name, value)
    connection = Connection(
        kind.slug, kind.slug, syncs(kind), msgspec.convert(case.settings, kind.Settings, dec_hook=secret)
    )
    workspace = Workspace("acme-shop", COMPUTATIONS, (connection,))
    told = calls(case)
    # Who has one identifier in common is one person here.
    owners = {call.identifier: call.profile_id for call in reversed(told.values()) if call.kind == "identify"}
    script = _Vendor([filled(step, kind(workspace, connection), told) for step in case.talk])
    loop = VirtualLoop(1_760_000_000.0)
    mine = [structs.replace(c, profile_id=owners.get(c.identifier, c.profile_id)) for c in told.values()]
    with vendor(script) as server:
        # Longer than the longest delay of a transcript.
        options = replace(FAST, gateway=server.url, retry_for=7200.0, give_up_after=1e9, read_timeout=30.0)
        facts = {MEMORY: deepcopy(case.memory)}
        waiting = [Waiting(call, Mark(maybe=True, job=case.job)) if case.job else call for call in mine]
        delivery = delivery_of(waiting, (workspace, connection), options, facts=facts)
        if not case.prepare:
            monkeypatch.setattr(Needs, "prepare", _prepared)
        monkeypatch.setattr(pump_module, "_LOOK", 300.0)  # nothing comes into the log: each look would cost real time
        pump = Pump(delivery, {}, loop.time, loop.wall)
        loop.set_asking(lambda: pump.asking)
        script.end = lambda: loop.call_soon_threadsafe(pump.stop)
        report = run(pump.run(), loop)
    assert isinstance(delivery.log, MemoryLog)
    return script, delivery.log, report


def told_apart(case: Case) -> set[int]:
    """Calls that were refused as one object: the sender goes on with each alone, the transcript does not."""
    objects: dict[object, list[int]] = {}
    for n, call in enumerate(calls(case).values()):
        who = call.identifier.type, call.identifier.id.casefold()
        objects.setdefault((call.kind, who, call.kind == "track" and call.at), []).append(n)
    expected = list(case.expect.values())
    together = [mine for mine in objects.values() if len(mine) > 1]
    return {n for mine in together if all(expected[n] == "rejected invalid_value" for n in mine) for n in mine}


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_transcript(kind: type[Destination], case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor, log, report = deliver(kind, case, monkeypatch)
    assert msgspec.to_builtins(vendor.expected) == msgspec.to_builtins(vendor.actual)
    assert [] == vendor.steps, "the sender did not say all of the transcript"
    expected = dict(enumerate(case.expect.values(), 1))
    apart = told_apart(case)
    assert {
        n: text if text.startswith(("delivered", "rejected")) and n - 1 not in apart else "pending"
        for n, text in expected.items()
    } == {n: _text(log, n, report) for n in expected}
    assert ("stopped" not in case.expect.values()) or report.stopped
    spoken = f"{report}{log.receipts}{log.letters}{log.kept}"
    assert [] == [value for value in variables(case.settings).values() if value in spoken]
    if case.memory_after is not None:
        assert case.memory_after == log.kept.get(MEMORY, {})


def _text(log: MemoryLog, ask: int, report: Report) -> str:
    receipt = log.receipts.get(ask)
    if receipt is None:
        return "pending"
    if receipt.fate == "delivered":
        return "delivered unconfirmed" if report.unconfirmed else "delivered"
    return f"{receipt.fate} {receipt.reason}"
