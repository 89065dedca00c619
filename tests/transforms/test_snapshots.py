"""The stateful step over facts of one profile: one after the other, and several together."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apache_beam as beam
import msgspec
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipeline.vendors import made
from pipeline.workspace import load
from schemas.calls import Call, Identifier
from schemas.dead_letters import DeadLetter
from schemas.facts import Addressed, AnyFact, EventFact, ReceiptFact, RetryFact, SnapshotFact, TickFact
from schemas.receipts import receipt_of
from schemas.registry import Registry
from schemas.state import FORMAT, NewerState, decode_profile, encode_profile
from tests.pipeline.running import Event, profile, score, vip, workspace
from tests.transforms.beam_job import Always
from transforms.keyed import Keyed, Outlet, _Cell, _FoldProfileFn, _TogetherFn
from transforms.logic.detect import micros
from transforms.logic.plan import Plan, make_plan
from transforms.logic.registry import enter

NOW = datetime(2026, 1, 6, tzinfo=UTC)


decode_call = msgspec.msgpack.Decoder(Call).decode


def line_of(event: Event) -> bytes:
    return json.dumps(event).encode()


class Step:
    """The step, with the cell of one profile."""

    def __init__(self, plan: Plan, held: bytes = b"") -> None:
        self.plan = plan
        self._fn = _FoldProfileFn(Outlet(), Always(plan), lambda: plan.now / 1_000_000)
        self._fn.setup()
        self._held = held
        self.states: list[bytes] = []
        self.names: list[str] = []
        self.calls: list[Any] = []
        self.letters: list[DeadLetter] = []

    def read(self) -> bytes:
        return self._held

    def write(self, held: bytes) -> None:
        self._held = held

    def fold(self, *facts: AnyFact, subjects: Sequence[str] = ()) -> None:
        named = zip(subjects or ["u1"] * len(facts), facts, strict=True)
        packed = msgspec.msgpack.encode([Addressed(subject, fact) for subject, fact in named])
        for output in self._fn._fold((b"key", packed), self):
            if not isinstance(output, beam.pvalue.TaggedOutput):
                self.calls.append(output)
            elif output.tag == "states":
                self.states.append(output.value[1])
                self.names.append(output.value[0])
            else:
                self.letters.append(output.value)


def made_plan(folder: Path, *more: str) -> Plan:
    """With one connection, and then, in a newer version, with these as well."""
    registry = Registry()
    for names in (["hook"], ["hook", *more]):
        found = load(str(workspace(folder / "workspace.yaml", *names)))
        vendors = made(found).vendors
        registry, _ = enter(registry, found, vendors, micros(NOW))
    return make_plan(found, vendors, registry, micros(NOW))


def test_a_state_that_was_written_several_times_is_taken_over_as_it_was_last(tmp_path: Path) -> None:
    plan = made_plan(tmp_path)
    at = "2026-01-05T09:00:00Z"
    events: list[Event] = [profile("u1", at, "u1@example.com"), score("u1", at, 5), vip("u1", at, True)]
    first, second = Step(plan), Step(plan)
    for event in events:
        first.fold(EventFact(line_of(event)))
    assert first.calls
    for state in first.states:  # as they are in the topic before it is compacted
        second.fold(SnapshotFact(state))
    for event in events:
        second.fold(EventFact(line_of(event)))
    assert [] == second.calls


DELETED: Event = {"type": "delete", "profile_id": "u1", "at": "2026-01-05T09:05:00Z"}
AT = "2026-01-05T09:0%d:00Z"
KNOWN = [
    profile("u1", AT % 0, "u1@example.com"), score("u1", AT % 1, 1), vip("u1", AT % 1, True),
    score("u1", AT % 2, 2), vip("u1", AT % 3, False),
]  # fmt: skip


@pytest.mark.parametrize("events", [KNOWN, [*KNOWN, DELETED]], ids=["known", "deleted"])
def test_what_is_taken_over_is_told_to_nobody_whatever_the_workspace_says_now(
    tmp_path: Path, events: list[Event]
) -> None:
    """A topic has old states of somebody before the last one. Each of them was folded: a connection that had come since
    then heard of values and occurrences that were long over, and somebody who was deleted was known again."""
    first, second = Step(made_plan(tmp_path)), Step(made_plan(tmp_path, "second"))
    for event in events:
        first.fold(EventFact(line_of(event)))
        calls, first.calls = [decode_call(packed) for *_, packed in first.calls], []
        for call in calls:
            first.fold(ReceiptFact(receipt_of(call, "delivered", 1.0)))
    for state in filter(None, first.states):
        second.fold(SnapshotFact(state))
    assert ([], [], first.read()[HEAD:]) == (second.calls, second.states, second.read()[HEAD:])
    second.fold(TickFact())
    told = {connection: decode_call(packed).value for connection, _, packed in second.calls}
    assert told == ({} if DELETED in events else {"second": 2})


def test_an_event_that_comes_with_the_state_of_somebody_who_was_deleted_is_about_that_person(tmp_path: Path) -> None:
    """The state is under a hash, and its subject is not the person's."""
    first = Step(made_plan(tmp_path))
    for event in (*KNOWN, DELETED):
        first.fold(EventFact(line_of(event)))
    state = SnapshotFact(first.states[-1])
    back = [EventFact(line_of(each)) for each in (profile("u1", AT % 6, "u1@example.com"), score("u1", AT % 6, 6))]
    named = ["\0hash", "u1", "u1"]
    for facts, subjects in (([state, *back], named), ([*back, state], named[::-1])):  # an engine may change the order
        second = Step(made_plan(tmp_path))
        second.fold(*facts, subjects=subjects)
        assert {"u1"} == {subject for _, subject, _ in second.calls}
        assert "u1" in second.names


# -- a cell of format 4: u1 has an e-mail address, a score of 5, is vip, and waits for all six calls of that

CELL = (Path(__file__).parents[1] / "data" / "stored" / "cell.bin").read_bytes()
HEAD = 12  # bytes of a cell before the state


def test_a_cell_of_format_4_is_written_once_in_the_form_of_today_and_nobody_is_told_anything(tmp_path: Path) -> None:
    step, today = Step(made_plan(tmp_path), CELL), encode_profile(decode_profile(CELL[HEAD:]))
    assert (FORMAT, decode_profile(CELL[HEAD:])) == (today[0], decode_profile(today))
    for _ in range(2):
        step.fold(TickFact())
        assert ([], CELL[:HEAD] + today) == (step.calls, step.read())
    assert [step.read()[HEAD:]] == step.states


def test_a_fold_goes_on_with_a_cell_of_format_4(tmp_path: Path) -> None:
    step = Step(made_plan(tmp_path), CELL)
    before = decode_profile(CELL[HEAD:])
    step.fold(EventFact(line_of(score("u1", "2026-01-05T10:00:00Z", 6))))
    calls = [decode_call(packed) for *_, packed in step.calls]
    waited = [entry.open.ask for entry in before.ledger[4].values() if entry.open]
    assert (2, {6}, waited) == (len(calls), {call.value for call in calls}, [call.replaces for call in calls])
    assert min(call.ask for call in calls) == int.from_bytes(CELL[:8]) + 1
    step.fold(*(ReceiptFact(receipt_of(call, "delivered", 1.0)) for call in calls))
    after = decode_profile(step.states[-1])
    assert [(b"6", None), (b"6", None)] == [(entry.told, entry.open) for entry in after.ledger[4].values()]
    assert (before.ids, before.ledger[2], before.ledger[3]) == (after.ids, after.ledger[2], after.ledger[3])


@pytest.mark.parametrize("place", ["cell", "topic of states"])
def test_a_state_of_a_newer_version_is_not_folded(tmp_path: Path, place: str) -> None:
    """A worker that passed over what it does not know would write the state back without it."""
    newer = bytes([FORMAT + 1]) + CELL[HEAD:]
    held = CELL[:HEAD] + newer if place == "cell" else b""
    step = Step(made_plan(tmp_path), held)
    with pytest.raises(NewerState, match=f"a newer version of profilecast wrote this state .format {FORMAT + 1}; "):
        step.fold(TickFact() if held else SnapshotFact(newer))
    assert ([], [], held) == (step.calls, step.states, step.read())


class Second(Always):
    """A newer version of the workspace."""

    def version(self) -> int:
        return 2


def test_a_version_that_changes_nothing_is_remembered(tmp_path: Path) -> None:
    """Else a worker that has not heard of it could fold the profile with the older one, and nobody would look again."""
    step = Step(made_plan(tmp_path))
    step.fold(EventFact(line_of(score("u1", "2026-01-05T09:00:00Z", 5))))
    states = list(step.states)
    step._fn._plans = Second(step.plan)
    step.fold(TickFact(2))
    assert step.states == states
    assert 2 == _Cell(step).version


def test_a_blank_record_is_about_nobody_and_leaves_no_state(tmp_path: Path) -> None:
    """Its state would have no key: a compacted topic refuses that, and the job could never go on."""
    step = Step(made_plan(tmp_path))
    for blank in (b"", b" \n"):
        step.fold(EventFact(blank))
    assert ([], b"") == (step.states, step.read())


def test_what_is_folded_together_is_written_once_and_told_as_it_is_last(tmp_path: Path) -> None:
    at = "2026-01-05T09:0%d:00Z"
    facts: list[AnyFact] = [
        *(EventFact(line_of(each)) for each in (profile("u1", at % 0), score("u1", at % 1, 1), score("u1", at % 2, 2))),
        EventFact(b"no event"),
        TickFact(),
        EventFact(line_of(score("u1", at % 3, 3))),
        EventFact(line_of(score("u1", at % 1, 9))),
    ]
    single, group = Step(made_plan(tmp_path)), Step(made_plan(tmp_path))
    for fact in facts:
        single.fold(fact)
    group.fold(*facts)
    assert (4, 1) == (len(single.states), len(group.states))
    assert (1, 1) == (len(single.letters), len(group.letters))
    one, other = decode_profile(single.states[-1]), decode_profile(group.states[-1])
    assert (one.ids, one.traits, one.values) == (other.ids, other.traits, other.values)
    values = [[decode_call(call).value for *_, call in step.calls] for step in (single, group)]
    assert ([1, 2, 3], [2, 3]) == (*values,)


def _note(element: Keyed, path: Path) -> None:
    with path.open("a") as file:
        file.write(f"{element[0]!r} {element[1].hex()}\n")


def test_a_bundle_is_divided_by_profile_and_keeps_the_order(tmp_path: Path) -> None:
    facts = [(b"key %d" % (number % 3), msgspec.msgpack.encode(number)) for number in range(2_501)]
    with beam.Pipeline(runner=FnApiRunner()) as root:
        found = root | beam.Create([facts]) | beam.FlatMap(iter) | beam.ParDo(_TogetherFn()).with_output_types(Keyed)
        found | beam.Map(_note, tmp_path / "found")
    numbers: dict[str, list[int]] = {}
    lines = (tmp_path / "found").read_text().splitlines()
    for line in lines:
        key, packed = line.rsplit(" ", 1)
        numbers.setdefault(key, []).extend(msgspec.msgpack.decode(bytes.fromhex(packed)))
    assert [[*range(start, 2_501, 3)] for start in range(3)] == [numbers[f"b'key {start}'"] for start in range(3)]
    assert len(lines) == 9


class Asked(Always):
    """Remembers which version was asked for."""

    asked = 0

    def plan(self, version: int, now: float) -> Plan:
        self.asked = version
        return super().plan(version, now)


def test_a_fact_that_somebody_gave_is_folded_with_the_version_that_counted_then(tmp_path: Path) -> None:
    """A worker that has not heard of a workspace yet would find a record unusable that it mended."""
    step = Step(made_plan(tmp_path))
    asked = step._fn._plans = Asked(step.plan)
    step.fold(EventFact(json.dumps(score("u1", "2026-01-05T09:00:00Z", 5)).encode(), version=4))
    assert 4 == asked.asked
    step.fold(RetryFact(Call("u1", "identify", Identifier("email", "x"), "score", 5, 1, 1), b"", version=5))
    assert 5 == asked.asked


def test_a_dead_letter_names_the_place_of_its_record(tmp_path: Path) -> None:
    step = Step(made_plan(tmp_path))
    step.fold(EventFact(b"{}", "a.parquet", 7, True))
    step.fold(EventFact(b"{}"))
    assert [("a.parquet", None, 7), ("", None, None)] == [
        (each.source, each.line, each.record) for each in step.letters
    ]
