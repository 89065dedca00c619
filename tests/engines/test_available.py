"""Flink that keeps in ZooKeeper what it does: a JobManager that was killed goes on with the job by itself."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from scripts.engines.flink import Cluster, Flink, Workers, cluster, job_server_jar, task_managers
from tests.engines.changes import CALLS, CAP, changes
from tests.engines.world import ROOT, World, now, people, until


def goes_on(world: World, flink: Flink) -> None:
    world.write(people(range(50)))
    world.sender()
    world.settle()
    world.telling(changes(1_000))
    flink.job_manager.stop(hard=True)
    world.write(changes(2_000))
    flink.job_manager.start()
    until(lambda: task_managers(flink.rest))
    until(flink.jobs, lambda: "there is no job")
    began_again = now()  # tasks go on for a while without their master, and what they fold is folded anew
    world.write(changes(3_000))
    world.ends_well(again=2 * CALLS, began_again=began_again)
    assert flink.jobs()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path / "flink", available=True) as made:
        yield made


def test_a_session(world: World, session: Cluster) -> None:
    world.limit(CAP)
    world.job([*session.beam, "--parallelism=2"])
    goes_on(world, session)


@pytest.fixture
def application(world: World, tmp_path: Path) -> Iterator[Flink]:
    """A cluster with the job's jar, and workers beside it."""
    world.limit(CAP)
    with ExitStack() as stack:
        workers = Workers(tmp_path)
        stack.callback(workers.stop)
        jar(world, workers, tmp_path)
        flink = Flink(tmp_path / "flink", application=True, available=True)
        stack.callback(flink.stop)
        yield flink


def jar(world: World, workers: Workers, tmp_path: Path) -> None:
    """Let the script of `deploy/` make it, where Flink looks for the jar of an application."""
    library = tmp_path / "flink" / "usrlib"
    library.mkdir(parents=True)
    at = f"kafka://{world.at}/"
    given = {
        "JOB_SERVER_JAR": str(job_server_jar(tmp_path / "job-server.jar")), "WORKSPACE": str(world.workspace),
        "LOG": at + world.log, "EVENTS": at + world.events, "PARALLELISM": "2", "WORKERS": "1",
        "WORKER_POOL": workers.beam[-1].partition("=")[2], "CHECKPOINT_MILLIS": "2000",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = [ROOT / "deploy/flink/submit_application.sh", "jar", library / "job.jar"]
    made = subprocess.run(command, env=os.environ | given, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr


def test_an_application(world: World, application: Flink) -> None:
    goes_on(world, application)
