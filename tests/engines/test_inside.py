"""A job that sends from the process that submits it."""

import os
import signal

from scripts.engines import PRISM
from tests.engines.world import World, people, until


def test_ctrl_c_ends_the_job_and_its_senders_in_order(world: World) -> None:
    world.write(people(range(20)))
    job = world.job(PRISM, "--senders=inside", "--gateway", world.vendor.url)
    world.settle()
    os.killpg(job.pid, signal.SIGINT)  # as a terminal does: the engine, which this process started, hears it, too
    assert 0 == job.wait(), job.text()
    said = [line.split(" ", 2)[2] for line in job.text().splitlines() if line.startswith("20")]
    assert said.index("takes over hook") < said.index("gives up hook") < said.index("ended")
    assert any(line.startswith("stopping: the job is cancelled") for line in said[: said.index("gives up hook")])

    next_one = world.sender()
    until(lambda: next_one.said("takes over hook"), next_one.text)
