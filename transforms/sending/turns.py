"""Turns: how many conversations wait for their first turn, so that a batch is formed only when it can go soon."""

from collections import Counter
from collections.abc import Callable
from math import inf

from transforms.logic.inflight import waiting
from transforms.logic.limit import Limiter


class Turns:
    """The conversations of one connection that wait for their first turn, counted by endpoint class."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._endpoints: dict[str, str] = {}  # by route
        self._own: Counter[str] = Counter()  # those that wait for a limit of their own class
        self._unknown = 0  # those of whose route no request has asked yet
        self.waiting = 0  # all but those that wait for a limit of their own class: these are in nobody's way

    def may_go(self, route: str) -> bool:
        """Whether a request of this route would not wait long for the limit of its own endpoint class.

        A batch that waits there could not grow any more, and would be in the way of other routes.
        """
        endpoint = self._endpoints.get(route)
        if endpoint is None:  # it is known when the first one asks
            return not self._unknown
        rate = self._limiter.rate_of(endpoint)
        return rate == self._limiter.rate or self._own[endpoint] < waiting(rate)

    def begin(self, route: str) -> Callable[[], None]:
        """A conversation begins. Call what this returns when the conversation waits no more."""
        endpoint = self._endpoints.get(route)
        own = endpoint is not None and self._limiter.rate_of(endpoint) != self._limiter.rate
        self._count(endpoint, own, 1)
        waits = [1]

        def done() -> None:
            if waits:
                self._count(endpoint, own, -waits.pop())

        return done

    def _count(self, endpoint: str | None, own: bool, number: int) -> None:
        if own and endpoint is not None:
            self._own[endpoint] += number
            return
        self.waiting += number
        if endpoint is None:
            self._unknown += number

    def learn(self, route: str, endpoint: str) -> None:
        """Note the endpoint class of a route. Of several classes the one with the strictest limit counts."""
        known = self._endpoints.setdefault(route, endpoint)
        if known != endpoint:
            rate_of = self._limiter.rate_of
            self._endpoints[route] = min(known, endpoint, key=lambda each: rate_of(each) or inf)
