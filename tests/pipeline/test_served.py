"""When a service tries connections again that stopped, and what it says of it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import served as module
from pipeline.delivering import Delivering
from pipeline.served import Served
from pipeline.state_db import StateDb
from schemas.report import Report
from transforms.sending.sender import SenderOptions

WHY = "its log cannot be written"


class Deliveries:
    """Notes what is begun; the test ends it."""

    def __init__(self) -> None:
        self.begun: list[Delivering] = []

    def start(self, name: str) -> Delivering:
        self.begun.append(Delivering(name))
        return self.begun[-1]


@pytest.fixture
def deliveries() -> Deliveries:
    return Deliveries()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def served(tmp_path: Path, deliveries: Deliveries, said: list[str], clock: SimpleNamespace) -> Served:
    StateDb.create(tmp_path)
    workspace = SimpleNamespace(connections=[SimpleNamespace(name="hook", was="")], on_trouble=())
    run: Any = SimpleNamespace(state=tmp_path, workspace=workspace, sender=SenderOptions(retry_stopped=300.0))
    made = Served(run, lambda event, words="", **_: said.append(f"{event}: {words}"), "so")
    plan: Any = SimpleNamespace(connections=())
    registry: Any = None
    made.take_over(run, plan, registry, deliveries)  # type: ignore[arg-type]
    made.step()
    return made


def step(served: Served, clock: SimpleNamespace, seconds: float) -> None:
    """A turn of the service, so much later."""
    clock.now += seconds
    served.step()


def stop(deliveries: Deliveries, **more: Any) -> None:
    deliveries.begun[-1].set_result(Report(connection="hook", destination="webhook", stopped=WHY, **more))


def test_what_stopped_is_tried_again_after_a_while(
    served: Served, deliveries: Deliveries, said: list[str], clock: SimpleNamespace
) -> None:
    stop(deliveries)
    step(served, clock, 1)
    assert said == [f"stopped: {WHY}; tried again in 300 s, and so"]
    step(served, clock, 299)
    assert 1 == len(deliveries.begun)
    step(served, clock, 1)
    assert 2 == len(deliveries.begun)


@pytest.mark.parametrize("stopped_first", [True, False])
def test_what_passes_soon_is_tried_again_soon_and_the_words_say_so(
    stopped_first: bool, served: Served, deliveries: Deliveries, said: list[str], clock: SimpleNamespace
) -> None:
    """Whether it is known before the delivery has stopped, or after."""
    if stopped_first:
        stop(deliveries)
        served.try_again("hook", 3.0)
    else:
        served.try_again("hook", 3.0)
        stop(deliveries)
    step(served, clock, 1)
    assert said == [f"stopped: {WHY}; tried again in 2 s, and so"]
    step(served, clock, 2)
    assert 2 == len(deliveries.begun)
    stop(deliveries)
    served.step()
    step(served, clock, 299)  # the next time it is as any other
    assert 2 == len(deliveries.begun)


@pytest.mark.parametrize(
    ("person", "when"), [(False, "tried again in 300 s, and so"), (True, "not tried again by itself, only so")]
)
def test_of_what_is_still_ending_it_is_said_when_it_is_tried_again(
    person: bool, when: str, served: Served, said: list[str], clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Report(connection="hook", destination="webhook", stopped=WHY, needs_person=person)
    monkeypatch.setattr(module, "reports", lambda: [report])
    step(served, clock, 1)
    assert said == [f"stopped: {WHY}; {when}"]


def test_where_somebody_has_to_look_a_reload_tries_it_again(
    served: Served, deliveries: Deliveries, said: list[str], clock: SimpleNamespace
) -> None:
    stop(deliveries, needs_person=True)
    step(served, clock, 100_000)
    assert said == [f"stopped: {WHY}; not tried again by itself, only so"]
    served.step()
    assert 1 == len(deliveries.begun)
