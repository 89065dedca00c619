"""A service that ends, softly or not: nothing is lost, and however events came, the vendors know the same."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main
from sandbox.testing import RunningSandbox, running_sandbox
from tests.pipeline.killing import known_by, text
from tests.pipeline.running import Event, Receiver, profile, score, vip, write_events
from tests.pipeline.serving import Service, now, serving, told, until

OLD = "2025-01-01T00:00:00Z"


def test_it_ends_softly_and_a_run_has_nothing_to_do(tmp_path: Path, receiver: Receiver) -> None:
    with serving(tmp_path, receiver.url) as service:
        service.append(
            "a.jsonl", *(event for n in range(200) for event in (profile(f"p{n}", OLD), score(f"p{n}", OLD, n)))
        )
        until(lambda: receiver.messages)
        assert 0 == service.stop()
        assert service.said("ended")
        before = len(receiver.messages)
        done = service.run()
        assert (0, 200) == (done.returncode, len(receiver.messages)), done.stderr
        assert before + 200 - before == len({message["messageId"] for message in receiver.messages})
        service.start()
        service.append("a.jsonl", score("p1", now(), "again"))
        until(lambda: told(receiver, "score", "again"))
        assert 0 == service.stop()
        done = service.run()
        assert "Nothing was sent" in done.stdout
        assert 201 == len(receiver.messages)


def test_after_a_kill_nothing_is_lost_and_only_what_was_in_flight_goes_twice(
    tmp_path: Path, receiver: Receiver
) -> None:
    people = [f"p{n}" for n in range(300)]
    with serving(tmp_path, receiver.url) as service:
        service.append("a.jsonl", *(profile(who, OLD) for who in people))
        for kill in range(3):
            service.append("a.jsonl", *(score(who, now(), kill) for who in people))
            until(partial(_told_more, receiver, kill, 20 * (kill + 1)))
            service.kill()
            service.start()
        until(lambda: len(told(receiver, "score", 2)) >= len(people) and service.idle())
        assert 0 == service.stop()
    last = {message["userId"]: message["traits"]["score"] for message in receiver.messages}
    assert dict.fromkeys(people, 2) == last
    often = Counter(receiver.message_ids())
    twice = [number for number in often.values() if number > 1]
    assert len(twice) < 3 * 60  # of each kill: what was in flight
    assert 2 >= max(often.values())


def _told_more(receiver: Receiver, value: int, than: int) -> bool:
    return len(told(receiver, "score", value)) > than


# -- one log, in three ways

WORKSPACE = """\
workspace: shop
computations: [{name: Vip, kind: audience}, {name: Score, kind: trait}]
connections:
  - name: braze
    destination: braze
    settings: {endpoint: "https://rest.fra-01.braze.eu", api_key: "${BRAZE_API_KEY}"}
    syncs: [{computation: vip, as: identify}, {computation: score, as: identify}]
  - name: hook
    destination: webhook
    settings: {url: "https://hook.example/in"}
    syncs: [{computation: vip, as: identify}, {computation: score, as: identify}]
  - name: ads
    destination: facebook-custom-audiences
    settings: {ad_account_id: "1", access_token: "${ADS_TOKEN}"}
    syncs: [{computation: vip}]
"""


FORGOTTEN = "p22"


def history() -> Iterator[list[Event]]:
    """Four days: people come, change, leave, get another address, and are forgotten."""
    people = [f"p{n}" for n in range(40)]
    days = [f"2026-01-0{day}T00:00:00Z" for day in (1, 2, 3, 4)]
    yield [profile(who, days[0], f"{who}@example.com") for who in people] + [score(who, days[0], 1) for who in people]
    yield [vip(who, days[1]) for who in people[::2]] + [score(who, days[1], 2) for who in people[::3]]
    yield [vip(who, days[2], n % 4 == 0) for n, who in enumerate(people)] + [profile("p1", days[2], "new@example.com")]
    deleted = {"type": "delete", "profile_id": FORGOTTEN, "at": days[3]}
    yield [score(who, days[3], 3) for who in people[::5]] + [deleted, vip("p3", days[3])]


def known(vendors: RunningSandbox) -> dict[str, Any]:
    """What the vendors know in the end, whenever and how often they were told.

    Who was never told to be in an audience is not told to be out of it; who was never told of is not forgotten.
    """

    def determined(person: dict[str, Any]) -> dict[str, Any]:
        values = {key: value for key, value in person["values"].items() if value is not False}
        return {} if FORGOTTEN in text(person["identifiers"]) else values

    return known_by(vendors, determined)


def test_one_run_many_runs_and_a_service_end_in_the_same_vendor_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAZE_API_KEY", "braze-key")
    monkeypatch.setenv("ADS_TOKEN", "very-secret-token")
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text(WORKSPACE)
    days = [write_events(tmp_path / f"{day}.jsonl", *events) for day, events in enumerate(history())]

    def run(vendors: RunningSandbox, state: Path, when: str, *files: Path) -> None:
        new = [] if state.exists() else ["--new-state"]
        arguments = ["--workspace", str(workspace), "--state", str(state), "--gateway", vendors.url, "--now", when]
        assert main(["run", *arguments, *new, "--events", *map(str, files)]) in (0, 4)

    with running_sandbox() as vendors:
        run(vendors, tmp_path / "one", "2026-02-01T00:00:00Z", *days)
        in_one = known(vendors)
    with running_sandbox() as vendors:
        for day, file in enumerate(days):
            run(vendors, tmp_path / "many", f"2026-02-01T{6 * day:02}:00:00Z", file)
        in_many = known(vendors)
    with running_sandbox() as vendors:
        root = tmp_path / "served"
        root.mkdir()
        (root / "workspace.yaml").write_text(WORKSPACE)
        with serving(root, vendors.url) as service:
            for file in days:
                _append_in_halves(service, file.read_bytes())
                until(lambda: 0 == sum(each["waiting"] for name, each in connections(service).items() if name != "ads"))
            assert 0 == service.stop()
        run(vendors, service.state, "2027-02-01T00:00:00Z")  # the list's next flush
        in_service = known(vendors)
    assert in_one == in_many
    assert in_one == in_service
    assert {"braze", "webhook", "facebook-custom-audiences"} == in_one.keys()


def connections(service: Service) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = service.status()["connections"]
    return found


def _append_in_halves(service: Service, content: bytes) -> None:
    """And wait until it is folded."""
    before = service.status()["since_start"]["events"]
    with (service.events / "log.jsonl").open("ab", buffering=0) as file:
        file.write(content[: len(content) // 2])
        file.write(content[len(content) // 2 :])
    lines = content.count(b"\n")
    until(lambda: service.status()["since_start"]["events"] == before + lines)


# -- lists


def test_a_list_is_flushed_by_itself_and_its_first_flush_goes_on_after_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run ends the first one. Then the interval is shortened in the state: that flush was nearly an hour ago."""
    monkeypatch.setenv("BRAZE_API_KEY", "braze-key")
    monkeypatch.setenv("ADS_TOKEN", "very-secret-token")
    (tmp_path / "workspace.yaml").write_text(WORKSPACE)
    with running_sandbox() as vendors, serving(tmp_path, vendors.url) as service:
        for number, who in enumerate(("ana", "bob")):
            service.append("a.jsonl", profile(who, OLD, f"{who}@example.com"), vip(who, OLD))
            until(lambda more=number: connections(service)["ads"]["delivered"] == 2 + 2 * more)
            assert 0 == service.stop()
            service.start()
        assert 0 == service.stop()
        service.append("a.jsonl", profile("cleo", OLD, "cleo@example.com"), vip("cleo", OLD))
        assert 0 == service.run().returncode
        _flushed_before(service.state, seconds=3600 - 5 - 12)
        service.start()
        service.append("a.jsonl", profile("eve", now(), "eve@example.com"), vip("eve", now()))
        until(lambda: connections(service)["ads"]["waiting"] == 2)
        until(lambda: connections(service)["ads"]["delivered"] == 8)
        assert 0 == service.stop()


def _flushed_before(state: Path, seconds: float) -> None:
    import sqlite3
    import time

    with sqlite3.connect(state / "sent" / "ads.db") as database:
        changed = database.execute(
            "UPDATE facts SET value = ? WHERE key LIKE 'flushed:%'", (json.dumps(time.time() - seconds).encode(),)
        )
        assert 1 == changed.rowcount
    database.close()
    assert os.path.exists(state / "sent" / "ads.db")
