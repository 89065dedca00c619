"""For the kill test: a shop with three kinds of vendors, runs as processes of their own, and what the vendors heard.

The vendors are a sandbox in the test's own process, so that they outlive every run.
"""

import json
import os
import sqlite3
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from math import inf
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import apache_beam.runners.portability.fn_api_runner  # noqa: F401  # imported once, for all that are forked
import msgspec

from pipeline.cli import main
from pipeline.database import connect_to_read
from pipeline.log import path_of
from pipeline.state_db import NAME, decode_call
from pipeline.vendors import destinations
from pipeline.workspace import load
from sandbox.testing import RunningSandbox, running_sandbox
from schemas.calls import Call
from schemas.registry import decode_registry
from tests.pipeline.running import Event, profile, score, summary_of, vip, write_events

HOOK, BRAZE, FACEBOOK = "webhook", "braze", "facebook-custom-audiences"  # connections, named like their destinations
CAPS = {HOOK: 40, BRAZE: 5, FACEBOOK: 2}  # requests per second: each has work for more than a second
LATENCY = 0.1  # seconds: what was sent in this time is in flight
JITTER = 0.1  # seconds by which the vendors may see a request later than it came
SECRETS = {"BRAZE_API_KEY": "braze-key", "FACEBOOK_ACCESS_TOKEN": "facebook-token"}
WORKSPACE = f"""\
workspace: shop
computations:
  - {{name: Vip, kind: audience}}
  - {{name: Score, kind: trait}}
connections:
  - name: {HOOK}
    destination: {HOOK}
    cap: {CAPS[HOOK]}/s
    settings: {{url: "https://hook.example/in"}}
    syncs:
      - {{computation: vip, as: [identify, track]}}
  - name: {BRAZE}
    destination: {BRAZE}
    cap: {CAPS[BRAZE]}/s
    settings: {{endpoint: "https://rest.fra-01.braze.eu", api_key: "${{BRAZE_API_KEY}}"}}
    syncs:
      - {{computation: vip, as: [identify, track]}}
      - {{computation: score, as: identify}}
  - name: {FACEBOOK}
    destination: {FACEBOOK}
    cap: {CAPS[FACEBOOK]}/s
    settings: {{ad_account_id: "1234567890", access_token: "${{FACEBOOK_ACCESS_TOKEN}}"}}
    syncs:
      - {{computation: vip}}
"""
FORGOTTEN = '"p20"'  # as it is in JSON
DAYS = ("2026-01-01", "2026-01-02")

# Runs are forked from a process that has imported everything and done nothing else: that saves a second each.
PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__, "pytest"])


def events(day: int) -> list[Event]:
    """On the first day everybody comes; on the second scores change, people leave and enter, one is forgotten."""
    at = f"{DAYS[day]}T00:00:00Z"
    everybody = [f"p{n}" for n in range(200)]
    vips = everybody[:30]
    if day == 0:
        return [
            *(profile(who, at, *([f"{who}@example.com"] if n % 5 else [])) for n, who in enumerate(everybody)),
            *(vip(who, at) for who in vips[::2]),
            *(score(who, at, n) for n, who in enumerate(everybody)),
        ]
    return [
        *(vip(who, at, n % 3 == 0) for n, who in enumerate(vips)),
        *(score(who, at, n + 1000) for n, who in enumerate(everybody) if n % 8),
        profile("p6", at, "second@example.com"),
        {"type": "delete", "profile_id": json.loads(FORGOTTEN), "at": at},
    ]


class Shop:
    """One state directory, and its vendors."""

    def __init__(self, root: Path, vendors: RunningSandbox, recording: Path) -> None:
        self.root, self._vendors, self._recording = root, vendors, recording
        self.state = root / "state"
        self.workspace = root / "workspace.yaml"
        self.workspace.write_text(WORKSPACE)
        self._destinations = destinations(load(str(self.workspace)))
        for day in range(len(DAYS)):
            write_events(root / f"{day}.jsonl", *events(day))

    def start(self, day: int, minute: int = 0, with_events: bool = True) -> BaseProcess:
        """`profilecast run` in this minute of a day."""
        arguments = ["run", "--workspace", str(self.workspace), "--state", str(self.state)]
        arguments += ["--gateway", self._vendors.url, "--now", f"{DAYS[day]}T00:{minute:02}:00Z"]
        arguments += [] if (self.state / NAME).exists() else ["--new-state"]
        arguments += ["--events", str(self.root / f"{day}.jsonl")] if with_events else []
        given = (arguments, self.root / "printed.txt", self.root / "home")
        process = PROCESSES.Process(target=profilecast, args=given, daemon=True)
        process.start()
        return process

    # -- what the runs left
    def decides(self, process: BaseProcess) -> bool:
        lock = self.state / "deciding"
        return lock.exists() and f"process {process.pid} " in lock.read_text()

    def newest(self) -> int:
        """The number of the newest ask that was ever committed; 0: none."""
        try:
            with closing(connect_to_read(self.state / NAME)) as db:
                (number,) = db.execute("SELECT max(value) FROM meta WHERE key = 'next_ask'").fetchone()
        except sqlite3.OperationalError:  # there is none yet
            return 0
        return int(number) - 1

    def in_flight(self) -> Counter[str]:
        """What the vendors may have been told, by what was marked ahead of sending and has no receipt."""
        found: Counter[str] = Counter()
        if (self.state / NAME).exists():
            for name, call in self._marked():
                found.update(self._parts_of(name, call))
        return found

    def _marked(self) -> Iterator[tuple[str, Call]]:
        with closing(connect_to_read(self.state / NAME)) as state:
            packed = state.execute("SELECT value FROM meta WHERE key = 'registry'").fetchone()
            for number, name in enumerate(decode_registry(packed[0]).connections if packed else []):
                for ask in self._sent(name, "SELECT ask FROM marks WHERE maybe"):
                    rows = state.execute("SELECT call FROM calls WHERE connection = ? AND ask = ?", (number, ask))
                    yield from ((name, decode_call(call)) for (call,) in rows)

    def _sent(self, name: str, statement: str) -> list[Any]:
        """The first column of what is asked of a connection's log; nothing where it has none yet."""
        path = path_of(self.state, name)
        if not path.exists():
            return []
        with closing(connect_to_read(path)) as sent:  # it changes nothing of what the killed run left
            return [first for (first,) in sent.execute(statement)]

    def _parts_of(self, name: str, call: Call) -> Iterator[str]:
        destination = self._destinations[name]
        converse = destination.forget if call.kind == "delete" else destination.deliver
        destination.memory = self.memory(name)
        if request := next(converse([call]), None):  # a list that knows no audience asks nothing
            yield from parts(name, request.method, request.url, json.loads(request.body() or b""))

    def memory(self, name: str) -> dict[str, Any]:
        """What a connection's destination keeps from earlier runs."""
        kept = self._sent(name, "SELECT value FROM facts WHERE key = 'memory'")
        found: dict[str, Any] = json.loads(kept[0]) if kept else {}
        return found

    def waiting(self) -> dict[str, int]:
        """How many calls the last run left that could go, by connection."""
        connections = summary_of(self.state)["connections"]
        return {name: each["waiting"] - each["scheduled"] for name, each in connections.items()}

    # -- what the vendors heard
    def requests(self) -> Counter[str]:
        """By destination."""
        return Counter({each["destination"]: each["requests"] for each in self._vendors.stats()})

    def above_their_caps(self) -> dict[str, int]:
        """Requests in the busiest sliding second, by destination, where they are more than its cap.

        Each may have come before the vendors saw it: by `JITTER`, and by as long as the machine let them wait.
        """
        found = {}
        for name, cap in CAPS.items():
            at = sorted(each["at"] for each in self._recorded() if each["destination"] == name)
            ends = (first - self._vendors.late(first) + 1 - JITTER for first in at)
            most = max((bisect_left(at, end) - n for n, end in enumerate(ends)), default=0)
            if most > cap:
                found[name] = most
        return found

    def preparations(self) -> list[bool]:
        """Of every request to the list's vendor: whether it looked for an audience, or created one."""
        return ["/customaudiences" in each["url"] for each in self._recorded() if each["destination"] == FACEBOOK]

    def told(self, before: float = inf) -> Counter[str]:
        """Everything that the vendors were told before a moment (seconds since 1970), as often as they were."""
        recorded = [each for each in self._recorded() if each["at"] < before]
        return Counter(
            part for each in recorded for part in parts(each["destination"], each["method"], each["url"], each["body"])
        )

    def known(self) -> dict[str, Any]:
        """What the vendors know in the end, by destination."""
        return {each["destination"]: knowledge(each) for each in self._vendors.told()}

    def _recorded(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._recording.read_text().splitlines()]


@contextmanager
def open_shop(root: Path) -> Iterator[Shop]:
    """A shop that never ran; its vendors last as long as the block."""
    recording = root / "recording.jsonl"
    with running_sandbox(record=recording, capped=False) as vendors:
        vendors.fault(latency=LATENCY)
        yield Shop(root, vendors, recording)


def profilecast(arguments: list[str], printed: Path, home: Path) -> None:
    """The command, in a process of its own."""
    os.environ.update(SECRETS, XDG_STATE_HOME=str(home))
    with printed.open("a") as file, redirect_stdout(file), redirect_stderr(file):
        sys.exit(main(arguments))


def knowledge(told: dict[str, Any]) -> dict[str, Any]:
    """What a vendor knows, whenever and how often it was told."""
    return {
        "people": {text(person["identifiers"]): person["values"] for person in told["people"]},
        "events": {text([event["name"], event["identifiers"], event["properties"]]) for event in told["events"]},
        "lists": sorted([each["name"], *sorted(map(text, rows_of(each)))] for each in told.get("lists", ())),
    }


def known_by(vendors: RunningSandbox, determined: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """People and lists of each vendor; of each person those values that are `determined`, whatever way was gone."""
    return {
        each["destination"]: (
            {text(person["identifiers"]): values for person in each["people"] if (values := determined(person))},
            sorted([entry["name"], *sorted(map(text, rows_of(entry)))] for entry in each.get("lists", ())),
        )
        for each in vendors.told()
    }


def rows_of(audience: dict[str, Any]) -> list[dict[str, str]]:
    """Those too that match nobody: these people have only a user id."""
    return [*audience["members"], *audience["unmatched"]]


def parts(destination: str, method: str, url: str, body: Any) -> Iterator[str]:
    """What a request tells, one by one: messages, attributes, occurrences, rows of a list, deletions."""
    if destination == HOOK:
        yield text(["message", {name: value for name, value in body.items() if name != "messageId"}])
    elif destination == BRAZE:
        for told in body.get("attributes", ()):
            who = {key: told[key] for key in ("external_id", "email") if key in told}
            yield from (text(["attribute", who, key, told[key]]) for key in told.keys() - who.keys())
        yield from (text(["event", event]) for event in body.get("events", ()))
        yield from (text(["deletion", who]) for who in body.get("external_ids", ()))
    elif url.endswith(("/users", "/usersofanyaudience")):
        columns = body["payload"]["schema"]  # those that any of its rows has
        for row in body["payload"]["data"]:
            yield text([method, {column: key for column, key in zip(columns, row, strict=True) if key}])


def text(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
