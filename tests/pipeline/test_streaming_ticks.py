"""Ticks are read only as fast as they are folded, and everything else is read as it comes."""

from pathlib import Path

import pytest
from msgspec.msgpack import Decoder

from pipeline.streaming import ticks
from pipeline.streaming.graph import _AddressFn
from pipeline.streaming.kafka import Kafka
from schemas.facts import Addressed, ProbeFact
from tests.transforms.beam_job import Always
from tests.transforms.test_fold_accounts import plan, told
from transforms.keyed import FoldProfiles, addressed, key_of
from transforms.logic.background import Background

LOG = Kafka("localhost:9092", "shop")
_unpacked = Decoder(Addressed).decode


@pytest.fixture(autouse=True)
def background(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a process begins."""
    monkeypatch.setattr(ticks, "_background", Background())


def read_all_that_may() -> list[tuple[bytes, bytes]]:
    """The probes that go with them."""
    found = []
    while ticks.may_read():
        found += [probe] if (probe := ticks.read(key_of("ana"))) else []
    return found


def test_when_probes_come_back_from_the_fold_others_may_be_read(tmp_path: Path) -> None:
    """All the way: what the fold gives back is written into the topic of facts, and read there."""
    facts = [_unpacked(value) for _, value in read_all_that_may()]
    assert 8 <= len(facts) <= 20
    back = told(FoldProfiles(Always(plan())), "left", [(each.subject, each.fact) for each in facts], tmp_path / "left")
    address = _AddressFn(LOG)
    for subject, fact in back:
        assert [] == [*address.process((LOG.topic("facts"), *addressed(subject, fact)))]
    assert ticks.may_read()


def test_a_probe_goes_into_the_job_as_any_fact_and_comes_back_by_the_key_of_its_tick(tmp_path: Path) -> None:
    (key, value), *_ = read_all_that_may()
    assert [(key, value)] == [*_AddressFn(LOG).process((LOG.topic("ticks"), key, value))]
    fact = _unpacked(value).fact
    assert isinstance(fact, ProbeFact)
    assert key_of("ana") == fact.key != key


def test_what_another_process_read_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    probes = [_unpacked(value).fact for _, value in read_all_that_may()]
    monkeypatch.setattr(ticks, "ME", "another process")
    for probe in probes:
        assert isinstance(probe, ProbeFact)
        ticks.came_back(probe)
    assert not ticks.may_read()


def test_a_probe_is_about_nobody(tmp_path: Path) -> None:
    facts = [("", _unpacked(value).fact) for _, value in read_all_that_may()]
    assert [] == told(FoldProfiles(Always(plan())), "states", facts, tmp_path / "states")
