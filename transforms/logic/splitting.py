"""Splitting: what is bad in a batch that was refused as a whole, found by sending parts of it.

    refused:  1 2 3 4 5 6 7 8 ─ 1 2 3 4 ─ 1 2 ─ 1        where 1 is bad,
    rest:                                       2 … 8    ⌈log₂ n⌉ + 2 requests, at most

If the rest is refused too, in the same words, and nothing was taken, units from all over it are asked alone: where
they are all refused in these words, it is nothing in the batch. Otherwise the rest is halved.
"""

import re
from collections.abc import Collection, Generator, Iterable, Sequence
from math import ceil, log2
from typing import Literal, NamedTuple

FEWEST = 4  # units that were refused alone, in the same words, before it is believed that it is none of them

Unit = tuple[int, ...]  # calls that must stay together, by place or number


class Answer(NamedTuple):
    """What the vendor said to a part."""

    what: Literal["taken", "partly", "refused", "unanswered"]
    words: str = ""  # the vendor's
    large: bool = False  # refused for its size, so that there need be nothing bad in it


TAKEN = Answer("taken")
PARTLY = Answer("partly")  # its calls have their outcomes, or wait: they are nothing to the search any more


class Found(NamedTuple):
    """A unit that was refused, or not answered, on its own."""

    calls: Unit
    words: str
    large: bool


class _Silence(Exception):
    """The vendor answers nothing any more, whatever it is asked."""


_Parts = Generator[list[Unit], Answer, None]
_Asking = Generator[list[Unit], Answer, Answer]


class Splitting:
    """The search in one batch: send what `next` gives, say with `told` what it came to, until `next` gives None.

    `answer` is what the whole batch came to: `refused`, or `unanswered` where the vendor's trouble is with this
    batch alone. A unit alone that the conversation itself rejects is `refused` too. Nothing of `bad` is settled
    before the end: `whole` may take it back. Where nothing is answered any more, the rest is for later.
    """

    def __init__(self, units: Iterable[Unit], answer: Answer) -> None:
        self.bad: list[Found] = []  # to be rejected, in the vendor's words
        self.later: list[Found] = []  # to be tried again by themselves
        self.verdict: Literal["", "whole"] = ""  # `whole`: it is none of the units
        self.words = answer.words
        self._units = [unit for unit in units if unit]
        self._open = {call for unit in self._units for call in unit}  # not taken, and not dropped
        self._first = answer
        self._alike = True  # nothing was taken, and every refusal was in the words of the first
        self._silent = 0  # parts in a row that were not answered
        self._part: list[Unit] | None = None
        self._parts = self._search()
        self._go_on(None)

    def next(self) -> list[int] | None:
        """The part to send now; None: the search is over."""
        if self._part is not None and not (part := self._left(self._part)):
            self._go_on(PARTLY)  # all of it was dropped meanwhile
            return self.next()
        return None if self._part is None else sorted(call for unit in part for call in unit)

    def answered(self, answer: Answer) -> None:
        """Say what the vendor answered to the part that `next` gave."""
        if self._part is None:
            raise ValueError("the search is over")
        self._go_on(answer)

    def drop(self, calls: Collection[int]) -> None:
        """These are not to be sent any more: they have an outcome, or went back to wait."""
        self._open.difference_update(calls)

    @property
    def waiting(self) -> list[int]:
        """Calls that were neither taken nor dropped: after `whole`, or when the search is broken off."""
        return sorted(self._open)

    # -- the search

    def _go_on(self, answer: Answer | None) -> None:
        try:
            self._part = self._parts.send(answer) if answer else next(self._parts)
        except StopIteration:
            self._part = None
        except _Silence:
            self._part, found = None, {call for each in (*self.bad, *self.later) for call in each.calls}
            left = [unit for unit in self._left(self._units) if found.isdisjoint(unit)]
            self.later += [Found(unit, answer.words if answer else "", False) for unit in left]

    def _search(self) -> _Parts:
        units = self._units
        if len(units) == 1:
            self._alone(units[0], self._first)
        elif self._first.large:
            yield from self._halve(units, known=False)
        elif units:
            yield from self._find(units)

    def _find(self, units: list[Unit]) -> _Parts:
        """Find what is bad in `units` by halves; then send all the rest together."""
        aside: list[Unit] = []
        while len(units) > 1:
            first, second = _halves(units)
            answer = yield from self._tell(first)
            if answer.what == "taken":
                units = second
                continue
            aside = [*second, *aside]
            units = first if _in_trouble(answer) and not answer.large and len(first) > 1 else []
            if answer.large and len(first) > 1:
                yield from self._halve(first, known=False)
        if units:
            yield from self._tell(units)
        rest = self._left(aside)
        answer = yield from self._tell(rest)
        if _in_trouble(answer) and len(rest) > 1:
            yield from self._rest(rest, answer)

    def _rest(self, rest: list[Unit], answer: Answer) -> _Parts:
        """Search the rest: there is more that is bad, or the fault is none of the units'."""
        enough = max(FEWEST, ceil(log2(len(self._units))))
        known = not answer.large
        for unit in _spread(rest, enough - 1) if len(self._units) >= FEWEST else ():
            if not self._alike:
                break
            known = (yield from self._tell([unit])).what == "taken"  # otherwise it may have been this one
            rest = [other for other in rest if other is not unit]
        if self._alike and len(self.bad) + len(self.later) >= enough:
            self.verdict, self.bad, self.later = "whole", [], []
        elif known and len(rest) > 1:
            yield from self._halve(rest, known)
        else:
            yield from self._tell_by_halves(rest)

    def _tell_by_halves(self, units: list[Unit]) -> _Parts:
        answer = yield from self._tell(units)
        if _in_trouble(answer) and len(units) > 1:
            yield from self._halve(units, known=not answer.large)

    def _halve(self, units: list[Unit], known: bool) -> _Parts:
        """`known`: there is something bad in it; otherwise it is only too large."""
        first, second = _halves(units)
        answer = yield from self._tell(first)
        if _in_trouble(answer) and len(first) > 1:
            yield from self._halve(first, known=not answer.large)
        if known and answer.what == "taken" and len(second) > 1:
            yield from self._halve(second, known=True)
        else:
            yield from self._tell_by_halves(second)

    def _tell(self, units: list[Unit]) -> _Asking:
        """Send one part. A unit that is sent alone is judged by its answer."""
        part = self._left(units)
        if not part:
            return PARTLY
        answer = yield part
        part = self._left(part)
        self._silent = self._silent + 1 if answer.what == "unanswered" else 0
        if answer.what in ("taken", "partly"):
            self._open.difference_update(call for unit in part for call in unit)
            self._alike = False
        elif len(units) == 1 and part:
            self._alone(part[0], answer)
        self._alike = self._alike and _same(answer, self._first)
        if self._silent > 2 * log2(len(self._units)) + FEWEST and not self._alike:
            raise _Silence
        return answer

    def _alone(self, unit: Unit, answer: Answer) -> None:
        (self.later if answer.what == "unanswered" else self.bad).append(Found(unit, answer.words, answer.large))

    def _left(self, units: Sequence[Unit]) -> list[Unit]:
        left = (tuple(call for call in unit if call in self._open) for unit in units)
        return [unit for unit in left if unit]


def _halves(units: list[Unit]) -> tuple[list[Unit], list[Unit]]:
    middle = (len(units) + 1) // 2
    return units[:middle], units[middle:]


def _spread(units: list[Unit], number: int) -> list[Unit]:
    """So many of the units, evenly spread."""
    number = min(number, len(units))
    return [units[(2 * n + 1) * len(units) // (2 * number)] for n in range(number)]


def _in_trouble(answer: Answer) -> bool:
    return answer.what in ("refused", "unanswered")


_NAMED = re.compile(r'("[\w-]*(?:id|trace)[\w-]*"\s*:\s*)"[^"]*"', re.IGNORECASE)
_WORD = re.compile(r"[^\s\"'<>(){}\[\],;:=]+")


def essence(words: str) -> str:
    """A vendor's words without what is of one request or one person in them: numbers, ids, addresses."""
    words = _NAMED.sub(r'\1"#"', words)
    return _WORD.sub(lambda found: "#" if any(c.isdigit() or c == "@" for c in found[0]) else found[0], words).strip()


def _same(one: Answer, other: Answer) -> bool:
    return (one.what, one.large, essence(one.words)) == (other.what, other.large, essence(other.words))
