"""Virtual time beside real sockets: where nothing happens for a moment, the clock jumps to the next timer."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_MOMENT = 0.1  # seconds that a server on this machine has to answer in
_REST = 0.01  # seconds for everything else on this machine: threads that read and write

T = TypeVar("T")


class _Skipping(selectors.DefaultSelector):
    """Waits a moment instead of longer, and adds what is left to the clock."""

    skipped = 0.0

    def __init__(self, moment: float) -> None:
        super().__init__()
        self._moment = moment
        self.asking: Callable[[], bool] = lambda: True

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        moment = self._moment if self.asking() else _REST
        if timeout is None or timeout <= moment:
            return super().select(timeout)
        ready = super().select(moment)
        if not ready:
            self.skipped += timeout - moment
        return ready


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop on such a clock."""

    def __init__(self, moment: float = _MOMENT) -> None:
        self._skipping = _Skipping(moment)
        super().__init__(self._skipping)

    def set_asking(self, asking: Callable[[], bool]) -> None:
        """`asking` says whether a request has no answer yet; otherwise the clock need not wait for a server."""
        self._skipping.asking = asking

    def time(self) -> float:
        return super().time() + self._skipping.skipped


def run(work: Coroutine[Any, Any, T], loop: SkippingLoop) -> T:
    """To its end."""
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
