"""The turnstile: a request takes its token when the limiter lets it, in order of arrival."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from transforms.logic.limit import Limiter
from transforms.sending.talk import Talk

_EARLY = 0.001  # seconds by which a timer of the loop may be, about: it counts in milliseconds
_TOGETHER = 0.005  # seconds: fast connections wake for a few requests at once; the limiter lets them catch up


class Waiting(NamedTuple):
    turn: "asyncio.Future[float]"
    talk: Talk


class Turnstile:
    """Lets requests through as the limiter says: in order of arrival, each endpoint class for itself."""

    def __init__(
        self,
        limiter: Limiter,
        clock: Callable[[], float],
        longest: float,
        save: Callable[[], Awaitable[None]],
        saving: Callable[[], bool],
    ) -> None:
        """`longest`: seconds that one may wait. `save` keeps the limiter; `saving`: it is on its way to the disk."""
        self._limiter, self._clock, self._longest, self._save, self._saving = limiter, clock, longest, save, saving
        self._queues: dict[str, deque[Waiting]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.next_at = float("-inf")  # when the next of those that wait may go

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return sum(not waiting.turn.done() for queue in self._queues.values() for waiting in queue)

    async def turn(self, talk: Talk) -> float:
        """Wait until the request may go; when that was. Raises what `clear` was given, and TooLong."""
        queue = self._queues.get(talk.endpoint)
        if not queue:
            now = self._clock()
            delay = self._limiter.delay(now, talk.endpoint, talk.items)
            if delay <= 0:
                self._let(talk, now)
                talk.turned()
                await self._keep()
                return now
            queue = self._queues.setdefault(talk.endpoint, deque())
        turn: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        queue.append(Waiting(turn, talk))
        if len(queue) == 1:  # behind others, it goes when they have gone
            self.move()
        taken = await turn
        await self._keep()
        return taken

    async def _keep(self) -> None:
        """Keep a long window: it is on the disk before the requests that it counts leave."""
        if self._limiter.unsaved or self._saving():
            await self._save()

    def leaves(self, talk: Talk, taken: float) -> None:
        """The first byte of a request is about to be written."""
        self._limiter.leaves(taken, self._clock(), talk.endpoint)

    def gone(self, talk: Talk) -> None:
        """The last byte of it has been written."""
        talk.patience.hears(self._clock())

    def clear(self, why: Callable[[], Exception], all_of_them: bool = True) -> None:
        """Send those who wait away, or only those of whose conversation nothing was answered yet."""
        for queue in self._queues.values():
            for waiting in queue:
                if not waiting.turn.done() and (all_of_them or not waiting.talk.partly):
                    waiting.turn.set_exception(why())
        self.move()

    def move(self) -> None:
        """Let through who may go, and look again when the next one may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = self._waiting()
        soonest = min((self._pass(endpoint, queue) for endpoint, queue in self._queues.items()), default=float("inf"))
        if soonest != float("inf"):
            too_early = self._waiting() == waiting
            delay = max(soonest, _EARLY if too_early else _TOGETHER)
            self._timer = asyncio.get_running_loop().call_later(delay, self.move)
        self.next_at = self._clock() + soonest if self._timer else float("-inf")

    def _waiting(self) -> int:
        return sum(map(len, self._queues.values()))

    def _pass(self, endpoint: str, queue: deque[Waiting]) -> float:
        """Seconds until the head of the queue may go; infinite where nobody waits."""
        while queue:
            turn, talk = queue[0]
            if not turn.done():
                now = self._clock()
                delay = self._limiter.delay(now, endpoint, talk.items)
                if 0 < delay <= self._longest:
                    return delay
                if delay <= 0:
                    self._let(talk, now)
                    turn.set_result(now)
                else:
                    turn.set_exception(TooLong(delay))
            queue.popleft()
            talk.turned()
        return float("inf")

    def _let(self, talk: Talk, now: float) -> None:
        self._limiter.take(now, talk.endpoint, talk.items)
        talk.goes(now)


class TooLong(Exception):
    """The cap, or the vendor, makes a request wait longer than the run lasts."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds
