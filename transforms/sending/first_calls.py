"""First calls: of a vendor account that never acknowledged anything, a few calls go ahead of all others."""

from collections.abc import Callable, Mapping
from typing import Any

from schemas.outcomes import Final, Superseded
from schemas.report import Report
from transforms.logic.canary import Canary
from transforms.sending.books import Books
from transforms.sending.delivery import Active
from transforms.sending.talk import Stopped

_PROVED = "proved"  # the fact that holds slots and epochs of which the first calls were not mostly rejected
_JUDGED = "canary"  # the fact that says that the first calls go now, and are judged


class FirstCalls:
    """The first calls of one connection, where nothing of its slots and epochs was acknowledged before."""

    def __init__(
        self,
        active: Mapping[int, Active],
        facts: Mapping[str, Any],
        report: Report,
        max_reject_rate: float,
        books: Books,
    ) -> None:
        self._active = {str(slot): each.epoch for slot, each in active.items()}
        self._books, self._report = books, report
        self.passed: Callable[[], None] = lambda: None  # more may be read
        proved = facts.get(_PROVED) or {}
        first = facts.get(_JUDGED) or not any(proved.get(slot) == epoch for slot, epoch in self._active.items())
        self._canary = Canary(report.calls, max_reject_rate) if first and max_reject_rate < 1.0 else None
        if first:
            books.remember({_JUDGED: True})
        elif proved != self._active:
            books.remember({_PROVED: self._active})

    def room(self, admitted: int) -> int | None:
        """How many more may be admitted before these are judged; None: any number."""
        return None if self._canary is None else max(0, self._canary.size - admitted)

    def heard(self, outcome: Final) -> None:
        """Count what the vendor said to a call."""
        if self._canary and not isinstance(outcome, Superseded):
            self._canary.settled(outcome)
            if self._canary.passed:  # the others need not wait for one that is tried again and again
                self._pass()

    def judge(self, more: bool) -> None:
        """All that were admitted have their outcomes. Raises Stopped where most were rejected, and there are `more`."""
        if self._canary is None:
            return
        if verdict := self._canary.verdict():
            if more:
                self._report.needs_person = True
                fix = "fix that, or raise --max-reject-rate, and run again for the rest"
                raise Stopped(f"{verdict}; {fix}; those that were rejected go with profilecast replay")
            return
        if more or self._report.delivered:
            self._pass()

    def _pass(self) -> None:
        self._canary = None
        self._books.remember({_JUDGED: None, _PROVED: self._active})
        self.passed()
