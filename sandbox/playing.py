"""Playing deliveries: the real sender tells the sandbox over HTTP, on one loop and in virtual time."""

import asyncio
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sandbox.faults import Fault
from sandbox.server import Options, Sandbox
from sandbox.serving import listen
from sandbox.virtual_time import VirtualLoop, run
from schemas.report import Report
from transforms.logic.limit import Limiter
from transforms.sending.delivery import Delivery
from transforms.sending.pump import Pump
from transforms.sending.sender import open_many_files

_MOST = 512  # conversations of one connection: each has two sockets here


class Played(NamedTuple):
    """What came of it."""

    reports: list[Report]  # in the order of the deliveries
    seen: list[dict[str, Any]]  # by the vendors: see `sandbox.server.Account.shown`


def play(deliveries: Sequence[Delivery], began: float, options: Options, faults: Iterable[Fault] = ()) -> Played:
    """Deliver all of them side by side. `began`: when, seconds since 1970; the clocks of the options do not count."""
    loop = VirtualLoop(began)
    return run(_play(deliveries, replace(options, clock=loop.time, epoch=began), faults, loop), loop)


async def _play(deliveries: Sequence[Delivery], options: Options, faults: Iterable[Fault], loop: VirtualLoop) -> Played:
    sandbox, limiters = Sandbox(options), dict[Hashable, Limiter]()
    for fault in faults:
        sandbox.faults.put(fault)
    most = max(1, min(_MOST, open_many_files() // (4 * max(len(deliveries), 1))))
    async with listen(sandbox, port=0) as url:
        for each in deliveries:
            each.options = replace(each.options, gateway=url)
        pumps = [Pump(each, limiters, loop.time, loop.wall, most) for each in deliveries]
        reports = await asyncio.gather(*(pump.run() for pump in pumps))
    return Played(reports, sandbox.stats())
