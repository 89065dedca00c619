"""Why, in sentences: what is known of a person, what each connection was told, and what keeps the rest."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from pipeline.commands.output import about, counted
from pipeline.person import Person, Record
from pipeline.problems import closest
from pipeline.why import Answer, Why, moment
from pipeline.workspace_words import conditions
from schemas.canonical import digest
from schemas.dead_letters import DeadLetter
from schemas.events import IDENTIFIER_TYPES
from schemas.registry import SlotKey
from schemas.workspace import Connection, Workspace
from transforms.logic.registry import sync_name
from transforms.logic.why import Finding

_STRATEGIES = {
    "none": "identifiers of its type are told nothing (`none`)",
    "first": "only the first identifier of its type is told (`first`)",
    "last": "only the last identifier of its type is told (`last`)",
    "attach": "it goes along with the calls of the other identifiers (`attach`)",
    "all": "other identifiers are told",
}

_SHOWN = 120  # characters of a value


def known(why: Why) -> Iterator[str]:
    """What is known of the person, with times."""
    state = why.person.state
    if state.deleted is not None:
        yield f"deleted on {at(state.deleted)}" + (": what follows is known since" if state.values else "")
    for each in state.ids:
        if each.counts:
            yield f"{each.type} {each.id}, since {at(each.first)}"
        elif each.removed >= 0:
            yield f"{each.type} {each.id}, taken away on {at(each.removed)}"
    kinds = {number: (key, kind) for key, (number, kind) in why.plan.computations.items()}
    for number, (when, value) in state.values.items():
        key, kind = kinds.get(number, (why.registry.computations[number], "trait"))
        if kind == "audience":
            yield f"{'in' if value else 'not in'} {why.registry.computations[number]}, since {at(when)}"
        else:
            yield f"{why.registry.computations[number] or key} is {shown(value)}, since {at(when)}"
    for name, (when, value) in state.traits.items():
        yield f"{name} is {shown(value)} (plain), since {at(when)}"


class Doers(NamedTuple):
    """Who asks for what nothing keeps, and who delivers what is asked."""

    asks: str
    delivers: str


HERE = Doers("the next run asks", "a run or a service delivers")  # in a state directory
JOB = Doers("the job asks, when it comes to the person,", "a sender delivers")


class Words:
    """Sentences of one workspace, at one time."""

    def __init__(self, workspace: Workspace, slots: list[SlotKey], now: datetime, doers: Doers = HERE) -> None:
        self._connections = {connection.name: connection for connection in workspace.connections}
        self._kinds = {each.key: each.kind for each in workspace.computations}
        self._slots, self._now, self._doers = slots, now, doers

    def title(self, finding: Finding) -> str:
        """Of which sync and form it is."""
        if finding.sync:
            name, key = finding.sync.name, finding.sync.key
            form = f" as {finding.form.form}" if finding.form else ""
            return f"{name}{form}" + (f", called {key} there" if key != finding.sync.computation_key else "")
        if finding.rule == "not_synced":
            slot = self._slots[finding.slot - 1]
            return f"{slot.sync} as {slot.form}, called {slot.key} there"
        return "deletion" if finding.rule == "deletion_asked" else ""

    def reason(self, answer: Answer) -> str:
        """Why it stands as it does."""
        finding = answer.finding
        sentence: str = getattr(self, f"_{finding.rule}")(answer)
        return sentence

    # -- about the person, or a sync as a whole

    def _deleted(self, answer: Answer) -> str:
        return "the person was deleted: nothing is told, and nothing is known any more"

    def _no_identifier(self, answer: Answer) -> str:
        return "nothing is told: the person has no identifier that it understands"

    def _no_value(self, answer: Answer) -> str:
        assert answer.finding.sync
        return f"nothing is told: no event says anything of {answer.finding.sync.computation_key} about this person"

    def _not_historical(self, answer: Answer) -> str:
        assert answer.finding.sync
        since = at(answer.finding.sync.after)
        return f"nothing is told: the value is from before the sync began ({since}), and it takes no historical data"

    # -- what is under way

    def _deletion_asked(self, answer: Answer) -> str:
        return f"it is to forget this identifier; {self._waits(answer)}"

    def _next_run(self, answer: Answer) -> str:
        call = answer.finding.call
        assert call
        return f"nothing keeps it: {self._doers.asks} for {_said(call.kind, call.value)}"

    def _asked(self, answer: Answer) -> str:
        record = answer.open
        if record is None:
            assert answer.finding.entry.open
            return f"asked on {at(answer.finding.entry.open.ask)}, and without an outcome"
        what = _said(record.call.kind, record.call.value) if record.call else "it"
        return f"{what} was asked on {at(record.ask)}; {self._waits(answer)}"

    def _taken_back(self, answer: Answer) -> str:
        return "what was asked is not wanted any more; it is taken back if it was not sent yet"

    def _waits_for_key(self, answer: Answer) -> str:
        return "it waits until a key that the vendor requires is known of the person" + _last(answer)

    def _waits(self, answer: Answer) -> str:
        """Of a call in the log: for what."""
        record, past, now = answer.open, answer.past, self._now.timestamp()
        if record is None or record.call is None:
            return "it waits for its turn"
        if answer.paused:
            return f"it waits: the connection is paused since {answer.paused}"
        if past and past.last and past.last.stopped:
            return f"it waits, since the connection stopped in run {past.run}: {past.last.stopped}"
        blocked = (past.last.blocked if past and past.last else {}).get(record.call.key)
        if blocked:
            return f"it waits, since `{record.call.key}` was blocked in run {past.run if past else ''}: {blocked}"
        if record.mark and record.mark.job:
            return "the vendor works on it, in a job that is not over"
        if record.mark and (record.mark.maybe or record.mark.since):
            since = f" since {moment(record.mark.since)}" if record.mark.since else ""
            if not record.mark.maybe:
                return f"no attempt has reached the vendor{since}; it is tried again"
            return f"it was sent and has no useful answer{since}; it is sent again"
        if record.call.not_before > now:
            return f"it waits until {moment(record.call.not_before)}, when an older request can arrive no more"
        if answer.flush > now:
            return f"the list is flushed next at {moment(answer.flush)}, and it waits for that"
        if past and past.last and past.last.held_until:
            return f"it waits: the vendor, or a long cap, takes nothing before {past.last.held_until}"
        return self._turn(answer)

    def _turn(self, answer: Answer) -> str:
        line, soon = answer.line, f"as soon as {self._doers.delivers}"
        if line is None or not line.before:
            return f"it is the next to go, {soon}"
        more, roughly = ("at least ", "at least") if line.more else ("", "about")
        cap = f" at {line.cap}" if line.cap else ""
        time = f", {roughly} {about(line.seconds)}," if line.seconds >= 1 else ", and goes"
        return f"it waits behind {more}{counted(line.before, 'call')}{cap}{time} {soon}"

    # -- at rest

    def _told(self, answer: Answer) -> str:
        entry = answer.finding.entry
        what = {True: "told that the person is in", False: "told that the person is not in"}
        audience = answer.finding.sync is not None and answer.finding.sync.audience
        words = what[bool(entry.told)] if audience and isinstance(entry.told, bool) else f"told {_text(entry.told)}"
        record = answer.delivered
        if record is None or record.receipt is None:
            return f"{words}; when is not known any more"
        return f"{words}: asked on {at(record.ask)}, acknowledged on {moment(record.receipt.at)}"

    def _refused(self, answer: Answer) -> str:
        return "not told" + (_last(answer) or ", since it was refused before") + "; it goes when something changes"

    def _excused(self, answer: Answer) -> str:
        return "the identifier is new, and the sync tells it of the next change only (resync_on_new_identifier: false)"

    def _never_told(self, answer: Answer) -> str:
        audience = answer.finding.sync is not None and answer.finding.sync.audience
        what = "the person is not in, and it was never told otherwise" if audience else "there is no value to tell"
        return f"nothing to tell: {what}" + _last(answer)

    def _not_understood(self, answer: Answer) -> str:
        return "not told: it does not know people by this type of identifier"

    def _taken_away(self, answer: Answer) -> str:
        left = "; it was told that the person left" if answer.finding.entry.told is False else ""
        return "not told: the identifier is not the person's any more" + left

    def _filter(self, answer: Answer) -> str:
        finding = answer.finding
        connection = self._connections[finding.connection]
        wanted = " and ".join(self._conditions(connection, finding))
        left = "; it was told that the person left" if finding.entry.told is False else ""
        return f"not told: the filter wants that {wanted}" + left

    def _conditions(self, connection: Connection, finding: Finding) -> Iterator[str]:
        assert finding.sync
        sync = next(each for each in connection.syncs if sync_name(each) == finding.sync.name)
        for where in (connection.where, sync.where):
            for name, value in finding.fails.items():
                key, _, wanted = name.partition(" ")
                if name in where:
                    what = "not known" if value is None else shown(value)
                    yield f"{conditions({name: where[name]}, self._kinds)} (it is {what})"
                elif key == "has" and wanted in _listed(where.get("has", ())):
                    yield f"the person has an identifier of the type {wanted}"

    def _strategy(self, answer: Answer) -> str:
        return f"not told: {_STRATEGIES[answer.finding.strategy]}"

    def _not_synced(self, answer: Answer) -> str:
        entry = answer.finding.entry
        has = "keeps what it was told" if entry.exposed or entry.told is not None else "was told nothing"
        return f"the workspace does not sync this any more; the vendor {has}"


def _last(answer: Answer) -> str:
    """What became of the newest call, where it was not taken."""
    record = answer.last
    if record is None:
        return ""
    receipt, letter = record.receipt, record.letter
    if letter:
        attempts = f", after {counted(letter.attempts, 'attempt')}" if letter.attempts else ", before any request"
        words = f": {letter.answer}" if letter.answer else ""
        when = f" on {moment(receipt.at)}" if receipt else ""
        return f": {letter.reason}{when}{attempts}{words} ({letter.advice})"
    if receipt and receipt.fate != "delivered":
        return f": {receipt.fate} on {moment(receipt.at)} {receipt.reason}".rstrip()
    return ""


def tried(answer: Answer) -> Iterator[str]:
    """The last attempts that came to nothing, of the call that is asked or was asked last."""
    record = answer.open or answer.last
    for each in record.attempts if record else ():
        status = f"HTTP {each.status}" if each.status else ""
        yield f"tried on {moment(each.at)}: {': '.join(filter(None, (status, each.words)))}"


def history(person: Person) -> Iterator[tuple[str, ...]]:
    """Rows: each call that the logs still know, the newest first."""
    for record in person.records:
        letter: Mapping[str, Any] = record.letter.payload if record.letter else {}
        about_ = record.call or record.receipt
        kind = about_.kind if about_ else str(letter.get("kind", ""))
        identifier = about_.identifier if about_ else letter.get("identifier", ("", ""))
        yield at(record.ask), record.connection, kind, " ".join(identifier), _value(record), _fate(record)


def _value(record: Record) -> str:
    if record.call:
        return _text(digest(record.call.value))
    return _text(record.receipt.value) if record.receipt else ""


def _fate(record: Record) -> str:
    receipt = record.receipt
    if receipt is None:
        if record.letter:
            return _refusal(record.letter)
        return "sent, no answer yet" if record.mark and record.mark.maybe else "waits"
    words = f"{receipt.fate} on {moment(receipt.at)}"
    if record.letter:
        words += f", {_refusal(record.letter)}"
    return words + (" (may have arrived)" if receipt.maybe else "")


def _refusal(letter: DeadLetter) -> str:
    return f"{letter.reason}: {letter.answer}" if letter.answer else letter.reason


def nobody(asked: str) -> str:
    """That nobody is found by what was asked, and how to ask."""
    kind, colon, name = asked.partition(":")
    if colon and kind not in IDENTIFIER_TYPES and (meant := closest(kind, IDENTIFIER_TYPES)):
        return f"{asked}: nobody is known by that; did you mean {meant}:{name}?"
    return (
        f"{asked}: nobody is known by that. A profile id stands in the events as profile_id; an identifier is written "
        "with its type as in the events, such as email:ana@x.example"
    )


def by_connection(answers: list[Answer]) -> Iterator[tuple[str, list[Answer]]]:
    for name, group in groupby(answers, key=lambda each: each.finding.connection):
        yield name, list(group)


def at(micros: int) -> str:
    """A time in microseconds, as it is printed."""
    return moment(micros / 1_000_000)


def shown(value: Any) -> str:
    """A value as JSON; of a long one the beginning."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _text(kept: bytes | bool | None) -> str:
    """A value from its digest: only short ones stand there themselves."""
    if isinstance(kept, bytes):
        try:
            return kept.decode()
        except UnicodeDecodeError:
            return "a value (too long to keep)"
    return shown(kept)


def _said(kind: str, value: Any) -> str:
    if kind in ("add", "remove", "delete"):
        return {"add": "entering the list", "remove": "leaving the list", "delete": "the deletion"}[kind]
    return f"the event {shown(value)}" if kind == "track" else f"the value {shown(value)}"


def _listed(given: Any) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
