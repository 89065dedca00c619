"""One log of events through `run`, `serve` and the streaming job: in the end the vendors know the same."""

from pathlib import Path

import pytest

from sandbox.testing import RunningSandbox, running_sandbox
from scripts.engines import PRISM
from tests.engines.one_log import SECRETS, WORKSPACE, Known, by_runs, known, knows, shuffled, waiting, wanted
from tests.engines.world import World, until
from tests.pipeline.serving import serving


def by_service(root: Path, vendors: RunningSandbox, order: int) -> None:
    root.mkdir()
    (root / "workspace.yaml").write_text(WORKSPACE)
    first, second = shuffled(("serve", order))
    with serving(root, vendors.url) as service:
        service.append("log.jsonl", *first)
        knows(vendors, first)
        service.append("log.jsonl", *second)
        knows(vendors, [*first, *second])
        until(lambda: not waiting(service.status()))
        assert 0 == service.stop()


def by_job(world: World, vendors: RunningSandbox, order: int, in_runs: Known) -> None:
    first, second = shuffled(("job", order))
    world.write(first)
    world.job(PRISM)
    sender = world.sender("--gateway", vendors.url)
    knows(vendors, first)
    world.write(second)
    knows(vendors, [*first, *second])
    expected = wanted([*first, *second])
    until(lambda: known(vendors, expected) == in_runs and not waiting(sender.status()))
    sender.stop()


@pytest.mark.parametrize("order", range(3))
def test_a_log_ends_in_the_same_state_by_runs_by_a_service_and_by_the_streaming_job(
    world: World, monkeypatch: pytest.MonkeyPatch, order: int
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    world.workspace.write_text(WORKSPACE)
    expected = wanted([event for part in shuffled(order) for event in part])
    with running_sandbox() as vendors:
        by_runs(world.root, vendors, order)
        in_runs = known(vendors, expected)
    assert {"braze", "webhook", "facebook-custom-audiences"} == in_runs.keys()
    assert expected == in_runs["webhook"][0]
    with running_sandbox() as vendors:
        by_service(world.root / "served", vendors, order)
        assert in_runs == known(vendors, expected)
    with running_sandbox() as vendors:
        by_job(world, vendors, order, in_runs)
        assert in_runs == known(vendors, expected)
