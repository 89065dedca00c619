"""People, accounts and deletions at two vendors, one of them with batches, on a real Flink cluster.

Whatever is killed, they know in the end what is so. Left out are lists, which are flushed once an hour, and
whether the deletion has gone, which waits for five minutes until what was in flight can no longer arrive.
"""

from collections.abc import Callable, Iterator, Sequence

import pytest

from sandbox.testing import RunningSandbox, running_sandbox
from scripts.engines.flink import Cluster
from tests.engines.one_log import SECRETS, WORKSPACE, Known, by_runs, known, shuffled, wanted
from tests.engines.world import World, until
from tests.pipeline.running import Event

VENDORS = WORKSPACE[: WORKSPACE.index("  - name: ads")]


def test_vendors_know_the_same_whatever_was_killed(
    world: World, flink: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    world.workspace.write_text(VENDORS)
    log = [event for part in shuffled("faults") for event in part]
    expected = wanted(log)
    with running_sandbox() as vendors:
        by_runs(world.root, vendors, 0)
        in_runs = known(vendors, expected)
    with running_sandbox() as vendors:
        world.job([*flink.beam, "--parallelism=2"])
        senders = [world.sender("--gateway", vendors.url) for _ in range(2)]

        def sender_dies() -> None:
            senders.pop(0).kill()
            senders.append(world.sender("--gateway", vendors.url))

        for part, fault in zip(quarters(log), faults(world, flink, sender_dies), strict=True):
            telling(world, vendors, part)
            fault()
        until(lambda: known(vendors, expected) == in_runs, lambda: difference(known(vendors, expected), in_runs))
        world.quiet()
        assert in_runs == known(vendors, expected)
        until(flink.cancel, lambda: "a job does not end")


def faults(world: World, flink: Cluster, sender_dies: Callable[[], None]) -> Iterator[Callable[[], None]]:
    def task_manager_dies() -> None:
        flink.task_manager.stop(hard=True)
        flink.start_task_manager()

    def workers_die() -> None:
        flink.workers.stop(hard=True)
        until(lambda: not flink.jobs(), lambda: "the job goes on without its workers")
        flink.workers.start()
        until(flink.jobs, lambda: "there is no job")

    def broker_dies() -> None:
        world.kafka.restart(after=3)

    yield from (sender_dies, task_manager_dies, workers_die, broker_dies)


def quarters(log: Sequence[Event]) -> list[Sequence[Event]]:
    size = -(-len(log) // 4)
    return [log[first : first + size] for first in range(0, len(log), size)]


def telling(world: World, vendors: RunningSandbox, events: Sequence[Event]) -> None:
    """Write them, and wait until a vendor has heard some of it."""
    before = vendors.told()
    world.write(events)
    until(lambda: vendors.told() != before)


def difference(found: Known, in_runs: Known) -> str:
    told, due = (
        {(vendor, who, str(values)) for vendor, (people, _) in each.items() for who, values in people.items()}
        for each in (found, in_runs)
    )
    return f"not told: {sorted(due - told)}; told instead: {sorted(told - due)}"
