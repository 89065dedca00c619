"""Flink: a job server with an engine inside, or a real cluster of a JobManager, TaskManagers and RocksDB."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import requests

from scripts.engines import PLACE, Server, free_port, jars, java, listens

_ENDED = ("FINISHED", "CANCELED", "FAILED")
_OPENED = ("java.util", "java.lang", "java.nio")
_CONFIG = """\
jobmanager.rpc.address: 127.0.0.1
jobmanager.rpc.port: {rpc}
jobmanager.memory.process.size: 1024m
taskmanager.memory.process.size: 1600m
taskmanager.numberOfTaskSlots: 4
rest.address: 127.0.0.1
rest.port: {rest}
state.backend.type: rocksdb
state.checkpoints.dir: file://{folder}/checkpoints
state.savepoints.dir: file://{folder}/savepoints
execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION
heartbeat.interval: 2000
heartbeat.timeout: 8000
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 100
restart-strategy.fixed-delay.delay: 1 s
classloader.resolve-order: parent-first
"""
_AVAILABLE = """\
high-availability.type: zookeeper
high-availability.zookeeper.quorum: 127.0.0.1:{port}
high-availability.storageDir: file://{folder}/available
high-availability.zookeeper.client.session-timeout: 5000
"""


class JobServer(Server):
    """Takes jobs from Beam; `arguments` for `run --streaming` are in `beam`."""

    def __init__(self, folder: Path, master: str = "[local]") -> None:
        jobs, artifacts, expansion = free_port(), free_port(), free_port()
        command = [
            *java(), "-Xmx1g", "-cp", jars("flink"), "org.apache.beam.runners.flink.FlinkJobServerDriver",
            "--flink-master", master, "--job-host", "localhost", "--job-port", str(jobs),
            "--artifact-port", str(artifacts), "--expansion-port", str(expansion),
            "--artifacts-dir", str(folder / "artifacts"),
        ]  # fmt: skip
        super().__init__(command, folder / "jobserver.log", lambda: listens(jobs))
        self.beam = [
            "--runner=PortableRunner", f"--job_endpoint=localhost:{jobs}", "--checkpointing_interval=2000",
            "--max_bundle_time_mills=100", "--max_bundle_size=5000",
        ]  # fmt: skip


class JobManager(Server):
    """Of a session cluster, to which jobs are given, or of the application that is in the folder's `usrlib`."""

    def __init__(self, folder: Path, rest: int, application: bool = False) -> None:
        main = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        more = []
        if application:
            main = "org.apache.flink.container.entrypoint.StandaloneApplicationClusterEntryPoint"
            more = ["--job-classname", "org.apache.beam.runners.flink.FlinkPipelineRunner"]
        begins = ["env", f"FLINK_LIB_DIR={folder}/lib", *java(), "-Xmx512m", "-cp", f"{PLACE}/flink-dist/lib/*", main]
        super().__init__([*begins, "--configDir", str(folder), *more], folder / "jobmanager.log", lambda: listens(rest))


class ZooKeeper(Server):
    """What a JobManager keeps in it, another one goes on with."""

    def __init__(self, folder: Path, port: int) -> None:
        main = "org.apache.flink.shaded.zookeeper3.org.apache.zookeeper.server.ZooKeeperServerMain"
        quiet = "-Dzookeeper.admin.enableServer=false"
        command = [*java(), "-Xmx256m", quiet, "-cp", f"{PLACE}/flink-dist/lib/*", main, str(port), f"{folder}/quorum"]
        super().__init__(command, folder / "zookeeper.log", lambda: listens(port))


class TaskManager(Server):
    """What Flink's own start script does: it lets Flink work its memory out, and starts it with that."""

    def __init__(self, folder: Path, rest: int, number: int = 1) -> None:
        dist = PLACE / "flink-dist"
        tool = "org.apache.flink.runtime.util.bash.BashJavaUtils"
        asked = [*java(), "-cp", f"{dist}/bin/bash-java-utils.jar:{dist}/lib/*", tool, "GET_TM_RESOURCE_PARAMS"]
        printed = subprocess.run([*asked, "--configDir", str(folder)], check=True, capture_output=True, text=True)
        found = [line.partition("BASH_JAVA_UTILS_EXEC_RESULT:")[2] for line in printed.stdout.splitlines()]
        flags, dynamic = [line.split() for line in found if line]
        opened = [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENED]
        main = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        command = [*java(), *flags, *opened, "-cp", f"{dist}/lib/*", main, "--configDir", str(folder), *dynamic]
        before = task_managers(rest)
        # One that was killed is still counted for a while.
        super().__init__(command, folder / f"taskmanager{number}.log", lambda: bool(task_managers(rest) - before))


class Workers(Server):
    """Python workers in processes of their own, which outlive the one that submitted."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        module = "apache_beam.runners.worker.worker_pool_main"
        # It starts whatever `python` is first on the path, which may be another one than this.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        command = ["env", f"PATH={path}", sys.executable, "-m", module, f"--service_port={port}"]
        super().__init__(command, folder / "workers.log", lambda: listens(port))
        self.beam = ["--environment_type=EXTERNAL", f"--environment_config=localhost:{port}"]


def task_managers(rest: int) -> set[str]:
    """Ids of those that the JobManager knows."""
    try:
        found = requests.get(f"http://127.0.0.1:{rest}/taskmanagers", timeout=5).json()["taskmanagers"]
    except (requests.RequestException, KeyError):
        return set()
    return {each["id"] for each in found}


class Flink:
    """A JobManager and a TaskManager: of a session, or of the application that is in the folder's `usrlib`.

    `available`: a JobManager that was killed goes on with what it did when it is started again.
    """

    def __init__(self, folder: Path, application: bool = False, available: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.rest = folder, free_port()
        config = _CONFIG.format(rest=self.rest, rpc=free_port(), folder=folder)
        with ExitStack() as stack:
            if available:
                quorum = free_port()
                config += _AVAILABLE.format(port=quorum, folder=folder)
                stack.callback(ZooKeeper(folder, quorum).stop)
            (folder / "flink-conf.yaml").write_text(config)
            self.job_manager = JobManager(folder, self.rest, application)
            stack.callback(self.job_manager.stop)
            self.task_manager = TaskManager(folder, self.rest)
            stack.callback(lambda: self.task_manager.stop())  # another one may have taken its place
            self._stack = stack.pop_all()

    def jobs(self) -> list[str]:
        """Those that run."""
        return [job for job, status in self._states() if status == "RUNNING"]

    def start_task_manager(self) -> None:
        """Another one, in place of the one that was stopped."""
        self.task_manager = TaskManager(self.folder, self.rest, 2)

    def cancel(self) -> bool:
        """Cancel every job; whether all have ended. One that begins anew after a fault runs later: ask again."""
        states = self._states()
        for job, status in states:
            if status not in (*_ENDED, "CANCELLING"):
                requests.patch(f"http://127.0.0.1:{self.rest}/jobs/{job}?mode=cancel", timeout=60)
        return all(status in _ENDED for _, status in states)

    def _states(self) -> list[tuple[str, str]]:
        found = requests.get(f"http://127.0.0.1:{self.rest}/jobs", timeout=10).json()["jobs"]
        return [(job["id"], job["status"]) for job in found]

    def stop(self) -> None:
        self._stack.close()


class Cluster(Flink):
    """A session, with a job server in front of it, and Python workers."""

    def __init__(self, folder: Path, available: bool = False) -> None:
        super().__init__(folder, available=available)
        with self._stack as stack:
            self.workers = Workers(folder)
            stack.callback(self.workers.stop)
            self.job_server = JobServer(folder, f"127.0.0.1:{self.rest}")
            stack.callback(self.job_server.stop)
            self._stack = stack.pop_all()

    @property
    def beam(self) -> list[str]:
        return [*self.job_server.beam, *self.workers.beam]


@contextmanager
def job_server(folder: Path) -> Iterator[JobServer]:
    folder.mkdir(parents=True, exist_ok=True)
    server = JobServer(folder)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def cluster(folder: Path, available: bool = False) -> Iterator[Cluster]:
    made = Cluster(folder, available)
    try:
        yield made
    finally:
        made.stop()


def job_server_jar(to: Path) -> Path:
    """Beam's job server in one file, as the SDK has it: what is made of it holds all that a job needs."""
    services: dict[str, bytes] = {}
    seen = set[str]()
    with zipfile.ZipFile(to, "w") as made:
        main = "org.apache.beam.runners.flink.FlinkJobServerDriver"
        made.writestr("META-INF/MANIFEST.MF", f"Manifest-Version: 1.0\nMain-Class: {main}\nMulti-Release: true\n\n")
        for path in sorted((PLACE / "flink").glob("*.jar")):
            with zipfile.ZipFile(path) as jar:
                for name in jar.namelist():
                    if name.startswith("META-INF/services/"):
                        services[name] = services.get(name, b"") + jar.read(name) + b"\n"
                    elif name not in seen and not name.endswith((".SF", ".RSA", ".DSA", "/", "MANIFEST.MF")):
                        seen.add(name)
                        made.writestr(name, jar.read(name))
        for name, lines in services.items():
            made.writestr(name, lines)
    return to
