"""A rehearsal of a plan: what a run would send is sent to the sandbox, in virtual time, by the real sender.

calls that wait ─┐
                 ├─ held logs ─ the sender ─ HTTP ─ the sandbox, with faults if somebody wants them
planned calls ───┘

Logs, caps and vendors are copies or fakes: nothing of the state directory, of the user's caps or at a vendor changes.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from pipeline.delivering import active
from pipeline.paused import why_not
from pipeline.picked import Picked, pick
from pipeline.planning import Planning
from pipeline.rehearsed import Rehearsed
from pipeline.vendors import made
from sandbox.faults import Fault
from sandbox.held_log import HeldLog, NothingKept
from sandbox.playing import play
from sandbox.server import Options
from sandbox.vendor import Cap
from sandbox.vendors import all_vendors
from schemas.report import Report
from schemas.secret import Secret, secrets_in
from schemas.workspace import Connection, Workspace
from transforms.destinations.transcripts import private_key
from transforms.sending.delivery import Delivery
from transforms.sending.log import REMADE
from transforms.sending.needs import LOST, MEMORY

_FORGOTTEN = (MEMORY, LOST, REMADE)  # facts about what is at the real vendor: a fake one begins empty


def rehearse(planning: Planning, people: int, faults: Sequence[Fault] = ()) -> dict[str, Rehearsed]:
    """By connection, of those that can be decided for. `planning` has made its plan. Raises StoreError."""
    state, workspace, names = planning.options.state, planning.options.workspace, planning.made.destinations
    paused = {name: words for name in names if (words := why_not(state, name))}
    found = {name: Rehearsed(stopped=paused.get(name, "")) for name in names}
    picked = {name: pick(planning.place(name), people) for name in names if name not in paused}
    told = [each for each in workspace.connections if each.name in picked and picked[each.name].calls]
    if told:
        caps = {each.destination: cap for each in told if (cap := _raised(each))}
        deliveries = [_delivery(planning, each, picked[each.name]) for each in told]
        reports = play(deliveries, planning.options.now.timestamp(), Options(caps=caps), faults).reports
        found |= {each.connection: _rehearsed(each, picked[each.connection]) for each in reports}
    return found


def _delivery(planning: Planning, connection: Connection, picked: Picked) -> Delivery:
    """As a run makes it, but for its log, and with no cap that somebody else uses."""
    workspace, number = planning.options.workspace, planning.registry.number
    plan = next(each for each in planning.decided.connections if each.name == connection.name)
    destination = made(workspace, [connection]).destinations[connection.name]
    facts = {name: fact for name, fact in picked.facts.items() if not name.startswith(_FORGOTTEN)}
    return Delivery(
        workspace,
        connection,
        HeldLog(picked.calls, number, facts, picked.receipts),
        NothingKept(),
        active(plan, connection, destination),
        number,
        destination=destination,
    )


def _raised(connection: Connection) -> Cap | None:
    """The cap that the vendor granted, where it is not the published one."""
    cap = connection.cap
    return Cap(max(1, int(cap.requests)), cap.seconds) if cap and connection.cap_raised_by_vendor else None


def _rehearsed(report: Report, picked: Picked) -> Rehearsed:
    unknown = f"there is no fake of {report.destination}: a webhook receiver answered in its place"
    return Rehearsed(
        people=picked.people,
        calls=report.calls,
        all_calls=picked.all_calls,
        delivered=report.delivered,
        superseded=report.superseded,
        rejected=report.rejected,
        expired=report.expired,
        waiting=report.pending,
        scheduled=min(report.scheduled, report.pending),
        scheduled_until=report.scheduled_until,
        requests=report.requests,
        seconds=report.seconds,
        cap="" if report.cap == "none" else report.cap,
        statuses=report.statuses,
        samples=report.samples,
        stopped=report.stopped,
        trouble=report.trouble,
        blocked=report.blocked,
        notes=[*report.notes, *([unknown] if report.destination not in all_vendors() else [])],
    )


# -- what is given


def faults_of(given: Sequence[str]) -> list[Fault]:
    """Faults from texts such as `status=503,share=0.1`. Raises ValueError, which says what is wrong."""
    found = []
    for text in given:
        fields = {name: value for name, _, value in (part.partition("=") for part in text.split(","))}
        try:
            fault = msgspec.convert(fields, Fault, strict=False)
        except msgspec.ValidationError as error:
            known = ", ".join(Fault.__struct_fields__)
            raise ValueError(f"{text}: {error}; write FIELD=VALUE,…; the fields are {known}") from error
        if fault.destination not in ("*", *all_vendors()):
            raise ValueError(f"{text}: the sandbox has no {fault.destination}")
        found.append(fault)
    return found


@contextmanager
def made_up(workspace: Workspace) -> Iterator[list[str]]:
    """While the block lasts, each secret of a connection without a value has one; their names."""
    values = {
        secret.variable: _value(name, secret)
        for connection in workspace.connections
        for name in connection.settings.__struct_fields__
        for secret in secrets_in(getattr(connection.settings, name))
        if not os.environ.get(secret.variable)
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield sorted(values)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _value(setting: str, secret: Secret) -> str:
    """That the sandbox takes for this setting."""
    if setting == "private_key":
        return private_key()
    return "https://secret.example.com/in" if setting == "secret_url" else f"secret-{secret.variable}"
