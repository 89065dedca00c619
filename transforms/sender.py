"""The sender: one event loop thread per process talks to all vendors at the same time.

What is decided (pace, order, batches, repeats, what a reply means) is in `transforms/logic/` and in
the destinations. One connection's delivery is in `transforms/channel.py`, its batches in `batches.py`, its requests in
`exchange.py`, its sockets in `wire.py`, what is said of them in `words.py`.
"""

import asyncio
import atexit
import threading
from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor

import uvloop

from schemas.report import Report
from transforms.assignment import Delivery, Journal, Outbox, SenderOptions
from transforms.channel import Channel
from transforms.collector import collect_seldom
from transforms.logic.limit import Limiter
from transforms.talk import Stopped

__all__ = ["Delivery", "Journal", "Outbox", "Sender", "SenderOptions", "Stopped", "shared_sender"]

_LAST = 5.0  # seconds that a step of the loop may still take when the process ends
_LOOKUPS = 64  # names looked up at once: a name server that hangs for some vendors must not hold up the others


class Sender:
    """The process's one sender. `start` deliveries from any thread; `stop` ends all of them softly."""

    def __init__(self) -> None:
        collect_seldom()
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

    def close(self) -> None:
        """Its loop must have ended before the interpreter does."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LAST)
        if not self._thread.is_alive():
            self._loop.close()

    def reset(self) -> None:
        """Forget earlier deliveries and an earlier stop: a new run begins in this process."""
        self._channels.clear()
        self.stopping = False


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
