"""For the kill test: a shop with three kinds of vendors, runs as processes of their own, and what the vendors heard.

The vendors are a sandbox in the test's own process, so that they outlive every run.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from math import inf
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import apache_beam.runners.portability.fn_api_runner  # noqa: F401  # imported once, for all that are forked
import msgspec
from pipeline.outbox import Outbox
from pipeline.store import StateStore

from pipeline.cli import main
from pipeline.run import destinations
from pipeline.workspace import load
from sandbox.testing import RunningSandbox, running_sandbox
from schemas.calls import Call
from tests.pipeline.running import Event, profile, score, summary_of, vip, write_events
from transforms.logic.lanes import Item
from transforms.logic.ledger import Fate

HOOK, BRAZE, FACEBOOK = "webhook", "braze", "facebook-custom-audiences"  # connections, named like their destinations
CAPS = {HOOK: 40, BRAZE: 5, FACEBOOK: 2}  # requests per second: each has work for more than a second
LATENCY = 0.1  # seconds: what was sent in this time is in flight
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
        {"type": "delete", "profile_id": "p20", "at": at},
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
        arguments += ["--events", str(self.root / f"{day}.jsonl")] if with_events else []
        process = PROCESSES.Process(target=profilecast, args=(arguments, self.root / "printed.txt"), daemon=True)
        process.start()
        return process

    # -- what the runs left
    def committed(self) -> str:
        """The run that the next one goes on from."""
        pointer = self.state / "current"
        return pointer.read_text() if pointer.exists() else ""

    def steps(self) -> int:
        """How far the runs came in deciding: each writes its shards, then its manifest, then moves the pointer."""
        snapshots = self.state / "snapshots"
        written = [*snapshots.glob("*/*.state"), *snapshots.glob("*/manifest.json")]
        return len(written) + sum(run.name <= self.committed() for run in snapshots.glob("*"))

    def unfinished(self) -> Iterator[tuple[str, Fate, Item]]:
        """Calls without an outcome, by the journals of the last committed run."""
        store = StateStore(self.state)
        if manifest := store.current():
            for name, found in store.fates(manifest).items():
                outbox = Outbox(self.state / "outbox" / name / manifest.run, manifest.connections[name].calls)
                for item in (item for chunk in outbox.read() for item in chunk):
                    fate = Fate(found.fates[item.ref >> 32][item.ref & 0xFFFFFFFF])
                    if fate in (Fate.PENDING, Fate.MAYBE):
                        yield name, fate, item

    def in_flight(self) -> Counter[str]:
        """What the vendors may have been told, by those journals."""
        maybe = (self._parts_of(name, item.call) for name, fate, item in self.unfinished() if fate == Fate.MAYBE)
        return Counter(part for parts in maybe for part in parts)

    def _parts_of(self, name: str, call: Call) -> Iterator[str]:
        destination = self._destinations[name]
        converse = destination.forget if call.kind == "delete" else destination.deliver
        if request := next(converse([call], self.memory(name)), None):  # a list that knows no audience asks nothing
            yield from parts(name, request.method, request.url, json.loads(request.body() or b""))

    def memory(self, name: str) -> dict[str, Any]:
        """What a connection keeps from earlier runs."""
        path = self.state / "memory" / f"{name}.json"
        found: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
        return found

    def pending(self) -> dict[str, int]:
        """How many calls the last run left, by connection."""
        return {name: each["pending"] for name, each in summary_of(self.state)["connections"].items()}

    # -- what the vendors heard
    def requests(self) -> Counter[str]:
        """By destination."""
        return Counter({each["destination"]: each["requests"] for each in self._vendors.stats()})

    def above_their_caps(self) -> dict[str, int]:
        """Requests in the busiest sliding second, by destination."""
        busiest = {each["destination"]: each["peaks"]["1s"] for each in self._vendors.stats()}
        return {name: number for name, number in busiest.items() if number > CAPS[name]}

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


def profilecast(arguments: list[str], printed: Path) -> None:
    """The command, in a process of its own."""
    os.environ.update(SECRETS)
    with printed.open("a") as file, redirect_stdout(file), redirect_stderr(file):
        sys.exit(main(arguments))


def knowledge(told: dict[str, Any]) -> dict[str, Any]:
    """What a vendor knows, whenever and how often it was told."""
    return {
        "people": {text(person["identifiers"]): person["values"] for person in told["people"]},
        "events": {text([event["name"], event["identifiers"], event["properties"]]) for event in told["events"]},
        "lists": sorted([each["name"], *sorted(map(text, each["members"]))] for each in told.get("lists", ())),
    }


def parts(destination: str, method: str, url: str, body: Any) -> Iterator[str]:
    """What a request tells, one by one: messages, attributes, occurrences, rows of a list, deletions."""
    if destination == HOOK:
        yield text(["message", body["messageId"]])
    elif destination == BRAZE:
        for told in body.get("attributes", ()):
            who = {key: told[key] for key in ("external_id", "email") if key in told}
            yield from (text(["attribute", who, key, told[key]]) for key in told.keys() - who.keys())
        yield from (text(["event", event]) for event in body.get("events", ()))
        yield from (text(["deletion", who]) for who in body.get("external_ids", ()))
    elif url.endswith("/users"):
        yield from (text([method, row]) for row in body["payload"]["data"])


def text(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
