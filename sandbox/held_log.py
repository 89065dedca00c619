"""A log that is held in memory, for deliveries whose outcome nobody keeps: rehearsals and benchmarks."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from operator import attrgetter
from typing import Any

from schemas.receipts import Receipt
from transforms.sending.log import Waiting, Writing


class HeldLog:
    """Calls that wait, and what becomes of them; see `transforms.sending.log.Log`. Nothing is on a disk."""

    def __init__(
        self,
        calls: Sequence[Waiting],
        number: int = 0,
        facts: Mapping[str, Any] | None = None,
        receipts: Mapping[int, Receipt] | None = None,
    ) -> None:
        """`number`: of the workspace. `facts`, `receipts`: of earlier deliveries."""
        ordered = sorted(calls, key=lambda each: each.call.ask)
        self._calls = {kind: [each for each in ordered if each.call.backfill is kind] for kind in (False, True)}
        self._marks = {each.call.ask: each.mark for each in ordered}
        self._newest = ordered[-1].call.ask if ordered else 0
        self._number, self._facts, self._receipts = number, dict(facts or {}), dict(receipts or {})
        self._left = sum(each.call.kind != "cancel" for each in ordered)

    def read(self, backfill: bool, after: int, most: int) -> list[Waiting]:
        calls, found = self._calls[backfill], list[Waiting]()
        for each in calls[bisect_right(calls, after, key=attrgetter("call.ask")) :]:
            if len(found) == most:
                break
            ask = each.call.ask
            if ask not in self._receipts:
                found.append(Waiting(each.call, self._marks[ask]))
        return found

    def newest(self) -> int:
        return self._newest

    def stamp(self) -> object:
        return self._newest

    def waiting(self) -> int:
        return self._left

    def receipt(self, ask: int) -> Receipt | None:
        return self._receipts.get(ask)

    def doubtful(self) -> bool:
        return False

    def write(self, writing: Writing) -> "Future[None]":
        self._marks |= writing.marks
        self._receipts |= {receipt.ask: receipt for receipt in writing.receipts}
        self._left -= sum(receipt.kind != "cancel" for receipt in writing.receipts)
        self._facts |= writing.facts
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def facts(self) -> dict[str, Any]:
        return {name: value for name, value in self._facts.items() if value is not None}

    def workspace(self) -> int:
        return self._number

    def close(self) -> None: ...


class NothingKept:
    """A `Kept` that forgets."""

    def load(self) -> dict[str, Any]:
        return {}

    def save(self, kept: dict[str, Any]) -> None: ...
