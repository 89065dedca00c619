"""The turnstile on a clock that is only its timers'."""

import asyncio
import selectors
from collections.abc import Callable

import pytest

from benchmarks.receiver import peak
from transforms.destinations.contract import Limit
from transforms.logic.limit import Limiter
from transforms.sending.talk import Talk
from transforms.sending.turnstile import Turnstile

SECONDS = 20.0


async def saved() -> None:
    """There is nothing to save."""


class _Jumping(selectors.DefaultSelector):
    """Does not wait: adds what it would have waited to the clock."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "requests wait, and no timer would wake them"
        self.now += timeout
        return super().select(0)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop on such a clock, on which everything takes no time."""

    def __init__(self, rounded: Callable[[float], float]) -> None:
        self._jumping, self._rounded = _Jumping(), rounded
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def call_later(self, delay, callback, *arguments, context=None):  # type: ignore[no-untyped-def]
        return super().call_later(self._rounded(delay), callback, *arguments, context=context)


def in_milliseconds(delay: float) -> float:
    """As uvloop counts: it may be early by almost one."""
    return max(0.0, round(delay, 3) - 0.0009)


@pytest.mark.parametrize("rounded", [float, in_milliseconds])
@pytest.mark.parametrize("cap", [2, 30, 100, 500])
def test_while_requests_wait_the_cap_is_used(cap: int, rounded: Callable[[float], float]) -> None:
    loop = JumpingLoop(rounded)
    turnstile = Turnstile(Limiter([Limit(cap)], 0.0), loop.time, 600.0, saved, lambda: False)
    went: list[float] = []

    async def ask_again_and_again() -> None:
        while loop.time() < SECONDS:
            talk = Talk(1)
            taken = await turnstile.turn(talk)
            turnstile.leaves(talk, taken)
            went.append(taken)

    async def ask() -> None:
        await asyncio.gather(*(ask_again_and_again() for _ in range(30)))

    loop.run_until_complete(ask())
    loop.close()
    assert peak(went) <= cap
    assert (len(went) - 1) / (went[-1] - went[0]) >= 0.983 * cap
