"""The stateful steps of accounts: what goes from an account to its members, and what comes back of a deletion."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import apache_beam.testing.test_stream as streams
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from msgspec.json import encode as as_line
from msgspec.msgpack import Decoder

from schemas.facts import Addressed, AnyFact, EventFact, LeftFact, MemberFact, SnapshotFact
from schemas.registry import Registry
from schemas.state import FORMAT, account_key, part_key
from tests.transforms.beam_job import Always
from tests.transforms.logic.job import at, hour
from tests.transforms.logic.transcripts import event_of, workspace_of
from tests.transforms.logic.vendors import vendors_of
from transforms.keyed import FoldAccounts, FoldProfiles, Keyed, Outlet, addressed
from transforms.logic.accounts import part_of
from transforms.logic.detect import micros
from transforms.logic.plan import Plan, make_plan
from transforms.logic.registry import enter

_unpacked = Decoder(Addressed).decode
ACME = account_key("acme")
STORED = Path(__file__).parents[1] / "data" / "stored"


def plan() -> Plan:
    workspace = workspace_of({"ads": {"at_risk": {}}})
    registry, _ = enter(Registry(), workspace, vendors_of(workspace), micros(hour(9)))
    return make_plan(workspace, vendors_of(workspace), registry, micros(hour(9)))


def about_acme(**short: Any) -> tuple[str, AnyFact]:
    return ACME, EventFact(as_line(event_of({"account": "acme", **short})))


def about_ana(**short: Any) -> tuple[str, AnyFact]:
    return "ana", EventFact(as_line(event_of(short)))


def told(step: beam.PTransform, output: str, facts: Sequence[tuple[str, AnyFact]], path: Path) -> list[Any]:
    """What a step gives under one output for facts that come one after the other."""
    stream = streams.TestStream()
    for key, fact in facts:
        stream = stream.add_elements([addressed(key, fact)])
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=PipelineOptions(["--streaming"])) as root:
        typed = root | stream.advance_watermark_to_infinity() | beam.Map(_same).with_output_types(Keyed)
        (typed | step)[output] | beam.Map(_write, path)
    found = [_unpacked(bytes.fromhex(line)) for line in path.read_text().splitlines()] if path.exists() else []
    return [(each.subject, each.fact) for each in found]


def _same(fact: Any) -> Any:
    return fact


def _write(fact: Keyed, path: Path) -> None:
    with path.open("a") as file:
        file.write(f"{fact[1].hex()}\n")


def test_members_hear_of_the_account_until_they_were_deleted(tmp_path: Path) -> None:
    facts = [
        about_acme(at=1, joins="ana"),
        about_acme(at=2, at_risk=True),
        (ACME, LeftFact("ana", micros(hour(3)))),
        about_acme(at=4, at_risk=False),
        about_acme(at=5, joins="bob"),
    ]
    heard = told(FoldAccounts(Always(plan())), "members", facts, tmp_path / "members")
    said = [(who, fact.member, [value for _, value in fact.values.values()]) for who, fact in heard]
    assert [("ana", True, []), ("ana", True, [True]), ("bob", True, [False])] == said


def test_a_deleted_person_says_so_to_every_account_that_still_counts_on_it(tmp_path: Path) -> None:
    facts = [
        ("ana", MemberFact("acme", micros(hour(1)), True)),
        about_ana(at=3, delete=True),
        ("ana", MemberFact("bolt", micros(hour(2)), True, {0: (micros(hour(5)), True)})),
        ("ana", MemberFact("core", micros(hour(4)), True)),
    ]
    left = told(FoldProfiles(Always(plan())), "left", facts, tmp_path / "left")
    assert [(account_key(name), LeftFact("ana", micros(hour(3)))) for name in ("acme", "bolt")] == left


def test_an_account_and_its_part_of_format_4_go_on(tmp_path: Path) -> None:
    """They are of tests/data/stored: acme is at risk, ana is a member, bob was one."""
    before = [
        (ACME, SnapshotFact((STORED / "account.bin").read_bytes())),
        (part_key("acme", part_of("ana")), SnapshotFact((STORED / "part.bin").read_bytes())),
    ]
    facts = [*before, about_acme(at=1, at_risk=True), about_acme(at=2, at_risk=False)]
    heard = told(FoldAccounts(Always(plan())), "members", facts, tmp_path / "members")
    told_ana = [MemberFact("acme", micros(hour(0)), True, {3: (micros(hour(n)), n == 1)}) for n in (1, 2)]
    assert [("ana", fact) for fact in told_ana] == heard


@pytest.mark.parametrize(("subject", "step"), [(ACME, "Heads"), (part_key("acme", 34), "Parts")])
def test_an_account_of_a_newer_version_ends_the_job_and_the_step_is_named(
    subject: str, step: str, tmp_path: Path
) -> None:
    newer = bytes([FORMAT + 1])
    state = bytes(8) + newer if step == "Heads" else newer
    with pytest.raises(Exception, match=rf"format {FORMAT + 1}; .*FoldAccounts/{step}/{step}"):
        told(FoldAccounts(Always(plan())), "members", [(subject, SnapshotFact(state))], tmp_path / "members")


def test_what_is_no_event_about_an_account_is_a_dead_letter(tmp_path: Path) -> None:
    bad = EventFact(as_line({"type": "account_member", "account_id": "acme", "member": True, "at": at(0)}))
    path = tmp_path / "letters"
    with beam.Pipeline(runner=BundleBasedDirectRunner()) as root:
        facts = root | beam.Create([addressed(ACME, bad)]).with_output_types(Keyed)
        letters = (facts | FoldAccounts(Always(plan())))["dead_letters"]
        letters | beam.Map(lambda letter: path.write_text(letter.reason))
    assert "missing_field" == path.read_text()


_took: list[tuple[str, Any]] = []


class Takes(Outlet):
    """All that goes to no other fold, in its bundle."""

    def begin(self) -> None:
        _took.append(("begin", None))

    def take(self, kind: str, value: Any) -> bool:
        _took.append((kind, value))
        return kind not in ("members", "parts")

    def end(self) -> None:
        _took.append(("end", None))


def test_an_outlet_has_what_was_folded_in_its_order_within_the_bundle(tmp_path: Path) -> None:
    _took.clear()
    facts = [about_acme(at=1, joins="ana"), about_acme(at=2, at_risk=True), about_acme(at=3, at_risk=False)]
    heard = told(FoldAccounts(Always(plan()), outlet=Takes()), "members", facts, tmp_path / "members")
    assert ["ana"] * 3 == [who for who, _ in heard]
    kinds = [kind for kind, _ in _took]
    assert {"begin", "states", "parts", "members", "end"} == set(kinds)
    depth = [kinds[: place + 1].count("begin") - kinds[: place + 1].count("end") for place in range(len(kinds))]
    assert all(depth[place] > 0 for place, kind in enumerate(kinds) if kind in ("states", "members"))
    heads = [value for kind, value in _took if kind == "states" and value[0] == ACME]
    assert 3 == len({state for _, state in heads})
    assert [] == told(FoldAccounts(Always(plan()), outlet=Takes()), "states", facts, tmp_path / "states")
