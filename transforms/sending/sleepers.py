"""Sleepers: requests that wait for a time, less if the sender stops or the breaker changes."""

import asyncio


class Sleepers:
    """The conversations of one connection that wait for time to pass."""

    def __init__(self) -> None:
        self._all: dict[asyncio.Future[None], bool] = {}  # whether the breaker wakes them

    async def sleep(self, seconds: float, at_breaker: bool = False) -> None:
        """Sleep for so many seconds, or until woken."""
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
        """Wake all, or only those that wait at the breaker."""
        for sleeper, waits_there in self._all.items():
            if waits_there or not at_breaker:
                _wake(sleeper)


def _wake(sleeper: "asyncio.Future[None]") -> None:
    if not sleeper.done():
        sleeper.set_result(None)
