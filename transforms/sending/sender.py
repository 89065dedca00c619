"""The sender: one event loop thread per process talks to all vendors at the same time.

    sender = shared_sender()
    future = sender.start(Delivery(workspace, connection, log, caps, active, number, options, follow))
    future.result()        the Report, when nothing more can go (`follow`: when it was stopped, or has to stop)
    sender.reports()       of all that were started, as they are now
    sender.stop()          softly; `reset()` before the next run of this process

A delivery closes its log when it ends. One connection is delivered by `transforms/sending/pump.py`.
"""

import asyncio
import atexit
import threading
from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import uvloop

from schemas.report import Report, Tally
from transforms.collector import collect_seldom
from transforms.logic.limit import Limiter
from transforms.sending.delivery import Active, Delivery, SenderOptions
from transforms.sending.pump import Pump

__all__ = ["Active", "Delivery", "Sender", "SenderOptions", "shared_sender"]

_LAST = 5.0  # seconds that a step of the loop may still take when the process ends
_LOOKUPS = 64  # names looked up at once: a name server that hangs for some vendors must not hold up the others


class Sender:
    """The process's one sender. `start` deliveries from any thread; `stop` ends all of them softly."""

    def __init__(self) -> None:
        collect_seldom()
        self.files = open_many_files()
        self._loop = uvloop.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(_LOOKUPS, "profilecast-lookup"))
        self._thread = threading.Thread(target=self._loop.run_forever, name="profilecast-sender", daemon=True)
        self._thread.start()
        self._pumps: list[Pump] = []
        self._before: dict[str, Tally] = {}  # by connection: of deliveries that are in `_pumps` no more
        self._starting = threading.Lock()
        self._limiters: dict[Hashable, Limiter] = {}  # by vendor account: connections that share one share its caps
        self.stopping = False

    def start(self, delivery: Delivery) -> "Future[Report]":
        """Deliver a log; the future has its report, and never an exception."""
        pump = Pump(delivery, self._limiters, most=max(_FEWEST, self.files // 4), memory=self._share)
        with self._starting:  # first: a stop at this moment either finds it there or is seen here
            self._let_go(delivery.connection.name)
            self._pumps.append(pump)
        if self.stopping:
            pump.stop()
        return asyncio.run_coroutine_threadsafe(pump.run(), self._loop)

    def forget(self, connection: str) -> None:
        """Give no more reports of the connection's deliveries that are over; their requests still count."""
        with self._starting:
            self._let_go(connection)

    def _let_go(self, name: str) -> None:
        over = [each for each in self._pumps if each.over and each.report.connection == name]
        self._before[name] = _tally(self._before.get(name), over)
        self._pumps = [each for each in self._pumps if each not in over]

    def _share(self) -> int:
        """Bytes of calls that one connection may hold."""
        return max(_LEAST, _MEMORY // max(1, sum(not pump.over for pump in self._pumps)))

    def stop(self) -> None:
        """Take no new work; what is in flight ends within `finish_within`. Safe in a signal handler."""
        self.stopping = True
        for pump in list(self._pumps):
            self._loop.call_soon_threadsafe(pump.stop)

    def end(self, connection: str) -> None:
        """Stop the deliveries of one connection only, softly."""
        for pump in list(self._pumps):
            if pump.report.connection == connection and not pump.over:
                self._loop.call_soon_threadsafe(pump.stop)

    def reports(self) -> list[Report]:
        """The reports so far, of running deliveries and of each connection's last one."""
        return [pump.look() for pump in list(self._pumps)]

    def tallies(self) -> dict[str, Tally]:
        """What the requests of each connection came to, since this process began."""
        with self._starting:
            names = {*self._before, *(each.report.connection for each in self._pumps)}
            of = {name: [each for each in self._pumps if each.report.connection == name] for name in names}
            return {name: _tally(self._before.get(name), pumps) for name, pumps in of.items()}

    def close(self) -> None:
        """End the loop, which must not outlive the interpreter."""
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(_abandon(), self._loop).result(_LAST)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LAST)
        if not self._thread.is_alive():
            self._loop.close()

    def reset(self) -> None:
        """Forget earlier deliveries and an earlier stop: a new run begins in this process."""
        self._pumps.clear()
        self._before.clear()
        self.stopping = False


def _tally(before: Tally | None, pumps: list[Pump]) -> Tally:
    found = before or Tally()
    for pump in pumps:
        found = found.plus(pump.report)
    return found


async def _abandon() -> None:
    """Cancel what is left when the process ends. Requests in flight may have arrived, as their marks say."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=1.0)


def open_many_files() -> int:
    """How many files and sockets this process may have open, as many as the system lets it."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    except (ValueError, OSError):  # where there is no limit, some systems do not take that for a number
        pass
    return soft if soft != resource.RLIM_INFINITY else _MANY


_MANY = 1_000_000
_FEWEST = 16  # conversations of a connection, however few files the system allows
_MEMORY = 1_000_000_000  # bytes of calls that all connections may hold together
_LEAST = 4_000_000  # and one of them in any case

_lock = threading.Lock()
_shared: Sender | None = None


def shared_sender() -> Sender:
    """The sender of this process, made when it is first needed."""
    global _shared
    with _lock:
        if _shared is None:
            _shared = Sender()
            atexit.register(_shared.close)
        return _shared
