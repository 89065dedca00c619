"""How many conversations are held at once: before vendors whose answers take their time, in virtual time."""

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import NamedTuple

import pytest

from schemas.limits import Limit
from schemas.workspace import Cap, Connection
from transforms.logic.caps import at_once, effective_limits
from transforms.logic.inflight import FEWEST, needed, room, waiting
from transforms.logic.limit import Limiter

_LATE = 0.005  # seconds by which a busy sender is late to begin something
_BEARS = 100_000

Answers = Callable[[float, Random], float]  # how long the answer to a request takes that is sent then


class Held(NamedTuple):
    """What came of it."""

    sent: list[float]
    most: int  # conversations held
    under_way: int  # requests, at most


def hold(rate: float, answers: Answers, until: float, bears: int = _BEARS, seed: int = 3) -> Held:
    """A backlog without end; a conversation waits for its turn, is sent, and ends with its answer."""
    chance, limiter = Random(seed), Limiter([Limit(rate)] if rate else [], 0.0)
    out: list[float] = []  # when they are answered
    sent: list[float] = []
    now, wait, most, under_way = 0.0, 0, 0, 0
    while now < until:
        while room(wait + len(out), wait, rate, bears):
            wait += 1
        most = max(most, wait + len(out))
        delay = limiter.delay(now, "") if wait else None
        if delay is not None and delay <= 0:
            limiter.take(now, "")
            sent.append(now)
            wait -= 1
            heappush(out, now + answers(now, chance))
            under_way = max(under_way, len(out))
            continue
        events = ([now + delay] if delay is not None else []) + out[:1]
        now = max(min(events), now) + chance.random() * min(_LATE, 0.2 / rate if rate else _LATE)
        while out and out[0] <= now:
            heappop(out)
    return Held(sent, most, under_way)


def share(sent: list[float], since: float, until: float, rate: float) -> float:
    """Of a cap that was used."""
    within = [at for at in sent if since <= at < until]
    return (len(within) - 1) / (within[-1] - within[0]) / rate


def always(seconds: float) -> Answers:
    return lambda now, chance: seconds


@pytest.mark.parametrize("rate", [2.0, 5.0, 30.0, 100.0, 500.0])
@pytest.mark.parametrize("answer", [0.05, 0.5, 3.0, 10.0, 30.0])
def test_a_cap_is_used_up_however_long_answers_take(rate: float, answer: float) -> None:
    settled = 2.0
    until = settled + max(150 / rate, answer + 3.0)
    held = hold(rate, always(answer), until)
    assert share(held.sent, settled, until, rate) >= 0.98
    assert held.most <= held.under_way + waiting(rate) <= 1.1 * (rate * answer + rate * 0.05) + 5


@pytest.mark.parametrize(
    "answers",
    [
        lambda now, chance: chance.choice([0.05] * 9 + [10.0]),
        lambda now, chance: chance.expovariate(1 / 3.0),
        lambda now, chance: 0.05 if now < 5 else 10.0,
        lambda now, chance: 10.0 if now < 5 else 0.05,
        lambda now, chance: max(0.0, 8.0 - now),  # a vendor that stood still
    ],
    ids=["some slow", "any", "become slow", "become quick", "stood still"],
)  # fmt: skip
def test_a_cap_is_used_up_when_answers_change(answers: Answers) -> None:
    held = hold(50.0, answers, 25.0)
    for since in range(2, 22, 3):
        assert share(held.sent, since, since + 3.0, 50.0) >= 0.98
    assert held.most <= held.under_way + 5


def test_no_more_are_held_than_the_vendor_bears() -> None:
    assert 30 == hold(100.0, always(3.0), 5.0, bears=30).most


def test_without_a_cap_a_few_are_held() -> None:
    assert FEWEST == hold(0.0, always(0.5), 3.0).most


def test_a_cap_is_not_exceeded_when_all_answers_come_at_once() -> None:
    held = hold(100.0, lambda now, chance: max(0.01, 4.0 - now), 8.0)
    assert max(sum(at <= other < at + 1.0 for other in held.sent) for at in held.sent[::7]) <= 100


def connection(cap: Cap | None = None, raised: bool = False) -> Connection:
    return Connection("a", "b", (), cap=cap, cap_raised_by_vendor=raised)


@pytest.mark.parametrize(
    ("bears", "published", "cap", "expected"),
    [
        (2_048, [], None, FEWEST),
        (2_048, [], Cap(5), needed(5.0)),
        (2_048, [], Cap(100), 2_048),
        (2_048, [Limit(10), Limit(1, endpoint="bulk")], None, needed(10.0)),
        (2_048, [], Cap(1_000_000, 86_400.0), FEWEST),
        (4, [], None, 4),
        (30, [Limit(10)], None, 30),
    ],
)
def test_as_many_conversations_as_the_cap_needs_or_the_vendor_bears(
    bears: int, published: list[Limit], cap: Cap | None, expected: int
) -> None:
    assert expected == at_once(bears, effective_limits(published, connection(cap)))


def test_what_the_cap_needs_is_room_for_answers_of_half_a_minute() -> None:
    assert [60, 3_000] == [needed(rate) - 2 - int(rate * 0.05) for rate in (2.0, 100.0)]


def test_a_cap_of_the_workspace_stands_beside_the_published_ones_unless_the_vendor_raised_it() -> None:
    published = [Limit(100), Limit(5, endpoint="bulk")]
    limits = effective_limits(published, connection(Cap(6_000, 60.0)))
    assert [(6_000, 60.0, ""), (100, 1.0, ""), (5, 1.0, "bulk")] == [
        (o.requests, o.seconds, o.endpoint) for o in limits
    ]
    raised = effective_limits(published, connection(Cap(200), raised=True))
    assert [(200, 1.0, ""), (5, 1.0, "bulk")] == [(o.requests, o.seconds, o.endpoint) for o in raised]
