"""What a process that dies leaves half done: another one knows of it by the log, and goes on with it."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeline.streaming.log import read_kept
from sandbox.testing import RunningSandbox, running_sandbox
from scripts.engines import PRISM
from tests.engines.test_moving import log_of
from tests.engines.world import Process, World, now, people, until
from tests.pipeline.killing import rows_of, text
from tests.pipeline.running import WORKSPACE, profile, score, vip, workspace

IMPORTS = """\
  - name: imports
    destination: sendgrid
    settings: {api_key: "${SENDGRID_API_KEY}"}
    syncs: [{computation: score}]
"""
ADS = """\
  - name: ads
    destination: facebook-custom-audiences
    settings: {ad_account_id: "1", access_token: "${ADS_TOKEN}"}
    syncs: [{computation: vip}]
"""
PEOPLE = 30
SETTLING = 10.0  # seconds in which a connection may go over to the sender that came last


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDGRID_API_KEY", "sendgrid-key")
    monkeypatch.setenv("ADS_TOKEN", "very-secret-token")


def address(number: int) -> str:
    return f"u{number}@example.com"


def test_an_import_that_a_vendor_works_on_is_asked_about_and_not_made_again(world: World, tmp_path: Path) -> None:
    world.workspace.write_text(WORKSPACE + IMPORTS)
    recording = tmp_path / "recording.jsonl"
    with running_sandbox(record=recording) as vendors:
        world.job(PRISM)
        owner, other = two_senders(world, vendors, "imports")
        world.write(
            event
            for number in range(PEOPLE)
            for event in (profile(f"u{number}", now(), address(number)), score(f"u{number}", now(), number))
        )
        job = until(lambda: job_under_way(world))
        owner.kill()
        assert not asked_about(recording, job)  # that is after ten seconds
        until(lambda: other.owns("imports"), other.text)
        until(lambda: len(imported(recording)) == PEOPLE and waiting(other, "imports") == 0, other.text)
        assert {1} == {*imported(recording).values()}
        assert asked_about(recording, job)


def test_a_lists_first_flush_goes_on(world: World) -> None:
    """It takes what comes within a minute after the last one: else the rest would wait for an hour."""
    world.workspace.write_text(WORKSPACE + ADS)
    with running_sandbox() as vendors:
        world.job(PRISM)
        owner, other = two_senders(world, vendors, "ads")
        world.write(event for number in range(PEOPLE) for event in member(number))
        until(lambda: rows(vendors) == PEOPLE)
        until(lambda: waiting(owner, "ads") == 0)  # all of it is written down
        owner.kill()
        world.write(event for number in range(PEOPLE, 2 * PEOPLE) for event in member(number))
        until(lambda: other.owns("ads"), other.text)
        until(lambda: rows(vendors) == 2 * PEOPLE, other.text)


def test_a_publication_whose_process_died_is_ended_by_a_sender(world: World) -> None:
    """Everybody who has no news would never have been told to the new connection."""
    world.write(people(range(PEOPLE)))
    world.job(PRISM)
    senders = [world.sender(), world.sender()]
    world.settle()
    workspace(world.workspace, "hook", "second")
    published = world.publish()
    until(lambda: published.said("published"), published.text)
    published.kill()
    until(lambda: world.told(host="second.example") == world.wanted(), world.difference)
    assert world.quiet()
    assert 0 == world.twice()
    assert 1 == sum(sender.text().count("looked at anew") for sender in senders)


def two_senders(world: World, vendors: RunningSandbox, connection: str) -> tuple[Process, Process]:
    """The one that has the connection, and the other one."""
    first = world.sender("--gateway", vendors.url)
    until(lambda: first.owns(connection), first.text)
    second = world.sender("--gateway", vendors.url)
    until(lambda: second.said("elsewhere") or second.owns(connection), second.text)
    time.sleep(SETTLING)
    owner = until(lambda: next((each for each in (first, second) if each.owns(connection)), None))
    return owner, second if owner is first else first


def member(number: int) -> tuple[Any, Any]:
    who = f"u{number}"
    return profile(who, now(), address(number)), vip(who, now())


def rows(vendors: RunningSandbox) -> int:
    """In the list, by their addresses."""
    entries = [entry for each in vendors.told() for entry in each.get("lists", ())]
    return len({text(row) for entry in entries for row in rows_of(entry)}) // 2  # and by their user ids


def recorded(recording: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in recording.read_text().splitlines()]


def imported(recording: Path) -> Counter[str]:
    """How often the vendor was given each address."""
    requests = [each for each in recorded(recording) if each["method"] == "PUT"]
    contacts = [contact for each in requests for contact in each["body"]["contacts"]]
    return Counter(contact["email"] for contact in contacts if "email" in contact)


def asked_about(recording: Path, job: str) -> bool:
    return any(each["url"].endswith(f"/contacts/imports/{job}") for each in recorded(recording))


def job_under_way(world: World) -> str:
    """One that the log knows of; "": none is."""
    marks = read_kept(log_of(world), "imports").marks.values()
    return next((mark.job for mark in marks if mark.job), "")


def waiting(sender: Process, connection: str) -> int:
    found: int = sender.status()["connections"][connection]["waiting"]
    return found
