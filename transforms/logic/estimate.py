"""Estimates: how many requests calls will take, and how long; before they are sent, and while they are."""

from collections import deque
from collections.abc import Mapping, Sequence
from math import ceil
from typing import NamedTuple

from schemas.limits import Limit
from transforms.logic.limit import EVEN

_SPAN = 10.0  # seconds over which the rate is measured


class Ahead(NamedTuple):
    """What it takes to send calls."""

    requests: int
    seconds: float  # 0: there is no cap


def ahead(calls: int, per_request: float, limits: Sequence[Limit]) -> Ahead:
    """At so many calls per request, under the slowest of these caps. More where a vendor is slower than its cap."""
    requests = ceil(calls / (per_request or 1.0))
    cap = slowest(limits)
    return Ahead(requests, requests * cap.seconds / cap.requests if cap else 0.0)


def slowest(limits: Sequence[Limit]) -> Limit | None:
    """Of the caps that count every request, the one that takes the longest."""
    caps = [each for each in limits if not each.endpoint and each.unit == "requests"]
    return max(caps, key=lambda each: each.seconds / each.requests, default=None)


class Asked(NamedTuple):
    """Requests of one endpoint class, and the objects in them."""

    requests: int
    objects: int


def seconds_at(asked: Mapping[str, Asked], limits: Sequence[Limit]) -> float:
    """How long so many requests take, by endpoint class, at all of these caps at once. 0: none holds them up.

    What a long window (per hour, per day) allows goes at once; the rest waits for the next ones.
    """
    return max((_through(asked, limit) for limit in limits), default=0.0)


def _through(asked: Mapping[str, Asked], limit: Limit) -> float:
    """Of those that one limit counts."""
    mine = [each for endpoint, each in asked.items() if limit.counts(endpoint)]
    number = sum(each.objects if limit.unit == "objects" else each.requests for each in mine)
    if limit.seconds > EVEN:
        return max(ceil(number / limit.requests) - 1, 0) * limit.seconds
    return number * limit.seconds / limit.requests


def time_left(pending: int, rate: float, requests: int, settled: int) -> float:
    """Seconds for what is pending, at so many requests per second, and so many for what is settled; 0: not known."""
    return pending * (requests / settled) / rate if settled and rate else 0.0


class Estimate:
    """Estimates the time left, from counts that it is given now and then."""

    def __init__(self, cap: float, start: float) -> None:
        self._cap = cap  # requests per second; 0 is none
        self._start = start
        self._seen: deque[tuple[float, int]] = deque([(start, 0)])
        self._foretold: list[float] = []  # the run's length, as estimated each time

    def rate(self, now: float, requests: int) -> float:
        """Requests per second over the last seconds."""
        self._seen.append((now, requests))
        while len(self._seen) > 2 and self._seen[1][0] <= now - _SPAN:
            self._seen.popleft()
        since, before = self._seen[0]
        return (requests - before) / (now - since) if now > since else 0.0

    def remaining(self, now: float, rate: float, requests: int, settled: int, pending: int) -> float:
        """Seconds for what is pending, at so many calls per request as were settled so far; 0: not known."""
        if not settled or not rate:
            return 0.0
        seconds = time_left(pending, min(rate, self._cap) if self._cap else rate, requests, settled)
        self._foretold.append(now - self._start + seconds)
        return seconds

    def error(self, now: float) -> float | None:
        """By which share of the run's length the estimates were wrong, on average; None: there were none."""
        length = now - self._start
        if not self._foretold or length <= 0:
            return None
        return sum(abs(each - length) for each in self._foretold) / len(self._foretold) / length
