"""A service reads tables: what changes in one is told, a wrong one is trouble in words, and the rest goes on."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.pipeline import running
from tests.pipeline.running import Receiver, profile, score
from tests.pipeline.serving import Service, now, serving, told, until
from tests.pipeline.tables import MAPPING, Line, customer, write_table

ANA, BEN, EVE = customer("ana"), customer("ben", score=2), customer("eve", score=3, emails=[])
SOME_TIME_AGO = 60.0  # seconds: a file that is written to now is waited for
ENDLESS = "SELECT i AS id, i AS score, 'gold' AS plan, true AS vip, NULL AS emails FROM range(1000000000000) t(i)"


def write(path: Path, *rows: Line) -> None:
    """At once, as of some time ago."""
    beside = write_table(path.with_name(f"new-{path.name}"), rows)
    then = time.time() - SOME_TIME_AGO
    os.utime(beside, (then, then))
    beside.rename(path)


def edit(workspace: Path, text: str) -> None:
    """In one step: the service looks at the file all the time."""
    beside = workspace.with_suffix(".new")
    beside.write_text(text)
    beside.rename(workspace)


def add_source(workspace: Path, place: str, name: str = "customers", more: str = "") -> None:
    text = workspace.read_text()
    head = "" if "sources:" in text else "sources:\n"
    edit(workspace, f"{text}{head}  - name: {name}\n    {place}\n{MAPPING}{more}")


def source_of(service: Service, name: str = "customers") -> dict[str, Any]:
    found: dict[str, Any] = service.status()["sources"][name]
    return found


def snapshots(service: Service) -> list[str]:
    folder = service.state / "sources"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return running.workspace(tmp_path / "workspace.yaml", "hook")


@pytest.fixture
def table(tmp_path: Path, workspace: Path) -> Path:
    """A table of Ana and Ben that the workspace reads every second."""
    path = tmp_path / "customers.parquet"
    write(path, ANA, BEN)
    add_source(workspace, f"file: {path}", more="    every: 1s\n")
    return path


@pytest.fixture
def service(tmp_path: Path, receiver: Receiver, table: Path) -> Iterator[Service]:
    with serving(tmp_path, receiver.url) as service:
        until(lambda: told(receiver, "score", 2) and source_of(service)["read_at"])
        yield service


def test_a_table_is_read_at_the_start_and_when_its_file_changed(
    service: Service, receiver: Receiver, table: Path
) -> None:
    assert 2 == source_of(service)["changed_rows"]
    read_at = source_of(service)["read_at"]
    until(lambda: read_at < source_of(service)["read_at"])
    assert ["customers/000001.parquet"] == snapshots(service)  # it was looked at, and not read
    write(table, {**ANA, "score": 7}, BEN)
    until(lambda: told(receiver, "score", 7))
    words = until(lambda: service.said("read", source="customers")[1:] and service.said("read"))
    assert [
        "source customers: 2 rows are new, changed or gone",
        "source customers: 1 row is new, changed or gone",
    ] == [line["words"] for line in words]
    assert 0 == service.stop()
    assert 0 == service.run().returncode
    assert 2 == len(told(receiver, "score", 2))  # once by user id, once by address


def test_a_wrong_table_is_trouble_in_words_and_the_rest_goes_on(
    service: Service, receiver: Receiver, table: Path
) -> None:
    write(table, {"id": "ana", "vip": True, "score": 1, "plan": "gold"})
    (line,) = until(lambda: service.said("not read", source="customers"))
    assert line["words"].startswith("source customers: there is no column emails")
    assert line["words"] == source_of(service)["trouble"]
    page = requests.get(f"{service.page}/metrics", timeout=60).text
    assert 'profilecast_source_trouble{source="customers"} 1.0' in page
    assert requests.get(f"{service.page}/healthz", timeout=60).ok
    service.append("a.jsonl", profile("zoe", now()), score("zoe", now(), 9))
    until(lambda: told(receiver, "score", 9))
    write(table, {**ANA, "score": 8}, BEN)
    until(lambda: told(receiver, "score", 8))
    until(lambda: service.said("goes on", source="customers"))
    assert "" == source_of(service)["trouble"]
    assert 1 == len(service.said("not read"))  # though it was tried again and again


def test_a_table_that_lost_rows_is_told_after_a_start_with_consent(
    service: Service, receiver: Receiver, table: Path
) -> None:
    write(table, BEN)
    (line,) = until(lambda: service.said("not read"))
    assert "1 of 2 rows are gone, 50.0% of them; max_lost is 20%" in line["words"]
    assert line["words"].endswith("If that is meant, start the service again with --accept-changes.")
    assert 0 == service.stop()
    assert not told(receiver, "vip", False)
    service.with_options("--accept-changes")
    until(lambda: told(receiver, "vip", False))
    until(lambda: 1 == source_of(service)["changed_rows"])
    write(table, EVE)  # the consent was for what was there at the start
    until(lambda: service.said("not read"))


def test_sources_come_change_and_go_without_a_restart(
    service: Service, receiver: Receiver, table: Path, tmp_path: Path
) -> None:
    path, before = tmp_path / "more.parquet", service.workspace.read_text()
    write(path, customer("max", score=30))
    add_source(service.workspace, f"file: {path}", "more", "    every: 1d\n")
    until(lambda: told(receiver, "score", 30))
    until(lambda: source_of(service, "more")["read_at"])
    write(path, customer("max", score=31))
    edit(service.workspace, service.workspace.read_text().replace("every: 1d", "every: 2d"))
    until(lambda: told(receiver, "score", 31))  # another source is due at once
    edit(service.workspace, before)
    until(lambda: ["customers"] == list(service.status()["sources"]))


def test_an_endless_query_holds_nothing_up_and_an_end_ends_it(
    tmp_path: Path, receiver: Receiver, workspace: Path
) -> None:
    warehouse = write_table(tmp_path / "warehouse.duckdb", [ANA])
    add_source(workspace, f"duckdb: {warehouse}", more=f'    query: "{ENDLESS}"\n')
    with serving(tmp_path, receiver.url) as service:
        until(lambda: any(name.endswith(".raw.parquet") for name in snapshots(service)))
        service.append("a.jsonl", profile("zoe", now()), score("zoe", now(), 9))
        until(lambda: told(receiver, "score", 9))
        assert source_of(service)["reading"]
        assert 0 == service.stop()
        assert [] == snapshots(service)
        edit(workspace, workspace.read_text().replace(ENDLESS, "SELECT * FROM customers"))
        service.start()
        until(lambda: told(receiver, "score", 1))
