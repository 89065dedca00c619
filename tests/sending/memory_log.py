"""A log in memory that keeps the protocol, and holds the sender to it."""

import threading
import time
from bisect import bisect_right, insort
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from typing import Any

from schemas.calls import Call
from schemas.dead_letters import DeadLetter
from schemas.receipts import Receipt
from transforms.sending.log import Attempt, Mark, Waiting, Writing


class MemoryLog:
    """Calls are appended by a test, everything else is written by a sender. Asks grow from 1."""

    def __init__(self, calls: Iterable[Call | Waiting] = (), facts: dict[str, Any] | None = None) -> None:
        self.calls: dict[int, Call] = {}
        self.replacements: dict[int, Call] = {}
        self.marks: dict[int, Mark] = {}
        self.receipts: dict[int, Receipt] = {}
        self.letters: dict[int, DeadLetter] = {}
        self.failed: dict[int, list[Attempt]] = {}
        self.kept: dict[str, Any] = facts or {}
        self.marked: list[int] = []  # ahead of sending, in order
        self.unmarked: list[int] = []
        self.histories: list[dict[str, Any]] = []  # of facts
        self.number = 0  # of the workspace
        self.read_so_far = 0
        self.writings = 0
        self.slow = 0.0  # seconds to make something durable
        self.broken: OSError | None = None
        self.closed = False
        self._asks: dict[bool, list[int]] = {False: [], True: []}  # without a receipt, by class
        self._lock = threading.RLock()
        self._writer = ThreadPoolExecutor(1, "memory-log")
        self._killed = False
        self.append(*calls)

    def append(self, *calls: Call | Waiting) -> None:
        """The decider's part."""
        with self._lock:
            for each in calls:
                call, mark = (each.call, each.mark) if isinstance(each, Waiting) else (each, Mark())
                assert call.ask not in self.calls, "an ask is given once"
                self.calls[call.ask] = call
                if call.replaces in self.calls:
                    self.replacements[call.replaces] = call
                if mark != Mark():
                    self.marks[call.ask] = mark
                insort(self._asks[call.backfill], call.ask)

    def kill(self) -> "MemoryLog":
        """The process is gone: what was durable, as the next one finds it."""
        with self._lock:
            self._killed = True
            after = MemoryLog()
            after.calls, after.marks = dict(self.calls), dict(self.marks)
            after.receipts, after.letters = dict(self.receipts), dict(self.letters)
            after.replacements = dict(self.replacements)
            after.kept, after.number = deepcopy(self.kept), self.number
            after._asks = {backfill: list(asks) for backfill, asks in self._asks.items()}
        return after

    # -- the protocol

    def read(self, backfill: bool, after: int, most: int) -> list[Waiting]:
        with self._lock:
            asks = self._asks[backfill]
            first = bisect_right(asks, after)
            found = [
                Waiting(self.calls[ask], self.marks.get(ask, Mark()), *self._replaced(ask))
                for ask in asks[first : first + most]
            ]
            self.read_so_far += len(found)
            return found

    def _replaced(self, ask: int) -> tuple[bool, bool]:
        """See `Waiting`: `replaced` and `late`."""
        newer = self.replacements.get(ask)
        if newer is None:
            return False, False
        return not newer.not_before and newer.backfill <= self.calls[ask].backfill, newer.ask in self.receipts

    def newest(self) -> int:
        with self._lock:
            return max(self.calls, default=0)

    def stamp(self) -> object:
        return None

    def waiting(self) -> int:
        with self._lock:
            return sum(self.calls[ask].kind != "cancel" for asks in self._asks.values() for ask in asks)

    def receipt(self, ask: int) -> Receipt | None:
        return self.receipts.get(ask)

    def doubtful(self) -> bool:
        return any(mark.maybe for mark in self.marks.values())

    def write(self, writing: Writing) -> "Future[None]":
        assert not self.closed, "something is written after the end"
        return self._writer.submit(self._apply, writing)

    def facts(self) -> dict[str, Any]:
        with self._lock:
            return deepcopy(self.kept)

    def workspace(self) -> int:
        return self.number

    def close(self) -> None:
        self._writer.shutdown()
        self.closed = True

    # -- the writer

    def _apply(self, writing: Writing) -> None:
        if self.slow:
            time.sleep(self.slow)
        if self.broken:
            raise self.broken
        with self._lock:
            if self._killed:
                return
            self.writings += 1
            for ask, mark in writing.marks.items():
                self._mark(ask, mark)
            for receipt in writing.receipts:
                self._settle(receipt)
            for ask, attempt in writing.failed:
                self.failed.setdefault(ask, []).append(attempt)
            self.letters |= {ask: deepcopy(letter) for ask, letter in writing.dead_letters}
            for name, value in writing.facts.items():
                if value is None:
                    self.kept.pop(name, None)
                else:
                    self.kept[name] = deepcopy(value)
            if writing.facts:
                self.histories.append(deepcopy(self.kept))

    def _mark(self, ask: int, mark: Mark) -> None:
        assert ask in self.calls, "a call that nobody made is marked"
        assert ask not in self.receipts, "a call with its receipt is marked"
        if mark.maybe and mark.until == 0:
            self.marked.append(ask)
        elif not mark.maybe:
            self.unmarked.append(ask)
        if mark == Mark():
            self.marks.pop(ask, None)
        else:
            self.marks[ask] = mark

    def _settle(self, receipt: Receipt) -> None:
        call = self.calls[receipt.ask]
        assert receipt.ask not in self.receipts, f"{receipt.ask} has two receipts"
        assert (call.profile_id, call.identifier, call.slot) == (receipt.profile_id, receipt.identifier, receipt.slot)
        self.receipts[receipt.ask] = receipt
        self.marks.pop(receipt.ask, None)
        self._asks[call.backfill].remove(receipt.ask)

    # -- for tests

    def fates(self) -> dict[int, str]:
        return {ask: receipt.fate for ask, receipt in sorted(self.receipts.items())}

    def of(self, fate: str) -> list[int]:
        return sorted(ask for ask, receipt in self.receipts.items() if receipt.fate == fate)

    def maybe(self) -> set[int]:
        """Without a receipt, but perhaps at the vendor."""
        return {ask for ask, mark in self.marks.items() if mark.maybe}


class MemoryCaps:
    """What is kept of a vendor account."""

    def __init__(self, kept: dict[str, Any] | None = None) -> None:
        self.kept: dict[str, Any] = kept or {}
        self.saves: list[dict[str, Any]] = []

    def load(self) -> dict[str, Any]:
        return deepcopy(self.kept)

    def save(self, kept: dict[str, Any]) -> None:
        self.kept = deepcopy(kept)
        self.saves.append(self.kept)
