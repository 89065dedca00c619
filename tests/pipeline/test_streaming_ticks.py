"""Ticks are read only as fast as they are folded, and everything else is read as it comes."""

import apache_beam as beam
import pytest
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from msgspec.msgpack import Decoder

from pipeline.streaming import ticks
from schemas.facts import Addressed, EventFact, TickFact
from schemas.state import account_key
from tests.transforms.beam_job import Always
from tests.transforms.test_fold_accounts import plan
from transforms.keyed import FoldAccounts, FoldProfiles, Keyed, addressed
from transforms.logic.background import Background

_unpacked = Decoder(Addressed).decode


@pytest.fixture(autouse=True)
def background(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a process begins."""
    monkeypatch.setattr(ticks, "_background", Background())


def read_all_that_may(subject: str) -> list[Keyed]:
    found = []
    while ticks.may_read():
        key, value = addressed(subject, TickFact(3, [1]))
        found.append((key, ticks.read(value)))
    return found


@pytest.mark.parametrize(
    ("subject", "step"),
    [
        ("ana", FoldProfiles(Always(plan()), ticked=ticks.folded)),
        (account_key("acme"), FoldAccounts(Always(plan()), ticked=ticks.folded)),
    ],
    ids=["profiles", "accounts"],
)
def test_when_those_that_were_read_are_folded_others_may_be_read(subject: str, step: beam.PTransform) -> None:
    found = read_all_that_may(subject)
    assert 20 <= len(found) <= 1_000
    with beam.Pipeline(runner=BundleBasedDirectRunner()) as root:
        root | beam.Create(found).with_output_types(Keyed) | step
    assert ticks.may_read()


def test_what_another_process_read_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [_unpacked(value).fact for _, value in read_all_that_may("ana")]
    monkeypatch.setattr(ticks, "_ME", "another process")
    for fact in found:
        assert isinstance(fact, TickFact)
        ticks.folded(fact)
    ticks.folded(TickFact(3))  # a version of before read it
    assert not ticks.may_read()


def test_a_tick_says_what_it_said() -> None:
    ((_, value), *_) = read_all_that_may("ana")
    about = _unpacked(value)
    assert isinstance(about.fact, TickFact)
    assert ("ana", 3, [1]) == (about.subject, about.fact.version, about.fact.refresh)


@pytest.mark.parametrize("value", [b"", b"\xc1", addressed("ana", EventFact(b"{}"))[1]])
def test_what_is_no_tick_goes_on_as_it_is(value: bytes) -> None:
    assert value == ticks.read(value)
