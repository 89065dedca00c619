"""The job on a real Flink cluster (RocksDB, checkpoints): whatever is killed, the vendor ends with what is so."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from scripts.engines.flink import Cluster, TaskManager, cluster, task_managers
from tests.engines.world import World, now, people, until
from tests.pipeline.running import profile, score, write_events

CHANGES = 40


@pytest.fixture(scope="module")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("flink")) as made:
        yield made


@pytest.fixture
def job(world: World, flink: Cluster) -> Iterator[World]:
    """A job that has told everything so far; it is cancelled afterwards."""
    world.write(people(range(60)))
    world.job([*flink.beam, "--parallelism=2"])
    world.sender()
    until(flink.jobs, lambda: "there is no job")
    world.settle()
    yield world
    until(flink.cancel, lambda: "a job does not end")


def change(world: World, base: int) -> None:
    world.write([score(f"u{number}", now(), base + number) for number in range(CHANGES)])


def test_a_task_manager_that_is_killed(job: World, flink: Cluster) -> None:
    change(job, 1_000)
    flink.task_manager.stop(hard=True)
    change(job, 2_000)
    flink.task_manager = TaskManager(flink.folder, flink.rest, 2)
    job.settle()


def test_python_workers_that_are_killed(job: World, flink: Cluster) -> None:
    change(job, 1_000)
    flink.workers.stop(hard=True)
    change(job, 2_000)
    time.sleep(2)
    flink.workers.start()
    job.settle()


def test_a_broker_that_is_restarted(job: World) -> None:
    change(job, 1_000)
    job.kafka.stop(hard=True)
    time.sleep(3)
    job.kafka.start()
    change(job, 2_000)
    job.settle()


def test_a_job_manager_that_is_killed(job: World, flink: Cluster) -> None:
    """Without high availability it knows no job afterwards: the last checkpoint is where the next one begins."""
    heard = job.quiet()
    (running,) = flink.jobs()
    change(job, 1_000)
    until(lambda: last_checkpoint(flink, running))
    flink.job_manager.stop(hard=True)
    change(job, 2_000)
    flink.job_manager.start()
    until(lambda: task_managers(flink.rest))
    job.job([*flink.beam, "--parallelism=2", f"--savepoint_path={last_checkpoint(flink, running)}"])
    until(flink.jobs, lambda: "there is no job")
    change(job, 3_000)
    job.settle()
    assert job.quiet() <= heard + 8 * CHANGES  # what was folded behind the checkpoint, and no more


def last_checkpoint(flink: Cluster, running: str) -> str:
    """The place of the newest that is complete; "": there is none."""
    found = (flink.folder / "checkpoints" / running).glob("chk-*/_metadata")
    newest = max(found, key=lambda path: int(path.parent.name.removeprefix("chk-")), default=None)
    return f"file://{newest.parent}" if newest else ""


def test_a_savepoint_is_where_the_next_job_begins_and_files_may_come_to_it(
    job: World, flink: Cluster, tmp_path: Path
) -> None:
    heard = job.quiet()
    (running,) = flink.jobs()
    place = stop_with_savepoint(flink, running)
    change(job, 1_000)
    file = write_events(tmp_path / "more.jsonl", score("u50", now(), 5_000))
    job.written.append(json.loads(file.read_text()))
    events = ("--events", file, job._at(job.events))
    job.job([*flink.beam, "--parallelism=2", f"--savepoint_path={place}"], *events)
    job.settle()
    assert job.quiet() == heard + 2 * CHANGES + 2  # nobody is told again what they were told


def stop_with_savepoint(flink: Cluster, running: str) -> str:
    root = f"http://127.0.0.1:{flink.rest}/jobs/{running}"
    folder = f"file://{flink.folder}/savepoints"
    asked = requests.post(f"{root}/savepoints", json={"target-directory": folder, "cancel-job": True}, timeout=60)
    trigger = asked.json()["request-id"]

    def done() -> str:
        found = requests.get(f"{root}/savepoints/{trigger}", timeout=60).json()
        place: str = (found.get("operation") or {}).get("location", "")
        return place

    return str(until(done))


def test_a_job_that_is_cancelled_at_work_leaves_out_nobody_when_another_takes_its_state_over(
    job: World, flink: Cluster
) -> None:
    """What it had read and not folded is read again: offsets are committed of what is folded."""
    heard = job.quiet()
    job.write(
        each for number in range(1_000, 4_000) for each in (profile(f"u{number}", now()), score(f"u{number}", now(), 1))
    )
    until(lambda: len(job.arrived) > heard + 500, job.difference)
    until(flink.cancel, lambda: "a job does not end")
    job.job([*flink.beam, "--parallelism=2"], "--bootstrap")
    job.settle()
