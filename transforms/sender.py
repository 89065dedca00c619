"""The sender: one event loop thread per process talks to all vendors at the same time.

What is decided (pace, order, batches, repeats, what a reply means) is in `transforms/logic/` and in
the destinations. One connection's delivery is in `transforms/channel.py`, its batches in `batches.py`, its requests in
`transforms/exchange.py`, its sockets in `transforms/wire.py`.
"""

import asyncio
import gc
import threading
from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

import uvloop

from schemas.report import Report
from transforms.assignment import Delivery, Journal, Outbox, SenderOptions
from transforms.channel import Channel
from transforms.logic.limit import Limiter
from transforms.talk import Stopped

__all__ = ["Delivery", "Journal", "Outbox", "Sender", "SenderOptions", "Stopped", "shared_sender"]

_LOOKUPS = 64  # names looked up at once: a name server that hangs for some vendors must not hold up the others
_GARBAGE = 10_000  # objects made before the collector looks at them; requests leave no cycles behind


class Sender:
    """The process's one sender. `start` deliveries from any thread; `stop` ends all of them softly."""

    def __init__(self) -> None:
        _collect_seldom()
        self._loop = uvloop.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(_LOOKUPS, "profilecast-lookup"))
        self._thread = threading.Thread(target=self._loop.run_forever, name="profilecast-sender", daemon=True)
        self._thread.start()
        self._channels: list[Channel] = []
        self._limiters: dict[Hashable, Limiter] = {}  # by credential: connections that share one share its caps
        self.stopping = False

    def start(self, delivery: Delivery) -> "Future[Report]":
        """Deliver an outbox; the future has its report."""
        channel = Channel(delivery, self._limiters)
        self._channels.append(channel)  # first: a stop at this moment either finds it there or is seen here
        if self.stopping:
            channel.stop()
        return asyncio.run_coroutine_threadsafe(channel.run(), self._loop)

    def stop(self) -> None:
        """Take no new work; what is in flight ends within `finish_within`. Safe in a signal handler."""
        self.stopping = True
        for channel in self._channels:
            self._loop.call_soon_threadsafe(channel.stop)

    def reports(self) -> list[Report]:
        """The reports so far, of running deliveries too."""
        return [channel.look() for channel in self._channels]

    def reset(self) -> None:
        """Forget earlier deliveries and an earlier stop: a new run begins in this process."""
        self._channels.clear()
        self.stopping = False


@cache
def _collect_seldom() -> None:
    """A full collection would stop all requests for as long as it looks at what Beam has loaded: 70 ms."""
    gc.freeze()
    gc.set_threshold(_GARBAGE, *gc.get_threshold()[1:])


_lock = threading.Lock()
_shared: Sender | None = None


def shared_sender() -> Sender:
    """The sender of this process, made when it is first needed."""
    global _shared
    with _lock:
        if _shared is None:
            _shared = Sender()
        return _shared
