"""Sleepers: requests that wait for a time, less if the sender stops or the breaker changes."""

import asyncio


class Sleepers:
    """Of one connection."""

    def __init__(self) -> None:
        self._all: dict[asyncio.Future[None], bool] = {}  # whether the breaker wakes them

    async def sleep(self, seconds: float, at_breaker: bool = False) -> None:
        """So long, or until woken."""
        loop = asyncio.get_running_loop()
        sleeper = loop.create_future()
        timer = loop.call_later(seconds, _wake, sleeper)
        self._all[sleeper] = at_breaker
        try:
            await sleeper
        finally:
            timer.cancel()
            del self._all[sleeper]

    def wake(self, at_breaker: bool = False) -> None:
        """All; or those only that wait at the breaker."""
        for sleeper, waits_there in self._all.items():
            if waits_there or not at_breaker:
                _wake(sleeper)


def _wake(sleeper: "asyncio.Future[None]") -> None:
    if not sleeper.done():
        sleeper.set_result(None)
