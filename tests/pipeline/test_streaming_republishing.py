"""What a sender publishes beside its other work, and when."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import pytest

from pipeline.streaming import republishing as module
from pipeline.streaming.kafka import Kafka, KafkaProblem
from pipeline.streaming.republishing import Remade, Republishing
from pipeline.streaming.versions import Overtaken, Version
from schemas.registry import Registry, encode_registry

VIP: Remade = frozenset({("ads", "list/vip", 7.0)})
SCORE: Remade = frozenset({("ads", "list/score", 8.0)})


def version(number: int, ticked: bool = True, remade: Remade = frozenset()) -> Version:
    registry = Registry(remade={f"{name}/{place}": at for name, place, at in remade})
    return Version(number, "", {}, encode_registry(registry), {}, b"", ticked)


@dataclass
class Others:
    """What is published, and what others write meanwhile. `goes`: how a publication goes."""

    ticks: int = 0
    goes: Callable[[], None] = lambda: None
    published: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    def publish(self, *_: Any, remade: dict[str, float], after: int, **__: Any) -> None:
        self.published.append((after, remade))
        self.goes()


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> Others:
    made = Others()
    monkeypatch.setattr(module, "publish", made.publish)
    monkeypatch.setattr(module, "ticks_written", lambda _: made.ticks)
    return made


@pytest.fixture
def sender() -> Republishing:
    made = Republishing(Kafka("localhost:9092", "shop"), lambda *_, **__: None)
    made.know(version(1))
    return made


def step(sender: Republishing, now: float, counts: Version, remade: Remade = frozenset(), first: bool = False) -> None:
    sender.step(counts, remade, first, now)
    if sender._thread.ident:
        sender._thread.join()


def test_what_was_made_again_is_published_once(sender: Republishing, others: Others) -> None:
    step(sender, 0.0, version(1), VIP)
    step(sender, 0.3, version(1), VIP)  # the new version was not seen yet
    after = version(2, remade=VIP)
    sender.know(after)
    step(sender, 60.0, after, VIP)
    assert [(1, {"ads/list/vip": 7.0})] == others.published


def raises(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_what_cannot_be_published_is_tried_again_after_a_while_and_said(sender: Republishing, others: Others) -> None:
    others.goes = raises(KafkaProblem("Kafka: it is away"))
    for now in (0.0, 1.0, 29.0, 31.0):
        step(sender, now, version(1), VIP)
        assert sender.trouble.endswith("with version 1 of the workspace, and is not yet: Kafka: it is away")
    assert 2 == len(others.published)
    others.goes = lambda: None
    step(sender, 62.0, version(1), VIP)
    assert "" == sender.trouble


def test_where_somebody_else_published_the_next_try_is_with_that_one(sender: Republishing, others: Others) -> None:
    others.goes = raises(Overtaken("another version was published meanwhile"))
    step(sender, 0.0, version(1), VIP)
    assert "" == sender.trouble
    others.goes = lambda: None
    newer = version(2)
    sender.know(newer)
    step(sender, 0.3, newer, VIP)
    assert [1, 2] == [after for after, _ in others.published]


def test_a_publication_that_stands_still_is_ended_by_one_of_all_senders(sender: Republishing, others: Others) -> None:
    left = version(2, ticked=False)
    sender.know(left)
    for now in range(0, 100, 3):
        step(sender, float(now), left, first=False)
    assert [] == others.published
    for now in range(100, 200, 3):  # as long as it goes on
        others.ticks += now % 2
        step(sender, float(now), left, first=True)
    assert [] == others.published
    for now in range(200, 280, 3):
        step(sender, float(now), left, first=True)
    assert [(2, {})] == others.published


def test_a_new_version_has_its_time_though_the_one_before_stood_still(sender: Republishing, others: Others) -> None:
    """Whoever published it waits for some seconds before the first tick."""
    sender.know(left := version(2, ticked=False))
    others.goes = raises(KafkaProblem("Kafka: it is away"))
    for now in range(0, 100, 3):
        step(sender, float(now), left, first=True)
    tried = len(others.published)
    sender.know(newer := version(3, ticked=False))
    for now in range(100, 155, 3):
        step(sender, float(now), newer, first=True)
    assert [3] * (len(others.published) - tried) == []


def test_what_was_made_again_does_not_wait_for_a_long_publication(sender: Republishing, others: Others) -> None:
    """Nothing is sent to its connection until it is published, and the long one is overtaken by it."""
    going = Event()
    others.goes = lambda: None if going.is_set() else going.wait(10) and None
    sender.step(version(1), VIP, False, 0.0)
    long, others.goes = sender._thread, lambda: None
    sender.know(after := version(2, remade=VIP))
    step(sender, 40.0, after, VIP | SCORE)
    assert [(1, {"ads/list/vip": 7.0}), (2, {"ads/list/score": 8.0})] == others.published
    assert long.is_alive()
    going.set()
    long.join()
