"""`profilecast serve`: how long from a line that is appended to a file to the vendor; and hours of it, with kills.

    python -m benchmarks.serve [--people 200000] [--cap 100] [--seconds 30]
    python -m benchmarks.serve --minutes 60 [--kill-every 5] [--rate 100]

The service and the vendors (`profilecast sandbox`) are processes of their own. There is a Braze with its 100/s and 75
people per request, and a webhook with `--cap` requests per second. Five lines a second are appended to a file, each
told to both. First there is nothing else to do; then a file with the history of so many people is put beside it; then
the workspace gets one more sync, so that all these people are looked at and told once more, as backfill.

With `--minutes`, `--rate` lines a second are appended while the service is killed (kill -9) every so many minutes, and
started again. In the end, or the exit code is 1: what the vendors know is what the last line about each person said,
nothing waits, what was told twice was in flight, and the memory of the last half is not above that of the first by
more than a tenth.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple

import requests

from benchmarks.machine import facts
from benchmarks.receiver import peak

WORKSPACE = """\
workspace: benchmark
computations:
  - {{name: Score, kind: trait}}
  - {{name: Vip, kind: audience}}
connections:
  - name: braze
    destination: braze
    settings: {{endpoint: "https://rest.fra-01.braze.eu", api_key: "${{BRAZE_API_KEY}}"}}
    syncs: [{{computation: score, as: identify}}{more}]
  - name: hook
    destination: webhook
    cap: {cap}/s
    settings: {{url: "https://hook.example/in"}}
    syncs: [{{computation: score, as: identify}}{more}]
"""
MORE = ", {computation: vip, as: identify}"
SETTLED = 5.0  # seconds that a phase begins before it is measured
EVERY = 0.2  # seconds between lines
PER_PERSON = 3  # lines of a history


def profilecast(*arguments: object, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file)


class Place:
    """A folder with a workspace, event files, the vendors and the service."""

    def __init__(self, root: Path, cap: int) -> None:
        os.environ |= {"BRAZE_API_KEY": "benchmark-key", "XDG_STATE_HOME": str(root / "user")}
        self.root, self.cap = root, cap
        self.events, self.state, self.record = root / "events", root / "state", root / "requests.jsonl"
        self.workspace, self.log = root / "workspace.yaml", root / "log.txt"
        self.events.mkdir()
        self.write_workspace()
        ready = root / "ready"
        sandbox = ["sandbox", "--workspace", self.workspace, "--port", 0, "--record", self.record]
        self.vendors = profilecast(*sandbox, "--ready-file", ready, log=self.log)
        while not ready.exists():
            time.sleep(0.05)
        self.service: subprocess.Popen[bytes] | None = None
        self.gateway = ready.read_text().strip()
        self._read = 0

    def write_workspace(self, more: str = "") -> None:
        beside = self.workspace.with_suffix(".new")
        beside.write_text(WORKSPACE.format(cap=self.cap, more=more))
        beside.rename(self.workspace)

    def serve(self) -> subprocess.Popen[bytes]:
        new = [] if self.state.exists() else ["--new-state"]
        process = self.service = profilecast(
            "serve", "--workspace", self.workspace, "--state", self.state, "--gateway", self.gateway, "--status-port",
            self.status_port(), "--events", self.events / "*.jsonl", *new, log=self.log,
        )  # fmt: skip
        while process.poll() is None:
            try:
                self.status()
            except requests.ConnectionError:
                time.sleep(0.05)
            else:
                return process
        raise SystemExit(self.log.read_text())

    def status_port(self) -> int:
        return 20_000 + os.getpid() % 10_000

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = requests.get(f"http://127.0.0.1:{self.status_port()}/status", timeout=30).json()
        return found

    def folded(self) -> int:
        """Events, since it was started."""
        return int(self.status()["since_start"]["events"])

    def waiting(self) -> dict[str, int]:
        """What could go. After a kill some waits for five minutes, until nothing older can land."""
        return {name: each["waiting"] - each["scheduled"] for name, each in self.status()["connections"].items()}

    def recorded(self) -> list[dict[str, Any]]:
        """Requests since the last time that this was asked."""
        requests.get(f"{self.gateway}/_sandbox/stats", timeout=60)  # writes the recording out
        with self.record.open("rb") as file:
            file.seek(self._read)
            content = file.read()
        self._read += len(content)
        return [json.loads(line) for line in content.splitlines()]

    def end(self) -> None:
        """Whatever happened, nothing of it runs on."""
        for process in (self.service, self.vendors):
            if process and process.poll() is None:
                process.kill()
                process.wait()

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        process.wait()


@contextmanager
def place(cap: int) -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as root:
        made = Place(Path(root), cap)
        try:
            yield made
        finally:
            made.end()


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def person(number: int, at: str) -> Iterator[str]:
    head = {"profile_id": f"customer-{number:07}", "at": at}
    ids = [{"type": "user_id", "id": f"user-{number:07}"}]
    yield json.dumps({"type": "profile", **head, "external_ids": ids})
    yield json.dumps({"type": "trait", **head, "computation": "score", "value": -1})
    yield json.dumps({"type": "audience", **head, "computation": "vip", "member": True})


def score(number: int, value: int) -> str:
    return json.dumps(
        {"type": "trait", "profile_id": f"customer-{number:07}", "at": now(), "computation": "score", "value": value}
    )


def scores(recorded: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Whom a request is about, and the score that it tells."""
    body = recorded["body"]
    told = body.get("attributes", ()) if recorded["connection"] == "braze" else [body]
    for each in told:
        who, traits = each.get("external_id") or each.get("userId"), each.get("traits", each)
        if "score" in traits:
            yield who, traits["score"]


# -- how long it takes


class Phase(NamedTuple):
    name: str
    seconds: dict[str, list[float]]  # from line to vendor, by connection
    missing: int
    used: float  # of the webhook's cap
    most: int  # requests of the webhook in a sliding second


class Lines:
    """Appends lines, and remembers when."""

    def __init__(self, place: Place, people: int) -> None:
        self._place, self._people = place, people
        self._path = place.events / "live.jsonl"
        self._sent: dict[int, float] = {}
        self._number = 0

    def begin(self) -> None:
        self._path.write_text("".join(line + "\n" for n in range(self._people) for line in person(n, now())))

    def play(self, name: str, seconds: float) -> Phase:
        chance = random.Random(self._number)
        first = self._number + 1
        self._place.recorded()
        began = time.time()
        with self._path.open("a") as file:
            while (at := time.time()) < began + seconds:
                self._number += 1
                self._sent[self._number] = at
                file.write(score(chance.randrange(self._people), self._number) + "\n")
                file.flush()
                time.sleep(EVERY * (0.5 + chance.random()))
        ended = time.time()
        time.sleep(SETTLED)
        return self._told(name, range(first, self._number + 1), began, ended)

    def _told(self, name: str, numbers: range, began: float, ended: float) -> Phase:
        found: dict[str, dict[int, float]] = {"braze": {}, "hook": {}}
        hook = []
        for each in self._place.recorded():
            if each["connection"] == "hook" and began <= each["at"] <= ended:
                hook.append(each["at"])
            for _, value in scores(each):
                found[each["connection"]].setdefault(value, each["at"])
        took = {connection: [at[n] - self._sent[n] for n in numbers if n in at] for connection, at in found.items()}
        missing = sum(len(numbers) - len(each) for each in took.values())
        return Phase(name, took, missing, len(hook) / (ended - began) / self._place.cap, peak(sorted(hook)))


def latency(people: int, cap: int, seconds: float) -> list[Phase]:
    with place(cap) as here:
        lines = Lines(here, 1_000)
        lines.begin()
        service = here.serve()
        wait_until(lambda: here.folded() >= 1_000 * PER_PERSON and not any(here.waiting().values()), 120)
        idle = cpu(service.pid, 10.0)
        print(f"idle: {idle:.1%} of a core, {memory(service.pid):.0f} MB", flush=True)
        phases = [lines.play("nothing else", seconds)]
        beside = here.root / "history"
        with beside.open("w") as file:
            for n in range(people):
                file.writelines(line + "\n" for line in person(10_000 + n, "2025-01-01T00:00:00Z"))
        began = time.time()
        beside.rename(here.events / "history.jsonl")
        phases.append(lines.play(f"a history of {people:,} people", seconds))
        wait_until(lambda: here.folded() >= people * PER_PERSON, 900)
        print(f"the history was read after {time.time() - began:.0f} s; waiting: {here.waiting()}", flush=True)
        here.write_workspace(MORE)
        time.sleep(1.0)
        phases.append(lines.play(f"one more sync for {people:,}", seconds))
        phases.append(lines.play("its backlog", seconds))
        print(f"{memory(service.pid):.0f} MB; waiting: {here.waiting()}", flush=True)
        here.stop(service)
        print(here.log.read_text()[-1500:])
    return phases


def wait_until(reached: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > end:
            raise SystemExit("it takes too long")
        time.sleep(0.5)


def cpu(pid: int, seconds: float) -> float:
    """The share of a core that a service takes."""
    before = sum(map(_ticks, _processes(pid)))
    time.sleep(seconds)
    return (sum(map(_ticks, _processes(pid))) - before) / os.sysconf("SC_CLK_TCK") / seconds


def _processes(pid: int) -> list[int]:
    """The service, and the one that folds."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def memory(pid: int) -> float:
    """MB that a service has in memory; what its two processes share counts once."""
    maps = [Path(f"/proc/{each}/smaps_rollup").read_text() for each in _processes(pid)]
    return sum(int(each.partition("\nPss:")[2].split()[0]) for each in maps) / 1024


def shown(phases: list[Phase]) -> Iterator[str]:
    yield "| beside | to | lines | p50 | p95 | most | of the cap used | most in 1 s |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for phase in phases:
        for connection, took in phase.seconds.items():
            cuts = quantiles(took, n=20) if len(took) > 1 else [float("nan")] * 19
            cap = f"{phase.used:.1%} | {phase.most}" if connection == "hook" else " | "
            yield (
                f"| {phase.name} | {connection} | {len(took)} | {cuts[9]:.2f} s | {cuts[18]:.2f} s | "
                f"{max(took, default=0):.2f} s | {cap} |"
            )
        if phase.missing:
            yield f"{phase.missing} lines were not told within {SETTLED:.0f} s"


# -- hours


def endure(minutes: float, kill_every: float, rate: float) -> int:
    with place(500) as here:
        return Endurance(here, rate).run(minutes * 60, kill_every * 60)


class Endurance:
    """Lines at a rate, and kills."""

    PEOPLE = 20_000

    def __init__(self, place: Place, rate: float) -> None:
        self._place, self._rate = place, rate
        self._chance = random.Random(1)
        self._last: dict[str, int] = {}
        self._written = self._kills = 0
        self._memory: list[tuple[float, float]] = []

    def run(self, seconds: float, kill_every: float) -> int:
        here = self._place
        path = here.events / "0.jsonl"
        path.write_text("".join(line + "\n" for n in range(self.PEOPLE) for line in person(n, "2025-01-01T00:00:00Z")))
        service = here.serve()
        began, killed = time.monotonic(), time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            self._write(int(passed * self._rate) - self._written, passed)
            if time.monotonic() - killed > kill_every and passed < seconds - 10:
                killed = time.monotonic()
                service.send_signal(signal.SIGKILL)
                service.wait()
                self._kills += 1
                service = here.serve()
            if not self._memory or passed - self._memory[-1][0] > 5.0:
                self._memory.append((passed, memory(service.pid)))
            time.sleep(0.05)
        time.sleep(SETTLED)  # it is folded
        wait_until(lambda: not any(here.waiting().values()), 600)
        here.stop(service)
        return self._judge()

    def _write(self, number: int, passed: float) -> None:
        """A new file every ten minutes."""
        with (self._place.events / f"{int(passed // 600) + 1}.jsonl").open("a") as file:
            for _ in range(number):
                self._written += 1
                who = self._chance.randrange(self.PEOPLE)
                self._last[f"user-{who:07}"] = self._written
                file.write(score(who, self._written) + "\n")

    def _judge(self) -> int:
        told: dict[str, dict[str, int]] = {"braze": {}, "hook": {}}
        often: dict[tuple[str, str, int], int] = {}
        for each in self._place.recorded():
            if each["status"] >= 300:
                continue
            for who, value in scores(each):
                told[each["connection"]][who] = value
                key = (each["connection"], who, value)
                often[key] = often.get(key, 0) + 1
        wrong = []
        for connection, known in told.items():
            if old := sum(known.get(who) != value for who, value in self._last.items()):
                wrong.append(f"{connection}: {old} people have an old value")
        twice = sum(number - 1 for number in often.values())
        used = [mb for _, mb in self._memory]
        first, last = max(used[: len(used) // 2]), max(used[len(used) // 2 :])
        if last > 1.1 * first:
            wrong.append(f"memory grew from {first:.0f} to {last:.0f} MB")
        print(f"{self._written:,} lines about {len(self._last):,} people, {self._kills} kills; {twice:,} told twice;")
        print(f"at most {first:.0f} MB in the first half, {last:.0f} in the second")
        for line in wrong:
            print(f"WRONG: {line}")
        return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=200_000)
    parser.add_argument("--cap", type=int, default=100, help="of the webhook, requests per second")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each phase")
    parser.add_argument("--minutes", type=float, help="of an endurance run instead")
    parser.add_argument("--kill-every", type=float, default=5.0, metavar="MINUTES")
    parser.add_argument("--rate", type=float, default=100.0, help="lines a second")
    arguments = parser.parse_args()
    print(facts(), flush=True)
    if arguments.minutes:
        return endure(arguments.minutes, arguments.kill_every, arguments.rate)
    for line in shown(latency(arguments.people, arguments.cap, arguments.seconds)):
        print(line)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
