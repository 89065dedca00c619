"""A pause on the page of a sender: it is the connection's, whoever sends for it, and goes into a directory and back."""

import re

import requests

from pipeline.paused import keep_paused, paused
from pipeline.streaming.moving_out import export_state
from tests.engines.test_moving import begin, local, log_of, silent
from tests.engines.world import Process, World, people, until


def act(sender: Process, name: str, connection: str = "hook") -> tuple[int, str]:
    """What a button of the sender's page does: status, words."""
    page = sender.page
    token = re.findall(r'name="token" content="([^"]+)"', requests.get(page, timeout=60).text)[0]
    reply = requests.post(
        f"{page}/{name}", json={"connection": connection}, headers={"x-page-token": token}, timeout=60
    )
    return reply.status_code, " ".join(map(str, reply.json().values()))


def paused_at(sender: Process) -> str:
    return str(sender.status()["connections"]["hook"]["paused"])


def test_a_pause_lasts_whoever_sends(world: World) -> None:
    world.status = 401
    assert "waiting" in local(world, *people(range(3)))
    world.status = 200
    keep_paused(world.root / "state", {"hook": "2026-01-31T12:00:00Z"})
    begin(world)  # the log has the pause of the directory
    first = world.sender()
    until(lambda: paused_at(first) == "2026-01-31T12:00:00Z", first.text)
    assert 0 == world.quiet()

    assert (200, "hook goes on.") == act(first, "resume")
    world.settle()
    assert "resumed hook" in first.text()
    assert "" == paused_at(first)
    status, words = act(first, "pause")
    assert (200, True) == (status, "its calls wait until it is resumed" in words)
    since = until(lambda: paused_at(first), first.text)

    second = world.sender()
    first.kill()
    until(lambda: paused_at(second) == since, second.text)
    second.stop()
    assert 3 == export_state(log_of(world), world.root / "back", world.vendor.url, silent, answer=1.0).profiles
    assert {"hook": since} == paused(world.root / "back")


def test_a_connection_of_another_process_is_paused_there(world: World) -> None:
    local(world, *people(range(3)))
    begin(world)
    senders = [world.sender(), world.sender()]
    until(lambda: any("takes over hook" in each.text() for each in senders))
    (idle,) = [each for each in senders if "takes over hook" not in each.text()]
    status, words = act(idle, "pause")
    assert (409, True) == (status, "this process does not send for hook" in words)
