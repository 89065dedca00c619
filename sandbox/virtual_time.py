"""Virtual time with real sockets: the clock stands while anything happens, and jumps where everybody waits for it.

What is on the loop itself, a server too, takes no time to speak of. What is beside it (threads, other servers on this
machine) has a moment of real time to show itself, ahead of each jump.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

_MOMENT = 0.1  # seconds that a server beside the loop has to answer in
_REST = 0.001  # seconds for everything else beside the loop
_STEP = 1e-6  # seconds that a step of the loop takes: of two things, one is earlier

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _Jumping(selectors.DefaultSelector):
    """Waits a moment in place of longer, and puts the clock on where nothing came."""

    def __init__(self, moment: float, rest: float) -> None:
        super().__init__()
        self._moment, self._rest = moment, rest
        self.now = 0.0
        self.working = 0  # what executors do for the loop
        self.asking: Callable[[], bool] = lambda: False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += _STEP
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if self.working:  # it ends by itself, and wakes the loop
            return super().select()
        ready = super().select(self._moment if self.asking() else self._rest)
        if not ready:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on such a clock. `time` begins at zero, and `wall` at `began`."""

    def __init__(self, began: float = 0.0, moment: float = _MOMENT, rest: float = _REST) -> None:
        """`began` in seconds since 1970. `moment`, `rest`: real seconds ahead of a jump, with a request out or not."""
        self._jumping, self._began = _Jumping(moment, rest), began
        super().__init__(self._jumping)

    def set_asking(self, asking: Callable[[], bool]) -> None:
        """`asking` says whether a server beside the loop has a request that it did not answer yet."""
        self._jumping.asking = asking

    def time(self) -> float:
        return self._jumping.now

    def wall(self) -> float:
        """Seconds since 1970, by this clock."""
        return self._began + self.time()

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> "asyncio.Future[T]":
        done: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        self._jumping.working += 1
        done.add_done_callback(self._worked)
        return done

    def _worked(self, done: "asyncio.Future[Any]") -> None:
        self._jumping.working -= 1


def run(work: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    """To its end."""
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
