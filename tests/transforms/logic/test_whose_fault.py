"""The decisions of a sender together: steps, blame and splitting, by a slow sender before vendors that refuse."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.logic.blame import Blame, Refusal
from transforms.logic.splitting import PARTLY, TAKEN, Answer, Splitting
from transforms.logic.steps import TRIES, Around, Bounds, Heard, Steps

Vendor = Callable[[list[int]], Heard]
BOUNDS = Bounds(600.0, 14_400.0)


@dataclass
class Sender:
    """One batch after the other; everybody is one call, one unit, one person."""

    vendor: Vendor
    blame: Blame = field(default_factory=Blame)
    now: float = 0.0
    requests: int = 0
    answers: int = 0
    stopped: bool = False
    delivered: set[int] = field(default_factory=set)
    rejected: set[int] = field(default_factory=set)
    later: set[int] = field(default_factory=set)
    blocked: set[int] = field(default_factory=set)  # what they need is refused, whoever they are

    def run(self, people: int, size: int) -> "Sender":
        for first in range(0, people, size):
            self._deliver(list(range(first, min(people, first + size))))
            if self.stopped:
                return self
        while records := self.blame.ended()[0]:
            for each in records:
                self._theirs(each)
        return self

    def _deliver(self, batch: list[int]) -> None:
        answer, refusal = self._ask(batch)
        if refusal:
            self._weigh(refusal)
        elif answer is not TAKEN and answer is not PARTLY:
            self._split(batch, answer)
        while (stands := self.blame.stands(out=0)) == "splits":
            self._theirs(self.blame.to_split())
        self.stopped = self.stopped or stands != "goes"

    def _weigh(self, refusal: Refusal) -> None:
        if self.blame.refused(refusal) == "record":
            self._theirs(refusal)

    def _theirs(self, refusal: Refusal) -> None:
        if refusal.units == 1:
            self.rejected.update(refusal.calls)
            return
        whole = self._split(list(refusal.calls), Answer("refused", refusal.words))
        if whole:
            self._weigh(refusal._replace(split=True))

    def _split(self, batch: list[int], answer: Answer) -> bool:
        splitting = Splitting([(call,) for call in batch], answer)
        refusals: dict[int, Refusal] = {}
        while (part := splitting.next()) is not None and not self.stopped:
            told, refusal = self._ask(part, tries=1)
            splitting.answered(Answer("refused", refusal.words) if refusal else told)
            if refusal and refusal.units == 1:
                refusals[part[0]] = refusal
        if splitting.verdict == "whole":
            self.blocked.update(splitting.waiting)
        for (call,) in [found.calls for found in splitting.bad]:
            if call in refusals:
                self._weigh(refusals[call])
            else:
                self.rejected.add(call)
        self.later.update(call for found in splitting.later for call in found.calls)
        return splitting.verdict == "whole"

    def _ask(self, part: list[int], tries: int = TRIES) -> tuple[Answer, Refusal | None]:
        """Attempt by attempt; a single refused one is rejected by who asked."""
        steps = Steps(BOUNDS, Random(1), len(part), tries)
        while True:
            self.requests += 1
            sent, self.now = self.now, self.now + 0.1
            heard = self.vendor(part)
            self.answers += heard.meaning == "answered"
            step = steps.next(heard, self.now, Around(self.answers))
            match step.do:
                case "read":
                    self.delivered.update(part)
                    for each in self.blame.succeeded(sent):
                        self._theirs(each)
                    return TAKEN, None
                case "repeat" | "throttled":
                    self.now += step.after
                case "divide":
                    what = "unanswered" if step.unanswered else "refused"
                    return Answer(what, step.words, step.large), None  # type: ignore[arg-type]
                case "reject":
                    return Answer("refused", step.words, step.large), None
                case "refused":
                    people = frozenset(str(call) for call in part)
                    refusal = Refusal(tuple(part), people, heard.meaning, sent, self.now, step.words, units=len(part))  # type: ignore[arg-type]
                    return PARTLY, refusal
                case "give up":
                    self.later.update(part)
                    return PARTLY, None
                case _:
                    self.stopped = True
                    return PARTLY, None


OK, NO, GONE = Heard("answered", 200), Heard("halve", 400, words="no"), Heard("refused", 404, words="gone")
BROKEN, TOKEN = Heard("transient", 500, words="oops"), Heard("credentials", 401, words="expired")


def minding(bad: dict[int, Heard]) -> Vendor:
    return lambda part: next((bad[call] for call in part if call in bad), OK)


def test_one_person_who_is_not_known_does_not_stop_the_others() -> None:
    sender = Sender(minding({1: GONE})).run(5, size=1)
    assert ({0, 2, 3, 4}, {1}, False) == (sender.delivered, sender.rejected, sender.stopped)
    later = Sender(minding({1: GONE}), Blame({""})).run(5, size=1)
    assert (sender.delivered, sender.rejected) == (later.delivered, later.rejected)


def test_a_url_that_nobody_knows_stops_the_connection_and_rejects_nobody() -> None:
    for people in (3, 100):
        sender = Sender(lambda part: GONE).run(people, size=1)
        assert (set(), set()) == (sender.delivered, sender.rejected)
        assert min(people, 5) == sender.requests


def test_a_token_that_ends_in_the_middle_rejects_nobody() -> None:
    sender = Sender(lambda part: TOKEN if part[0] >= 40 else OK).run(100, size=1)
    assert (set(range(40)), set(), True) == (sender.delivered, sender.rejected, sender.stopped)


def test_a_record_that_breaks_the_vendor_waits_alone() -> None:
    sender = Sender(minding({1: BROKEN})).run(4, size=75)
    assert ({0, 2, 3}, set(), {1}) == (sender.delivered, sender.rejected, sender.later)


def test_an_audience_that_is_refused_costs_few_requests() -> None:
    sender = Sender(lambda part: NO).run(200, size=10_000)
    assert (set(), set(), set(range(200))) == (sender.delivered, sender.rejected, sender.blocked)
    assert sender.requests <= 20


@pytest.mark.parametrize("people", [2, 60])
def test_a_vendor_that_asks_for_patience_without_end_is_left(people: int) -> None:
    sender = Sender(lambda part: Heard("throttled", 429, 30.0)).run(people, size=75)
    assert sender.requests <= 25
    assert set(range(people)) == sender.later


def test_batches_with_somebody_forbidden_in_each_are_told_from_a_connection_that_is() -> None:
    bad = dict.fromkeys(range(0, 1000, 20), GONE)
    sender = Sender(minding(bad)).run(1_000, size=50)
    assert (set(bad), set(range(1_000)) - set(bad), False) == (sender.rejected, sender.delivered, sender.stopped)
    sender = Sender(lambda part: GONE).run(1_000, size=50)
    assert (set(), set(), True) == (sender.rejected, sender.delivered, sender.stopped)
    assert sender.requests <= 20


trouble = st.sampled_from([NO, GONE, BROKEN])


@given(st.integers(1, 40), st.integers(1, 40), st.dictionaries(st.integers(0, 39), trouble, max_size=4))
def test_a_bad_record_is_in_nobodys_way(people, size, bad) -> None:  # type: ignore[no-untyped-def]
    bad = {call: heard for call, heard in bad.items() if call < people}
    people += 1  # one after them is fine, so that it is known that the vendor takes calls
    sender = Sender(minding(bad)).run(people, size)
    assert not sender.stopped
    assert set() == sender.blocked
    assert set(range(people)) - set(bad) == sender.delivered
    assert {call for call, heard in bad.items() if heard is not BROKEN} == sender.rejected
    assert {call for call, heard in bad.items() if heard is BROKEN} == sender.later
