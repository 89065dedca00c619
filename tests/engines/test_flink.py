"""The job on a real Flink cluster (RocksDB, checkpoints): whatever is killed, the vendor ends with what is so."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from scripts.engines.flink import Cluster, task_managers
from tests.engines.changes import CALLS, CAP, changes
from tests.engines.world import World, in_flight, now, people, until
from tests.pipeline.running import profile, score, write_events


@pytest.fixture
def job(world: World, flink: Cluster) -> Iterator[World]:
    """A job that has told everything so far, and has a checkpoint with that; it is cancelled afterwards."""
    world.limit(CAP)
    world.write(people(range(50)))
    world.job([*flink.beam, "--parallelism=2"])
    world.sender()
    until(flink.jobs, lambda: "there is no job")
    world.settle()
    settled = time.time()
    until(lambda: begun(flink) > settled, lambda: "no checkpoint is made")
    yield world
    until(flink.cancel, lambda: "a job does not end")


def begun(flink: Cluster) -> float:
    """When the newest checkpoint that is complete was begun, seconds since 1970; 0.0: there is none."""
    (running,) = flink.jobs()
    found = requests.get(f"http://127.0.0.1:{flink.rest}/jobs/{running}/checkpoints", timeout=60).json()
    last = (found.get("latest") or {}).get("completed")
    return last["trigger_timestamp"] / 1_000 if last else 0.0


def test_a_task_manager_that_is_killed(job: World, flink: Cluster) -> None:
    job.telling(changes(1_000))
    flink.task_manager.stop(hard=True)
    killed = now()
    job.write(changes(2_000))
    flink.start_task_manager()
    job.ends_well(again=CALLS, began_again=killed)


def test_python_workers_that_are_killed(job: World, flink: Cluster) -> None:
    job.telling(changes(1_000))
    flink.workers.stop(hard=True)
    killed = now()
    job.write(changes(2_000))
    until(lambda: not flink.jobs(), lambda: "the job goes on without its workers")
    flink.workers.start()
    job.ends_well(again=CALLS, began_again=killed)


def test_a_broker_that_is_restarted(job: World) -> None:
    job.telling(changes(1_000))
    job.kafka.restart(after=3)
    job.write(changes(2_000))
    job.ends_well(again=in_flight(CAP))


def test_a_sender_that_is_killed_and_one_that_is_paused_and_goes_on_beside_its_successor(job: World) -> None:
    job.sender()
    job.kill_owner(changes(1_000))
    job.write(changes(2_000))
    job.ends_well(again=in_flight(CAP))
    job.pause_owner(changes(3_000), newer=changes(4_000))
    job.ends_well(again=2 * in_flight(CAP))


def test_a_job_manager_that_is_killed(job: World, flink: Cluster) -> None:
    """Without high availability it knows no job afterwards: the last checkpoint is where the next one begins."""
    (running,) = flink.jobs()
    job.telling(changes(1_000))
    flink.job_manager.stop(hard=True)
    job.write(changes(2_000))
    flink.job_manager.start()
    until(lambda: task_managers(flink.rest))
    job.job([*flink.beam, "--parallelism=2", f"--savepoint_path={last_checkpoint(flink, running)}"])
    until(flink.jobs, lambda: "there is no job")
    began_again = now()  # until the old one has missed its master it folds what it reads, and all that is folded anew
    job.write(changes(3_000))
    job.ends_well(again=2 * CALLS, began_again=began_again)


def last_checkpoint(flink: Cluster, running: str) -> str:
    """The place of the newest that is complete; "": there is none."""
    found = (flink.folder / "checkpoints" / running).glob("chk-*/_metadata")
    newest = max(found, key=lambda path: int(path.parent.name.removeprefix("chk-")), default=None)
    return f"file://{newest.parent}" if newest else ""


def test_a_savepoint_is_where_the_next_job_begins_and_files_may_come_to_it(
    job: World, flink: Cluster, tmp_path: Path
) -> None:
    """With another parallelism, too (one of 1 is another graph: Flink chains the source to what follows)."""
    place = stop_with_savepoint(flink)
    job.write(changes(1_000))
    file = write_events(tmp_path / "more.jsonl", score("u49", now(), 5_000))
    job.written.append(json.loads(file.read_text()))
    events = ("--events", file, job._at(job.events))
    job.job([*flink.beam, "--parallelism=3", f"--savepoint_path={place}"], *events)
    job.ends_well(again=0)
    job.telling(changes(2_000))
    place = stop_with_savepoint(flink)
    stopped = now()  # until then the job went on behind the savepoint
    job.write(changes(3_000))
    job.job([*flink.beam, "--parallelism=2", f"--savepoint_path={place}"], *events)
    job.ends_well(again=CALLS, began_again=stopped)


def stop_with_savepoint(flink: Cluster) -> str:
    (running,) = until(flink.jobs, lambda: "there is no job")
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
    many = [f"u{number}" for number in range(1_000, 1_800)]
    job.telling([event for who in many for event in (profile(who, now()), score(who, now(), 1))])
    until(flink.cancel, lambda: "a job does not end")
    job.job([*flink.beam, "--parallelism=2"], "--bootstrap")
    job.settle()
