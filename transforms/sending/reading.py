"""Reading: a connection's log, on a thread of its own, for reads block."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from schemas.receipts import Receipt
from transforms.sending.log import Log, Waiting
from transforms.sending.talk import Stopped
from transforms.sending.words import unusable

_DEEPEST = 100  # calls that replace each other, looked up one behind the other

T = TypeVar("T")

Known = Receipt | Waiting | None  # of another call, by the log: settled, waiting, or forgotten


class Rows(NamedTuple):
    """A piece of the log."""

    calls: list[Waiting]
    upto: int  # everything with a smaller or this ask was read
    more: bool
    newest: int
    workspace: int
    known: dict[int, Known]  # by ask: the calls that these replace, or whose entry they close


class Reading:
    """Reads one log, on a thread of its own. One read at a time."""

    def __init__(self, log: Log, name: str) -> None:
        self._log = log
        self._thread = ThreadPoolExecutor(1, f"profilecast-log-{name}")

    async def rows(self, backfill: bool, after: int, most: int) -> Rows:
        return await self.do(lambda: self._rows(backfill, after, most))

    async def news(self) -> tuple[int, int]:
        """The newest ask, and the number of the newest workspace."""
        return await self.do(lambda: (self._log.newest(), self._log.workspace()))

    async def do(self, work: Callable[[], T]) -> T:
        """Do something that blocks on the log's thread; its result. Raises Stopped where the log cannot be used."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except Exception as error:
            raise Stopped(unusable(error)) from error

    def close(self) -> None:
        self._thread.shutdown(wait=False)

    def _rows(self, backfill: bool, after: int, most: int) -> Rows:
        newest = self._log.newest()
        calls = self._log.read(backfill, after, most)
        workspace = self._log.workspace()  # last: whoever wrote these calls has said which one it decided with
        more = len(calls) >= most
        last = calls[-1].call.ask if calls else after
        return Rows(calls, last if more else max(newest, last), more, newest, workspace, self._known(calls))

    def _known(self, calls: list[Waiting]) -> dict[int, Known]:
        here = {each.call.ask: each for each in calls}
        found: dict[int, Known] = {}
        for each in calls:
            if each.call.opens:
                self._look_up(each.call.opens, here, found)
            ask = each.call.replaces
            for _ in range(_DEEPEST):
                if not ask or ask in found:
                    break
                known = self._look_up(ask, here, found)
                ask = known.call.replaces if isinstance(known, Waiting) else 0
        return found

    def _look_up(self, ask: int, here: dict[int, Waiting], found: dict[int, Known]) -> Known:
        if ask in found:
            return found[ask]
        known: Known = here.get(ask) or self._log.receipt(ask)
        for backfill in (False, True):
            if known is None and (next_ones := self._log.read(backfill, ask - 1, 1)) and next_ones[0].call.ask == ask:
                known = next_ones[0]
        found[ask] = known
        return known
